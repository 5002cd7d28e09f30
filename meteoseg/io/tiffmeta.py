"""Names and pixel sizes stated inside TIFF files (OME-XML, ImageJ, page tags)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

import tifffile

from meteoseg.io.source import PixelSize

#: Micrometres per unit, as spelled by OME-XML and ImageJ.
_UM_PER_UNIT = {
    "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "å": 1e-4,
}  # fmt: skip
#: Pixels per centimetre that mean more than this (um) are a screen or print setting (300 dpi is 85 um).
_LARGEST_TRUSTED_UM = 20.0


@dataclass(frozen=True)
class PageName:
    """What a page calls itself, and where that was read."""

    text: str
    origin: str


def page_names(tif: tifffile.TiffFile, pages: list[tifffile.TiffPage]) -> list[PageName]:
    """Return the name of each page from ImageJ labels, PageName or ImageDescription, else empty."""
    imagej = tif.imagej_metadata or {}
    labels = imagej.get("Labels", []) if tif.is_imagej else []
    labels = labels if isinstance(labels, list) else [labels]
    return [
        PageName(str(labels[number]).splitlines()[0] if labels[number] else "", "ImageJ slice label")
        if number < len(labels)
        else _name_from_tags(page)
        for number, page in enumerate(pages)
    ]


def _name_from_tags(page: tifffile.TiffPage) -> PageName:
    for tag, origin in ((285, "PageName"), (270, "ImageDescription")):
        value = page.tags.valueof(tag)
        text = value.strip().splitlines()[0] if isinstance(value, str) and value.strip() else ""
        if text and not text.startswith(("{", "<", "ImageJ=")):
            return PageName(text, origin)
    return PageName("", "page")


def ome_names(tif: tifffile.TiffFile) -> dict[int, tuple[str, ...]]:
    """Return channel names from OME-XML by page index; several names where a page holds several samples."""
    names: dict[int, tuple[str, ...]] = {}
    images = [element for element in _ome_root(tif) if _local(element.tag) == "Image"]
    for image, series in zip(images, tif.series, strict=False):
        channels = [e.get("Name") or "" for e in image.iter() if _local(e.tag) == "Channel"]
        indices = [page.index for page in series.pages if page is not None]
        if len(indices) == 1 and len(channels) <= 1:
            names[indices[0]] = (next(iter(channels), "") or image.get("Name") or "",)
        elif len(indices) == 1:
            names[indices[0]] = tuple(channels)
        elif len(channels) == len(indices):
            names.update({index: (name,) for index, name in zip(indices, channels, strict=True)})
    return names


def pixel_size_of(tif: tifffile.TiffFile) -> tuple[PixelSize, str] | None:
    """Return ((dy, dx) in um, source) where the file states a physical pixel size, else None.

    Dots per inch and unit-less resolutions are printing defaults and are not trusted.
    """
    if tif.is_ome:
        size = _ome_pixel_size(tif)
        if size:
            return size, "OME metadata"
    page = tif.pages.first
    resolution = [_ratio(page.tags.valueof(tag)) for tag in (283, 282)]
    if not all(resolution):
        return None
    imagej_um = _UM_PER_UNIT.get(str((tif.imagej_metadata or {}).get("unit", "")).lower()) if tif.is_imagej else None
    if imagej_um:
        return (imagej_um / resolution[0], imagej_um / resolution[1]), "ImageJ metadata"
    size = (1e4 / resolution[0], 1e4 / resolution[1])
    if page.tags.valueof(296) == 3 and max(size) <= _LARGEST_TRUSTED_UM:
        return size, "TIFF resolution (pixels per cm)"
    return None


def _ome_root(tif: tifffile.TiffFile) -> ElementTree.Element:
    return ElementTree.fromstring(tif.ome_metadata or "<OME/>")


def _ome_pixel_size(tif: tifffile.TiffFile) -> PixelSize | None:
    for element in _ome_root(tif).iter():
        if _local(element.tag) == "Pixels" and element.get("PhysicalSizeX") and element.get("PhysicalSizeY"):
            sizes = [
                float(element.get(f"PhysicalSize{axis}", "nan"))
                * _UM_PER_UNIT.get(element.get(f"PhysicalSize{axis}Unit", "µm").lower(), float("nan"))
                for axis in "YX"
            ]
            return (sizes[0], sizes[1]) if all(0 < size < 1e4 for size in sizes) else None
    return None


def _ratio(value: object) -> float:
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return float(value[0]) / float(value[1])
    return 0.0


def _local(tag: str) -> str:
    return re.sub(r"^\{.*\}", "", tag)
