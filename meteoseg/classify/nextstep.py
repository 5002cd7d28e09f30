"""What one more measurement would decide: the expected information of each property that was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from meteoseg.classify.groups import NONE, Member, density_at, groups, properties, rules, trust_in
from meteoseg.classify.measurements import Measurements

_POINTS = 241


@dataclass(frozen=True)
class NextStep:
    """A property (`name`) worth measuring.

    `bits` is the mutual information of property and group: by how much it is expected to reduce the entropy of the
    posterior (`open_bits`). `between` are the two groups that it tells apart.
    """

    name: str
    bits: float
    open_bits: float
    between: tuple[str, str]

    @property
    def text(self) -> str:
        """The advice in words."""
        words = properties()[self.name].words
        first, second = ("none of the groups" if name == NONE else name for name in self.between)
        return (
            f"{words[0].upper()}{words[1:]} would decide between {first} and {second}: expected to settle "
            f"{self.bits:.2f} of the {self.open_bits:.2f} bits that are open."
        )


def next_steps(
    probabilities: Mapping[str, float], members: Mapping[str, Sequence[float]], measurements: Measurements
) -> tuple[NextStep, ...]:
    """Rank the unmeasured properties by how much they are expected to tell, the best first.

    Parameters
    ----------
    probabilities : posterior by group.
    members : probability of each member of a group, given the group.
    measurements : properties of a family of which one is measured already are left out.
    """
    choices = rules()["next"]
    measured = {properties()[name].family for name in measurements.values if name in properties()}
    chance = np.array([probabilities[name] for name in groups()])
    names = [name for name, rule in properties().items() if rule.family not in measured]
    found = []
    for name in names:
        density = _group_densities(name, members)
        bits = _information(chance, density)
        pair = _best_pair(chance, density)
        if bits >= choices["least_bits"] and pair is not None:
            found.append(NextStep(name, bits, entropy_bits(chance), pair))
    best = sorted(found, key=lambda step: -step.bits)
    return tuple(_one_per_family(best))[: choices["shown"]]


def entropy_bits(chance: NDArray[np.float64]) -> float:
    """Return the entropy of probabilities in bits.

    Examples
    --------
    >>> entropy_bits(np.array([0.5, 0.5, 0.0]))
    1.0
    """
    kept = chance[chance > 0]
    return float(-(kept * np.log2(kept)).sum())


def _one_per_family(steps: Sequence[NextStep]) -> list[NextStep]:
    families: dict[str, NextStep] = {}
    for step in steps:
        families.setdefault(properties()[step.name].family, step)
    return list(families.values())


def _information(chance: NDArray[np.float64], density: NDArray[np.float64]) -> float:
    """Mutual information in bits of groups (G,) and a property with densities (G, P) that each sum to 1."""
    mixed = chance @ density
    ratio = np.log2(density / mixed)
    return float((chance[:, None] * density * ratio).sum())


def _best_pair(chance: NDArray[np.float64], density: NDArray[np.float64]) -> tuple[str, str] | None:
    """Return the most probable pair of groups that the property tells apart, or None."""
    names = list(groups())
    order = [int(i) for i in np.argsort(-chance, kind="stable")[:4]]
    pairs = [(a, b) for place, a in enumerate(order) for b in order[place + 1 :]]
    even = np.array([0.5, 0.5])
    apart = [pair for pair in pairs if _information(even, density[list(pair)]) >= rules()["next"]["tell_apart_bits"]]
    if not apart:
        return None
    first, second = max(apart, key=lambda pair: chance[pair[0]] * chance[pair[1]])
    return names[first], names[second]


def _group_densities(name: str, members: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    """Return the density of a property in each group over its range, (G, P), each row summing to 1."""
    rows = []
    for group in groups().values():
        parts = np.stack([_on_grid(member, name) for member in group.members])
        rows.append(np.asarray(members[group.name]) @ parts)
    return np.stack(rows)


@cache
def _on_grid(member: Member, name: str) -> NDArray[np.float64]:
    rule = properties()[name]
    positions = np.linspace(rule.scaled(rule.low), rule.scaled(rule.high), _POINTS)
    density = density_at(member.row(name), rule, positions, error=0.0, trust=trust_in(name))
    return np.asarray(density / density.sum())
