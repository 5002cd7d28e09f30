"""A map that lies some whole pixels off the others, read in its place; and the part of the grid that all maps reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.section import Plane, PlaneView


@dataclass(frozen=True)
class ShiftedPlane:
    """A map whose grains are found `shift_px` (rows, cols) further down and right than in the other maps.

    It is read that far away: whole pixels, so that no value changes. Where it ends it is 0 (NaN if it holds decimals),
    and the section mask ends there.

    Examples
    --------
    >>> from meteoseg.section import ArrayPlane
    >>> plane = ShiftedPlane(ArrayPlane(np.array([[1, 2, 3], [4, 5, 6]])), (1, -1))
    >>> plane.read(Window(0, 0, 2, 3)).tolist()
    [[0, 4, 5], [0, 0, 0]]
    """

    plane: Plane
    shift_px: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.plane.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.plane.dtype

    @property
    def box(self) -> Window:
        """The part of the grid that the map reaches."""
        (row, col), (rows, cols) = self.shift_px, self.shape
        return Window(max(0, -row), max(0, -col), max(0, rows - abs(row)), max(0, cols - abs(col)))

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`."""
        out = np.full(window.shape, np.nan if self.dtype.kind == "f" else 0, self.dtype)
        part = common(window, self.box)
        if part.height and part.width:
            stored = Window(part.row + self.shift_px[0], part.col + self.shift_px[1], *part.shape)
            out[part.within(window)] = self.plane.read(stored)
        return out


@dataclass(frozen=True)
class BoxedMask:
    """A section mask (None: the whole grid of `shape`), 0 outside `box`."""

    mask: Plane | None
    shape: tuple[int, int]
    box: Window

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return np.dtype(bool) if self.mask is None else self.mask.dtype

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`."""
        out = np.zeros(window.shape, self.dtype)
        part = common(window, self.box)
        if part.height and part.width:
            out[part.within(window)] = True if self.mask is None else self.mask.read(part)
        return out


def common(a: Window, b: Window) -> Window:
    """Return what two windows share; without any, its height or width is 0.

    Examples
    --------
    >>> common(Window(0, 0, 4, 5), Window(2, 3, 9, 9)), common(Window(0, 0, 2, 2), Window(5, 0, 2, 2)).height
    (Window(row=2, col=3, height=2, width=2), 0)
    """
    row, col = max(a.row, b.row), max(a.col, b.col)
    height, width = min(a.row_end, b.row_end) - row, min(a.col_end, b.col_end) - col
    return Window(row, col, max(0, height), max(0, width))


def shift_of(plane: Plane) -> tuple[int, int]:
    """Return the shift of a plane; (0, 0) where it has none."""
    inner = plane.plane if isinstance(plane, PlaneView) else plane
    return inner.shift_px if isinstance(inner, ShiftedPlane) else (0, 0)


def where_all_reach(planes: Iterable[Plane], mask: Plane | None) -> Plane | None:
    """Return the section mask, cut to the part of the grid that every shifted map reaches.

    `planes` lie on one grid, uncut or cut at its lower right; without a shifted one the mask stays as it is.
    """
    planes = list(planes)
    box = whole = Window.whole(planes[0].shape)
    for plane in planes:
        inner = plane.plane if isinstance(plane, PlaneView) else plane
        if isinstance(inner, ShiftedPlane):
            box = common(box, inner.box)
    return mask if box == whole else BoxedMask(mask, whole.shape, box)


def shifted(plane: Plane, entry: Any, listed_in: Path) -> Plane:
    """Read `plane` through the key ``shift_px`` of a section.toml.

    Raises
    ------
    InputError : it is not two whole numbers smaller than the map.
    """
    whole = isinstance(entry, list) and len(entry) == 2 and all(type(value) is int for value in entry)
    if not whole or any(abs(value) >= length for value, length in zip(entry, plane.shape, strict=True)):
        raise InputError(
            f"{listed_in}: shift_px must be two whole numbers, [rows, columns], smaller than the map, got {entry!r}: "
            "make it again with meteoseg register --maps."
        )
    return ShiftedPlane(plane, (entry[0], entry[1])) if any(entry) else plane
