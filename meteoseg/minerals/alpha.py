"""Matrix correction: X-ray intensity per weight percent in a compound, against the pure element."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import UnknownNameError
from meteoseg.mineraldata import K_RATIO_ELEMENTS, minerals

Array = NDArray[np.float64]

#: Order of the elements in composition vectors.
ELEMENTS: tuple[str, ...] = tuple(ATOMIC_NUMBER)
_INDEX = {element: position for position, element in enumerate(ELEMENTS)}
_LOWEST_WT_PCT = 2.0
# Strength of the pull to alpha = 1 (no interaction) for element pairs that the table hardly constrains.
_RIDGE = 1e-3
_RESIN_Z = 6.35


def composition_vector(composition_wt_pct: dict[str, float]) -> Array:
    """Arrange element wt% in the order of `ELEMENTS`.

    Raises
    ------
    UnknownNameError : a symbol is not an element of `meteoseg.elements`.
    """
    vector = np.zeros(len(ELEMENTS))
    for element, wt in composition_wt_pct.items():
        if element not in _INDEX:
            raise UnknownNameError.of("element", element, ELEMENTS)
        vector[_INDEX[element]] = wt
    return vector


@cache
def alpha_factors(element: str) -> Array:
    """Fit the alpha factors of `element` in all elements to the table of XPP k-ratios.

    Bence & Albee (1968, J. Geol. 76:382): C / k = sum_j C_j alpha_j with alpha = 1 for the element itself.
    Least squares over the minerals with more than 2 wt% of the element, pulled to 1 where the table is silent.
    The fit repeats the k-ratios of rules/kratios.csv within 0.5 % (one sd), 2.3 % at worst.

    Returns
    -------
    (E,) in the order of `ELEMENTS`; all 1 for elements without tabulated k-ratios.
    """
    fractions, targets = [], []
    for mineral in minerals().values():
        wt, k_ratio = mineral.composition_wt_pct.get(element, 0.0), mineral.k_ratio.get(element, 0.0)
        if wt > _LOWEST_WT_PCT and k_ratio > 0:
            composition = composition_vector(dict(mineral.composition_wt_pct))
            fractions.append(composition / composition.sum())
            targets.append(wt / 100 / k_ratio)
    alpha = np.ones(len(ELEMENTS))
    if element not in K_RATIO_ELEMENTS or not fractions:
        return alpha
    others = np.arange(len(ELEMENTS)) != _INDEX[element]
    design = np.array(fractions)[:, others]
    normal = design.T @ design + _RIDGE * np.eye(design.shape[1])
    alpha[others] += np.linalg.solve(normal, design.T @ (np.array(targets) - 1.0))
    return alpha


def matrix_factors(compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
    """Intensity per wt% against the pure element, F = k / C, of `channels` in each composition.

    Parameters
    ----------
    compositions_wt_pct : (T, E) in the order of `ELEMENTS`; only proportions count.
    channels : element symbols.

    Returns
    -------
    (T, C), around 0.5 to 1; 1 in a composition of nothing.

    Examples
    --------
    >>> olivine = composition_vector({"Mg": 34.55, "Si": 19.96, "O": 45.49})
    >>> matrix_factors(olivine[None], ("Mg", "Si")).round(2).tolist()
    [[0.73, 0.7]]
    """
    totals = compositions_wt_pct.sum(axis=1, keepdims=True)
    fractions = np.divide(compositions_wt_pct, totals, out=np.zeros_like(compositions_wt_pct), where=totals > 0)
    denominators = np.stack([fractions @ alpha_factors(channel) for channel in channels], axis=1)
    return np.where(totals > 0, 1 / np.where(denominators > 0, denominators, 1.0), 1.0)


def mean_atomic_numbers(compositions_wt_pct: Array) -> Array:
    """Mean atomic number by mass fraction of each composition (T, E); that of resin for nothing."""
    atomic_numbers = np.array([ATOMIC_NUMBER[element] for element in ELEMENTS], float)
    totals = compositions_wt_pct.sum(axis=1)
    weighted = compositions_wt_pct @ atomic_numbers
    return np.asarray(np.divide(weighted, totals, out=np.full(len(totals), _RESIN_Z), where=totals > 0))
