"""Photons: pair production, Compton and photoelectric effect; bremsstrahlung of electrons.

Cross sections of pair production and bremsstrahlung are Bethe and Heitler's with the screening functions of Butcher and
Messel (1960), scaled so that the high-energy limit is that of the radiation length; Klein and Nishina's for Compton.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import argon
import numpy as np
from argon import ELECTRON, GAMMA, M_E, POSITRON, LogTable
from kinematics import rotated, unit
from particles import Ledger, Particles

FloatArray = np.ndarray

#: Bremsstrahlung photons above this energy (MeV) are followed; softer ones count as energy left on the spot.
SOFT_MEV = 0.1
#: Photons below this energy (MeV) are absorbed where they are.
ABSORBED_MEV = 0.03
_GRID = np.geomspace(0.02, 3000.0, 240)
_PARTS = np.linspace(0.0, 1.0, 65)


def screening(delta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Screening functions phi1 and phi2 of Butcher and Messel, less (4/3) ln Z."""
    near = np.minimum(delta, 1.0)
    far = 21.12 - 4.184 * np.log(np.maximum(delta, 1.0) + 0.952)
    first = np.where(delta <= 1, 20.867 - 3.242 * near + 0.625 * near**2, far)
    second = np.where(delta <= 1, 20.209 - 1.930 * near - 0.086 * near**2, far)
    coulomb = 4 / 3 * np.log(argon.medium("z"))
    return np.maximum(first - coulomb, 0), np.maximum(second - coulomb, 0)


def _full_screening() -> float:
    return 20.867 - 4 / 3 * np.log(argon.medium("z"))


def pair_shape(energy: FloatArray, share: FloatArray) -> FloatArray:
    """Pairs per cm and unit of `share`, the positron's part of the photon's energy."""
    both = np.clip(share * (1 - share), 1e-9, None)
    first, second = screening(136 * M_E / argon.medium("z") ** (1 / 3) / (energy * both))
    shape = (share**2 + (1 - share) ** 2) * first + 2 / 3 * both * second
    allowed = np.minimum(share, 1 - share) * energy > M_E
    return np.where(allowed, shape, 0.0) / _full_screening() / argon.medium("radiation_length_cm")


def brems_shape(total: FloatArray, photon: FloatArray) -> FloatArray:
    """Bremsstrahlung photons per cm and unit of ln(photon energy), for electrons of `total` energy."""
    y = np.clip(photon / total, 1e-9, 1 - 1e-9)
    first, second = screening(136 * M_E / argon.medium("z") ** (1 / 3) * y / (total * (1 - y)))
    shape = (1 + (1 - y) ** 2) * first - 2 / 3 * (1 - y) * second
    return np.maximum(shape, 0) / _full_screening() / argon.medium("radiation_length_cm")


def compton_per_cm(energy: FloatArray) -> FloatArray:
    """Compton scatterings per cm (Klein and Nishina, free electrons)."""
    k = energy / M_E
    log = np.log1p(2 * k)
    bracket = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k) + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    electrons = argon.medium("z") / argon.medium("a_g_mol") * 0.602214 * argon.medium("density_g_cm3")
    return 2 * np.pi * 0.0794079 * bracket * electrons  # r_e^2 = 0.0794 barn


def photoelectric_per_cm(energy: FloatArray) -> FloatArray:
    """Photoelectric absorptions per cm."""
    at_100 = argon.medium("photoelectric_100kev_cm2_g") * argon.medium("density_g_cm3")
    return at_100 * (0.1 / energy) ** 3


@dataclass(frozen=True)
class RadiationTables:
    """Rates per cm by photon or electron energy, and inverse distributions of the energy shares."""

    pair: LogTable
    compton: LogTable
    photoelectric: LogTable
    pair_share: LogTable
    brems: LogTable
    brems_share: LogTable
    soft_loss: LogTable


