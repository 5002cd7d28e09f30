"""Blocks of all element maps, in grey levels that can be compared between maps of any contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from meteoseg.grid import Window
from meteoseg.registration.blocks import block_windows
from meteoseg.registration.reference import stabilised
from meteoseg.section import Section

FloatArray = NDArray[np.float32]
Codes = NDArray[np.uint8]

#: Grey levels of a map, and the level of pixels that were not measured.
LEVELS = 16
UNKNOWN = LEVELS
#: Pixels around a block that are read with it: the farthest that one map is sought from another, and the smoothing.
MARGIN_PX = 24
#: Width (1 sd, px) of the smoothing against counting noise.
SMOOTHING_PX = 0.8
#: Parts into which the pixels are divided; their halves tell the error.
PARTS = 16
_BLOCK_PX = 128
_CELL_PX = 16
_COARSE = 4


@dataclass(frozen=True)
class MapBlocks:
    """Blocks of the maps in grey levels of about equal frequency.

    Parameters
    ----------
    names : the maps.
    codes : uint8 (C, B, h, w), 0 to 15, 16 where not measured; each block with its margin of `margin_px`.
    parts : uint8 (B, N), the part (0 to 15) that each of the `shape` (h, w) pixels without the margin belongs to.
    """

    names: tuple[str, ...]
    codes: Codes
    parts: Codes
    shape: tuple[int, int]
    margin_px: int

    def shifted(self, channel: int, row: int, col: int) -> Codes:
        """Return a map (B, h, w) as it is found `row` pixels further down and `col` further right."""
        height, width = self.shape
        top, left = self.margin_px + row, self.margin_px + col
        return self.codes[channel, :, top : top + height, left : left + width]


def read_blocks(section: Section, names: Sequence[str], *, most_px: int) -> tuple[MapBlocks, MapBlocks]:
    """Read blocks spread over the section, at most about `most_px` pixels: as they are, and on pixels 4 times as large.

    What is held in memory does not grow with the section.
    """
    side = min(_BLOCK_PX, *section.shape)
    per_axis = max(1, int((most_px / side**2) ** 0.5))
    windows = block_windows(section.shape, side=side, most_per_axis=per_axis)
    values = np.stack([_smooth(section, names, window) for window in windows], axis=1)
    return _blocks(names, values, MARGIN_PX, _CELL_PX), _blocks(
        names, _shrunk(values), MARGIN_PX // _COARSE, _CELL_PX // _COARSE
    )


def _smooth(section: Section, names: Sequence[str], window: Window) -> FloatArray:
    """Return stabilised, smoothed maps (C, h, w) of a window and its margin; NaN where not measured."""
    wide = Window(window.row - MARGIN_PX, window.col - MARGIN_PX,
                  window.height + 2 * MARGIN_PX, window.width + 2 * MARGIN_PX)  # fmt: skip
    outer = window.padded(MARGIN_PX, section.shape)
    maps = section.read(names, outer)
    known = maps.any(axis=0)
    out = np.full((len(names), *wide.shape), np.nan, np.float32)
    for plane, values in zip(out, maps, strict=True):
        smooth = gaussian_filter(stabilised(values), SMOOTHING_PX)
        plane[outer.within(wide)] = np.where(known & np.isfinite(values), smooth, np.float32(np.nan))
    return out


def _shrunk(values: FloatArray) -> FloatArray:
    """Return means of 4 x 4 pixels (C, B, h, w); NaN where one of them is not known."""
    height, width = (length // _COARSE for length in values.shape[2:])
    cut = values[:, :, : height * _COARSE, : width * _COARSE]
    return np.asarray(cut.reshape(*values.shape[:2], height, _COARSE, width, _COARSE).mean(axis=(3, 5)), np.float32)


def _blocks(names: Sequence[str], values: FloatArray, margin_px: int, cell_px: int) -> MapBlocks:
    codes = np.stack([_levels(plane) for plane in values])
    count, height, width = values.shape[1], values.shape[2] - 2 * margin_px, values.shape[3] - 2 * margin_px
    return MapBlocks(tuple(names), codes, _parts((count, height, width), cell_px), (height, width), margin_px)


def _levels(values: FloatArray) -> Codes:
    """Return the grey levels of a map (B, h, w), with about as many pixels in each."""
    known = np.isfinite(values)
    used = values[known][:: max(1, int(known.sum()) // 200_000)]
    if not used.size:
        return np.full(values.shape, UNKNOWN, np.uint8)
    edges = np.unique(np.quantile(used, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    return np.where(known, np.searchsorted(edges, values, side="right"), UNKNOWN).astype(np.uint8)


def _parts(shape: tuple[int, int, int], cell_px: int) -> Codes:
    """Deal small cells of the blocks out to the parts, at random but always alike."""
    count, height, width = shape
    cells = (count, -(-height // cell_px), -(-width // cell_px))
    dealt = np.random.default_rng(1).permutation(np.arange(np.prod(cells)) % PARTS).reshape(cells)
    fine = dealt.repeat(cell_px, axis=1).repeat(cell_px, axis=2)
    return fine[:, :height, :width].reshape(count, -1).astype(np.uint8)
