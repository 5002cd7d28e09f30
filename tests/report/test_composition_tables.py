"""Maps of values and the table of compositions in the report."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from PIL import Image

from meteoseg.report import chemistry
from meteoseg.report.chemistry import GROUND, chemistry_rows, value_map_figure
from meteoseg.report.tables import format_chemistry

ROW = {
    "phase": "olivine", "quantity": "Fa_pmd", "unit": "%", "where": "chondrules", "n_grains": 31, "mean": 0.456,
    "sd_between_grains": np.nan, "systematic_error": np.nan, "ci_low": 0.1, "ci_high": 1.25,
}  # fmt: skip


def test_rows_are_in_words_and_unknown_numbers_are_dashes():
    row = chemistry_rows(pd.DataFrame([ROW]))[0]
    assert row == {
        "phase": "olivine", "quantity": "Fa pmd", "where": "in chondrules", "n_grains": "31", "mean": "0.46 %",
        "interval": "0.10 - 1.2", "scatter": "–", "systematic": "–",
    }  # fmt: skip
    assert "Fa pmd of olivine, in chondrules" in format_chemistry(pd.DataFrame([ROW]))
    assert chemistry_rows(pd.DataFrame()) == []


def test_values_are_coloured_from_low_to_high_and_absent_ones_are_grey():
    values = np.full((30, 47), np.nan, np.float32)
    values[5:25, 3:20], values[5:25, 25:40] = 5.0, 30.0
    picture = np.asarray(Image.open(io.BytesIO(value_map_figure(values, "Fa", "mol%", (1.0, 1.0)))).convert("RGB"), int)
    zoom, margin = 26, 28  # 47 px are enlarged to about 1200

    def at(row, col):
        return picture[margin + row * zoom, margin + col * zoom]

    assert at(1, 1) == pytest.approx([150, 150, 150], abs=3)
    assert at(10, 10) == pytest.approx([68, 1, 84], abs=6)  # the dark end of viridis
    assert at(10, 30) == pytest.approx([253, 231, 36], abs=6)
    assert value_map_figure(np.full((4, 5), np.nan), "Fa", "mol%", (1.0, 1.0)) is None


def test_no_colour_of_the_scale_is_near_that_of_absent_values():
    colors = 255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    assert np.linalg.norm(colors - GROUND, axis=1).min() > 80


def test_the_legend_says_where_colours_end_and_what_was_not_measured(monkeypatch):
    entries = []
    monkeypatch.setattr(chemistry.MapSheet, "png", lambda sheet: entries.extend(sheet.entries) or b"")
    values = np.linspace(0, 100, 1001, dtype=np.float32).reshape(7, 143)
    values[0, :2] = np.nan
    value_map_figure(values, "Fa", "mol%", (1.0, 1.0))
    names = [entry.name for entry in entries]
    assert names[0] == "Fa ≥ 98.0 mol%"
    assert names[-2:] == ["Fa ≤ 2.2 mol%", "not measured"]
    assert entries[-1].color == "#969696"
    assert entries[-2].color == "#440154"
    entries.clear()
    value_map_figure(np.full((7, 9), 5.0), "Fa", "mol%", (1.0, 1.0))
    assert [entry.name for entry in entries if "≥" in entry.name or "≤" in entry.name] == []
