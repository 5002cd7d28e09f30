"""Ripple cubes: a header (.rpl), read by RosettaSciIO, beside the counts as they are (.raw), read by windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.cube import SpectrumCube
from meteoseg.io.cubereaders import damage_told, ev_per_unit, load_plugin
from meteoseg.io.source import PixelSize
from meteoseg.io.stored import Stamp, opened, read_grid, stamp_of

_BLOCK_BYTES = 32_000_000
_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3}
_KINDS = {"unsigned": "u", "signed": "i", "float": "f"}
_ORDERS = {"little-endian": "<", "big-endian": ">", "dont-care": "="}


@dataclass(frozen=True)
class RippleReader:
    """Counts of a raw file: spectrum after spectrum (`by_spectrum`), or one map per channel after the other.

    Not by a memory map: its pages would count as memory of this process, and a file that becomes shorter would end it.
    """

    path: Path
    stamp: Stamp
    shape: tuple[int, int]
    channels: int
    stored: np.dtype[Any]
    offset: int
    by_spectrum: bool

    def blocks(self) -> Iterator[tuple[Window, NDArray[Any]]]:
        """Yield windows and their spectra (h, w, N).

        Raises
        ------
        InputError : the file is gone, changed or ends early.
        """
        rows, cols = self.shape
        height = max(1, _BLOCK_BYTES // (cols * self.channels * self.stored.itemsize))
        for row in range(0, rows, height):
            window = Window(row, 0, min(height, rows - row), cols)
            with opened(self.path, self.stamp) as handle:
                yield window, self._read(handle, window)

    def _read(self, handle: Any, window: Window) -> NDArray[Any]:
        rows, cols = self.shape
        if self.by_spectrum:
            return read_grid(handle, self.stored, self.offset, (rows, cols, self.channels), window)
        out = np.empty((window.height, window.width, self.channels), self.stored)
        size = rows * cols * self.stored.itemsize
        for channel in range(self.channels):
            plane = read_grid(handle, self.stored, self.offset + channel * size, (rows, cols, 1), window)
            out[..., channel] = plane[..., 0]
        return out


def open_ripple(path: Path) -> SpectrumCube:
    """Open a ripple cube by its header or its counts; the other lies beside it under the same name.

    Raises
    ------
    InputError : one of the two is missing, the header is damaged or describes no cube, or the counts are cut short.
    """
    header, raw = (_beside(path, suffix) for suffix in (".rpl", ".raw"))
    plugin = load_plugin(path, "ripple")
    expected = _expected_bytes(header)
    stamp = stamp_of(raw)
    if expected is not None and stamp[1] < expected:
        raise InputError(
            f"{raw} is cut short: {header.name} announces {expected} bytes and it has {stamp[1]}. Copy it again."
        )
    with damage_told(header):
        info = plugin.file_reader(str(header), lazy=True)[0]["original_metadata"]
        depth, rows, cols = (int(info[key]) for key in ("depth", "height", "width"))
        stored = np.dtype(f"{_ORDERS[info['byte-order']]}{_KINDS[info['data-type']]}{info['data-length']}")
    if depth < 2 or info["record-by"] == "dont-care":
        raise InputError(f"{header} describes an image, not a cube of spectra: give the cube.")
    reader = RippleReader(
        raw, stamp, (rows, cols), depth, stored, int(info["offset"]), by_spectrum=info["record-by"] == "vector"
    )
    step, origin = _energies(info)
    return SpectrumCube(
        raw,
        stamp,
        reader,
        (rows, cols),
        depth,
        stored,
        ev_per_channel=step,
        offset_ev=origin,
        pixel_size_um=_pixel_size(info),
        beam_kv=float(info.get("beam-energy") or 0) or None,
        resolution_ev=float(info.get("detector-peak-width-ev") or 0) or None,
    )


def _beside(path: Path, suffix: str) -> Path:
    """Return the file of the pair that has this suffix, in small letters or capitals."""
    for candidate in (path, path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if candidate.suffix.lower() == suffix and candidate.is_file():
            return candidate
    other = "header (.rpl)" if suffix == ".rpl" else "counts (.raw)"
    raise InputError(f"{path.with_suffix(suffix)} is missing: a ripple cube needs its {other} beside {path.name}.")


def _expected_bytes(header: Path) -> int | None:
    """Bytes that a raw file must have; None where the header cannot be understood (the reader says why)."""
    found: dict[str, int] = {}
    for line in header.read_text(encoding="latin-1").splitlines():
        words = line.replace(":", " ").replace("(MLX", " ").replace(")", " ").lower().split()
        if len(words) >= 2 and words[1].lstrip("-").isdigit():
            found[words[0]] = int(words[1])
    try:
        return found["offset"] + found["width"] * found["height"] * found["depth"] * found["data-length"]
    except KeyError:
        return None


def _energies(info: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Energy per channel and offset (eV); the standard keys know no offset."""
    unit = ev_per_unit(str(info.get("depth-units", "")))
    if unit and info.get("depth-scale"):
        return unit * float(info["depth-scale"]), unit * float(info.get("depth-origin") or 0)
    step = float(info.get("ev-per-chan") or 0)
    return (step, None) if step else (None, None)


def _pixel_size(info: Mapping[str, Any]) -> PixelSize | None:
    sizes = []
    for axis in ("height", "width"):
        unit = _UM.get(str(info.get(f"{axis}-units", "")))
        if not unit or not info.get(f"{axis}-scale"):
            return None
        sizes.append(abs(unit * float(info[f"{axis}-scale"])))
    return sizes[0], sizes[1]
