"""Simulated pairs of element maps and a BSE image that is turned, scaled, shifted, noisy: with the exact transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from meteoseg.io.warped import Transform
from meteoseg.section import Section
from meteoseg.simulate.detector import Detector
from meteoseg.simulate.recipe import make_recipe
from meteoseg.simulate.section import simulate_recipe

FINE_UM, MAP_UM = 2.5, 5.0
#: Rows and columns of the fine grid; the maps are its middle, so that the image may reach beyond them.
FINE = (880, 1080)
MARGIN = 160
N_SCENES = 8
ELEMENTS = ("Mg", "Al", "Si", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
GROUPS = ("LL", "CV", "CM", "EH", "H", "CR")


@dataclass(frozen=True)
class Pair:
    """Maps, image (grey levels), pixel size of the image (um) as its file states it, and the true transform."""

    section: Section
    image: np.ndarray
    image_um: float
    truth: Transform
    settings: dict[str, object]


@cache
def scene(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return element maps on pixels of MAP_UM and a noiseless BSE image on the fine grid."""
    group = GROUPS[seed % len(GROUPS)]
    recipe = make_recipe(group, petrologic_type=3.2 if group not in ("CM",) else 2.0)
    recipe = replace(recipe, epoxy_edge=False)
    mode = ("wds", "eds")[seed // len(GROUPS) % 2]
    detector = Detector(mode, dose=0.35, bse_noise=0.0, bse_range=(0.0, 0.45))
    made = simulate_recipe(recipe, detector, shape=FINE, pixel_size_um=FINE_UM, seed=seed, channels=("BSE", *ELEMENTS))
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    maps = {}
    for name in ELEMENTS:
        counts = made.section.read([name])[0][inner]
        maps[name] = counts.reshape(counts.shape[0] // 2, 2, counts.shape[1] // 2, 2).sum(axis=(1, 3))
    return maps, made.section.read(["BSE"])[0]


def draw_pair(seed: int, *, field_px: float = 0.0) -> Pair:
    """Draw a pair: rotation to 2 degrees, scale to 2 %, offset to 50 map pixels per axis, contrast, noise, jitter.

    `field_px` moves the mosaic fields of the image against each other, by 1 sd in map pixels.
    """
    rng = np.random.default_rng(1000 + seed)
    maps, bse = scene(seed % N_SCENES)
    section = Section.from_arrays(f"pair{seed}", maps, pixel_size_um=MAP_UM)
    image_um = float(rng.choice([2.5, 5.0, 7.5]))
    degrees, stretch = rng.uniform(-2, 2), rng.uniform(-0.02, 0.02)
    shift = rng.uniform(-50, 50, 2)
    rows, cols = section.shape
    step = MAP_UM / image_um
    angle = np.deg2rad(degrees)
    turn = (1 + stretch) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([(rows - 1) / 2, (cols - 1) / 2])
    nominal = Transform.scaling((step, step))
    truth = nominal.after(Transform(turn, centre - turn @ centre + shift))
    shape = (round(rows * step), round(cols * step))
    fields = _field_steps(rng, shape, field_px) if field_px else None
    image, contrast = _image(rng, bse, truth, shape, fields)
    settings = {"seed": seed, "image_um": image_um, "degrees": degrees, "stretch_pct": 100 * stretch,
                "shift_row": shift[0], "shift_col": shift[1], **contrast}  # fmt: skip
    return Pair(section, image, image_um, truth, settings)


def _image(rng, bse, truth, shape, fields):
    """Sample the scene as the microscope would, two by two samples a pixel, and set the contrast."""
    at = (np.arange(2) - 0.5) / 2
    rows = (np.arange(shape[0])[:, None] + at).ravel()
    cols = (np.arange(shape[1])[:, None] + at).ravel()
    places = np.stack(np.meshgrid(rows, cols, indexing="ij"))
    jitter = float(rng.choice([0.0, 0.0, 0.4]))
    places[1] += np.repeat(jitter * rng.standard_normal(shape[0]), 2)[:, None]
    if fields is not None:
        places += np.repeat(np.repeat(fields, 2, axis=1), 2, axis=2)
    back = truth.inverse()
    maps_at = np.einsum("ij,jhw->ihw", back.matrix, places) + back.offset[:, None, None]
    fine_at = 2 * maps_at + 0.5 + MARGIN
    sampled = map_coordinates(bse.astype(np.float32), fine_at, order=1, mode="nearest")
    grey = sampled.reshape(shape[0], 2, shape[1], 2).mean(axis=(1, 3))
    low_pct, high_pct = float(rng.choice([0, 2, 30, 70])), float(rng.choice([100, 99.5, 95]))
    low, high = np.percentile(grey, (low_pct, high_pct))
    share = np.clip((grey - low) / max(high - low, 1.0), 0, 1) ** rng.uniform(0.7, 1.4)
    shade = 1 + 0.15 * gaussian_filter(rng.standard_normal(shape), 120) * 400
    noise = float(rng.choice([3.0, 8.0, 16.0]))
    image = (255 * share * np.clip(shade, 0.7, 1.3) + noise * rng.standard_normal(shape)).clip(0, 255).astype(np.uint8)
    return image, {"low_pct": low_pct, "high_pct": high_pct, "noise": noise, "jitter_px": jitter}


def _field_steps(rng, shape, field_px):
    """Return a displacement (2, H, W) that is one number per field of about a quarter of the image."""
    steps = field_px * rng.standard_normal((2, 4, 4))
    rows, cols = (np.arange(length) * 4 // length for length in shape)
    return steps[:, rows[:, None], cols[None, :]]


def error_px(found: Transform, pair: Pair) -> float:
    """Return the mean distance (map pixels) of found from true positions, over the maps that the image shows."""
    rows, cols = (np.linspace(0, length - 1, 15) for length in pair.section.shape)
    points = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
    true = pair.truth.apply(points)
    seen = ((true >= 0) & (true <= np.array(pair.image.shape) - 1)).all(axis=1)
    away = (found.apply(points) - true)[seen] * pair.image_um / MAP_UM
    return float(np.linalg.norm(away, axis=1).mean())
