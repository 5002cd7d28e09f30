"""Reference points of a section -> error-adjusted areas and accuracies (Olofsson et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.estimation.doubt import QUANTILES
from meteoseg.legend import HOLE, OUTSIDE

FloatArray = NDArray[np.float64]

CONFUSION_COLUMNS = (
    "layer", "mapped", "reference", "n_points", "area_pct", "standard_error_pct",
)  # fmt: skip
ACCURACY_COLUMNS = (
    "layer", "name", "n_mapped", "n_reference", "mapped_pct", "users_accuracy_pct", "users_error_pct",
    "producers_accuracy_pct", "producers_error_pct",
)  # fmt: skip
#: Name of the row of the whole section in the table of accuracies.
ALL = "all classes"
#: Labelled points that every class of the map needs: one tells nothing of its error.
FEWEST_PER_CLASS = 2
_N_DRAWS = 4000
#: Weight of the prior of each class of the map, in points.
_PRIOR_POINTS = 1.0


@dataclass(frozen=True)
class ReferencePoints:
    """Points of one layer whose true class somebody named.

    layer : ``phases`` or ``components``. strata_px : pixels of each class of the map that points were drawn from, when
    they were drawn. points : number of labelled points by (class of the map, true class).

    Raises
    ------
    InputError : a class of the map has fewer than two labelled points.
    """

    layer: str
    strata_px: Mapping[str, int]
    points: Mapping[tuple[str, str], int]

    def __post_init__(self) -> None:
        for name in self.strata_px:
            n = sum(count for (mapped, _), count in self.points.items() if mapped == name)
            if n < FEWEST_PER_CLASS:
                raise InputError(
                    f"Of the {self.layer} only {n} labelled point{'' if n == 1 else 's'} lie on what the map calls "
                    f"'{name}': label at least {FEWEST_PER_CLASS} points of every class."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Classes of the map, then those that only the points have."""
        return tuple(dict.fromkeys([*self.strata_px, *(true for _, true in self.points)]))

    def counts(self) -> NDArray[np.int64]:
        """Return the points (classes of the map, names)."""
        table = [[self.points.get((mapped, true), 0) for true in self.names] for mapped in self.strata_px]
        return np.array(table, np.int64)

    def weights(self) -> FloatArray:
        """Return the share of each class of the map in the area that points were drawn from."""
        area = np.array(list(self.strata_px.values()), float)
        return np.asarray(area / area.sum())


@dataclass(frozen=True)
class AdjustedShares:
    """Error-adjusted shares in percent of the solid section, (K,) each: estimate, standard error, 95 % interval."""

    names: tuple[str, ...]
    pct: FloatArray
    error_pct: FloatArray
    low_pct: FloatArray
    high_pct: FloatArray


def adjusted_shares(points: ReferencePoints, rng: np.random.Generator) -> AdjustedShares:
    """Return what the points say of the share of each class in this section.

    The map divides the section into strata; in each the labelled points give the share of every true class (Olofsson
    et al. 2014, doi 10.1016/j.rse.2014.02.015, equations 9 to 11). Shares are of what is neither ``hole`` nor
    ``outside`` in truth, a ratio whose error is linearised. Intervals are those of 4000 draws of each stratum's shares
    from a Dirichlet law: a stratum without a wrong point is not taken for perfect.
    """
    counts, weights, names = points.counts(), points.weights(), points.names
    is_solid = np.array([name not in (HOLE, OUTSIDE) for name in names])
    n = counts.sum(axis=1, keepdims=True)
    within = counts / n
    area = weights @ within
    solid = float(area[is_solid].sum())
    if solid <= 0:
        raise InputError(f"All labelled points of the {points.layer} are hole or outside: nothing is left to measure.")
    share = area / solid
    # d = y - share * x of each point: x is 1 where it is solid, y where it is of the class.
    spread = within * (1 - 2 * share) + share**2 * within[:, is_solid].sum(axis=1, keepdims=True)
    spread -= (within - share * within[:, is_solid].sum(axis=1, keepdims=True)) ** 2
    error = np.sqrt((weights[:, None] ** 2 * np.maximum(spread, 0) / (n - 1)).sum(axis=0)) / solid
    low, high = np.quantile(_drawn_shares(points, is_solid, rng), QUANTILES, axis=0)
    keep = np.flatnonzero(is_solid)
    return AdjustedShares(
        tuple(names[index] for index in keep),
        100 * share[keep],
        100 * error[keep],
        100 * np.minimum(low, share)[keep],
        100 * np.maximum(high, share)[keep],
    )


