"""Muons and pions at rest, reactions of pions, protons and neutrons with argon nuclei.

The nuclear part is a model of few parameters, not a cascade code: cross sections from argon.toml, exact kinematics of
scattering on one nucleon at rest, energy shared at random among the nucleons that leave. Residual nuclei leave nothing
but a few photons.
"""

from __future__ import annotations

import argon
import numpy as np
from argon import (
    ELECTRON,
    GAMMA,
    M_E,
    M_MU,
    M_P,
    M_PI,
    M_PI0,
    MASS,
    MU_MINUS,
    MU_PLUS,
    NEUTRON,
    PI_MINUS,
    PI_PLUS,
    POSITRON,
    PROTON,
    constants,
)
from kinematics import along, isotropic, rotated, two_body
from particles import Particles

FloatArray = np.ndarray

#: Energy (MeV) that a nucleon needs to leave the nucleus.
BINDING_MEV = 9.0
#: Slow protons and neutrons below this energy (MeV) are dropped: their charge is under the threshold or quenched.
SLOW_MEV = 1.0


def react(moving: Particles, step: FloatArray, rng: np.random.Generator) -> tuple[Particles, Particles]:
    """Nuclear reactions, elastic scattering and decays in flight of the pions and protons among `moving`.

    Returns
    -------
    The particles that go on, and the products.
    """
    nucleons = 0.602214e-3 * argon.medium("density_g_cm3") / argon.medium("a_g_mol")  # per cm and mb
    pions, protons = (moving.kind == PI_MINUS) | (moving.kind == PI_PLUS), moving.kind == PROTON
    if not (pions.any() or protons.any()):
        return moving, Particles.none()
    sigma, elastic = np.zeros(len(moving)), np.zeros(len(moving))
    for which, name in ((pions, "pion"), (protons, "proton")):
        table = constants()[f"{name}_reaction"]
        sigma[which] = np.interp(moving.kinetic[which], table["kinetic_mev"], table["sigma_mb"])
        elastic[which] = constants()["elastic"][f"{name}_mb"]
    _scatter_elastically(moving, np.flatnonzero(rng.uniform(size=len(moving)) < elastic * nucleons * step), rng)
    reacts = rng.uniform(size=len(moving)) < sigma * nucleons * step
    flight = step * M_PI / (argon.momentum(moving.kinetic, M_PI) * constants()["pion"]["ctau_cm"])
    decays = pions & ~reacts & (rng.uniform(size=len(moving)) < flight)
    if not (reacts.any() or decays.any()):
        return moving, Particles.none()
    products = [
        _pion_reaction(moving.take(reacts & pions), rng),
        _nucleon_reaction(moving.take(reacts & protons), rng),
        _pion_decay(moving.take(decays), rng),
    ]
    return moving.take(~(reacts | decays)), Particles.join(products)


def _scatter_elastically(moving: Particles, hit: np.ndarray, rng: np.random.Generator) -> None:
    """Diffraction on the nucleus: exponential in the squared momentum transfer, slope R^2 / 3."""
    slope = (constants()["elastic"]["radius_fm"] / 197.327) ** 2 / 3
    momentum = argon.momentum(moving.kinetic[hit], MASS[moving.kind[hit]])
    cosine = np.clip(1 - rng.exponential(1 / slope, hit.size) / (2 * momentum**2), -1, 1)
    moving.direction[hit] = rotated(moving.direction[hit], cosine, rng.uniform(0, 2 * np.pi, hit.size))


def at_rest(ended: Particles, rng: np.random.Generator) -> Particles:
    """What stopped muons and pions make."""
    if not (ended.kind >= MU_MINUS).any():
        return Particles.none()
    chance = constants()["muon"]
    free = rng.uniform(size=len(ended)) < chance["lifetime_argon_us"] / chance["lifetime_us"]
    decaying = (ended.kind == MU_PLUS) | ((ended.kind == MU_MINUS) & free)
    return Particles.join(
        [
            _michel(ended.take(decaying), rng),
            _muon_capture(ended.take((ended.kind == MU_MINUS) & ~free), rng),
            _pion_decay(ended.take(ended.kind == PI_PLUS), rng),
            _absorption(ended.take(ended.kind == PI_MINUS), rng),
        ]
    )


