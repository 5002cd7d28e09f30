"""What feldspar and the outlines of chondrules say about the type: from feldspar.csv and delineation.csv to numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from meteoseg.classify.groups import rules, supported
from meteoseg.classify.measurements import Measured
from meteoseg.errors import InputError

_BETWEEN, _WITH_GLASS = "between chondrules", "between chondrules, with mesostasis"
_FELDSPAR_COLUMNS = ("where", "area_mm2", "feldspar_pct", "size_um", "standard_error_um", "ci_high_um", "limit_um")
_DELINEATION_COLUMNS = ("contrast", "standard_error", "n_chondrules", "width_um")
Evidence = tuple[dict[str, Measured], tuple[str, ...]]


def feldspar_evidence(table: pd.DataFrame, channels: Sequence[str] | None) -> Evidence:
    """Take the size of secondary feldspar, or the size that it stays under.

    Feldspar counts as secondary where it lies between chondrules in an amount that fragments of chondrules do not
    reach. Where there is less, or where it is finer than the map resolves, the limit of resolution is what is known,
    unless mesostasis between chondrules, which maps take for feldspar and the other way round, is as large.

    Parameters
    ----------
    table : in the format of ``feldspar.csv``. channels : of the maps, None where unknown: nothing is used then.

    Returns
    -------
    ``feldspar_size`` or ``feldspar_size_limit`` (um), and remarks.

    Raises
    ------
    InputError : a column is missing.

    Examples
    --------
    >>> row = {"area_mm2": 9.0, "feldspar_pct": 8.0, "size_um": 62.0, "standard_error_um": 2.0, "ci_high_um": 66.0}
    >>> table = pd.DataFrame([{"where": "between chondrules", "limit_um": 15.0} | row])
    >>> feldspar_evidence(table, ["Na", "Al"])[0]["feldspar_size"].value
    62.0
    """
    _require(table, _FELDSPAR_COLUMNS, "feldspar")
    rule = rules()["type"]["feldspar"]
    rows = {str(row["where"]): {str(key): value for key, value in row.items()} for row in table.to_dict("records")}
    if channels is None or not supported(rule["needs"], channels):
        return {}, ("The size of feldspar is not used: it needs Al with Na or Ca.",)
    own = rows.get(_BETWEEN)
    if own is None:
        return {}, ("The size of feldspar is not used: without components nobody knows what lies between chondrules.",)
    if float(own["area_mm2"]) < rule["min_area_mm2"]:
        return {}, (f"The size of feldspar is not used: under {rule['min_area_mm2']:g} mm2 lie between chondrules.",)
    if _amounts(own) and not math.isnan(float(own["size_um"])):
        value = float(own["size_um"])
        sd = math.hypot(float(own["standard_error_um"]), rule["floor_relative"] * value)
        return {"feldspar_size": Measured(value, sd)}, ()
    return _limit(own, rows.get(_WITH_GLASS, own))


def _amounts(row: Mapping[str, Any]) -> bool:
    """Whether there is more feldspar than fragments of chondrules bring."""
    return float(row["feldspar_pct"]) >= float(rules()["type"]["feldspar"]["min_secondary_pct"])


def _limit(own: Mapping[str, Any], with_glass: Mapping[str, Any]) -> Evidence:
    sizes = [float(row["ci_high_um"]) for row in (own, with_glass) if not math.isnan(float(row["ci_high_um"]))]
    least_um = float(rules()["type"]["feldspar"]["cuts"][0][1])
    largest = max(sizes, default=0.0)
    if largest >= least_um:
        text = "Feldspar and mesostasis between chondrules are coarse but may be fragments of chondrules: not used."
        return {}, (text,)
    return {"feldspar_size_limit": Measured(max(float(own["limit_um"]), largest))}, ()


def delineation_evidence(table: pd.DataFrame) -> Evidence:
    """Take the contrast of minerals across the outlines of chondrules, where there are enough of them.

    Parameters
    ----------
    table : in the format of ``delineation.csv``.

    Raises
    ------
    InputError : a column is missing.
    """
    _require(table, _DELINEATION_COLUMNS, "delineation")
    rule, least = rules()["type"]["delineation"], rules()["decision"]["min_chondrules"]
    row = table.iloc[0]
    contrast, error = float(row["contrast"]), float(row["standard_error"])
    if math.isnan(contrast) or math.isnan(error):
        return {}, ()
    if int(row["n_chondrules"]) < least:
        return {}, (f"How sharply chondrules stand out is not used: it takes {least} of them.",)
    if float(row["width_um"]) > rule["max_width_um"]:
        return {}, ("How sharply chondrules stand out is not used: pixels are too coarse.",)
    return {"chondrule_contrast": Measured(contrast, error)}, ()


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"The {what} table lacks the column '{missing[0]}': give a table like {what}.csv.")
