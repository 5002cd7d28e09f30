"""JEOL microprobe maps: ``N_map.txt``, ``data00X.csv`` and ``.map`` with their ``.cnd`` condition files."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.source import MapSource, PixelSize
from meteoseg.io.stored import Stamp, opened, read_grid, stamp_of
from meteoseg.io.text import read_text

SUFFIXES = (".map",)
_BLOCK = re.compile(r"^(\S+)\s+Element Name No\.\d+-Seq\.\d+", re.MULTILINE)


@dataclass(frozen=True)
class Conditions:
    """What a condition file states: signal name, (rows, cols), (dy, dx) in um, stage or beam scan."""

    path: Path
    label: str
    shape: tuple[int, int] | None
    pixel_size_um: PixelSize | None
    stage_scan: bool = True
    bytes_per_value: int | None = None
    largest_count: float | None = None


@dataclass(frozen=True)
class MapFilePlane:
    """A JEOL ``.map`` file: stage maps are stored column by column, from the right-hand column on."""

    path: Path
    shape: tuple[int, int]
    stored: np.dtype[Any]
    stage_scan: bool
    offset: int
    stamp: Stamp

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values in native byte order."""
        return self.stored.newbyteorder("=")

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`."""
        rows, cols = self.shape
        on_disk, part = (rows, cols, 1), window
        if self.stage_scan:
            on_disk, part = (cols, rows, 1), Window(cols - window.col_end, window.row, window.width, window.height)
        with opened(self.path, self.stamp) as handle:
            stored = read_grid(handle, self.stored, self.offset, on_disk, part)[..., 0]
        image = stored.T[:, ::-1] if self.stage_scan else stored
        return np.array(image, self.dtype)


def conditions_of(path: Path) -> Conditions | None:
    """Find and read the condition file of a JEOL map: ``N.cnd`` beside it, or the shared ``0.cnd``.

    Raises
    ------
    InputError : the shared file lists fewer elements than the number of the map.
    """
    stem = path.stem.removesuffix("_map")
    own, shared = path.with_name(f"{stem}.cnd"), path.with_name("0.cnd")
    if own.is_file():
        return _own_conditions(own)
    if shared.is_file() and stem.isdigit():
        return _shared_conditions(shared, int(stem))
    return None


def read_jeol(path: Path) -> tuple[MapSource, ...]:
    """List the one map of a JEOL file; element and step size come from its condition file.

    Raises
    ------
    InputError : no condition file, or a size that does not agree with it.
    """
    conditions = conditions_of(path)
    if conditions is None:
        raise InputError(f"{path} needs its condition file ({path.stem}.cnd or 0.cnd) beside it: copy that as well.")
    if path.suffix.lower() == ".map":
        plane = _map_plane(path, conditions)
        source = MapSource(path, plane, conditions.label, unit="counts" if plane.stored.kind == "u" else "unknown")
    else:
        source = read_text(path)[0]
    return (
        replace(
            source,
            label=conditions.label,
            label_from=f"condition file {conditions.path.name}",
            pixel_size_um=conditions.pixel_size_um,
            pixel_size_source=f"condition file {conditions.path.name}",
        ),
    )


def _own_conditions(path: Path) -> Conditions:
    text = path.read_text(encoding="latin-1")
    signal = _field(text, r"XM_ELEM_IMS_SIGNAL_TYPE%0") or _field(text, r"XM_ELEM_NAME%0") or _field(text, "XM_ELEMENT")
    points = _numbers(text, r"XM_AP_SA_PIXELS%0") or _numbers(text, "XM_POINTS")
    step = _numbers(text, r"XM_AP_SA_PIXEL_SIZE%0") or _numbers(text, "XM_STEP_SIZE")
    largest = _numbers(text, "XM_DATA_COUNT_MAX")
    return Conditions(
        path,
        (signal or "").split()[0] if signal else "",
        (int(points[1]), int(points[0])) if len(points) > 1 else None,
        (step[1], step[0]) if len(step) > 1 and min(step[:2]) > 0 else None,
        stage_scan="XM_AP_BSA_STAGE_POS" not in text,
        largest_count=largest[0] if largest else None,
    )


def _shared_conditions(path: Path, number: int) -> Conditions:
    text = path.read_text(encoding="latin-1")
    blocks = _BLOCK.findall(text)
    if not 1 <= number <= len(blocks):
        raise InputError(f"{path} lists {len(blocks)} elements but there is a map {number}: check the folder.")
    cols, rows = (_before(text, rf"{axis}-axis Step Number") for axis in "XY")
    dx, dy = (_before(text, rf"{axis} Step Size \[um\]") for axis in "XY")
    width = _before(text, "Data Byte Length")
    return Conditions(
        path,
        blocks[number - 1],
        (int(rows), int(cols)) if rows and cols else None,
        (dy, dx) if dx and dy else None,
        stage_scan=not re.search(r"^B\s+Stage\[S\]", text, re.MULTILINE),
        bytes_per_value=int(width) if width else None,
    )


def _map_plane(path: Path, conditions: Conditions) -> MapFilePlane:
    if conditions.shape is None:
        raise InputError(
            f"{conditions.path} does not state the number of points of {path.name}: export the map as text."
        )
    pixels, stamp = conditions.shape[0] * conditions.shape[1], stamp_of(path)
    size = stamp[1]
    width = conditions.bytes_per_value or size // pixels
    if width not in (2, 4) or size < pixels * width:
        raise InputError(
            f"{path} has {size} bytes but {conditions.path.name} announces {conditions.shape[0]} x "
            f"{conditions.shape[1]} points: it is truncated or another map's; copy it again."
        )
    types = [np.dtype(f">u{width}"), np.dtype(f"<u{width}"), *([np.dtype("<f4")] if width == 4 else [])]
    planes = [
        MapFilePlane(path, conditions.shape, t, conditions.stage_scan, size - pixels * width, stamp) for t in types
    ]
    if conditions.largest_count is None:
        return planes[0]
    for plane in planes:
        if float(plane.read(Window.whole(plane.shape)).max()) == conditions.largest_count:
            return plane
    raise InputError(
        f"{path} does not reach the largest count {conditions.largest_count:g} of {conditions.path.name} "
        "in any byte order: export the map as text."
    )


def _field(text: str, key: str) -> str | None:
    match = re.search(rf"^\$?{key}[ \t]+(\S.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else None


def _numbers(text: str, key: str) -> list[float]:
    return [float(number) for number in re.findall(r"[0-9.]+(?:[eE][-+]?\d+)?", _field(text, key) or "")]


def _before(text: str, description: str) -> float:
    match = re.search(rf"^([0-9.]+)\s+{description}", text, re.MULTILINE)
    return float(match[1]) if match else 0.0
