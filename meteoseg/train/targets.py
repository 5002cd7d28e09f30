"""What a network has to learn on its own grid: class ids and distances, from label images of a section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from meteoseg.grid import Window
from meteoseg.resample import Regrid

#: Value of a target pixel that is not known and takes no part in loss or score.
IGNORE = 255
#: Distance targets are kept as whole numbers of this many steps from 0 (edge) to 1 (centre).
DISTANCE_STEPS = 254
#: Depth (px) from which the distance target is level.
DISTANCE_REACH_PX = 6.0
#: Object id of pixels of which it is not known whether they belong to an object.
UNKNOWN_OBJECT = -1
#: Below this share of labelled pixels a label image is sparse: scribbles, or a few outlined grains.
SPARSE_SHARE = 0.5


def target_plane(layer: str, labels: NDArray[Any], grid: Regrid) -> NDArray[np.uint8]:
    """Bring the labels of one layer onto the grid of a training.

    Parameters
    ----------
    labels : (H, W) on the section's own grid: ids of the shipped legend, 255 = unlabelled; for ``distance`` object
        ids, 0 = none, `UNKNOWN_OBJECT` = not known.

    Returns
    -------
    (h, w) uint8 on the target of `grid`: ids, or distances as in `distance_target`; 255 = unknown.
    """
    whole = Window.whole(grid.target)
    if layer != "distance":
        return coarsen(labels, grid)
    objects = grid.nearest(labels, whole)
    distance = distance_target(objects)
    distance[objects.astype(np.int64) < 0] = IGNORE
    return distance


def coarsen(labels: NDArray[Any], grid: Regrid) -> NDArray[np.uint8]:
    """Bring class ids (H, W), 255 = unlabelled, onto another grid.

    By nearest pixel; sparse labels on a coarser grid by the most frequent label inside each pixel, because thin
    scribbles would fall through between the nearest pixels.

    Examples
    --------
    >>> scribble = np.full((4, 6), 255, np.uint8)
    >>> scribble[1, :4] = [7, 7, 2, 2]
    >>> coarsen(scribble, Regrid((4, 6), (2, 3), (2.0, 2.0)))
    array([[  7,   2, 255],
           [255, 255, 255]], dtype=uint8)
    """
    whole = Window.whole(grid.target)
    known = labels != IGNORE
    if min(grid.step) <= 1 or known.mean() > SPARSE_SHARE:
        return np.asarray(grid.nearest(labels, whole), np.uint8)
    rows, cols = (
        np.minimum((place / step).astype(np.int64), length - 1)
        for place, step, length in zip(np.nonzero(known), grid.step, grid.target, strict=True)
    )
    cells, counts = np.unique((rows * grid.target[1] + cols) * 256 + labels[known], return_counts=True)
    # The last entry of each cell is its most frequent label.
    cells = cells[np.lexsort((counts, cells // 256))]
    last = np.append(np.diff(cells // 256) > 0, True)[: len(cells)]
    out = np.full(grid.target[0] * grid.target[1], IGNORE, np.uint8)
    out[cells[last] // 256] = (cells[last] % 256).astype(np.uint8)
    return out.reshape(grid.target)


def distance_target(objects: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the distance to the edge of its object for each pixel, level from `DISTANCE_REACH_PX` inwards.

    It is divided by the largest value of its object, so that small objects reach 1 too. What lies deep inside a
    large object is level: it has no peaks that could shatter it, and a network need not see the whole object.

    Parameters
    ----------
    objects : (H, W) integer object ids, 0 = none.

    Returns
    -------
    (H, W) uint8 in steps of 1 / `DISTANCE_STEPS`: 0 outside, 254 at the innermost pixels. A neighbouring
    object counts as outside; the border of the map does not, since objects go on beyond it.

    Examples
    --------
    >>> distance_target(np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0]]))[1]
    array([  0, 254, 254, 254, 254, 254], dtype=uint8)
    """
    out = np.zeros(objects.shape, np.uint8)
    ids = objects.astype(np.int64)
    for label, box in enumerate(find_objects(ids), start=1):
        if box is None:
            continue
        grown = tuple(slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, ids.shape, strict=True))
        inside = ids[grown] == label
        distance = np.ones(inside.shape) if inside.all() else distance_transform_edt(inside)
        distance = np.minimum(distance, DISTANCE_REACH_PX)
        steps = np.maximum(np.rint(distance * (DISTANCE_STEPS / distance.max())), 1)
        out[grown][inside] = steps[inside].astype(np.uint8)
    return out


def labelled_places(targets: NDArray[np.uint8], layers: Sequence[str]) -> tuple[NDArray[np.int64], ...] | None:
    """Return where the labels of a sparsely labelled example lie, so that crops can be put there.

    Parameters
    ----------
    targets : (H, W, L) with one plane per entry of `layers`; 255 = unknown.

    Returns
    -------
    Flat indices (row x W + col) of the labelled pixels, one array per class; None where half of the pixels or
    more are labelled (any crop will do), or none is.

    Examples
    --------
    >>> targets = np.full((2, 3, 1), 255, np.uint8)
    >>> targets[1, 1:, 0] = 4
    >>> labelled_places(targets, ["phases"])
    (array([4, 5]),)
    """
    known = (targets != IGNORE).any(axis=2)
    if not known.any() or known.mean() >= SPARSE_SHARE:
        return None
    classes = [plane for plane, layer in enumerate(layers) if layer != "distance"]
    counts = [np.count_nonzero(targets[..., plane] != IGNORE) for plane in classes]
    if not any(counts):
        return (np.flatnonzero(known),)
    values = targets[..., classes[int(np.argmax(counts))]].ravel()
    return tuple(np.flatnonzero(values == value) for value in np.unique(values) if value != IGNORE)
