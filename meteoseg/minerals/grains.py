"""Grains: connected areas of one phase within one object, without their edges, gathered row band by row band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from meteoseg.minerals.alpha import Array

BoolArray = NDArray[np.bool_]
_EIGHT = np.ones((3, 3), bool)
#: Columns of the sums before those of the element maps.
_FIXED = ("n_px", "row", "col", "phase", "chondrule")


def core_pixels(
    phases: NDArray[np.uint8], objects: NDArray[np.int32] | None, wanted: Sequence[int], *, edge_px: int
) -> BoolArray:
    """Mark pixels whose neighbours within `edge_px` rows and columns have the same phase and the same object.

    Parameters
    ----------
    phases : (H, W) phase ids; objects : (H, W) object ids, 0 between objects, or None.
    wanted : phase ids that count.

    Examples
    --------
    >>> phases = np.zeros((7, 9), np.uint8)
    >>> phases[1:6, 1:8] = 3
    >>> np.argwhere(core_pixels(phases, None, [3], edge_px=2)).tolist()
    [[3, 3], [3, 4], [3, 5]]
    """
    core = np.isin(phases, list(wanted))
    size = 2 * edge_px + 1
    for labels in (phases, objects):
        if labels is not None:
            core &= ndimage.minimum_filter(labels, size, mode="nearest") == labels
            core &= ndimage.maximum_filter(labels, size, mode="nearest") == labels
    return np.asarray(core)


@dataclass(frozen=True)
class GrainSums:
    """Grains of a section, one row each.

    phase, chondrule : (G,) ids; chondrule 0 = in none. n_px : (G,). row_px, col_px : (G,) centre. sums : (C, G) of
    the element maps over the pixels of each grain.
    """

    phase: NDArray[np.int64]
    chondrule: NDArray[np.int64]
    n_px: NDArray[np.int64]
    row_px: Array
    col_px: Array
    sums: Array


@dataclass
class GrainCollector:
    """Join the grains of row bands that arrive in order; holds a row and the grains that reach it.

    Parameters
    ----------
    n_maps : number of element maps that are summed.
    min_px : smaller grains are dropped as soon as they are complete.
    """

    n_maps: int
    min_px: int
    _row: int = 0
    _done: list[Array] = field(default_factory=list)
    _open: Array | None = None
    _last: NDArray[np.int64] | None = None

    def add(
        self,
        core: BoolArray,
        phases: NDArray[np.uint8],
        objects: NDArray[np.int32] | None,
        values: NDArray[np.floating] | NDArray[np.integer],
    ) -> None:
        """Take in the next rows: core pixels, phase and object ids (h, W), element maps (C, h, W)."""
        labels, n_new = ndimage.label(core, _EIGHT)
        fresh = self._measure(labels, n_new, phases, objects, values)
        carried = np.empty((0, fresh.shape[1])) if self._open is None else self._open
        joined = self._join(labels[0], len(carried), n_new)
        rows = np.vstack([carried, fresh])
        merged = np.zeros((joined.max(initial=-1) + 1, rows.shape[1]))
        np.add.at(merged, joined, rows)
        # Phase and object are the same in all parts: not summed.
        merged[joined, 3:5] = rows[:, 3:5]
        last = np.zeros(labels.shape[1], np.int64)
        bottom = labels[-1] > 0
        last[bottom] = joined[len(carried) + labels[-1][bottom] - 1] + 1
        reaching = np.unique(last[bottom])
        closed = np.ones(len(merged), bool)
        closed[reaching - 1] = False
        self._done.append(merged[closed & (merged[:, 0] >= self.min_px)])
        self._open = merged[reaching - 1]
        self._last = np.searchsorted(reaching, last) + 1
        self._last[~bottom] = 0
        self._row += labels.shape[0]

    def _measure(
        self,
        labels: NDArray[np.int32],
        n_new: int,
        phases: NDArray[np.uint8],
        objects: NDArray[np.int32] | None,
        values: NDArray[np.floating] | NDArray[np.integer],
    ) -> Array:
        """Sums of the parts of grains in a band, (parts, 5 + C)."""
        rows, cols = np.nonzero(labels)
        of = labels[rows, cols] - 1
        table = np.zeros((n_new, len(_FIXED) + self.n_maps))
        table[:, 0] = np.bincount(of, minlength=n_new)
        table[:, 1] = np.bincount(of, rows + self._row, minlength=n_new)
        table[:, 2] = np.bincount(of, cols, minlength=n_new)
        table[of, 3] = phases[rows, cols]
        if objects is not None:
            table[of, 4] = objects[rows, cols]
        for column, plane in enumerate(values, start=len(_FIXED)):
            table[:, column] = np.bincount(of, plane[rows, cols], minlength=n_new)
        return table

    def _join(self, first_row: NDArray[np.int32], n_open: int, n_new: int) -> NDArray[np.int64]:
        """Number the joined grains: one number for each open grain, then for each new part."""
        above, below = [], []
        if self._last is not None and n_open:
            for shift in (-1, 0, 1):
                upper = self._last[max(0, shift) : len(self._last) + min(0, shift)]
                lower = first_row[max(0, -shift) : len(first_row) + min(0, -shift)]
                touch = (upper > 0) & (lower > 0)
                above.append(upper[touch] - 1)
                below.append(lower[touch] - 1 + n_open)
        links = (np.concatenate(above), np.concatenate(below)) if above else (np.empty(0, int), np.empty(0, int))
        size = n_open + n_new
        graph = coo_array((np.ones(len(links[0]), bool), links), shape=(size, size))
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    def drain(self) -> GrainSums:
        """Return the grains that were completed since the last call, and forget them."""
        parts, self._done = self._done, []
        return self._sums(parts)

    def finish(self) -> GrainSums:
        """Close the grains at the last row and return all, in the order in which they were completed."""
        parts = list(self._done)
        if self._open is not None:
            parts.append(self._open[self._open[:, 0] >= self.min_px])
        return self._sums(parts)

    def _sums(self, parts: Sequence[Array]) -> GrainSums:
        table = np.vstack(parts) if parts else np.empty((0, len(_FIXED) + self.n_maps))
        n_px = table[:, 0]
        return GrainSums(
            table[:, 3].astype(np.int64),
            table[:, 4].astype(np.int64),
            n_px.astype(np.int64),
            table[:, 1] / n_px,
            table[:, 2] / n_px,
            table[:, len(_FIXED) :].T,
        )
