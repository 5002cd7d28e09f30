"""The figure of the experiment: a row per test, a column per score, one line per arm with its interval and seeds."""

from __future__ import annotations

from pathlib import Path

from intervals import Estimate
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scores import SCORES

#: Title of a test -> (title of the arm, scores), top to bottom.
Panels = dict[str, list[tuple[str, Estimate]]]


def draw(panels: Panels, path: Path) -> None:
    """Draw the scores of all tests and write them as PNG."""
    heights = [len(rows) + 3 for rows in panels.values()]
    figure = Figure(figsize=(13, 0.27 * sum(heights) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, (title, rows) in zip(parts, panels.items(), strict=True):
        part.suptitle(title, x=0.005, ha="left", fontsize=10, fontweight="bold")
        axes = part.subplots(1, len(SCORES))
        for column, axis in enumerate(axes):
            _panel(axis, rows, column)
        axes[0].set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(axis: Axes, rows: list[tuple[str, Estimate]], column: int) -> None:
    for place, (_, estimate) in enumerate(rows):
        mean, low, high = (values[column] for values in (estimate.mean, estimate.low, estimate.high))
        axis.plot([low, high], [place, place], color="#4a5a6a", linewidth=2.5, solid_capstyle="butt")
        axis.plot(estimate.seeds[:, column], [place] * len(estimate.seeds), "|", color="#d08020", markersize=9)
        axis.plot(mean, place, "o", color="#20303f", markersize=5)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(range(len(rows)), [""] * len(rows))
    axis.set_title(SCORES[column], fontsize=9)
    axis.grid(axis="x", color="#e0e0e0", linewidth=0.8)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
