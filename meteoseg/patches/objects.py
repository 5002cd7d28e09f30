"""Crops of the objects of a section: a square around each, brought to the size of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.channels import ABSENT, input_reader
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.io import open_section, read_labels
from meteoseg.objects import equivalent_diameter, iter_object_windows
from meteoseg.patches.card import CropPlan
from meteoseg.patches.dataset import PatchSet
from meteoseg.patches.images import DenseImages, Image
from meteoseg.resample import Read
from meteoseg.section import Section

#: Crops are read in strips of about this many pixels.
_STRIP_PX = 400_000
#: Gives the crop (C, H, W) of an index.
Crop = Callable[[int], Image]


def object_crops(
    section: Section, labels: NDArray[Any], plan: CropPlan, *, wanted: Sequence[int] | None = None
) -> tuple[NDArray[np.int64], Crop]:
    """Find the objects of a section that are large enough for a network, to be cropped one by one.

    Each crop is a square around the middle of the object's box, `plan.margin` larger on each side than its longer
    side, brought to `plan.patch_px` by area means or linear interpolation; beyond the map it is 0.

    Parameters
    ----------
    labels : (H, W) object ids, 0 = none, on the grid of the maps.
    wanted : ids to crop; default all.

    Returns
    -------
    Ids (N,), and the function that reads the crop of an index from the maps: (C, patch_px, patch_px), normalised with
    the quantiles of the whole section; absent canonical channels hold ``channels.ABSENT``.

    Raises
    ------
    ShapeMismatchError : labels of another size than the maps.
    ChannelError : the section lacks a channel.
    """
    if labels.shape != section.shape:
        raise ShapeMismatchError(
            f"The objects are {labels.shape[0]} x {labels.shape[1]} px (rows x cols) but the maps are "
            f"{section.shape[0]} x {section.shape[1]}: give both on one grid."
        )
    chosen = None if wanted is None else set(wanted)
    windows = [
        (number, window)
        for number, window in iter_object_windows(labels)
        if (chosen is None or number in chosen) and _is_large(labels, number, window, plan.min_diameter_px)
    ]
    read, _ = input_reader(section, () if plan.canonical else plan.channels)

    def crop(index: int) -> Image:
        number, window = windows[index]
        return _crop(read, labels, number, window, plan)

    return np.array([number for number, _ in windows], np.int64), crop


def _is_large(labels: NDArray[Any], number: int, window: Window, least_px: float) -> bool:
    area_px = int(np.count_nonzero(labels[window.slices] == number))
    return equivalent_diameter(area_px) >= least_px


def _crop(read: Read, labels: NDArray[Any], number: int, window: Window, plan: CropPlan) -> Image:
    side = int(np.ceil(max(window.height, window.width) * (1 + 2 * plan.margin)))
    # A large object is brought to twice the size of the input while it is read: in fine maps it fills the memory.
    factor = max(1, side // (2 * plan.patch_px))
    side = -(-side // factor) * factor
    row = window.row + window.height // 2 - side // 2
    col = window.col + window.width // 2 - side // 2
    height = factor * max(1, _STRIP_PX // (side * factor))
    strips = (Window(top, col, min(height, row + side - top), side) for top in range(row, row + side, height))
    square = np.concatenate([_means(_strip(read, labels, number, strip, plan), factor) for strip in strips], axis=1)
    how = cv2.INTER_AREA if square.shape[1] > plan.patch_px else cv2.INTER_LINEAR
    size = (plan.patch_px, plan.patch_px)
    out = np.stack([np.asarray(cv2.resize(plane, size, interpolation=how), np.float32) for plane in square])
    first = np.asarray(read(Window(window.row, window.col, 1, 1)))[:, 0, 0]
    out[: len(first)][first == ABSENT] = ABSENT
    return out


def _strip(read: Read, labels: NDArray[Any], number: int, strip: Window, plan: CropPlan) -> NDArray[np.float32]:
    """Read the planes (C, h, w) of a strip; 0 beyond the map."""
    out = np.zeros((plan.n_planes, *strip.shape), np.float32)
    top, left = max(0, strip.row), max(0, strip.col)
    bottom, right = (min(end, size) for end, size in zip((strip.row_end, strip.col_end), labels.shape, strict=True))
    if top < bottom:
        inner = Window(top, left, bottom - top, right - left)
        place = out[:, top - strip.row : bottom - strip.row, left - strip.col : right - strip.col]
        own = labels[inner.slices] == number
        place[: len(plan.channels)] = read(inner)
        if plan.mask == "cut":
            place *= own
        elif plan.mask == "plane":
            place[-1] = own
    return out


def _means(planes: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return the means over squares of `factor` pixels on a side."""
    if factor == 1:
        return planes
    high, wide = (size // factor for size in planes.shape[1:])
    return np.asarray(planes.reshape(len(planes), high, factor, wide, factor).mean(axis=(2, 4)), np.float32)


def read_object_set(folders: Sequence[Path], plan: CropPlan, label: str) -> PatchSet:
    """Read the crops of training sections; a section is a group, ``<parent>/<folder>``, ids are ``<group>-<object>``.

    Raises
    ------
    InputError : a section without ``truth/chondrules.ome.tif`` or ``truth/chondrules.csv`` with that column, or no
        section has an object that is large enough.
    """
    crops: list[NDArray[np.float16]] = []
    texts: list[tuple[str, str, str]] = []
    for folder in folders:
        truth = _truth_labels(folder / "truth" / "chondrules.csv", label)
        path = folder / "truth" / "chondrules.ome.tif"
        if not path.is_file():
            raise InputError(f"{path} does not exist: it needs one integer id per object.")
        named = [number for number, name in truth.items() if name]
        numbers, crop = object_crops(open_section(folder), read_labels(path), plan, wanted=named)
        crops += [crop(index).astype(np.float16) for index in range(len(numbers))]
        group = f"{folder.parent.name}/{folder.name}"
        texts += [(truth[int(number)], group, f"{group}-{number}") for number in numbers]
    if not texts:
        raise InputError(
            f"No object of {len(folders)} sections has a {label} and is {plan.min_diameter_px:g} px across or more: "
            "lower [objects] min_diameter_px, or give finer maps."
        )
    labels, groups, ids = (np.array(column, np.str_) for column in zip(*texts, strict=True))
    planes = (*plan.channels, "object") if plan.mask == "plane" else plan.channels
    return PatchSet(DenseImages(np.stack(crops)), labels, groups, ids, planes)


def _truth_labels(path: Path, label: str) -> dict[int, str]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: it needs the columns id and {label}, a row per object.")
    table = pd.read_csv(path, dtype={label: str}, keep_default_na=False)
    for column in ("id", label):
        if column not in table:
            raise InputError(f"{path} has no column '{column}' (it has {', '.join(table.columns)}): add it.")
    return {int(number): str(name) for number, name in zip(table["id"], table[label], strict=True)}
