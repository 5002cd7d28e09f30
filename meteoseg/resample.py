"""Two pixel grids over one area: area means onto the coarser, linear interpolation onto the finer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from meteoseg.grid import Window

FloatArray = NDArray[np.float32]
#: Windows of more source pixels are read in parts.
SOURCE_PX = 4_000_000
Read = Callable[[Window], NDArray[Any]]


def axis_weights(n_in: int, n_out: int, step: float) -> sparse.csr_matrix:
    """Weights (n_out, n_in) that resample an axis; `step` is the output pixel in input pixels.

    Outputs of one input pixel or more are means over the covered length, smaller ones are interpolated
    linearly between pixel centres; beyond the last centre the last value stands. Rows sum to 1.

    Examples
    --------
    >>> axis_weights(4, 2, 2.0).toarray().tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    >>> axis_weights(2, 4, 0.5).toarray().tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    rows, cols, values = _box(n_in, n_out, step) if step >= 1 else _linear(n_in, n_out, step)
    weights = sparse.csr_matrix((values, (rows, cols)), shape=(n_out, n_in), dtype=np.float32)
    total = np.asarray(weights.sum(axis=1)).reshape(-1, 1)
    return sparse.csr_matrix(weights.multiply(1 / total))


def _box(n_in: int, n_out: int, step: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    start = np.arange(n_out) * step
    stop = np.minimum(start + step, n_in)
    width = int(np.ceil(step)) + 1
    cols = np.floor(start).astype(np.int64)[:, None] + np.arange(width)
    overlap = np.minimum(cols + 1, stop[:, None]) - np.maximum(cols, start[:, None])
    rows = np.broadcast_to(np.arange(n_out)[:, None], cols.shape)
    used = (overlap > 1e-9) & (cols < n_in)
    return rows[used], cols[used], overlap[used]


def _linear(n_in: int, n_out: int, step: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    centre = np.clip((np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
    low = np.minimum(np.floor(centre).astype(np.int64), max(n_in - 2, 0))
    share = centre - low
    rows = np.arange(n_out)
    high = np.minimum(low + 1, n_in - 1)
    return np.concatenate([rows, rows]), np.concatenate([low, high]), np.concatenate([1 - share, share])


@dataclass(frozen=True)
class Regrid:
    """Resample windows from a grid of `source` pixels (rows, cols) onto a grid of `target` pixels.

    `step` is the (row, col) size of a target pixel in source pixels; both grids start at the same corner.

    Examples
    --------
    >>> grid = Regrid.onto((5, 8), (1.0, 1.0), 2.0)
    >>> grid.target
    (3, 4)
    >>> image = np.arange(40, dtype=np.float32).reshape(1, 5, 8)
    >>> grid.read(lambda window: image[(slice(None), *window.slices)], Window(0, 0, 1, 2)).tolist()
    [[[4.5, 6.5]]]
    """

    source: tuple[int, int]
    target: tuple[int, int]
    step: tuple[float, float]

    @classmethod
    def onto(cls, shape: tuple[int, int], pixel_size_um: tuple[float, float], um_per_px: float) -> Regrid:
        """Cover a grid of `shape` and `pixel_size_um` (dy, dx) with square pixels of `um_per_px`."""
        step = (um_per_px / pixel_size_um[0], um_per_px / pixel_size_um[1])
        rows, cols = (max(1, int(np.ceil(length / size - 1e-6))) for length, size in zip(shape, step, strict=True))
        return cls(shape, (rows, cols), step)

    @classmethod
    def at_least(cls, shape: tuple[int, int], pixel_size_um: tuple[float, float], um_per_px: float) -> Regrid:
        """Average finer pixels to squares of `um_per_px`; pixels as large or larger stay as they are (made square).

        Examples
        --------
        >>> Regrid.at_least((100, 80), (5.0, 5.0), 10.0).target, Regrid.at_least((100, 80), (25.0, 25.0), 10.0).target
        ((50, 40), (100, 80))
        """
        own_um = float(np.sqrt(pixel_size_um[0] * pixel_size_um[1]))
        return cls.onto(shape, pixel_size_um, max(um_per_px, own_um))

    def inverse(self) -> Regrid:
        """Return the way back."""
        return Regrid(self.target, self.source, (1 / self.step[0], 1 / self.step[1]))

    @cached_property
    def _weights(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        rows, cols = (axis_weights(*axis) for axis in zip(self.source, self.target, self.step, strict=True))
        return rows, cols

    def read(self, read_source: Read, window: Window) -> FloatArray:
        """Return `window` of the target grid, float32 (C, H, W), from ``read_source(window) -> (C, h, w)``.

        A plane of one value, such as that of an absent channel, keeps it exactly.
        """
        if self.step == (1.0, 1.0):
            return np.asarray(read_source(window), np.float32)
        outer = self._covered(window)
        middle = window.height // 2
        if outer.height * outer.width > SOURCE_PX and middle:
            upper = Window(window.row, window.col, middle, window.width)
            lower = Window(window.row + middle, window.col, window.height - middle, window.width)
            return np.concatenate([self.read(read_source, part) for part in (upper, lower)], axis=1)
        image = read_source(outer)
        rows = self._weights[0][window.row : window.row_end, outer.row : outer.row_end]
        cols = self._weights[1][window.col : window.col_end, outer.col : outer.col_end]
        out = np.empty((len(image), *window.shape), np.float32)
        for plane, values in zip(out, image, strict=True):
            level = values.flat[0]
            is_level = values[-1, -1] == level and bool((values == level).all())
            plane[...] = level if is_level else (cols @ (rows @ np.asarray(values, np.float32)).T).T
        return out

    def _covered(self, window: Window) -> Window:
        """Return the window of the source grid that a window of the target grid is made from."""
        spans = []
        for weights, start, stop in zip(
            self._weights, (window.row, window.col), (window.row_end, window.col_end), strict=True
        ):
            used = weights[start:stop].indices
            spans.append((int(used.min()), int(used.max()) + 1))
        (row, row_end), (col, col_end) = spans
        return Window(row, col, row_end - row, col_end - col)

    def nearest(self, values: NDArray[Any], window: Window) -> NDArray[Any]:
        """Return `window` of the target grid from `values` (h, w) on the source grid, by nearest pixel."""
        rows, cols = (
            np.clip(((np.arange(start, stop) + 0.5) * step).astype(np.int64), 0, length - 1)
            for start, stop, step, length in (
                (window.row, window.row_end, self.step[0], self.source[0]),
                (window.col, window.col_end, self.step[1], self.source[1]),
            )
        )
        return np.asarray(values[np.ix_(rows, cols)])
