"""Likelihood of pixels under the templates that can matter to them: the exhaustive result at a fraction of its work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.likelihood import (
    Floats,
    Ints,
    Moments,
    expand,
    first_highest,
    groups_of,
    row_constants,
    row_weights,
)
from meteoseg.minerals.smoothing import Rivals

#: A phase less likely than the best of a pixel by this natural logarithm has no part in its posterior (3e-4).
LEAST_LOG_RATIO = 8.0
_CELLS = 32
#: Pixels that are compared at a time.
_PIECE_PX = 4096
_FAR_ENOUGH = 300.0
#: A row is compared where it comes this close to the best one of its phase.
_NEARLY_BEST = 1.0
_DRAWS = 48
#: Draws are this many times as noisy as pixels, so that unusual pixels find their candidates too.
_WIDER = 2.0
#: Pixels that fit their candidates worse than this (mean squared residual over variance) are compared with all rows.
_DOUBTFUL = 3.0
_SEED = 20170814


@dataclass(frozen=True)
class Candidates:
    """Rows of the templates that are compared in one cell.

    rows : (R,) ascending; weights : (R, 2C + 1); phases : (G,) ascending; groups : the slice of the rows of each of them.
    """

    rows: Ints
    weights: Floats
    phases: Ints
    groups: tuple[slice, ...]

    @classmethod
    def of(cls, rows: Ints, moments: Moments, weights: Floats) -> Candidates:
        """Arrange `rows` of all templates."""
        groups = groups_of(moments.phase_of[rows])
        phases = np.array([phase for phase, _ in groups])
        return cls(rows, np.ascontiguousarray(weights[rows]), phases, tuple(group for _, group in groups))


@dataclass(frozen=True)
class Found:
    """What is known of N pixels.

    best : (N,) row of the likeliest template. phase : (N,) its phase. misfit : (N,) float32, its squared residual over
    variance, averaged over the channels. rivals : the phases of the pixels that have several.
    """

    best: Ints
    phase: Ints
    misfit: Floats
    rivals: Rivals


@dataclass(frozen=True)
class Search:
    """Finds the likeliest templates of pixels.

    The space of values is parted into cells, each nearest to one of `_CELLS` templates that lie far apart. Draws from
    all templates tell which rows can be within `LEAST_LOG_RATIO` of the best in a cell; only those are compared.
    Pixels that fit none of them are compared with all rows.
    """

    moments: Moments

    def __post_init__(self) -> None:
        # Ready before threads share it.
        _ = self._cells, self._everything

    @cached_property
    def _weights(self) -> Floats:
        return row_weights(self.moments)

    @cached_property
    def _constants(self) -> Floats:
        return row_constants(self.moments)

    @cached_property
    def _everything(self) -> Candidates:
        return Candidates.of(np.arange(len(self._weights)), self.moments, self._weights)

    @cached_property
    def _signposts(self) -> Floats:
        return np.ascontiguousarray(self._weights[far_apart(self.moments, _CELLS)])

    @cached_property
    def _cells(self) -> tuple[Candidates, ...]:
        """Candidates of every cell, from draws of every template."""
        moments, kept = self.moments, np.zeros((len(self._signposts), len(self._weights)), bool)
        rng = np.random.default_rng(_SEED)
        for rows in np.array_split(np.arange(len(moments.mean)), max(1, len(moments.mean) // 64)):
            noise = rng.standard_normal((_DRAWS, len(rows), moments.mean.shape[1]))
            values = np.maximum(moments.mean[rows] + _WIDER * np.sqrt(moments.variance[rows]) * noise, 0)
            features = expand(values.reshape(-1, values.shape[-1]).T.astype(np.float32))
            table = self._weights @ features
            near = self._within_reach(table)
            cell = first_highest(self._signposts @ features)
            for index in np.unique(cell):
                kept[index] |= near[:, cell == index].any(axis=1)
        return tuple(Candidates.of(np.flatnonzero(mine), moments, self._weights) for mine in kept)

    def _within_reach(self, table: Floats) -> NDArray[np.bool_]:
        """Tell which rows (R, N) are, or nearly are, the best of a phase that has a part in the posterior."""
        least = table.max(axis=0) - LEAST_LOG_RATIO
        near = np.empty(table.shape, bool)
        for rows in self._everything.groups:
            best = table[rows].max(axis=0)
            near[rows] = table[rows] >= np.where(best >= least, best - _NEARLY_BEST, np.inf)
        return near

    def find(self, values: Floats) -> Found:
        """Compare pixels (C, N) with the candidates of their cells, and those that fit badly with all rows."""
        cell = self._cell_of(values)
        order = np.argsort(cell, kind="stable")
        best, misfit = np.empty(len(order), np.int64), np.empty(len(order), np.float32)
        parts = []
        for index, columns in _runs(cell[order]):
            for piece in _pieces(columns):
                which = order[piece]
                features = expand(values.take(which, axis=1))
                part = self._compare(self._cells[index], features, largest_misfit=_DOUBTFUL)
                best[which], misfit[which] = part.best, part.misfit
                parts.append(part.rivals.moved_to(which))
        doubtful = np.flatnonzero(misfit > _DOUBTFUL)
        if doubtful.size:
            part = self._all_rows(expand(values.take(doubtful, axis=1)))
            best[doubtful], misfit[doubtful] = part.best, part.misfit
            parts.append(part.rivals.moved_to(doubtful))
        return Found(best, self.moments.phase_of[best], misfit, Rivals.joined(parts))

    def _cell_of(self, values: Floats) -> NDArray[np.uint8]:
        """Cell of each pixel (N,)."""
        cell = np.empty(values.shape[1], np.uint8)
        for piece in _pieces(slice(0, len(cell))):
            cell[piece] = first_highest(self._signposts @ expand(values[:, piece]))
        return cell

    def find_exhaustively(self, values: Floats) -> Found:
        """Compare pixels (C, N) with every template: the reference for `find`, several times slower."""
        return self._all_rows(expand(values))

    def _all_rows(self, features: Floats) -> Found:
        return self._compare(self._everything, features)

    def _compare(self, candidates: Candidates, features: Floats, *, largest_misfit: float = np.inf) -> Found:
        """Find the best of `candidates`; pixels of a larger misfit get no rivals."""
        pixels = features.shape[1]
        table = candidates.weights @ features
        likely = np.empty((len(candidates.phases), pixels), np.float32)
        for rows, highest in zip(candidates.groups, likely, strict=True):
            np.maximum.reduce(table[rows], axis=0, out=highest)
        top = np.maximum.reduce(likely, axis=0)
        best = candidates.rows[first_highest(table, top)]
        misfit = (self._constants[best] - top) * np.float32(2 / self.moments.mean.shape[1])
        likely -= top
        near = likely >= -LEAST_LOG_RATIO
        near &= np.add.reduce(near.view(np.uint8), axis=0, dtype=np.uint8) > 1
        near &= misfit <= largest_misfit
        place = np.flatnonzero(near)
        phase = place // pixels
        rivals = Rivals(place - phase * pixels, candidates.phases[phase], likely.ravel()[place])
        return Found(best, self.moments.phase_of[best], misfit, rivals)


def far_apart(moments: Moments, wanted: int) -> Ints:
    """Choose rows that lie far from each other in units of their noise, the farthest next (Gonzalez, 1985).

    Distances count up to `_FAR_ENOUGH` and common phases more than rare ones, so that cells are small where most
    pixels are.
    """
    common = np.exp(moments.log_prior)
    chosen = [int(common.argmax())]
    distance = np.full(len(moments.mean), np.inf)
    while len(chosen) < min(wanted, len(moments.mean)):
        last = chosen[-1]
        apart = (moments.mean - moments.mean[last]) ** 2 / (moments.variance + moments.variance[last])
        distance = np.minimum(distance, apart.sum(axis=1))
        chosen.append(int((np.minimum(distance, _FAR_ENOUGH) * common).argmax()))
    return np.array(chosen)


def _runs(ordered: NDArray[Any]) -> Iterator[tuple[int, slice]]:
    """Yield each value of a sorted array with the slice that it fills."""
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), slice(int(start), int(stop))


def _pieces(whole: slice) -> Iterator[slice]:
    """Part a slice into those of `_PIECE_PX`."""
    for start in range(whole.start, whole.stop, _PIECE_PX):
        yield slice(start, min(start + _PIECE_PX, whole.stop))
