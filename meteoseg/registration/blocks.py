"""Blocks of the maps sought in the image near where they should lie, and the transform that the blocks agree on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.feature import match_template

from meteoseg.grid import Window
from meteoseg.io.warped import Transform, WarpedPlane
from meteoseg.section import Plane

FloatArray = NDArray[np.float32]
Points = NDArray[np.float64]
ReadReference = Callable[[Window], FloatArray]

#: Largest rotation and change of scale between two passes that is believed (radians, share).
_MAX_STEP = 0.06
_TRIALS = 300
#: Blocks from which on rows and columns get scales of their own, and shear.
AFFINE_BLOCKS = 12
_MIN_KNOWN = 0.6


@dataclass(frozen=True)
class Blocks:
    """Where blocks were found; those without any contrast are left out.

    `centres` (N, 2) lie on the grid of the maps, `shifts` (N, 2) count in its pixels from where the transform puts
    them, `scores` (N,) are their correlations there.
    """

    centres: Points
    shifts: Points
    scores: Points

    def __len__(self) -> int:
        return len(self.centres)

    @classmethod
    def none(cls) -> Blocks:
        """Return no blocks."""
        return cls(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))


def block_windows(shape: tuple[int, int], *, side: int, most_per_axis: int = 12) -> list[Window]:
    """Spread square windows over a grid: side by side, or, where more than `most_per_axis` would fit, apart.

    Examples
    --------
    >>> [(window.row, window.col) for window in block_windows((40, 70), side=30)]
    [(5, 0), (5, 40)]
    """
    starts = []
    for length in shape:
        count = min(most_per_axis, max(1, length // side))
        room = max(0, length - side)
        starts.append([room // 2] if count == 1 else np.linspace(0, room, count).round().astype(int).tolist())
    return [Window(row, col, min(side, shape[0]), min(side, shape[1])) for row in starts[0] for col in starts[1]]


def match_blocks(
    reference: ReadReference, image: Plane, transform: Transform, windows: Sequence[Window], *, radius: int
) -> Blocks:
    """Seek windows of the predicted image in the image, up to `radius` map pixels from where `transform` puts them."""
    centres, shifts, scores = [], [], []
    for window in windows:
        outer = Window(window.row - radius, window.col - radius, window.height + 2 * radius, window.width + 2 * radius)
        found = _match(reference(window), WarpedPlane(image, outer.shape, transform).read(outer))
        if found is not None:
            centres.append((window.row + (window.height - 1) / 2, window.col + (window.width - 1) / 2))
            shifts.append(found[0] - radius)
            scores.append(found[1])
    return Blocks(np.array(centres).reshape(-1, 2), np.array(shifts).reshape(-1, 2), np.array(scores))


def _match(template: FloatArray, image: FloatArray) -> tuple[Points, float] | None:
    """Return the place and the height of the correlation peak, or None where nothing can be seen."""
    known = np.isfinite(image)
    if known.mean() < _MIN_KNOWN or template.std() <= 1e-6 or not image[known].std() > 1e-6:
        return None
    filled = np.where(known, image, image[known].mean()).astype(np.float64)
    surface: Points = match_template(filled, template.astype(np.float64))  # type: ignore[no-untyped-call]
    at = np.unravel_index(int(surface.argmax()), surface.shape)
    if surface[at] <= 0:
        return None
    return np.array(at, np.float64) + _vertex(surface, (int(at[0]), int(at[1]))), float(surface[at])


def _vertex(surface: Points, at: tuple[int, int]) -> Points:
    """Return where a parabola through the peak and its neighbours, along each axis, is highest (-0.5 to 0.5)."""
    out = np.zeros(2)
    for axis in (0, 1):
        line = surface[:, at[1]] if axis == 0 else surface[at[0]]
        place = at[axis]
        if 0 < place < len(line) - 1:
            below, top, above = line[place - 1 : place + 2]
            bend = below - 2 * top + above
            out[axis] = np.clip(0.5 * (below - above) / bend, -0.5, 0.5) if bend < 0 else 0.0
    return out


@dataclass(frozen=True)
class Field:
    """A linear field of shifts: at `p` it is ``shift + slope @ (p - centre)``; `inliers` (N,) agree with it.

    `covariance` (6, 6) or (4, 4) belongs to the parameters of `_design`.
    """

    centre: Points
    shift: Points
    slope: Points
    inliers: NDArray[np.bool_]
    covariance: Points

    def at(self, points: Points) -> Points:
        """Return the shifts (N, 2) at `points` (N, 2)."""
        return np.asarray(self.shift + (points - self.centre) @ self.slope.T, np.float64)

    def after(self, transform: Transform) -> Transform:
        """Return the transform that puts the blocks where they were found."""
        matrix = transform.matrix @ (np.eye(2) + self.slope)
        return Transform(matrix, transform.matrix @ (self.shift - self.slope @ self.centre) + transform.offset)

    def standard_error(self, points: Points) -> Points:
        """Return the standard errors (N, 2) of the shifts at `points` (N, 2), row and col."""
        design = _design(points - self.centre, len(self.covariance) == 6)
        return np.asarray(np.sqrt(np.einsum("nij,jk,nik->ni", design, self.covariance, design)), np.float64)


def fit_field(blocks: Blocks, tolerance_px: float) -> Field | None:
    """Return the linear field that most blocks agree on within `tolerance_px`, or None where fewer than 4 do.

    Random samples of three blocks propose similarities; the one with most agreement is refined by least squares on the
    blocks that agree (RANSAC; Fischler and Bolles, 1981), from 12 of them on with six free parameters.
    """
    if len(blocks) < 4:
        return None
    rng = np.random.default_rng(1)
    centre = blocks.centres.mean(axis=0)
    best, best_count = None, 0.0
    for _ in range(_TRIALS):
        picked = rng.choice(len(blocks), 3, replace=False)
        found = _solve(blocks, picked, centre, affine=False)
        if found is None or np.abs(found[1]).max() > _MAX_STEP:
            continue
        count = _weights(blocks, centre, found, tolerance_px).sum()
        if count > best_count:
            best, best_count = found, count
    return None if best is None else _refined(blocks, centre, best, tolerance_px)


def _refined(blocks: Blocks, centre: Points, found: tuple[Points, Points], tolerance_px: float) -> Field | None:
    for _ in range(10):
        inliers = _weights(blocks, centre, found, tolerance_px) > 0
        if inliers.sum() < 4:
            return None
        affine = int(inliers.sum()) >= AFFINE_BLOCKS
        solved = _solve(blocks, np.flatnonzero(inliers), centre, affine=affine, start=found, tolerance_px=tolerance_px)
        if solved is None or np.abs(solved[1]).max() > _MAX_STEP:
            return None
        found = solved
    covariance = _covariance(blocks, inliers, centre, found, affine=affine)
    return Field(centre, found[0], found[1], inliers, covariance)


def _weights(blocks: Blocks, centre: Points, found: tuple[Points, Points], tolerance_px: float) -> Points:
    """Return Tukey weights (N,): 1 for perfect agreement, 0 from the tolerance on."""
    residual = blocks.shifts - found[0] - (blocks.centres - centre) @ found[1].T
    return np.asarray(np.clip(1 - (residual**2).sum(axis=1) / tolerance_px**2, 0, None) ** 2, np.float64)


def _solve(
    blocks: Blocks,
    used: NDArray[np.int64],
    centre: Points,
    *,
    affine: bool,
    start: tuple[Points, Points] | None = None,
    tolerance_px: float = 1.0,
) -> tuple[Points, Points] | None:
    """Return (shift, slope) of a weighted least-squares fit to the blocks `used`; None where they lie on one spot."""
    weight = np.ones(len(used)) if start is None else _weights(blocks, centre, start, tolerance_px)[used]
    root = np.sqrt(np.repeat(weight, 2))
    design = _design(blocks.centres[used] - centre, affine).reshape(2 * len(used), -1)
    solution, _, rank, _ = np.linalg.lstsq(design * root[:, None], blocks.shifts[used].ravel() * root, rcond=1e-9)
    if rank < design.shape[1]:
        return None
    if affine:
        return np.asarray(solution[:2], np.float64), np.asarray(solution[2:].reshape(2, 2), np.float64)
    return np.asarray(solution[:2], np.float64), np.array([[solution[2], -solution[3]], [solution[3], solution[2]]])


def _design(points: Points, affine: bool) -> Points:
    """Return (N, 2, 6) for shift and slope row by row, or (N, 2, 4) for shift, change of scale and rotation."""
    row, col = points[:, 0], points[:, 1]
    one, none = np.ones(len(points)), np.zeros(len(points))
    if affine:
        upper, lower = (one, none, row, col, none, none), (none, one, none, none, row, col)
    else:
        upper, lower = (one, none, row, -col), (none, one, col, row)  # type: ignore[assignment]
    return np.stack([np.stack(upper, axis=1), np.stack(lower, axis=1)], axis=1)


def _covariance(
    blocks: Blocks, inliers: NDArray[np.bool_], centre: Points, found: tuple[Points, Points], *, affine: bool
) -> Points:
    points = blocks.centres[inliers] - centre
    residual = blocks.shifts[inliers] - found[0] - points @ found[1].T
    design = _design(points, affine).reshape(2 * len(points), -1)
    freedom = max(1, design.shape[0] - design.shape[1])
    return np.asarray(np.linalg.inv(design.T @ design) * (residual**2).sum() / freedom, np.float64)
