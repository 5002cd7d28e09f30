"""An image on another grid, read through a transform as if it lay on the grid of the maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from meteoseg.grid import Window
from meteoseg.section import Plane

Points = NDArray[np.float64]
#: Samples of the image that are taken at once; more are taken in tiles.
SAMPLES_PX = 1_000_000


@dataclass(frozen=True)
class DisplacementGrid:
    """Displacements at the nodes of a coarse grid, bilinear between them and constant beyond the outer ones.

    Parameters
    ----------
    rows : (R,) and cols : (C,) positions of the nodes in map pixels, equally spaced, ascending.
    shift_px : (R, C, 2) displacement (row, col) in map pixels.
    """

    rows: Points
    cols: Points
    shift_px: Points

    def at(self, rows: Points, cols: Points) -> Points:
        """Return the displacements (2, H, W) at the crossings of `rows` (H,) and `cols` (W,).

        Examples
        --------
        >>> grid = DisplacementGrid(np.array([0.0, 10.0]), np.array([5.0]), np.array([[[0.0, 1.0]], [[2.0, 1.0]]]))
        >>> grid.at(np.array([-3.0, 5.0]), np.array([0.0])).tolist()
        [[[0.0], [1.0]], [[1.0], [1.0]]]
        """
        at = (_node_numbers(self.rows, rows), _node_numbers(self.cols, cols))
        crossings = np.meshgrid(*at, indexing="ij")
        planes = [map_coordinates(self.shift_px[..., axis], crossings, order=1, mode="nearest") for axis in (0, 1)]
        return np.stack(planes)


def _node_numbers(nodes: Points, positions: Points) -> Points:
    """Count positions in steps of the nodes."""
    return np.asarray(np.interp(positions, nodes, np.arange(len(nodes))), np.float64)


@dataclass(frozen=True)
class Transform:
    """Where a pixel of the maps lies in an image: ``matrix @ (position + displacement) + offset``.

    Positions are (row, col), whole numbers at pixel centres.

    Parameters
    ----------
    matrix : (2, 2) image pixels per map pixel, with any rotation and shear. offset : (2,) image position of map pixel
        (0, 0). grid : displacements, in map pixels, that come on top (local distortion); None: there are none.

    Examples
    --------
    >>> Transform.scaling((2.0, 2.0)).apply(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist()
    [[0.5, 0.5], [2.5, 6.5]]
    """

    matrix: Points
    offset: Points
    grid: DisplacementGrid | None = None

    @classmethod
    def scaling(cls, step: tuple[float, float]) -> Transform:
        """Join two grids that start at one corner; `step` is the (row, col) size of a map pixel in image pixels."""
        size = np.asarray(step, np.float64)
        return cls(np.diag(size), 0.5 * size - 0.5)

    def apply(self, points: Points) -> Points:
        """Return the image positions (N, 2) of map positions (N, 2)."""
        moved = points
        if self.grid is not None:
            crossings = [self.grid.at(point[:1], point[1:])[:, 0, 0] for point in points]
            moved = points + np.array(crossings).reshape(-1, 2)
        return np.asarray(moved @ self.matrix.T + self.offset, np.float64)

    def after(self, first: Transform) -> Transform:
        """Return `first` followed by this one; neither has local displacements.

        Examples
        --------
        >>> half = Transform.scaling((0.5, 0.5))
        >>> half.after(half.inverse()).apply(np.array([[3.0, 4.0]])).tolist()
        [[3.0, 4.0]]
        """
        offset = np.asarray(self.matrix @ first.offset + self.offset, np.float64)
        return Transform(np.asarray(self.matrix @ first.matrix, np.float64), offset)

    def inverse(self) -> Transform:
        """Return the way back, from image to map positions, without local displacements."""
        back = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return Transform(back, -back @ self.offset)

    def without_grid(self) -> Transform:
        """Return the same without local displacements."""
        return replace(self, grid=None)

    def of_crossings(self, rows: Points, cols: Points) -> Points:
        """Return the image positions (2, H, W) of the crossings of `rows` (H,) and `cols` (W,)."""
        positions = np.stack(np.meshgrid(rows, cols, indexing="ij"))
        if self.grid is not None:
            positions += self.grid.at(rows, cols)
        moved = np.einsum("ij,jhw->ihw", self.matrix, positions)
        return np.asarray(moved + self.offset[:, None, None], np.float64)

    @property
    def samples_per_px(self) -> tuple[int, int]:
        """Samples (rows, cols) of the image that are averaged to a map pixel: about one per image pixel."""
        size = np.linalg.norm(self.matrix, axis=0)
        return max(1, round(float(size[0]))), max(1, round(float(size[1])))


@dataclass(frozen=True)
class WarpedPlane:
    """An image read on the grid of the maps: `shape` (rows, cols); float32, NaN where the image does not reach.

    Where the image is finer, a pixel is the mean of one bilinear sample per image pixel that it covers; where it is as
    coarse or coarser, one bilinear sample. Only the part of the image under a window is read. Areas of one value keep
    it exactly, and a shift by whole pixels changes no value.

    Examples
    --------
    >>> from meteoseg.section import ArrayPlane
    >>> image = ArrayPlane(np.arange(16.0).reshape(4, 4))
    >>> WarpedPlane(image, (2, 2), Transform.scaling((2.0, 2.0))).read(Window(0, 0, 1, 2)).tolist()
    [[2.5, 4.5]]
    """

    plane: Plane
    shape: tuple[int, int]
    transform: Transform

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return `window` of the map grid (it may reach beyond `shape`), float32 (height, width)."""
        out = np.empty(window.shape, np.float32)
        for part in self._tiles(window):
            out[part.within(window)] = self._read_tile(part)
        return out

    def _tiles(self, window: Window) -> Iterator[Window]:
        per_row, per_col = self.transform.samples_per_px
        side = max(1, int((SAMPLES_PX / (per_row * per_col)) ** 0.5))
        for row in range(window.row, window.row_end, side):
            for col in range(window.col, window.col_end, side):
                yield Window(row, col, min(side, window.row_end - row), min(side, window.col_end - col))

    def _read_tile(self, tile: Window) -> NDArray[np.float32]:
        per_row, per_col = self.transform.samples_per_px
        at = self.transform.of_crossings(
            _samples(tile.row, tile.height, per_row), _samples(tile.col, tile.width, per_col)
        )
        samples = self._sample(at).reshape(tile.height, per_row, tile.width, per_col)
        if per_row * per_col == 1:
            return np.asarray(samples[:, 0, :, 0], np.float32)
        known = np.isfinite(samples)
        count = known.sum(axis=(1, 3))
        total = np.where(known, samples, 0).sum(axis=(1, 3))
        mean = np.divide(total, count, out=np.full(tile.shape, np.nan), where=2 * count >= per_row * per_col)
        return np.asarray(mean, np.float32)

    def _sample(self, at: Points) -> Points:
        """Return bilinear values (H, W) at image positions (2, H, W); NaN outside, and beside NaN of the image."""
        limits = np.array(self.plane.shape).reshape(2, 1, 1)
        inside = ((at >= -0.5) & (at <= limits - 0.5)).all(axis=0)
        out = np.full(at.shape[1:], np.nan)
        if not inside.any():
            return out
        used = np.clip(at[:, inside], 0, limits[:, :, 0] - 1)
        low = np.floor(used.min(axis=1)).astype(int)
        high = np.ceil(used.max(axis=1)).astype(int) + 1
        values = self.plane.read(Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])))
        out[inside] = _bilinear(np.asarray(values, np.float64), used - low[:, None])
        return out


def _samples(start: int, length: int, per_px: int) -> Points:
    """Return the positions of `per_px` samples in each of `length` pixels.

    Examples
    --------
    >>> _samples(3, 2, 2).tolist()
    [2.75, 3.25, 3.75, 4.25]
    """
    return start - 0.5 + (np.arange(length * per_px) + 0.5) / per_px


def _bilinear(values: Points, at: Points) -> Points:
    """Return bilinear values (N,) at positions (2, N); NaN counts where it has weight only."""
    known = np.isfinite(values)
    if known.all():
        return np.asarray(map_coordinates(values, at, order=1, mode="nearest"), np.float64)
    weight = map_coordinates(known.astype(np.float64), at, order=1, mode="nearest")
    filled = map_coordinates(np.where(known, values, 0), at, order=1, mode="nearest")
    return np.where(weight > 1 - 1e-6, filled, np.nan)
