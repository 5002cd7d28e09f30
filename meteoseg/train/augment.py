"""Vary crops: place and zoom, flips, contrast, blur and noise per channel, absent channels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import BSE, CANONICAL_CHANNELS
from meteoseg.train.config import POLICIES, AugmentConfig

# albumentations asks a server for its newest version at import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations
import cv2

if TYPE_CHECKING:
    from numpy.random import Generator

Image = NDArray[np.float32]
Targets = NDArray[np.uint8]
_IGNORE = 255
#: Largest stretch (log), bend (px, standard deviation) and distance between the knots of the bend (px) of a warp.
_STRETCH, _BEND_PX, _BEND_STEP_PX = 0.2, 1.5, 24
_SYMMETRIES = albumentations.Compose([albumentations.D4(p=1.0)])


def cut(
    image: NDArray[np.float16], targets: Targets, rng: Generator, *, tile_px: int, zoom: float, warp: bool = False
) -> tuple[Image, Targets]:
    """Cut a random square and bring it to (tile_px, tile_px); `zoom` > 1 makes pixels coarser.

    Parameters
    ----------
    image, targets : (H, W, C) and (H, W, L). Where they are smaller than the square, the image is mirrored
        and the targets are unknown (255).
    warp : turn the square by any angle, stretch and bend it, so that few drawn objects make many shapes.
    """
    size = max(8, round(tile_px * zoom))
    if warp:
        places = _warped_places(rng, tile_px=tile_px, size_px=size)
        # Half as large again holds the turned square but for its corners.
        patch, labels = _square(image, targets, rng, size + size // 2)
        return _remap(patch, places, cv2.INTER_LINEAR), _remap(labels, places, cv2.INTER_NEAREST, fill=_IGNORE)
    patch, labels = _square(image, targets, rng, size)
    if size == tile_px:
        return patch, np.ascontiguousarray(labels)
    # Linear in both directions: OpenCV averages areas of at most four channels, and zooms are modest.
    shape = (tile_px, tile_px)
    patch = np.asarray(cv2.resize(patch, shape, interpolation=cv2.INTER_LINEAR), np.float32)
    labels = np.asarray(cv2.resize(np.ascontiguousarray(labels), shape, interpolation=cv2.INTER_NEAREST), np.uint8)
    return patch.reshape(*shape, image.shape[2]), labels.reshape(*shape, targets.shape[2])


def _square(image: NDArray[np.float16], targets: Targets, rng: Generator, size: int) -> tuple[Image, Targets]:
    """Cut a random square of `size` pixels; beyond the image it is mirrored, and its targets are unknown."""
    rows, cols = image.shape[:2]
    row, col = (int(rng.integers(0, max(1, length - size + 1))) for length in (rows, cols))
    patch = image[row : row + size, col : col + size].astype(np.float32)
    labels = targets[row : row + size, col : col + size]
    if patch.shape[:2] != (size, size):
        spare = [(0, size - patch.shape[0]), (0, size - patch.shape[1]), (0, 0)]
        patch = np.pad(patch, spare, mode="symmetric")
        labels = np.pad(labels, spare, constant_values=_IGNORE)
    return patch, labels


def _warped_places(rng: Generator, *, tile_px: int, size_px: int) -> tuple[Image, Image]:
    """Draw where in a square of 1.5 x `size_px` the pixels of a tile come from: (rows, cols), each (tile, tile)."""
    angle, axis = rng.uniform(0, 2 * np.pi, 2)
    stretch = np.exp(rng.uniform(-_STRETCH, _STRETCH))
    turned, along = (np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in (angle, axis))
    linear = turned @ along @ np.diag([stretch, 1 / stretch]) @ along.T * (size_px / tile_px)
    steps = np.arange(tile_px) - (tile_px - 1) / 2
    flat = np.stack(np.meshgrid(steps, steps, indexing="ij"))
    knots = rng.normal(0, rng.uniform(0, _BEND_PX), (2, *(tile_px // _BEND_STEP_PX + 4,) * 2)).astype(np.float32)
    bend = np.stack([cv2.resize(k, (tile_px, tile_px), interpolation=cv2.INTER_CUBIC) for k in knots])
    rows, cols = np.tensordot(linear, flat + bend, axes=1) + (size_px + size_px // 2 - 1) / 2
    return rows.astype(np.float32), cols.astype(np.float32)


def _remap(
    planes: NDArray[Any], places: tuple[Image, Image], interpolation: int, *, fill: int | None = None
) -> NDArray[Any]:
    """Take (h, w, K) from `places` of (H, W, K); beyond, `fill`, or mirrored where there is none."""
    border = cv2.BORDER_REFLECT if fill is None else cv2.BORDER_CONSTANT
    out = np.empty((*places[0].shape, planes.shape[2]), planes.dtype)
    for first in range(0, planes.shape[2], 4):  # what OpenCV takes at once
        some = np.ascontiguousarray(planes[..., first : first + 4])
        taken = cv2.remap(some, places[1], places[0], interpolation, borderMode=border, borderValue=(fill or 0,) * 4)
        out[..., first : first + 4] = taken.reshape(*places[0].shape, some.shape[2])
    return out


@cache
def _noise_bank() -> Image:
    """Standard normal noise that crops take stretches of: drawing it anew would cost more than all the rest."""
    return np.random.default_rng(0).standard_normal(2**23, dtype=np.float32)


def augment(image: Image, targets: Targets, rng: Generator, settings: AugmentConfig) -> tuple[Image, Targets]:
    """Vary one crop of normalised values (square root of counts, 0 to 1 and a little over).

    Contrast is y -> g (y + b y (1 - y)) per channel: `g` log-normal, `b` (the bend) uniform, the stretch a
    laboratory chose. Noise is Gaussian and even, as Poisson counts have it after the square root.
    """
    if settings.flips:
        _SYMMETRIES.set_random_seed(int(rng.integers(2**31)))
        turned = _SYMMETRIES(image=image, mask=targets)
        image, targets = np.ascontiguousarray(turned["image"]), np.ascontiguousarray(turned["mask"])
    if rng.random() < settings.blur:
        sigma_px = float(rng.uniform(0.3, 1.2))
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32).reshape(image.shape)
    # Rows of (W x C) values: long inner loops, which is what numpy is quick at.
    rows, cols, channels = image.shape
    flat = image.reshape(rows, cols * channels)
    gain = np.exp(rng.normal(0, settings.gain, channels))
    bend = rng.uniform(-settings.gamma, settings.gamma, channels)
    factor = flat * _per_value(-gain * bend, cols)
    factor += _per_value(gain * (1 + bend), cols)
    flat *= factor
    if settings.noise > 0:
        sd = np.exp(rng.uniform(np.log(min(0.003, settings.noise)), np.log(settings.noise), channels))
        flat += _noise(flat, rng) * _per_value(sd, cols)
    return np.maximum(flat, 0, out=flat).reshape(image.shape), targets


def _per_value(per_channel: NDArray[np.float64], cols: int) -> Image:
    return np.tile(per_channel.astype(np.float32), cols)


def _noise(like: Image, rng: Generator) -> Image:
    bank = _noise_bank()
    start = int(rng.integers(0, max(1, bank.size - like.size)))
    return np.resize(bank[start : start + like.size], like.shape)


def drop_channels(present: NDArray[np.bool_], rng: Generator, shares: Mapping[str, float]) -> NDArray[np.bool_]:
    """Choose which of the canonical channels a crop keeps.

    Parameters
    ----------
    present : (C,) bool, channels of the section in canonical order.
    shares : probability of each policy of `config.POLICIES`; the rest goes to ``all``.

    A policy that would leave nothing keeps all that is present.
    """
    names = [name for name in shares if name != "all"]
    rest = 1 - sum(shares[name] for name in names)
    policy = rng.choice([*names, "all"], p=[*(shares[name] for name in names), rest])
    if policy == "no_bse":
        keep = present & np.array([name != BSE for name in CANONICAL_CHANNELS])
    elif policy == "random":
        keep = present & (rng.random(len(present)) < rng.uniform(0.1, 1.0))
    elif policy == "all":
        keep = present
    else:
        wanted = POLICIES[str(policy)] or ()
        keep = present & np.array([name in wanted for name in CANONICAL_CHANNELS])
    return keep if keep.any() else present
