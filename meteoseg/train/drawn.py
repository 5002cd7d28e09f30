"""Labels that a person drew on a section: scribbles or regions of named classes, or outlined objects."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, ShapeMismatchError, UnknownNameError
from meteoseg.io import read_labels
from meteoseg.legend import OUTSIDE, default_legend
from meteoseg.section import Section
from meteoseg.train.targets import IGNORE, UNKNOWN_OBJECT

LabelArray = NDArray[np.integer[Any]]

#: What labels may show: classes of a layer, or objects with an id each.
KINDS = ("components", "phases", "objects")
#: Stands for a class that is to take no part.
IGNORED = "ignore"
#: Label values without a meaning, unless one is given: what was not painted on.
UNLABELLED_VALUES = (0, 255)
_MATRIX, _CHONDRULE = "matrix", "chondrule"
#: Kinds of chondrules.csv that are chondrules.
_CHONDRULE_KINDS = ("fragment", "al-rich")


@dataclass(frozen=True)
class Drawn:
    """Drawn labels on the section's own grid.

    Parameters
    ----------
    layer : ``components`` or ``phases``.
    classes : (H, W) uint8 ids of the shipped legend, 255 = unlabelled.
    objects : (H, W) object ids, 0 = none; None where no objects were drawn.
    components_of : component of each object (``ignore``: it takes no part).
    notes : what a person should know about how the labels were read.
    """

    layer: str
    classes: NDArray[np.uint8]
    objects: LabelArray | None = None
    components_of: Mapping[int, str] | None = None
    notes: tuple[str, ...] = ()

    def ids_of(self, *components: str) -> list[int]:
        """Return the ids of the objects of these components."""
        return [number for number, name in (self.components_of or {}).items() if name in components]

    @property
    def uncounted_ids(self) -> list[int]:
        """Objects that are no chondrules: they count neither way when chondrules are matched."""
        return [number for number, name in (self.components_of or {}).items() if name != _CHONDRULE]

    def names(self) -> tuple[str, ...]:
        """Return the classes that occur."""
        legend = default_legend(self.layer)
        return tuple(legend.name_of(int(value)) for value in np.unique(self.classes) if value != IGNORE)

    def truth(self, *, without: Collection[int] = ()) -> dict[str, NDArray[Any]]:
        """Return the labels as `meteoseg.train.dataset.make_example` takes them; objects `without` are unknown.

        Scribbles say nothing about distances to an outline; outlined objects do.
        """
        if self.objects is None:
            return {self.layer: self.classes}
        left_out = np.isin(self.objects, list(without))
        classes = np.where(left_out, IGNORE, self.classes)
        chondrules = np.where(np.isin(self.objects, self.ids_of(_CHONDRULE)), self.objects.astype(np.int64), 0)
        unknown = left_out | (self.classes == IGNORE)
        return {self.layer: classes, "distance": np.where(unknown, UNKNOWN_OBJECT, chondrules)}


def read_drawn(
    labels: str | Path | LabelArray,
    section: Section,
    *,
    kind: str = "components",
    classes: Mapping[Any, str] | None = None,
    kinds: Mapping[int, str] | None = None,
    unlabelled: Sequence[int] | None = None,
) -> Drawn:
    """Read drawn labels as exported by ilastik, napari or QuPath.

    Parameters
    ----------
    labels : (H, W) integers on the grid of the maps, or their file.
    kind : ``components`` or ``phases``: a value stands for a class; ``objects``: one id per outlined object,
        0 = matrix between them (outside, where the section mask says so).
    classes : value -> class name (``ignore`` for none). With objects: a kind of `kinds` -> component.
    kinds : object id -> its kind. Without it all objects are chondrules.
    unlabelled : values without a label; for classes 0 and 255, unless `classes` names them; for objects none.

    Raises
    ------
    UnknownNameError : an unknown kind or class name.
    ShapeMismatchError : labels of another shape than the maps.
    InputError : no labels, a single class, or values whose meaning is not given.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("kind of labels", kind, KINDS)
    image = read_labels(labels) if isinstance(labels, str | Path) else np.asarray(labels)
    _check_image(image, section)
    meaning = {str(key): name for key, name in (classes or {}).items()}
    if kind == "objects":
        return _objects(image, section, kinds, meaning, unlabelled or ())
    if kinds is not None:
        raise InputError(f"Kinds of objects were given, but the labels are {kind}: use --kind objects.")
    return _classes(image, kind, meaning, UNLABELLED_VALUES if unlabelled is None else unlabelled)


def _check_image(image: LabelArray, section: Section) -> None:
    if image.ndim != 2 or image.dtype.kind not in "bui":
        raise InputError(f"Labels must be whole numbers (rows, cols), got {image.dtype} of shape {image.shape}.")
    if image.shape != section.shape:
        raise ShapeMismatchError(
            f"The labels are {image.shape[0]} x {image.shape[1]} (rows x cols) but the maps of '{section.name}' are "
            f"{section.shape[0]} x {section.shape[1]}: export the labels at full size, on the grid of the maps."
        )
    if image.size and int(image.min()) < 0:
        raise InputError(f"The labels hold the value {image.min()}: labels are 0 or larger.")


