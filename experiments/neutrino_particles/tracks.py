"""One step of every charged particle: loss with its fluctuations, knock-on electrons, scattering, radiation."""

from __future__ import annotations

import argon
import hadrons
import numpy as np
from argon import DELTA_MEV, ELECTRON, GAMMA, M_E, MASS, POSITRON, STRAGGLE_MEV
from kinematics import isotropic, rotated, unit
from particles import Ledger, Particles
from radiation import SOFT_MEV, brems_photons, radiation_tables

FloatArray = np.ndarray

#: Longest step, half a wire pitch; a particle with less range than STOP_CM stays where it is.
STEP_CM, STOP_CM = 0.15, 0.03


def advance(
    moving: Particles, ledger: Ledger, limit_cm: float, rng: np.random.Generator
) -> tuple[Particles, Particles]:
    """Take one step.

    Returns
    -------
    The particles that go on, and what they made (knock-on electrons, photons, products of reactions and of stopping).
    """
    if not len(moving):
        return moving, Particles.none()
    tables = argon.charged_tables()
    ranges = tables.range_cm.at(moving.kinetic, moving.kind)
    stopped = ranges < STOP_CM
    made = [_stop(moving.take(stopped), ranges[stopped], ledger, rng)] if stopped.any() else []
    moving, ranges = moving.take(~stopped), ranges[~stopped]
    step = np.clip(0.25 * ranges, 0.02, STEP_CM)
    middle = moving.place + moving.direction * (step / 2)[:, None]
    loss = np.minimum(_loss(moving, step, rng), moving.kinetic - 1e-4)
    ledger.add(moving, middle, loss, loss / step)
    moving.kinetic = moving.kinetic - loss
    moving.place = moving.place + moving.direction * step[:, None]
    _scatter(moving, step, rng)
    made += [_knock_on(moving, step, rng), _radiate(moving, step, rng)]
    moving, products = hadrons.react(moving, step, rng)
    made.append(products)
    return moving.take(np.abs(moving.place).max(axis=1, initial=0.0) < limit_cm), Particles.join(made)


