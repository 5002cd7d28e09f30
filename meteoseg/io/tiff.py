"""TIFF: single maps, multi-page files, OME-TIFF and ImageJ stacks, read lazily by window."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.source import MapSource, is_single_hue, stem_of, unit_of_type
from meteoseg.io.tiffmeta import PageName, ome_names, page_names, pixel_size_of
from meteoseg.io.tiffplane import TiffPlane, plane_of_page, planes_of_contiguous_stack

SUFFIXES = (".tif", ".tiff", ".btf")
#: tifffile raises these on damaged files; anything else would be a fault of this program.
_DAMAGE = (
    tifffile.TiffFileError,
    struct.error,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OSError,
    RuntimeError,
    ElementTree.ParseError,
)


def read_tiff(path: Path) -> tuple[MapSource, ...]:
    """List the images of a TIFF file without reading their pixels.

    Raises
    ------
    InputError : empty, truncated or damaged file, or a compression that cannot be decoded.
    """
    with _damage_reported(path):
        _check_page_chain(path)
        with tifffile.TiffFile(path) as tif:
            return _sources(path, tif)


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is truncated or not a readable TIFF ({detail}): export or copy it again.") from error


def _check_page_chain(path: Path) -> None:
    """Follow the links from page to page; tifffile silently drops pages beyond the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            raise InputError(f"{path} is {'empty' if not size else 'not a TIFF file'}: export or copy it again.")
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        offset = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
        count_format, link_format, entry_bytes = ("Q", "Q", 20) if big else ("H", "I", 12)
        seen: set[int] = set()
        while offset and offset not in seen:
            seen.add(offset)
            handle.seek(offset)
            count_bytes = handle.read(struct.calcsize(count_format))
            if len(count_bytes) < struct.calcsize(count_format):
                raise InputError(f"{path} is truncated (page {len(seen)} is missing): export or copy it again.")
            entries = struct.unpack(order + count_format, count_bytes)[0]
            handle.seek(entries * entry_bytes, 1)
            offset = struct.unpack(order + link_format, handle.read(struct.calcsize(link_format)))[0]


def _sources(path: Path, tif: tifffile.TiffFile) -> tuple[MapSource, ...]:
    planes, names = _planes_and_names(path, tif)
    size = pixel_size_of(tif)
    several = len(planes) > 1
    return tuple(
        _source(plane, name, size, number if several else None)
        for number, (plane, name) in enumerate(zip(planes, names, strict=True), start=1)
    )


def _planes_and_names(path: Path, tif: tifffile.TiffFile) -> tuple[list[TiffPlane], list[PageName]]:
    pages = [page for page in tif.pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced]
    if not pages:
        raise InputError(f"{path} holds no image: export it again.")
    if len(pages) == 1 and tif.is_imagej and len(tif.series) == 1 and tif.series[0].size > pages[0].size:
        planes = planes_of_contiguous_stack(path, pages[0], int(tif.series[0].size // pages[0].size))
        return planes, page_names(tif, pages * len(planes))
    grid = pages[0].shape[:2] if pages[0].planarconfig == 1 else pages[0].shape[-2:]
    named = ome_names(tif) if tif.is_ome else {}
    planes, names = [], []
    for page, name in zip(pages, page_names(tif, pages), strict=True):
        made = plane_of_page(path, page)
        if made[0].shape != tuple(grid):
            continue
        ome = named.get(page.index, ())
        planes += made
        names += [PageName(ome[i], "OME channel name") if i < len(ome) else name for i in range(len(made))]
    return planes, names


def _source(
    plane: TiffPlane, name: PageName, size: tuple[tuple[float, float], str] | None, number: int | None
) -> MapSource:
    sample = _sample(plane) if plane.is_rgb or plane.dtype.kind == "f" else None
    if plane.needs_decoder:
        plane.read(Window(0, 0, 1, 1))
    full_scale = np.iinfo(plane.dtype).max if plane.dtype.kind == "u" else 255
    colourful = plane.is_rgb and sample is not None and not is_single_hue(sample * (255 / full_scale))
    label, label_from = (stem_of(plane.path), "file name") if number is None else (name.text, name.origin)
    return MapSource(
        plane.path,
        plane.numbered(number),
        label,
        label_from,
        number,
        "display" if plane.is_rgb else unit_of_type(plane.dtype, sample),
        size[0] if size else None,
        size[1] if size else "",
        "RGB picture of one hue, read as the maximum of its three channels" if plane.is_rgb else "",
        "a colour picture of several hues, not one map" if colourful else "",
    )


def _sample(plane: TiffPlane) -> NDArray[Any]:
    """Some rows spread over the map: (N, 3) of an RGB picture, (N,) otherwise."""
    rows = np.unique(np.linspace(0, plane.shape[0] - 1, 24).astype(int))
    parts = [plane.read_samples(Window(int(row), 0, 1, plane.shape[1])) for row in rows]
    return np.concatenate([part[0] for part in parts])