def _michel(muons: Particles, rng: np.random.Generator) -> Particles:
    """Electron of a muon decay: spectrum x^2 (3 - 2x), up to 52.8 MeV."""
    x, todo = np.zeros(len(muons)), np.arange(len(muons))
    while todo.size:
        tried = rng.uniform(size=todo.size)
        kept = rng.uniform(size=todo.size) < tried**2 * (3 - 2 * tried)
        x[todo[kept]] = tried[kept]
        todo = todo[~kept]
    top = (M_MU**2 + M_E**2) / (2 * M_MU)
    kind = np.where(muons.kind == MU_PLUS, POSITRON, ELECTRON)
    out = muons.child(kind, np.maximum(x * top - M_E, 0.05), isotropic(len(muons), rng))
    life = np.where(muons.kind == MU_PLUS, constants()["muon"]["lifetime_us"], constants()["muon"]["lifetime_argon_us"])
    out.delay_us = muons.delay_us + rng.exponential(life)
    return out


def _muon_capture(muons: Particles, rng: np.random.Generator) -> Particles:
    """A neutron of a few MeV and some photons of the excited chlorine nucleus."""
    neutrons = muons.child(NEUTRON, rng.exponential(5.0, len(muons)) + SLOW_MEV, isotropic(len(muons), rng))
    return Particles.join([neutrons, nuclear_photons(muons, constants()["muon"]["capture_photons"], rng)])


def nuclear_photons(sources: Particles, mean: float, rng: np.random.Generator) -> Particles:
    """Photons of an excited nucleus: a Poisson number, 1 to 6 MeV with more soft ones."""
    many = sources.take(np.repeat(np.arange(len(sources)), rng.poisson(mean, len(sources))))
    return many.child(GAMMA, 1.0 + 5.0 * rng.uniform(size=len(many)) ** 2, isotropic(len(many), rng))


def _evaporation(sources: Particles, rng: np.random.Generator) -> Particles:
    """What an excited nucleus gives off after a reaction: slow neutrons and photons, Poisson numbers of each."""
    table = constants()["evaporation"]
    many = sources.take(np.repeat(np.arange(len(sources)), rng.poisson(table["neutrons"], len(sources))))
    neutrons = many.child(NEUTRON, rng.gamma(2.0, 1.5, len(many)), isotropic(len(many), rng))
    return Particles.join([neutrons, nuclear_photons(sources, table["photons"], rng)])


def _pion_decay(pions: Particles, rng: np.random.Generator) -> Particles:
    """Muon of a pion decay, in flight or at rest (then 4.1 MeV)."""
    momentum = argon.momentum(pions.kinetic * (argon.charged_tables().range_cm.at(pions.kinetic, PI_PLUS) > 0.1), M_PI)
    total = np.sqrt(momentum**2 + M_PI**2)
    muon, _ = two_body(total, momentum[:, None] * pions.direction, (M_MU, 0.0), isotropic(len(pions), rng))
    return _leave(pions, np.where(pions.kind == PI_PLUS, MU_PLUS, MU_MINUS), muon, M_MU)


def _leave(sources: Particles, kind: np.ndarray | int, four: tuple[FloatArray, FloatArray], mass: float) -> Particles:
    """Particles with given energy and momentum at the place of their sources."""
    size = np.linalg.norm(four[1], axis=1)
    direction = np.where(size[:, None] > 0, four[1], [0.0, 0.0, 1.0]) / np.where(size > 0, size, 1)[:, None]
    return sources.child(kind, np.maximum(four[0] - mass, 1e-3), direction)


def _pion_reaction(pions: Particles, rng: np.random.Generator) -> Particles:
    """Absorption, charge exchange or quasi-elastic scattering of pions in flight."""
    table = constants()["pion_reaction"]
    absorbed, exchanged = (
        np.interp(pions.kinetic, table["kinetic_mev"], table[key]) for key in ("absorbed", "exchanged")
    )
    pick = rng.uniform(size=len(pions))
    swap = (pick >= absorbed) & (pick < absorbed + exchanged)
    return Particles.join(
        [
            _absorption(pions.take(pick < absorbed), rng),
            _on_nucleon(pions.take(swap), M_PI0, rng),
            _on_nucleon(pions.take(pick >= absorbed + exchanged), M_PI, rng),
        ]
    )


def _absorption(pions: Particles, rng: np.random.Generator) -> Particles:
    """The pion's whole energy goes to two or more nucleons, mostly protons for pi+, neutrons for pi-."""
    n = len(pions)
    number = np.minimum(2 + rng.poisson(0.8, n), 5)
    owner = np.repeat(np.arange(n), number)
    share = rng.gamma(1.5, size=owner.size)
    share /= np.bincount(owner, share, n)[owner]
    energy = np.maximum(pions.kinetic + M_PI - BINDING_MEV * number, 5.0) * 0.85
    many = pions.take(owner)
    kinetic = share * energy[owner]
    momentum = argon.momentum(kinetic, M_P)[:, None] * isotropic(owner.size, rng)
    push = argon.momentum(pions.kinetic, M_PI) / number
    momentum = momentum + push[owner][:, None] * many.direction
    proton = rng.uniform(size=owner.size) < np.where(many.kind == PI_PLUS, 0.65, 0.2)
    total = np.sqrt((momentum**2).sum(axis=1) + M_P**2)
    out = _leave(many, np.where(proton, PROTON, NEUTRON), (total, momentum), M_P)
    out.kinetic = np.minimum(out.kinetic, kinetic + 40.0)
    return Particles.join([out.take(out.kinetic > SLOW_MEV), _evaporation(pions, rng)])