def _drawn_shares(points: ReferencePoints, is_solid: NDArray[np.bool_], rng: np.random.Generator) -> FloatArray:
    """Draw shares (draws, names) of the solid section.

    The prior of each stratum weighs one point: half of it on the class of the map, half on the others alike.
    """
    counts, weights = points.counts(), points.weights()
    drawn = np.zeros((_N_DRAWS, counts.shape[1]))
    for index, row in enumerate(counts):
        prior = np.full(len(row), 0.5 * _PRIOR_POINTS / max(1, len(row) - 1))
        prior[index] = 0.5 * _PRIOR_POINTS
        drawn += weights[index] * rng.dirichlet(row + prior, _N_DRAWS)
    return np.asarray(drawn / np.maximum(drawn[:, is_solid].sum(axis=1, keepdims=True), 1e-12))


def confusion_table(points: ReferencePoints) -> pd.DataFrame:
    """Return a row per pair of mapped and true class: points, and the estimated share of the area with its error."""
    counts, weights = points.counts(), points.weights()
    rows = []
    for mapped, weight, row in zip(points.strata_px, weights, counts, strict=True):
        n = int(row.sum())
        for true, count in zip(points.names, row, strict=True):
            share = count / n
            error = weight * np.sqrt(share * (1 - share) / (n - 1))
            rows.append((points.layer, mapped, true, int(count), 100 * weight * share, 100 * error))
    return pd.DataFrame(rows, columns=list(CONFUSION_COLUMNS))


def accuracy_table(points: ReferencePoints) -> pd.DataFrame:
    """Return user's and producer's accuracy of each class in percent, and the overall accuracy in the last row.

    User's: of what the map calls so, how much is. Producer's: of what is so, how much the map calls so. Equations 1 to
    7 of Olofsson et al. 2014; errors are one standard error. In the last row both columns hold the overall accuracy.
    """
    counts, weights, names = points.counts().astype(float), points.weights(), points.names
    n = counts.sum(axis=1)
    within = counts / n[:, None]
    n_mapped = len(weights)
    users = within[np.arange(n_mapped), np.arange(n_mapped)]
    users_error = np.sqrt(users * (1 - users) / (n - 1))
    area = weights @ within
    rows: list[tuple[object, ...]] = []
    for index, name in enumerate(names):
        is_mapped = index < n_mapped
        share = weights[index] * users[index] / area[index] if is_mapped and area[index] > 0 else np.nan
        error = _producers_error(index, share, weights, within, n) if is_mapped and area[index] > 0 else np.nan
        rows.append((
            points.layer, name, int(n[index]) if is_mapped else 0, int(counts[:, index].sum()),
            100 * weights[index] if is_mapped else 0.0,
            100 * users[index] if is_mapped else np.nan, 100 * users_error[index] if is_mapped else np.nan,
            100 * share, 100 * error,
        ))  # fmt: skip
    overall, error = 100 * weights @ users, 100 * np.sqrt(weights**2 @ users_error**2)
    rows.append((points.layer, ALL, int(n.sum()), int(n.sum()), 100.0, overall, error, overall, error))
    return pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS))


def _producers_error(index: int, share: float, weights: FloatArray, within: FloatArray, n: FloatArray) -> float:
    """Return the standard error of a producer's accuracy (equation 7)."""
    variance = weights**2 * within[:, index] * (1 - within[:, index]) / (n - 1)
    other = variance.sum() - variance[index]
    area = float(weights @ within[:, index])
    return float(np.sqrt((1 - share) ** 2 * variance[index] + share**2 * other) / area)
