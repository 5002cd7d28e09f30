"""A user's legend of phases: presets and selections, phases dropped, merged and added."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.legend import NO_MINERALS, UNCLASSIFIED, Label, Legend, default_legend

#: Name of all phases that a selection leaves out.
OTHER = "other phases"
_OTHER = Label(0, OTHER, "#c8c8c8")
_KEYS = ("preset", "select", "drop", "merge", "phase")
#: Parts of a merged phase may differ in density by this share of their mean, which then stands for all.
_ALIKE_DENSITY = 0.05
#: Share of a joined area that may lack a density when the others speak for it.
_LEFT_OUT_OF_DENSITY = 0.02
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
#: Optional numbers of [[phase]], with smallest and largest value.
_NUMBERS: Mapping[str, tuple[float, float]] = {"log_prior": (-20, 5), "rel_sd": (0.001, 1), "density_g_cm3": (0.1, 25)}


@dataclass(frozen=True)
class NewPhase:
    """A phase that a user defines by its compositions.

    Attributes
    ----------
    name, color, density_g_cm3 : as they go into the legend.
    series : each one formula, or two end members that mix by mole.
    divisions : steps between two end members.
    minor : element, mean and standard deviation in wt%, of what may be dissolved in it.
    log_prior, rel_sd : as in rules/phases.toml.
    """

    name: str
    color: str
    series: tuple[tuple[str, ...], ...]
    density_g_cm3: float | None = None
    divisions: int = 4
    minor: tuple[tuple[str, float, float], ...] = ()
    log_prior: float = -1.5
    rel_sd: float = 0.04

    def label(self) -> Label:
        """Return the label, its id still to be given."""
        return Label(0, self.name, self.color, self.density_g_cm3, "legend file")


@dataclass(frozen=True)
class LegendEdit:
    """A user's change of the phase legend.

    Read from a TOML file, every part of which is optional::

        preset = "opaques"                      # opaques, CAI, silicates or all
        select = ["olivine"]                    # these, and those of the preset; the rest becomes `other phases`
        drop = ["hibonite", "grossite"]

        [merge]
        "Fe-Ni metal" = ["kamacite", "taenite"]

        [[phase]]
        name = "djerfisherite"
        color = "#aa8800"
        density_g_cm3 = 3.7
        series = [["K6Fe24S26Cl", "K6Fe20Cu4S26Cl"]]

    Merged and new phases are selected too.
    """

    drop: tuple[str, ...] = ()
    merge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    preset: str = "all"
    select: tuple[str, ...] = ()
    new: tuple[NewPhase, ...] = ()
    #: Where it was read from, for messages.
    source: str = field(default="Legend edit", compare=False)

    @classmethod
    def read(cls, path: Path) -> LegendEdit:
        """Read a legend file, or take the preset of that name (in any case); names are checked when it is applied.

        Raises
        ------
        InputError : no such file or preset, no TOML, or a key or value that is not understood.
        UnknownNameError : the file names an unknown preset.
        """
        preset = {name.lower(): name for name in presets()}.get(str(path).lower())
        if preset is not None and not path.is_file():
            return cls(preset=preset)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise InputError(
                f"Legend file {path} does not exist.{_closest_preset(str(path))} Give a TOML file or a preset: "
                f"{', '.join(presets())}."
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"Legend file {path} is not valid TOML: {error}.") from error
        unknown = sorted(set(data) - set(_KEYS))
        if unknown:
            raise InputError(f"Legend file {path} has the unknown key '{unknown[0]}': use {', '.join(_KEYS)}.")
        return cls._from_data(path, data)

    @classmethod
    def _from_data(cls, path: Path, data: Mapping[str, Any]) -> LegendEdit:
        drop, select, merge = data.get("drop", []), data.get("select", []), data.get("merge", {})
        lists = [drop, select, *merge.values()] if isinstance(merge, dict) else [None]
        if not all(_is_list_of_text(names) for names in lists):
            raise InputError(
                f"Legend file {path} is not understood: write drop = [names], select = [names], and under [merge] "
                "NEW = [names]."
            )
        default = "all" if not select else "none"
        preset, tables = data.get("preset", default), data.get("phase", [])
        preset = {name.lower(): name for name in presets()}.get(str(preset).lower(), preset)
        if preset != default and preset not in presets():
            raise UnknownNameError.of("preset of phases", str(preset), presets())
        if not isinstance(tables, list):
            raise InputError(f"Legend file {path} is not understood: a new phase is a table [[phase]].")
        new = tuple(_new_phase(path, table) for table in tables)
        merged = {name: tuple(parts) for name, parts in merge.items()}
        return cls(tuple(drop), merged, preset, tuple(select), new, f"Legend file {path}")

    def extended(self, legend: Legend) -> Legend:
        """Return `legend` with the new phases, whose ids follow its last one.

        Raises
        ------
        InputError : a new phase has the name of another.
        """
        return legend.with_labels(phase.label() for phase in self.new)

    def candidates(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of `names` that are not dropped: what a classifier by chemistry compares."""
        return tuple(name for name in names if name not in self.drop)

    def apply(self, legend: Legend) -> tuple[Legend, NDArray[np.uint8]]:
        """Return the edited legend and a look-up table from the ids of `extended` to new ids.

        Dropped phases become ``unclassified``; merged ones take the id of the first part and the new name; those
        left out by a preset or selection become ``other phases``, an id of its own. A merged phase has the mean density
        of its parts where these differ by 5 % of it at most, and none otherwise: `with_mean_densities` knows better.

        Raises
        ------
        UnknownNameError : a phase that the legend lacks.
        InputError : a phase is named twice or is no mineral, or a merge lists none or takes the name of another phase.
        """
        legend = self.extended(legend)
        self._check(legend)
        table = np.arange(max(legend.ids) + 1, dtype=np.uint8)
        left_out = self._left_out(legend)
        if left_out:
            legend = legend.with_labels([_OTHER])
        gone = {*self.drop, *left_out}
        table[[legend[name].id for name in left_out]] = max(legend.ids)
        table[[legend[name].id for name in self.drop]] = legend[UNCLASSIFIED].id
        renamed: dict[str, str] = {}
        densities: dict[str, float | None] = {}
        for new_name, parts in self.merge.items():
            table[[legend[part].id for part in parts]] = legend[parts[0]].id
            gone.update(parts[1:])
            renamed[parts[0]] = new_name
            densities[parts[0]] = _common_density([legend[part].density_g_cm3 for part in parts])
        kept = [label for label in legend.labels if label.name not in gone]
        labels = tuple(
            replace(label, name=renamed[label.name], density_g_cm3=densities[label.name])
            if label.name in renamed
            else label
            for label in kept
        )
        return Legend(legend.layer, labels), table

    def with_mean_densities(self, legend: Legend, area_px: NDArray[np.int64]) -> Legend:
        """Return `apply` (legend)[0] with the mean densities, by area, of what each joined phase holds in a section.

        Weight percent of joined phases are then the sums of those of their parts.

        Parameters
        ----------
        legend : before the edit, as for `apply`.
        area_px : (largest id of `extended` + 1,) pixels of each phase before the edit.

        Examples
        --------
        >>> legend, edit = default_legend("phases"), LegendEdit(merge={"metal": ("kamacite", "troilite")})
        >>> area_px = np.bincount([6] * 3 + [8], minlength=42)
        >>> edit.with_mean_densities(legend, area_px)["metal"].density_g_cm3  # (3 x 7.88 + 4.83) / 4
        7.1175
        """
        before = self.extended(legend)
        after, table = self.apply(legend)
        area = {label.name: int(area_px[label.id]) for label in before.labels if label.name not in NO_MINERALS}
        labels = []
        for label in after.labels:
            parts = [before[name] for name in area if table[before[name].id] == label.id]
            n_px = sum(area[part.name] for part in parts)
            if label.name not in NO_MINERALS and label not in parts and n_px:
                label = replace(label, density_g_cm3=_mean_density(parts, [area[part.name] for part in parts]))
            labels.append(label)
        return replace(after, labels=tuple(labels))

    def _check(self, legend: Legend) -> None:
        named = [*self.drop, *(part for parts in self.merge.values() for part in parts)]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"{self.source} names '{twice}' twice: drop a phase, or merge it once.")
        for name in (*named, *self.select):
            if legend[name].name in NO_MINERALS:
                raise InputError(f"Phase '{name}' cannot be dropped, merged or selected: it is not a mineral.")
        empty = next((name for name, parts in self.merge.items() if not parts), None)
        if empty is not None:
            raise InputError(f"Legend merge '{empty}' lists no phases: name at least one.")
        self._check_merged_names(legend)

    def _check_merged_names(self, legend: Legend) -> None:
        """Refuse merged and new phases that are called like a phase that stays, or like what collects the others."""
        left_out = self._left_out(legend)
        gone = {*self.drop, *left_out, *(part for parts in self.merge.values() for part in parts)}
        taken = {*legend.names} - gone
        if left_out:
            taken.add(OTHER)
        clash = next((name for name in self.merge if name in taken), None)
        if left_out and any(phase.name == OTHER for phase in self.new):
            clash = OTHER
        if clash is not None:
            why = "all that a preset or selection leaves out" if clash == OTHER and left_out else "another phase"
            raise InputError(f"{self.source} calls a phase '{clash}', the name of {why}: give it another name.")

    def _left_out(self, legend: Legend) -> list[str]:
        """Names that neither preset nor selection holds; none where everything is selected."""
        if self.preset == "all":
            return []
        merged = (part for parts in self.merge.values() for part in parts)
        added = (phase.name for phase in self.new)
        wanted = {*presets().get(self.preset, ()), *self.select, *merged, *added, *self.drop, *NO_MINERALS}
        return [name for name in legend.names if name not in wanted]


