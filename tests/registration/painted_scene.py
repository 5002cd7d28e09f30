"""A painted scene that can be sampled anywhere: maps and images of it with known transforms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

#: (Fe, Mg, S counts, grey level) of the phases of the scene.
PHASES = np.array([[4, 60, 1, 70], [12, 40, 1, 95], [90, 2, 45, 190], [120, 1, 1, 240]], float)
ROWS, COLS = 150, 210
MARGIN = 60


def scene(seed: int) -> np.ndarray:
    """Return phases (rows, cols) of grains, two pixels per map pixel, `MARGIN` map pixels wider than the maps."""
    rng = np.random.default_rng(seed)
    shape = (2 * (ROWS + 2 * MARGIN), 2 * (COLS + 2 * MARGIN))
    fields = [gaussian_filter(rng.standard_normal(shape), size) * size for size in (6, 9, 5, 4)]
    return np.argmax(np.stack(fields) + np.array([0.12, 0.1, -0.1, -0.14])[:, None, None], axis=0)


def painted_maps(seed: int) -> dict[str, np.ndarray]:
    """Return counts of Fe, Mg and S, (ROWS, COLS), with Poisson noise."""
    rng = np.random.default_rng(seed + 100)
    inner = scene(seed)[2 * MARGIN : -2 * MARGIN, 2 * MARGIN : -2 * MARGIN]
    maps = {}
    for number, name in enumerate(("Fe", "Mg", "S")):
        means = PHASES[inner, number].reshape(ROWS, 2, COLS, 2).mean(axis=(1, 3))
        maps[name] = rng.poisson(means).astype(np.uint16)
    return maps


def painted_image(
    seed: int,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    degrees: float = 0.0,
    scale: float = 1.0,
    step: float = 1.0,
    moved: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return an 8-bit image of the scene with `step` pixels per map pixel.

    It is turned and scaled about its middle, then shifted: a grain of the maps is found `shift` map pixels further on.
    """
    rng = np.random.default_rng(seed + 200)
    shape = (round(ROWS * step), round(COLS * step))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(float)
    at_maps = (places + 0.5) / step - 0.5 - np.array(shift)[:, None, None]
    middle = np.array([(ROWS - 1) / 2, (COLS - 1) / 2])[:, None, None]
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    at_maps = np.einsum("ij,jhw->ihw", np.linalg.inv(turn), at_maps - middle) + middle
    if moved is not None:
        at_maps = at_maps - moved(at_maps)
    grey = gaussian_filter(PHASES[scene(seed), 3], 0.7)
    values = map_coordinates(grey, 2 * (at_maps + MARGIN) + 0.5, order=1, mode="nearest")
    return (values + 6 * rng.standard_normal(shape)).clip(0, 255).astype(np.uint8)
