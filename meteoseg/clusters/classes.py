"""What the classical tools have in common: named classes of pixels, their legend, features read by window."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.errors import InputError
from meteoseg.grid import Window, row_bands
from meteoseg.legend import OUTSIDE, UNCLASSIFIED, Label, Legend, default_legend
from meteoseg.section import Section, Stack

Floats = NDArray[np.float32]

MOST_CLASSES = 100
_TRUNCATE = 4.0
_BAND_PX = 1_000_000
_GOLDEN = 0.618034


class PixelClasses(Protocol):
    """A fitted tool: its classes by name, and the class of each pixel of a window."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes; `draw` returns 1 + the index of a name, 0 where there is none."""

    @property
    def description(self) -> str:
        """What the classes are based on."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the run."""

    def draw(self, window: Window) -> NDArray[np.uint8]:
        """Return the class of each pixel (H, W) of a window, the same as in the whole map."""


@dataclass(frozen=True)
class Features:
    """Values of each pixel that a tool sorts by, read by window.

    `stack` : channels or expressions of them. Counts are taken as their square root, so that their noise is the same
    everywhere (Bartlett, 1936), unless `plain`. Negative counts are 0, and if `plain` all negative values are.
    `sigmas_px` : Gaussian widths (px) of smoothed copies; 0 is the map.
    """

    stack: Stack
    sigmas_px: tuple[float, ...] = (0.0,)
    plain: bool = False

    @property
    def halo_px(self) -> int:
        """Pixels around a window that its features depend on."""
        return math.ceil(_TRUNCATE * max(self.sigmas_px)) if max(self.sigmas_px) else 0

    def read(self, window: Window) -> Floats:
        """Return the features (F, H, W) of a window; missing values count as 0."""
        outer = window.padded(self.halo_px, self.stack.shape)
        values = np.nan_to_num(self.stack.read(outer), posinf=0.0, neginf=0.0)
        if self.plain:
            np.maximum(values, 0, out=values)
        else:
            for plane, is_count in zip(values, self.are_counts(), strict=True):
                if is_count:
                    np.sqrt(np.maximum(plane, 0), out=plane)
        layers = [values if not sigma else self._smooth(values, sigma) for sigma in self.sigmas_px]
        return np.concatenate(layers)[(slice(None), *window.within(outer))]

    def are_counts(self) -> list[bool]:
        """Tell of each channel of the stack whether it holds counts (expressions do not)."""
        channels = self.stack.section.channels
        return [name in channels and channels[name].unit in ("counts", "unknown") for name in self.stack.names]

    @staticmethod
    def _smooth(values: Floats, sigma_px: float) -> Floats:
        smooth = np.empty_like(values)
        for plane, out in zip(values, smooth, strict=True):
            ndimage.gaussian_filter(plane, sigma_px, output=out, mode="nearest", truncate=_TRUNCATE)
        return smooth


def select_channels(source: Section | Stack) -> Stack:
    """Return a stack as it is, and of a section all its channels."""
    return source if isinstance(source, Stack) else source.select(source.channel_names)


def bands(shape: tuple[int, ...]) -> Iterator[Window]:
    """Return windows of whole rows that cover (H, W), of about a million pixels each, so that memory stays bounded."""
    return row_bands(shape, _BAND_PX)


def by_pixels(
    values: Floats, predict: Callable[[NDArray[np.float32]], NDArray[Any]], *, chunk_px: int = 200_000
) -> NDArray[np.uint8]:
    """Sort the pixels of (F, H, W) by `predict`, a function of (N, F) that returns classes 0 to 254; 1 is added."""
    flat = values.reshape(len(values), -1)
    found = np.empty(flat.shape[1], np.uint8)
    for start in range(0, flat.shape[1], chunk_px):
        part = slice(start, start + chunk_px)
        found[part] = predict(np.ascontiguousarray(flat[:, part].T)) + 1
    return found.reshape(values.shape[1:])


def legend_of(names: Sequence[str], colors: dict[str, str] | None = None) -> tuple[Legend, NDArray[np.uint8]]:
    """Make the legend of classes, and the table from what `PixelClasses.draw` returns to its ids.

    Names of the shipped phase legend keep their id, colour and density there, so that results can be compared. Others
    get the next free ids: from 1 where no shipped phase is named. Where no class holds, a pixel is ``unclassified``.

    Raises
    ------
    InputError : a name twice, more than 100 classes, or ``outside``, which the section's mask decides.

    Examples
    --------
    >>> legend, table = legend_of(["cluster 1", "cluster 2"])
    >>> legend.names, table.tolist()
    (('outside', 'cluster 1', 'cluster 2', 'unclassified'), [3, 1, 2])
    """
    if len(names) > MOST_CLASSES:
        raise InputError(f"{len(names)} classes are too many: at most {MOST_CLASSES}.")
    if OUTSIDE in names:
        raise InputError(f"A class cannot be called '{OUTSIDE}': what lies outside is decided by the section's mask.")
    shipped = default_legend("phases")
    known = [shipped[name] for name in names if name in shipped]
    free = iter(range(max(shipped.ids) + 1 if known else 1, 256))
    labels = [shipped[OUTSIDE]]
    for index, name in enumerate(names):
        color = (colors or {}).get(name) or (shipped[name].color if name in shipped else _color(index))
        if name in shipped:
            labels.append(replace(shipped[name], color=color))
        else:
            labels.append(Label(next(free), name, color))
    if UNCLASSIFIED not in names:
        number = shipped[UNCLASSIFIED].id if known else next(free)
        labels.append(Label(number, UNCLASSIFIED, shipped[UNCLASSIFIED].color))
    legend = Legend("phases", tuple(labels))
    return legend, np.array([legend[UNCLASSIFIED].id, *(legend[name].id for name in names)], np.uint8)


def _color(index: int) -> str:
    """Return the colour of the class `index`: hues that lie as far apart as they can, in three brightnesses."""
    rgb = colorsys.hls_to_rgb((0.58 + index * _GOLDEN) % 1, (0.5, 0.68, 0.36)[index % 3], 0.62)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


__all__ = ["MOST_CLASSES", "Features", "PixelClasses", "bands", "by_pixels", "legend_of", "select_channels"]
