"""Tables that come beside drawn labels: what label values mean, and of what kind each object is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from meteoseg.errors import InputError


def read_meaning(path: Path, layer: str) -> dict[str, str]:
    """Read what label values mean from a CSV: columns id (or value, or label), name and, where wanted, layer.

    Raises
    ------
    InputError : no such file, other columns, or no row for `layer`.
    """
    table = _read(path)
    key = _first_column(table, ("id", "value", "label"))
    if key is None or "name" not in table:
        raise InputError(f"{path} does not say what labels mean: it needs the columns id and name.")
    if "layer" in table:
        table = table[table["layer"].isin([layer, ""])]
    if table.empty:
        raise InputError(f"{path} has no row of the layer {layer}: add some, or leave the column layer out.")
    return dict(zip(table[key], table["name"], strict=True))


def read_kinds(path: Path) -> dict[int, str]:
    """Read the kind of each object from a CSV: columns label (or id) and kind. Empty rows are skipped.

    Raises
    ------
    InputError : no such file, other columns, or a label that is missing, given twice or no whole number.
    """
    table = _read(path)
    key = _first_column(table, ("label", "id"))
    if key is None or "kind" not in table:
        raise InputError(f"{path} has the columns {', '.join(table.columns)}: it needs label (or id) and kind.")
    kinds: dict[int, str] = {}
    for label, kind in zip(table[key], table["kind"], strict=True):
        if not label and not kind:
            continue
        number = label.removesuffix(".0")
        if not number.isdecimal():
            raise InputError(f"{path} has the {key} '{label}': give the whole number that the object has.")
        if int(number) in kinds:
            raise InputError(f"{path} names the object {number} twice: give each object one row.")
        kinds[int(number)] = kind
    return kinds


def _read(path: Path) -> pd.DataFrame:
    """Read a CSV as text without blanks at the ends."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a table ({str(error).strip()}): give a CSV file.") from error
    return table.transform(lambda column: column.str.strip())


def _first_column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table), None)
