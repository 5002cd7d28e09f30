"""Particles on their way and the energy they leave: flat arrays, many events at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

FloatArray = np.ndarray


@dataclass
class Particles:
    """Particles of any kinds, one row each.

    Attributes
    ----------
    event : (n,) int, event they belong to
    kind : (n,) int, index into argon.KINDS
    kinetic : (n,) float, MeV (the energy for photons)
    place : (n, 3) float, cm from the vertex
    direction : (n, 3) float, unit vectors
    delay_us : (n,) float, time since the first interaction (only slow decays count)
    """

    event: np.ndarray
    kind: np.ndarray
    kinetic: FloatArray
    place: FloatArray
    direction: FloatArray
    delay_us: FloatArray

    def __len__(self) -> int:
        return self.event.size

    def take(self, which: np.ndarray) -> Particles:
        """Rows chosen by a mask or by numbers."""
        return Particles(
            self.event[which], self.kind[which], self.kinetic[which], self.place[which], self.direction[which],
            self.delay_us[which],
        )  # fmt: skip

    def child(self, kind: np.ndarray | int, kinetic: FloatArray, direction: FloatArray) -> Particles:
        """New particles at the place of these."""
        kinds = np.broadcast_to(np.asarray(kind, dtype=np.int64), self.event.shape)
        return Particles(self.event, kinds, kinetic, self.place, direction, self.delay_us)

    @classmethod
    def join(cls, parts: Sequence[Particles]) -> Particles:
        """All rows of several sets."""
        some = [part for part in parts if part.event.size]
        if len(some) < 2:
            return some[0] if some else cls.none()
        names = [item.name for item in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in some]) for name in names))

    @classmethod
    def none(cls) -> Particles:
        """No particles."""
        whole, number, vector = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros((0, 3))
        return cls(whole, whole, number, vector, vector, number)


@dataclass
class Deposits:
    """Ionisation energy left at points.

    Attributes
    ----------
    event : (n,) int
    place : (n, 3) float32, cm from the vertex
    energy : (n,) float32, MeV
    loss : (n,) float32, energy per cm of the step (MeV / cm), which sets the recombination
    delay_us : (n,) float32
    """

    event: np.ndarray
    place: FloatArray
    energy: FloatArray
    loss: FloatArray
    delay_us: FloatArray


@dataclass
class Ledger:
    """Deposits while they are collected."""

    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def add(self, particles: Particles, place: FloatArray, energy: FloatArray, loss: FloatArray) -> None:
        """Write down what `particles` left at `place`."""
        if particles.event.size:
            single = (place, energy, loss, particles.delay_us)
            self.parts.append((particles.event.astype(np.int32), *(part.astype(np.float32) for part in single)))

    def total(self) -> Deposits:
        """All deposits so far."""
        if not self.parts:
            nothing = np.zeros(0, np.float32)
            return Deposits(np.zeros(0, np.int32), np.zeros((0, 3), np.float32), nothing, nothing, nothing)
        return Deposits(*(np.concatenate(column) for column in zip(*self.parts, strict=True)))
