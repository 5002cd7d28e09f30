"""Formulas against hand-computed compositions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas, parse_formula


def test_parentheses_multiply_their_group():
    assert parse_formula("Ca5(PO4)3(OH)0.5") == {"Ca": 5.0, "P": 3.0, "O": 12.5, "H": 0.5}


@pytest.mark.parametrize("text", ["CaSO4.2H2O", "CaSO4·2H2O", "CaSO4*2H2O", "CaSO4(H2O)2"])
def test_water_of_crystallisation(text):
    assert parse_formula(text) == {"Ca": 1.0, "S": 1.0, "O": 6.0, "H": 4.0}


def test_a_decimal_subscript_is_no_water():
    assert parse_formula("Fe0.5O1.5H2")["O"] == 1.5


def test_troilite_wt_pct():
    assert formula_wt_pct("FeS")["Fe"] == pytest.approx(63.53, abs=0.01)


@given(st.floats(0, 1))
def test_olivine_sums_to_hundred_and_keeps_two_cations_per_silicon(fayalite):
    wt = mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - fayalite, fayalite])
    assert sum(wt.values()) == pytest.approx(100)
    cations = wt.get("Mg", 0) / 24.305 + wt.get("Fe", 0) / 55.845
    assert cations / (wt["Si"] / 28.085) == pytest.approx(2)


@pytest.mark.parametrize("text", ["", "Fe(S", "FeS)", "Fe S!", "fe", "(Mg,Fe)2SiO4", "Fe0", "FeS·"])
def test_malformed_formula_is_refused(text):
    with pytest.raises(InputError, match="not a chemical formula"):
        parse_formula(text)


def test_unknown_symbol_is_named():
    with pytest.raises(UnknownNameError, match="Unknown element 'Xx'"):
        parse_formula("XxO2")
