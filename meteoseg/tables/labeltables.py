"""Tables that come beside drawn labels: what label values mean, and of what kind each object is."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from meteoseg.errors import InputError


def read_meaning(path: Path, layer: str) -> dict[str, str]:
    """Read what label values mean from a CSV: columns id (or value, or label), name and, where wanted, layer.

    Raises
    ------
    InputError : no such file, other columns, or no row for `layer`.
    """
    columns, rows = _read(path)
    key = _first_of(("id", "value", "label"), columns)
    if key is None or "name" not in columns:
        raise InputError(f"{path} does not say what labels mean: it needs the columns id and name.")
    meaning = {row[key]: row["name"] for row in rows if row.get("layer", layer) in (layer, "")}
    if not meaning:
        raise InputError(f"{path} has no row of the layer {layer}: add some, or leave the column layer out.")
    return meaning


def read_kinds(path: Path) -> dict[int, str]:
    """Read the kind of each object from a CSV: columns label (or id) and kind. Empty rows are skipped.

    Raises
    ------
    InputError : no such file, other columns, or a label that is missing, given twice or no whole number.
    """
    columns, rows = _read(path)
    key = _first_of(("label", "id"), columns)
    if key is None or "kind" not in columns:
        raise InputError(f"{path} has the columns {', '.join(columns)}: it needs label (or id) and kind.")
    kinds: dict[int, str] = {}
    for row in rows:
        label, kind = row[key], row["kind"]
        if not label and not kind:
            continue
        number = label.removesuffix(".0")
        if not number.isdecimal():
            raise InputError(f"{path} has the {key} '{label}': give the whole number that the object has.")
        if int(number) in kinds:
            raise InputError(f"{path} names the object {number} twice: give each object one row.")
        kinds[int(number)] = kind
    return kinds


def _read(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """Return the columns and the rows of a CSV; cells beyond the header (after a trailing comma) are left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
            return reader.fieldnames or (), rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): give a CSV file.") from error


def _first_of(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)
