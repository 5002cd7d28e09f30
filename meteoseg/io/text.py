"""Text matrices: CSV and other separators without header, and Cameca exports with one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.io.source import MapSource, PixelSize, stem_of, unit_of_type
from meteoseg.section import ArrayPlane

SUFFIXES = (".csv", ".txt", ".asc", ".dat")
_CAMECA_IMAGE = re.compile(r"^\W*Image\s*:\s*(\S.*?)\s*$", re.MULTILINE)
_CAMECA_FIELD = r"^\W*{}[^:\n]*:\s*([0-9.]+)(?:[ ,;x\t]+([0-9.]+))?"


def read_text(path: Path) -> tuple[MapSource, ...]:
    """Read the matrix of a text file (it must be parsed to know its size; kept as int32 or float32).

    Comma, semicolon, tab or spaces separate; a separator at the end of every row is no column; empty fields
    are NaN; a decimal comma is understood where semicolons or tabs separate; an index row and column are
    dropped.

    Raises
    ------
    InputError : empty file, rows of unequal length, or text between the numbers.
    """
    text = _text_of(path)
    header = cameca_header(text)
    lines = [line.strip("\r\n ") for line in text.splitlines()]
    lines = [line for line in lines if line.strip()]
    if header:
        lines = _after_header(lines)
    values = _without_index(_matrix(lines, path), header[1] if header else None)
    dtype: np.dtype[Any] = np.dtype(np.float32)
    if np.isfinite(values).all() and (values == np.round(values)).all() and np.abs(values).max() < 2**31:
        dtype = np.dtype(np.int32)
    values = values.astype(dtype)
    size = header[2] if header else None
    source = MapSource(
        path,
        ArrayPlane(values),
        header[0] if header else stem_of(path),
        "Cameca header" if header else "file name",
        unit=unit_of_type(dtype),
        pixel_size_um=size,
        pixel_size_source="Cameca header" if size else "",
    )
    return (source,)


def has_cameca_header(path: Path) -> bool:
    """Tell whether a text file starts with a Cameca header, from its first 4 KB."""
    with path.open("rb") as handle:
        return _CAMECA_IMAGE.search(handle.read(4096).decode("latin-1")) is not None


def cameca_header(text: str) -> tuple[str, tuple[int, int] | None, PixelSize | None] | None:
    r"""Return (image name, (rows, cols), (dy, dx) in um) of a Cameca header, or None.

    ``Step Number`` counts columns and ``Line Number`` rows; ``Step Size`` is in um.

    Examples
    --------
    >>> cameca_header("Image : Ca Ka\nStep Number : 200\nLine Number : 100\nStep Size : 2.0 3.0")
    ('Ca Ka', (100, 200), (3.0, 2.0))
    """
    head = text[:4096]
    image = _CAMECA_IMAGE.search(head)
    if image is None:
        return None
    steps, lines, size = (
        re.search(_CAMECA_FIELD.format(key), head, re.MULTILINE | re.IGNORECASE)
        for key in ("Step Number", "Line Number", "Step Size")
    )
    shape = (int(float(lines[1])), int(float(steps[1]))) if steps and lines else None
    pixel = (float(size[2] or size[1]), float(size[1])) if size else None
    return image[1], shape, pixel


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    if not data.strip():
        raise InputError(f"{path} is empty: export it again.")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _after_header(lines: list[str]) -> list[str]:
    """Drop the header of a Cameca file: all lines up to the last one with letters or a colon."""
    with_text = [number for number, line in enumerate(lines[:200]) if re.search(r":|[A-DF-Za-df-z]{2}", line)]
    start = max(with_text, default=-1) + 1
    return lines[start:]


def _matrix(lines: list[str], path: Path) -> NDArray[np.float64]:
    separator = next((mark for mark in (";", "\t", ",") if lines and mark in lines[0]), None)
    if separator in (";", "\t"):
        lines = [line.replace(",", ".") for line in lines]
    if separator and all(line.endswith(separator) for line in lines):
        lines = [line[:-1] for line in lines]
    fields = [len(line.split(separator)) for line in lines]
    if not lines or len(set(fields)) != 1:
        where = next((number for number, count in enumerate(fields) if count != fields[0]), 0)
        found = f"row {where + 1} has {fields[where]} fields, row 1 has {fields[0]}" if lines else "no numbers"
        raise InputError(f"{path} is not a map: {found}. Export a matrix of numbers without header.")
    if separator:
        lines = [re.sub(rf"(?<={separator})\s*(?={separator}|$)|^\s*(?={separator})", "nan", line) for line in lines]
    try:
        return np.loadtxt(lines, delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        detail = str(error).split(";")[0].rstrip(".")
        raise InputError(
            f"{path} is not a map of numbers ({detail}). Export a matrix without header or text."
        ) from error


def _without_index(values: NDArray[Any], shape: tuple[int, int] | None) -> NDArray[Any]:
    """Drop an index row and column: announced by the header's shape, or both counting up by one."""
    if shape is not None:
        extra_rows, extra_cols = values.shape[0] - shape[0], values.shape[1] - shape[1]
        if (extra_rows, extra_cols) in ((0, 0), (1, 0), (0, 1), (1, 1)):
            return values[extra_rows:, extra_cols:]
    if min(values.shape) >= 4 and _counts_up(values[0, 1:]) and _counts_up(values[1:, 0]):
        return values[1:, 1:]
    return values


def _counts_up(line: NDArray[Any]) -> bool:
    return bool(line[0] in (0, 1)) and bool((np.diff(line) == 1).all())
