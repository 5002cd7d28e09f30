"""Files of reference points in a result folder: the list to label, its key, and the areas it was drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.estimation.reference import ReferencePoints

POINTS_COLUMNS = ("point", "layer", "row_px", "col_px", "row_um", "col_um", "label")
KEY_COLUMNS = ("point", "layer", "row_px", "col_px", "mapped")
STRATA_COLUMNS = ("layer", "name", "area_px", "n_points")
CONFUSION_CSV, ACCURACY_CSV = "checkpoints_confusion.csv", "checkpoints_accuracy.csv"


def points_csv(layer: str) -> str:
    """Name of the list of points to label, e.g. ``checkpoints_phases.csv``."""
    return f"checkpoints_{layer}.csv"


def key_csv(layer: str) -> str:
    """Name of the table that says what the map calls each point."""
    return f"checkpoints_{layer}_key.csv"


def strata_csv(layer: str) -> str:
    """Name of the table of the areas that points were drawn from."""
    return f"checkpoints_{layer}_strata.csv"


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV as text, without blanks around cells.

    Raises
    ------
    InputError : no such file, no table, or a column is missing.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}: give the list that meteoseg checkpoints OUT wrote, with its labels.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read as a table ({str(error).strip()}): give a CSV file.") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the column '{missing[0]}': give the list that meteoseg checkpoints wrote.")
    return pd.DataFrame({column: table[column].str.strip() for column in table})


def labelled_points(
    table: pd.DataFrame, folder: Path, layer: str, known: Sequence[str], shape: tuple[int, int], *, source: Path
) -> ReferencePoints | None:
    """Join a labelled list with the key of `folder`; None where no point of the layer has a label.

    Parameters
    ----------
    table : the list as text, see `read_table`; rows without a label are skipped.
    known : names that may be given. shape : (rows, cols) of the map. source : the file, for messages.

    Raises
    ------
    InputError : no list was drawn for the layer, a point that is not on it or outside the map, or too few labels.
    UnknownNameError : a label that is no class.
    """
    given = table[(table["layer"] == layer) & (table["label"] != "")]
    if given.empty:
        return None
    if not (folder / key_csv(layer)).is_file() or not (folder / strata_csv(layer)).is_file():
        raise InputError(f"{folder} has no {key_csv(layer)}: draw a list with meteoseg checkpoints {folder} first.")
    key = read_table(folder / key_csv(layer), KEY_COLUMNS).set_index("point")
    strata = read_table(folder / strata_csv(layer), STRATA_COLUMNS)
    seen: set[str] = set()
    points: Counter[tuple[str, str]] = Counter()
    for row in given.to_dict("records"):
        point, label = str(row["point"]), str(row["label"])
        if label not in known:
            raise UnknownNameError.of(f"class at point {point} of {source.name}", label, known)
        where = _whole(row, "row_px", source), _whole(row, "col_px", source)
        if not (0 <= where[0] < shape[0] and 0 <= where[1] < shape[1]):
            raise InputError(
                f"Point {point} of {source} lies at row {where[0]}, column {where[1]}, outside the map of {shape[0]} x "
                f"{shape[1]}: leave the positions as they were drawn."
            )
        if point not in key.index or (_at(key, point)) != where:
            raise InputError(
                f"Point {point} of {source} is not the one that was drawn for {folder}: label the list of this folder, "
                "and leave its points as they are."
            )
        if point in seen:
            raise InputError(f"Point {point} is in {source} twice: keep one row.")
        seen.add(point)
        points[str(key.loc[point, "mapped"]), label] += 1
    areas = {str(name): int(area) for name, area in zip(strata["name"], strata["area_px"], strict=True)}
    return ReferencePoints(layer, areas, points)


def _at(key: pd.DataFrame, point: str) -> tuple[int, int]:
    return int(str(key.loc[point, "row_px"])), int(str(key.loc[point, "col_px"]))


def _whole(row: Mapping[Any, Any], column: str, source: Path) -> int:
    try:
        return int(float(row[column]))
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"Point {row['point']} of {source} has the {column} '{row[column]}': leave positions as they were drawn."
        ) from error


def stored_points(folder: Path, layer: str, known: Sequence[str], shape: tuple[int, int]) -> ReferencePoints | None:
    """Return the labelled points that lie in a result folder; None where there are none."""
    path = folder / points_csv(layer)
    if not path.is_file():
        return None
    return labelled_points(read_table(path, POINTS_COLUMNS), folder, layer, known, shape, source=path)
