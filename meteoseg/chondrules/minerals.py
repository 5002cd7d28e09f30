"""The minerals of each chondrule, counted by row bands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.classify.groups import known_property
from meteoseg.grid import row_bands
from meteoseg.legend import NO_MINERALS, Legend
from meteoseg.modes import APART, label_indices
from meteoseg.section import Plane

LabelArray = NDArray[np.integer[Any]]

#: Columns of ``phases_by_chondrule.csv``.
COLUMNS = ("id", "phase", "area_px", "area_um2", "pct_of_chondrule")
#: Columns of ``chondrules.csv`` that `mineral_columns` gives.
MINERAL_COLUMNS = ("dominant_mineral", "olivine_pct", "pyroxene_pct", "metal_pct", "sulfide_pct")
_PYROXENES = ("low-Ca pyroxene", "high-Ca pyroxene", "pyroxene")
_BAND_PX = 4_000_000


def count_phases(objects: LabelArray, phases: Plane, legend: Legend, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the phases of each object, row band by row band.

    Parameters
    ----------
    objects : (H, W) object ids, 0 = none; phases : plane (H, W) of labels of `legend`.
    ids : (N,) rising ids of the objects.

    Returns
    -------
    (N, P) pixels, phases in the order of the legend.

    Raises
    ------
    UnknownNameError : a label that the legend lacks.
    """
    counts = np.zeros((len(ids), len(legend.ids)), np.int64)
    for window in row_bands(objects.shape, _BAND_PX) if len(ids) else ():
        band = np.asarray(objects[window.slices])
        is_object = band > 0
        cells = np.searchsorted(ids, band[is_object]) * counts.shape[1]
        cells += label_indices(np.asarray(phases.read(window))[is_object], legend.ids)
        counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
    return counts


def phases_by_chondrule(
    counts: NDArray[np.int64], legend: Legend, ids: NDArray[np.int64], *, pixel_area_um2: float
) -> pd.DataFrame:
    """List the area of each phase in each object, one row per pair that occurs.

    Parameters
    ----------
    counts : (N, P) of `count_phases`.

    Returns
    -------
    Columns `COLUMNS`, objects by id, phases by falling area. `pct_of_chondrule` is of the solid area of the object and
    sums to 100; empty for ``hole`` and ``outside``.
    """
    names = np.array([legend.name_of(number) for number in legend.ids], object)
    solid = counts[:, ~np.isin(names, APART)].sum(axis=1)
    order = np.argsort(-counts, axis=1, kind="stable")
    rows, place = np.nonzero(np.take_along_axis(counts, order, axis=1))
    phase = order[rows, place]
    area_px = counts[rows, phase]
    is_apart = np.isin(names[phase], APART)
    pct = np.where(is_apart, np.nan, 100 * area_px / np.maximum(solid[rows], 1))
    values = (ids[rows], names[phase], area_px, area_px * pixel_area_um2, pct)
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def mineral_columns(counts: NDArray[np.int64], legend: Legend) -> pd.DataFrame:
    """Return the columns `MINERAL_COLUMNS` of objects, a row each.

    Percent are of the solid area of the object; what counts as metal and sulfide is what does in the group suggestion
    (``rules/properties.csv``). Empty where the legend has no such phase, or the object no solid pixel.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> legend = default_legend("phases")
    >>> counts = np.zeros((1, len(legend.ids)), int)
    >>> counts[0, [legend.ids.index(legend[name].id) for name in ("olivine", "kamacite")]] = 30, 10
    >>> mineral_columns(counts, legend)[["dominant_mineral", "olivine_pct", "metal_pct"]].values.tolist()
    [['olivine', 75.0, 25.0]]
    """
    names = [legend.name_of(number) for number in legend.ids]
    solid = counts[:, [name not in APART for name in names]].sum(axis=1)
    minerals = [index for index, name in enumerate(names) if name not in NO_MINERALS]
    own = counts[:, minerals]
    largest = np.array([names[index] for index in minerals], object)[np.argmax(own, axis=1)] if minerals else ""
    columns = {"dominant_mineral": np.where(own.any(axis=1), largest, "")}
    parts = {
        "olivine_pct": ("olivine",),
        "pyroxene_pct": _PYROXENES,
        "metal_pct": known_property("metal").parts,
        "sulfide_pct": known_property("sulfide").parts,
    }
    for column, phases in parts.items():
        columns[column] = _percent(counts, names, phases, solid)
    return pd.DataFrame(columns)


def _percent(
    counts: NDArray[np.int64], names: list[str], phases: Collection[str], solid: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = [index for index, name in enumerate(names) if name in phases]
    if not known:
        return np.full(len(counts), np.nan)
    share = 100 * counts[:, known].sum(axis=1) / np.maximum(solid, 1)
    return np.asarray(np.where(solid > 0, share, np.nan), float)
