"""From class probabilities on a coarse grid to components and chondrules on the section's own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import expand_labels

from meteoseg.grid import BAND_PX, Window, row_bands
from meteoseg.labels.instances import separate_objects
from meteoseg.legend import HOLE, OUTSIDE, Legend
from meteoseg.objects import equivalent_diameter, iter_object_windows
from meteoseg.resample import Regrid
from meteoseg.section import Section

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]
LabelArray = NDArray[np.integer[Any]]

CHONDRULE = "chondrule"
MATRIX = "matrix"
NODULE = "metal-sulfide nodule"
#: An area of zeros in all channels that holds a square of this side is an empty mosaic field.
EMPTY_FIELD_PX = 11
#: Columns looked at together for pixels without any value.
_BLOCK_PX = 1024
#: An object smaller than this is none (DESIGN of the components layer).
MIN_OBJECT_PX = 15
#: An empty area at the border of the map is mount from this many coarse pixels on, a hole below.
MIN_OUTSIDE_PX = 200
#: Outlines of objects may move by this many coarse pixels when they are drawn on the fine grid.
_REACH_PX = 3
#: Holes may take this share from an object in pieces they cut off; beyond, the object keeps its holes.
_MAX_CUT = 0.02
_EIGHT = np.ones((3, 3), bool)


def empty_field(read: Callable[[Window], Iterable[FloatArray]], window: Window, shape: tuple[int, int]) -> BoolArray:
    """Find unmapped pixels of a full-width `window`: solid areas that are 0 or NaN in all channels.

    An area is solid where a square of 11 x 11 px fits in (opening), and its ragged margin of up to 5 px belongs
    to it. Scattered zeros of low counts, even where they touch, are no such area.

    `read` gives the channels (h, w) of a window of a grid of `shape`, one by one. Those after the first are asked for
    only where the first leaves room for a solid area. The answer is bool (H, W) of `window`, the same whatever the
    height of the windows.
    """
    outer = window.padded(2 * EMPTY_FIELD_PX, shape)
    above = Window(outer.row, outer.col, window.row - outer.row, outer.width)
    below = Window(window.row_end, outer.col, outer.row_end - window.row_end, outer.width)
    blank = np.zeros(outer.shape, bool)

    def begin(part: Window) -> list[tuple[tuple[slice, slice], Iterator[NDArray[Any]]]]:
        begun = [(block.within(outer), iter(read(block))) for block in _blocks(part)]
        for place, planes in begun:
            blank[place] = _is_nothing(next(planes))
        return begun

    begun = begin(window)
    if not blank.any():
        return blank[window.within(outer)]
    begun += [*begin(above), *begin(below)]
    blank &= _dilated(_opened(blank, EMPTY_FIELD_PX), EMPTY_FIELD_PX)
    for place, planes in begun:
        while blank[place].any() and (plane := next(planes, None)) is not None:
            blank[place] &= _is_nothing(plane)
    solid = _opened(blank, EMPTY_FIELD_PX) & blank
    for _ in range(EMPTY_FIELD_PX // 2 if solid.any() else 0):
        solid = _dilated(solid, 3) & blank
    return solid[window.within(outer)]


def _blocks(window: Window) -> Iterator[Window]:
    """Yield blocks of columns, of which each may need other channels."""
    for col in range(window.col, window.col + window.width if window.height else 0, _BLOCK_PX):
        yield Window(window.row, col, window.height, min(_BLOCK_PX, window.col + window.width - col))


def _is_nothing(plane: NDArray[Any]) -> BoolArray:
    return np.asarray((plane == 0) | np.isnan(plane) if plane.dtype.kind == "f" else plane == 0, bool)


def _eroded(inside: BoolArray, side_px: int) -> BoolArray:
    """Erode by a square; what lies beyond the border counts as inside."""
    return np.asarray(cv2.erode(inside.astype(np.uint8), np.ones((side_px, side_px), np.uint8)), bool)


def _dilated(inside: BoolArray, side_px: int) -> BoolArray:
    """Dilate by a square."""
    return np.asarray(cv2.dilate(inside.astype(np.uint8), np.ones((side_px, side_px), np.uint8)), bool)


def _opened(inside: BoolArray, side_px: int) -> BoolArray:
    return _dilated(_eroded(inside, side_px), side_px)


def mapped_pixels(section: Section, window: Window) -> tuple[BoolArray, int]:
    """Return which pixels (H, W) of a full-width `window` are section, and how many inside its mask are unmapped."""
    inside = section.read_mask(window)
    planes = [channel.plane for channel in section.channels.values()]
    empty = empty_field(lambda w: (plane.read(w) for plane in planes), window, section.shape)
    return inside & ~empty, int(np.count_nonzero(empty & inside))


def wide_holes(is_hole: BoolArray) -> BoolArray:
    """Keep the parts of holes that are over 2 px wide (opening by a 3 x 3 square).

    Examples
    --------
    >>> wide_holes(np.pad(np.ones((3, 4), bool), 1)).sum(), wide_holes(np.pad(np.ones((2, 9), bool), 1)).sum()
    (np.int64(12), np.int64(0))
    """
    return _opened(is_hole, 3)


@dataclass(frozen=True)
class ComponentMaps:
    """Components and objects on the coarse grid, ready to be drawn on the section's own grid.

    Parameters
    ----------
    probability : (K, h, w), in which objects are whole and what is no object is not chondrule.
    ids : legend id of each of the K classes.
    objects : (h, w) object ids, grown a little beyond the outlines.
    back : from the coarse to the section's own grid.
    median_px : median equivalent diameter of the objects in coarse pixels; 0 without any.
    """

    probability: FloatArray
    ids: NDArray[np.uint8]
    objects: LabelArray
    back: Regrid
    chondrule_id: int
    n_objects: int
    median_px: float = 0.0

    def draw(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Return components and object ids of a window of the section's own grid."""
        share = self.back.read(lambda w: self.probability[(slice(None), *w.slices)], window)
        components = self.ids[np.argmax(share, axis=0)]
        objects = self.back.nearest(self.objects, window).astype(np.uint32)
        is_chondrule = components == self.chondrule_id
        stray = is_chondrule & (objects == 0)
        if stray.any():
            share[self.ids == self.chondrule_id] = -1
            components[stray] = self.ids[np.argmax(share[:, stray], axis=0)]
        return components, np.where(is_chondrule, objects, 0).astype(np.uint32)


