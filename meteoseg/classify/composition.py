"""What mean compositions of minerals say about the group: from chemistry.csv to measurements."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from meteoseg.classify.groups import rules
from meteoseg.classify.measurements import Measured
from meteoseg.errors import InputError

#: Property of the classification by (phase, quantity) of ``chemistry.csv``.
_PROPERTIES = {
    ("olivine", "Fa"): "Fa_olivine",
    ("low-Ca pyroxene", "Fs"): "Fs_lowCa_pyroxene",
    ("olivine", "Fa_pmd"): "Fa_pmd",
}
_COLUMNS = ("phase", "quantity", "where", "n_grains", "n_chondrules", "mean", "standard_error", "systematic_error")
_COUNTS = ("n_grains", "n_chondrules")


def chemistry_evidence(table: pd.DataFrame) -> tuple[dict[str, Measured], tuple[str, ...]]:
    """Take the compositions that bear on the group: grains inside chondrules and fragments, enough of them.

    Parameters
    ----------
    table : in the format of ``chemistry.csv``.

    Returns
    -------
    Measurements by property name (sd: standard and systematic error together), and why others are not used.

    Raises
    ------
    InputError : a column is missing.

    Examples
    --------
    >>> row = {"phase": "olivine", "quantity": "Fa", "where": "chondrules", "n_grains": 25, "n_chondrules": 12,
    ...        "mean": 18.9, "standard_error": 0.3, "systematic_error": 0.4}
    >>> chemistry_evidence(pd.DataFrame([row]))[0]
    {'Fa_olivine': Measured(value=18.9, sd=0.5)}
    """
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise InputError(f"The chemistry table lacks the column '{missing[0]}': give a table like chemistry.csv.")
    found: dict[str, Measured] = {}
    notes: list[str] = []
    for row in table[table["where"] == "chondrules"].to_dict("records"):
        name = _PROPERTIES.get((str(row["phase"]), str(row["quantity"])))
        if name is None:
            continue
        reason = _unusable(name, row)
        if reason:
            notes.append(reason)
            continue
        errors = [float(row[key]) for key in ("standard_error", "systematic_error")]
        sd = math.hypot(*(error for error in errors if not math.isnan(error)))
        found[name] = Measured(max(0.0, float(row["mean"])), sd)
    return found, tuple(notes)


def _unusable(name: str, row: Mapping[Hashable, Any]) -> str:
    n_grains, n_chondrules = (0 if math.isnan(float(row[key])) else int(row[key]) for key in _COUNTS)
    limits = rules()["chemistry"]
    least = limits["min_pmd_grains" if name == "Fa_pmd" else "min_grains"]
    if n_grains >= least and n_chondrules >= limits["min_chondrules"]:
        return f"{name} is not used: it has no mean." if math.isnan(float(row["mean"])) else ""
    return (
        f"{name} is not used: it takes {least} grains in {limits['min_chondrules']} chondrules, and there are "
        f"{n_grains} in {n_chondrules}."
    )
