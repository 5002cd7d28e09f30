"""PNG and JPEG maps: decoded at the first read, then kept in memory (one value per pixel)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.source import MapSource, is_single_hue, stem_of, unit_of_type
from meteoseg.io.stored import Stamp, opened, stamp_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_ONE_CHANNEL = ("1", "L", "I", "I;16", "I;16B", "F")


@dataclass(frozen=True)
class ImagePlane:
    """A PNG or JPEG picture; colours are flattened by the maximum, palette indices kept where `as_index`."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    stamp: Stamp
    as_index: bool = False
    _pixels: list[NDArray[Any]] = field(default_factory=list, repr=False, compare=False)

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`."""
        if not self._pixels:
            values = _decode(self.path, self.stamp, as_index=self.as_index)
            self._pixels.append(values.max(axis=-1) if values.ndim == 3 else values)
        return self._pixels[0][window.slices]

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without the pixels."""
        return {**self.__dict__, "_pixels": []}


def read_image(path: Path, *, as_index: bool = False) -> tuple[MapSource, ...]:
    """List the one image of a PNG or JPEG file; it is decoded once here, to find damage before a run starts.

    Raises
    ------
    InputError : empty, truncated or unreadable file.
    """
    stamp = stamp_of(path)
    values = _decode(path, stamp, as_index=as_index)
    coloured = values.ndim == 3
    step = max(1, int((values.shape[0] * values.shape[1] / 2e5) ** 0.5))
    several_hues = coloured and not is_single_hue(values[::step, ::step].reshape(-1, 3))
    rows, cols = values.shape[:2]
    source = MapSource(
        path,
        ImagePlane(path, (rows, cols), values.dtype, stamp, as_index),
        stem_of(path),
        unit="display" if coloured else unit_of_type(values.dtype),
        remark="RGB picture of one hue, read as the maximum of its three channels" if coloured else "",
        problem="a colour picture of several hues, not one map" if several_hues else "",
    )
    return (source,)


def _decode(path: Path, stamp: Stamp, *, as_index: bool) -> NDArray[Any]:
    """Return (H, W), or (H, W, 3) where the picture has colours."""
    with opened(path, stamp) as handle:
        try:
            with _large_pictures_allowed(), Image.open(handle) as image:
                values = _values_of(image, as_index=as_index)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} is empty, truncated or not a readable picture: export or copy it again."
            ) from error
    grey = values.ndim == 3 and bool((values[..., :1] == values).all())
    return values[..., 0] if grey else values


def _values_of(image: Image.Image, *, as_index: bool) -> NDArray[Any]:
    if image.mode in _ONE_CHANNEL or (as_index and image.mode == "P"):
        return np.asarray(image)
    return np.asarray(image.getchannel("L") if image.mode == "LA" else image.convert("RGB"))


@contextmanager
def _large_pictures_allowed() -> Iterator[None]:
    """Lift Pillow's limit of 89 Mpx, meant for web servers: mosaics of sections are larger."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