def _classes(image: LabelArray, layer: str, meaning: Mapping[str, str], unlabelled: Sequence[int]) -> Drawn:
    """Translate the values of scribbles or regions into ids of the legend."""
    legend = default_legend(layer)
    values = [int(value) for value in np.unique(image)]
    blank = [value for value in unlabelled if str(value) not in meaning]
    drawn = [value for value in values if value not in blank]
    if not drawn:
        raise InputError(
            f"There are no labels: the image holds only {_listed(values)}, which stands for unlabelled. Paint some "
            "pixels, or say what a value means with --class VALUE=NAME."
        )
    unknown = [value for value in drawn if str(value) not in meaning]
    if unknown:
        raise InputError(
            f"What the label value {_listed(unknown)} means is not said: give --class {unknown[0]}=NAME for each, or "
            f"--legend FILE.csv. {layer.capitalize()}: {', '.join(legend.names)}, or {IGNORED}."
        )
    out = np.full(image.shape, IGNORE, np.uint8)
    for value in drawn:
        if meaning[str(value)] != IGNORED:
            out[image == value] = legend[meaning[str(value)]].id
    return _with_two_classes(Drawn(layer, out))


def _with_two_classes(drawn: Drawn) -> Drawn:
    names = drawn.names()
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "no class"
        raise InputError(
            f"The labels show {found}: label at least two classes, or the model learns to answer that one everywhere."
        )
    return drawn


def _objects(
    image: LabelArray,
    section: Section,
    kinds: Mapping[int, str] | None,
    meaning: Mapping[str, str],
    unlabelled: Sequence[int],
) -> Drawn:
    """Make components of outlined objects: what is in none is matrix, or outside by the section mask."""
    legend = default_legend("components")
    blank = np.isin(image, list(unlabelled))
    image = np.where(blank, 0, image)
    ids = [int(value) for value in np.unique(image) if value]
    components_of, notes = _components_of(ids, kinds, meaning)
    if _CHONDRULE not in components_of.values():
        raise InputError(f"The labels hold {len(ids)} objects and none is a chondrule: outline some, or check --kinds.")
    classes = np.where(section.read_mask(), legend[_MATRIX].id, legend[OUTSIDE].id).astype(np.uint8)
    for name in set(components_of.values()):
        where = np.isin(image, [number for number in ids if components_of[number] == name])
        classes[where] = IGNORE if name == IGNORED else legend[name].id
    classes[blank] = IGNORE
    return Drawn("components", classes, image, components_of, notes)


def _components_of(
    ids: Sequence[int], kinds: Mapping[int, str] | None, meaning: Mapping[str, str]
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return the component of each object, and notes on kinds that are none."""
    if kinds is None:
        return dict.fromkeys(ids, _CHONDRULE), ()
    missing = [number for number in ids if number not in kinds]
    if missing:
        raise InputError(f"The table of kinds lacks the objects {_listed(missing)}: add a row for each.")
    of_kind = {kind: component_of_kind(kind, meaning) for kind in dict.fromkeys(kinds[number] for number in ids)}
    unknown = [kind for kind, name in of_kind.items() if name is None]
    notes = tuple(
        f"objects of kind '{kind}' take no part (say what they are with --class '{kind}=COMPONENT')" for kind in unknown
    )
    return {number: of_kind[kinds[number]] or IGNORED for number in ids}, notes


def component_of_kind(kind: str, meaning: Mapping[str, str] | None = None) -> str | None:
    """Return the component that a kind of object stands for; None where it names none.

    Examples
    --------
    >>> component_of_kind("chondrule or fragment"), component_of_kind("Metal-sulfide nodule")
    ('chondrule', 'metal-sulfide nodule')
    >>> component_of_kind("dark thing") is None, component_of_kind("dark thing", {"dark thing": "clast"})
    (True, 'clast')
    """
    legend = default_legend("components")
    if meaning and kind in meaning:
        return IGNORED if meaning[kind] == IGNORED else legend[meaning[kind]].name
    plain = kind.strip().lower()
    if plain == IGNORED:
        return IGNORED
    if plain in _CHONDRULE_KINDS:
        return _CHONDRULE
    return next((name for name in legend.names if name in plain and name != OUTSIDE), None)


def read_meaning(path: Path, layer: str) -> dict[str, str]:
    """Read what label values mean from a CSV: columns id (or value, or label), name and, where wanted, layer.

    Raises
    ------
    InputError : no such file, other columns, or no row for `layer`.
    """
    rows = _rows(path)
    key = next((name for name in ("id", "value", "label") if rows and name in rows[0]), None)
    if key is None or "name" not in rows[0]:
        raise InputError(f"{path} does not say what labels mean: it needs the columns id and name.")
    out = {row[key].strip(): row["name"].strip() for row in rows if row.get("layer", layer) in (layer, "")}
    if not out:
        raise InputError(f"{path} has no row of the layer {layer}: add some, or leave the column layer out.")
    return out


def read_kinds(path: Path) -> dict[int, str]:
    """Read the kinds of objects from a CSV: columns label (or id) and kind.

    Raises
    ------
    InputError : no such file, other columns, or a label that is no whole number.
    """
    rows = _rows(path)
    key = next((name for name in ("label", "id") if rows and name in rows[0]), None)
    if key is None or "kind" not in rows[0]:
        raise InputError(f"{path} does not say what the objects are: it needs the columns label and kind.")
    wrong = next((row[key] for row in rows if not row[key].strip().isdigit()), None)
    if wrong is not None:
        raise InputError(f"{path} has the label '{wrong}': labels are whole numbers.")
    return {int(row[key]): row["kind"].strip() for row in rows}


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            return [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(handle)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): give a CSV file.") from error


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
