"""A stratified random sample of the pixels of a label image, drawn in two passes over its row bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.estimation.pointfiles import KEY_COLUMNS, POINTS_COLUMNS, STRATA_COLUMNS
from meteoseg.estimation.reference import FEWEST_PER_CLASS
from meteoseg.grid import row_bands
from meteoseg.legend import OUTSIDE, Legend
from meteoseg.section import Plane


@dataclass(frozen=True)
class DrawnPoints:
    """Points to label, what the map calls each, and the areas they were drawn from; columns as in the files."""

    points: pd.DataFrame
    key: pd.DataFrame
    strata: pd.DataFrame


def share_out(area_px: Mapping[str, int], n: int, least: int) -> dict[str, int]:
    """Return how many points each class gets: `least`, and the rest of the `n` by area.

    Raises
    ------
    InputError : `n` is too small for all classes.

    Examples
    --------
    >>> share_out({"olivine": 900, "spinel": 100, "rutile": 3}, 50, 5)
    {'olivine': 38, 'spinel': 9, 'rutile': 3}
    """
    classes = {name: area for name, area in area_px.items() if area >= FEWEST_PER_CLASS}
    if not classes:
        raise InputError("The map has no class to draw points from: it is all outside.")
    fewest = FEWEST_PER_CLASS * len(classes)
    if n < fewest:
        raise InputError(f"{n} points are too few for {len(classes)} classes: ask for {fewest} or more with -n.")
    least = max(FEWEST_PER_CLASS, min(least, n // len(classes)))
    drawn = {name: min(least, area) for name, area in classes.items()}
    rest, total = n - sum(drawn.values()), sum(classes.values())
    quota = {name: rest * area / total for name, area in classes.items()}
    shares = {name: min(area, drawn[name] + int(quota[name])) for name, area in classes.items()}
    # What rounding down leaves over goes to the largest remainders.
    spare = sorted(
        (name for name in classes if shares[name] < classes[name]), key=lambda name: int(quota[name]) - quota[name]
    )
    for name in spare[: max(0, n - sum(shares.values()))]:
        shares[name] += 1
    return shares


def draw_points(
    plane: Plane, legend: Legend, pixel_size_um: tuple[float, float], *, n: int, least: int, seed: int
) -> DrawnPoints:
    """Draw about `n` points, `least` or more of every class of the map but ``outside``, in random order.

    Classes of a single pixel have no points. The order tells nothing of the class: labelling is blind.

    Raises
    ------
    InputError : `n` is too small for all classes.
    """
    area_px = {legend.name_of(label_id): count for label_id, count in _areas(plane).items()}
    area_px.pop(OUTSIDE, None)
    wanted = share_out(area_px, n, least)
    rng = np.random.default_rng(seed)
    ranks = {name: np.sort(rng.choice(area_px[name], count, replace=False)) for name, count in wanted.items()}
    places = _places(plane, {legend[name].id: rank for name, rank in ranks.items()})
    rows = [(legend.name_of(label_id), int(row), int(col)) for label_id, found in places.items() for row, col in found]
    order = rng.permutation(len(rows))
    dy_um, dx_um = pixel_size_um
    listed, key = [], []
    for number, index in enumerate(order, start=1):
        name, row, col = rows[index]
        where = (number, legend.layer, row, col)
        listed.append((*where, round((row + 0.5) * dy_um, 3), round((col + 0.5) * dx_um, 3), ""))
        key.append((*where, name))
    strata = [(legend.layer, name, area_px[name], wanted[name]) for name in wanted]
    return DrawnPoints(
        pd.DataFrame(listed, columns=list(POINTS_COLUMNS)),
        pd.DataFrame(key, columns=list(KEY_COLUMNS)),
        pd.DataFrame(strata, columns=list(STRATA_COLUMNS)),
    )


def _areas(plane: Plane) -> dict[int, int]:
    """Return the pixels of each label."""
    total = np.zeros(256, np.int64)
    for window in row_bands(plane.shape):
        total += np.bincount(np.asarray(plane.read(window)).ravel(), minlength=256)
    return {int(label_id): int(total[label_id]) for label_id in np.flatnonzero(total)}


def _places(plane: Plane, ranks: Mapping[int, NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
    """Return (row, col) of the pixels of each label with the given ranks in reading order."""
    before = dict.fromkeys(ranks, 0)
    found: dict[int, list[NDArray[np.int64]]] = {label_id: [] for label_id in ranks}
    for window in row_bands(plane.shape):
        band = np.asarray(plane.read(window)).ravel()
        for label_id, rank in ranks.items():
            here = np.flatnonzero(band == label_id)
            start = before[label_id]
            mine = rank[(rank >= start) & (rank < start + len(here))] - start
            place = here[mine]
            found[label_id].append(np.column_stack([place // window.width + window.row, place % window.width]))
            before[label_id] += len(here)
    return {label_id: np.concatenate(parts) for label_id, parts in found.items()}
