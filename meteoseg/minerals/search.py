"""Likelihood of pixels under the templates that can matter to them: the exhaustive result at a fraction of its work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

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
from meteoseg.minerals.smoothing import Pairs

#: A phase less likely than the best of a pixel by this natural logarithm has no part in its posterior (3e-4).
LEAST_LOG_RATIO = 8.0
_CELLS = 32
#: Entries of a table of likelihoods (2 MiB). Smaller ones make threads wait for the interpreter.
_TABLE_SIZE = 1 << 19
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

    rows : (R,) ascending; weights : (R, 2C + 1); phases : (G,) ascending; groups : the slice of the rows of each.
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


#: Candidates and the pixels that are compared with them.
Run = tuple[Candidates, Ints]


@dataclass(frozen=True)
class Found:
    """What is known of N pixels.

    best : (N,) row of the likeliest template. misfit : (N,) float32, its squared residual over variance, averaged over
    the channels. pairs : the phases of each pixel that are less likely than its best by `LEAST_LOG_RATIO` at most.
    """

    best: Ints
    misfit: Floats
    pairs: Pairs

    def replaced(self, which: Ints, other: Found) -> Found:
        """Return those with the pixels `which` from `other`."""
        best, misfit, kept = self.best.copy(), self.misfit.copy(), np.ones(len(self.best), bool)
        best[which], misfit[which], kept[which] = other.best, other.misfit, False
        mine = self.pairs.only(np.flatnonzero(kept.take(self.pairs.pixel)))
        return Found(best, misfit, mine.joined(other.pairs.renumbered(which)))

    def reordered(self, order: Ints) -> Found:
        """Return the pixels with pixel i at place order[i]."""
        best, misfit = np.empty_like(self.best), np.empty_like(self.misfit)
        best[order], misfit[order] = self.best, self.misfit
        return Found(best, misfit, self.pairs.renumbered(order))


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
        members = np.split(order, np.cumsum(np.bincount(cell, minlength=len(self._cells)))[:-1])
        runs = [run for mine, which in zip(self._cells, members, strict=True) for run in _runs(mine, which)]
        by_pixel = np.ascontiguousarray(values.T)  # gathered with all channels of a pixel at once
        found = self._compare(runs, by_pixel).reordered(order)
        doubtful = np.flatnonzero(found.misfit > _DOUBTFUL)
        return found.replaced(doubtful, self._all_rows(by_pixel, doubtful)) if doubtful.size else found

    def _cell_of(self, values: Floats) -> NDArray[np.uint8]:
        """Cell of each pixel (N,)."""
        cell = np.empty(values.shape[1], np.uint8)
        for columns in _pieces(len(cell), rows=len(self._signposts)):
            cell[columns] = first_highest(self._signposts @ expand(values[:, columns]))
        return cell

    def find_exhaustively(self, values: Floats) -> Found:
        """Compare pixels (C, N) with every template: the reference for `find`, several times slower."""
        return self._all_rows(values.T, np.arange(values.shape[1]))

    def _all_rows(self, by_pixel: Floats, which: Ints) -> Found:
        return self._compare(list(_runs(self._everything, which)), by_pixel)

    def _compare(self, runs: Sequence[Run], by_pixel: Floats) -> Found:
        """Compare pixels of `by_pixel` (N, C) with candidates; what is found is in the order of the runs."""
        pixels = sum(len(which) for _, which in runs)
        best, highest = np.empty(pixels, np.int64), np.empty(pixels, np.float32)
        log_ratio = np.empty(sum(len(mine.phases) * len(which) for mine, which in runs), np.float32)
        start = done = 0
        for mine, which in runs:
            columns = slice(start, start := start + len(which))
            table = mine.weights @ expand(by_pixel.take(which, axis=0).T)
            lines = log_ratio[done : (done := done + len(mine.phases) * len(which))].reshape(-1, len(which))
            for rows, line in zip(mine.groups, lines, strict=True):
                np.maximum.reduce(table[rows], axis=0, out=line)
            top = np.maximum.reduce(lines, axis=0, out=highest[columns])
            best[columns] = mine.rows[first_highest(table, top)]
            lines -= top
        misfit = (self._constants[best] - highest) * np.float32(2 / self.moments.mean.shape[1])
        return Found(best, misfit, _likely_pairs(runs, log_ratio))


def _likely_pairs(runs: Sequence[Run], log_ratio: Floats) -> Pairs:
    """Pick the likely pairs out of `log_ratio`: run by run a line for each phase, with the pixels of the run."""
    place = np.flatnonzero(log_ratio >= -LEAST_LOG_RATIO)
    phase = np.concatenate([mine.phases for mine, _ in runs])
    lines = np.array([len(mine.phases) for mine, _ in runs])
    pixels = np.array([len(which) for _, which in runs])
    line_start, first_pixel = _starts(np.repeat(pixels, lines)), np.repeat(_starts(pixels), lines)
    count = np.diff(place.searchsorted(line_start), append=len(place))
    return Pairs(place - np.repeat(line_start - first_pixel, count), np.repeat(phase, count), log_ratio.take(place))


def _starts(lengths: Ints) -> Ints:
    """Where each of several pieces in a row starts."""
    return np.cumsum(lengths) - lengths


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


def _runs(candidates: Candidates, pixels: Ints) -> Iterator[Run]:
    """Part the pixels of a cell into pieces."""
    for part in _pieces(len(pixels), rows=len(candidates.rows)):
        yield candidates, pixels[part]


def _pieces(pixels: int, *, rows: int) -> Iterator[slice]:
    """Part pixels so that a table of so many rows has `_TABLE_SIZE` entries at most."""
    step = max(1, _TABLE_SIZE // rows)
    for first in range(0, pixels, step):
        yield slice(first, min(first + step, pixels))
