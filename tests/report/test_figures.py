import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meteoseg.errors import UnknownNameError
from meteoseg.legend import default_legend
from meteoseg.report import figures
from meteoseg.report.mapsheet import COLUMN_PX, DARK, LIGHT, MARGIN_PX, SCALE_STRIP_PX, LegendEntry, MapSheet

PHASES = default_legend("phases")
COMPONENTS = default_legend("components")


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def bar_length_px(picture: np.ndarray, map_rows: int) -> int:
    """Length of the light line that starts at the left border of the map, in the middle of the scale bar."""
    light = (picture[MARGIN_PX + map_rows + 28, MARGIN_PX:] == rgb(LIGHT)).all(axis=1)
    return int(np.argmin(light))


def test_phase_map_shows_each_pixel_in_its_colour_and_shape():
    labels = np.array([[1, 2, 8], [8, 0, 1]], np.uint8)
    picture = pixels(figures.phase_map_figure(labels, PHASES, (1.0, 1.0)))
    zoom = 400
    assert picture.shape == (
        2 * zoom + 2 * MARGIN_PX + SCALE_STRIP_PX,
        3 * zoom + 3 * MARGIN_PX + COLUMN_PX,
        3,
    )
    for row in range(2):
        for col in range(3):
            block = picture[MARGIN_PX + row * zoom :, MARGIN_PX + col * zoom :][:zoom, :zoom]
            assert (block == PHASES.colors()[labels[row, col]]).all()
    assert picture[2, 2].tolist() == rgb(DARK)


def test_scale_bar_has_the_length_that_its_label_says():
    labels = np.ones((300, 600), np.uint8)
    picture = pixels(figures.phase_map_figure(labels, PHASES, (5.0, 5.0)))
    # 600 px of 5 um are 3 mm; the longest round bar within a quarter of that is 500 um, at 2 x zoom 200 px.
    assert bar_length_px(picture, 600) == pytest.approx(200, abs=1)


def test_unequal_pixels_are_drawn_in_their_true_shape():
    sheet = MapSheet(np.zeros((100, 300, 3), np.uint8), (3.0, 1.0))
    assert sheet.map_shape == (1200, 1200)
    assert sheet.drawn_pixel_size_um == (0.25, 0.25)


def test_a_map_over_the_limit_is_sampled_and_keeps_its_scale():
    labels = np.ones((100, 5000), np.uint8)
    picture = pixels(figures.component_map_figure(labels, COMPONENTS, (2.0, 2.0), max_px=1000))
    assert picture.shape[1] == 1000 + 2 * MARGIN_PX
    # 10 mm wide: a bar of 2 mm is 1000 px of the map and 200 px of the overview.
    assert bar_length_px(picture, 20) == pytest.approx(200, abs=1)


def test_legend_lists_what_occurs_by_area_without_outside_and_holes_last():
    present = {"outside": 500, "olivine": 30, "hole": 40, "troilite": 70}
    assert figures._entries(present, PHASES, None) == (
        LegendEntry("troilite", "#ffcf33", "70.0 %"),
        LegendEntry("olivine", "#6aa84f", "30.0 %"),
        LegendEntry("hole", "#1a1a1a", ""),
    )


def test_legend_prefers_the_measured_per_cent():
    entries = figures._entries({"olivine": 30, "troilite": 70}, PHASES, {"olivine": 51.26, "troilite": 48.74})
    assert [(entry.name, entry.value) for entry in entries] == [("olivine", "51.3 %"), ("troilite", "48.7 %")]


def test_a_map_of_outside_only_has_an_empty_legend():
    picture = pixels(figures.phase_map_figure(np.zeros((4, 6), np.uint8), PHASES, (1.0, 1.0)))
    assert picture.shape[1] == 1200 + 2 * MARGIN_PX


def test_a_wide_map_has_its_legend_below():
    labels = np.arange(1, 13, dtype=np.uint8).repeat(100)[None].repeat(60, axis=0)
    picture = pixels(figures.phase_map_figure(labels, PHASES, (1.0, 1.0)))
    assert picture.shape[1] == 1200 + 2 * MARGIN_PX
    # swatch of the first class, left under the scale bar
    assert (picture[MARGIN_PX + 60 + SCALE_STRIP_PX :, MARGIN_PX + 10] == PHASES.colors()[1]).all(axis=1).any()


def test_label_without_legend_entry_is_refused():
    with pytest.raises(UnknownNameError, match="Label 77"):
        figures.phase_map_figure(np.full((2, 3), 77, np.uint8), PHASES, (1.0, 1.0))


def test_chondrule_outlines_are_drawn_where_the_objects_end():
    labels = np.zeros((30, 40), np.uint32)
    labels[10:20, 15:30] = 7
    background = np.full((30, 40, 3), 90, np.uint8)
    picture = pixels(figures.chondrule_figure(background, labels, (1.0, 1.0), numbered=False, color="#ff0000"))
    zoom = 30
    inside = picture[MARGIN_PX : MARGIN_PX + 30 * zoom, MARGIN_PX : MARGIN_PX + 40 * zoom]
    red = (inside == [255, 0, 0]).all(axis=2)
    rows, cols = np.nonzero(red)
    assert (rows.min(), rows.max()) == (10 * zoom, 20 * zoom - 1)
    assert (cols.min(), cols.max()) == (15 * zoom, 30 * zoom - 1)
    assert red.sum() == 2 * 2 * (10 * zoom + 15 * zoom) - 4 * 2 * 2
    assert (inside[~red] == 90).all()


def test_numbers_stand_at_the_centres_of_objects_with_room_for_them():
    labels = np.zeros((200, 300), np.uint32)
    labels[50:110, 100:200] = 12
    labels[150:160, 20:30] = 13
    assert figures._object_marks(labels) == ((79.5, 149.5, "12"),)


def test_mode_bars_are_as_long_as_their_per_cent(modes):
    picture = pixels(figures.modes_figure(modes[modes["name"].isin(["olivine", "kamacite"])]))
    widths = {
        name: (picture == rgb(PHASES[name].color)).all(axis=2).sum(axis=1).max() for name in ("olivine", "kamacite")
    }
    assert widths["olivine"] / widths["kamacite"] == pytest.approx(61.11 / 3.92, rel=0.1)


def test_modes_chart_draws_a_class_that_no_legend_names(modes):
    renamed = modes.replace({"name": {"olivine": "unheard-of mineral"}})
    picture = pixels(figures.modes_figure(renamed))
    assert (picture == rgb(figures.FAINT)).all(axis=2).sum() > 5000


def test_group_chart_marks_the_groups_of_the_answer(classification):
    picture = pixels(figures.group_figure(classification))
    bar = (picture == rgb(figures.BAR)).all(axis=2)
    runs = bar.sum(axis=1)
    lengths = sorted({int(n) for n in runs if n > 0})
    assert lengths[-1] / lengths[0] == pytest.approx(0.55 / 0.40, rel=0.02)


def test_group_chart_without_groups_is_drawn():
    assert not (pixels(figures.group_figure({"class": "none", "groups": []})) == rgb(figures.BAR)).all(axis=2).any()


def test_an_empty_modal_table_gives_no_bars(modes):
    outside_only = pd.DataFrame(modes[modes["name"] == "outside"])
    assert pixels(figures.modes_figure(outside_only)).ndim == 3
