"""A bounded, reproducible sample of a section's pixels, for statistics that need no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

SAMPLE_PX = 1_000_000
MAX_BANDS = 64
_MASK_ROWS = 256


class Maps(Protocol):
    """What is sampled: a `meteoseg.section.Section`."""

    @property
    def mask(self) -> Any:
        """The mask, or None."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""

    def read(self, names: Sequence[str] | None, window: Window) -> FloatArray:
        """Return channels as float32 (C, height, width); None reads all."""

    def read_mask(self, window: Window) -> BoolArray:
        """Return the mask, bool (height, width)."""


def sample_windows(
    shape: tuple[int, int],
    *,
    read_mask: Callable[[Window], BoolArray] | None = None,
    max_px: int = SAMPLE_PX,
) -> list[Window]:
    """Spread at most 64 bands of whole rows evenly over the rows that the mask touches.

    Whole rows, because that is how most maps lie on disk. Together the bands hold at most about `max_px`
    pixels (never fewer than one row); a smaller section is covered completely.

    Examples
    --------
    >>> [(window.row, window.height) for window in sample_windows((100, 50), max_px=500)]
    [(0, 1), (11, 1), (22, 1), (33, 1), (44, 1), (55, 1), (66, 1), (77, 1), (88, 1), (99, 1)]
    """
    rows = _masked_rows(shape, read_mask)
    if rows.size * shape[1] <= max_px:
        breaks = np.flatnonzero(np.diff(rows) > 1) + 1
        return [Window(int(run[0]), 0, len(run), shape[1]) for run in np.split(rows, breaks) if run.size]
    budget_rows = max(1, max_px // shape[1])
    bands = min(MAX_BANDS, budget_rows)
    height = budget_rows // bands
    starts = rows[np.linspace(0, rows.size - height, bands).round().astype(np.int64)]
    starts = np.unique(np.minimum(starts, shape[0] - height))
    return [Window(int(start), 0, height, shape[1]) for start in starts]


def sample_pixels(
    section: Maps, read: Callable[[Window], FloatArray] | None = None, *, max_px: int = SAMPLE_PX
) -> FloatArray:
    """Collect pixels inside the mask that were measured: float32 (C, N), N at most about `max_px`.

    A pixel that is exactly 0 in every one of several channels lies in an empty field of a mosaic and is left
    out. NaN stays NaN. The same section gives the same sample.

    Parameters
    ----------
    section : the maps; all their channels decide which pixels are empty.
    read : returns the values to sample, (C, height, width); None takes all channels of the section.

    Examples
    --------
    >>> from meteoseg.section import Section
    >>> section = Section.from_arrays("A", {"Fe": np.array([[0, 2, 0]]), "Mg": np.array([[0, 0, 7]])})
    >>> sample_pixels(section).tolist()
    [[2.0, 0.0], [0.0, 7.0]]
    """
    read_mask = None if section.mask is None else section.read_mask
    parts = []
    for window in sample_windows(section.shape, read_mask=read_mask, max_px=max_px):
        maps = section.read(None, window)
        taken = maps.any(axis=0) if len(maps) > 1 else np.ones(window.shape, bool)
        if read_mask is not None:
            taken &= read_mask(window)
        parts.append((maps if read is None else read(window))[:, taken])
    if parts:
        return np.concatenate(parts, axis=1)
    channels = len(section.channel_names) if read is None else len(read(Window(0, 0, 1, 1)))
    return np.empty((channels, 0), np.float32)


def _masked_rows(shape: tuple[int, int], read_mask: Callable[[Window], BoolArray] | None) -> NDArray[np.int64]:
    if read_mask is None:
        return np.arange(shape[0])
    bands = (Window(row, 0, min(_MASK_ROWS, shape[0] - row), shape[1]) for row in range(0, shape[0], _MASK_ROWS))
    return np.concatenate([band.row + np.flatnonzero(read_mask(band).any(axis=1)) for band in bands])
