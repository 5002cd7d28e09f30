"""Number and area of connected objects of a few classes, counted band by band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_EIGHT = np.ones((3, 3), bool)
#: Objects of fewer pixels are specks.
LEAST_PX = 15


class ObjectAreas:
    """Areas of the 8-connected objects of each class of `ids`, from row bands in order.

    Examples
    --------
    >>> counted = ObjectAreas((4,))
    >>> for band in ([[4, 0, 4]], [[0, 4, 0]], [[0, 0, 0]], [[4, 4, 4]]):
    ...     counted.add(np.array(band))
    >>> counted.areas_px(4, least_px=1).tolist()
    [3, 3]
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)
        self._areas: dict[int, list[NDArray[np.int64]]] = {label_id: [] for label_id in self.ids}
        self._joins: dict[int, list[NDArray[np.int64]]] = {label_id: [] for label_id in self.ids}
        self._last: dict[int, NDArray[np.int64]] = {}
        self._n = dict.fromkeys(self.ids, 0)

    def add(self, band: NDArray[np.integer[Any]]) -> None:
        """Count the rows that follow those before; `band` is (rows, W)."""
        for label_id in self.ids:
            parts, n = ndimage.label(band == label_id, _EIGHT)
            parts = parts.astype(np.int64)
            self._areas[label_id].append(np.bincount(parts.ravel(), minlength=n + 1)[1:])
            parts[parts > 0] += self._n[label_id]
            if label_id in self._last:
                self._joins[label_id].append(_touching(self._last[label_id], parts[0]))
            self._n[label_id] += n
            self._last[label_id] = parts[-1]

    def areas_px(self, label_id: int, *, least_px: int = LEAST_PX) -> NDArray[np.int64]:
        """Return the areas of the objects of a class that have `least_px` pixels or more."""
        n = self._n[label_id]
        if not n:
            return np.zeros(0, np.int64)
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._joins[label_id]]) - 1
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
        _, owner = connected_components(graph, directed=False)
        whole = np.bincount(owner, np.concatenate(self._areas[label_id])).astype(np.int64)
        return np.asarray(whole[whole >= least_px])


def _touching(upper: NDArray[np.int64], lower: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs (N, 2) of objects of two rows that touch, corners included."""
    found = [
        np.column_stack(
            [upper[max(0, -shift) : len(upper) - max(0, shift)], lower[max(0, shift) :][: len(lower) - abs(shift)]]
        )
        for shift in (-1, 0, 1)
    ]
    pairs = np.concatenate(found)
    return np.unique(pairs[(pairs > 0).all(axis=1)], axis=0)
