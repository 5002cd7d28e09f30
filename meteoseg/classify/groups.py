"""The chondrite groups: reference values of each property and the probability of a measurement in a group.

The numbers, their status and their sources are in ``rules/groups.csv``, ``rules/groups_more.csv`` (type 3 and type 6
members, scatter of Fa, rocks that are no chondrites), ``rules/properties.csv`` and ``rules/classification.toml``; how
they are used is described in ``docs/classification.md``.
"""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meteoseg.errors import UnknownNameError

#: Properties that are parts of one whole: their typical values are brought to a sum of 100 in each group.
COMPONENT_PROPERTIES = ("chondrules", "matrix", "refractory_inclusions")
#: Name of what is none of the chondrite groups: other rocks, or chondrites unlike any group.
NONE = "none"
_CLOSURE_PROPERTIES = (*COMPONENT_PROPERTIES, "metal", "sulfide")


@dataclass(frozen=True)
class PropertyRule:
    """How a property is measured and compared.

    `scale` is ``sqrt`` (percentages) or ``log`` (diameters); `floor_sd` is the least standard deviation, in
    that scale, between a published figure and a map; `low` and `high` bound the physical range, over which
    the background density is flat. `parts` are the names summed in `layer` of ``modes.csv``; `needs` lists
    alternatives of channels without which the property cannot be seen. Properties of one `family` are not independent.
    """

    name: str
    unit: str
    scale: str
    floor_sd: float
    low: float
    high: float
    layer: str
    parts: tuple[str, ...]
    needs: str
    hidden_below_pct: float | None
    family: str
    source: str
    words: str

    def scaled(self, value: float) -> float:
        """Return `value` on the scale of comparison, moved to the edge of the physical range if outside."""
        inside = min(max(value, self.low), self.high)
        return math.log(inside) if self.scale == "log" else math.sqrt(inside)

    def scaled_sd(self, value: float, sd: float) -> float:
        """Return the standard deviation `sd` of `value` on the scale of comparison."""
        if self.scale == "log":
            return sd / max(value, self.low)
        return (math.sqrt(max(value + sd, 0.0)) - math.sqrt(max(value - sd, 0.0))) / 2

    @property
    def background_density(self) -> float:
        """Density of a measurement about which nothing is known: flat over the physical range."""
        return 1.0 / (self.scaled(self.high) - self.scaled(self.low))


@dataclass(frozen=True)
class ReferenceRow:
    """Published value of a property in a group: 5 % point, typical value, 95 % point, in `unit`."""

    group: str
    property_name: str
    low: float
    typical: float
    high: float
    unit: str
    status: str
    source: str
    note: str

    @property
    def is_weak(self) -> bool:
        """Whether the figure is marked as weakly known."""
        return "(weak)" in self.status


@dataclass(frozen=True)
class Member:
    """A kind of rock in a group: its rows of the reference table, the first with a property counts; its share."""

    rows: tuple[str, ...]
    share: float

    def row(self, name: str) -> ReferenceRow | None:
        """Return the reference row of property `name`, or None where there is none."""
        return next((reference()[row, name] for row in self.rows if (row, name) in reference()), None)


@dataclass(frozen=True)
class Group:
    """A chondrite group, or ``none``: its class, rows in the reference table, usual type and number of falls."""

    name: str
    class_name: str
    rows: tuple[str, ...]
    usual_type: str
    falls: int

    @property
    def members(self) -> tuple[Member, ...]:
        """The kinds of rock that the group is a mixture of; their shares add up to 1."""
        return _members(self)


def _text(name: str) -> str:
    return resources.files("meteoseg").joinpath("rules", name).read_text(encoding="utf-8")


@cache
def rules() -> Mapping[str, Any]:
    """Load the thresholds of ``rules/classification.toml``."""
    return tomllib.loads(_text("classification.toml"))


@cache
def groups() -> Mapping[str, Group]:
    """Return the groups by name, in the order of the table."""
    return {
        name: Group(name, entry["class"], tuple(entry["rows"]), entry["usual_type"], int(entry["falls"]))
        for name, entry in rules()["groups"].items()
    }


@cache
def properties() -> Mapping[str, PropertyRule]:
    """Return the properties that speak for or against groups, by name."""
    found = {}
    for row in csv.DictReader(_text("properties.csv").splitlines()):
        found[row["property"]] = PropertyRule(
            row["property"],
            row["unit"],
            row["scale"],
            float(row["floor_sd"]),
            float(row["low"]),
            float(row["high"]),
            row["layer"],
            tuple(part for part in row["parts"].split("|") if part),
            row["needs"],
            float(row["hidden_below_pct"]) if row["hidden_below_pct"] else None,
            row["family"],
            row["source"],
            row["words"],
        )
    return found


@cache
def _members(group: Group) -> tuple[Member, ...]:
    choices = rules()["members"]
    if group.name == NONE:
        rest = float(choices["unlike_anything_share"])
        listed = tuple(Member((row,), (1 - rest) / len(group.rows)) for row in group.rows)
        return (*listed, Member((), rest))
    special = [
        Member((choices[kind][group.name], group.name), float(choices[f"{kind}_share"]))
        for kind in ("unequilibrated", "recrystallised")
        if group.name in choices[kind]
    ]
    usual = 1 - sum(member.share for member in special)
    return (*(Member((row,), usual / len(group.rows)) for row in group.rows), *special)


