"""Legends: the integer labels of phases and components with their names, colours and densities."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
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
MATRIX = "fine-grained matrix"
#: Classes of the layer phases that are no minerals: they are always there.
NO_MINERALS = (OUTSIDE, HOLE, UNCLASSIFIED)


_LARGEST_ID = 255


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

    def with_labels(self, added: Iterable[Label]) -> Legend:
        """Return the legend with more labels at its end; their ids are given anew, the next free ones.

        Raises
        ------
        InputError : a name that the legend has, or more than 255 ids.
        """
        labels = list(self.labels)
        for label in added:
            if label.name in {known.name for known in labels}:
                raise InputError(f"Phase '{label.name}' is in the legend already: give the new one another name.")
            labels.append(replace(label, id=max(known.id for known in labels) + 1))
        if labels[-1].id > _LARGEST_ID:
            raise InputError(f"The legend would have {labels[-1].id} ids: at most {_LARGEST_ID} fit in a label image.")
        return replace(self, labels=tuple(labels))

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
