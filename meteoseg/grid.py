"""Integer windows on a pixel grid, always in (row, col) order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: Pixels of a row band.
BAND_PX = 2_000_000


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels: rows ``row .. row+height``, columns ``col .. col+width``.

    Examples
    --------
    >>> Window(2, 3, 4, 5).slices
    (slice(2, 6, None), slice(3, 8, None))
    >>> Window(0, 0, 10, 10).padded(2, shape=(11, 30))
    Window(row=0, col=0, height=11, width=12)
    """

    row: int
    col: int
    height: int
    width: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Cover a grid of `shape` (rows, cols)."""
        return cls(0, 0, shape[0], shape[1])

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_end(self) -> int:
        """First column to the right of the window."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.height, self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index pair for an array that covers the whole grid."""
        return slice(self.row, self.row_end), slice(self.col, self.col_end)

    def padded(self, margin_px: int, shape: tuple[int, int]) -> Window:
        """Grow by `margin_px` on each side, cut at the border of a grid of `shape`."""
        row, col = max(0, self.row - margin_px), max(0, self.col - margin_px)
        row_end = min(shape[0], self.row_end + margin_px)
        col_end = min(shape[1], self.col_end + margin_px)
        return Window(row, col, row_end - row, col_end - col)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Index pair of this window inside an array that covers `outer` only."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def intersect(self, other: Window) -> Window | None:
        """Return the common part, or None where the windows do not meet."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        row_end, col_end = min(self.row_end, other.row_end), min(self.col_end, other.col_end)
        if row >= row_end or col >= col_end:
            return None
        return Window(row, col, row_end - row, col_end - col)


def row_bands(shape: tuple[int, ...], band_px: int = BAND_PX) -> Iterator[Window]:
    """Yield full-width windows of about `band_px` pixels, top to bottom.

    Examples
    --------
    >>> [window.height for window in row_bands((5, 10), 20)]
    [2, 2, 1]
    """
    height = max(1, band_px // max(1, shape[1]))
    return (Window(row, 0, min(height, shape[0] - row), shape[1]) for row in range(0, shape[0], height))
