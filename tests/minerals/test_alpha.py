"""The matrix correction repeats the table it was fitted to, and behaves between its entries."""

import numpy as np
import pytest

from meteoseg.mineraldata import minerals
from meteoseg.minerals.alpha import ELEMENTS, composition_vector, matrix_factors, mean_atomic_numbers
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas


@pytest.mark.parametrize("element", ["Na", "Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni"])
def test_tabulated_k_ratios_are_repeated_within_three_percent(element):
    compared = 0
    for mineral in minerals().values():
        wt, k_ratio = mineral.composition_wt_pct.get(element, 0), mineral.k_ratio.get(element, 0)
        if wt > 2 and k_ratio > 0:
            factor = matrix_factors(composition_vector(dict(mineral.composition_wt_pct))[None], (element,))[0, 0]
            assert factor * wt / 100 == pytest.approx(k_ratio, rel=0.03)
            compared += 1
    assert compared >= 3


def test_pure_element_has_factor_one():
    for element in ("Fe", "Ni", "Si"):
        pure = composition_vector({element: 100.0})[None]
        assert matrix_factors(pure, (element,))[0, 0] == pytest.approx(1.0, abs=1e-9)


def test_factor_of_magnesium_falls_steadily_with_fayalite():
    line = [composition_vector(mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - x, x])) for x in np.linspace(0, 0.9, 10)]
    assert np.all(np.diff(matrix_factors(np.array(line), ("Mg",))[:, 0]) < 0)


def test_scaling_a_composition_leaves_factor_and_mean_z_alone():
    whole = composition_vector(formula_wt_pct("FeS"))[None]
    assert matrix_factors(0.3 * whole, ("S",)) == pytest.approx(matrix_factors(whole, ("S",)))
    assert mean_atomic_numbers(0.3 * whole) == pytest.approx(22.35, abs=0.02)


def test_empty_composition_is_resin():
    nothing = np.zeros((1, len(ELEMENTS)))
    assert mean_atomic_numbers(nothing).tolist() == [6.35]
    assert matrix_factors(nothing, ("Fe", "Mg")).tolist() == [[1.0, 1.0]]
