"""Modal abundances of a meteorite from several sections: areas add, errors combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from meteoseg.estimation.blocks import CONFIDENCE
from meteoseg.estimation.blocks import degrees as degrees_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class JoinedShare:
    """A share (0 to 1) of all sections together, its standard error, and degrees of freedom of that.

    between : standard deviation of the sections beyond their own errors, 0 where they agree; NaN for one section.
    """

    share: float
    error: float
    degrees: float
    between: float

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval on the scale of ln(p / (1 - p)); NaN for a share of 0."""
        if self.share <= 0:
            return float("nan")
        spread = max(self.share * (1 - self.share), float(np.finfo(float).tiny))
        return float(stats.t.ppf(0.5 + CONFIDENCE / 2, max(1.0, self.degrees)) * self.error / spread)


def join_shares(
    areas: Sequence[float], shares: Sequence[float], errors: Sequence[float], n_blocks: Sequence[int]
) -> JoinedShare:
    """Join the shares of one class in sections of one meteorite.

    The share is that of all areas together. Each section is a cluster of blocks, whence its own error e_i.
    Sections that differ by more than that (DerSimonian & Laird 1986, doi 10.1016/0197-2456(86)90046-2) have a variance
    between them, tau^2; the error is ``sqrt(sum w_i^2 (e_i^2 + tau^2))`` with w_i the share of the area. Degrees of
    freedom by Satterthwaite: those of the blocks for the first part, sections less one for the second.

    Parameters
    ----------
    areas, shares, errors, n_blocks : of each section; errors are standard errors, NaN where not known: then of all.

    Examples
    --------
    >>> joined = join_shares([10.0, 30.0], [0.2, 0.2], [0.03, 0.02], [36, 36])
    >>> round(joined.share, 3), round(joined.error, 4), joined.between
    (0.2, 0.0168, 0.0)
    """
    weight = np.asarray(areas, float) / np.sum(areas)
    share, error = np.asarray(shares, float), np.asarray(errors, float)
    joined = float(weight @ share)
    own = weight**2 * error**2
    within = float(own.sum())
    blocks = degrees_of(np.asarray(n_blocks))
    if len(share) == 1:
        return JoinedShare(joined, float(np.sqrt(within)), float(blocks[0]), float("nan"))
    between = _between_variance(share, error)
    added = float((weight**2).sum()) * between
    total = within + added
    pieces = float((own**2 / blocks).sum()) + added**2 / (len(share) - 1)
    degrees = total**2 / pieces if pieces > 0 else float(blocks.sum())
    return JoinedShare(joined, float(np.sqrt(total)), degrees, float(np.sqrt(between)))


def _between_variance(share: FloatArray, error: FloatArray) -> float:
    """Return the variance of sections beyond their own errors, by the method of moments; 0 where they agree."""
    if np.isnan(error).any():
        return float("nan")
    weight = 1 / np.maximum(error**2, 1e-18)
    mean = float(weight @ share / weight.sum())
    excess = float(weight @ (share - mean) ** 2) - (len(share) - 1)
    return max(0.0, excess / float(weight.sum() - (weight**2).sum() / weight.sum()))


def joined_bounds(
    areas: Sequence[float], shares: Sequence[float], bounds: Sequence[float], *, independent: bool
) -> float:
    """Return a bound of the classification error of all sections together, as a share.

    Parameters
    ----------
    shares, bounds : share and bound (low or high) of each section, 0 to 1.
    independent : reference points of each section err independently: the distances add in squares. The doubt of one
        network is the same in all sections: the distances are averaged.

    Examples
    --------
    >>> round(joined_bounds([1, 1], [0.5, 0.5], [0.4, 0.4], independent=False), 3)
    0.4
    >>> round(joined_bounds([1, 1], [0.5, 0.5], [0.4, 0.4], independent=True), 3)
    0.429
    """
    weight = np.asarray(areas, float) / np.sum(areas)
    value, bound = (np.clip(np.asarray(part, float), 1e-12, 1 - 1e-12) for part in (shares, bounds))
    away = special.logit(bound) - special.logit(value)
    sign = 1.0 if np.nansum(away) >= 0 else -1.0
    joined = float(np.clip(weight @ value, 1e-12, 1 - 1e-12))
    # Distances on the logit scale, weighted as the variances of the shares are. From a share of 0 or 1 that scale has
    # no slope: there the distance of the shares themselves counts.
    is_inside = (value > 1e-12) & (value < 1 - 1e-12)
    moved = np.where(is_inside, value * (1 - value) * np.abs(away), np.abs(bound - value))
    moved *= weight / (joined * (1 - joined))
    distance = np.sqrt((moved**2).sum()) if independent else moved.sum()
    return float(special.expit(special.logit(joined) + sign * distance))
