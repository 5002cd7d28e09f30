"""What the report says of how far the modal abundances can be trusted, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from meteoseg.report.facts import number, significant

#: Rarer classes than this (area %) are left out of the table on the page; all are in representativeness.csv.
LEAST_PCT = 0.05


def range_text(row: Mapping[Any, Any], low: str, high: str) -> str:
    """Return an interval of a row of the modal table, e.g. ``43.10 – 47.20``; empty where there is none.

    Examples
    --------
    >>> range_text({"a": 1.0, "b": 2.5}, "a", "b"), range_text({"a": None}, "a", "b")
    ('1.00 – 2.50', '')
    """
    bounds = number(row.get(low)), number(row.get(high))
    return "" if bounds[0] is None or bounds[1] is None else f"{bounds[0]:.2f} – {bounds[1]:.2f}"


def percent_text(row: Mapping[Any, Any], column: str) -> str:
    """Return a per cent of a row of the modal table; empty where there is none."""
    found = number(row.get(column))
    return "" if found is None else f"{found:.2f}"


def representative_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of ``representativeness.csv`` in words, those of rare classes left out."""
    rows = []
    for row in table.to_dict("records"):
        value, relative = number(row["value"]), number(row["relative_error_pct"])
        counted = number(row["n_objects"])
        if row["unit"] == "area %" and (value or 0.0) < LEAST_PCT and counted is None:
            continue
        needed = number(row["mm2_for_10_pct"])
        rows.append({
            "name": str(row["name"]) if row["layer"] != "chondrules" else f"{row['name']} of chondrules",
            "value": "" if value is None else f"{significant(value)} {row['unit']}",
            "error": "" if relative is None else f"{relative:.0f} %",
            "objects": "" if counted is None else f"{counted:.0f}",
            "needed": "" if needed is None else significant(needed, 2),
            "statement": str(row["statement"]),
        })  # fmt: skip
    return rows


def accuracy_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of ``checkpoints_accuracy.csv`` in words."""
    return [
        {
            "name": f"{row['name']} ({row['layer']})",
            "n": str(row["n_mapped"]),
            "users": _with_error(row["users_accuracy_pct"], row["users_error_pct"]),
            "producers": _with_error(row["producers_accuracy_pct"], row["producers_error_pct"]),
        }
        for row in table.to_dict("records")
    ]


def _with_error(value: Any, error: Any) -> str:
    found, spread = number(value), number(error)
    if found is None:
        return "–"
    return f"{found:.0f} %" if spread is None else f"{found:.0f} ± {spread:.0f} %"
