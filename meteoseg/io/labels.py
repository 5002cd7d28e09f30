"""Label images and maps of values: tiled, compressed OME-TIFF written row band by row band; reading of labels."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.formats import kind_of, read_maps
from meteoseg.io.image import read_image
from meteoseg.io.source import PixelSize
from meteoseg.section import Plane

TILE_PX = 512
_LABEL_TYPES = ("uint8", "uint16", "uint32", "int32")
_VALUE_TYPE = "float32"


class BandWriter:
    """Write labels or values as OME-TIFF from row bands that arrive in order; holds two rows of tiles at most.

    The file appears under its own name only when `close` has succeeded; `abort` leaves nothing behind.
    As a context manager it closes at the end and aborts on an exception.

    Parameters
    ----------
    path : file to write, replaced if it exists.
    shape : (rows, cols) of the whole image.
    dtype : uint8, uint16, uint32 or int32 for labels, float32 for values.
    pixel_size_um : (dy, dx) in micrometres, or None.
    name : name of the image in the metadata.

    Raises
    ------
    InputError : an empty shape or another dtype.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        dtype: DTypeLike,
        *,
        pixel_size_um: PixelSize | None = None,
        name: str = "",
    ) -> None:
        self.path, self.shape, self.dtype = Path(path), shape, np.dtype(dtype)
        if self.dtype.name not in (*_LABEL_TYPES, _VALUE_TYPE) or min(shape) < 1:
            raise InputError(
                f"Cannot write labels of type {self.dtype} and shape {shape}: "
                f"use one of {', '.join((*_LABEL_TYPES, _VALUE_TYPE))} and at least one pixel."
            )
        self._size, self._name = pixel_size_um, name or self.path.stem.removesuffix(".ome")
        self._temporary = self.path.with_name(f".{self.path.name}.part")
        self._band = np.zeros((min(TILE_PX, shape[0]), shape[1]), self.dtype)
        self._rows_in_band = 0
        self._rows_written = 0
        self._queue: queue.Queue[NDArray[Any] | None] = queue.Queue(maxsize=1)
        self._failure: BaseException | None = None
        self._is_written = False
        self._finished = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> BandWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abort()

    def write(self, rows: NDArray[Any]) -> None:
        """Append `rows` (any number, full width).

        Raises
        ------
        InputError : wrong width, too many rows, or values that do not fit the type.
        OSError : the disk refused the data.
        """
        if rows.ndim != 2 or rows.shape[1] != self.shape[1]:
            raise InputError(f"Rows of shape {rows.shape} do not fit an image {self.shape[1]} pixels wide.")
        if self._rows_written + self._rows_in_band + rows.shape[0] > self.shape[0]:
            raise InputError(f"More than the announced {self.shape[0]} rows were written to {self.path}.")
        if self.dtype.name in _LABEL_TYPES:
            self._check_range(rows)
        start = 0
        while start < rows.shape[0]:
            count = min(rows.shape[0] - start, self._band.shape[0] - self._rows_in_band)
            self._band[self._rows_in_band : self._rows_in_band + count] = rows[start : start + count]
            self._rows_in_band += count
            start += count
            if self._rows_in_band == self._band.shape[0]:
                self._send_band()

    def _check_range(self, rows: NDArray[Any]) -> None:
        limits = np.iinfo(self.dtype)
        if rows.size and (rows.min() < limits.min or rows.max() > limits.max):
            raise InputError(f"Labels {rows.min()} to {rows.max()} do not fit the type {self.dtype} of {self.path}.")

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises
        ------
        InputError : fewer rows than announced; the file is not written.
        OSError : the disk refused the data.
        """
        if self._finished:
            return
        if self._rows_in_band:
            self._send_band()
        if self._rows_written != self.shape[0]:
            self.abort()
            raise InputError(f"Only {self._rows_written} of {self.shape[0]} rows were written to {self.path}.")
        self._thread.join()
        self._finished = True
        if not self._is_written:
            self._temporary.unlink(missing_ok=True)
            raise self._failure or RuntimeError(f"{self.path} was not written to its end.")
        self._temporary.replace(self.path)

    def abort(self) -> None:
        """Stop and remove the unfinished file."""
        if self._finished:
            return
        self._finished = True
        self._put(None)
        self._thread.join()
        self._temporary.unlink(missing_ok=True)

    def _send_band(self) -> None:
        self._put(self._band[: self._rows_in_band].copy())
        self._rows_written += self._rows_in_band
        self._rows_in_band = 0
        if self._failure is not None:
            failure = self._failure
            self.abort()
            raise failure

    def _put(self, band: NDArray[Any] | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(band, timeout=0.1)
            except queue.Full:
                continue
            return

    def _run(self) -> None:
        try:
            with tifffile.TiffWriter(self._temporary, ome=True, bigtiff=self._is_big) as writer:
                writer.write(
                    self._tiles(),
                    shape=self.shape,
                    dtype=self.dtype,
                    tile=(TILE_PX, TILE_PX),
                    compression="zlib",
                    photometric="minisblack",
                    maxworkers=1,
                    metadata=_metadata(self._name, self._size),
                    **_resolution(self._size),
                )
            self._is_written = True
        except _AbortedError:
            pass
        except (MemoryError, OSError, RuntimeError, ValueError, struct.error) as error:
            self._failure = error

    @property
    def _is_big(self) -> bool:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize > 2**31

    def _tiles(self) -> Iterator[NDArray[Any]]:
        """Yield full tiles, padded with zeros at the right and lower border."""
        rows_left = self.shape[0]
        while rows_left > 0:
            band = self._queue.get()
            if band is None:
                raise _AbortedError
            for col in range(0, self.shape[1], TILE_PX):
                part = band[:, col : col + TILE_PX]
                tile = np.zeros((TILE_PX, TILE_PX), self.dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
            rows_left -= band.shape[0]


class _AbortedError(Exception):
    """Ends the writing thread on `abort`."""


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
    dtype = labels.dtype if labels.dtype.name in _LABEL_TYPES else _smallest_type(labels)
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
    for name in _LABEL_TYPES:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return np.dtype(name)
    raise InputError(f"Labels {low} to {high} fit none of {', '.join(_LABEL_TYPES)}: renumber them.")


def _metadata(name: str, pixel_size_um: PixelSize | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": "YX", "Name": name}
    if pixel_size_um is not None:
        for axis, size in zip("YX", pixel_size_um, strict=True):
            metadata |= {f"PhysicalSize{axis}": float(size), f"PhysicalSize{axis}Unit": "µm"}
    return metadata


def _resolution(pixel_size_um: PixelSize | None) -> dict[str, Any]:
    if pixel_size_um is None:
        return {}
    return {"resolution": (1e4 / pixel_size_um[1], 1e4 / pixel_size_um[0]), "resolutionunit": "CENTIMETER"}