def known_property(name: str) -> PropertyRule:
    """Return the rule of property `name`.

    Raises
    ------
    UnknownNameError : there is no such property.
    """
    if name not in properties():
        raise UnknownNameError.of("property", name, properties())
    return properties()[name]


@cache
def published_rows() -> tuple[ReferenceRow, ...]:
    """Return the reference table as published, one row per group (or subgroup) and property."""
    return _rows_of("groups.csv")


def _rows_of(file: str) -> tuple[ReferenceRow, ...]:
    return tuple(
        ReferenceRow(
            row["group"],
            row["property"],
            float(row["low"]),
            float(row["typical"]),
            float(row["high"]),
            row["unit"],
            row["status"],
            row["source"],
            row["note"],
        )
        for row in csv.DictReader(_text(file).splitlines())
    )


@cache
def reference() -> Mapping[tuple[str, str], ReferenceRow]:
    """Return the reference rows by (group row, property), the components brought to a sum of 100 %.

    Published components are rounded and opaque minerals are counted inside and beside them: their typical
    values add to 86-112 %. Chondrules, matrix and inclusions are scaled so that they, metal and sulfide add
    to 100; metal and sulfide are kept as they are, since they are measured over the whole section.

    Examples
    --------
    >>> round(reference()["H", "chondrules"].typical, 1), reference()["H", "metal"].typical
    (75.0, 8.0)
    """
    table = {(row.group, row.property_name): row for row in published_rows()}
    for group in {row.group for row in published_rows()}:
        parts = {name: table[group, name].typical for name in _CLOSURE_PROPERTIES}
        opaque = parts["metal"] + parts["sulfide"]
        factor = max(100.0 - opaque, 0.0) / sum(parts[name] for name in COMPONENT_PROPERTIES)
        for name in COMPONENT_PROPERTIES:
            row = table[group, name]
            low, typical, high = (min(100.0, factor * value) for value in (row.low, row.typical, row.high))
            table[group, name] = replace(row, low=low, typical=typical, high=high)
    return table | {(row.group, row.property_name): row for row in _rows_of("groups_more.csv")}


def trust_in(name: str) -> float:
    """Return the share of a row's own density for a property; the rest is the flat background."""
    decision = rules()["decision"]
    return float(decision["trust_of"].get(name, decision["trust"]))


def log_density(row: ReferenceRow | None, value: float, sd: float, *, name: str, trust: float) -> float:
    """Return the natural logarithm of the density of a measurement in a group.

    On the scale of the property the group is a normal distribution with two half widths (split normal) about
    its typical value, cut at zero for percentages, widened by the floor of the property and by the error of
    the measurement. It has the share `trust`; the remainder is the background, flat over the physical range,
    which is all there is when the group has no row.

    Parameters
    ----------
    row : reference row of the group, or None where it has none.
    value, sd : measurement and its standard deviation, in the unit of the property.
    name : property.
    trust : 0 to 1.

    Examples
    --------
    >>> iron_rich = reference()["H", "metal"]
    >>> near, far = (log_density(iron_rich, v, 0.5, name="metal", trust=0.95) for v in (8.0, 1.0))
    >>> near > far
    True
    """
    rule = known_property(name)
    own_share = 0.0 if row is None else trust
    density = density_at(row, rule, rule.scaled(value), error=rule.scaled_sd(value, sd), trust=own_share)
    return math.log(float(density))


def density_at(
    row: ReferenceRow | None, rule: PropertyRule, positions: ArrayLike, *, error: float, trust: float
) -> NDArray[np.float64]:
    """Return the density that `log_density` speaks of at `positions`, which like `error` are on the scale of `rule`."""
    at = np.asarray(positions, float)
    background = np.full(at.shape, rule.background_density)
    if row is None or trust <= 0:
        return background
    return trust * _split_normal(row, rule, at, error) + (1.0 - trust) * background


def _split_normal(
    row: ReferenceRow, rule: PropertyRule, positions: NDArray[np.float64], error: float
) -> NDArray[np.float64]:
    decision = rules()["decision"]
    widening = decision["weak_widening"] if row.is_weak else 1.0
    centre = rule.scaled(row.typical)
    sides = []
    for end in (row.low, row.high):
        spread = widening * abs(rule.scaled(end) - centre) / decision["tail_sd"]
        sides.append(math.hypot(spread, rule.floor_sd, error))
    below, above = sides
    width = np.where(positions < centre, below, above)
    density = math.sqrt(2 / math.pi) / (below + above) * np.exp(-0.5 * ((positions - centre) / width) ** 2)
    inside = 1.0
    if rule.scale != "log":
        inside = (above + below * math.erf(centre / (below * math.sqrt(2)))) / (below + above)
    return np.asarray(density / inside, np.float64)


def supported(needs: str, channels: Iterable[str]) -> bool:
    """Whether `channels` hold one of the alternatives of `needs`.

    Examples
    --------
    >>> supported("Fe+S|BSE", ["Fe", "Mg"]), supported("Fe+S|BSE", ["BSE"]), supported("", [])
    (False, True, True)
    """
    have = set(channels)
    return not needs or any(set(option.split("+")) <= have for option in needs.split("|"))