def _loss(moving: Particles, step: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Energy lost in the step by collisions below DELTA_MEV and by soft radiation.

    Collisions below STRAGGLE_MEV are many: a mean and a Gaussian; those above are drawn one by one from 1/T^2.
    """
    mass = MASS[moving.kind]
    mean = argon.charged_tables().restricted.at(moving.kinetic, moving.kind) * step
    light = moving.kind <= POSITRON
    mean[light] += radiation_tables().soft_loss.at(moving.kinetic[light]) * step[light]
    beta2 = argon.beta2_of(moving.kinetic, mass)
    xi = argon.xi_per_cm(beta2) * step
    heaviest = 2 * M_E * beta2 / (1 - beta2)  # without the recoil, which is small below DELTA_MEV
    top = np.clip(np.where(light, moving.kinetic / 2, heaviest), STRAGGLE_MEV * 1.001, DELTA_MEV)
    singles = xi * np.log(top / STRAGGLE_MEV)
    # Where most of the loss would be single collisions (slow electrons), the loss is taken as smooth.
    drawn = singles < 0.7 * mean
    number = np.where(drawn, rng.poisson(xi * (1 / STRAGGLE_MEV - 1 / top)), 0)
    owner = np.repeat(np.arange(number.size), number)
    ends = 1 / STRAGGLE_MEV, 1 / top[owner]
    single = 1 / (ends[0] - rng.uniform(0, 1, owner.size) * (ends[0] - ends[1]))
    smooth = mean - np.where(drawn, singles, 0) + np.sqrt(xi * STRAGGLE_MEV) * rng.standard_normal(number.size) * drawn
    return np.maximum(smooth, 0.2 * mean) + np.bincount(owner, single, number.size)


def _scatter(moving: Particles, step: FloatArray, rng: np.random.Generator) -> None:
    """Multiple scattering with Highland's width; its logarithm is that of one radiation length, so that widths of
    steps add up to it."""
    mass = MASS[moving.kind]
    beta = np.sqrt(argon.beta2_of(moving.kinetic, mass))
    width = 13.6 / (beta * argon.momentum(moving.kinetic, mass)) * np.sqrt(step / argon.medium("radiation_length_cm"))
    angle = np.minimum(width * np.sqrt(2 * rng.exponential(1.0, len(moving))), np.pi)
    moving.direction = rotated(moving.direction, np.cos(angle), rng.uniform(0, 2 * np.pi, len(moving)))


def _knock_on(moving: Particles, step: FloatArray, rng: np.random.Generator) -> Particles:
    """Electrons above DELTA_MEV; the particle that made them loses their energy and momentum."""
    rate = argon.charged_tables().delta_per_cm.at(moving.kinetic, moving.kind)
    hit = np.flatnonzero((rng.uniform(0, 1, len(moving)) < rate * step) & (moving.kinetic > 2.2 * DELTA_MEV))
    if not hit.size:
        return Particles.none()
    source = moving.take(hit)
    mass = MASS[source.kind]
    beta2 = argon.beta2_of(source.kinetic, mass)
    largest = np.where(source.kind <= POSITRON, source.kinetic / 2, 2 * M_E * beta2 / (1 - beta2))
    largest = np.maximum(np.minimum(largest, 0.9 * source.kinetic), DELTA_MEV * 1.001)
    energy = _knock_on_energy(largest, beta2, rng)
    total, momentum = source.kinetic + mass, argon.momentum(source.kinetic, mass)
    size = argon.momentum(energy, M_E)
    cosine = np.clip(energy * (total + M_E) / (size * momentum), -1, 1)
    direction = rotated(source.direction, cosine, rng.uniform(0, 2 * np.pi, hit.size))
    rest = momentum[:, None] * source.direction - size[:, None] * direction
    moving.kinetic[hit] = source.kinetic - energy
    moving.direction[hit] = unit(rest)
    return source.child(ELECTRON, energy, direction)


def _knock_on_energy(largest: FloatArray, beta2: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw from 1/T^2 (1 - beta^2 T / Tmax) above DELTA_MEV."""
    energy, todo = np.full(largest.size, DELTA_MEV), np.arange(largest.size)
    while todo.size:
        u = rng.uniform(0, 1, todo.size)
        tried = 1 / (1 / DELTA_MEV - u * (1 / DELTA_MEV - 1 / largest[todo]))
        kept = rng.uniform(0, 1, todo.size) < 1 - beta2[todo] * tried / largest[todo]
        energy[todo[kept]] = tried[kept]
        todo = todo[~kept]
    return energy


def _radiate(moving: Particles, step: FloatArray, rng: np.random.Generator) -> Particles:
    """Bremsstrahlung above SOFT_MEV, at most one photon per step."""
    able = (moving.kind <= POSITRON) & (moving.kinetic > 1.1 * SOFT_MEV)
    rate = radiation_tables().brems.at(moving.kinetic) * able
    hit = np.flatnonzero(rng.uniform(0, 1, len(moving)) < rate * step)
    if not hit.size:
        return Particles.none()
    photons = brems_photons(moving.take(hit), rng)
    moving.kinetic[hit] = np.maximum(moving.kinetic[hit] - photons.kinetic, 1e-3)
    return photons


def _stop(ended: Particles, ranges: FloatArray, ledger: Ledger, rng: np.random.Generator) -> Particles:
    """Leave the last energy on the spot; positrons annihilate, muons and pions decay or are captured."""
    ledger.add(ended, ended.place, ended.kinetic, ended.kinetic / np.maximum(ranges, 1e-3))
    positrons = ended.take(ended.kind == POSITRON)
    axis = isotropic(len(positrons), rng)
    energy = np.full(len(positrons), M_E)
    pair = [positrons.child(GAMMA, energy, axis), positrons.child(GAMMA, energy, -axis)]
    return Particles.join([*pair, hadrons.at_rest(ended, rng)])
