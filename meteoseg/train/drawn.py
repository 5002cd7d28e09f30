"""Labels that a person drew on a section: scribbles or regions of named classes, or outlined objects."""

from __future__ import annotations

import re
from collections import Counter
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
#: Words of kinds that stand for a component, beside the names of components that are one word.
_WORDS = {"nodule": "metal-sulfide nodule", "cai": "inclusion", "aoa": "inclusion"}
_NEGATIONS = {"not", "non", "no", "never", "without", "free"}


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
        blank = np.isin(image, list(unlabelled or ()))
        return _objects(np.where(blank, 0, image), blank, section, _components_of(image[~blank], kinds, meaning))
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
    _check_meaning(meaning, layer)
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
    absent = [f"{value}={name}" for value, name in meaning.items() if int(value) not in values]
    notes = (f"no pixel has the label {', '.join(absent)}",) if absent else ()
    drawn_classes = Drawn(layer, out, notes=notes)
    _check_two_classes(drawn_classes.names())
    return drawn_classes


def _check_meaning(meaning: Mapping[str, str], layer: str) -> None:
    """Check the values and names of all classes, whether they occur or not."""
    for value, name in meaning.items():
        if not value.isdecimal():
            raise InputError(f"'{value}={name}' is no class of labels: values are whole numbers, as in 1={name}.")
        if name != IGNORED:
            default_legend(layer)[name]


def _check_two_classes(names: Sequence[str]) -> None:
    """Check that labels teach a difference."""
    if len(names) < 2:
        found = f"only '{names[0]}'" if names else "no class"
        raise InputError(
            f"The labels show {found}: label at least two classes, or the model learns to answer that one everywhere."
        )


def _objects(
    image: LabelArray, blank: NDArray[np.bool_], section: Section, known: tuple[dict[int, str], tuple[str, ...]]
) -> Drawn:
    """Make components of outlined objects: what is in none is matrix, or outside by the section mask."""
    legend = default_legend("components")
    components_of, notes = known
    if _CHONDRULE not in components_of.values():
        raise InputError(
            f"The labels hold {len(components_of)} objects and none is a chondrule: outline some, or check --kinds."
        )
    classes = np.where(section.read_mask(), legend[_MATRIX].id, legend[OUTSIDE].id).astype(np.uint8)
    for name in set(components_of.values()):
        where = np.isin(image, [number for number, own in components_of.items() if own == name])
        classes[where] = IGNORE if name == IGNORED else legend[name].id
    classes[blank] = IGNORE
    return Drawn("components", classes, image, components_of, notes)


def _components_of(
    values: LabelArray, kinds: Mapping[int, str] | None, meaning: Mapping[str, str]
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return the component of each object in `values` (0 = none), and notes that say how kinds were understood."""
    ids = [int(value) for value in np.unique(values) if value]
    if kinds is None:
        if meaning:
            raise InputError(
                f"What '{next(iter(meaning))}' means was given, but the numbers of objects are no classes: give the "
                "kinds of the objects with --kinds objects.csv, or use --kind components for painted classes."
            )
        return dict.fromkeys(ids, _CHONDRULE), (f"all {len(ids)} objects are taken for chondrules (no --kinds)",)
    missing = [number for number in ids if number not in kinds]
    if missing:
        raise InputError(f"The table of kinds lacks the objects {_listed(missing)}: add a row for each.")
    for kind in meaning:
        if kind not in kinds.values():
            raise UnknownNameError.of("kind of object", kind, set(kinds.values()))
    counts = Counter(kinds[number] for number in ids)
    of_kind = {kind: component_of_kind(kind, meaning) for kind in {**counts, **dict.fromkeys(meaning)}}
    notes = [f"objects of kind '{kind}' ({counts[kind]}): {_understood(kind, of_kind[kind])}" for kind in counts]
    return {number: of_kind[kinds[number]] or IGNORED for number in ids}, tuple(notes)


def _understood(kind: str, component: str | None) -> str:
    if component is None:
        return f"take no part (say what they are with --class '{kind}=COMPONENT')"
    return "take no part" if component == IGNORED else component


def component_of_kind(kind: str, meaning: Mapping[str, str] | None = None) -> str | None:
    """Return the component that a kind of object stands for by one of its words; None where it names none.

    Raises
    ------
    InputError : it names several components, or says what the object is not.
    UnknownNameError : `meaning` gives it a name that is no component.

    Examples
    --------
    >>> component_of_kind("chondrule or fragment"), component_of_kind("Metal-sulfide nodule")
    ('chondrule', 'metal-sulfide nodule')
    >>> component_of_kind("primitive clast"), component_of_kind("CAIs")
    ('clast', 'inclusion')
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
    known = {name: name for name in legend.names if name.isalpha() and name != OUTSIDE} | _WORDS
    words = re.findall(r"[^\W\d_]+", plain)
    named = list(dict.fromkeys(known[one] for word in words for one in (word, word.removesuffix("s")) if one in known))
    negated = next((word for word in words if word in _NEGATIONS), None)
    if len(named) > 1 or (named and negated):
        what = f"names {' and '.join(named)}" if len(named) > 1 else f"says '{negated}' and {named[0]}"
        raise InputError(f"The kind '{kind}' {what}: say what it is with --class '{kind}=COMPONENT' (or ={IGNORED}).")
    return named[0] if named else None


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
