"""Writing of OME-TIFF from row bands: tiled, compressed, with coarser levels where the image is large."""

from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from meteoseg.errors import InputError
from meteoseg.io.pyramid import TILE_PX, level_shapes, tiles_of_next_level, tiles_of_rows
from meteoseg.io.source import PixelSize

LABEL_TYPES = ("uint8", "uint16", "uint32", "int32")
VALUE_TYPE = "float32"


@dataclass(frozen=True)
class ChannelLook:
    """Name and colour (``#rrggbb``) of a channel, as viewers show it."""

    name: str
    color: str = "#ffffff"


class BandWriter:
    """Write labels or values as OME-TIFF from row bands that arrive in order; holds a few rows of tiles at most.

    Images over two tiles a side get coarser levels (SubIFDs), each half as large as the one before: labels are
    sampled, values averaged. The file appears under its own name only when `close` has succeeded; `abort` leaves
    nothing behind. As a context manager it closes at the end and aborts on an exception.

    Parameters
    ----------
    path : file to write, replaced if it exists.
    shape : (rows, cols) of the whole image.
    dtype : uint8, uint16, uint32 or int32 for labels, float32 for values.
    pixel_size_um : (dy, dx) in micrometres, or None.
    name : name of the image in the metadata.
    channels : channels of the image, whose rows arrive channel after channel; none: one channel with the image's name.
    rgb : whether rows are colours, (n, cols, 3) uint8.
    average : whether coarser levels hold means; None: only those of values.

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
        channels: Sequence[ChannelLook] = (),
        rgb: bool = False,
        average: bool | None = None,
    ) -> None:
        self.path, self.shape, self.dtype = Path(path), shape, np.dtype(dtype)
        if self.dtype.name not in (*LABEL_TYPES, VALUE_TYPE) or min(shape) < 1:
            raise InputError(
                f"Cannot write labels of type {self.dtype} and shape {shape}: "
                f"use one of {', '.join((*LABEL_TYPES, VALUE_TYPE))} and at least one pixel."
            )
        self._size, self._name = pixel_size_um, name or self.path.stem.removesuffix(".ome")
        self._channels, self._samples = tuple(channels), (3,) if rgb else ()
        self._average = self.dtype.name == VALUE_TYPE if average is None else average
        self._temporary = self.path.with_name(f".{self.path.name}.part")
        self._all_rows = shape[0] * max(1, len(self._channels))
        self._band = np.zeros((min(TILE_PX, shape[0]), shape[1], *self._samples), self.dtype)
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
        if rows.shape[1:] != self._band.shape[1:]:
            raise InputError(f"Rows of shape {rows.shape} do not fit an image {self.shape[1]} pixels wide.")
        if self._rows_written + self._rows_in_band + rows.shape[0] > self._all_rows:
            raise InputError(f"More than the announced {self._all_rows} rows were written to {self.path}.")
        if self.dtype.name in LABEL_TYPES:
            self._check_range(rows)
        start = 0
        while start < rows.shape[0]:
            height = min(TILE_PX, self.shape[0] - self._rows_written % self.shape[0])
            count = min(rows.shape[0] - start, height - self._rows_in_band)
            self._band[self._rows_in_band : self._rows_in_band + count] = rows[start : start + count]
            self._rows_in_band += count
            start += count
            if self._rows_in_band == height:
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
        if self._rows_written != self._all_rows:
            self.abort()
            raise InputError(f"Only {self._rows_written} of {self._all_rows} rows were written to {self.path}.")
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
            with (
                self._temporary.open("w+b") as handle,
                tifffile.TiffWriter(handle, ome=True, bigtiff=self._is_big) as writer,
            ):
                self._write_levels(writer, handle)
            self._is_written = True
        except _AbortedError:
            pass
        except (MemoryError, OSError, RuntimeError, ValueError, struct.error) as error:
            self._failure = error

    def _write_levels(self, writer: tifffile.TiffWriter, handle: IO[bytes]) -> None:
        coarser = level_shapes(self.shape)
        metadata = _metadata(self._name, self._size, self._channels)
        self._write_level(writer, self._tiles(), self.shape, 0, subifds=len(coarser), metadata=metadata)
        for level, shape in enumerate(coarser):
            handle.flush()
            tiles = tiles_of_next_level(self._temporary, level, average=self._average)
            self._write_level(writer, tiles, shape, level + 1, subfiletype=1, metadata=None)

    def _write_level(
        self,
        writer: tifffile.TiffWriter,
        tiles: Iterator[NDArray[Any]],
        shape: tuple[int, int],
        level: int,
        **options: Any,
    ) -> None:
        planes = (len(self._channels),) if len(self._channels) > 1 else ()
        writer.write(
            tiles,
            shape=(*planes, *shape, *self._samples),
            dtype=self.dtype,
            tile=(TILE_PX, TILE_PX),
            compression="zlib",
            photometric="rgb" if self._samples else "minisblack",
            maxworkers=1,
            **_resolution(self._size, 2**level),
            **options,
        )

    @property
    def _is_big(self) -> bool:
        """Whether the file may pass what a classic TIFF holds; the coarser levels take a third more."""
        return self._all_rows * self.shape[1] * self.dtype.itemsize * max(1, sum(self._samples)) * 4 / 3 > 2**31

    def _tiles(self) -> Iterator[NDArray[Any]]:
        """Yield the tiles of the bands as they arrive."""
        rows_left = self._all_rows
        while rows_left > 0:
            band = self._queue.get()
            if band is None:
                raise _AbortedError
            yield from tiles_of_rows(band)
            rows_left -= band.shape[0]


class _AbortedError(Exception):
    """Ends the writing thread on `abort`."""


def _metadata(name: str, pixel_size_um: PixelSize | None, channels: Sequence[ChannelLook]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Name": name, "Channel": {"Name": [name]}}
    if channels:
        colors = [_ome_color(channel.color) for channel in channels]
        metadata["Channel"] = {"Name": [channel.name for channel in channels], "Color": colors}
    if pixel_size_um is not None:
        for axis, size in zip("YX", pixel_size_um, strict=True):
            metadata |= {f"PhysicalSize{axis}": float(size), f"PhysicalSize{axis}Unit": "µm"}
    return metadata


def _ome_color(color: str) -> int:
    """Return ``#rrggbb`` as OME writes it: red, green, blue, alpha as one signed number of 32 bits.

    Examples
    --------
    >>> _ome_color("#ffffff"), _ome_color("#000001")
    (-1, 511)
    """
    return int.from_bytes(bytes.fromhex(color[1:] + "ff"), "big", signed=True)


def _resolution(pixel_size_um: PixelSize | None, factor: int) -> dict[str, Any]:
    if pixel_size_um is None:
        return {}
    dy, dx = (size * factor for size in pixel_size_um)
    return {"resolution": (1e4 / dx, 1e4 / dy), "resolutionunit": "CENTIMETER"}
