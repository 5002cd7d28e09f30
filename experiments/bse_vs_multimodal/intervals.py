"""Scores of an arm with 95 % intervals, from counts per seed and unit (section or block)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scores import scores

REPLICATES = 2000
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Scores (4,) in the order of `scores.SCORES`: the mean over seeds, its interval, and (seeds, 4) each seed's."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    seeds: FloatArray


@dataclass(frozen=True)
class Counts:
    """Counts of one arm in one test: (seeds, units, 8), the same units in the same order for every arm.

    The bootstrap draws units and seeds with replacement. Arms of one test share the draw of units, so that the
    interval of their difference is that of a paired comparison. Few seeds spread too little when they are drawn
    with replacement, by (n - 1) / n in variance: their part is widened by that. One seed: units alone.
    """

    name: str
    test: str
    values: FloatArray

    def estimate(self) -> Estimate:
        """Return the scores and their interval."""
        return _interval(self.per_seed().mean(axis=0), np.clip(self.replicates(), 0, 1), self.per_seed())

    def minus(self, other: Counts) -> Estimate:
        """Return what this arm scores more than another in the same test."""
        mean = self.per_seed().mean(axis=0) - other.per_seed().mean(axis=0)
        return _interval(mean, self.replicates() - other.replicates(), np.empty((0, len(mean))))

    def per_seed(self) -> FloatArray:
        """Return the scores (seeds, 4) over all units."""
        return scores(self.values.sum(axis=1))

    def replicates(self) -> FloatArray:
        """Return resampled scores (`REPLICATES`, 4), each a mean over seeds."""
        n_seeds, n_units, _ = self.values.shape
        weights = _rng(self.test).multinomial(n_units, np.full(n_units, 1 / n_units), size=REPLICATES)
        drawn = scores(np.einsum("bu,suk->bsk", weights.astype(float), self.values))
        picked = _rng(self.test + self.name).integers(n_seeds, size=(REPLICATES, n_seeds, 1))
        centre = drawn.mean(axis=1)
        spread = np.take_along_axis(drawn, picked, axis=1).mean(axis=1) - centre
        return np.asarray(centre + spread * np.sqrt(n_seeds / max(1, n_seeds - 1)))


def _rng(text: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(text.encode()))


def _interval(mean: FloatArray, replicates: FloatArray, seeds: FloatArray) -> Estimate:
    low, high = np.nanpercentile(replicates, [2.5, 97.5], axis=0)
    return Estimate(mean, low, high, seeds)
