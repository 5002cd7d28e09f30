"""Label images -> modal abundances with intervals, counted band by band in square blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError, UnknownNameError
from meteoseg.estimation.blocks import SamplingError, sampling_error
from meteoseg.estimation.doubt import combined_interval, doubt_interval
from meteoseg.estimation.reference import ReferencePoints, adjusted_shares
from meteoseg.legend import HOLE, NO_MINERALS, OUTSIDE, Legend

LabelArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]

COLUMNS = (
    "layer", "name", "area_px", "area_um2", "area_pct", "ci_low_pct", "ci_high_pct", "wt_pct",
    "section_ci_low_pct", "section_ci_high_pct", "area_pct_with_holes",
    "adjusted_pct", "adjusted_error_pct", "adjusted_ci_low_pct", "adjusted_ci_high_pct",
    "adjusted_section_ci_low_pct", "adjusted_section_ci_high_pct", "adjusted_wt_pct",
)  # fmt: skip
CROSS_COLUMNS = ("component", "phase", "area_px", "area_um2", "pct_of_component", "pct_of_phase")

#: Cells in which pixels are counted; blocks are made of them.
DEFAULT_N_CELLS = 2304
#: Classes that are listed with their area but belong to no percentage.
APART = (OUTSIDE, HOLE)
#: Weight percent are left empty where minerals without a density take more of the area of minerals.
MOST_UNWEIGHED = 0.02

_PIXELS_AT_ONCE = 1 << 22


def default_cell_px(shape: tuple[int, int]) -> int:
    """Return the side of the square cells that cut a grid of `shape` (rows, cols) into about 2300.

    Cells are small: blocks of the width that each class needs are joined from them.

    Examples
    --------
    >>> default_cell_px((480, 480)), default_cell_px((3, 4))
    (10, 1)
    """
    return max(1, round(math.sqrt(shape[0] * shape[1] / DEFAULT_N_CELLS)))


@dataclass(frozen=True)
class LabelTrust:
    """What is known of the classification error of one layer.

    probability : mean probability of the labels by class, 0 to 1; empty where it is not known.
    points : reference points of this section, or None.
    """

    probability: Mapping[str, float] = field(default_factory=dict)
    points: ReferencePoints | None = None


@dataclass(frozen=True)
class LayerSampling:
    """Sampling error of the classes `names` of one layer."""

    names: tuple[str, ...]
    error: SamplingError


class BlockCounts:
    """Pixels per label in square blocks of one label image, accumulated by row bands.

    Parameters
    ----------
    ids : the labels that may occur.
    block_px : side of a block; the last row and column of blocks may be cut.
    shape : (rows, cols) of the whole label image.

    Examples
    --------
    >>> counts = BlockCounts((0, 1, 2), 2, (4, 2))
    >>> counts.add(0, np.array([[1, 1], [1, 2], [0, 0]]))
    >>> counts.add(3, np.array([[2, 2]]))
    >>> counts.counts[:, 0].tolist()
    [[0, 3, 1], [2, 0, 2]]
    >>> counts.total.tolist()
    [2, 3, 3]
    """

    def __init__(self, ids: Sequence[int], block_px: int, shape: tuple[int, int]) -> None:
        if block_px < 1:
            raise InputError(f"Block size {block_px} px is not possible: give 1 or more.")
        self.ids = tuple(int(label_id) for label_id in ids)
        self.block_px = int(block_px)
        self.shape = shape
        n_rows, n_cols = (-(-length // self.block_px) for length in shape)
        #: int64 (block rows, block cols, labels).
        self.counts: NDArray[np.int64] = np.zeros((n_rows, n_cols, len(self.ids)), np.int64)
        self._is_added = np.zeros(shape[0], bool)

    def add(self, row0: int, band: LabelArray) -> None:
        """Count the labels of rows ``row0 ...``; `band` is (rows, W) integers of any height.

        Raises
        ------
        ShapeMismatchError : the band is wider, narrower or lower than the image.
        InputError : a row is counted twice.
        UnknownNameError : a label is not among the ids.
        """
        rows = slice(row0, row0 + band.shape[0])
        if band.ndim != 2 or band.shape[1] != self.shape[1] or row0 < 0 or rows.stop > self.shape[0]:
            raise ShapeMismatchError(
                f"A band of shape {band.shape} at row {row0} does not fit an image of {self.shape[0]} x "
                f"{self.shape[1]} (rows x cols): give full rows of that image."
            )
        if self._is_added[rows].any():
            raise InputError(f"Rows {row0} to {rows.stop - 1} are counted twice: add each row once.")
        self._is_added[rows] = True
        n_cols, n_ids = self.counts.shape[1:]
        first_cell = (np.arange(self.shape[1]) // self.block_px * n_ids)[None, :]
        at_once = max(1, _PIXELS_AT_ONCE // max(1, self.shape[1]))
        start = 0
        while start < band.shape[0]:
            block_row = (row0 + start) // self.block_px
            stop = min(band.shape[0], (block_row + 1) * self.block_px - row0, start + at_once)
            cells = first_cell + label_indices(band[start:stop], self.ids)
            found = np.bincount(cells.ravel(), minlength=n_cols * n_ids)
            self.counts[block_row] += found.reshape(n_cols, n_ids)
            start = stop

    @property
    def total(self) -> NDArray[np.int64]:
        """Pixels per label, int64 in the order of `ids`.

        Raises
        ------
        InputError : rows are still missing.
        """
        if not self._is_added.all():
            missing = int(np.argmin(self._is_added))
            raise InputError(f"Row {missing} of the label image was never counted: add all {self.shape[0]} rows.")
        return np.asarray(self.counts.sum(axis=(0, 1)))


class JointCounts:
    """Pixels per pair of phase and component, accumulated band by band.

    Examples
    --------
    >>> joint = JointCounts((0, 1), (0, 7))
    >>> joint.add(np.array([[0, 1, 1]]), np.array([[0, 7, 7]]))
    >>> joint.counts.tolist()
    [[1, 0], [0, 2]]
    """

    def __init__(self, phase_ids: Sequence[int], component_ids: Sequence[int]) -> None:
        self.phase_ids = tuple(int(label_id) for label_id in phase_ids)
        self.component_ids = tuple(int(label_id) for label_id in component_ids)
        #: int64 (phases, components).
        self.counts: NDArray[np.int64] = np.zeros((len(self.phase_ids), len(self.component_ids)), np.int64)

    def add(self, phases: LabelArray, components: LabelArray) -> None:
        """Count two label bands of one shape.

        Raises
        ------
        ShapeMismatchError : the bands differ in shape.
        UnknownNameError : a label is not among the ids.
        """
        if phases.shape != components.shape:
            raise ShapeMismatchError(
                f"Phases are {phases.shape} and components {components.shape} (rows, cols): give the same rows of both."
            )
        cells = label_indices(phases, self.phase_ids) * len(self.component_ids)
        cells += label_indices(components, self.component_ids)
        self.counts += np.bincount(cells.ravel(), minlength=self.counts.size).reshape(self.counts.shape)


def label_indices(labels: LabelArray, ids: Sequence[int]) -> NDArray[np.intp]:
    """Return the position in `ids` of each label.

    Raises
    ------
    UnknownNameError : a label is not among the ids.
    """
    if labels.dtype.kind not in "iu":
        raise InputError(f"Labels must be integers, got {labels.dtype}: give a label image.")
    table = np.full(max(ids) + 2, -1, np.intp)
    table[list(ids)] = np.arange(len(ids))
    known = (labels >= 0) & (labels <= max(ids))
    found = table[np.where(known, labels, max(ids) + 1)]
    if (found < 0).any():
        unknown = int(labels[found < 0].flat[0])
        listed = ", ".join(str(label_id) for label_id in sorted(ids))
        raise UnknownNameError(f"Label {unknown} is not in the legend (it has {listed}): add it to legend.csv.")
    return np.asarray(found)


def modal_table(
    counts: Mapping[str, BlockCounts],
    legends: Mapping[str, Legend],
    pixel_size_um: tuple[float, float],
    *,
    trust: Mapping[str, LabelTrust] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, LayerSampling]]:
    """Build the modal table: areas, area % and weight % of every class that occurs, with 95 % intervals.

    Per layer the percentages sum to 100 over all classes but ``outside`` and ``hole``, which come last with
    their areas only. Classes are sorted by area. Weight % (phases only) is area x density over the phases
    that have a density, and empty where minerals without one take over 2 % of the area of minerals. For the
    intervals see `meteoseg.estimation`.

    Parameters
    ----------
    counts, legends : by layer, ``phases`` or ``components``; counts in cells of `default_cell_px`.
    pixel_size_um : (dy, dx).
    trust : by layer; where it is missing, labels are taken as right.
    n_boot, seed : bootstrap replicates and their random seed.

    Returns
    -------
    The columns `COLUMNS` (area_px int; NaN where empty), and the sampling error by layer.

    Raises
    ------
    UnknownNameError : a layer without a legend.
    PixelSizeError : sizes that are not positive and finite.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> legend = default_legend("phases")
    >>> counts = BlockCounts(legend.ids, 1, (1, 4))
    >>> counts.add(0, np.array([[1, 1, 1, 8]]))
    >>> table, _ = modal_table({"phases": counts}, {"phases": legend}, (2.0, 2.0))
    >>> table[["name", "area_um2", "area_pct"]].values.tolist()
    [['olivine', 12.0, 75.0], ['troilite', 4.0, 25.0], ['outside', 0.0, nan], ['hole', 0.0, nan]]
    """
    pixel_area_um2 = _pixel_area(pixel_size_um)
    parts, errors = [], {}
    for layer, blocks in counts.items():
        if layer not in legends:
            raise UnknownNameError.of("layer", layer, legends)
        known = (trust or {}).get(layer, LabelTrust())
        part, errors[layer] = _layer_table(
            blocks, legends[layer], known, rng=np.random.default_rng(seed), n_boot=n_boot
        )
        part["area_um2"] = part["area_px"] * pixel_area_um2
        parts.append(part)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return table[list(COLUMNS)].astype({"area_px": "int64"}), errors


def _layer_table(
    blocks: BlockCounts, legend: Legend, trust: LabelTrust, *, rng: np.random.Generator, n_boot: int
) -> tuple[pd.DataFrame, LayerSampling]:
    total = blocks.total
    names = [legend.name_of(label_id) for label_id in blocks.ids]
    apart = [index for index, name in enumerate(names) if name in APART]
    listed = set() if trust.points is None else set(trust.points.names)
    order = [index for index in np.argsort(-total, kind="stable") if index not in apart]
    solid = [index for index in order if total[index] > 0 or names[index] in listed]
    table = pd.DataFrame({"layer": legend.layer, "name": [names[index] for index in [*solid, *apart]]})
    table["area_px"] = total[[*solid, *apart]]
    for column in COLUMNS[4:]:
        table[column] = np.nan
    rows = slice(0, len(solid) - 1)
    solid_names, areas, counts = tuple(names[index] for index in solid), total[solid], blocks.counts[:, :, solid]
    sampling = sampling_error(counts, rng, n_boot=n_boot)
    table.loc[rows, "area_pct"] = 100.0 * areas / max(1, int(areas.sum()))
    section = doubt_interval(counts, solid_names, trust.probability, rng) if trust.probability else _unknown(len(solid))
    section = np.where(areas > 0, section[0], np.nan), np.where(areas > 0, section[1], np.nan)
    low, high = combined_interval(sampling.share, sampling.half_width, section)
    wt_pct = _weight_pct(legend, solid_names, areas.astype(float))
    for column, values in zip(COLUMNS[5:10], (low, high, wt_pct, *section), strict=True):
        table.loc[rows, column] = values
    whole = sum(int(total[index]) for index in (*solid, *apart) if names[index] != OUTSIDE)
    in_section = table["name"] != OUTSIDE
    table.loc[in_section, "area_pct_with_holes"] = 100.0 * table.loc[in_section, "area_px"] / max(1, whole)
    if trust.points is not None:
        _fill_adjusted(table, trust.points, legend, sampling, rng=rng)
    return table, LayerSampling(solid_names, sampling)


def _unknown(n: int) -> tuple[FloatArray, FloatArray]:
    return np.full(n, np.nan), np.full(n, np.nan)


def _fill_adjusted(
    table: pd.DataFrame, points: ReferencePoints, legend: Legend, sampling: SamplingError, *, rng: np.random.Generator
) -> None:
    """Fill the columns of the error-adjusted estimate; those of classes without points stay empty."""
    found = adjusted_shares(points, rng)
    names = list(table["name"][: len(sampling.share)])
    place = {name: index for index, name in enumerate(found.names)}

    def of_points(values: FloatArray, otherwise: float) -> FloatArray:
        return np.array([values[place[name]] if name in place else otherwise for name in names])

    share_pct = of_points(found.pct, 0.0)
    section = of_points(found.low_pct, np.nan), of_points(found.high_pct, np.nan)
    # Of a class that the map has nowhere, or everywhere against the points, no block tells how it is strewn.
    is_strewn = (sampling.share < 1) | (share_pct == 100)
    low, high = combined_interval(share_pct / 100, np.where(is_strewn, sampling.half_width, np.nan), section)
    columns = (share_pct, of_points(found.error_pct, np.nan), low, high, *section,
               _weight_pct(legend, names, share_pct))  # fmt: skip
    known = np.array([name in place for name in names])
    for column, values in zip(COLUMNS[11:], columns, strict=True):
        table.loc[: len(names) - 1, column] = np.where(known, values, np.nan)


def modes_of(
    labels: LabelArray,
    legend: Legend,
    pixel_size_um: tuple[float, float],
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Build the modal table of one label image (H, W) in memory; see `modal_table`."""
    counts = BlockCounts(legend.ids, default_cell_px(labels.shape), labels.shape)
    counts.add(0, labels)
    return modal_table({legend.layer: counts}, {legend.layer: legend}, pixel_size_um, n_boot=n_boot, seed=seed)[0]


