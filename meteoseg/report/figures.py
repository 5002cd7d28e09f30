"""Figures of the report as PNG bytes; functions of arrays and tables, without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from meteoseg.legend import LAYERS, Legend, default_legend
from meteoseg.report.drawing import BAR, CHART_DPI, FAINT, INK, bare, chart, png_of, say, write_value
from meteoseg.report.facts import Suggestion, layer_rows, number
from meteoseg.report.images import (
    MAX_PX,
    OUTLINE_COLOR,
    RgbArray,
    outline_overlay,
    overview,
    overview_shape,
    overview_step,
    paint_labels,
    sample_labels,
    stretch_grey,
)
from meteoseg.report.mapsheet import LegendEntry, MapSheet

if TYPE_CHECKING:
    from meteoseg.section import Plane

__all__ = [
    "chondrule_figure",
    "component_map_figure",
    "group_figure",
    "modes_figure",
    "outline_overlay",
    "overview",
    "overview_shape",
    "overview_step",
    "paint_labels",
    "phase_map_figure",
    "picture_figure",
    "sample_labels",
    "stretch_grey",
]

#: At most this many phases or groups are drawn in a bar chart.
MOST_BARS = 14
#: Objects at least this wide in the picture carry their number.
NUMBERED_PX = 44


def phase_map_figure(
    labels: Plane | NDArray[Any],
    legend: Legend,
    pixel_size_um: tuple[float, float],
    *,
    area_pct: Mapping[str, float] | None = None,
    max_px: int = MAX_PX,
) -> bytes:
    """Draw a label map with the classes that occur, largest area first, and a scale bar.

    Parameters
    ----------
    labels : (H, W) integers, or a plane of them; shown as an overview where longer than `max_px`.
    pixel_size_um : (dy, dx) of `labels`.
    area_pct : per cent by name to print; by default those of the pixels shown, without outside and hole.

    Returns
    -------
    PNG bytes.

    Raises
    ------
    UnknownNameError : a label that the legend does not list.
    """
    rows, cols = labels.shape
    shape = overview_shape((rows, cols), max_px)
    shown = sample_labels(labels, shape)
    counts = np.bincount(shown.ravel().astype(np.intp))
    present = {legend.name_of(int(label_id)): int(counts[label_id]) for label_id in np.flatnonzero(counts)}
    entries = _entries(present, legend, area_pct)
    size = (pixel_size_um[0] * rows / shape[0], pixel_size_um[1] * cols / shape[1])
    return MapSheet(paint_labels(shown, legend), size, entries).png()


def component_map_figure(
    labels: Plane | NDArray[Any],
    legend: Legend,
    pixel_size_um: tuple[float, float],
    *,
    area_pct: Mapping[str, float] | None = None,
    max_px: int = MAX_PX,
) -> bytes:
    """Draw a map of components; as `phase_map_figure`."""
    return phase_map_figure(labels, legend, pixel_size_um, area_pct=area_pct, max_px=max_px)


def _entries(
    present: Mapping[str, int], legend: Legend, area_pct: Mapping[str, float] | None
) -> tuple[LegendEntry, ...]:
    """List classes by falling area; holes last and without a per cent; outside not at all."""
    solid = {name: count for name, count in present.items() if name not in ("outside", "hole")}
    total = sum(solid.values())
    pct = {name: 100 * count / total for name, count in solid.items()}
    pct.update({name: value for name, value in (area_pct or {}).items() if name in solid})
    ranked = sorted(solid, key=lambda name: -pct[name])
    entries = [LegendEntry(name, legend[name].color, f"{pct[name]:.1f} %") for name in ranked]
    if "hole" in present:
        entries.append(LegendEntry("hole", legend["hole"].color, ""))
    return tuple(entries)


def picture_figure(rgb: RgbArray, pixel_size_um: tuple[float, float], entries: Sequence[LegendEntry] = ()) -> bytes:
    """Draw a picture (H, W, 3) uint8 with a scale bar and, if given, a legend; return PNG bytes."""
    return MapSheet(rgb, pixel_size_um, tuple(entries)).png()


def chondrule_figure(
    background: RgbArray,
    object_labels: Plane | NDArray[Any],
    pixel_size_um: tuple[float, float],
    *,
    numbered: bool = True,
    color: str = OUTLINE_COLOR,
) -> bytes:
    """Draw the outlines of objects, and the ids of those wide enough, over a picture.

    Parameters
    ----------
    background : (h, w, 3) uint8, e.g. a stretched BSE overview.
    object_labels : (H, W) object ids over the same area, on any grid.
    pixel_size_um : (dy, dx) of a pixel of `background`.

    Returns
    -------
    PNG bytes.
    """
    sheet = MapSheet(background, pixel_size_um)
    labels = sample_labels(object_labels, sheet.map_shape)
    outlined = outline_overlay(sheet.enlarged(), labels, color=color, width_px=2)
    marks = _object_marks(labels) if numbered else ()
    return MapSheet(outlined, sheet.drawn_pixel_size_um, marks=marks, zoomed=True).png()


def _object_marks(labels: NDArray[Any]) -> tuple[tuple[float, float, str], ...]:
    """Return (row, col, id) of the centres of the objects that have room for their number."""
    ids, where = np.unique(labels, return_inverse=True)
    where = where.ravel()
    area = np.bincount(where)
    row_of, col_of = (index.ravel() for index in np.indices(labels.shape, dtype=np.int32))
    rows, cols = np.bincount(where, row_of) / area, np.bincount(where, col_of) / area
    wide = (ids > 0) & (np.sqrt(4 * area / np.pi) >= NUMBERED_PX)
    return tuple((float(rows[i]), float(cols[i]), str(ids[i])) for i in np.flatnonzero(wide))


def modes_figure(modes: pd.DataFrame, legends: Mapping[str, Legend] | None = None) -> bytes:
    """Draw the modal abundances of each layer as bars with their intervals.

    Parameters
    ----------
    modes : the columns of ``modes.csv``.
    legends : colours by layer; by default the shipped legends (names they lack are grey).

    Returns
    -------
    PNG bytes.
    """
    layers = [layer for layer in reversed(LAYERS) if (modes["layer"] == layer).any()]
    tables = [layer_rows(modes, layer).dropna(subset=["area_pct"]).head(MOST_BARS) for layer in layers]
    heights = [max(2, len(table)) for table in tables]
    figure = Figure(figsize=(7.2, 0.9 * len(layers) + 0.3 * sum(heights)), dpi=CHART_DPI, layout="constrained")
    panels = figure.subplots(len(layers), 1, squeeze=False, height_ratios=heights)[:, 0]
    longest = max((_bar_end(row) for table in tables for row in table.to_dict("records")), default=1.0)
    for axes, layer, table in zip(panels, layers, tables, strict=True):
        axes.set_xlim(0, max(longest, 1.0) * 1.12)
        _mode_bars(axes, table, (legends or {}).get(layer) or default_legend(layer))
        axes.set_title(layer, loc="left", fontsize=12, fontweight="bold", color=INK)
    panels[-1].set_xlabel("area % of the section, with 95 % intervals")
    return png_of(figure)


def _mode_bars(axes: Axes, table: pd.DataFrame, legend: Legend) -> None:
    bare(axes)
    for place, row in enumerate(table.to_dict("records")):
        pct, name = float(row["area_pct"]), str(row["name"])
        low, high = number(row["ci_low_pct"]), number(row["ci_high_pct"])
        color = legend[name].color if name in legend else FAINT
        axes.barh(place, pct, height=0.68, color=color, edgecolor=FAINT, linewidth=0.6)
        if low is not None and high is not None:
            for color, width in (("white", 4.0), (INK, 1.8)):
                axes.plot([low, high], [place, place], color=color, linewidth=width, solid_capstyle="butt")
        write_value(axes, (_bar_end(row), place), f"{pct:.1f}" if pct >= 0.1 else f"{pct:.2f}")
    axes.set_yticks(range(len(table)), table["name"])
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _bar_end(row: Mapping[Any, Any]) -> float:
    return max(float(row["area_pct"]), number(row["ci_high_pct"]) or 0.0)


def group_figure(classification: Mapping[str, Any]) -> bytes:
    """Draw the probabilities of the chondrite groups, most probable first.

    Parameters
    ----------
    classification : the dictionary of ``classification.json``.

    Returns
    -------
    PNG bytes.
    """
    suggestion = Suggestion.from_dict(classification)
    shown = [pair for pair in suggestion.groups if pair[1] >= 0.01][:MOST_BARS]
    figure, axes = chart(7.2, 0.9 + 0.32 * max(2, len(shown)))
    if not shown:
        say(axes, "No chondrite group was compared.")
        return png_of(figure)
    named = suggestion.named_groups
    for place, (name, probability) in enumerate(shown):
        axes.barh(place, probability, height=0.68, color=BAR if name in named else "#c3cad4")
        write_value(axes, (probability, place), f"{probability:.2f}")
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("probability")
    return png_of(figure)
