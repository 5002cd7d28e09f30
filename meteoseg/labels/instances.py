"""From a chondrule probability and a distance map to one label per chondrule."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import graph
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from meteoseg.errors import ShapeMismatchError
from meteoseg.grid import BAND_PX, row_bands

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.int32]

_EIGHT = np.ones((3, 3), bool)
#: Pairs of parts of an image that lie over each other when it is moved by a pixel, in four of the eight directions.
_NEIGHBOURS = (
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[1:], np.s_[:-1]),
    (np.s_[1:, 1:], np.s_[:-1, :-1]),
    (np.s_[1:, :-1], np.s_[:-1, 1:]),
)
#: Steps of the distance map when peaks are compared.
_STEPS = 100


def separate_objects(
    chondrule_probability: FloatArray,
    distance: FloatArray,
    *,
    seed_threshold: float = 0.3,
    min_depth: float = 0.06,
    max_border: float = 0.5,
    min_peak: float = 0.4,
    min_probability: float = 0.65,
    smooth_px: float = 0.7,
    min_area_px: int = 15,
) -> LabelArray:
    """Part touching chondrules by a seeded watershed on the distance map.

    A seed is a peak of the lightly smoothed distance that rises at least `min_depth` above the saddle to any
    higher peak and reaches `seed_threshold`; a chondrule area without such a peak is one object. Of the basins,
    neighbours are joined again, the likeliest first, while the mean distance along their common border is over
    `max_border`: between two chondrules the whole border is an edge, inside one it is not. Objects whose distance
    stays under `min_peak` everywhere have an outline all through, and those of a mean probability under
    `min_probability` are doubtful all over: neither is an object. Basins meet without a line between them, enclosed
    areas are filled, and objects under `min_area_px` are dropped.

    Parameters
    ----------
    chondrule_probability : (H, W), 0-1; an object lies where it is at least 0.5.
    distance : (H, W), 0 at the edge of a chondrule to 1 inside.
    seed_threshold, min_depth, max_border, min_peak : in units of `distance`.
    min_probability : least mean of `chondrule_probability` over an object.
    smooth_px : standard deviation (px) of the Gaussian that smooths the distance. All six were chosen on held-out
        simulated sections.

    Returns
    -------
    (H, W) int32; 0 is no object, ids 1, 2, ... in reading order; each id is one 8-connected part.

    Raises
    ------
    ShapeMismatchError : the two maps differ in shape.

    Source: marker-controlled watershed, Meyer and Beucher (1990), doi:10.1016/1047-3203(90)90014-M;
    merging by mean border height as in Arbelaez et al. (2011), doi:10.1109/TPAMI.2010.161.

    Examples
    --------
    >>> row, col = np.mgrid[:20, :40]
    >>> cone = np.maximum(1 - np.hypot(row - 10, col - 10) / 9, 1 - np.hypot(row - 10, col - 27) / 9)
    >>> labels = separate_objects((cone > 0).astype(float), cone.clip(0))
    >>> int(labels.max()), int(labels[10, 10]), int(labels[10, 27])
    (2, 1, 2)
    """
    if chondrule_probability.shape != distance.shape:
        raise ShapeMismatchError(
            f"Probability {chondrule_probability.shape} and distance {distance.shape} differ in shape: "
            "take both from one prediction."
        )
    inside = np.asarray(chondrule_probability >= 0.5)
    if not inside.any():
        return np.zeros(inside.shape, np.int32)
    smooth = np.where(inside, ndi.gaussian_filter(distance.astype(np.float32), smooth_px), np.float32(0))
    seeds = _seeds(smooth, inside, round(seed_threshold * _STEPS), round(min_depth * _STEPS))
    objects = watershed(-smooth, seeds, mask=inside, connectivity=_EIGHT).astype(np.int32, copy=False)  # type: ignore[no-untyped-call]
    del seeds, inside
    objects = _join_open_borders(objects, smooth, max_border)
    del smooth
    _drop_doubtful(objects, chondrule_probability, distance, min_probability, min_peak)
    return order_by_position(fill_and_drop(objects, min_area_px))


def _drop_doubtful(
    objects: LabelArray, probability: FloatArray, distance: FloatArray, min_probability: float, min_peak: float
) -> None:
    """Take away objects of a low mean probability, and those whose distance is low everywhere, in place."""
    count = int(objects.max()) + 1
    peak, total, area = np.full(count, -np.inf), np.zeros(count), np.zeros(count)
    for window in row_bands(objects.shape, BAND_PX):
        ids = objects[window.slices].ravel()
        np.maximum.at(peak, ids, distance[window.slices].ravel())
        total += np.bincount(ids, probability[window.slices].ravel(), count)
        area += np.bincount(ids, minlength=count)
    doubtful = (peak < min_peak) | (total < min_probability * area)
    for window in row_bands(objects.shape, BAND_PX):
        band = objects[window.slices]
        band[doubtful[band]] = 0


def _join_open_borders(labels: LabelArray, distance: FloatArray, max_border: float) -> LabelArray:
    """Join neighbouring basins while the mean distance along a common border is over `max_border`."""
    if (labels == labels.flat[0]).all():
        # One object that fills the map has no border.
        return labels
    borders = graph.rag_boundary(labels, 1 - distance.astype(np.float64), connectivity=2)  # type: ignore[no-untyped-call]
    if 0 in borders:
        borders.remove_node(0)
    joined = graph.merge_hierarchical(  # type: ignore[no-untyped-call]
        labels,
        borders,
        thresh=1 - max_border,
        rag_copy=False,
        in_place_merge=True,
        merge_func=lambda *_: None,
        weight_func=_common_border,
    )
    joined += 1
    joined[labels == 0] = 0
    return np.asarray(joined, np.int32)


def _common_border(borders: Any, first: int, second: int, neighbour: int) -> dict[str, float]:
    """Return length and mean of the border of `neighbour` with two basins that become one."""
    parts = [borders[basin].get(neighbour, {"count": 0, "weight": 0.0}) for basin in (first, second)]
    length = sum(part["count"] for part in parts)
    return {"count": length, "weight": sum(part["count"] * part["weight"] for part in parts) / length}


def _seeds(smooth: FloatArray, inside: BoolArray, threshold: int, depth: int) -> LabelArray:
    """Number the accepted peaks; an area without one is its own seed."""
    steps = np.clip(np.rint(smooth * _STEPS), 0, _STEPS).astype(np.int16)
    is_peak = local_maxima(steps, footprint=_EIGHT)  # type: ignore[no-untyped-call]
    peaks, _ = ndi.label(is_peak & inside, _EIGHT)
    height = np.concatenate([[-1], steps.ravel()[_first_places(peaks)]])
    height[1:][_depths(steps, peaks, height) < max(depth, 1)] = -1
    strong = (height >= threshold)[peaks]
    areas, n_areas = ndi.label(inside, _EIGHT)
    seeded = np.zeros(n_areas + 1, bool)
    seeded[areas[strong]] = True
    seeds, _ = ndi.label(strong | (inside & ~seeded[areas]), _EIGHT)
    return np.asarray(seeds, np.int32)


def _first_places(labels: LabelArray) -> NDArray[np.intp]:
    """Flat index of the first pixel of each label 1, 2, ...; -1 for labels that do not occur."""
    found = np.full(int(labels.max(initial=0)) + 1, -1, np.intp)
    flat = labels.ravel()
    # From the end: what is written last stays.
    for start in range((flat.size - 1) // BAND_PX * BAND_PX, -1, -BAND_PX):
        band = flat[start : start + BAND_PX][::-1]
        found[band] = np.arange(start + band.size - 1, start - 1, -1)
    return found[1:]


def _depths(steps: NDArray[np.int16], peaks: LabelArray, height: NDArray[Any]) -> NDArray[Any]:
    """Depth of the deepest descent that is needed from each peak 1, 2, ... on the way to a higher one.

    Peaks are joined over the saddles between their basins, the highest saddle first (Kruskal); as morphological
    reconstruction does, but in a fraction of its memory. The highest peak of all descends to 0.
    """
    basins = watershed(-steps, peaks, mask=steps > 0, connectivity=_EIGHT)  # type: ignore[no-untyped-call]
    first, second, saddle = _saddles(np.asarray(basins, np.int32), steps)
    depth = height[1:].copy()
    leader = np.arange(len(height))
    equals: list[list[int]] = [[peak] for peak in range(len(height))]

    def find(peak: int) -> int:
        while leader[peak] != peak:
            leader[peak] = leader[leader[peak]]
            peak = leader[peak]
        return peak

    for one, other, level in zip(first, second, saddle, strict=True):
        low, high = sorted((find(one), find(other)), key=lambda peak: height[peak])
        if low == high:
            continue
        if height[low] < height[high]:
            depth[np.array(equals[low]) - 1] = height[low] - level
        else:
            equals[high] += equals[low]
        leader[low] = high
    return depth


def _saddles(basins: LabelArray, steps: NDArray[np.int16]) -> tuple[list[int], list[int], list[int]]:
    """Neighbouring basins (8-connected) and the level of the highest pass between them, the highest first."""
    passes: dict[tuple[int, int], int] = {}
    for here, there in _NEIGHBOURS:
        one, other = basins[here], basins[there]
        at = np.flatnonzero((one != other) & (one > 0) & (other > 0))
        if not at.size:
            continue
        one, other = one.ravel()[at], other.ravel()[at]
        level = np.minimum(steps[here].ravel()[at], steps[there].ravel()[at])
        order = np.lexsort((level, np.maximum(one, other), np.minimum(one, other)))
        low, high, level = np.minimum(one, other)[order], np.maximum(one, other)[order], level[order]
        last = np.append((np.diff(low) != 0) | (np.diff(high) != 0), True)
        for pair in zip(low[last].tolist(), high[last].tolist(), level[last].tolist(), strict=True):
            passes[pair[:2]] = max(pair[2], passes.get(pair[:2], 0))
    ordered = sorted(passes.items(), key=lambda item: -item[1])
    return [pair[0] for pair, _ in ordered], [pair[1] for pair, _ in ordered], [level for _, level in ordered]


def fill_and_drop(labels: LabelArray, min_area_px: int) -> LabelArray:
    """Fill the unlabelled areas an object encloses and drop objects under `min_area_px`; ids are kept."""
    out = labels.copy()
    for index, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        part = out[box]
        filled = ndi.binary_fill_holes(part == index)
        if np.count_nonzero(filled) < min_area_px:
            part[part == index] = 0
        else:
            part[filled & (part == 0)] = index
    return out


def order_by_position(labels: LabelArray) -> LabelArray:
    """Renumber labels 1, 2, ... by their first pixel in reading order.

    Examples
    --------
    >>> order_by_position(np.array([[0, 7, 7], [3, 3, 0]])).tolist()
    [[0, 1, 1], [2, 2, 0]]
    """
    first = _first_places(labels)
    order = np.argsort(first, kind="stable")[np.count_nonzero(first < 0) :] + 1
    table = np.zeros(len(first) + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    return table[labels]
