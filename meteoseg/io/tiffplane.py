"""Windowed reads of one TIFF image: the rows touched where contiguous, else only the strips or tiles touched."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.stored import Stamp, check_unchanged, opened, read_grid, read_piece, stamp_of

Decoder = Callable[..., Any]
#: Decoded strips and tiles kept for the next window, over all files (bytes).
CACHE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class TiffLayout:
    """Where the pixels of one page lie; `stamp` tells a rewritten file from the one opened."""

    path: Path
    ifd: int
    stamp: Stamp
    shape: tuple[int, int]
    samples: int
    separate: bool
    dtype: np.dtype[Any]
    contiguous_at: int | None
    segment: tuple[int, int]
    offsets: NDArray[np.int64] = field(compare=False, repr=False)
    bytecounts: NDArray[np.int64] = field(compare=False, repr=False)
    white_is_zero: bool = False
    byteorder: Literal["<", ">"] = "<"


@dataclass(frozen=True)
class TiffPlane:
    """One image of a TIFF file; `sample` None stands for the maximum over red, green and blue.

    `page` counts from 1 in files of several images, else None.
    """

    layout: TiffLayout
    sample: int | None = 0
    page: int | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.layout.path

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.layout.dtype

    @property
    def is_rgb(self) -> bool:
        """Whether the values are the maximum over three colour channels."""
        return self.sample is None

    @property
    def needs_decoder(self) -> bool:
        """Whether the pixels lie in strips or tiles that must be decoded or put together."""
        return self.layout.contiguous_at is None

    def numbered(self, page: int | None) -> TiffPlane:
        """Return the plane with its page number set."""
        return replace(self, page=page)

    def read(self, window: Window) -> NDArray[Any]:
        """Return the stored values of `window` (height, width)."""
        values = self.read_samples(window)
        if self.sample is None:
            values = values.max(axis=-1)
        if not self.layout.white_is_zero:
            return values
        return ~values if self.dtype.kind in "bu" else values

    def read_samples(self, window: Window) -> NDArray[Any]:
        """Return ``(height, width)``, or ``(height, width, 3)`` of an RGB image."""
        layout = self.layout
        contiguous = layout.contiguous_at is not None
        stored = _read_contiguous(layout, window) if contiguous else _read_segments(layout, window)
        return stored[..., :3] if self.sample is None else stored[..., self.sample]


def plane_of_page(path: Path, page: tifffile.TiffPage) -> list[TiffPlane]:
    """Return the planes of a page: one, or one per sample where the samples are not red, green, blue.

    Some programs write stacks of three or four count maps as "RGB"; wide or separate samples give them away.

    Raises
    ------
    InputError : the pixels of the page are not all in the file.
    """
    layout = _layout(path, page)
    is_picture = layout.dtype == np.uint8 or (layout.dtype == np.uint16 and not layout.separate)
    if page.photometric in (2, 6) and layout.samples >= 3 and is_picture:
        return [TiffPlane(layout, None)]
    return [TiffPlane(layout, sample) for sample in range(layout.samples)]


def planes_of_contiguous_stack(path: Path, page: tifffile.TiffPage, count: int) -> list[TiffPlane]:
    """Return the planes of an ImageJ stack that has one page entry and all images behind each other."""
    layout = _layout(path, page)
    if layout.contiguous_at is None or layout.contiguous_at + count * page.nbytes > layout.stamp[1]:
        raise _truncated(path, f"{count} images are announced")
    starts = [layout.contiguous_at + number * page.nbytes for number in range(count)]
    return [TiffPlane(replace(layout, contiguous_at=start)) for start in starts]


def _layout(path: Path, page: tifffile.TiffPage) -> TiffLayout:
    if (
        page.dtype is None
        or page.dtype.kind == "c"
        or page.ndim not in (2, 3)
        or page.imagedepth > 1
        or page.nbytes == 0
    ):
        raise InputError(f"{path} holds no two-dimensional map of numbers (page {page.index + 1}): export it again.")
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    segment = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    segment = (min(segment[0], page.imagelength) if not page.is_tiled else segment[0], segment[1])
    layout = TiffLayout(
        path, page.index, stamp_of(path), (page.imagelength, page.imagewidth),
        page.samplesperpixel, separate, np.dtype(page.dtype).newbyteorder("="),
        int(page.dataoffsets[0]) if page.is_final and page.is_contiguous else None,
        segment, np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64),
        _is_inverted(page), ">" if page.parent.byteorder == ">" else "<",
    )  # fmt: skip
    _check_complete(layout, page)
    return layout


def _is_inverted(page: tifffile.TiffPage) -> bool:
    """Whether zero is white; tifffile marks the bilevel images it writes so, without inverting them."""
    return page.photometric == 0 and not (page.bitspersample == 1 and page.software == "tifffile.py")


def _check_complete(layout: TiffLayout, page: tifffile.TiffPage) -> None:
    rows, cols = _segment_grid(layout)
    expected = rows * cols * (layout.samples if layout.separate else 1)
    if len(layout.offsets) < expected or len(layout.bytecounts) != len(layout.offsets):
        raise _truncated(layout.path, f"{len(layout.offsets)} of {expected} strips or tiles are listed")
    ends = layout.offsets + layout.bytecounts
    if layout.contiguous_at is not None:
        ends = np.array([layout.contiguous_at + page.nbytes])
    missing = int((ends > layout.stamp[1]).sum())
    if missing:
        raise _truncated(layout.path, f"the file ends at byte {layout.stamp[1]} of {int(ends.max())}")
    if page.compression == 1 and layout.contiguous_at is None and not (layout.bytecounts > 0).all():
        raise _truncated(layout.path, "a strip or tile is empty")


def _truncated(path: Path, detail: str) -> InputError:
    return InputError(f"{path} is truncated ({detail}): export or copy it again.")


def _segment_grid(layout: TiffLayout) -> tuple[int, int]:
    return math.ceil(layout.shape[0] / layout.segment[0]), math.ceil(layout.shape[1] / layout.segment[1])


def _read_contiguous(layout: TiffLayout, window: Window) -> NDArray[Any]:
    stored = layout.dtype.newbyteorder(layout.byteorder) if layout.dtype.itemsize > 1 else layout.dtype
    at = layout.contiguous_at or 0
    with opened(layout.path, layout.stamp) as handle:
        if not layout.separate:
            values = read_grid(handle, stored, at, (*layout.shape, layout.samples), window)
        else:
            step = layout.shape[0] * layout.shape[1] * stored.itemsize
            planes = [
                read_grid(handle, stored, at + number * step, (*layout.shape, 1), window)
                for number in range(layout.samples)
            ]
            values = np.concatenate(planes, axis=2)
    return np.asarray(values, layout.dtype)


def _read_segments(layout: TiffLayout, window: Window) -> NDArray[Any]:
    out = np.zeros((*window.shape, layout.samples), layout.dtype)
    (height, width), (grid_rows, grid_cols) = layout.segment, _segment_grid(layout)
    with opened(layout.path, layout.stamp) as handle:
        for row in range(window.row // height, min(grid_rows, math.ceil(window.row_end / height))):
            for col in range(window.col // width, min(grid_cols, math.ceil(window.col_end / width))):
                full = Window(row * height, col * width, height, width).intersect(Window.whole(layout.shape))
                common = full.intersect(window) if full else None
                if full is None or common is None:
                    continue
                for plane in range(layout.samples if layout.separate else 1):
                    index = (plane * grid_rows + row) * grid_cols + col
                    values = _decoded(layout, index, handle)[common.within(full)]
                    target = slice(plane, plane + 1) if layout.separate else slice(None)
                    out[(*common.within(window), target)] = values
    return out


class _SegmentCache:
    """Decoded strips and tiles, the least recently used dropped first; the newest is always kept."""

    def __init__(self) -> None:
        self._items: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: tuple[Any, ...]) -> NDArray[Any] | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple[Any, ...], values: NDArray[Any]) -> None:
        with self._lock:
            if key in self._items:
                return
            self._items[key] = values
            self._bytes += values.nbytes
            while self._bytes > CACHE_BYTES and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1].nbytes


_cache = _SegmentCache()


def _decoded(layout: TiffLayout, index: int, handle: Any) -> NDArray[Any]:
    """Return one strip or tile as (rows, cols, samples)."""
    key = (layout.path, layout.stamp, layout.ifd, index)
    values = _cache.get(key)
    if values is None:
        values = _decode(layout, index, handle)
        _cache.put(key, values)
    return values


def _decode(layout: TiffLayout, index: int, handle: Any) -> NDArray[Any]:
    if not layout.bytecounts[index]:
        return np.zeros((*layout.segment, 1 if layout.separate else layout.samples), layout.dtype)
    stored = read_piece(handle, int(layout.offsets[index]), int(layout.bytecounts[index]))
    try:
        values = _decoder(layout.path, layout.ifd, layout.stamp)(stored, index)[0]
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise InputError(
            f"{layout.path} has a damaged or unsupported strip or tile ({error}): export or copy it again."
        ) from error
    return np.asarray(values[0])


@lru_cache(maxsize=128)
def _decoder(path: Path, ifd: int, stamp: Stamp) -> Decoder:
    """Return tifffile's decoder of a page; `stamp` renews it for a rewritten file."""
    check_unchanged(path, stamp)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[ifd]
        return page.decode
