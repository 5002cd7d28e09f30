"""Hold out one side of a section: a block with labels, a gap, and the rest to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.legend import default_legend
from meteoseg.train.config import LEAKY_HOLDOUTS
from meteoseg.train.targets import IGNORE

SIDES = ("left", "right", "top", "bottom")
AUTO = "auto"


@dataclass(frozen=True)
class Split:
    """Windows of the section's own grid to train on and to score on, `gap_px` apart."""

    side: str
    train: Window
    held: Window
    gap_px: int


def check_side(side: str) -> str:
    """Return `side` if it is a way to hold out.

    Raises
    ------
    InputError : pixels or patches at random, which leak.
    UnknownNameError : anything else that is no side.
    """
    if side in LEAKY_HOLDOUTS:
        raise InputError(
            f"--holdout {side} is refused: neighbouring pixels and patches of one section are nearly copies of each "
            f"other, so the score would flatter. Hold out a side: {', '.join(SIDES)}, or {AUTO}."
        )
    if side not in (*SIDES, AUTO):
        raise UnknownNameError.of("side to hold out", side, (*SIDES, AUTO))
    return side


def split_labels(
    classes: NDArray[np.uint8], layer: str, *, side: str = AUTO, share: float = 0.25, gap_px: int = 32
) -> Split:
    """Hold out the end of a section that has `share` of its labelled pixels.

    Parameters
    ----------
    classes : (H, W) ids of the legend of `layer`, 255 = unlabelled.
    side : the end; ``auto`` takes the one where most classes are labelled on both sides of the gap.

    Raises
    ------
    InputError : on one of the two sides fewer than two classes are labelled, however it is cut.

    Examples
    --------
    >>> classes = np.tile(np.array([2, 7], np.uint8), (10, 20))
    >>> split = split_labels(classes, "components", side="right", share=0.25, gap_px=5)
    >>> split.train, split.held
    (Window(row=0, col=0, height=10, width=25), Window(row=0, col=30, height=10, width=10))
    """
    sides = SIDES if check_side(side) == AUTO else (side,)
    ranked: list[tuple[tuple[int, float], int, Split]] = []
    for name in sides:
        split = _cut(classes, name, share, gap_px)
        if split is not None:
            ranked.append((_worth(classes, split), -len(ranked), split))
    best = max(ranked, default=None, key=lambda entry: entry[:2])
    if best is None or best[0][0] < 2:
        raise InputError(_why_not(classes, layer, side, gap_px))
    return best[2]


def _cut(classes: NDArray[np.uint8], side: str, share: float, gap_px: int) -> Split | None:
    """Cut at one side; None where nothing is left to train on."""
    axis = 0 if side in ("top", "bottom") else 1
    at_end = side in ("right", "bottom")
    counts = np.count_nonzero(classes != IGNORE, axis=1 - axis)
    ordered = np.cumsum(counts[::-1] if at_end else counts)
    length = classes.shape[axis]
    held = min(length, int(np.searchsorted(ordered, share * ordered[-1])) + 1)
    kept = length - held - gap_px
    if kept < 1:
        return None
    spans = ((0, kept), (length - held, held)) if at_end else ((held + gap_px, kept), (0, held))
    windows = [_across(classes.shape, axis, *span) for span in spans]
    return Split(side, windows[0], windows[1], gap_px)


def _across(shape: tuple[int, ...], axis: int, start: int, size: int) -> Window:
    return Window(start, 0, size, shape[1]) if axis == 0 else Window(0, start, shape[0], size)


def _worth(classes: NDArray[np.uint8], split: Split) -> tuple[int, float]:
    """Number of classes that both sides have, and the least share of one of them that is held out, up to 0.5."""
    train, held = (
        np.bincount(classes[window.slices].ravel(), minlength=256)[:IGNORE] for window in (split.train, split.held)
    )
    both = (train > 0) & (held > 0)
    shares = np.minimum(train, held)[both] / (train + held)[both]
    return int(np.count_nonzero(both)), float(shares.min()) if both.any() else 0.0


def _why_not(classes: NDArray[np.uint8], layer: str, side: str, gap_px: int) -> str:
    legend = default_legend(layer)
    places = []
    for value in np.unique(classes[classes != IGNORE]):
        rows, cols = np.nonzero(classes == value)
        places.append(
            f"{legend.name_of(int(value))} in rows {rows.min()}-{rows.max()}, columns {cols.min()}-{cols.max()}"
        )
    where = "on any side" if side == AUTO else f"on the {side}"
    return (
        f"No block {where} can be held out with two labelled classes in it and two in the rest, {gap_px} px apart: "
        f"the labels lie all on one side ({'; '.join(places[:4])}). Label each class in two places that are further "
        "apart, or lower --gap."
    )


def onto_grid(window: Window, step: tuple[float, float]) -> Window:
    """Return the pixels of a coarser or finer grid that lie wholly in `window`; `step` is their size in own pixels.

    Examples
    --------
    >>> onto_grid(Window(3, 0, 7, 10), (2.0, 2.5))
    Window(row=2, col=0, height=3, width=4)
    """
    row, col = (int(np.ceil(start / size - 1e-9)) for start, size in zip((window.row, window.col), step, strict=True))
    ends: Any = (
        int(np.floor(stop / size + 1e-9)) for stop, size in zip((window.row_end, window.col_end), step, strict=True)
    )
    row_end, col_end = ends
    return Window(row, col, max(1, row_end - row), max(1, col_end - col))


def around_labels(classes: NDArray[np.uint8], part: Window, margin_px: int) -> Window:
    """Return the part of a window that is within `margin_px` of its labels."""
    known = classes[part.slices] != IGNORE
    rows, cols = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    height, width = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    inner = Window(int(rows[0]), int(cols[0]), height, width).padded(margin_px, part.shape)
    return Window(part.row + inner.row, part.col + inner.col, inner.height, inner.width)
