"""Solid solutions: from counts of a few elements to mol% of end members, and how errors go over."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.elements import ATOMIC_WEIGHT
from meteoseg.minerals.alpha import ELEMENTS, Array, composition_vector
from meteoseg.minerals.formula import parse_formula
from meteoseg.minerals.likelihood import Response

#: Nodes of the table along each axis, by the number of free fractions.
_NODES = {1: 801, 2: 121}
#: Fractions may run this far below 0 and above 1, so that noise about an end member averages out.
_BEYOND = 0.1
_NEWTON_STEPS = 8
_STEP = 1e-5


@dataclass(frozen=True)
class Quantity:
    """What is measured: mol% of the end member number `end`, or wt% of `element`; `mapped`: it has a map."""

    name: str
    end: int | None = None
    element: str | None = None
    mapped: bool = True

    @property
    def unit(self) -> str:
        """``mol%`` or ``wt%``."""
        return "wt%" if self.end is None else "mol%"


@dataclass(frozen=True)
class Solution:
    """A solid solution of rules/chemistry.toml.

    `ends` (K, E) holds the mass of each element in a mole (or 100 g) of each end member, in the order of
    `alpha.ELEMENTS`; `minor` (E,) is wt% of other elements.
    """

    phases: tuple[str, ...]
    elements: tuple[str, ...]
    ends: Array
    minor: Array
    quantities: tuple[Quantity, ...]

    def compositions(self, fractions: Array) -> Array:
        """Element wt% (T, E) for fractions (T, K - 1) of all end members but the first."""
        first = 1 - fractions.sum(axis=1, keepdims=True)
        mass = np.hstack([first, fractions]) @ self.ends
        wt_pct = 100 * mass / mass.sum(axis=1, keepdims=True)
        return np.asarray(wt_pct * (1 - self.minor.sum() / 100) + self.minor)

    def measured(self, fractions: Array) -> Array:
        """Values (Q, T) of the quantities for fractions (T, K - 1)."""
        wt_pct = self.compositions(fractions)
        everything = np.hstack([1 - fractions.sum(axis=1, keepdims=True), fractions])
        return np.stack(
            [
                100 * everything[:, q.end] if q.end is not None else wt_pct[:, ELEMENTS.index(str(q.element))]
                for q in self.quantities
            ]
        )


@cache
def chemistry_rules() -> dict[str, Any]:
    """Load rules/chemistry.toml as plain tables."""
    text = resources.files("meteoseg").joinpath("rules/chemistry.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def solutions_for(channels: Sequence[str]) -> tuple[Solution, ...]:
    """Return the solid solutions that `channels` show; each phase has one at most.

    Examples
    --------
    >>> [solution.phases for solution in solutions_for(["Fe", "Ni", "Mg"])]
    [('olivine',), ('kamacite', 'taenite'), ('spinel',)]
    """
    found: list[Solution] = []
    done: set[str] = set()
    for rule in chemistry_rules()["solution"]:
        phases = tuple(phase for phase in rule["phases"] if phase not in done)
        if phases and set(rule["elements"]) <= set(channels):
            found.append(_solution(rule, phases))
            done.update(phases)
    return tuple(found)


def _solution(rule: Mapping[str, Any], phases: tuple[str, ...]) -> Solution:
    ends = np.array([_masses(end) for end in rule["ends"]])
    quantities = tuple(Quantity(**entry) for entry in rule["quantities"])
    return Solution(phases, tuple(rule["elements"]), ends, composition_vector(rule["minor"]), quantities)


def _masses(end: str | Mapping[str, float]) -> Array:
    if isinstance(end, str):
        return composition_vector({el: n * ATOMIC_WEIGHT[el] for el, n in parse_formula(end).items()})
    return composition_vector(dict(end))


@dataclass(frozen=True)
class Estimate:
    """Quantities of N pixels or grains and their derivatives.

    values : (Q, N). per_count : (Q, C, N), change of the quantity per count of each element. background : (C, N),
    the part of the counts that is background.
    """

    values: Array
    per_count: Array
    background: Array


@dataclass(frozen=True)
class SolutionTable:
    """The inverse of what a solid solution should give in the maps, tabulated over the shares of the elements.

    Only the share of each element in the sum of all `solution.elements` counts, so a common factor (porosity, beam
    current) has no effect. Background and matrix factors are those of each composition: as the composition follows
    from the shares, the inversion is exact (Newton's method at the nodes, linear between them).
    """

    solution: Solution
    response: Response

    def expected(self, fractions: Array) -> tuple[Array, Array]:
        """Net and background counts (T, C), before dead time, of fractions (T, K - 1)."""
        wt_pct = self.solution.compositions(fractions)
        names = self.solution.elements
        return self.response.net_counts(wt_pct, names), self.response.background_counts(wt_pct, names)

    def shares(self, fractions: Array) -> Array:
        """Shares (T, K - 1) of all elements but the first in the sum of counts."""
        net, background = self.expected(fractions)
        counts = net + background
        return np.asarray(counts[:, 1:] / counts.sum(axis=1, keepdims=True))

    @cached_property
    def _axes(self) -> list[Array]:
        """Nodes along each share, over what compositions (and a little beyond) can give."""
        free = len(self.solution.elements) - 1
        corners = np.vstack([np.zeros(free), np.eye(free)])
        reach = self.shares(corners + _BEYOND * (corners - corners.mean(axis=0)))
        return [np.linspace(low, high, _NODES[free]) for low, high in zip(reach.min(0), reach.max(0), strict=True)]

    @cached_property
    def _tables(self) -> tuple[Array, Array, Array]:
        """Quantities (Q, nodes), their gradient by share (Q, D, nodes), background per count in all (C, nodes)."""
        grid = np.stack(np.meshgrid(*self._axes, indexing="ij"), axis=-1)
        shape = grid.shape[:-1]
        fractions = self.invert(grid.reshape(-1, grid.shape[-1]))
        values = self.solution.measured(fractions).reshape(-1, *shape)
        steps = [axis[1] - axis[0] for axis in self._axes]
        gradient = np.stack([np.stack(_gradient(plane, steps)) for plane in values])
        net, background = self.expected(fractions)
        share = background / (net + background).sum(axis=1, keepdims=True)
        return values, gradient, share.T.reshape(-1, *shape)

    def invert(self, shares: Array) -> Array:
        """Fractions (T, K - 1) that give shares (T, K - 1), by Newton's method from the middle of the solution.

        Shares that no composition gives end at the nearest bound of the fractions, 0.15 beyond pure end members.
        """
        free = shares.shape[1]
        fractions = np.full_like(shares, 1 / (free + 1))
        for _ in range(_NEWTON_STEPS):
            here = self.shares(fractions)
            slopes = [(self.shares(fractions + _STEP * unit) - here) / _STEP for unit in np.eye(free)]
            step = np.linalg.solve(np.stack(slopes, axis=-1), (shares - here)[..., None])[..., 0]
            fractions = np.clip(fractions + np.clip(step, -0.4, 0.4), -1.5 * _BEYOND, 1 + 1.5 * _BEYOND)
            # Beyond this the first end member would be far below nothing.
            excess = np.maximum(fractions.sum(axis=1, keepdims=True) - 1 - 1.5 * _BEYOND, 0)
            fractions = fractions - excess / free
        return fractions

    def estimate(self, counts: Array) -> Estimate:
        """Turn counts into quantities.

        Parameters
        ----------
        counts : (C, N) of `solution.elements`, free of dead time, background not taken off; sums over pixels or
            single pixels. Where they do not add up to more than 0 the values are NaN.
        """
        total = counts.sum(axis=0)
        total = np.where(total > 0, total, np.nan)
        shares = counts[1:] / total
        at = [
            np.nan_to_num((share - axis[0]) / (axis[1] - axis[0]))
            for share, axis in zip(shares, self._axes, strict=True)
        ]
        values, gradient, background = self._tables
        slope = np.stack([_look_up(plane, at) for plane in gradient])
        # Shares sum to 1: a count more of an element raises its own share and lowers the others.
        own = np.concatenate([np.zeros_like(slope[:, :1]), slope], axis=1)
        per_count = (own - (slope * shares).sum(axis=1, keepdims=True)) / total
        return Estimate(_look_up(values, at) + 0 * total, per_count, _look_up(background, at) * total)


def _gradient(plane: Array, steps: Sequence[float]) -> list[Array]:
    return [np.gradient(plane, step, axis=axis) for axis, step in enumerate(steps)]


def _look_up(planes: Array, at: Sequence[NDArray[np.float64]]) -> Array:
    """Read tables (..., nodes) at node coordinates, linear between nodes, the edge value beyond."""
    return np.stack([ndimage.map_coordinates(plane, at, order=1, mode="nearest") for plane in planes])
