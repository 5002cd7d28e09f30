"""How badly a pixel may fit before it is no mineral of the list: from draws of what the list expects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.minerals.alpha import Array
from meteoseg.minerals.likelihood import Floats, Moments
from meteoseg.minerals.search import Search

#: Pixels drawn of every template: rounds of so many.
_ROUNDS, _DRAWS = 5, 40
_SEED = 4128


def misfit_bound(search: Search, lost_share: float, *, counts: bool) -> float:
    """Mean squared residual over variance that `lost_share` of the pixels of known minerals exceed.

    Pixels are drawn from every pure template, with the spread of its composition and, for `counts`, Poisson noise;
    phases count as their priors say. The bound lies near the quantile of chi-square over the number of channels:
    the best of many templates fits better than the true one, channels of few counts have longer tails.

    Raises
    ------
    InputError : a share that is not between 0 and 1.
    """
    if not 0 < lost_share < 1:
        raise InputError(f"A lost share of {lost_share} is not possible: give a number between 0 and 1, like 0.001.")
    moments = search.moments.only(search.moments.pure)
    rng = np.random.default_rng(_SEED)
    weight = np.exp(moments.log_prior) / np.bincount(moments.phase_of)[moments.phase_of]
    drawn = [search.find(_draw(rng, moments, counts=counts)).misfit for _ in range(_ROUNDS)]
    return _weighted_quantile(np.concatenate(drawn), np.tile(weight, _ROUNDS * _DRAWS), 1 - lost_share)


def _draw(rng: np.random.Generator, moments: Moments, *, counts: bool) -> Floats:
    """Draw `_DRAWS` pixels of every row: (C, `_DRAWS` R)."""
    noise = rng.standard_normal((_DRAWS, *moments.mean.shape))
    if counts:
        spread = np.sqrt(np.maximum(moments.variance - moments.mean, 0))
        drawn = rng.poisson(np.maximum(moments.mean + spread * noise, 0)).astype(np.float32)
    else:
        drawn = (moments.mean + np.sqrt(moments.variance) * noise).astype(np.float32)
    return drawn.reshape(-1, drawn.shape[-1]).T


def _weighted_quantile(values: NDArray[np.float32], weights: Array, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])
