"""Contact sheets: a small picture of the maps around each point, numbered, without what the map calls it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from meteoseg.channels import composite, composite_colors, composite_names
from meteoseg.elements import BSE
from meteoseg.grid import Window
from meteoseg.section import Section

#: Pixels of the map around a point that a picture shows, and pixels of the sheet for each of them.
AROUND_PX, ZOOM = 49, 3
#: Points on a sheet, and side by side.
PER_SHEET, PER_ROW = 60, 5
_PRESETS = ("FeMgSCaAl", "FeSO", "MgCaAl")
_GAP, _HEAD = 6, 14


def views(section: Section) -> tuple[str, ...]:
    """Return what is shown of a section: its BSE map, and the most telling composite that it has the channels for."""
    known = [name for name in _PRESETS if name in composite_names()]
    possible = [name for name in known if set(composite_colors(name)) <= set(section.channels)]
    shown = ([f"{BSE}=white"] if BSE in section.channels else []) + possible[:1]
    return tuple(shown) or (f"{section.channel_names[0]}=white",)


def contact_sheets(section: Section, points: pd.DataFrame) -> list[bytes]:
    """Draw the sheets of a list of points (columns point, row_px, col_px); return PNG bytes of each.

    Every picture of a sheet is stretched alike. The point is the pixel between the four lines.
    """
    sheets = []
    for start in range(0, len(points), PER_SHEET):
        part = points.iloc[start : start + PER_SHEET]
        where = list(zip(part["row_px"].astype(int), part["col_px"].astype(int), strict=True))
        pictures = [_pictures(section, where, view) for view in views(section)]
        sheets.append(_sheet(pictures, [str(number) for number in part["point"]]))
    return sheets


def _pictures(section: Section, where: Sequence[tuple[int, int]], view: str) -> NDArray[np.uint8]:
    """Return the pictures around points (N, h, w, 3); beyond the map they are black."""
    names = tuple(composite_colors(view))
    stacked = np.full((len(names), len(where), AROUND_PX, AROUND_PX), np.nan, np.float32)
    half = AROUND_PX // 2
    for number in sorted(range(len(where)), key=lambda index: where[index]):  # by rows: files are read band by band
        row, col = where[number]
        window = Window(row, col, 1, 1).padded(half, section.shape)
        top, left = window.row - (row - half), window.col - (col - half)
        values = section.read(list(names), window)
        stacked[:, number, top : top + window.height, left : left + window.width] = values
    planes = stacked.reshape(len(names), -1, AROUND_PX)
    joined = Section.from_arrays("points", dict(zip(names, planes, strict=True)))
    rgb = composite(joined, view, max_px=max(joined.shape))
    return rgb.reshape(len(where), AROUND_PX, AROUND_PX, 3)


def _sheet(pictures: Sequence[NDArray[np.uint8]], numbers: Sequence[str]) -> bytes:
    side = AROUND_PX * ZOOM
    width, height = len(pictures) * side + 3 * _GAP, side + _HEAD + _GAP
    n_rows = -(-len(numbers) // PER_ROW)
    sheet = Image.new("RGB", (min(PER_ROW, len(numbers)) * width + _GAP, n_rows * height + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for place, number in enumerate(numbers):
        top, left = place // PER_ROW * height + _GAP, place % PER_ROW * width + _GAP
        pen.text((left, top), number, fill="black")
        for view, stack in enumerate(pictures):
            large = Image.fromarray(stack[place]).resize((side, side), Image.Resampling.NEAREST)
            corner = (left + view * (side + _GAP // 2), top + _HEAD)
            sheet.paste(large, corner)
            _cross(pen, corner)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _cross(pen: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
    """Draw four lines that end at the middle pixel, which stays free."""
    left, top = corner[0] + AROUND_PX // 2 * ZOOM, corner[1] + AROUND_PX // 2 * ZOOM
    near, far = 2, 12
    for col, row in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        col_mid, row_mid = left + ZOOM // 2, top + ZOOM // 2
        start = (col_mid + col * (ZOOM // 2 + near), row_mid + row * (ZOOM // 2 + near))
        end = (col_mid + col * (ZOOM // 2 + far), row_mid + row * (ZOOM // 2 + far))
        pen.line([start, end], fill="#ffb000", width=1)
