"""The fine-grained rim around each chondrule: its area and mean thickness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.grid import Window, row_bands
from meteoseg.objects import iter_object_windows
from meteoseg.section import Plane

LabelArray = NDArray[np.integer[Any]]

#: Columns of ``chondrules.csv`` that `rim_columns` gives.
RIM_COLUMNS = ("rim_area_um2", "rim_thickness_um")
#: A rim is sought this far from the object: in half diameters, and at least in pixels.
_REACH_RADII, _REACH_PX = 1.0, 8
#: A window around an object with more pixels is thinned.
_MOST_PX = 4_000_000
_EIGHT = np.ones((3, 3), bool)


def rim_columns(
    objects: LabelArray, components: Plane, rim_id: int, pixel_size_um: tuple[float, float]
) -> pd.DataFrame:
    """Measure the rim of each object: area, and thickness of an even ring of that area around a disc like the object.

    A rim pixel belongs to the nearest object, if it hangs together with it through rim pixels within a radius of the
    object. Of an object that the edge cuts, the rim is cut too.

    Parameters
    ----------
    objects : (H, W) object ids; components : plane (H, W) of labels, `rim_id` that of rims.

    Returns
    -------
    Columns id and `RIM_COLUMNS`, by rising id; empty values where no rim was outlined in the whole section, since then
    nobody knows whether rims were looked for.
    """
    windows = list(iter_object_windows(objects))
    if not windows or not _has_label(components, rim_id):
        return pd.DataFrame({"id": [number for number, _ in windows]} | dict.fromkeys(RIM_COLUMNS, np.nan))
    rows = []
    for number, window in windows:
        area_px, rim_px = _rim_px(objects, components, rim_id, (number, window))
        area_um2, rim_um2 = (count * pixel_size_um[0] * pixel_size_um[1] for count in (area_px, rim_px))
        thickness_um = np.sqrt((area_um2 + rim_um2) / np.pi) - np.sqrt(area_um2 / np.pi)
        rows.append((number, float(rim_um2), float(thickness_um)))
    return pd.DataFrame(rows, columns=["id", *RIM_COLUMNS])


def _has_label(components: Plane, label: int) -> bool:
    return any(bool(np.any(components.read(window) == label)) for window in row_bands(components.shape))


def _rim_px(objects: LabelArray, components: Plane, rim_id: int, of: tuple[int, Window]) -> tuple[int, int]:
    """Return the pixels of an object and of its rim."""
    number, window = of
    reach_px = max(_REACH_PX, int(np.ceil(_REACH_RADII * max(window.shape) / 2)))
    # Twice the reach, so that the nearest object of every pixel within reach is in sight.
    outer = window.padded(2 * reach_px, components.shape)
    step = max(1, int(np.ceil(np.sqrt(outer.height * outer.width / _MOST_PX))))
    thin = (slice(None, None, step), slice(None, None, step))
    ids = np.asarray(objects[outer.slices])[thin]
    is_rim = np.asarray(components.read(outer))[thin] == rim_id
    own = ids == number
    area_px = int(np.count_nonzero(own))
    if not is_rim.any() or not area_px:
        return area_px * step**2, 0
    distance, nearest = ndimage.distance_transform_edt(ids == 0, return_indices=True)
    is_near = is_rim & (distance * step <= reach_px) & (ids[tuple(nearest)] == number)
    parts, _ = ndimage.label(is_near | own, _EIGHT)
    touching = np.unique(parts[own])
    return area_px * step**2, int(np.count_nonzero(is_near & np.isin(parts, touching))) * step**2
