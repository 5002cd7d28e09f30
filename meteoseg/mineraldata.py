"""The mineral tables: composition, density, backscatter coefficient and X-ray k-ratios of each mineral."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import UnknownNameError

#: Elements whose k-ratios are tabulated (rules/kratios.csv: XPP, 15 kV, take-off 40 degrees).
K_RATIO_ELEMENTS = ("Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Co", "Ni")

# Intensity of O Ka per wt% against pure oxygen falls with the iron content of the host, which absorbs it:
# 0.85 in silica to about 0.6 in magnetite. FROM MEMORY (weak).
_OXYGEN_F_FREE_OF_IRON, _OXYGEN_F_LOSS_PER_IRON = 0.85, 0.35


@dataclass(frozen=True)
class Mineral:
    """One mineral composition.

    `phase` is its name in the phase legend ("" where it has none); compositions in element wt%; `eta` is the
    backscatter coefficient (0-1); `k_ratio` the X-ray intensity against the pure element (15 kV, 40 degrees).
    """

    name: str
    phase: str
    composition_wt_pct: Mapping[str, float]
    density_g_cm3: float
    mean_z: float
    eta: float
    k_ratio: Mapping[str, float]
    source: str


def mean_atomic_number(composition_wt_pct: Mapping[str, float]) -> float:
    """Average the atomic number by mass fraction.

    Examples
    --------
    >>> round(mean_atomic_number({"Mg": 34.55, "Si": 19.96, "O": 45.49}), 2)
    10.58
    """
    total = sum(composition_wt_pct.values())
    return sum(wt * ATOMIC_NUMBER[element] for element, wt in composition_wt_pct.items()) / total


def backscatter_coefficient(composition_wt_pct: Mapping[str, float]) -> float:
    """Backscatter coefficient: Reuter (1972) polynomial of each element, averaged by mass fraction (Castaing).

    Examples
    --------
    >>> round(backscatter_coefficient({"Mg": 34.55, "Si": 19.96, "O": 45.49}), 3)
    0.123
    """
    total = sum(composition_wt_pct.values())
    return (
        sum(
            wt * float(np.polyval([8.3e-7, -1.86e-4, 0.016, -0.0254], ATOMIC_NUMBER[element]))
            for element, wt in composition_wt_pct.items()
        )
        / total
    )


def _parse_composition(text: str) -> dict[str, float]:
    parts = (part.split() for part in text.split(";"))
    return {element: float(value) for element, value in parts}


def _read_rules(name: str) -> list[dict[str, str]]:
    text = resources.files("meteoseg").joinpath(f"rules/{name}").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _oxygen_k_ratio(composition: Mapping[str, float]) -> float:
    heavy = (composition.get("Fe", 0.0) + composition.get("Cr", 0.0)) / 100
    return composition.get("O", 0.0) / 100 * (_OXYGEN_F_FREE_OF_IRON - _OXYGEN_F_LOSS_PER_IRON * heavy)


@cache
def minerals() -> Mapping[str, Mineral]:
    """Load all minerals of rules/minerals.csv with their k-ratios of rules/kratios.csv, by mineral name."""
    k_rows = {row["mineral"]: row for row in _read_rules("kratios.csv")}
    table: dict[str, Mineral] = {}
    for row in _read_rules("minerals.csv"):
        composition = _parse_composition(row["representative_composition_element_wt_pct"])
        k_row = k_rows.get(row["mineral"], {})
        k_ratio = {element: float(k_row[element]) for element in K_RATIO_ELEMENTS if k_row.get(element)}
        k_ratio["O"] = _oxygen_k_ratio(composition)
        table[row["mineral"]] = Mineral(
            row["mineral"],
            row["phase"],
            composition,
            float(row["density_g_cm3"]),
            mean_atomic_number(composition),
            float(row["bse_eta_reuter_castaing"]),
            k_ratio,
            f"{row['composition_source']}; {row['density_source']}; {k_row.get('source', 'no k-ratios')}",
        )
    return table


def mineral(name: str) -> Mineral:
    """Return one mineral by its name in rules/minerals.csv.

    Raises
    ------
    UnknownNameError : it is not in the table; the message names the closest.
    """
    table = minerals()
    if name not in table:
        raise UnknownNameError.of("mineral", name, table)
    return table[name]
