"""Plan overlapping windows over a pixel grid; no pixels are touched here."""

from __future__ import annotations

from meteoseg.errors import InputError
from meteoseg.grid import Window


def plan_tiles(shape: tuple[int, int], tile_px: int, overlap_px: int) -> list[list[Window]]:
    """Cover a grid of `shape` (rows, cols) with square windows, as rows of windows from top to bottom.

    Neighbours overlap by `overlap_px` or more: the last window of a row or column is moved back so that it ends
    at the border. Along an axis shorter than `tile_px` there is one window of the length of the axis.

    Raises
    ------
    InputError : an empty grid, or an overlap that is negative or not smaller than the tile.

    Examples
    --------
    >>> [[(w.row, w.col, w.height, w.width) for w in row] for row in plan_tiles((4, 10), 6, 2)]
    [[(0, 0, 4, 6), (0, 4, 4, 6)]]
    """
    if min(shape) < 1:
        raise InputError(f"A grid of {shape[0]} x {shape[1]} pixels has nothing to tile.")
    if not 0 <= overlap_px < tile_px:
        raise InputError(f"Overlap {overlap_px} px does not fit tiles of {tile_px} px: take 0 to {tile_px - 1}.")
    height, width = min(tile_px, shape[0]), min(tile_px, shape[1])
    return [
        [Window(row, col, height, width) for col in _starts(shape[1], tile_px, overlap_px)]
        for row in _starts(shape[0], tile_px, overlap_px)
    ]


def _starts(length: int, tile_px: int, overlap_px: int) -> list[int]:
    last = length - tile_px
    return [*range(0, max(0, last), tile_px - overlap_px), max(0, last)]
