"""From a chondrule probability and a distance map to one label per chondrule."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage import graph
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from meteoseg.errors import ShapeMismatchError

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.int32]

_EIGHT = np.ones((3, 3), bool)
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
    smooth = np.where(inside, ndi.gaussian_filter(distance.astype(np.float32), smooth_px), 0)
    seeds = _seeds(smooth, inside, round(seed_threshold * _STEPS), round(min_depth * _STEPS))
    labels = watershed(-smooth, seeds, mask=inside, connectivity=_EIGHT).astype(np.int32)  # type: ignore[no-untyped-call]
    objects = _join_open_borders(labels, smooth, max_border)
    ids = np.arange(int(objects.max()) + 1)
    peaks = np.reshape(ndi.maximum(distance, objects, ids), -1)
    means = np.bincount(objects.ravel(), chondrule_probability.ravel()) / np.maximum(np.bincount(objects.ravel()), 1)
    objects[((peaks < min_peak) | (means < min_probability))[objects]] = 0
    return order_by_position(fill_and_drop(objects, min_area_px))


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
    return np.where(labels > 0, joined + 1, 0).astype(np.int32)


def _common_border(borders: Any, first: int, second: int, neighbour: int) -> dict[str, float]:
    """Return length and mean of the border of `neighbour` with two basins that become one."""
    parts = [borders[basin].get(neighbour, {"count": 0, "weight": 0.0}) for basin in (first, second)]
    length = sum(part["count"] for part in parts)
    return {"count": length, "weight": sum(part["count"] * part["weight"] for part in parts) / length}


def _seeds(smooth: FloatArray, inside: BoolArray, threshold: int, depth: int) -> LabelArray:
    """Number the accepted peaks; an area without one is its own seed."""
    steps = np.clip(np.rint(smooth * _STEPS), 0, _STEPS).astype(np.int16)
    is_peak = h_maxima(steps, max(depth, 1), footprint=_EIGHT).astype(bool)  # type: ignore[no-untyped-call]
    peaks, n_peaks = ndi.label(is_peak & inside, _EIGHT)
    height = np.asarray(ndi.maximum(steps, peaks, np.arange(n_peaks + 1)), dtype=np.int64).reshape(-1)
    height[0] = -1
    strong = (height >= threshold)[peaks]
    areas, n_areas = ndi.label(inside, _EIGHT)
    seeded = np.zeros(n_areas + 1, bool)
    seeded[areas[strong]] = True
    seeds, _ = ndi.label(strong | (inside & ~seeded[areas]), _EIGHT)
    return np.asarray(seeds, np.int32)


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
    ids, first = np.unique(labels, return_index=True)
    order = ids[np.argsort(first)]
    order = order[order != 0]
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    table[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    return table[labels]
