"""Coarser copies of an image inside its OME-TIFF: what viewers of large images read when they are zoomed out.

Each level has half the rows and columns of the one before (rounded up) and is made from it tile by tile, as it was
written: no level is ever in memory or in a file of its own. Labels are sampled, never averaged; values are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

#: Side of a tile in pixels.
TILE_PX = 512
#: Images up to this side have no coarser levels; the coarsest level is no larger.
LARGEST_TOP_PX = 2 * TILE_PX


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (rows, cols) of the coarser levels of an image, finest first.

    Examples
    --------
    >>> level_shapes((1024, 700)), level_shapes((4001, 3000))
    ([], [(2001, 1500), (1001, 750)])
    """
    shapes = []
    while max(shape) > LARGEST_TOP_PX:
        shape = (math.ceil(shape[0] / 2), math.ceil(shape[1] / 2))
        shapes.append(shape)
    return shapes


def halved(values: NDArray[Any], *, average: bool) -> NDArray[Any]:
    """Return an image (H, W) or (H, W, samples) at half its size, rounded up, in its own type.

    Parameters
    ----------
    average : take the mean of the finite values of each block of 2 x 2 (NaN where there is none), else its upper left
        pixel.

    Examples
    --------
    >>> image = np.array([[1, 1, 4], [3, 3, 8], [9, 7, 5]])
    >>> halved(image, average=False).tolist(), halved(image, average=True).tolist()
    ([[1, 4], [9, 5]], [[2, 6], [8, 5]])
    """
    if not average:
        return values[::2, ::2]
    shape = (math.ceil(values.shape[0] / 2), math.ceil(values.shape[1] / 2), *values.shape[2:])
    total, count = np.zeros(shape, np.float64), np.zeros(shape, np.uint8)
    for row in (0, 1):
        for col in (0, 1):
            part = values[row::2, col::2]
            finite = np.isfinite(part)
            total[: part.shape[0], : part.shape[1]] += np.where(finite, part, 0)
            count[: part.shape[0], : part.shape[1]] += finite
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (np.rint(mean) if values.dtype.kind in "iu" else mean).astype(values.dtype)


def tiles_of_rows(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut up to `TILE_PX` full rows into tiles, padded with zeros at the right and lower border."""
    for col in range(0, rows.shape[1], TILE_PX):
        part = rows[:, col : col + TILE_PX]
        tile = np.zeros((TILE_PX, TILE_PX, *rows.shape[2:]), rows.dtype)
        tile[: part.shape[0], : part.shape[1]] = part
        yield tile


def tiles_of_next_level(path: Path, level: int, *, average: bool) -> Iterator[NDArray[Any]]:
    """Yield the tiles of level `level` + 1 of a file that holds level `level` (0 is the image itself).

    The file may still be growing. All channels follow each other.
    """
    with tifffile.TiffFile(path, is_ome=False) as tif, path.open("rb") as handle:
        for number in range(len(tif.pages)):
            page: Any = tif.pages[number]
            if level:
                page = page.pages[level - 1]
            for row in range(0, page.imagelength, 2 * TILE_PX):
                upper = halved(_tile_row(handle, page, row), average=average)
                if row + TILE_PX < page.imagelength:
                    lower = halved(_tile_row(handle, page, row + TILE_PX), average=average)
                    upper = np.concatenate([upper, lower])
                yield from tiles_of_rows(upper)


def _tile_row(handle: Any, page: Any, row: int) -> NDArray[Any]:
    """Read the rows of the tiles that begin at `row`: (h, W) or (h, W, samples)."""
    height, width, samples = min(TILE_PX, page.imagelength - row), page.imagewidth, page.samplesperpixel
    rows = np.empty((height, width, samples), page.dtype)
    tiles_across = math.ceil(width / TILE_PX)
    for number in range(tiles_across):
        index = row // TILE_PX * tiles_across + number
        handle.seek(page.dataoffsets[index])
        tile = page.decode(handle.read(page.databytecounts[index]), index)[0][0]
        part = rows[:, number * TILE_PX : (number + 1) * TILE_PX]
        part[...] = tile[:height, : part.shape[1]]
    return rows if samples > 1 else rows[..., 0]
