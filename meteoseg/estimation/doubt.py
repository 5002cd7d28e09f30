"""Classification error of the modes of a section, from how sure the labels are: posterior sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from meteoseg.legend import UNCLASSIFIED

FloatArray = NDArray[np.float64]

#: Draws of the posterior.
N_DRAWS = 2000
QUANTILES = (0.025, 0.975)


def doubt_interval(
    counts: NDArray[np.int64],
    names: Sequence[str],
    probability: Mapping[str, float],
    rng: np.random.Generator,
    *,
    n_draws: int = N_DRAWS,
) -> tuple[FloatArray, FloatArray]:
    """Return 95 % intervals (low, high) in percent of the true share of each class in this very section.

    Of a class whose labels have the mean probability u, the share ``1 - u`` is expected to be wrong. Errors of
    neighbouring pixels go together (a whole grain is taken for another mineral, everywhere in the section), so one
    rate is drawn for each class and draw, not one for each pixel: Beta with mean ``1 - u``, as broad as its mean. What
    is wrong belongs to the classes that lie in the same cells, in shares drawn around theirs. The interval holds the
    middle 95 % of the draws, and the share as mapped. ``unclassified`` is taken as it is.

    Parameters
    ----------
    counts : (cell rows, cell cols, classes) pixels.
    names : of the classes.
    probability : mean probability of the labels by class, 0 to 1; classes that it lacks are taken as certain.
    """
    if not names:
        return np.zeros(0), np.zeros(0)
    total = counts.sum(axis=(0, 1)).astype(float)
    share = total / max(1.0, total.sum())
    wrong = np.array([0.0 if name == UNCLASSIFIED else 1 - probability.get(name, 1.0) for name in names])
    wrong = np.clip(wrong, 0, 1 - 1e-6)
    others = _neighbours(counts, np.array([name == UNCLASSIFIED for name in names]))
    drawn = np.tile(share, (n_draws, 1))
    for index in np.flatnonzero((wrong > 0) & (others.sum(axis=1) > 0)):
        rate = rng.beta(1.0, (1 - wrong[index]) / wrong[index], n_draws)
        where = np.flatnonzero(others[index])
        goes_to = rng.dirichlet(len(where) * others[index, where], n_draws)
        moved = share[index] * rate
        drawn[:, index] -= moved
        drawn[:, where] += moved[:, None] * goes_to
    low, high = np.quantile(drawn, QUANTILES, axis=0)
    return np.asarray(100 * np.minimum(low, share)), np.asarray(100 * np.maximum(high, share))


def _neighbours(counts: NDArray[np.int64], is_apart: NDArray[np.bool_]) -> FloatArray:
    """Return (K, K): to which class a wrong pixel of each class belongs, by the pixels of the same cells.

    Rows add to 1; classes in `is_apart` get nothing.
    """
    cells = counts.reshape(-1, counts.shape[2]).astype(float)
    area = np.maximum(cells.sum(axis=1, keepdims=True), 1)
    together = cells.T @ (cells / area)
    np.fill_diagonal(together, 0)
    together[:, is_apart] = 0
    return np.asarray(together / np.maximum(together.sum(axis=1, keepdims=True), np.finfo(float).tiny))


def combined_interval(
    share: FloatArray, sampling: FloatArray, section_pct: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Join sampling and classification error to 95 % intervals (low, high) in percent.

    On the scale of ln(p / (1 - p)) the half widths add in squares, each side by itself: the errors are independent. A
    share of 0 or 1 has no place on that scale: there the sampling error is set on top of the bound of the other.

    Parameters
    ----------
    share : (K,) 0 to 1. sampling : (K,) half widths of the sampling error on that scale.
    section_pct : (low, high) of the classification error, in percent; NaN where it is not known: left out.

    Examples
    --------
    >>> low, high = combined_interval(np.array([0.5]), np.array([0.3]), (np.array([40.0]), np.array([np.nan])))
    >>> low.round(1).tolist(), high.round(1).tolist()
    ([37.7], [57.4])
    """
    tiny = 1e-12
    centre = special.logit(np.clip(share, tiny, 1 - tiny))
    sides = []
    for sign, bound in zip((-1, 1), section_pct, strict=True):
        reach = np.abs(special.logit(np.clip(bound / 100, tiny, 1 - tiny)) - centre)
        half = np.hypot(sampling, np.where(np.isnan(reach), 0.0, reach))
        beyond = _beyond(bound / 100, sampling, sign)
        reached = special.expit(centre + sign * half)
        at_end = np.where((share <= 0) | (share >= 1), np.where(np.isnan(bound), share, beyond), reached)
        sides.append(100 * np.where(np.isnan(half), np.nan, at_end))
    return np.asarray(sides[0]), np.asarray(sides[1])


def _beyond(bound: FloatArray, sampling: FloatArray, sign: int) -> FloatArray:
    """Return bounds (0 to 1) moved outwards by the sampling error; those of exactly 0 or 1 stay."""
    inside = np.clip(bound, 1e-12, 1 - 1e-12)
    moved = special.expit(special.logit(inside) + sign * sampling)
    return np.where((bound <= 0) | (bound >= 1), bound, moved)
