"""What to draw: the group recipes of rules/simulation.toml as frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from meteoseg.errors import MeteosegError, UnknownNameError

MATRIX_KINDS = {
    "anhydrous": "anhydrous matrix",
    "hydrated": "hydrated matrix",
    "enstatite": "enstatite matrix",
    "recrystallised": "anhydrous matrix",
}


@dataclass(frozen=True)
class GroupRecipe:
    """Areas (% of the section), sizes (mm) and compositions (mol%) of one chondrite group."""

    chondrule_pct: float
    inclusion_pct: float
    opaque_pct: float
    metal_share: float
    diameter_mm: float
    sigma: float
    type_1: float
    fa_1: tuple[float, float]
    fa_2: tuple[float, float]
    fa_eq: float
    fs_eq: float
    rims: float
    matrix: str
    textures: Mapping[str, float]
    magnetite_pct: float = 0.0
    carbonate_pct: float = 0.0


@dataclass(frozen=True)
class Weathering:
    """Shares of metal and sulfide turned to oxyhydroxide, and relative density of rust veins."""

    metal: float
    sulfide: float
    veins: float


@dataclass(frozen=True)
class Shock:
    """Veins of shock melt per mm of the section's side, and area % of melt pockets."""

    veins: float = 0.0
    pockets_pct: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """All that fixes a simulated section but its random numbers.

    `petrologic_type` 3.0 to 6.9; `metamorphism` runs from 0 (type 3.0) to 1 (type 6). `lithic_pct`: area % of lithic
    clasts.
    """

    group: str
    petrologic_type: float
    weathering: Weathering
    rules: GroupRecipe
    epoxy_edge: bool = True
    crack_density: float = 1.0
    pit_pct: float = 1.5
    shock: Shock = field(default_factory=Shock)
    lithic_pct: float = 0.0

    @property
    def metamorphism(self) -> float:
        """Degree of equilibration, 0 (type 3.0) to 1 (type 6)."""
        return min(max((self.petrologic_type - 3.0) / 3.0, 0.0), 1.0)

    @property
    def equilibrated(self) -> bool:
        """True from type 4 on: olivine has one composition."""
        return self.petrologic_type >= 4.0


@cache
def simulation_rules() -> Mapping[str, Any]:
    """Load rules/simulation.toml."""
    return tomllib.loads(resources.files("meteoseg").joinpath("rules/simulation.toml").read_text(encoding="utf-8"))


def microprobe_responses() -> dict[str, dict[str, Any]]:
    """Return, by element, what `meteoseg.minerals.ChannelResponse` calls the settings of the simulated microprobe."""
    wds = simulation_rules()["wds"]
    dead_time = wds["dead_time_us"] / (wds["dwell_ms"] * 1000)
    return {
        name: {
            "sensitivity": sensitivity,
            "background": wds["background"][name][0],
            "background_per_z": wds["background"][name][1],
            "dead_time": dead_time,
            "ones_missing": name in wds["censored"],
        }
        for name, sensitivity in wds["sensitivity"].items()
    }


def simulated_groups() -> tuple[str, ...]:
    """Names of the groups that can be simulated."""
    return tuple(simulation_rules()["groups"])


def make_recipe(
    group: str, *, petrologic_type: float = 3.2, weathering: str = "W1", shock: str = "S1", **changes: Any
) -> Recipe:
    """Look up a group recipe.

    Raises
    ------
    UnknownNameError : no such group, weathering grade or shock stage.
    MeteosegError : a petrologic type outside 1 to 6.9.
    """
    rules = simulation_rules()
    if group not in rules["groups"]:
        raise UnknownNameError.of("group", group, rules["groups"])
    if weathering not in rules["weathering"]:
        raise UnknownNameError.of("weathering grade", weathering, rules["weathering"])
    if shock not in rules["shock"]:
        raise UnknownNameError.of("shock stage", shock, rules["shock"])
    if not 1.0 <= petrologic_type < 7.0:
        raise MeteosegError(f"Petrologic type {petrologic_type} is not possible: give a number from 1 to 6.9.")
    table = dict(rules["groups"][group])
    table["fa_1"], table["fa_2"] = tuple(table["fa_1"]), tuple(table["fa_2"])
    return Recipe(
        group,
        petrologic_type,
        Weathering(**rules["weathering"][weathering]),
        GroupRecipe(**table),
        shock=Shock(**rules["shock"][shock]),
        **changes,
    )
