"""Vary crops: place and zoom, flips, contrast, blur and noise per channel, absent channels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

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
_SYMMETRIES = albumentations.Compose([albumentations.D4(p=1.0)])


def cut(
    image: NDArray[np.float16], targets: Targets, rng: Generator, *, tile_px: int, zoom: float
) -> tuple[Image, Targets]:
    """Cut a random square and bring it to (tile_px, tile_px); `zoom` > 1 makes pixels coarser.

    Parameters
    ----------
    image, targets : (H, W, C) and (H, W, L). Where they are smaller than the square, the image is mirrored
        and the targets are unknown (255).
    """
    size = max(8, round(tile_px * zoom))
    rows, cols = image.shape[:2]
    row, col = (int(rng.integers(0, max(1, length - size + 1))) for length in (rows, cols))
    patch = image[row : row + size, col : col + size].astype(np.float32)
    labels = targets[row : row + size, col : col + size]
    if patch.shape[:2] != (size, size):
        spare = [(0, size - patch.shape[0]), (0, size - patch.shape[1]), (0, 0)]
        patch = np.pad(patch, spare, mode="symmetric")
        labels = np.pad(labels, spare, constant_values=_IGNORE)
    if size == tile_px:
        return patch, np.ascontiguousarray(labels)
    # Linear in both directions: OpenCV averages areas of at most four channels, and zooms are modest.
    shape = (tile_px, tile_px)
    patch = np.asarray(cv2.resize(patch, shape, interpolation=cv2.INTER_LINEAR), np.float32)
    labels = np.asarray(cv2.resize(np.ascontiguousarray(labels), shape, interpolation=cv2.INTER_NEAREST), np.uint8)
    return patch.reshape(*shape, image.shape[2]), labels.reshape(*shape, targets.shape[2])


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