#: The legend as it is shipped.
NO_EDIT = LegendEdit()


@cache
def presets() -> Mapping[str, tuple[str, ...]]:
    """Load the named groups of phases of rules/presets.toml.

    Examples
    --------
    >>> presets()["CAI"][:3]
    ('melilite', 'spinel', 'anorthite')
    """
    text = resources.files("meteoseg").joinpath("rules/presets.toml").read_text(encoding="utf-8")
    groups = {name: tuple(group["phases"]) for name, group in tomllib.loads(text).items()}
    minerals = [name for name in default_legend("phases").names if name not in NO_MINERALS]
    return groups | {"all": tuple(minerals)}


def _common_density(densities: Sequence[float | None]) -> float | None:
    """Return the mean of densities that are alike; None where they are not, or one is unknown."""
    known = [value for value in densities if value is not None]
    if len(known) < len(densities):
        return None
    mean = sum(known) / len(known)
    return round(mean, 4) if max(known) - min(known) <= _ALIKE_DENSITY * mean else None


def _mean_density(parts: Sequence[Label], area_px: Sequence[int]) -> float | None:
    """Return the mean by area; None where more than a small share of the area has no density."""
    known = [(part.density_g_cm3, n) for part, n in zip(parts, area_px, strict=True) if part.density_g_cm3 is not None]
    weighed_px = sum(n for _, n in known)
    if weighed_px < (1 - _LEFT_OUT_OF_DENSITY) * sum(area_px):
        return None
    return round(sum(density * n for density, n in known) / weighed_px, 4)


