"""How the transform of a registered image stands in section.toml and in run.json; its table of displacements."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meteoseg.errors import InputError
from meteoseg.io.warped import DisplacementGrid, Points, Transform, WarpedPlane
from meteoseg.section import Plane

KEYS = ("shape", "matrix", "offset", "grid")
_COLUMNS = ("row_px", "col_px", "shift_row_px", "shift_col_px")
_REMEDY = "make it again with meteoseg register"


def entry_of(plane: WarpedPlane) -> dict[str, Any]:
    """Return a transform as plain values: `shape` of the map grid, `matrix`, `offset` and, where local, `grid`."""
    transform = plane.transform
    entry: dict[str, Any] = {
        "shape": [int(length) for length in plane.shape],
        "matrix": transform.matrix.tolist(),
        "offset": transform.offset.tolist(),
    }
    if transform.grid is not None:
        grid = transform.grid
        entry["grid"] = {"rows": grid.rows.tolist(), "cols": grid.cols.tolist(), "shift_px": grid.shift_px.tolist()}
    return entry


def warped(plane: Plane, entry: Any, listed_in: Path) -> WarpedPlane:
    """Read `plane` through what `entry_of` returned; `grid` may also be a table, named relative to `listed_in`.

    Raises
    ------
    InputError : keys or values of another kind, or a table of displacements that cannot be read.
    """
    if not isinstance(entry, Mapping) or not set(entry) <= set(KEYS):
        raise InputError(f"{listed_in}: register must have the keys {', '.join(KEYS)}: {_REMEDY}.")
    shape = _numbers(entry, "shape", (2,), listed_in)
    if (shape != shape.round()).any() or (shape < 1).any():
        raise InputError(f"{listed_in}: register has the shape {entry['shape']}, not two whole numbers: {_REMEDY}.")
    matrix = _numbers(entry, "matrix", (2, 2), listed_in)
    if not abs(np.linalg.det(matrix)) > 1e-9:
        raise InputError(f"{listed_in}: register has a matrix that cannot be inverted: {_REMEDY}.")
    transform = Transform(matrix, _numbers(entry, "offset", (2,), listed_in), _grid(entry.get("grid"), listed_in))
    return WarpedPlane(plane, (int(shape[0]), int(shape[1])), transform)


def write_displacements(grid: DisplacementGrid, path: Path) -> None:
    """Write the nodes as CSV: row_px, col_px, shift_row_px, shift_col_px, all in map pixels."""
    lines = [",".join(_COLUMNS)]
    for number, row in enumerate(grid.rows):
        for place, col in enumerate(grid.cols):
            shift = grid.shift_px[number, place]
            lines.append(f"{float(row)!r},{float(col)!r},{float(shift[0])!r},{float(shift[1])!r}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_displacements(path: Path) -> DisplacementGrid:
    """Read what `write_displacements` wrote.

    Raises
    ------
    InputError : missing, other columns, no numbers, or nodes that are no full grid.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = list(csv.DictReader(handle))
        table = np.array([[float(line[key]) for key in _COLUMNS] for line in lines], np.float64).reshape(-1, 4)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no table of displacements ({', '.join(_COLUMNS)}): {_REMEDY}.") from error
    rows, cols = np.unique(table[:, 0]), np.unique(table[:, 1])
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    nodes = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    if not len(table) or nodes.shape != table[:, :2].shape or (nodes != table[:, :2]).any():
        raise InputError(f"{path} is not a full grid of nodes: {_REMEDY}.")
    if not np.isfinite(table).all():
        raise InputError(f"{path} has values that are no numbers: {_REMEDY}.")
    return DisplacementGrid(rows, cols, table[:, 2:].reshape(len(rows), len(cols), 2))


def _grid(entry: Any, listed_in: Path) -> DisplacementGrid | None:
    if entry is None:
        return None
    if isinstance(entry, str):
        return read_displacements(listed_in.parent / entry)
    if not isinstance(entry, Mapping):
        raise InputError(f"{listed_in}: grid of register must be the name of a CSV table: {_REMEDY}.")
    sizes = tuple(len(entry.get(key, ())) for key in ("rows", "cols"))
    rows, cols = (_numbers(entry, key, (size,), listed_in) for key, size in zip(("rows", "cols"), sizes, strict=True))
    return DisplacementGrid(rows, cols, _numbers(entry, "shift_px", (*sizes, 2), listed_in))


def _numbers(entry: Mapping[str, Any], key: str, shape: tuple[int, ...], listed_in: Path) -> Points:
    try:
        values = np.array(entry[key], np.float64)
    except (KeyError, TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape != shape or not np.isfinite(values).all() or not values.size:
        size = " x ".join(str(length) for length in shape)
        raise InputError(f"{listed_in}: {key} of register must be {size} numbers: {_REMEDY}.")
    return values
