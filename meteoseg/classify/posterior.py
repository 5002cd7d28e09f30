"""The posterior of the groups: each a mixture of members, each member a product of densities over the properties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meteoseg.classify.groups import NONE, Group, Member, groups, log_density, properties, rules, trust_in
from meteoseg.classify.measurements import Measured, Measurements
from meteoseg.classify.petrology import original_metal
from meteoseg.errors import UnknownNameError

PRIORS = ("equal", "falls")


@dataclass(frozen=True)
class GroupEvidence:
    """What the measurements say of one group.

    `log_likelihood` is natural and relative to the flat background; `shares` is its part from each property, adding up
    to it; `members` is the probability of each member of the group, given the group.
    """

    log_likelihood: float
    shares: Mapping[str, float]
    members: tuple[float, ...]


def prior_weights(prior: str) -> dict[str, float]:
    """Return the weight of each group: 1, or its observed falls plus 0.5.

    Raises
    ------
    UnknownNameError : the prior is neither ``equal`` nor ``falls``.
    """
    if prior not in PRIORS:
        raise UnknownNameError.of("prior", prior, PRIORS)
    return {name: 1.0 if prior == "equal" else group.falls + 0.5 for name, group in groups().items()}


def posterior(log_likelihoods: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return probabilities that add up to 1 (Bayes).

    Examples
    --------
    >>> posterior([0.0, math.log(3.0)], [1.0, 1.0])
    [0.25, 0.75]
    """
    highest = max(log_likelihoods)
    raw = [weight * math.exp(value - highest) for value, weight in zip(log_likelihoods, weights, strict=True)]
    return [value / sum(raw) for value in raw]


def group_evidence(group: Group, measurements: Measurements) -> GroupEvidence:
    """Weigh the measurements in a group."""
    shares = [_member_evidence(member, group, measurements) for member in group.members]
    totals = [sum(share.values()) for share in shares]
    weights = [member.share for member in group.members]
    mixed = posterior(totals, weights)
    highest = max(totals)
    likelihood = sum(w * math.exp(total - highest) for w, total in zip(weights, totals, strict=True))
    mean = highest + math.log(likelihood)
    blend = {name: sum(p * share[name] for p, share in zip(mixed, shares, strict=True)) for name in shares[0]}
    return GroupEvidence(mean, _scaled_to(blend, mean), tuple(mixed))


def _scaled_to(shares: dict[str, float], total: float) -> dict[str, float]:
    """Spread what the shares lack to `total` evenly, so that they add up to it."""
    lack = total - sum(shares.values())
    return {name: value + lack / len(shares) for name, value in shares.items()} if shares else {}


def _member_evidence(member: Member, group: Group, measurements: Measurements) -> dict[str, float]:
    used = [name for name in properties() if name in measurements.values]
    families = [properties()[name].family for name in used]
    evidence = {}
    for name, family in zip(used, families, strict=True):
        measured = seen_as(group, name, measurements)
        own = log_density(member.row(name), measured.value, measured.sd, name=name, trust=trust_in(name))
        flat = math.log(properties()[name].background_density)
        evidence[name] = family_weight(families.count(family)) * (own - flat)
    return evidence


def family_weight(number: int) -> float:
    """Return how much each of `number` measured properties of one family counts.

    Examples
    --------
    >>> family_weight(1)
    1.0
    """
    return 1 / (1 + (number - 1) * float(rules()["decision"]["family_correlation"]))


def seen_as(group: Group, name: str, measurements: Measurements) -> Measured:
    """Return the measurement as it bears on `group`: its metal before it rusted."""
    rusts = group.name not in (*rules()["weathering"]["not_rusted_metal"], NONE)
    if name == "metal" and rusts and "rust" in measurements.values:
        return original_metal(measurements)
    return measurements.values[name]