def make_component_maps(
    probability: FloatArray,
    distance: FloatArray | None,
    classes: Sequence[str],
    legend: Legend,
    *,
    back: Regrid,
    known: Sequence[str] = (),
) -> ComponentMaps:
    """Part the chondrules and settle which coarse pixels are theirs.

    Parameters
    ----------
    probability : (K, h, w) of `classes` (names of `legend`); overwritten.
    distance : (h, w), 0 at the edge to 1 at the centre of a chondrule; None: computed from the areas.
    back : from this grid to the section's own.
    known : classes that other evidence decides (a section mask, the phases); never chosen here.
    """
    share = probability
    names = [legend[name].name for name in classes]
    if {OUTSIDE, HOLE} <= set(names) and OUTSIDE not in known:
        _part_outside_from_holes(share, names.index(OUTSIDE), names.index(HOLE))
    for name in known:
        if name in names:
            share[names.index(name)] = 0
    objects: LabelArray = np.zeros(share.shape[1:], np.int32)
    if CHONDRULE in names:
        objects = _claim_objects(share, names.index(CHONDRULE), distance)
    ids = np.array([legend[name].id for name in names], np.uint8)
    grown = _grown(objects)
    areas_px = np.bincount(objects.ravel())[1:]
    median_px = equivalent_diameter(float(np.median(areas_px))) if len(areas_px) else 0.0
    return ComponentMaps(share, ids, grown, back, legend[CHONDRULE].id, len(areas_px), median_px)


def _grown(objects: LabelArray) -> LabelArray:
    """Grow objects by `_REACH_PX`, in bands of rows: the distances of a whole image take 32 bytes per pixel."""
    out = np.empty_like(objects)
    for window in row_bands(objects.shape, BAND_PX // 4):
        outer = window.padded(2 * _REACH_PX, objects.shape)
        part = expand_labels(objects[outer.slices], _REACH_PX)  # type: ignore[no-untyped-call]
        out[window.slices] = part[window.within(outer)]
    return out


def _part_outside_from_holes(share: FloatArray, outside: int, hole: int) -> None:
    """Decide between mount and hole by place: both are epoxy, but only the mount reaches the border of the map.

    Empty areas (`share` of both classes together the largest) of at least `MIN_OUTSIDE_PX` that touch the border
    are outside, the others holes. Rewrites `share` (K, h, w) in place.
    """
    empty = share[outside].astype(np.float32) + share[hole]
    is_empty = empty > _largest(share, without=(outside, hole))
    parts, _ = ndi.label(ndi.binary_opening(np.pad(is_empty, 2, mode="edge"), _EIGHT)[2:-2, 2:-2] & is_empty, _EIGHT)
    border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    sizes = np.bincount(parts.ravel())
    mount = np.isin(parts, [part for part in border if part and sizes[part] >= MIN_OUTSIDE_PX])
    mount = ndi.binary_dilation(mount, _EIGHT, mask=is_empty)
    share[outside] = np.where(mount, empty, 0)
    share[hole] = np.where(mount, 0, empty)


def _largest(share: FloatArray, *, without: Sequence[int]) -> NDArray[np.float32]:
    """Largest of the planes (K, h, w) but some; 0 where there is no other."""
    largest = np.zeros(share.shape[1:], np.float32)
    for plane, values in enumerate(share):
        if plane not in without:
            np.maximum(largest, values, out=largest)
    return largest


def _claim_objects(share: FloatArray, index: int, distance: FloatArray | None) -> LabelArray:
    """Separate the objects and rewrite `share` so that its largest class agrees with them."""
    relative = share[index].astype(np.float32)
    relative /= np.maximum(relative + _largest(share, without=(index,)), 1e-12)
    if distance is None:
        distance = _distance_from(relative >= 0.5)
    objects = separate_objects(relative, distance, min_area_px=MIN_OBJECT_PX)
    share[index][(objects == 0) & (relative >= 0.5)] = 0
    enclosed = (objects > 0) & (relative < 0.5)
    share[:, enclosed] = 0
    share[index][enclosed] = 1
    return objects


def _distance_from(inside: BoolArray) -> FloatArray:
    """Distance to the edge, divided by its largest value in each connected area."""
    parts, n_parts = ndi.label(inside, _EIGHT)
    depth = ndi.distance_transform_edt(inside)
    deepest = np.concatenate([[1.0], np.reshape(ndi.maximum(depth, parts, np.arange(1, n_parts + 1)), -1)])
    return np.asarray(depth / deepest[parts], np.float32)


def settle_object(inside: BoolArray, is_hole: BoolArray, *, min_area_px: int = MIN_OBJECT_PX) -> tuple[BoolArray, bool]:
    """Settle which pixels of a drawn object stay: one 8-connected part, less its wide holes.

    Where holes would cut off more than 2 % of the object it keeps them (a crack does not split a chondrule).

    Returns
    -------
    The pixels that stay (none if fewer than `min_area_px` do), and whether holes were kept.
    """
    whole = _largest_part(inside)
    solid = whole & ~is_hole
    kept = _largest_part(solid)
    lost = np.count_nonzero(solid) - np.count_nonzero(kept)
    keeps_holes = bool(lost > _MAX_CUT * np.count_nonzero(solid))
    final = whole if keeps_holes else kept
    return (final if np.count_nonzero(final) >= min_area_px else np.zeros_like(final)), keeps_holes


def _largest_part(inside: BoolArray) -> BoolArray:
    parts, n_parts = ndi.label(inside, _EIGHT)
    if n_parts <= 1:
        return inside
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == np.argmax(sizes))