def _closest_preset(name: str) -> str:
    """Return a hint at the preset that `name` may mean; empty where none is near."""
    lowered = {preset.lower(): preset for preset in presets()}
    close = get_close_matches(name.lower(), list(lowered), n=1)
    return f" Did you mean the preset '{lowered[close[0]]}'?" if close else ""


def _is_list_of_text(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _new_phase(path: Path, table: Any) -> NewPhase:
    """Make a phase of one [[phase]] table; formulas are parsed when the classifier is made."""
    if not isinstance(table, dict) or not isinstance(table.get("name"), str) or not table["name"].strip():
        raise InputError(f"Legend file {path}: every [[phase]] needs a name.")
    name = table["name"]
    wrong = f"Legend file {path}: phase '{name}'"
    allowed = ("name", "color", "series", "divisions", "minor", *_NUMBERS)
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise InputError(f"{wrong} has the unknown key '{unknown[0]}': use {', '.join(allowed)}.")
    color = table.get("color")
    if not isinstance(color, str) or not _COLOR.fullmatch(color):
        raise InputError(f"{wrong} needs a color like '#aa8800' (got {color!r}).")
    for key, (low, high) in _NUMBERS.items():
        value = table.get(key, low)
        if not _is_number(value) or not low <= value <= high:
            raise InputError(f"{wrong} has {key} = {value!r}: give a number from {low:g} to {high:g}.")
    numbers = {key: float(table[key]) for key in _NUMBERS if key in table}
    return NewPhase(name, color, _formulas(wrong, table.get("series")), divisions=_divisions(wrong, table),
                    minor=_minor(wrong, table.get("minor", {})), **numbers)  # fmt: skip


def _formulas(wrong: str, series: Any) -> tuple[tuple[str, ...], ...]:
    listed = [[entry] if isinstance(entry, str) else entry for entry in series] if isinstance(series, list) else []
    if not listed or not all(_is_list_of_text(ends) and len(ends) in (1, 2) for ends in listed):
        raise InputError(f'{wrong} needs formulas: write series = ["FeS"] or series = [["Mg2SiO4", "Fe2SiO4"]].')
    return tuple(tuple(ends) for ends in listed)


def _divisions(wrong: str, table: Mapping[str, Any]) -> int:
    value = table.get("divisions", 4)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 50:
        raise InputError(f"{wrong} has divisions = {value!r}: give a whole number from 1 to 50.")
    return value


def _minor(wrong: str, minor: Any) -> tuple[tuple[str, float, float], ...]:
    pairs = list(minor.values()) if isinstance(minor, dict) else [None]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(_is_number(x) and x >= 0 for x in pair)
               for pair in pairs):  # fmt: skip
        raise InputError(f"{wrong}: write minor = {{ Ni = [0.5, 0.3] }}, mean and sd of each element in wt%.")
    return tuple((element, float(mean), float(sd)) for element, (mean, sd) in minor.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
