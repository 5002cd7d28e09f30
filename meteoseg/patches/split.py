"""Groups on one side of a split only: held out, or in turn for cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.patches.dataset import PatchSet


def class_indices(patches: PatchSet, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of each image (N,), -1 where the label is empty.

    Raises
    ------
    InputError : a label that is no class.
    """
    known = {name: index for index, name in enumerate(classes)} | {"": -1}
    for label, name in zip(patches.labels, patches.ids, strict=True):
        if str(label) not in known:
            raise InputError(
                f"Label '{label}' of image {name} is none of the classes {', '.join(classes)}: train with it among "
                "the classes, or leave the label empty."
            )
    return np.array([known[str(label)] for label in patches.labels], np.int64)


def assign_folds(classes: NDArray[np.int64], groups: NDArray[Any], n_folds: int, *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image (N,): every group in one fold, classes spread over the folds as evenly as it goes.

    Groups are dealt out, large ones first (equal ones in an order of chance), each to the fold that has least of its
    classes.

    Raises
    ------
    InputError : fewer groups than folds.

    Examples
    --------
    >>> groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    >>> folds = assign_folds(np.array([0, 1] * 4), groups, 2, seed=0)
    >>> bool((folds[::2] == folds[1::2]).all()), np.bincount(folds).tolist()
    (True, [4, 4])
    """
    names, of_image = np.unique(groups, return_inverse=True)
    if len(names) < n_folds:
        raise InputError(
            f"{len(names)} groups cannot be parted in {n_folds}: give more sections or events (column group), or name "
            "what is held out in [data] validation."
        )
    n_classes = int(classes.max(initial=0)) + 1
    counts = np.zeros((len(names), n_classes))
    np.add.at(counts, (of_image[classes >= 0], classes[classes >= 0]), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)
    rng = np.random.default_rng([seed, 23])
    order = np.lexsort((rng.random(len(names)), -counts.sum(axis=1)))
    held = np.zeros((n_folds, n_classes))
    sizes = np.zeros(n_folds)
    fold_of = np.empty(len(names), np.int64)
    for group in order:
        cost = ((held + share[group]) ** 2 - held**2).sum(axis=1)
        fold = int(np.lexsort((sizes, cost.round(12)))[0])
        fold_of[group] = fold
        held[fold] += share[group]
        sizes[fold] += counts[group].sum()
    return np.asarray(fold_of[of_image])


def split_by_group(
    classes: NDArray[np.int64], groups: NDArray[Any], share: float, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the images to train on and of those held out, about `share` of the groups.

    Groups are dealt into 1 / `share` folds, of which the first is held out.
    """
    folds = assign_folds(classes, groups, max(2, round(1 / share)), seed=seed)
    return np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)


def limit_per_class(classes: NDArray[np.int64], most: int, *, seed: int) -> NDArray[np.int64]:
    """Return the numbers of at most `most` images of each class, chosen by chance; 0 keeps all that have a class."""
    labelled = np.flatnonzero(classes >= 0)
    if not most:
        return labelled
    order = np.random.default_rng([seed, 31]).permutation(labelled)
    kept = [order[classes[order] == index][:most] for index in np.unique(classes[labelled])]
    return np.sort(np.concatenate(kept))


def check_trainable(classes: NDArray[np.int64], names: Sequence[str]) -> None:
    """Check that every class has an image to learn from.

    Raises
    ------
    InputError : one has none.
    """
    counts = np.bincount(classes[classes >= 0], minlength=len(names))
    for name, count in zip(names, counts, strict=True):
        if not count:
            raise InputError(
                f"Class '{name}' has no image to train on: add some (in two groups at least, where groups are held "
                "out), or take it out of classes."
            )


def check_apart(train: PatchSet, held_out: PatchSet) -> None:
    """Check that no group is on both sides.

    Raises
    ------
    InputError : one is.
    """
    both = sorted({str(name) for name in train.groups} & {str(name) for name in held_out.groups})
    if both:
        raise InputError(f"Group '{both[0]}' is both trained on and held out: take it out of one of them in [data].")


def check_copies(parts: Sequence[PatchSet]) -> None:
    """Check that no image is in two groups, one of which might be held out; images of nothing but 0 do not count.

    Raises
    ------
    InputError : one is.
    """
    seen: dict[bytes, tuple[str, str]] = {}
    for part in parts:
        for index, (group, name) in enumerate(zip(part.groups, part.ids, strict=True)):
            digest = part.images.digest(index)
            first = seen.setdefault(digest, (str(group), str(name))) if digest else ("", "")
            if digest and first[0] != str(group):
                raise InputError(
                    f"Image {name} of group '{group}' is a copy of {first[1]} of group '{first[0]}', and one may be "
                    "trained on while the other is held out: leave one out, or give both one group."
                )
