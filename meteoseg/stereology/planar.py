"""Diameters in the plane of section: mean, median and spread, by number and by area, with errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
#: Fewer objects than this give no size.
MIN_OBJECTS = 5
CONFIDENCE = 0.95
_DRAWS = 400
_SEED = 11
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval."""

    value: float
    standard_error: float
    ci_low: float
    ci_high: float


def size_estimates(
    diameters_um: FloatArray, weights: FloatArray, *, least: int = MIN_OBJECTS, draws: int = _DRAWS
) -> dict[str, Estimate]:
    """Estimate mean and median (um) and the standard deviation of ln d of a population from its weighted members.

    Standard errors are the spread over bootstrap draws of the objects; intervals are symmetric in the logarithm, with
    Student's t for n - 1.

    Parameters
    ----------
    diameters_um, weights : (n,); a weight says how many objects of the population one stands for.
    least : fewer objects give nothing.
    draws : of the bootstrap; 0: no errors.

    Returns
    -------
    By quantity (`mean_diameter`, `median_diameter`, `sigma_ln_d`); empty under `least` objects.

    Examples
    --------
    >>> found = size_estimates(np.array([100.0, 200.0, 300.0, 400.0, 500.0]), np.array([1.0, 1.0, 1.0, 1.0, 2.0]))
    >>> round(found["mean_diameter"].value), size_estimates(np.array([100.0]), np.ones(1))
    (333, {})
    """
    n = len(diameters_um)
    if n < least:
        return {}
    order = np.argsort(diameters_um)
    d_um, weights = diameters_um[order], weights[order]
    values = _statistics(d_um, weights[None, :])
    if not draws:
        return {name: Estimate(float(found[0]), np.nan, np.nan, np.nan) for name, found in values.items()}
    errors = _bootstrap_errors(d_um, weights, draws)
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1))
    return {name: _estimate(float(values[name][0]), errors[name], quantile) for name in values}


def _bootstrap_errors(d_um: FloatArray, weights: FloatArray, draws: int) -> dict[str, float]:
    n, rng = len(d_um), np.random.default_rng(_SEED)
    rows = max(1, _AT_ONCE // n)
    made = [
        _statistics(d_um, weights * rng.multinomial(n, np.full(n, 1 / n), size=min(rows, draws - start)))
        for start in range(0, draws, rows)
    ]
    return {name: float(np.concatenate([part[name] for part in made]).std()) for name in made[0]}


def _statistics(d_um: FloatArray, weights: FloatArray) -> Mapping[str, FloatArray]:
    """Return the statistics of each row of `weights` (draws, n); `d_um` (n,) rises."""
    total = weights.sum(axis=1)
    ln_d = np.log(d_um)
    ln_mean = weights @ ln_d / total
    # The weighted form of n - 1: n effective objects (Kish).
    n_effective = total**2 / (weights**2).sum(axis=1)
    variance = np.maximum(weights @ ln_d**2 / total - ln_mean**2, 0.0)
    variance *= n_effective / np.maximum(n_effective - 1, 1e-9)
    reached = np.cumsum(weights, axis=1) / total[:, None]
    return {
        "mean_diameter": weights @ d_um / total,
        "median_diameter": (d_um[_first(reached >= 0.5 - 1e-12)] + d_um[_first(reached > 0.5 + 1e-12)]) / 2,
        "sigma_ln_d": np.sqrt(variance),
    }


def _first(found: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.asarray(np.argmax(found, axis=1))


def _estimate(value: float, error: float, quantile: float) -> Estimate:
    if value <= 0:
        return Estimate(value, error, value, value)
    factor = float(np.exp(quantile * error / value))
    return Estimate(value, error, value / factor, value * factor)