def _inverse(points: FloatArray, density: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Integrals of densities over `points` (both (energies, n)), and the points at equal parts of each."""
    steps = (density[:, 1:] + density[:, :-1]) / 2 * np.diff(points, axis=1)
    grown = np.concatenate([np.zeros((len(points), 1)), np.cumsum(steps, axis=1)], axis=1)
    total = grown[:, -1]
    rows = [
        np.interp(_PARTS * end, line, at) if end > 0 else np.full(_PARTS.size, at[0])
        for end, line, at in zip(total, grown, points, strict=True)
    ]
    return total, np.array(rows).T


@cache
def radiation_tables() -> RadiationTables:
    """Tabulate the rates from 20 keV to 3 GeV."""
    shares = np.broadcast_to(np.linspace(0.0005, 0.9995, 400), (_GRID.size, 400))
    pair, pair_share = _inverse(shares, pair_shape(_GRID[:, None], shares))
    total = _GRID[:, None] + M_E
    top = np.maximum(_GRID, SOFT_MEV * 1.000001)[:, None]
    logs = np.log(SOFT_MEV) + np.linspace(0, 1, 300) * np.log(top / SOFT_MEV)
    brems, brems_log = _inverse(logs, np.where(_GRID[:, None] > SOFT_MEV, brems_shape(total, np.exp(logs)), 0.0))
    relative = (brems_log - np.log(SOFT_MEV)) / np.log(top[:, 0] / SOFT_MEV)
    soft = np.linspace(1e-4, 1, 100) * np.minimum(SOFT_MEV, _GRID)[:, None]
    soft_loss = brems_shape(total, soft).mean(axis=1) * np.minimum(SOFT_MEV, _GRID)
    made = (pair, compton_per_cm(_GRID), photoelectric_per_cm(_GRID), pair_share, brems, relative, soft_loss)
    return RadiationTables(*(LogTable.of(_GRID, values) for values in made))


def share_at(table: LogTable, energy: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw an energy share from an inverse distribution (rows are equal parts of the probability)."""
    part = rng.uniform(0, 1, energy.size) * (_PARTS.size - 1)
    row = np.minimum(part.astype(np.intp), _PARTS.size - 2)
    low, high = table.at(energy, row), table.at(energy, row + 1)
    return low + (high - low) * (part - row)


def brems_photons(parents: Particles, rng: np.random.Generator) -> Particles:
    """One photon of each of these electrons, which are above SOFT_MEV; the caller takes the energy off."""
    tables = radiation_tables()
    relative = share_at(tables.brems_share, parents.kinetic, rng)
    photon = SOFT_MEV * (parents.kinetic / SOFT_MEV) ** np.clip(relative, 0, 1)
    return parents.child(GAMMA, np.minimum(photon, parents.kinetic), _narrow(parents, parents.kinetic + M_E, rng))


def _narrow(parents: Particles, energy: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Directions about those of `parents`, at angles of the order of m / E."""
    angle = np.minimum(M_E / energy * np.sqrt(rng.exponential(1.0, energy.size)), np.pi / 2)
    return rotated(parents.direction, np.cos(angle), rng.uniform(0, 2 * np.pi, energy.size))


def interact(photons: Particles, ledger: Ledger, limit_cm: float, rng: np.random.Generator) -> Particles:
    """Move each photon to its next interaction and return what comes out; those beyond `limit_cm` are gone."""
    if not len(photons):
        return photons
    tables = radiation_tables()
    rates = [table.at(photons.kinetic) for table in (tables.pair, tables.compton, tables.photoelectric)]
    total = rates[0] + rates[1] + rates[2]
    photons.place = photons.place + photons.direction * rng.exponential(1 / total)[:, None]
    inside = np.abs(photons.place).max(axis=1, initial=0.0) < limit_cm
    pick = rng.uniform(0, 1, total.size) * total
    pairs = photons.take(inside & (pick < rates[0]))
    scattered = photons.take(inside & (pick >= rates[0]) & (pick < rates[0] + rates[1]))
    absorbed = photons.take(inside & (pick >= rates[0] + rates[1]))
    out = [_make_pairs(pairs, rng), *_scatter(scattered, ledger, rng)]
    out.append(absorbed.child(ELECTRON, absorbed.kinetic, absorbed.direction))
    return Particles.join(out)


def _make_pairs(photons: Particles, rng: np.random.Generator) -> Particles:
    share = share_at(radiation_tables().pair_share, photons.kinetic, rng)
    free = np.maximum(photons.kinetic - 2 * M_E, 0.0)
    positron = np.clip(photons.kinetic * share - M_E, 0.0, free)
    legs = []
    for kind, kinetic in ((POSITRON, positron), (ELECTRON, free - positron)):
        kinetic = np.maximum(kinetic, 1e-3)
        legs.append(photons.child(kind, kinetic, _narrow(photons, kinetic + M_E, rng)))
    return Particles.join(legs)


def _scatter(photons: Particles, ledger: Ledger, rng: np.random.Generator) -> list[Particles]:
    """Compton scattering: the photon goes on, the electron takes the rest."""
    energy = photons.kinetic
    left = energy * compton_share(energy / M_E, rng)
    cosine = np.clip(1 - M_E * (1 / left - 1 / energy), -1, 1)
    direction = rotated(photons.direction, cosine, rng.uniform(0, 2 * np.pi, energy.size))
    recoil = energy[:, None] * photons.direction - left[:, None] * direction
    still = np.linalg.norm(recoil, axis=1) < 1e-9
    recoil[still] = photons.direction[still]
    electrons = photons.child(ELECTRON, energy - left, unit(recoil))
    on = photons.child(GAMMA, left, direction)
    soft = left < ABSORBED_MEV
    spent = on.take(soft)
    ledger.add(spent, spent.place, spent.kinetic, np.full(len(spent), 5.0))
    return [electrons, on.take(~soft)]


def compton_share(k: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the share of the energy that a photon of k electron masses keeps (Klein and Nishina, by rejection)."""
    lowest = 1 / (1 + 2 * k)
    share, todo = np.ones_like(k), np.arange(k.size)
    log, square = -np.log(lowest), (1 - lowest**2) / 2
    while todo.size:
        first = rng.uniform(0, 1, todo.size) < log[todo] / (log[todo] + square[todo])
        u = rng.uniform(0, 1, todo.size)
        low = lowest[todo]
        tried = np.where(first, low**u, np.sqrt(low**2 + (1 - low**2) * u))
        cosine_term = (1 - tried) / (k[todo] * tried)
        sine2 = np.clip(cosine_term * (2 - cosine_term), 0, 1)
        kept = rng.uniform(0, 1, todo.size) < 1 - tried * sine2 / (1 + tried**2)
        share[todo[kept]] = tried[kept]
        todo = todo[~kept]
    return share
