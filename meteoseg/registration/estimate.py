"""From maps and image to a transform with its quality: search, blocks, a check by blocks of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window
from meteoseg.io.warped import Transform
from meteoseg.registration.blocks import Blocks, Field, ReadReference, block_windows, fit_field, match_blocks
from meteoseg.registration.distortion import fit_grid
from meteoseg.registration.levels import Level
from meteoseg.registration.reference import Predictor
from meteoseg.registration.search import search
from meteoseg.section import ArrayPlane, Plane, Section

Points = NDArray[np.float64]

#: Search radius and tolerance (px) of the passes over all blocks.
_PASSES = ((16, 5.0), (8, 3.0), (6, 2.5))
_FULL_PASSES = ((12, 4.0), (6, 2.5))
#: Search radius and tolerance (px) of the check.
CHECK_RADIUS_PX, CHECK_TOLERANCE_PX = 12, 2.5
_LOCAL_PASSES = 2
#: Places of the search with less than this share of the best score are not looked at closely.
_UNLIKELY = 0.3
_MEASURED_SHARE = 0.6


@dataclass(frozen=True)
class Scale:
    """What blocks are cut from: the predicted image of a grid `shape`, the image itself, the windows of the blocks."""

    reference: ReadReference
    image: Plane
    windows: Sequence[Window]


@dataclass(frozen=True)
class Estimate:
    """A transform and what speaks for it.

    Parameters
    ----------
    transform : from the maps to the image.
    blocks : of the check, and `field`, what they agree on (None: on nothing).
    predictor : None where maps and image hardly overlap.
    place_ratio : score of the best place in the search over that of the second best; 1: they are alike.
    """

    transform: Transform
    blocks: Blocks
    field: Field | None
    predictor: Predictor | None
    place_ratio: float

    @property
    def n_agree(self) -> int:
        """Number of blocks that agree."""
        return 0 if self.field is None else int(self.field.inliers.sum())


def estimate(section: Section, names: tuple[str, ...], image: Plane, level: Level, *, local: bool = False) -> Estimate:
    """Find the transform from the maps to the image; whether it can be believed is for `quality` to say."""
    coarse = level.reduced()
    places = search(coarse.maps, coarse.image)
    ratio = 1.0 if len(places) < 2 else places[0].score / max(places[1].score, 1e-9)
    likely = [place for place in places if place.score > _UNLIKELY * places[0].score]
    starts = (level.own(coarse.full(place.transform)) for place in likely)
    tried = [_at_level(level, names, start, ratio) for start in starts]
    if not tried:
        return Estimate(level.full(Transform.scaling((1.0, 1.0))), Blocks.none(), None, None, ratio)
    best = max(tried, key=lambda found: found.n_agree)
    if best.field is None or best.predictor is None:
        return best
    windows = _measured(level, _windows(section.shape), level.to_maps.inverse())
    scale = Scale(lambda window: best.predictor.read(section, window), image, windows)  # type: ignore[union-attr]
    return _at_full(scale, best, level, section.shape, local=local)


def _windows(shape: tuple[int, int], *, most_per_axis: int = 10) -> list[Window]:
    """Cut a grid into blocks of a sixth of its shorter side, 24 to 128 pixels."""
    return block_windows(shape, side=int(np.clip(min(shape) / 6, 24, 128)), most_per_axis=most_per_axis)


def _measured(level: Level, windows: Sequence[Window], to_level: Transform) -> list[Window]:
    """Leave out windows that were mostly not measured."""
    known = np.asarray(np.isfinite(level.maps).all(axis=0))
    kept = []
    for window in windows:
        corners = np.array([[window.row, window.col], [window.row_end, window.col_end]], np.float64)
        (row, col), (row_end, col_end) = np.clip(to_level.apply(corners).round().astype(int), 0, None)
        part = known[row : max(row_end, row + 1), col : max(col_end, col + 1)]
        if part.size and part.mean() >= _MEASURED_SHARE:
            kept.append(window)
    return kept


def _at_level(level: Level, names: tuple[str, ...], start: Transform, ratio: float) -> Estimate:
    """Improve a place by blocks of the level; the prediction is fitted again after each pass."""
    windows = _measured(level, _windows(level.shape), Transform.scaling((1.0, 1.0)))
    transform, predictor = start, level.predictor(names, start)
    field, blocks = None, Blocks.none()
    for radius, tolerance in _PASSES:
        if predictor is None:
            return Estimate(level.full(transform), Blocks.none(), None, None, ratio)
        predicted = predictor.predict(level.maps)
        scale = Scale(lambda window, image=predicted: image[window.slices], ArrayPlane(level.image), windows)  # type: ignore[misc]
        moved, field, blocks = _improved(scale, transform, radius, tolerance)
        if field is None:
            break
        transform, predictor = moved, level.predictor(names, moved)
    return Estimate(level.full(transform), blocks, field, predictor, ratio)


def _improved(
    scale: Scale, transform: Transform, radius: int, tolerance: float
) -> tuple[Transform, Field | None, Blocks]:
    blocks = match_blocks(scale.reference, scale.image, transform, scale.windows, radius=radius)
    field = fit_field(blocks, tolerance)
    return (transform if field is None else field.after(transform)), field, blocks


def _at_full(scale: Scale, best: Estimate, level: Level, shape: tuple[int, int], *, local: bool) -> Estimate:
    """Improve a place on the pixels of the section, and check it."""
    transform = best.transform
    for radius, tolerance in () if level.is_full else _FULL_PASSES:
        transform, field, blocks = _improved(scale, transform, radius, tolerance)
        if field is None:
            return Estimate(transform, blocks, None, best.predictor, best.place_ratio)
    if local:
        transform = _with_grid(scale, transform, shape)
    checked = Scale(scale.reference, scale.image, _between(scale.windows, shape) if local else scale.windows)
    blocks = match_blocks(checked.reference, checked.image, transform, checked.windows, radius=CHECK_RADIUS_PX)
    field = fit_field(blocks, CHECK_TOLERANCE_PX)
    if field is not None and not local:
        transform = field.after(transform)
    return Estimate(transform, blocks, field, best.predictor, best.place_ratio)


def _with_grid(scale: Scale, transform: Transform, shape: tuple[int, int]) -> Transform:
    for _ in range(_LOCAL_PASSES):
        blocks = match_blocks(scale.reference, scale.image, transform, scale.windows, radius=CHECK_RADIUS_PX)
        transform = fit_grid(transform, blocks, scale.windows, shape)
    return transform


def _between(windows: Sequence[Window], shape: tuple[int, int]) -> list[Window]:
    """Move windows by half their size, so that a check sees other pixels than the fit did; those that leave go."""
    moved = [Window(w.row + w.height // 2, w.col + w.width // 2, w.height, w.width) for w in windows]
    return [window for window in moved if window.row_end <= shape[0] and window.col_end <= shape[1]]
