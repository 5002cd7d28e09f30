"""Plan windows over a pixel grid and who owns each pixel; no pixels are touched here."""

from __future__ import annotations

from dataclasses import dataclass

from meteoseg.errors import InputError
from meteoseg.grid import Window


@dataclass(frozen=True)
class Tile:
    """A window that is looked at, and the part of it that it owns: every pixel of a grid has one owner."""

    outer: Window
    inner: Window

    @property
    def kept(self) -> tuple[slice, slice]:
        """Index pair of the owned pixels inside an array that covers `outer`."""
        return self.inner.within(self.outer)


def plan_tiles(
    shape: tuple[int, int], tile_px: int, margin_px: int, *, tile_rows_px: int | None = None
) -> list[list[Tile]]:
    """Cover a grid of `shape` (rows, cols) with tiles, as rows of tiles from top to bottom.

    Tiles lie on a fixed lattice from the upper left corner. What a tile owns is `margin_px` away from its border,
    except at the border of the grid; the last of a row or column ends with the grid and may be smaller.

    Parameters
    ----------
    tile_px : side of a tile; `tile_rows_px` is its height where that is another.

    Raises
    ------
    InputError : an empty grid, or a margin that is negative or leaves nothing of the tile.

    Examples
    --------
    >>> [(t.outer.col, t.outer.col_end, t.inner.col, t.inner.col_end) for t in plan_tiles((4, 11), 6, 1)[0]]
    [(0, 6, 0, 5), (4, 10, 5, 9), (8, 11, 9, 11)]
    """
    if min(shape) < 1:
        raise InputError(f"A grid of {shape[0]} x {shape[1]} pixels has nothing to tile.")
    height = tile_px if tile_rows_px is None else tile_rows_px
    if not 0 <= 2 * margin_px < min(tile_px, height):
        most = (min(tile_px, height) - 1) // 2
        raise InputError(f"Margin {margin_px} px does not fit tiles of {height} x {tile_px} px: take 0 to {most}.")
    columns = _spans(shape[1], tile_px, margin_px)
    return [
        [Tile(_window(outer_rows, outer_cols), _window(rows, cols)) for outer_cols, cols in columns]
        for outer_rows, rows in _spans(shape[0], height, margin_px)
    ]


def _window(rows: tuple[int, int], cols: tuple[int, int]) -> Window:
    return Window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])


def _spans(length: int, tile_px: int, margin_px: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Part an axis: (start, end) of the tiles and of what they own."""
    step = tile_px - 2 * margin_px
    spans = []
    for start in range(0, max(1, length - 2 * margin_px), step):
        end = min(start + tile_px, length)
        owned = (start + margin_px if start else 0, end - margin_px if end < length else length)
        spans.append(((start, end), owned))
    return spans
