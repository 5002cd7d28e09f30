"""Read a table made by hand: one row per meteorite, a column per property with its unit, empty cell = not measured."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from meteoseg.classify.groups import COMPONENT_PROPERTIES, groups, properties, rules
from meteoseg.classify.measurements import EXTRA_UNITS, Measured, Measurements, unit_of
from meteoseg.errors import InputError, UnknownNameError

#: Columns that may name the meteorite, the first found counts.
NAME_COLUMNS = ("name", "section", "meteorite")
#: Columns that are read over, with a note.
REMARKS = (
    *("remark", "remarks", "note", "notes", "source", "reference", "comment"),
    *("status", "type", "class", "weathering"),
)
#: Column with the group a source states, to compare the answer with; column that says whether it is a fall.
GROUP_COLUMN, FALL_COLUMN = "group", "fall"
_SUFFIX = {"%": "pct", "vol%": "vol_pct", "wt%": "wt_pct", "mol%": "mol_pct", "area%": "area_pct", "ratio": ""}
_ERRORS = ("_err", "_sd")
_PHASES = ("metal", "sulfide", "magnetite", "phyllosilicate", "carbonate", "rust")
_OPAQUE = ("metal", "sulfide", "magnetite")
#: A limit of detection as cell: half of it, give or take as much, is what it says.
_BELOW = re.compile(r"^\s*<\s*([0-9.]+(?:[eE][-+]?\d+)?)\s*$")
#: A size that feldspar stays under excludes types; half of it would be a size.
_SIZE, _SIZE_LIMIT = "feldspar_size", "feldspar_size_limit"
_SUBGROUPS = {"CVRED": "CV", "CVOX": "CV", "CBA": "CB", "CBB": "CB"}


@dataclass(frozen=True)
class HandRow:
    """One meteorite of the table: its measurements and the group its source states (empty: none stated)."""

    measurements: Measurements
    stated_group: str


def column_of(name: str) -> str:
    """Return the column of a property with its unit.

    Examples
    --------
    >>> column_of("metal"), column_of("chondrule_mean_diameter"), column_of("Fa_pmd")
    ('metal_vol_pct', 'chondrule_mean_diameter_mm', 'Fa_pmd_pct')
    """
    unit = unit_of(name)
    suffix = _SUFFIX.get(unit, unit)
    return f"{name}_{suffix}" if suffix else name


def looks_handmade(table: pd.DataFrame) -> bool:
    """Whether a table is one row per meteorite, not in the format of ``modes.csv``."""
    return not {"layer", "area_pct"} & {str(column) for column in table.columns}


def read_hand_table(table: pd.DataFrame, *, is_fall: bool = False) -> dict[str, HandRow]:
    """Read the rows of a table made by hand.

    Parameters
    ----------
    table : columns of `column_of`, or the bare names of the properties, each with an optional ``_err`` (or ``_sd``)
        twin: one standard deviation; ``name``; ``fall`` (yes, no); ``group``; remarks. A cell ``<0.1`` is a limit.
    is_fall : all of them are falls.

    Returns
    -------
    Rows by name, in the order of the table; the name is the row number where there is no such column.

    Raises
    ------
    InputError : no row, a column or unit that is not known, a cell that is no number or negative, percentages that add
        up to far over 100, a name that comes twice.
    UnknownNameError : a stated group that is none of the groups.
    """
    columns = _recognised(table)
    if table.empty:
        raise InputError("The table has no row: give one row per meteorite.")
    ignored = [str(column) for column in table.columns if str(column).lower() in REMARKS]
    notes = (f"Columns not used: {', '.join(ignored)}.",) if ignored else ()
    found: dict[str, HandRow] = {}
    for number, raw in enumerate(table.to_dict("records"), start=1):
        row = {_plain(str(key)): value for key, value in raw.items()}
        label = next((str(row[column]).strip() for column in NAME_COLUMNS if not _empty(row.get(column))), str(number))
        if label in found:
            raise InputError(f"'{label}' is in the table twice: give each row its own name.")
        values = _values(row, columns, label)
        _check_sums(values, label)
        falls = is_fall or _yes(row.get(FALL_COLUMN), label)
        found[label] = HandRow(Measurements(values, notes=notes, is_fall=falls), _stated_group(row.get(GROUP_COLUMN)))
    return found


def _plain(column: str) -> str:
    """Return a column as it is looked up: names, groups and falls in small letters, however they are written."""
    return column.lower() if column.lower() in (*NAME_COLUMNS, GROUP_COLUMN, FALL_COLUMN) else column


def _recognised(table: pd.DataFrame) -> dict[str, tuple[str, str | None]]:
    """Return (column of the value, column of its error or None) by property."""
    if not pd.Index([_plain(str(column)) for column in table.columns]).is_unique:
        raise InputError("The table has two columns of one name: keep one of them.")
    names = [str(column) for column in table.columns]
    values: dict[str, str] = {}
    errors: dict[str, str] = {}
    for column in names:
        if column.lower() in (*NAME_COLUMNS, *REMARKS, GROUP_COLUMN, FALL_COLUMN):
            continue
        bare = next((column.removesuffix(end) for end in _ERRORS if column.endswith(end)), "")
        target = errors if bare else values
        name = _property_of(bare or column, column)
        if name in target:
            raise InputError(f"Columns '{target[name]}' and '{column}' give the same property: keep one of them.")
        target[name] = column
    if not values:
        raise InputError(
            f"The table has no column that can be classified (it has {', '.join(names)}): give modes.csv columns "
            f"(layer,name,area_pct) or properties ({', '.join(map(column_of, _known()))})."
        )
    lonely = next((column for name, column in errors.items() if name not in values), None)
    if lonely is not None:
        raise InputError(f"Column '{lonely}' is an error without its value: add the column of the value.")
    return {name: (column, errors.get(name)) for name, column in values.items()}


def _known() -> list[str]:
    return [*properties(), *EXTRA_UNITS]


def _property_of(bare: str, column: str) -> str:
    for name in _known():
        if bare in (name, column_of(name)):
            return name
    stem = max((name for name in _known() if bare.startswith(f"{name}_")), key=len, default=None)
    if stem is not None:
        unit = bare.removeprefix(f"{stem}_")
        raise InputError(
            f"Column '{column}' has the unknown unit '{unit}': {stem} is given in {unit_of(stem)} as {column_of(stem)}."
        )
    raise UnknownNameError.of("column", column, [column_of(name) for name in _known()] + list(NAME_COLUMNS))


def _values(row: Mapping[str, Any], columns: Mapping[str, tuple[str, str | None]], label: str) -> dict[str, Measured]:
    values = {}
    for name, (column, error_column) in columns.items():
        if _empty(row[column]):
            continue
        value, error = _number(row[column], column, label)
        if error_column is not None and not _empty(row[error_column]):
            error = math.hypot(error, _number(row[error_column], error_column, label)[0])
        if "%" in unit_of(name) and name != "Fa_pmd" and value > 100:
            raise InputError(f"{label}: {column} is {value:g}, over 100 %: correct the table.")
        rule = properties().get(name)
        if rule is not None and rule.scale == "log" and not rule.low <= value <= rule.high:
            raise InputError(
                f"{label}: {column} is {value:g} {rule.unit}, outside {rule.low:g} to {rule.high:g} {rule.unit}: "
                "correct the number or its unit, or leave the cell empty."
            )
        if name == _SIZE and _BELOW.match(str(row[column])):
            values[_SIZE_LIMIT] = Measured(2 * value)
            continue
        values[name] = Measured(value, error)
    return values


def _empty(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)) or str(cell).strip() == ""


def _number(cell: Any, column: str, label: str) -> tuple[float, float]:
    """Return the value of a cell and, for a limit of detection, its standard deviation."""
    below = _BELOW.match(str(cell))
    held = f"{label}: column '{column}' holds {cell!r}"
    try:
        value = float(below.group(1)) if below else float(cell)
    except (TypeError, ValueError) as error:
        raise InputError(f"{held}: give a number or leave the cell empty.") from error
    if not 0 <= value < math.inf:
        raise InputError(f"{held}: give a finite number of at least 0.")
    return (value / 2, value / 2) if below else (value, 0.0)


def _yes(cell: Any, label: str) -> bool:
    if _empty(cell):
        return False
    word = str(cell).strip().lower()
    if word in ("yes", "true", "1", "1.0", "fall"):
        return True
    if word in ("no", "false", "0", "0.0", "find"):
        return False
    raise InputError(f"{label}: column 'fall' holds {cell!r}: give yes, no or leave the cell empty.")


def _stated_group(cell: Any) -> str:
    """Return the group of a cell such as ``H``, ``LL3.2``, ``CV_ox`` or ``none``; empty where none is stated."""
    if _empty(cell):
        return ""
    text = str(cell).strip()
    bare = re.sub(r"[-\s]*\d.*$", "", text)
    stem = _SUBGROUPS.get(bare.replace("_", "").upper(), bare)
    if stem not in groups():
        raise UnknownNameError.of("group", text, groups())
    return stem


def _check_sums(values: Mapping[str, Measured], label: str) -> None:
    limits = rules()["table"]
    parts = [values[name].value for name in ("chondrules", "matrix") if name in values]
    if len(parts) == 2 and min(parts) > 0 and sum(parts) <= limits["fractions_max"]:
        raise InputError(f"{label}: chondrules and matrix add up to {sum(parts):.3g} %: give per cent, not fractions.")
    for names, key in (
        (COMPONENT_PROPERTIES, "components_max_pct"),
        (_PHASES, "phases_max_pct"),
        ((*COMPONENT_PROPERTIES, *_OPAQUE), "all_max_pct"),
    ):
        present = [name for name in names if name in values]
        total = sum(values[name].value for name in present)
        if total > limits[key]:
            raise InputError(
                f"{label}: {' + '.join(present)} add up to {total:.4g} %, over {limits[key]:g} %: give vol% of the "
                "whole rock, each part once."
            )
