"""A random forest grown from scribbles: a label image in which a few pixels of each class are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.clusters.classes import MOST_CLASSES, Features, bands, by_pixels, select_channels
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.section import ArrayPlane, Plane, Section, Stack

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

UNLABELLED = (0, 255)
#: Widths of the Gaussians (px) that smooth the features: the map itself, and two scales.
SIGMAS_PX = (0.0, 1.0, 3.0)
_TREES = 100
_LEAST_LEAF_PX = 2
_MOST_PER_CLASS = 5000
_FEWEST_PER_CLASS = 5
_MOST_NAMED = 5


@dataclass(frozen=True)
class Forest:
    """A grown forest; `names` are those of its classes in the order of the values drawn."""

    names: tuple[str, ...]
    description: str
    notes: tuple[str, ...]
    features: Features
    forest: RandomForestClassifier

    def draw(self, window: Window) -> NDArray[np.uint8]:
        """Return the class of each pixel (H, W) of a window: 1 + index of its name."""
        return by_pixels(self.features.read(window), self._predict, chunk_px=50_000)

    def _predict(self, values: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(self.forest.predict_proba(values).argmax(axis=1))


def grow_forest(
    source: Section | Stack,
    scribbles: NDArray[np.integer[Any]] | Plane,
    *,
    meaning: Mapping[int, str] | None = None,
    unlabelled: Sequence[int] = UNLABELLED,
    seed: int = 1,
) -> Forest:
    """Grow a random forest (Breiman, 2001, doi:10.1023/A:1010933404324) on the drawn pixels.

    Its features are the channels (counts as square roots) and their Gaussian means at 1 and 3 px. Classes weigh alike,
    however many pixels of each are drawn; at most 5000 of a class are used.

    Parameters
    ----------
    scribbles : (H, W) integers on the grid of the maps, or an open label image, which is read band by band; what lies
        outside the mask is not used.
    meaning : names of the values; None: ``class 1``, ``class 2``, ...
    unlabelled : values that are no label.
    seed : the same seed gives the same forest.

    Raises
    ------
    ShapeMismatchError : scribbles of another shape.
    InputError : fewer than two classes, fewer than 5 pixels of one, or values and names that do not go together.
    """
    stack = select_channels(source)
    plane = ArrayPlane(scribbles) if isinstance(scribbles, np.ndarray) else scribbles
    if tuple(scribbles.shape) != stack.shape:
        raise ShapeMismatchError(
            f"The scribbles are {scribbles.shape[0]} x {scribbles.shape[1]} (rows x cols) and the maps are "
            f"{stack.shape[0]} x {stack.shape[1]}: draw them on the grid of the maps."
        )
    drawn = _Drawn(plane, stack.section, tuple(unlabelled))
    counts = drawn.counts()
    names = _names(tuple(counts), meaning)
    features = Features(stack, SIGMAS_PX)
    table, classes = _table(features, drawn, _choose(counts, np.random.default_rng(seed)))
    forest = _grow(table, classes, seed)
    oob = 100 * float(np.mean(forest.oob_decision_function_.argmax(axis=1) == classes))
    note = (
        f"The forest names {oob:.0f} % of its {len(classes)} drawn pixels as drawn, each by trees that did not see it; "
        "their neighbours were seen, so expect less elsewhere."
    )
    return Forest(names, f"random forest from scribbles, {len(names)} classes", (note,), features, forest)


@dataclass(frozen=True)
class _Drawn:
    """Scribbles of a section, read band by band; values below 0 and those of `unlabelled` are no label."""

    plane: Plane
    section: Section
    unlabelled: tuple[int, ...]

    def read(self, window: Window) -> NDArray[np.integer[Any]]:
        """Return the flat values of a window, an unlabelled one (-1) where nothing is drawn inside the mask."""
        values = self.plane.read(window)
        values = values.astype(np.promote_types(values.dtype, np.int8))
        values[np.isin(values, self.unlabelled) | ~self.section.read_mask(window)] = -1
        return np.asarray(values.ravel())

    def counts(self) -> dict[int, int]:
        """Return how many pixels are drawn of each value, in the order of the values, after a check."""
        found: Counter[int] = Counter()
        for window in bands(self.plane.shape):
            values, counts = np.unique(self.read(window), return_counts=True)
            found.update(dict(zip(map(int, values), map(int, counts), strict=True)))
        drawn = {value: found[value] for value in sorted(found) if value >= 0}
        if not 2 <= len(drawn) <= MOST_CLASSES:
            raise InputError(
                f"The scribbles hold {len(drawn)} classes inside the mask: draw 2 to {MOST_CLASSES} "
                f"(0 and 255 are unlabelled{self._negative()})."
            )
        rare = min(drawn, key=lambda value: drawn[value])
        if drawn[rare] < _FEWEST_PER_CLASS:
            raise InputError(
                f"Class {rare} of the scribbles has {drawn[rare]} px: draw at least {_FEWEST_PER_CLASS} of each."
            )
        return drawn

    def _negative(self) -> str:
        """Name the negative values that are drawn, for a message."""
        if self.plane.dtype.kind != "i":
            return ""
        below: set[int] = set()
        for window in bands(self.plane.shape):
            values = self.plane.read(window)
            below.update(map(int, np.unique(values[(values < 0) & self.section.read_mask(window)])))
        if not below:
            return ""
        named = ", ".join(map(str, sorted(below)[:_MOST_NAMED])) + (", ..." if len(below) > _MOST_NAMED else "")
        return f", and so are negative values, of which there are {named}: draw with 1 to 254"


def _names(values: Sequence[int], meaning: Mapping[int, str] | None) -> tuple[str, ...]:
    if not meaning:
        return tuple(f"class {value}" for value in values)
    for value in values:
        if value not in meaning:
            raise InputError(f"The scribbles hold the value {value} without a name: add --class {value}=NAME.")
    absent = sorted(set(meaning) - set(values))
    if absent:
        have = ", ".join(map(str, values))
        raise InputError(f"--class {absent[0]}={meaning[absent[0]]} is not drawn: the scribbles hold {have}.")
    names = tuple(meaning[value] for value in values)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"Two values of the scribbles are called '{twice}': draw a class with one value.")
    return names


def _choose(counts: Mapping[int, int], rng: np.random.Generator) -> dict[int, NDArray[np.int64]]:
    """Return which pixels of each value are used, as sorted ranks among those of the value in reading order."""
    return {
        value: np.arange(count)
        if count <= _MOST_PER_CLASS
        else np.sort(rng.choice(count, _MOST_PER_CLASS, replace=False))
        for value, count in counts.items()
    }


def _table(
    features: Features, drawn: _Drawn, chosen: Mapping[int, NDArray[np.int64]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the features (N, F) and class indices (N,) of the chosen pixels, band by band."""
    parts, classes = [], []
    before = dict.fromkeys(chosen, 0)
    for window in bands(drawn.plane.shape):
        values = drawn.read(window)
        index = np.full(values.shape, -1, np.int8)
        for number, (value, ranks) in enumerate(chosen.items()):
            places = np.flatnonzero(values == value)
            low, high = np.searchsorted(ranks, (before[value], before[value] + places.size))
            index[places[ranks[low:high] - before[value]]] = number
            before[value] += places.size
        use = index >= 0
        if use.any():
            parts.append(features.read(window).reshape(-1, use.size)[:, use].T)
            classes.append(index[use].astype(np.int64))
    return np.concatenate(parts), np.concatenate(classes)


def _grow(table: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> RandomForestClassifier:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=_LEAST_LEAF_PX, class_weight="balanced", oob_score=True, random_state=seed
    )
    return forest.fit(table, classes)
