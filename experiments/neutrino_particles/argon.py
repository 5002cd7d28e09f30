"""Liquid argon: constants with their sources, stopping power, ranges, recombination.

Energies in MeV, lengths in cm, everything for one charge. The Bethe formula and the density effect are those of the
Review of Particle Physics (chapter "Passage of particles through matter"); the collision loss of electrons is that of
Berger and Seltzer (1964) with Moller's cross section.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from meteoseg.errors import InputError

FloatArray = np.ndarray
CONSTANTS = Path(__file__).with_name("argon.toml")

#: Kinds of particle that are followed, by index.
KINDS = ("e-", "e+", "mu-", "mu+", "pi-", "pi+", "p", "gamma", "n")
ELECTRON, POSITRON, MU_MINUS, MU_PLUS, PI_MINUS, PI_PLUS, PROTON, GAMMA, NEUTRON = range(len(KINDS))
M_E, M_MU, M_PI, M_PI0, M_P = 0.510999, 105.6584, 139.5704, 134.9768, 938.2721
MASS = np.array([M_E, M_E, M_MU, M_MU, M_PI, M_PI, M_P, 0.0, 939.565])

#: K of the Bethe formula, MeV cm2 / mol (Review of Particle Physics).
K_BETHE = 0.307075
#: Knock-on electrons above this energy (MeV) are followed as particles of their own.
DELTA_MEV = 0.5
#: Collisions between this energy (MeV) and DELTA_MEV are drawn one by one and deposited on the spot.
STRAGGLE_MEV = 0.03


@cache
def constants() -> dict[str, Any]:
    """Read argon.toml; entries with a source become their value."""
    with CONSTANTS.open("rb") as file:
        tables = tomllib.load(file)
    return {
        name: {
            key: entry["value"] if isinstance(entry, dict) and "value" in entry else entry for key, entry in t.items()
        }
        for name, t in tables.items()
    }


def medium(name: str) -> float:
    """One number of the table [medium]."""
    return float(constants()["medium"][name])


def xi_per_cm(beta2: FloatArray) -> FloatArray:
    """Landau's xi per cm (MeV / cm): (K/2) (Z/A) rho / beta^2."""
    per_gram = 0.5 * K_BETHE * medium("z") / medium("a_g_mol")
    return per_gram * medium("density_g_cm3") / beta2


def beta2_of(kinetic_mev: FloatArray, mass_mev: FloatArray | float) -> FloatArray:
    """Speed squared of a particle, in units of c^2."""
    gamma = 1 + kinetic_mev / mass_mev
    return 1 - 1 / gamma**2


def momentum(kinetic_mev: FloatArray, mass_mev: FloatArray | float) -> FloatArray:
    """Momentum in MeV/c."""
    return np.sqrt(kinetic_mev * (kinetic_mev + 2 * mass_mev))


def max_transfer(kinetic_mev: FloatArray, mass_mev: float) -> FloatArray:
    """Largest energy (MeV) that one collision gives to an electron; half of the energy for electrons themselves."""
    if mass_mev == M_E:
        return kinetic_mev / 2
    gamma = 1 + kinetic_mev / mass_mev
    ratio = M_E / mass_mev
    return 2 * M_E * (gamma**2 - 1) / (1 + 2 * gamma * ratio + ratio**2)


def density_effect(beta_gamma: FloatArray) -> FloatArray:
    """Sternheimer's density correction delta of a non-conductor."""
    x = np.log10(beta_gamma)
    high = 2 * np.log(10) * x - medium("sternheimer_cbar")
    bend = medium("sternheimer_a") * np.clip(medium("sternheimer_x1") - x, 0, None) ** medium("sternheimer_k")
    return np.where(x >= medium("sternheimer_x0"), high + bend, 0.0)


def collision_loss(kinetic_mev: FloatArray, mass_mev: float, cut_mev: float = np.inf) -> FloatArray:
    """Mean energy loss by collisions, each of at most `cut_mev` (MeV / cm).

    Examples
    --------
    A minimum-ionising muon loses 2.1 MeV per cm:

    >>> round(float(collision_loss(np.array(266.0), 105.658)), 2)
    2.1
    """
    beta2 = beta2_of(kinetic_mev, mass_mev)
    beta_gamma = np.sqrt(beta2 / (1 - beta2))
    delta = density_effect(beta_gamma)
    excitation = medium("excitation_ev") * 1e-6
    if mass_mev == M_E:
        number = _moller(kinetic_mev / M_E, beta2, np.minimum(cut_mev, kinetic_mev / 2) / M_E, excitation / M_E)
        return xi_per_cm(beta2) * (number - delta)
    largest = max_transfer(kinetic_mev, mass_mev)
    cut = np.minimum(cut_mev, largest)
    number = np.log(2 * M_E * beta_gamma**2 * cut / excitation**2) - beta2 * (1 + cut / largest)
    return xi_per_cm(beta2) * np.maximum(number - delta, 1.0)


