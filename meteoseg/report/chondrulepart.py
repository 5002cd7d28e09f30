"""The part of the page that tells of chondrules: how many of each kind, type and texture, sizes, the largest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from meteoseg.chondrules.counts import ALL, DIMENSIONS, chondrule_counts
from meteoseg.chondrules.sizes import EXCLUDED
from meteoseg.chondrules.types import type_remark
from meteoseg.report.facts import number, significant

#: The chondrules listed on the page, largest first; all are in chondrules.csv.
MOST_CHONDRULES = 40
#: Between these comments of the page the part stands, so that it can be made again without the maps.
BEGIN, END = "<!-- chondrules -->", "<!-- end of chondrules -->"
_WORDS = {
    "mean_diameter": "mean diameter", "median_diameter": "median diameter", "sigma_ln_d": "sd of ln d",
    "chondrules_per_area": "whole and cut, per mm²", "misfit_probability": "probability of the misfit",
    "measured": "in the section", "unfolded": "spheres, unfolded", "lognormal": "spheres, lognormal",
    "weighted": "weighted", "excluded": "cut ones left out",
}  # fmt: skip


def chondrule_part(objects: pd.DataFrame, chemistry: pd.DataFrame) -> Markup:
    """Return the part of the page as HTML; every text in it is escaped.

    Parameters
    ----------
    objects : as chondrules.csv; chemistry : as chemistry.csv, or empty.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("meteoseg").joinpath("report/chondrules.html").read_text(encoding="utf-8")
    counts = chondrule_counts(objects) if len(objects) else pd.DataFrame()
    text = environment.from_string(source).render(
        blocks=list(_count_blocks(counts)),
        remark=type_remark(chemistry),
        objects=_object_rows(objects),
        n_objects=len(objects),
        has_textures="texture" in objects,
        has_types="type" in objects and bool((objects["type"].notna() & (objects["type"] != "")).any()),
    )
    return Markup(f"{BEGIN}\n{text}\n{END}")


def renew_chondrule_part(page: Path, objects: pd.DataFrame, chemistry: pd.DataFrame) -> bool:
    """Write the part of an earlier page anew; return whether the page has such a part."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return False
    partial = page.with_name(f".{page.name}.partial")
    partial.write_text(f"{before}{chondrule_part(objects, chemistry)}{after}", encoding="utf-8")
    partial.replace(page)
    return True


def _count_blocks(counts: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Yield the counts by kind, by type and by texture, as far as they are known."""
    for name in DIMENSIONS if len(counts) else ():
        others = [other for other in DIMENSIONS if other != name]
        own = counts[(counts[name] != ALL) & (counts[others] == ALL).all(axis=1)]
        if len(own):
            yield name, [_count_row(row, name) for row in own.to_dict("records")]


def _count_row(row: dict[Any, Any], name: str) -> dict[str, str]:
    return {
        "name": str(row[name]),
        "n": str(row["n"]),
        "pct": f"{row['pct']:.1f}",
        "interval": f"{row['ci_low_pct']:.1f} – {row['ci_high_pct']:.1f}",
        "area": f"{row['area_pct']:.1f}",
        "diameter": _brief(row["mean_diameter_um"]),
    }


def size_rows(sizes: pd.DataFrame) -> list[dict[str, str]]:
    """Return the lines of sizes.csv that have a value, in words; of the uncorrected sizes the means alone."""
    return [
        {
            "where": _WORDS[str(row["method"])],
            "quantity": _WORDS[str(row["quantity"])],
            "by": f"by {row['weighting']}, {_WORDS[str(row['edge_rule'])]}" if row["dimension"] == 2 else "by number",
            "value": _brief(row["value"]),
            "interval": _interval(row),
            "note": "" if pd.isna(row["note"]) else str(row["note"]),
        }
        for row in sizes.to_dict("records")
        if number(row["value"]) is not None and (row["edge_rule"] != EXCLUDED or row["quantity"] == "mean_diameter")
    ]


def size_gaps(sizes: pd.DataFrame) -> list[str]:
    """Return why sizes are missing, each reason once.

    Examples
    --------
    >>> size_gaps(pd.DataFrame({"value": [None, None, 3.0], "note": ["not enough: 2", "not enough: 2", ""]}))
    ['not enough: 2']
    """
    if sizes.empty:
        return []
    missing = sizes.loc[sizes["value"].isna(), "note"].dropna()
    return [str(note).rstrip(".") for note in dict.fromkeys(missing)]


def _interval(row: dict[Any, Any]) -> str:
    low, high = number(row["ci_low"]), number(row["ci_high"])
    return "–" if low is None or high is None else f"{significant(low)} – {significant(high)}"


def _object_rows(objects: pd.DataFrame) -> list[dict[str, str]]:
    """Return the largest objects in words."""
    largest = objects.sort_values("area_um2", ascending=False, kind="stable").head(MOST_CHONDRULES)
    return [
        {
            "id": str(row["id"]),
            "kind": str(row["kind"]),
            "edge": "cut" if row["touches_edge"] else "",
            "position": f"{row['row_um'] / 1000:.2f}, {row['col_um'] / 1000:.2f}",
            "diameter": _brief(row["equivalent_diameter_um"]),
            "axes": " × ".join(_brief(row[key]) for key in ("major_axis_um", "minor_axis_um")),
            "circularity": _brief(row["circularity"]),
            "solidity": _brief(row["solidity"]),
            "mineral": _text(row.get("dominant_mineral")),
            "metal": _brief(row.get("metal_pct")),
            "fa": _brief(row.get("mean_Fa_mol_pct")),
            "type": _text(row.get("type")),
            "texture": _text(row.get("texture")),
        }
        for row in largest.to_dict("records")
    ]


def _brief(value: Any) -> str:
    found = number(value)
    return "–" if found is None else significant(found)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)
