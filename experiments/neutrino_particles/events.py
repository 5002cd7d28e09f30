"""Single particles in liquid argon: what is drawn, and the energy it deposits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import hadrons
import numpy as np
import radiation
import tracks
from argon import GAMMA, NEUTRON, constants, kind_index
from kinematics import isotropic
from particles import Deposits, Ledger, Particles

from meteoseg.errors import InputError

FloatArray = np.ndarray

#: The five labels, in the order of their numbers.
CLASSES = ("electron", "photon", "muon", "pion", "proton")
#: A particle farther than this from the vertex, along any axis, is outside every image.
LIMIT_CM = 135.0


@dataclass(frozen=True)
class Primaries:
    """One primary particle per event.

    Attributes
    ----------
    labels : (n,) int, number of the class
    kinetic : (n,) float, MeV
    direction : (n, 3) float
    """

    labels: np.ndarray
    kinetic: FloatArray
    direction: FloatArray

    def particles(self) -> Particles:
        """The primaries at the vertex, at rest in time."""
        n = self.labels.size
        kinds = np.array([kind_index(constants()["primaries"][name]["kind"]) for name in CLASSES])
        return Particles(np.arange(n), kinds[self.labels], self.kinetic.copy(), np.zeros((n, 3)),
                         self.direction.copy(), np.zeros(n))  # fmt: skip


def draw_primaries(labels: np.ndarray, rng: np.random.Generator) -> Primaries:
    """Draw kinetic energies, uniform in the ranges of argon.toml, and isotropic directions."""
    table = constants()["primaries"]
    low, high = (np.array([table[name][key] for name in CLASSES]) for key in ("low_mev", "high_mev"))
    return Primaries(labels, rng.uniform(low[labels], high[labels]), isotropic(labels.size, rng))


def class_number(name: str) -> int:
    """Number of a class.

    Raises
    ------
    InputError : no such class.
    """
    if name not in CLASSES:
        raise InputError(f"Unknown class '{name}'. Known: {', '.join(CLASSES)}.")
    return CLASSES.index(name)


def deposits_of(primaries: Primaries, rng: np.random.Generator) -> Deposits:
    """Follow primaries and all they make until everything stopped or left; many events at once.

    Returns
    -------
    Deposits, places in cm from the vertex of their event.
    """
    ledger = Ledger()
    charged, neutral = _sorted([primaries.particles()])
    while len(charged) or len(neutral):
        charged, made = tracks.advance(charged, ledger, LIMIT_CM, rng)
        out = [charged, made]
        photons = neutral.take(neutral.kind == GAMMA)
        out.append(radiation.interact(photons, ledger, LIMIT_CM, rng))
        out.append(hadrons.neutron_flight(neutral.take(neutral.kind == NEUTRON), LIMIT_CM, rng))
        charged, neutral = _sorted(out)
    return ledger.total()


def _sorted(parts: Sequence[Particles]) -> tuple[Particles, Particles]:
    """Charged and neutral particles."""
    every = Particles.join(parts)
    is_charged = every.kind < GAMMA
    return every.take(is_charged), every.take(~is_charged)
