"""Label images: written as tiled, compressed OME-TIFF, read from OME-TIFF, TIFF and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.bandwriter import LABEL_TYPES, BandWriter
from meteoseg.io.formats import kind_of, read_maps
from meteoseg.io.image import read_image
from meteoseg.io.pyramid import TILE_PX
from meteoseg.io.source import PixelSize
from meteoseg.section import Plane


def write_labels(
    path: str | Path, labels: NDArray[Any], *, pixel_size_um: PixelSize | None = None, name: str = ""
) -> None:
    """Write a label image (H, W) of integers as tiled, zlib-compressed OME-TIFF with its pixel size.

    Integer types other than uint8, uint16, uint32, int32 (and bool) become the smallest of these that fits.

    Raises
    ------
    InputError : not a two-dimensional image of integers, or labels that fit none of these types.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise InputError(f"Labels must be whole numbers (H, W), got {labels.dtype} of shape {labels.shape}.")
    dtype = labels.dtype if labels.dtype.name in LABEL_TYPES else _smallest_type(labels)
    with BandWriter(path, (labels.shape[0], labels.shape[1]), dtype, pixel_size_um=pixel_size_um, name=name) as writer:
        for row in range(0, labels.shape[0], TILE_PX):
            writer.write(labels[row : row + TILE_PX])


def open_labels(path: str | Path) -> tuple[Plane, PixelSize | None]:
    """Open a label image (OME-TIFF, TIFF or PNG) as (plane, pixel size (dy, dx) in um or None).

    Raises
    ------
    InputError : missing or damaged file, several images, a colour picture, or values that are not integers.
    """
    path = Path(path)
    is_picture = path.is_file() and kind_of(path) == "image"
    sources = read_image(path, as_index=True) if is_picture else read_maps(path)
    source = sources[0]
    if len(sources) > 1 or source.remark or source.problem or source.plane.dtype.kind not in "bui":
        found = f"{len(sources)} images" if len(sources) > 1 else f"a {source.plane.dtype} picture"
        colour = " in colours" if source.remark or source.problem else ""
        raise InputError(f"{path} is no label image ({found}{colour}): save one image of whole numbers.")
    return source.plane, source.pixel_size_um


def read_labels(path: str | Path) -> NDArray[Any]:
    """Read a whole label image (H, W) in its stored integer type.

    Raises
    ------
    InputError : missing or damaged file, several images, a colour picture, or values that are not integers.
    """
    plane, _ = open_labels(path)
    return plane.read(Window.whole(plane.shape))


def _smallest_type(labels: NDArray[Any]) -> np.dtype[Any]:
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    for name in LABEL_TYPES:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    raise InputError(f"Labels {low} to {high} fit none of {', '.join(LABEL_TYPES)}: renumber them.")