def part_nodules(objects: LabelArray, components: LabelArray, phases: LabelArray, legend: Legend, *,
                 opaque: Sequence[int], apart: Sequence[int]) -> int:  # fmt: skip
    """Make objects that are more than half opaque metal-sulfide nodules, in place, and return how many there were.

    Parameters
    ----------
    objects, components, phases : (H, W) label images of one grid; `legend` is that of the components.
    opaque : phase ids of metal and sulfide. apart : phase ids that are no part of the solid (hole, outside).

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> objects, components = np.array([[1, 1, 0, 2, 2]]), np.array([[2, 2, 7, 2, 2]])
    >>> phases = np.array([[8, 8, 1, 8, 1]])
    >>> part_nodules(objects, components, phases, default_legend("components"), opaque=[8], apart=[0])
    1
    >>> objects.tolist(), components.tolist()
    ([[0, 0, 0, 2, 2]], [[5, 5, 7, 2, 2]])
    """
    counts = np.zeros((2, 1), np.int64)
    for window in row_bands(objects.shape, BAND_PX // 4):
        ids, phase = np.asarray(objects[window.slices]).ravel(), np.asarray(phases[window.slices]).ravel()
        n = max(counts.shape[1], int(ids.max(initial=0)) + 1)
        counts = np.pad(counts, ((0, 0), (0, n - counts.shape[1])))
        for row, kept in zip(counts, (np.isin(phase, opaque), ~np.isin(phase, apart)), strict=True):
            row += np.bincount(ids[kept], minlength=n)
    is_nodule = 2 * counts[0] > counts[1]
    is_nodule[0] = False
    if not is_nodule.any():
        return 0
    for window in row_bands(objects.shape, BAND_PX // 4):
        renamed = is_nodule[objects[window.slices]]
        components[window.slices][renamed] = legend[NODULE].id
        objects[window.slices][renamed] = 0
    return int(np.count_nonzero(is_nodule))


def settle_objects(objects: LabelArray, components: LabelArray, phases_hole: BoolArray, legend: Legend) -> int:
    """Make every object of whole-grid label images final, in place, and return how many there are.

    `objects` and `components` (H, W) come from `ComponentMaps.draw`; `phases_hole` marks the wide holes. Bits
    that an object loses become matrix, wide holes become hole. Ids are renumbered 1, 2, ... in their order.
    """
    matrix, hole, outside = legend[MATRIX].id, legend[HOLE].id, legend[OUTSIDE].id
    n_kept = 0
    for index, window in list(iter_object_windows(objects)):
        box = window.slices
        part, component = objects[box], components[box]
        inside = np.asarray(part == index)
        kept, keeps_holes = settle_object(inside, phases_hole[box])
        n_kept += bool(kept.any())
        component[inside & ~kept] = matrix
        part[inside] = 0
        part[kept] = n_kept
        if keeps_holes:
            phases_hole[box] &= ~kept
    for row in range(0, objects.shape[0], 1024):
        band = slice(row, row + 1024)
        is_hole = phases_hole[band] & (objects[band] == 0) & (components[band] != outside)
        components[band][is_hole] = hole
    return n_kept
