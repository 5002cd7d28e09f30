"""How far one element map lies from another: the peak of their mutual information, with its error."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.registration.mapblocks import LEVELS, PARTS, MapBlocks

Points = NDArray[np.float64]
Counts = NDArray[np.float32]

#: Shifts that are tried around the expected one, in pixels up, down, left and right.
RADIUS_PX = 3
_COARSE_RADIUS_PX, _COARSE = 5, 4
_SPLITS = 16
#: Part of the error (px, 1 sd) that halves do not show: the parabola through the peak.
ERROR_FLOOR_PX = 0.03
#: Pairs with a larger error than this (px, rows and columns) are not believed.
LARGEST_ERROR_PX = 0.3


@dataclass(frozen=True)
class PairShift:
    """How far map `second` lies down and right of map `first` (numbers of the maps), row and col, in pixels.

    `error_px` is the standard error; `information` the mutual information (nats) at the peak.
    """

    first: int
    second: int
    shift_px: Points
    error_px: Points
    information: float

    @property
    def is_believed(self) -> bool:
        """Whether the halves of the pixels agree on it."""
        return bool((self.error_px <= LARGEST_ERROR_PX).all())


def information_at(blocks: MapBlocks, first: int, second: int) -> float:
    """Return the mutual information of two maps as they lie."""
    return float(mutual_information(_histograms(blocks, first, second, (0, 0), 0).sum(axis=0))[0])


def pair_shift(fine: MapBlocks, coarse: MapBlocks, first: int, second: int) -> PairShift:
    """Measure the shift between two maps, first on coarse pixels (20 px around), then on those of the maps."""
    surface = mutual_information(_histograms(coarse, first, second, (0, 0), _COARSE_RADIUS_PX).sum(axis=0))
    side = 2 * _COARSE_RADIUS_PX + 1
    start = np.array(np.unravel_index(int(surface.argmax()), (side, side))) - _COARSE_RADIUS_PX
    centre = (_COARSE * int(start[0]), _COARSE * int(start[1]))
    parts = _histograms(fine, first, second, centre, RADIUS_PX)
    whole = mutual_information(parts.sum(axis=0))
    place, inside = _peak(whole)
    error = _error(parts) if inside else np.full(2, np.inf)
    return PairShift(first, second, place + centre, error, float(whole.max()))


def _histograms(blocks: MapBlocks, first: int, second: int, centre: tuple[int, int], radius: int) -> Counts:
    """Return joint histograms (P, S, L, L) of each part, for the shifts of a square (row after row)."""
    fixed = np.ascontiguousarray(blocks.shifted(first, 0, 0)).reshape(len(blocks.parts), -1)
    reach = range(-radius, radius + 1)
    out = np.empty((PARTS, len(reach) ** 2, LEVELS, LEVELS), np.float32)
    size = LEVELS + 1
    for number, (row, col) in enumerate((row, col) for row in reach for col in reach):
        moved = np.ascontiguousarray(blocks.shifted(second, centre[0] + row, centre[1] + col)).reshape(fixed.shape)
        counts = cv2.calcHist(
            [blocks.parts, fixed, moved], [0, 1, 2], None, [PARTS, size, size], [0, PARTS, 0, size, 0, size]
        )
        out[:, number] = counts[:, :LEVELS, :LEVELS]
    return out


def mutual_information(counts: Counts) -> Points:
    """Return the mutual information (S,) in nats of joint histograms (S, L, L); 0 where there are no pixels.

    Examples
    --------
    >>> mutual_information(np.array([[[5, 0], [0, 5]], [[2, 2], [2, 2]]], np.float32)).round(3).tolist()
    [0.693, 0.0]
    """
    total = np.maximum(counts.sum(axis=(-2, -1)), 1)
    margins = _sum_n_ln_n(counts.sum(axis=-1)) + _sum_n_ln_n(counts.sum(axis=-2))
    both = _sum_n_ln_n(counts.reshape(*counts.shape[:-2], -1))
    return np.asarray((both + total * np.log(total) - margins) / total, np.float64)


def _sum_n_ln_n(counts: Counts) -> Points:
    """Return the sums of n ln n over the last axis."""
    return np.asarray((counts * np.log(np.maximum(counts, 1))).sum(axis=-1, dtype=np.float64), np.float64)


def _peak(surface: Points) -> tuple[Points, bool]:
    """Return the place (row, col) of the peak of a square surface (S,) from its middle, and whether it lies inside."""
    side = int(len(surface) ** 0.5)
    radius = side // 2
    square = surface.reshape(side, side)
    at = np.array(np.unravel_index(int(square.argmax()), square.shape))
    if (at == 0).any() or (at == side - 1).any():
        return (at - radius).astype(np.float64), False
    near = square[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2]
    return at - radius + _vertex(near), True


def _vertex(near: Points) -> Points:
    """Return where the paraboloid through a peak and its neighbours (3, 3), least squares, is highest."""
    slope = np.array([near[2].sum() - near[0].sum(), near[:, 2].sum() - near[:, 0].sum()]) / 6
    bends = [np.array([1, -2, 1]) @ near.sum(axis=1) / 3, np.array([1, -2, 1]) @ near.sum(axis=0) / 3]
    cross = (near[0, 0] + near[2, 2] - near[0, 2] - near[2, 0]) / 4
    hessian = np.array([[bends[0], cross], [cross, bends[1]]])
    if not (np.linalg.eigvalsh(hessian) < 0).all():
        return np.zeros(2)
    return np.asarray(np.clip(-np.linalg.solve(hessian, slope), -0.7, 0.7), np.float64)


def _error(parts: Counts) -> Points:
    """Return the standard error (row, col) from halves of the parts, each compared with the other half."""
    rng = np.random.default_rng(2)
    squares = np.zeros(2)
    for _ in range(_SPLITS):
        order = rng.permutation(PARTS)
        places = [_peak(mutual_information(parts[half].sum(axis=0)))[0] for half in (order[::2], order[1::2])]
        squares += (places[0] - places[1]) ** 2 / 4
    return np.asarray(np.sqrt(squares / _SPLITS + ERROR_FLOOR_PX**2), np.float64)
