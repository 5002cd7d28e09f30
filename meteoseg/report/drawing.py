"""What all charts of the report share: colours, bare axes, PNG bytes."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#23262b"
FAINT = "#8b9099"
BAR = "#4477aa"
CHART_DPI = 150


def chart(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Make a figure with one pair of bare axes."""
    figure = Figure(figsize=(width_in, height_in), dpi=CHART_DPI, layout="constrained")
    axes = figure.subplots()
    bare(axes)
    return figure, axes


def bare(axes: Axes) -> None:
    """Leave only what carries information: bottom line, left line, ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=10)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def write_value(axes: Axes, end: tuple[float, float], text: str) -> None:
    """Write a number just right of the end of its bar."""
    axes.annotate(text, end, (6, 0), textcoords="offset points", va="center", fontsize=10, color=INK)


def say(axes: Axes, text: str) -> None:
    """Write a sentence in place of a chart."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=INK, fontsize=11, transform=axes.transAxes)


def png_of(figure: Figure) -> bytes:
    """Return the figure as PNG bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=CHART_DPI)
    return buffer.getvalue()
