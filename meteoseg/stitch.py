"""Join overlapping tiles without seams, handing out finished rows as the tiles go down the section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window

FloatArray = NDArray[np.float32]

#: Values (classes x rows x cols) handed out at a time.
BAND_VALUES = 32_000_000
_MIN_BAND_ROWS = 16


def blend_weights(shape: tuple[int, int], overlap_px: int) -> FloatArray:
    """Return the weight of each pixel of a tile: (rows, cols), over 0, up to 1 in the middle.

    From the border inwards the weight rises over `overlap_px` pixels as a squared sine, so that the weights of
    two tiles that overlap by as much add up to 1.

    Examples
    --------
    >>> blend_weights((5, 6), 2)[2].round(2)
    array([0.15, 0.85, 1.  , 1.  , 0.85, 0.15], dtype=float32)
    """
    rows, cols = (_ramp(length, overlap_px) for length in shape)
    return rows[:, None] * cols[None, :]


def _ramp(length: int, overlap_px: int) -> FloatArray:
    from_border = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    inside = np.minimum(from_border / max(1, overlap_px), 1)
    return (np.sin(inside * (np.pi / 2)) ** 2).astype(np.float32)


class Stitcher:
    """Weighted mean of overlapping tiles, in float32, over a moving band of rows.

    Memory is that of one row of tiles over the whole width.

    Parameters
    ----------
    shape : (rows, cols) of the whole grid.
    planes : K, number of values per pixel.
    overlap_px : overlap of the tiles, see `blend_weights`.

    Examples
    --------
    >>> stitcher = Stitcher((2, 3), 1, 1)
    >>> stitcher.add(Window(0, 0, 2, 2), np.full((1, 2, 2), 4.0, np.float32))
    >>> stitcher.add(Window(0, 1, 2, 2), np.full((1, 2, 2), 4.0, np.float32))
    >>> [(row, band.round(3).tolist()) for row, band in stitcher.finish(2)]
    [(0, [[[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]])]
    """

    def __init__(self, shape: tuple[int, int], planes: int, overlap_px: int) -> None:
        self.shape, self.overlap_px = shape, overlap_px
        self._row = 0
        self._sum = np.zeros((planes, 0, shape[1]), np.float32)
        self._weight = np.zeros((0, shape[1]), np.float32)

    def add(self, window: Window, values: NDArray[Any]) -> None:
        """Add the values (K, height, width) of a tile.

        Raises
        ------
        ValueError : the tile has another shape than its window, leaves the grid, or comes too late.
        """
        if values.shape[1:] != window.shape:
            raise ValueError(f"Tile {values.shape[1:]} does not fill its window {window.shape}.")
        if window.row < self._row or window.row_end > self.shape[0] or window.col_end > self.shape[1]:
            raise ValueError(f"{window} is outside rows {self._row} to {self.shape[0]}, which are still open.")
        self._grow(window.row_end - self._row)
        weight = blend_weights(window.shape, self.overlap_px)
        rows, cols = window.within(Window(self._row, 0, 0, 0))
        self._sum[:, rows, cols] += values * weight
        self._weight[rows, cols] += weight

    def _grow(self, rows: int) -> None:
        missing = rows - len(self._weight)
        if missing > 0:
            self._sum = np.pad(self._sum, ((0, 0), (0, missing), (0, 0)))
            self._weight = np.pad(self._weight, ((0, missing), (0, 0)))

    def finish(self, row_end: int) -> Iterator[tuple[int, FloatArray]]:
        """Hand out the rows above `row_end`, which no later tile may touch, as (first row, (K, n, cols)).

        Raises
        ------
        ValueError : a pixel of these rows was covered by no tile.
        """
        count = row_end - self._row
        if count > len(self._weight) or not (self._weight[:count] > 0).all():
            raise ValueError(f"Rows {self._row} to {row_end} have pixels that no tile covered.")
        first, total, weight = self._row, self._sum, self._weight
        step = max(_MIN_BAND_ROWS, BAND_VALUES // max(1, total.shape[0] * total.shape[2]))
        self._row, self._sum, self._weight = row_end, total[:, count:].copy(), weight[count:].copy()
        for row in range(0, count, step):
            part = slice(row, min(row + step, count))
            yield first + row, total[:, part] / weight[part]
