"""Objects for ImageJ and Fiji: a zip of regions of interest, as the ROI Manager opens it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meteoseg.errors import InputError
from meteoseg.export.result import ExportedObject
from meteoseg.report.images import hex_rgb

if TYPE_CHECKING:
    from roifile import ImagejRoi

#: Commands of a path in ImageJ's format.
_MOVE, _LINE, _CLOSE = 0, 1, 4
#: Numbers of 16 bits hold coordinates within an object up to here; larger objects take 32-bit floating point.
_LARGEST_PX = 32767


def need_roifile() -> None:
    """Check that roifile is installed.

    Raises
    ------
    InputError : it is not.
    """
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise InputError(
            "ImageJ regions need the package roifile: pip install roifile, or choose others with --to."
        ) from error


def write_rois(path: Path, objects: Iterable[ExportedObject]) -> int:
    """Write one region per object into a zip file, one at a time; return how many."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in objects:
            region = roi(item)
            archive.writestr(f"{region.name}.roi", region.tobytes())
        return len(archive.namelist())


def roi(item: ExportedObject) -> ImagejRoi:
    """Return an object as a region of ImageJ: a traced outline, or a composite where it has holes or several parts.

    It lies on all slices and channels. Its name holds the id with leading zeros, so that names sort, and the kind.
    """
    from roifile import ROI_TYPE, ImagejRoi

    rings = [ring for part in item.parts for ring in (part.outer, *part.holes)]
    corners = np.array([(col, row) for ring in rings for row, col in ring], np.int64)
    large = bool((corners.max(axis=0) - corners.min(axis=0)).max() > _LARGEST_PX)
    region = ImagejRoi.frompoints(corners.astype(np.float32) if large else corners, name=_name(item))
    region.roitype = ROI_TYPE.TRACED
    # ImageJ counts the right and lower border of a traced region from its corner points.
    region.left, region.top = (int(value) for value in corners.min(axis=0))
    region.right, region.bottom = (int(value) for value in corners.max(axis=0))
    region.stroke_color = bytes((255, *hex_rgb(item.color)))
    if len(rings) > 1:
        path = _path([[(col, row) for row, col in ring] for ring in rings])
        region.roitype, region.multi_coordinates, region.shape_roi_size = ROI_TYPE.RECT, path, path.size
        region.integer_coordinates = region.subpixel_coordinates = None
        region.n_coordinates = 0
    return region


def _name(item: ExportedObject) -> str:
    """Return a name that can be a file name in a zip.

    Kinds may hold any character; those that archives take for folders are replaced.
    """
    kind = re.sub(r"[^\w .+-]", "-", item.kind)
    return f"{item.id:05d} {kind}"


def _path(rings: list[list[tuple[int, int]]]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return rings of (x, y) as one path: move, lines, close."""
    numbers: list[int] = []
    for ring in rings:
        numbers += [_MOVE, *ring[0]]
        for point in ring[1:]:
            numbers += [_LINE, *point]
        numbers.append(_CLOSE)
    return np.array(numbers, np.float32)
