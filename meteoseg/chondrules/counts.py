"""How many chondrules there are of each kind, type and texture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from meteoseg.objects import size_summary
from meteoseg.stereology.planar import MIN_OBJECTS

#: Columns of ``chondrule_counts.csv``.
COLUMNS = (
    "kind", "type", "texture", "n", "pct", "ci_low_pct", "ci_high_pct", "area_um2", "area_pct", "n_whole",
    "mean_diameter_um",
)  # fmt: skip
#: Of a column that a row does not look at, and of objects that have no type.
ALL, UNKNOWN = "all", "unknown"
DIMENSIONS = ("kind", "type", "texture")
_Z95 = 1.959964


def chondrule_counts(chondrules: pd.DataFrame) -> pd.DataFrame:
    """Count objects: all, by kind, by type, by texture, and by what occurs together.

    Parameters
    ----------
    chondrules : as chondrules.csv; `type` and `texture` may lack.

    Returns
    -------
    Columns `COLUMNS`. ``all`` stands where a row does not look at a column, ``unknown`` where nothing is known. `pct`
    is of all objects, its interval (95 %) after Wilson; `mean_diameter_um` that of the `n_whole` objects that no edge
    cuts from the cut-off on, in the plane of section, each standing for those of its size that are cut; empty under 5.

    Examples
    --------
    >>> counts = chondrule_counts(pd.DataFrame({"kind": ["chondrule"] * 3, "type": ["I", "I", "II"],
    ...     "touches_edge": False, "area_px": 400, "area_um2": 400.0, "equivalent_diameter_um": 22.6}))
    >>> counts[["type", "n", "area_pct"]].values.tolist()[:3]
    [['all', 3, 100.0], ['all', 3, 100.0], ['I', 2, 66.66666666666667]]
    """
    table = chondrules.assign(**{name: _named(chondrules, name) for name in DIMENSIONS})
    looked_at = [name for name in DIMENSIONS if name == "kind" or (table[name] != UNKNOWN).any()]
    rows = list(_rows(table, [])) if len(table) else []
    for name in looked_at if len(table) else []:
        rows += _rows(table, [name])
    if len(looked_at) > 1 and len(table):
        rows += _rows(table, looked_at)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _named(chondrules: pd.DataFrame, name: str) -> pd.Series[str]:
    if name not in chondrules:
        return pd.Series(UNKNOWN, index=chondrules.index, dtype=object)
    names = chondrules[name].astype(object)
    return names.where(names.notna() & (names != ""), UNKNOWN).astype(str)


def _rows(table: pd.DataFrame, by: list[str]) -> Iterator[dict[str, object]]:
    groups = table.groupby(by, sort=True) if by else [((), table)]
    ranked = sorted(groups, key=lambda pair: -len(pair[1]))
    total_um2 = float(table["area_um2"].sum())
    for key, own in ranked:
        low, high = wilson(len(own), len(table))
        area_um2 = float(own["area_um2"].sum())
        # The kind is told by the row: all of them count here.
        sizes = size_summary(own.assign(kind="chondrule"))
        n_whole = int(sizes["n_intact_uncut"] or 0)
        names = dict.fromkeys(DIMENSIONS, ALL) | dict(zip(by, key, strict=True))
        yield names | {
            "n": len(own),
            "pct": 100 * len(own) / len(table),
            "ci_low_pct": low,
            "ci_high_pct": high,
            "area_um2": area_um2,
            "area_pct": 100 * area_um2 / total_um2,
            "n_whole": n_whole,
            "mean_diameter_um": sizes["mean_um"] if n_whole >= MIN_OBJECTS else np.nan,
        }


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, in percent, after Wilson (1927, doi 10.1080/01621459.1927.10502953).

    NaN of nothing.

    Examples
    --------
    >>> [round(end, 1) for end in wilson(5, 10)]
    [23.7, 76.3]
    """
    if not total:
        return np.nan, np.nan
    share, square = count / total, _Z95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = _Z95 / (1 + square / total) * np.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return float(100 * max(0.0, centre - half)), float(100 * min(1.0, centre + half))
