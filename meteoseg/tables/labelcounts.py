"""Label images of a section counted band by band: modal and cross table, and how representative the area is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import ShapeMismatchError
from meteoseg.estimation.objectcount import ObjectAreas
from meteoseg.estimation.pointfiles import stored_points
from meteoseg.estimation.representative import mode_rows
from meteoseg.grid import Window
from meteoseg.legend import HOLE, LAYERS, OUTSIDE, Legend
from meteoseg.modes import (
    BlockCounts,
    JointCounts,
    LabelTrust,
    LayerSampling,
    cross_table,
    default_cell_px,
    modal_table,
)
from meteoseg.section import Plane

#: Components of which connected objects are counted: they are rare.
_COUNTED = ("inclusion", "clast", "metal-sulfide nodule")
_BAND_PX = 4_000_000


@dataclass(frozen=True)
class LabelLayers:
    """Label images of one section on one grid: planes and legends by layer, pixel size (dy, dx) in um."""

    planes: Mapping[str, Plane]
    legends: Mapping[str, Legend]
    pixel_size_um: tuple[float, float]

    def __post_init__(self) -> None:
        shapes = {layer: plane.shape for layer, plane in self.planes.items()}
        if len(set(shapes.values())) > 1:
            raise ShapeMismatchError(f"Label images differ in size (rows, cols): {shapes}. Edit them on one grid.")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return next(iter(self.planes.values())).shape


@dataclass(frozen=True)
class Counted:
    """What counting label images gives: modal and cross table, and how representative the area is."""

    modes: pd.DataFrame
    cross: pd.DataFrame | None
    representative: pd.DataFrame


def count_modes(labels: LabelLayers, roi: NDArray[np.bool_] | None = None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the modal table and, where there are phases and components, the cross table; see `count_labels`."""
    counted = count_labels(labels, roi)
    return counted.modes, counted.cross


def count_labels(
    labels: LabelLayers, roi: NDArray[np.bool_] | None = None, *, trust: Mapping[str, LabelTrust] | None = None
) -> Counted:
    """Count label images, band by band.

    Parameters
    ----------
    roi : (H, W); what is False counts as outside.
    trust : what is known of the classification error, by layer.

    Raises
    ------
    UnknownNameError : a label that the legend lacks.
    ShapeMismatchError : `roi` of another shape.
    """
    if roi is not None and roi.shape != labels.shape:
        raise ShapeMismatchError(
            f"The region of interest is {roi.shape[0]} x {roi.shape[1]} (rows x cols) but the labels are "
            f"{labels.shape[0]} x {labels.shape[1]}: draw it on the same grid."
        )
    layers = [layer for layer in LAYERS if layer in labels.planes]
    cell_px = default_cell_px(labels.shape)
    counts = {layer: BlockCounts(labels.legends[layer].ids, cell_px, labels.shape) for layer in layers}
    joint = JointCounts(*(labels.legends[layer].ids for layer in layers)) if len(layers) == len(LAYERS) else None
    counted = [name for name in _COUNTED if "components" in layers and name in labels.legends["components"]]
    objects = ObjectAreas([labels.legends["components"][name].id for name in counted])
    height = max(1, _BAND_PX // labels.shape[1])
    for row in range(0, labels.shape[0], height):
        window = Window(row, 0, min(height, labels.shape[0] - row), labels.shape[1])
        bands = {layer: labels.planes[layer].read(window) for layer in layers}
        if roi is not None:
            bands = {layer: np.where(roi[window.slices], band, 0) for layer, band in bands.items()}
        for layer, band in bands.items():
            counts[layer].add(row, band)
        if joint is not None:
            joint.add(bands["phases"], bands["components"])
        if counted:
            objects.add(bands["components"])
    areas = {name: objects.areas_px(label_id) for name, label_id in zip(counted, objects.ids, strict=True)}
    table, sampling = modal_table(counts, labels.legends, labels.pixel_size_um, trust=trust)
    representative = _representative(labels, table, sampling, areas)
    if joint is None:
        return Counted(table, None, representative)
    cross = cross_table(
        joint, labels.legends["phases"], labels.legends["components"], pixel_size_um=labels.pixel_size_um
    )
    return Counted(table, cross, representative)


def _representative(
    labels: LabelLayers,
    modes: pd.DataFrame,
    sampling: Mapping[str, LayerSampling],
    areas: Mapping[str, NDArray[np.int64]],
) -> pd.DataFrame:
    cell_um = default_cell_px(labels.shape) * float(np.sqrt(np.prod(labels.pixel_size_um)))
    solid = modes[~modes["name"].isin([HOLE, OUTSIDE])].groupby("layer")["area_um2"].sum() / 1e6
    parts = [
        mode_rows(
            layer,
            found.names,
            found.error,
            cell_um=cell_um,
            mapped_mm2=float(solid.get(layer, 0.0)),
            object_areas=areas if layer == "components" else {},
        )
        for layer, found in sampling.items()
    ]
    return pd.concat(parts, ignore_index=True)


def label_trust(
    folder: Path, legends: Mapping[str, Legend], certainty: Mapping[str, Mapping[str, Any]], shape: tuple[int, int]
) -> dict[str, LabelTrust]:
    """Return what is known of the classification error of a result folder, by layer.

    Parameters
    ----------
    folder : where reference points may lie. certainty : as in run.json: mean probabilities of the labels.
    shape : (rows, cols) of the label images.

    Raises
    ------
    InputError, UnknownNameError : reference points that cannot be used.
    """
    found = {}
    for layer, legend in legends.items():
        facts = certainty.get(layer, {})
        of_class, mean = facts.get("mean_probability_of") or {}, facts.get("mean_probability")
        names = [name for name in legend.names if of_class and name not in (OUTSIDE, HOLE)]
        known = {name: float(of_class.get(name, mean or 1.0)) for name in names}
        found[layer] = LabelTrust(known, stored_points(folder, layer, legend.names, shape))
    return found
