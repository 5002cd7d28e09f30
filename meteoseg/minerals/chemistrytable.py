"""Means over grains: the table chemistry.csv, with the percent mean deviation of Fa."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from meteoseg.minerals.alpha import Array
from meteoseg.minerals.solutions import chemistry_rules

#: Columns of ``chemistry.csv``.
COLUMNS = (
    "phase", "quantity", "unit", "where", "n_grains", "n_chondrules", "n_px", "mean", "sd_between_grains",
    "standard_error", "systematic_error", "ci_low", "ci_high",
)  # fmt: skip
#: Values of the column `where`: grains anywhere, and those inside chondrules and fragments.
ALL, CHONDRULES = "all", "chondrules"
PMD = "Fa_pmd"
_CONFIDENCE = 0.95
_NORMAL_95 = float(stats.norm.ppf(0.5 + _CONFIDENCE / 2))
_DRAWS = 1000
_SEED = 20
_FEWEST_OBJECTS = 2
#: Quantities of which grains count by their area: Ni of metal is that of all of the metal.
_BY_AREA = ("Ni",)
#: The percent mean deviation is relative to the mean: it needs one that is this many times its systematic error.
_LEAST_MEAN = 3.0


def chemistry_table(grains: pd.DataFrame, *, chondrules: bool) -> pd.DataFrame:
    """Summarise a table of grains (`MineralChemistry.grain_table`) by phase and quantity.

    Parameters
    ----------
    chondrules : whether chondrules were outlined, so that there are rows for the grains inside them.

    Returns
    -------
    Columns `COLUMNS`. Every grain counts the same, but for Ni of metal by its area. `sd_between_grains` is free of
    counting noise, `standard_error` is that of the mean over grains, `systematic_error` comes from calibration and
    background; the interval (95 %) of a mean holds both, the first with Student's t for n - 1 grains (of uneven
    weights: as many as tell the same). Rows of `Fa_pmd` have a bootstrap interval over grains.
    """
    rows: list[dict[str, object]] = []
    for where in (ALL, CHONDRULES) if chondrules else (ALL,):
        chosen = grains if where == ALL else grains[grains["chondrule"] > 0]
        for (phase, quantity), group in chosen.groupby(["phase", "quantity"], sort=True):
            head: dict[str, object] = {
                "phase": phase,
                "quantity": quantity,
                "unit": group["unit"].iloc[0],
                "where": where,
            }
            rows.extend(head | row for row in _rows_of(group, str(quantity)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows_of(group: pd.DataFrame, quantity: str) -> Iterator[dict[str, object]]:
    values, noise = group["value"].to_numpy(float), group["sd_counting"].to_numpy(float)
    objects = group["chondrule"].to_numpy(int)
    n_objects = len(np.unique(objects[objects > 0]))
    counts: dict[str, object] = {"n_grains": len(values), "n_chondrules": n_objects, "n_px": int(group["n_px"].sum())}
    n_px = group["n_px"].to_numpy(float)
    weights = n_px / n_px.sum() if quantity in _BY_AREA else np.full(len(values), 1 / len(values))
    error = standard_error(values, noise, objects, weights)
    systematic = float(weights @ group["sd_calibration"].to_numpy(float))
    yield counts | _mean_row(values, noise, weights, error=error, systematic=systematic)
    least = int(chemistry_rules()["grains"]["min_grains_pmd"])
    if quantity == "Fa" and len(values) >= least and values.mean() > _LEAST_MEAN * group["sd_calibration"].mean():
        yield counts | {"quantity": PMD, "unit": "%"} | _pmd_row(values, noise)


def standard_error(values: Array, noise: Array, objects: NDArray[np.int64], weights: Array | None = None) -> float:
    """Standard error of the mean over grains, which are alike within an object.

    The largest of the error for independent grains, the one for independent objects (cluster sums; Liang & Zeger
    1986, doi 10.1093/biomet/73.1.13) and the one that counting alone makes, below which few grains fall by chance. A
    grain outside objects stands for itself; a single grain has its counting error.

    Parameters
    ----------
    values, noise : (n,) grain means and their sd from counting; objects : (n,) ids, 0 = in none.
    weights : (n,) of the grains, with a sum of 1; None: all alike.

    Examples
    --------
    >>> values = np.array([1.0, 1.0, 3.0, 3.0])
    >>> alone, paired = np.zeros(4, int), np.array([1, 1, 2, 2])
    >>> [round(standard_error(values, np.zeros(4), of), 2) for of in (alone, paired)]
    [0.58, 1.0]
    >>> round(standard_error(np.array([1.0, 1.1, 1.2]), np.full(3, 0.3), np.zeros(3, int)), 3)  # 0.3 / sqrt(3)
    0.173
    """
    n = len(values)
    share = np.full(n, 1 / n) if weights is None else weights
    counting = float(np.sqrt(np.sum((share * noise) ** 2)))
    if n == 1:
        return counting
    off = share * (values - share @ values)
    independent = max(counting, float(np.sqrt(np.sum(off**2) * n / (n - 1))))
    _, of = np.unique(np.where(objects > 0, objects, -1 - np.arange(n)), return_inverse=True)
    sums = np.bincount(of.ravel(), off)
    if len(sums) < _FEWEST_OBJECTS:
        return independent
    return max(independent, float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))))


def _mean_row(values: Array, noise: Array, weights: Array, *, error: float, systematic: float) -> dict[str, float]:
    mean, n = float(weights @ values), len(values)
    even = 1 / float(np.sum(weights**2))
    variance = float(values.var(ddof=1)) if n > 1 else float("nan")
    # Of a single grain counting alone is known, which needs no scatter: normal.
    quantile = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, max(even - 1, 1))) if n > 1 else _NORMAL_95
    half = float(np.hypot(quantile * error, _NORMAL_95 * systematic))
    return {
        "mean": mean,
        "sd_between_grains": float(np.sqrt(max(0.0, variance - float(np.mean(noise**2))))) if n > 1 else variance,
        "standard_error": error,
        "systematic_error": systematic,
        "ci_low": mean - half,
        "ci_high": mean + half,
    }


def _pmd_row(values: Array, noise: Array) -> dict[str, float]:
    rng = np.random.default_rng(_SEED)
    draws = (rng.integers(0, len(values), len(values)) for _ in range(_DRAWS))
    found = np.array([percent_mean_deviation(values[draw], noise[draw]) for draw in draws])
    low, high = np.percentile(found, [2.5, 97.5])
    return {
        "mean": percent_mean_deviation(values, noise),
        "sd_between_grains": float("nan"),
        "standard_error": float(found.std()),
        "systematic_error": float("nan"),
        "ci_low": float(low),
        "ci_high": float(high),
    }


def percent_mean_deviation(values: Array, noise_sd: Array) -> float:
    """Percent mean deviation of grain means, 100 / n sum |v_i - mean| / mean, less what counting noise makes of it.

    The deviations are shrunk by sqrt(1 - noise variance / observed variance), which is exact where both are normal.
    Definition: Dodd, Van Schmus & Koffman (1967), FROM MEMORY (medium).

    Parameters
    ----------
    values : (n,) grain means; noise_sd : (n,) their sd from counting.

    Examples
    --------
    >>> round(percent_mean_deviation(np.array([10.0, 20.0, 30.0]), np.zeros(3)), 1)
    33.3
    >>> percent_mean_deviation(np.array([19.0, 20.0, 21.0]), np.full(3, 1.0))
    0.0
    """
    mean = float(values.mean())
    observed = float(values.var(ddof=1))
    if observed <= 0 or mean <= 0:
        return 0.0
    shrink = np.sqrt(max(0.0, 1 - float(np.mean(noise_sd**2)) / observed))
    return float(100 * shrink * np.mean(np.abs(values - mean)) / mean)