def cross_table(
    joint: JointCounts, phases: Legend, components: Legend, *, pixel_size_um: tuple[float, float]
) -> pd.DataFrame:
    """List the area of each phase in each component, one row per pair that occurs.

    Percentages leave out pixels that are ``outside`` or ``hole`` in either layer: ``pct_of_component`` sums
    to 100 over the phases of a component, ``pct_of_phase`` over the components that hold a phase.

    Returns
    -------
    Columns component, phase, area_px (int), area_um2, pct_of_component, pct_of_phase; NaN where empty.
    """
    phase_names = [phases.name_of(label_id) for label_id in joint.phase_ids]
    component_names = [components.name_of(label_id) for label_id in joint.component_ids]
    is_solid = np.outer([name not in APART for name in phase_names], [n not in APART for n in component_names])
    solid = np.where(is_solid, joint.counts, 0)
    pixel_area_um2 = _pixel_area(pixel_size_um)
    rows = []
    for col in np.argsort(-joint.counts.sum(axis=0), kind="stable"):
        for row in np.argsort(-joint.counts[:, col], kind="stable"):
            area_px = int(joint.counts[row, col])
            if area_px == 0:
                continue
            percent = (
                (100 * area_px / solid[:, col].sum(), 100 * area_px / solid[row].sum())
                if is_solid[row, col]
                else (np.nan, np.nan)
            )
            rows.append((component_names[col], phase_names[row], area_px, area_px * pixel_area_um2, *percent))
    return pd.DataFrame(rows, columns=list(CROSS_COLUMNS)).astype({"area_px": "int64"})


def _weight_pct(legend: Legend, names: Sequence[str], areas: FloatArray) -> FloatArray:
    """Area times density, in percent over the classes that have a density; NaN for the others.

    NaN for all where minerals without a density take over `MOST_UNWEIGHED` of the area: the rest would mislead.
    """
    if legend.layer != "phases":
        return np.full(len(names), np.nan)
    mass = areas * np.array([legend[name].density_g_cm3 or np.nan for name in names])
    is_mineral = np.array([name not in NO_MINERALS for name in names], bool)
    if areas[is_mineral & np.isnan(mass)].sum() > MOST_UNWEIGHED * areas[is_mineral].sum():
        return np.full(len(names), np.nan)
    return np.asarray(100 * mass / max(np.nansum(mass), np.finfo(float).tiny))


def _pixel_area(pixel_size_um: tuple[float, float]) -> float:
    if len(pixel_size_um) != 2 or not all(np.isfinite(size) and size > 0 for size in pixel_size_um):
        raise PixelSizeError(f"Pixel size {pixel_size_um} um is not possible: give two positive numbers (dy, dx).")
    return float(pixel_size_um[0] * pixel_size_um[1])
