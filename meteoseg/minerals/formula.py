"""Mineral formulas: parse, mix by mole fraction, convert to element weight percent."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from meteoseg.elements import ATOMIC_WEIGHT
from meteoseg.errors import InputError, UnknownNameError

# Parts of a formula, as in CaSO4.2H2O: a decimal point before water is no decimal point.
_PART = re.compile(r"[·•*]|\.(?=\d*\.?\d*H2O$)")
_COEFFICIENT = re.compile(r"\d*\.?\d*")
_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)|(\()|\)(\d*\.?\d*)|(.)")


def parse_formula(formula: str) -> dict[str, float]:
    """Count the atoms of a chemical formula with decimal subscripts, parentheses and water of crystallisation.

    Parameters
    ----------
    formula : such as ``Mg1.8Fe0.2SiO4``, ``Ca5(PO4)3Cl`` or ``CaSO4.2H2O`` (also with a raised dot or ``*``).

    Raises
    ------
    InputError : the text is empty, has unbalanced parentheses or other characters, or holds no atoms.
    UnknownNameError : a symbol is not an element of `meteoseg.elements`.

    Examples
    --------
    >>> parse_formula("Ca5(PO4)3Cl")
    {'Ca': 5.0, 'P': 3.0, 'O': 12.0, 'Cl': 1.0}
    >>> parse_formula("CaSO4.2H2O")
    {'Ca': 1.0, 'S': 1.0, 'O': 6.0, 'H': 4.0}
    """
    first, *others = _PART.split(formula.strip())
    atoms: defaultdict[str, float] = defaultdict(float, _atoms_of(first, formula))
    for part in others:
        coefficient = _COEFFICIENT.match(part)
        number = coefficient[0] if coefficient else ""
        for element, count in _atoms_of(part[len(number) :], formula).items():
            atoms[element] += _number(number) * count
    if not any(atoms.values()):
        raise _bad_formula(formula)
    return dict(atoms)


def _atoms_of(part: str, formula: str) -> dict[str, float]:
    """Count the atoms of one part of `formula`."""
    stack: list[defaultdict[str, float]] = [defaultdict(float)]
    for symbol, count, opening, group_count, other in _TOKEN.findall(part):
        if symbol:
            if symbol not in ATOMIC_WEIGHT:
                raise UnknownNameError.of("element", symbol, ATOMIC_WEIGHT)
            stack[-1][symbol] += _number(count)
        elif opening:
            stack.append(defaultdict(float))
        elif other or len(stack) == 1:
            raise _bad_formula(formula)
        else:
            group = stack.pop()
            for element, atoms in group.items():
                stack[-1][element] += atoms * _number(group_count)
    if len(stack) > 1 or not stack[0]:
        raise _bad_formula(formula)
    return dict(stack[0])


def _number(text: str) -> float:
    return float(text) if text not in ("", ".") else 1.0


def _bad_formula(formula: str) -> InputError:
    return InputError(f"'{formula}' is not a chemical formula: write it like Mg1.8Fe0.2SiO4 or Ca5(PO4)3Cl.")


def atoms_to_wt_pct(atoms: Mapping[str, float]) -> dict[str, float]:
    """Convert numbers of atoms to element weight percent (sum 100)."""
    mass = {element: count * ATOMIC_WEIGHT[element] for element, count in atoms.items() if count > 0}
    total = sum(mass.values())
    return {element: 100 * value / total for element, value in mass.items()}


def formula_wt_pct(formula: str) -> dict[str, float]:
    """Element weight percent of a formula.

    Raises
    ------
    InputError, UnknownNameError : as `parse_formula`.

    Examples
    --------
    >>> {element: round(wt, 2) for element, wt in formula_wt_pct("Mg2SiO4").items()}
    {'Mg': 34.55, 'Si': 19.96, 'O': 45.49}
    """
    return atoms_to_wt_pct(parse_formula(formula))


def mix_formulas(formulas: Sequence[str], mole_fractions: Sequence[float]) -> dict[str, float]:
    """Element weight percent of a solid solution of end members by mole fraction.

    Raises
    ------
    InputError, UnknownNameError : as `parse_formula`.

    Examples
    --------
    >>> round(mix_formulas(["Mg2SiO4", "Fe2SiO4"], [0.5, 0.5])["Fe"], 2)
    32.42
    """
    atoms: defaultdict[str, float] = defaultdict(float)
    for formula, fraction in zip(formulas, mole_fractions, strict=True):
        for element, count in parse_formula(formula).items():
            atoms[element] += fraction * count
    return atoms_to_wt_pct(atoms)