def _on_nucleon(pions: Particles, mass: float, rng: np.random.Generator) -> Particles:
    """Scattering on a nucleon at rest, angles 1 + 3 cos^2 as at the Delta; with the mass of a pi0, charge exchange."""
    n = len(pions)
    momentum = argon.momentum(pions.kinetic, M_PI)[:, None] * pions.direction
    axis = along(pions.direction, _delta_axes(n, rng))
    pion, nucleon = two_body(pions.kinetic + M_PI + M_P, momentum, (mass, M_P), axis)
    nucleon = (nucleon[0] - BINDING_MEV, nucleon[1])
    if mass == M_PI0:
        # pi+ n -> pi0 p and pi- p -> pi0 n
        struck = np.where(pions.kind == PI_PLUS, PROTON, NEUTRON)
        first = _photons_of_pi0(pions, pion, rng)
    else:
        struck = np.where(rng.uniform(size=n) < np.where(pions.kind == PI_PLUS, 0.7, 0.3), PROTON, NEUTRON)
        first = _leave(pions, pions.kind, pion, M_PI)
    second = _leave(pions, struck, nucleon, M_P)
    return Particles.join([first, second.take(second.kinetic > SLOW_MEV), _evaporation(pions, rng)])


def _delta_axes(n: int, rng: np.random.Generator) -> FloatArray:
    axes = isotropic(n, rng)
    again = np.flatnonzero(rng.uniform(size=n) * 4 > 1 + 3 * axes[:, 2] ** 2)
    while again.size:
        axes[again] = isotropic(again.size, rng)
        again = again[rng.uniform(size=again.size) * 4 > 1 + 3 * axes[again, 2] ** 2]
    return axes


def _photons_of_pi0(sources: Particles, pi0: tuple[FloatArray, FloatArray], rng: np.random.Generator) -> Particles:
    legs = two_body(pi0[0], pi0[1], (0.0, 0.0), isotropic(len(sources), rng))
    return Particles.join([_leave(sources, GAMMA, leg, 0.0) for leg in legs])


def _nucleon_reaction(nucleons: Particles, rng: np.random.Generator) -> Particles:
    """Scattering on a nucleon at rest, isotropic in its centre of mass; each product pays its binding energy."""
    momentum = argon.momentum(nucleons.kinetic, M_P)[:, None] * nucleons.direction
    pair = two_body(nucleons.kinetic + 2 * M_P, momentum, (M_P, M_P), isotropic(len(nucleons), rng))
    out = []
    for number, (energy, vector) in enumerate(pair):
        kept = 0.75 if number == 0 else 0.5
        same = rng.uniform(size=len(nucleons)) < kept
        kind = np.where(same == (nucleons.kind == PROTON), PROTON, NEUTRON)
        out.append(_leave(nucleons, kind, (energy - BINDING_MEV, vector), M_P))
    made = Particles.join(out)
    return Particles.join([made.take(made.kinetic > SLOW_MEV), _evaporation(nucleons, rng)])


def neutron_flight(neutrons: Particles, limit_cm: float, rng: np.random.Generator) -> Particles:
    """Move each neutron to its next reaction (about 1 barn above 1.5 MeV) and return what it makes."""
    if not len(neutrons):
        return neutrons
    moved = neutrons.take(np.arange(len(neutrons)))
    moved.place = neutrons.place + neutrons.direction * rng.exponential(45.0, len(neutrons))[:, None]
    moved = moved.take((np.abs(moved.place).max(axis=1, initial=0.0) < limit_cm) & (moved.kinetic > 1.5))
    fast = moved.take(moved.kinetic > 20.0)
    slow = moved.take(moved.kinetic <= 20.0)
    line = slow.child(GAMMA, np.full(len(slow), 1.46), isotropic(len(slow), rng))  # first level of 40Ar
    on = slow.child(NEUTRON, 0.8 * np.maximum(slow.kinetic - 1.46, 0.01), isotropic(len(slow), rng))
    return Particles.join([line, on.take(on.kinetic > 1.5), _nucleon_reaction(fast, rng)])
