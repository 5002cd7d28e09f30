"""Images for QuPath, Fiji and napari: label images in the legend's colours, and the maps as channels of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from meteoseg.channels import composite_colors
from meteoseg.elements import BSE
from meteoseg.grid import row_bands
from meteoseg.io.bandwriter import BandWriter, ChannelLook
from meteoseg.legend import Legend
from meteoseg.section import Plane, Section

#: Presets whose colours elements take, the first that has one; other channels take the rest in turn.
_PRESETS = ("FeMgSCaAl",)
_MORE_COLORS = ("#ffffff", "#ff8000", "#80ff00", "#0080ff", "#ff0080", "#8000ff", "#00ff80")


def write_painted(path: Path, plane: Plane, legend: Legend, pixel_size_um: tuple[float, float]) -> None:
    """Write labels in the colours of their legend: RGB, with coarser levels that keep those colours."""
    colors = legend.colors()
    name = path.name.partition(".")[0]
    with BandWriter(path, plane.shape, np.uint8, pixel_size_um=pixel_size_um, name=name, rgb=True) as writer:
        for window in row_bands(plane.shape):
            writer.write(colors[plane.read(window)])


def write_maps(path: Path, section: Section, pixel_size_um: tuple[float, float]) -> None:
    """Write the maps of a section as the channels of one image, in a type that holds all of them."""
    dtype = common_type([channel.plane.dtype for channel in section.channels.values()])
    with BandWriter(
        path,
        section.shape,
        dtype,
        pixel_size_um=pixel_size_um,
        name=section.name,
        channels=channel_looks(section.channel_names),
        average=True,
    ) as writer:
        for channel in section.channels.values():
            for window in row_bands(section.shape):
                writer.write(channel.plane.read(window).astype(dtype, copy=False))


def common_type(dtypes: Sequence[np.dtype[np.generic]]) -> np.dtype[np.generic]:
    """Return uint8 or uint16 where they hold values of all types, else float32, which all programs open.

    Counts over 16 777 216 are rounded in float32; QuPath opens no whole numbers of 32 bits.

    Examples
    --------
    >>> common_type([np.dtype("u1"), np.dtype("u2")]), common_type([np.dtype("u4")])
    (dtype('uint16'), dtype('float32'))
    """
    if all(dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2) for dtype in dtypes):
        return np.dtype(np.uint16 if any(dtype.itemsize == 2 for dtype in dtypes) else np.uint8)
    return np.dtype(np.float32)


def channel_looks(names: Sequence[str]) -> tuple[ChannelLook, ...]:
    """Return name and colour of channels: electron images grey, elements as in composites."""
    looks, used = [], 0
    for name in names:
        color = _known_colors().get(name)
        if color is None:
            color = _MORE_COLORS[1 + used % (len(_MORE_COLORS) - 1)]
            used += 1
        looks.append(ChannelLook(name, color))
    return tuple(looks)


@cache
def _known_colors() -> Mapping[str, str]:
    known = {BSE: _MORE_COLORS[0]}
    for preset in _PRESETS:
        for name, (red, green, blue) in composite_colors(preset).items():
            known.setdefault(name, f"#{red:02x}{green:02x}{blue:02x}")
    return known