def _moller(tau: FloatArray, beta2: FloatArray, cut: FloatArray, excitation: float) -> FloatArray:
    """Stopping number of an electron, energies in electron masses (Berger and Seltzer)."""
    spin = (cut**2 / 2 + (2 * tau + 1) * np.log1p(-cut / tau)) / (tau + 1) ** 2
    function = -1 - beta2 + np.log((tau - cut) * cut) + tau / (tau - cut) + spin
    return np.log(2 * (tau + 2) / excitation**2) + function


def csda_range(kinetic_mev: FloatArray, mass_mev: float) -> FloatArray:
    """Range (cm) by collisions alone, the loss integrated from 10 keV per unit of mass upwards.

    Parameters
    ----------
    kinetic_mev : ascending grid of kinetic energies
    """
    lowest = 1e-4 * mass_mev if mass_mev > M_E else 0.01
    grid = np.geomspace(lowest, max(float(kinetic_mev[-1]), 2 * lowest), 4000)
    step = np.log(grid[1] / grid[0])
    integrand = grid / collision_loss(grid, mass_mev)
    inside = np.concatenate([[0.0], np.cumsum((integrand[1:] + integrand[:-1]) / 2) * step])
    below = lowest / collision_loss(np.array(lowest), mass_mev)
    return np.interp(kinetic_mev, grid, inside + below, left=0.0)


def recombination(loss_mev_cm: FloatArray) -> FloatArray:
    """Share of the ionisation charge that escapes recombination (modified box model, JINST 8 P08005).

    Examples
    --------
    >>> [round(float(recombination(np.array(loss))), 2) for loss in (2.1, 10.0)]
    [0.71, 0.45]
    """
    detector = constants()["detector"]
    strength = detector["box_beta"] / (medium("density_g_cm3") * detector["field_kv_cm"]) * np.maximum(loss_mev_cm, 0.5)
    return np.log(detector["box_alpha"] + strength) / strength


@dataclass(frozen=True)
class LogTable:
    """Numbers on a logarithmic grid of energies, one row per kind of particle; looked up without a search.

    Attributes
    ----------
    values : (kinds, n) float
    low_log, per_log : logarithm of the first energy; grid steps per unit of the logarithm
    """

    values: FloatArray
    low_log: float
    per_log: float

    @classmethod
    def of(cls, energies: FloatArray, values: FloatArray) -> LogTable:
        """Make a table from values at logarithmically spaced energies."""
        logs = np.log(energies)
        return cls(np.atleast_2d(values), float(logs[0]), float((logs.size - 1) / (logs[-1] - logs[0])))

    def at(self, energy: FloatArray, row: FloatArray | int = 0) -> FloatArray:
        """Interpolate linearly in the logarithm of the energy; energies outside take the ends."""
        place = (np.log(energy) - self.low_log) * self.per_log
        place = np.clip(place, 0, self.values.shape[1] - 1.001)
        left = place.astype(np.intp)
        low = self.values[row, left]
        return low + (self.values[row, left + 1] - low) * (place - left)


@dataclass(frozen=True)
class ChargedTables:
    """What is looked up in each step of the seven charged kinds."""

    restricted: LogTable
    range_cm: LogTable
    delta_per_cm: LogTable


@cache
def charged_tables() -> ChargedTables:
    """Tabulate loss, range and rate of knock-on electrons from 10 keV to 3 GeV."""
    grid = np.geomspace(0.01, 3000.0, 1200)
    rows = {"restricted": [], "range": [], "delta": []}
    for mass in MASS[:GAMMA]:
        safe = np.maximum(grid, 1e-4 * mass) if mass > M_E else grid
        rows["restricted"].append(collision_loss(safe, mass, DELTA_MEV))
        rows["range"].append(np.maximum(csda_range(grid, mass), 1e-5))
        rows["delta"].append(delta_rate(safe, mass))
    return ChargedTables(*(LogTable.of(grid, np.array(row)) for row in rows.values()))


def delta_rate(kinetic_mev: FloatArray, mass_mev: float) -> FloatArray:
    """Knock-on electrons above DELTA_MEV per cm (spectrum 1/T^2, spin-0 factor)."""
    beta2 = beta2_of(kinetic_mev, mass_mev)
    largest = max_transfer(kinetic_mev, mass_mev)
    top = np.maximum(largest, DELTA_MEV)
    number = 1 / DELTA_MEV - 1 / top - beta2 / top * np.log(top / DELTA_MEV)
    return xi_per_cm(beta2) * np.maximum(number, 0.0)


def kind_index(name: str) -> int:
    """Index of a kind of particle.

    Raises
    ------
    InputError : the name is unknown.
    """
    if name not in KINDS:
        raise InputError(f"Unknown particle '{name}'. Known: {', '.join(KINDS)}.")
    return KINDS.index(name)
