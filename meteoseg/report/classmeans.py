"""Channel means of classes in the report: a table whose cells are shaded by how high a mean is among the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meteoseg.legend import Legend
from meteoseg.report.facts import number, significant

#: Opacity of the shade of the largest mean of a channel.
_STRONGEST = 0.45
_FIXED = ("name", "area_px")


@dataclass(frozen=True)
class MeanCell:
    """A mean in words, and how strongly its cell is shaded: 0 for the lowest class of the channel."""

    text: str
    shade: float


@dataclass(frozen=True)
class MeanRow:
    """Means of one class."""

    name: str
    color: str
    cells: tuple[MeanCell, ...]


@dataclass(frozen=True)
class MeanTable:
    """Headings (channel and unit) and a row per class."""

    heads: tuple[str, ...]
    rows: tuple[MeanRow, ...]


def mean_table(means: pd.DataFrame, legend: Legend, units: Mapping[str, str]) -> MeanTable | None:
    """Return ``channel_means.csv`` in words; None of an empty table.

    Parameters
    ----------
    units : unit by channel; ``unknown`` ones are not said.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> means = pd.DataFrame({"name": ["olivine", "kamacite"], "area_px": [9, 4], "Fe": [12.34, 250.0]})
    >>> table = mean_table(means, default_legend("phases"), {"Fe": "counts"})
    >>> table.heads, [cell.text for row in table.rows for cell in row.cells]
    (('Fe (counts)',), ['12.3', '250'])
    """
    if means.empty:
        return None
    channels = [str(name) for name in means.columns if name not in _FIXED]
    shades = {name: _shades(means[name].to_numpy(float)) for name in channels}
    rows = tuple(
        MeanRow(
            str(row["name"]),
            legend[str(row["name"])].color,
            tuple(MeanCell(_words(row[name]), shades[name][place]) for name in channels),
        )
        for place, row in enumerate(means.to_dict("records"))
    )
    heads = tuple(
        name if units.get(name, "unknown") == "unknown" else f"{name} ({units[name]})" for name in channels
    )  # fmt: skip
    return MeanTable(heads, rows)


def _words(value: float) -> str:
    found = number(value)
    return "–" if found is None else significant(found)


def _shades(values: np.ndarray) -> list[float]:
    """Opacity of each cell of a channel; 0 where all classes are alike or there is no mean."""
    finite = values[np.isfinite(values)]
    span = float(np.ptp(finite)) if finite.size else 0.0
    if not span:
        return [0.0] * len(values)
    share = np.nan_to_num((values - finite.min()) / span)
    return [round(_STRONGEST * float(part), 3) for part in share]
