"""The pictures of the report, made from a section and its label images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.channels import composite, composite_colors, composite_names
from meteoseg.chondrules.sizes import SizeTables
from meteoseg.elements import BSE
from meteoseg.grid import Window, row_bands
from meteoseg.io.formats import read_maps
from meteoseg.labels.images import LabelImages
from meteoseg.legend import Legend
from meteoseg.report.chemistry import value_map_figure
from meteoseg.report.facts import SizeSummary, Suggestion, significant
from meteoseg.report.figures import (
    chondrule_figure,
    component_map_figure,
    group_figure,
    modes_figure,
    phase_map_figure,
    picture_figure,
)
from meteoseg.report.images import overview_shape, overview_step, paint_labels, sample_labels
from meteoseg.report.mapsheet import LegendEntry
from meteoseg.report.page import Picture
from meteoseg.report.sizefigure import size_distribution_figure
from meteoseg.section import PlaneView, Section

#: Longest side of a picture.
MAX_PX = 1600
#: Presets to show, the most telling first; at most two that the section has the channels for.
_PRESETS = ("FeMgSCaAl", "FeSO", "MgCaAl")
#: Ground shown around the section, as a share of its longer side.
_MARGIN = 0.02


def pictures(
    section: Section,
    labels: LabelImages,
    legends: Mapping[str, Legend],
    *,
    modes: pd.DataFrame,
    chondrules: pd.DataFrame | None,
    classification: Mapping[str, Any] | None,
    sizes: SizeTables | None = None,
) -> list[Picture]:
    """Make all pictures: outlines over the map, composites, label maps (cut to the section), and the charts.

    `classification` is None where pixels were only sorted into classes: these then come first.
    """
    box = section_window(labels.inside)
    size_um = section.require_pixel_size()
    part, cut = section.part(box), _cut_labels(labels, box)
    painted = _composites(part)
    made: list[Picture] = []
    if cut.chondrules is not None:
        background, name = _background(part, painted)
        png = chondrule_figure(background, cut.chondrules, _shown_pixel_size(part.shape, size_um))
        words = _cut_words(box, section.shape, size_um)
        made.append(Picture("Chondrules", png, f"Outlines of chondrules over {name}.{words}"))
    for name, rgb in painted.items():
        png = _composite_figure(name, rgb, _shown_pixel_size(part.shape, size_um))
        made.append(Picture(name, png, _caption(name)))
    drawn = _label_maps(cut, legends, modes, size_um, are_classes=classification is None)
    made = drawn + made if classification is None else made + drawn
    return made + _charts(legends, modes=modes, chondrules=chondrules, classification=classification, sizes=sizes)


def pictures_of_labels(
    labels: LabelImages,
    legends: Mapping[str, Legend],
    pixel_size_um: tuple[float, float],
    *,
    modes: pd.DataFrame,
    chondrules: pd.DataFrame | None,
    classification: Mapping[str, Any] | None,
    sizes: SizeTables | None = None,
) -> list[Picture]:
    """Make the pictures that need no maps: as `pictures`, without composites, outlines over the painted labels."""
    box = section_window(labels.inside)
    cut = _cut_labels(labels, box)
    made: list[Picture] = []
    if cut.chondrules is not None:
        layer = "phases" if cut.phases is not None else "components"
        background = paint_labels(sample_labels(cut.images[layer], overview_shape(box.shape, MAX_PX)), legends[layer])
        png = chondrule_figure(background, cut.chondrules, _shown_pixel_size(box.shape, pixel_size_um))
        words = _cut_words(box, labels.inside.shape, pixel_size_um)
        made.append(Picture("Chondrules", png, f"Outlines of chondrules over the {layer}.{words}"))
    made += _label_maps(cut, legends, modes, pixel_size_um, are_classes=classification is None)
    return made + _charts(legends, modes=modes, chondrules=chondrules, classification=classification, sizes=sizes)


def chemistry_pictures(
    labels: LabelImages, maps: Mapping[str, Path], pixel_size_um: tuple[float, float]
) -> list[Picture]:
    """Draw the map of Fa, cut to the section like the others; none where it is empty."""
    if "Fa" not in maps:
        return []
    view = PlaneView(read_maps(maps["Fa"])[0].plane, section_window(labels.inside))
    png = value_map_figure(view, "Fa", "mol%", pixel_size_um)
    caption = (
        "Fa of olivine pixel by pixel, with the noise of the counts; the means of grains are in the table. Grey: no "
        "olivine, nothing was measured."
    )
    return [] if png is None else [Picture("Fa of olivine", png, caption)]


def _label_maps(
    labels: LabelImages,
    legends: Mapping[str, Legend],
    modes: pd.DataFrame,
    size_um: tuple[float, float],
    *,
    are_classes: bool,
) -> list[Picture]:
    made: list[Picture] = []
    if labels.phases is not None:
        name, what = ("Classes", "class") if are_classes else ("Phases", "most probable phase")
        png = phase_map_figure(labels.phases, legends["phases"], size_um, area_pct=percent_by_name(modes, "phases"))
        made.append(Picture(name, png, f"The {what} of each pixel, with its area per cent."))
    if labels.components is not None:
        png = component_map_figure(
            labels.components, legends["components"], size_um, area_pct=percent_by_name(modes, "components")
        )
        made.append(Picture("Components", png, "Components, with their area per cent."))
    return made


def _charts(
    legends: Mapping[str, Legend],
    *,
    modes: pd.DataFrame,
    chondrules: pd.DataFrame | None,
    classification: Mapping[str, Any] | None,
    sizes: SizeTables | None = None,
) -> list[Picture]:
    """Draw what there is to draw: sizes where a chondrule counts, groups where a measurement parts them."""
    caption = "Area per cent with 95 % intervals."
    made = [Picture("Modal abundances", modes_figure(modes, legends), caption, chart=True)]
    found = None if chondrules is None else SizeSummary.of(chondrules)
    if chondrules is not None and found is not None and found.n_intact and found.cut_off_um is not None:
        png = size_distribution_figure(chondrules, sizes)
        made.append(Picture("Chondrule sizes", png, _size_words(found), chart=True))
    if classification is not None and Suggestion.from_dict(classification).tells_apart:
        made.append(Picture("Groups", group_figure(classification), "Probability of each group.", chart=True))
    return made


def _size_words(sizes: SizeSummary) -> str:
    return (
        f"{sizes.n_intact} intact chondrules that no edge cuts, from {significant(sizes.cut_off_um or 0)} µm on (10 "
        "px; smaller ones, shaded, are not counted), each standing for those of its size that are cut. Spheres: what "
        "diameters in space make such sections. Below, grey: ranges of the mean diameters of groups in print, mostly "
        "of sections and with other cut-offs; open circles: not checked against the source."
    )


def section_window(inside: NDArray[np.bool_]) -> Window:
    """Return the smallest window that holds the section, and a margin of 2 %; all of an empty map.

    Examples
    --------
    >>> section_window(np.pad(np.ones((2, 3), bool), ((4, 0), (5, 6))))
    Window(row=3, col=4, height=3, width=5)
    """
    in_row, in_col = np.zeros(inside.shape[0], bool), np.zeros(inside.shape[1], bool)
    for window in row_bands(inside.shape):
        band = inside[window.slices]
        in_row[window.row : window.row_end] = band.any(axis=1)
        in_col |= band.any(axis=0)
    rows, cols = np.flatnonzero(in_row), np.flatnonzero(in_col)
    if not rows.size:
        return Window.whole(inside.shape)
    box = Window(int(rows[0]), int(cols[0]), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
    return box.padded(max(1, round(_MARGIN * max(box.shape))), inside.shape)


def _cut_labels(labels: LabelImages, box: Window) -> LabelImages:
    images = (labels.inside, labels.phases, labels.components, labels.chondrules)
    return LabelImages(*(None if image is None else image[box.slices] for image in images))  # type: ignore[arg-type]


def _cut_words(box: Window, shape: tuple[int, int], pixel_size_um: tuple[float, float]) -> str:
    """Say where a cut picture lies on the map of `shape`, in the coordinates of the table of chondrules."""
    if box == Window.whole(shape):
        return ""
    dy_um, dx_um = pixel_size_um
    return (
        " The pictures are cut to the section: their top left corner is at row "
        f"{box.row * dy_um / 1000:.2f} mm, column {box.col * dx_um / 1000:.2f} mm of the map."
    )


def _composites(section: Section) -> dict[str, NDArray[np.uint8]]:
    known = [name for name in _PRESETS if name in composite_names()]
    possible = [name for name in known if set(composite_colors(name)) <= set(section.channels)]
    return {name: composite(section, name, max_px=MAX_PX) for name in possible[:2]}


def _background(section: Section, painted: Mapping[str, NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], str]:
    if BSE in section.channels:
        return composite(section, f"{BSE}=white", max_px=MAX_PX), "the BSE map"
    for name, rgb in painted.items():
        return rgb, f"the composite {name}"
    first = section.channel_names[0]
    return composite(section, f"{first}=white", max_px=MAX_PX), f"the {first} map"


def _shown_pixel_size(shape: tuple[int, int], pixel_size_um: tuple[float, float]) -> tuple[float, float]:
    step = overview_step(shape, MAX_PX)
    return pixel_size_um[0] * step, pixel_size_um[1] * step


def _composite_figure(name: str, rgb: NDArray[np.uint8], pixel_size_um: tuple[float, float]) -> bytes:
    entries = [
        LegendEntry(channel, "#{:02x}{:02x}{:02x}".format(*color), "")
        for channel, color in composite_colors(name).items()
    ]
    return picture_figure(rgb, pixel_size_um, entries)


def _caption(name: str) -> str:
    words = ", ".join(channel for channel in composite_colors(name))
    return f"False colours: {words}."


def percent_by_name(modes: pd.DataFrame, layer: str) -> dict[str, float]:
    """Return the area per cent of the classes of a layer that have one, from a table like modes.csv."""
    rows = modes[modes["layer"] == layer].dropna(subset=["area_pct"])
    return {str(name): float(pct) for name, pct in zip(rows["name"], rows["area_pct"], strict=True)}
