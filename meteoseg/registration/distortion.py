"""Local distortion: what remains at each block after the linear transform, cleaned of outliers and smoothed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window
from meteoseg.io.warped import DisplacementGrid, Transform
from meteoseg.registration.blocks import Blocks

Points = NDArray[np.float64]

#: A block is believed if it differs from the median of its nearest blocks by less than this (px).
_OUTLIER_PX = 2.0
_NEIGHBOURS = 8
#: Width of the smoothing (1 sd) in distances between nodes.
_SMOOTHING = 0.6
#: Weight of "no displacement" against that of one block of correlation 1 on the node.
_PRIOR = 0.02


def fit_grid(transform: Transform, blocks: Blocks, windows: Sequence[Window], shape: tuple[int, int]) -> Transform:
    """Return the transform with displacements at the centres of `windows` added, from what the blocks still show.

    A block counts by its squared correlation and its nearness; without blocks nearby there is no displacement.
    """
    kept = coherent(blocks)
    if kept.sum() < 4:
        return transform
    rows, cols = _nodes(windows)
    spacing = np.array([_spacing(rows, shape[0]), _spacing(cols, shape[1])])
    nodes = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
    away = (nodes[:, :, None, :] - blocks.centres[kept]) / spacing
    weight = np.exp(-(away**2).sum(axis=-1) / (2 * _SMOOTHING**2)) * blocks.scores[kept] ** 2
    moved = (weight[..., None] * blocks.shifts[kept]).sum(axis=2) / (weight.sum(axis=2) + _PRIOR)[..., None]
    before = 0.0 if transform.grid is None else np.moveaxis(transform.grid.at(rows, cols), 0, -1)
    return Transform(transform.matrix, transform.offset, DisplacementGrid(rows, cols, moved + before))


def coherent(blocks: Blocks) -> NDArray[np.bool_]:
    """Tell which blocks (N,) move as the median of their nearest blocks does."""
    if len(blocks) <= _NEIGHBOURS:
        return np.zeros(len(blocks), bool)
    distance = np.linalg.norm(blocks.centres[:, None] - blocks.centres[None], axis=-1)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, 1 : _NEIGHBOURS + 1]
    middle = np.median(blocks.shifts[nearest], axis=1)
    return np.asarray(np.linalg.norm(blocks.shifts - middle, axis=1) < _OUTLIER_PX, bool)


def _nodes(windows: Sequence[Window]) -> tuple[Points, Points]:
    rows = np.unique([window.row + (window.height - 1) / 2 for window in windows])
    cols = np.unique([window.col + (window.width - 1) / 2 for window in windows])
    return rows, cols


def _spacing(nodes: Points, length: int) -> float:
    return float(np.diff(nodes).mean()) if len(nodes) > 1 else float(length)
