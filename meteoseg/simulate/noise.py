"""Smooth random fields and random tessellations: the raw material of textures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatField = NDArray[np.float32]
Rng = np.random.Generator


def smooth_noise(rng: Rng, shape: tuple[int, int], scale_px: float) -> FloatField:
    """Draw a smooth field of zero mean and unit variance whose blobs are about `scale_px` across."""
    scale = max(scale_px, 1.0)
    height, width = (int(np.ceil(n / scale)) + 3 for n in shape)
    coarse = rng.standard_normal((height, width)).astype(np.float32)
    if scale <= 1.0:
        return coarse[: shape[0], : shape[1]]
    full = (int(np.ceil(height * scale)), int(np.ceil(width * scale)))
    field = cv2.resize(coarse, (full[1], full[0]), interpolation=cv2.INTER_CUBIC)
    row, col = (int(rng.integers(0, max(1, total - n + 1))) for total, n in zip(full, shape, strict=True))
    field = field[row : row + shape[0], col : col + shape[1]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def mixed_noise(rng: Rng, shape: tuple[int, int], scales_px: tuple[float, ...]) -> FloatField:
    """Add smooth fields of several scales, the coarsest strongest; zero mean, unit variance."""
    field = np.zeros(shape, np.float32)
    for scale in scales_px:
        field += np.float32(np.sqrt(scale / max(scales_px))) * smooth_noise(rng, shape, scale)
    return np.asarray(field / (field.std() + 1e-6), np.float32)


def upper_share(field: FloatField, share: float, within: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Mark the pixels of highest `field` that make up `share` of the area (of `within`)."""
    inside = np.ones(field.shape, bool) if within is None else within
    values = field[inside]
    if share <= 0 or values.size == 0:
        return np.zeros(field.shape, bool)
    step = max(1, values.size // 200_000)
    return np.asarray(inside & (field > np.quantile(values[::step], max(0.0, 1.0 - share))))


def tessellate(
    rng: Rng, coordinates: NDArray[np.float32], grain: float, *, anisotropy: float = 1.0
) -> tuple[NDArray[np.int64], FloatField, int]:
    """Part points into grains around random seeds (a Voronoi tessellation).

    Parameters
    ----------
    coordinates : (N, 2) positions; `grain` is the typical grain size in the same unit.
    anisotropy : elongation of the grains along a random direction.

    Returns
    -------
    grain index (N,), gap (N,) = how much farther the second nearest seed is (0 at grain boundaries, in units of
    the grain size), number of grains.
    """
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    points = coordinates @ turn
    points[:, 0] /= anisotropy
    low, high = points.min(axis=0), points.max(axis=0)
    area = float(np.prod(high - low + grain))
    n_grains = int(np.clip(area / grain**2, 4, 60_000))
    seeds = rng.uniform(low - grain / 2, high + grain / 2, size=(n_grains, 2))
    distance, index = cKDTree(seeds).query(points, k=2)
    gap = ((distance[:, 1] - distance[:, 0]) / grain).astype(np.float32)
    return index[:, 0], gap, n_grains
