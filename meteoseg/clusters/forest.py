"""A random forest grown from scribbles: a label image in which a few pixels of each class are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.clusters.classes import MOST_CLASSES, Features, bands, by_pixels, select_channels
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.section import Section, Stack

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

UNLABELLED = (0, 255)
#: Widths of the Gaussians (px) that smooth the features: the map itself, and two scales.
SIGMAS_PX = (0.0, 1.0, 3.0)
_TREES = 100
_LEAST_LEAF_PX = 2
_MOST_PER_CLASS = 5000
_FEWEST_PER_CLASS = 5


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
    scribbles: NDArray[np.integer[Any]],
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
    scribbles : (H, W) integers on the grid of the maps; what lies outside the mask is not used.
    meaning : names of the values; None: ``class 1``, ``class 2``, ...
    unlabelled : values that are no label.
    seed : the same seed gives the same forest.

    Raises
    ------
    ShapeMismatchError : scribbles of another shape.
    InputError : fewer than two classes, fewer than 5 pixels of one, or values and names that do not go together.
    """
    stack = select_channels(source)
    if scribbles.shape != stack.shape:
        raise ShapeMismatchError(
            f"The scribbles are {scribbles.shape[0]} x {scribbles.shape[1]} (rows x cols) and the maps are "
            f"{stack.shape[0]} x {stack.shape[1]}: draw them on the grid of the maps."
        )
    drawn = np.where(np.isin(scribbles, unlabelled) | ~stack.section.read_mask(), -1, scribbles.astype(np.int64))
    values = _values(drawn)
    names = _names(values, meaning)
    chosen = _choose(drawn, values, np.random.default_rng(seed))
    features = Features(stack, SIGMAS_PX)
    table, classes = _table(features, chosen)
    forest = _grow(table, classes, seed)
    oob = 100 * float(np.mean(forest.oob_decision_function_.argmax(axis=1) == classes))
    note = (
        f"The forest names {oob:.0f} % of its {len(classes)} drawn pixels as drawn, each by trees that did not see it; "
        "their neighbours were seen, so expect less elsewhere."
    )
    return Forest(names, f"random forest from scribbles, {len(names)} classes", (note,), features, forest)


def _values(drawn: NDArray[np.int64]) -> list[int]:
    """Return the label values that are drawn, after checking how often."""
    found, counts = np.unique(drawn[drawn >= 0], return_counts=True)
    if not 2 <= found.size <= MOST_CLASSES:
        raise InputError(
            f"The scribbles hold {found.size} classes inside the mask: draw 2 to {MOST_CLASSES} "
            "(0 and 255 are unlabelled)."
        )
    rare = int(counts.argmin())
    if counts[rare] < _FEWEST_PER_CLASS:
        raise InputError(
            f"Class {found[rare]} of the scribbles has {counts[rare]} px: draw at least {_FEWEST_PER_CLASS} of each."
        )
    return [int(value) for value in found]


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


def _choose(drawn: NDArray[np.int64], values: Sequence[int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an image of class indices, -1 where a pixel is not used; at most `_MOST_PER_CLASS` of each."""
    chosen = np.full(drawn.size, -1, np.int64)
    for index, value in enumerate(values):
        places = np.flatnonzero(drawn == value)
        taken = places if places.size <= _MOST_PER_CLASS else rng.choice(places, _MOST_PER_CLASS, replace=False)
        chosen[taken] = index
    return chosen.reshape(drawn.shape)


def _table(features: Features, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the features (N, F) and classes (N,) of the chosen pixels, band by band."""
    parts, classes = [], []
    for window in bands(chosen.shape):
        use = chosen[window.slices] >= 0
        if use.any():
            parts.append(features.read(window)[:, use].T)
            classes.append(chosen[window.slices][use])
    return np.concatenate(parts), np.concatenate(classes)


def _grow(table: NDArray[np.float32], classes: NDArray[np.int64], seed: int) -> RandomForestClassifier:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=_LEAST_LEAF_PX, class_weight="balanced", oob_score=True, random_state=seed
    )
    return forest.fit(table, classes)
