"""A map sheet: one picture on a dark ground with a legend and a scale bar, pixel for pixel."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from meteoseg.report.facts import length_text
from meteoseg.report.images import RgbArray, scale_bar_um

DARK = "#1d2026"
LIGHT = "#ece9e2"
MUTED = "#9aa0aa"
DPI = 100
#: Small maps are enlarged by a whole number until their longer side is about this long.
SMALL_PX = 1200

MARGIN_PX = 28
TEXT_PX = 20
ROW_PX = 33
COLUMN_PX = 350
SCALE_STRIP_PX = 52


@dataclass(frozen=True)
class LegendEntry:
    """A line of the legend: a name, its colour ``#rrggbb`` and a number in words (may be empty)."""

    name: str
    color: str
    value: str = ""


@dataclass(frozen=True)
class MapSheet:
    """A picture with its scale and legend.

    Parameters
    ----------
    rgb : (h, w, 3) uint8.
    pixel_size_um : (dy, dx) of a pixel of `rgb`; unequal sizes stretch the longer axis to true shape.
    entries : lines of the legend, in order.
    marks : (row, col, text) written on the picture, in pixels of the drawn picture.
    zoomed : `rgb` is already at the size at which it is drawn.
    """

    rgb: RgbArray
    pixel_size_um: tuple[float, float]
    entries: tuple[LegendEntry, ...] = ()
    marks: tuple[tuple[float, float, str], ...] = ()
    zoomed: bool = False

    @cached_property
    def map_shape(self) -> tuple[int, int]:
        """(rows, cols) of the picture as drawn."""
        rows, cols = self.rgb.shape[:2]
        if self.zoomed:
            return rows, cols
        dy, dx = self.pixel_size_um
        fine = min(dy, dx)
        true_rows, true_cols = rows * dy / fine, cols * dx / fine
        zoom = max(1, round(SMALL_PX / max(true_rows, true_cols)))
        return round(true_rows * zoom), round(true_cols * zoom)

    @property
    def drawn_pixel_size_um(self) -> tuple[float, float]:
        """(dy, dx) of a pixel of the picture as drawn."""
        (rows, cols), (old_rows, old_cols) = self.map_shape, self.rgb.shape[:2]
        return self.pixel_size_um[0] * old_rows / rows, self.pixel_size_um[1] * old_cols / cols

    def enlarged(self) -> RgbArray:
        """Return the picture at drawn size, nearest pixel."""
        rows, cols = (
            np.minimum(np.arange(new) * old // new, old - 1)
            for new, old in zip(self.map_shape, self.rgb.shape[:2], strict=True)
        )
        drawn: RgbArray = self.rgb[rows][:, cols]
        return drawn

    @cached_property
    def legend_columns(self) -> int:
        """Number of legend columns below the picture; 0 where the legend stands beside it."""
        rows, cols = self.map_shape
        if not self.entries or rows >= len(self.entries) * ROW_PX * 0.9:
            return 0
        return max(1, cols // COLUMN_PX)

    @property
    def size_px(self) -> tuple[int, int]:
        """(rows, cols) of the whole sheet."""
        rows, cols = self.map_shape
        height, width = rows + 2 * MARGIN_PX + SCALE_STRIP_PX, max(cols, 300) + 2 * MARGIN_PX
        if not self.entries:
            return height, width
        if self.legend_columns:
            lines = -(-len(self.entries) // self.legend_columns)
            return height + lines * ROW_PX, max(width, COLUMN_PX + 2 * MARGIN_PX)
        return max(height, len(self.entries) * ROW_PX + 2 * MARGIN_PX), width + COLUMN_PX + MARGIN_PX

    def png(self) -> bytes:
        """Draw the sheet and return PNG bytes; each picture pixel is a whole number of sheet pixels."""
        height, width = self.size_px
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=DARK)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        rows, cols = self.map_shape
        box = (MARGIN_PX, MARGIN_PX + cols, MARGIN_PX + rows, MARGIN_PX)
        axes.imshow(self.enlarged(), extent=box, interpolation="nearest", aspect="auto")
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        self._draw_scale_bar(axes)
        self._draw_legend(axes)
        self._draw_marks(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, facecolor=DARK)
        return buffer.getvalue()

    def _draw_scale_bar(self, axes: Axes) -> None:
        rows, cols = self.map_shape
        dx_um = self.drawn_pixel_size_um[1]
        length_um = scale_bar_um(cols * dx_um)
        top, left, length_px = MARGIN_PX + rows + 24, MARGIN_PX, length_um / dx_um
        axes.add_patch(Rectangle((left, top), length_px, 8, facecolor=LIGHT, linewidth=0))
        _write(axes, left + length_px + 14, top + 4, length_text(length_um))

    def _draw_legend(self, axes: Axes) -> None:
        rows, cols = self.map_shape
        columns = self.legend_columns
        lines = -(-len(self.entries) // columns) if columns else max(1, len(self.entries))
        left = MARGIN_PX if columns else cols + 2 * MARGIN_PX
        top = MARGIN_PX + (rows + SCALE_STRIP_PX + 8 if columns else 0)
        for place, entry in enumerate(self.entries):
            x = left + (place // lines) * COLUMN_PX
            y = top + (place % lines) * ROW_PX + ROW_PX / 2
            axes.add_patch(Rectangle((x, y - 10), 20, 20, facecolor=entry.color, edgecolor=MUTED, linewidth=0.8))
            _write(axes, x + 32, y, entry.name)
            _write(axes, x + COLUMN_PX - 22, y, entry.value, align="right")

    def _draw_marks(self, axes: Axes) -> None:
        stroke = [withStroke(linewidth=2.6, foreground="black")]
        for row, col, text in self.marks:
            mark = axes.text(MARGIN_PX + col, MARGIN_PX + row, text, color="white", fontsize=15 * 72 / DPI)
            mark.set(ha="center", va="center", path_effects=stroke)


def _write(axes: Axes, x: float, y: float, text: str, *, align: str = "left") -> None:
    size = TEXT_PX * 72 / DPI
    axes.text(x, y, text, color=LIGHT, fontsize=size, ha=align, va="center_baseline", parse_math=False)
