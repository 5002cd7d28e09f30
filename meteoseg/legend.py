"""Legends: the integer labels of phases and components with their names, colours and densities."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, UnknownNameError

LAYERS = ("phases", "components")
OUTSIDE = "outside"
HOLE = "hole"
UNCLASSIFIED = "unclassified"


@dataclass(frozen=True)
class Label:
    """One class of a layer: `id` in the label image, `color` as ``#rrggbb``, density in g/cm3 or None."""

    id: int
    name: str
    color: str
    density_g_cm3: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Legend:
    """The classes of one layer, ``phases`` or ``components``; id 0 is ``outside``.

    Examples
    --------
    >>> legend = default_legend("phases")
    >>> legend["olivine"].id, legend.name_of(8)
    (1, 'troilite')
    """

    layer: str
    labels: tuple[Label, ...]
    _by_name: Mapping[str, Label] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = [label.id for label in self.labels]
        by_name = {label.name: label for label in self.labels}
        if len(set(ids)) != len(ids) or len(by_name) != len(ids):
            raise InputError(f"Legend of layer '{self.layer}' uses an id or a name twice: make them unique.")
        object.__setattr__(self, "_by_name", by_name)

    def __getitem__(self, name: str) -> Label:
        """Return the label called `name`; raise UnknownNameError with the closest name otherwise."""
        if name not in self._by_name:
            raise UnknownNameError.of(f"{self.layer.rstrip('s')}", name, self._by_name)
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the legend."""
        return tuple(label.name for label in self.labels)

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids in the order of the legend."""
        return tuple(label.id for label in self.labels)

    def name_of(self, label_id: int) -> str:
        """Return the name of a label id.

        Raises
        ------
        UnknownNameError : the id is not in the legend.
        """
        for label in self.labels:
            if label.id == label_id:
                return label.name
        raise UnknownNameError(f"Label {label_id} is not in the legend of layer '{self.layer}' (ids {self.ids}).")

    def colors(self) -> NDArray[np.uint8]:
        """Return a look-up table (max id + 1, 3), RGB 0-255, for painting label images."""
        table = np.zeros((max(self.ids) + 1, 3), np.uint8)
        for label in self.labels:
            table[label.id] = [int(label.color[start : start + 2], 16) for start in (1, 3, 5)]
        return table

    def keep(self, names: tuple[str, ...]) -> Legend:
        """Return the legend with only `names` (unknown ones raise)."""
        wanted = {self[name].name for name in names}
        return replace(self, labels=tuple(label for label in self.labels if label.name in wanted))


@cache
def default_legend(layer: str) -> Legend:
    """Load the shipped legend of `layer` (``phases`` or ``components``)."""
    if layer not in LAYERS:
        raise UnknownNameError.of("layer", layer, LAYERS)
    text = resources.files("meteoseg").joinpath("rules/legend.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["layer"] == layer]
    return Legend(layer, tuple(_label_from_row(row) for row in rows))


def _label_from_row(row: Mapping[str, str]) -> Label:
    density = row.get("density_g_cm3") or ""
    return Label(
        int(row["id"]),
        row["name"],
        row["color"],
        float(density) if density else None,
        row.get("source", "") or "",
    )


def read_legend_csv(path: Path) -> dict[str, Legend]:
    """Read a ``legend.csv`` as written beside label images: one Legend per layer found."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"layer", "id", "name", "color"} <= set(rows[0]):
        raise InputError(f"{path} is not a legend: it needs the columns layer,id,name,color,density_g_cm3.")
    layers = dict.fromkeys(row["layer"] for row in rows)
    return {layer: Legend(layer, tuple(_label_from_row(r) for r in rows if r["layer"] == layer)) for layer in layers}


def write_legend_csv(path: Path, *legends: Legend) -> None:
    """Write legends as ``legend.csv``: layer,id,name,color,density_g_cm3."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["layer", "id", "name", "color", "density_g_cm3"])
        for legend in legends:
            for label in legend.labels:
                density = "" if label.density_g_cm3 is None else label.density_g_cm3
                writer.writerow([legend.layer, label.id, label.name, label.color, density])


@dataclass(frozen=True)
class LegendEdit:
    """A user's change of the phase legend: phases to drop, and phases to merge under another name.

    Read from a TOML file::

        drop = ["hibonite", "grossite"]

        [merge]
        "Fe-Ni metal" = ["kamacite", "taenite"]
    """

    drop: tuple[str, ...] = ()
    merge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> LegendEdit:
        """Read a legend file; names are checked against the shipped legend when it is applied."""
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"Legend file {path} does not exist.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"Legend file {path} is not valid TOML: {error}.") from error
        unknown = set(data) - {"drop", "merge"}
        if unknown:
            raise InputError(f"Legend file {path} has the unknown key '{sorted(unknown)[0]}': use drop and [merge].")
        drop, merge = data.get("drop", []), data.get("merge", {})
        lists = [drop, *merge.values()] if isinstance(merge, dict) else [None]
        if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
            raise InputError(
                f"Legend file {path} is not understood: write drop = [names], and under [merge] NEW = [names]."
            )
        return cls(tuple(drop), {name: tuple(parts) for name, parts in merge.items()})

    def apply(self, legend: Legend) -> tuple[Legend, NDArray[np.uint8]]:
        """Return the edited legend and a look-up table from old ids to new ids.

        Dropped phases become ``unclassified``; merged ones take the id of the first part and the new name.

        Raises
        ------
        UnknownNameError : a phase that the legend lacks.
        InputError : a phase is named twice, or a merge lists none or takes the name of another phase.
        """
        named = [*self.drop, *(part for parts in self.merge.values() for part in parts)]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"Legend edit names '{twice}' twice: drop a phase, or merge it once.")
        table = np.arange(max(legend.ids) + 1, dtype=np.uint8)
        gone: set[str] = set()
        renamed: dict[str, str] = {}
        for name in self.drop:
            table[legend[name].id] = legend[UNCLASSIFIED].id
            gone.add(name)
        for new_name, parts in self.merge.items():
            if not parts:
                raise InputError(f"Legend merge '{new_name}' lists no phases: name at least one.")
            first = legend[parts[0]]
            for part in parts:
                table[legend[part].id] = first.id
            gone.update(parts[1:])
            renamed[first.name] = new_name
        kept = [label for label in legend.labels if label.name not in gone]
        labels = tuple(replace(label, name=renamed.get(label.name, label.name)) for label in kept)
        return Legend(legend.layer, labels), table
