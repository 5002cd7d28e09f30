"""A picture for the eye: maps and image in alternate squares, before and after registration."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meteoseg.io.warped import Transform
from meteoseg.registration.estimate import Estimate
from meteoseg.registration.levels import Level

FloatArray = NDArray[np.float32]
_SQUARES = 8
#: Colour of the maps' squares; those of the image are grey.
_MAPS_TINT = np.array([1.0, 0.72, 0.38], np.float32)
_GAP_PX = 12
_LEAST_SIDE_PX = 480


def checkerboard_png(estimate: Estimate, nominal: Transform, level: Level) -> bytes:
    """Return a PNG: left as the pixel sizes alone (`nominal`) place the image, right as registered.

    Orange squares are what the maps predict, grey squares the image; edges of grains must go on across their borders.
    """
    shape = level.shape
    before = level.registered(level.own(nominal))
    after = level.registered(level.own(estimate.transform))
    predicted = np.zeros(shape, np.float32) if estimate.predictor is None else estimate.predictor.predict(level.maps)
    sides = [_board(_stretched(predicted), _stretched(image)) for image in (before, after)]
    gap = np.full((shape[0], _GAP_PX, 3), 255, np.uint8)
    picture = Image.fromarray(np.concatenate([sides[0], gap, sides[1]], axis=1))
    zoom = -(-_LEAST_SIDE_PX // max(shape))
    if zoom > 1:
        picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _stretched(values: FloatArray) -> FloatArray:
    """Return values from 0 to 1, from their 1 to their 99 %; unknown ones are 0."""
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros_like(values)
    low, high = np.percentile(known, (1, 99))
    return np.asarray(np.nan_to_num(np.clip((values - low) / max(high - low, 1e-6), 0, 1)), np.float32)


def _board(maps: FloatArray, image: FloatArray) -> NDArray[np.uint8]:
    side = max(1, min(maps.shape) // _SQUARES)
    rows, cols = (np.arange(length) // side for length in maps.shape)
    is_map = ((rows[:, None] + cols[None, :]) % 2 == 0)[..., None]
    picture = np.where(is_map, maps[..., None] * _MAPS_TINT, image[..., None])
    return np.asarray((255 * picture).round(), np.uint8)
