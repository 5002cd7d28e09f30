"""How sharply chondrules stand against their surroundings: minerals on both sides of their outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.classify.groups import known_property
from meteoseg.estimation.bootstrap import bootstrapped
from meteoseg.grid import row_bands
from meteoseg.legend import NO_MINERALS, Legend
from meteoseg.section import Plane

DELINEATION_CSV = "delineation.csv"
COLUMNS = ("contrast", "standard_error", "ci_low", "ci_high", "width_um", "inside_mm2", "outside_mm2", "n_chondrules")
#: Minerals are compared within this distance from the outlines, but of two pixels at least.
WIDTH_UM, WIDTH_PX = 20.0, 2.0
#: What lies around chondrules, of the components: neither other objects nor nodules.
_AROUND = ("matrix", "rim")
_BLOCKS = 12
_BAND_PX = 2_000_000


@dataclass
class SidePhases:
    """Pixels of each phase just inside and just outside the outlines, by block of the section."""

    shape: tuple[int, int]
    n_phases: int
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((2, _BLOCKS**2, self.n_phases), np.int64)

    def add(
        self, row: int, phase: NDArray[np.integer[Any]], sides: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    ) -> None:
        """Take in rows from `row` on: index of the phase (h, W), and which pixels are inside and outside."""
        for counts, mask in zip(self.counts, sides, strict=True):
            rows, cols = np.nonzero(mask)
            block = (rows + row) * _BLOCKS // self.shape[0] * _BLOCKS + cols * _BLOCKS // self.shape[1]
            cell = block * self.n_phases + phase[rows, cols]
            counts += np.bincount(cell, minlength=counts.size).reshape(counts.shape)

    def contrast(self) -> tuple[float, float, float, float]:
        """Return the contrast, its standard error and the ends of its 95 % interval, by a bootstrap over blocks."""
        filled = self.counts[:, (self.counts.sum(axis=2) > 0).all(axis=0)]
        if filled.shape[1] < 2:
            return (np.nan,) * 4
        value = float(_distance(self.counts.sum(axis=1)[None])[0])
        return bootstrapped(value, filled.swapaxes(0, 1), _distance)


def _distance(counts: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return half the sum of differences of the shares of phases of two sides, (N, 2, K) to (N,)."""
    shares = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)
    return np.asarray(0.5 * np.abs(shares[:, 0] - shares[:, 1]).sum(axis=1))


def delineation_table(
    objects: NDArray[Any],
    planes: Mapping[str, Plane],
    legends: Mapping[str, Legend],
    pixel_size_um: tuple[float, float],
) -> pd.DataFrame:
    """Compare the phases just inside and just outside the outlines of chondrules, row band by row band.

    The contrast is the share of the minerals, 0 to 1, by which the two sides differ (total variation distance): 1 where
    they have none in common. Opaque minerals, holes and unclassified pixels are left out; what counts as surroundings
    is matrix and rim.

    Parameters
    ----------
    objects : (H, W) ids. planes, legends : label images by layer, ``phases`` and ``components``.

    Returns
    -------
    One row, columns `COLUMNS`; numbers are empty where there is no outline with surroundings.
    """
    legend = legends["phases"]
    around = [legends["components"][name].id for name in _AROUND if name in legends["components"]]
    kept = [label.id for label in legend.labels if label.name not in _left_out()]
    index_of = np.zeros(max(legend.ids) + 1, np.intp)
    index_of[kept] = np.arange(len(kept))
    width_um = max(WIDTH_UM, WIDTH_PX * max(pixel_size_um))
    halo = int(np.ceil(width_um / min(pixel_size_um))) + 2
    sides = SidePhases(planes["phases"].shape, len(kept))
    numbers: set[int] = set()
    for window in row_bands(sides.shape, _BAND_PX):
        outer = window.padded(halo, sides.shape)
        is_object = np.asarray(objects[outer.slices]) > 0
        numbers.update(np.unique(objects[window.slices]).tolist())
        within = window.within(outer)
        phase, component = planes["phases"].read(window), planes["components"].read(window)
        counts = np.isin(phase, kept)
        inside = counts & (_near(is_object, width_um, pixel_size_um)[within] & is_object[within])
        outside = counts & (_near(~is_object, width_um, pixel_size_um)[within] & np.isin(component, around))
        sides.add(window.row, index_of[np.minimum(phase, len(index_of) - 1)], (inside, outside))
    areas = sides.counts.sum(axis=(1, 2)) * pixel_size_um[0] * pixel_size_um[1] / 1e6
    row = (*sides.contrast(), width_um, *areas, len(numbers - {0}))
    return pd.DataFrame([row], columns=list(COLUMNS))


def _left_out() -> set[str]:
    opaque = {*known_property("metal").parts, *known_property("sulfide").parts}
    return {*opaque, *NO_MINERALS}


def _near(area: NDArray[np.bool_], width_um: float, pixel_size_um: tuple[float, float]) -> NDArray[np.bool_]:
    """Mark the pixels of `area` within `width_um` of a pixel that is none of it."""
    if pixel_size_um[0] != pixel_size_um[1]:
        return np.asarray(ndimage.distance_transform_edt(area, sampling=pixel_size_um) <= width_um) & area
    if area.all():
        return np.zeros_like(area)
    distance = cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance * pixel_size_um[0] <= width_um + 1e-3) & area
