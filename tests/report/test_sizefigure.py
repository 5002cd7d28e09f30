"""The figure of sizes shows sections, spheres and groups, and says when there is too little."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meteoseg.chondrules.sizes import edge_weights, size_tables
from meteoseg.report.drawing import BAR
from meteoseg.report.sizefigure import SPHERE, group_sizes, size_distribution_figure
from meteoseg.stereology import simulate_sections
from meteoseg.stereology.edges import EdgeCorrection


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def share_of(picture: np.ndarray, color: str) -> int:
    own = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture - own).max(axis=2) < 8).sum())


def table_of(d_um: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"kind": "chondrule", "touches_edge": False, "area_px": np.pi * d_um**2 / 400, "area_um2": np.pi * d_um**2 / 4,
         "equivalent_diameter_um": d_um, "major_axis_um": d_um, "minor_axis_um": d_um}
    )  # fmt: skip


def test_groups_have_their_published_sizes_once():
    found = {group.name: group for group in group_sizes()}
    assert (found["H"].low_um, found["H"].typical_um, found["H"].high_um) == pytest.approx((300, 300, 450))
    assert "CV" in found
    assert not found["CV"].is_checked
    assert found["LL"].is_checked


def test_spheres_are_drawn_where_they_were_unfolded():
    edges = EdgeCorrection.of_mask(np.ones((600, 800), bool), (10.0, 10.0))
    table = table_of(simulate_sections(150, 6.2, 0.4, rng=np.random.default_rng(1)))
    table["edge_weight"] = edge_weights(table, edges)
    full, few = (size_distribution_figure(own, size_tables(own, edges)) for own in (table, table.iloc[:10]))
    assert share_of(pixels(full), SPHERE) > 500
    assert share_of(pixels(few), SPHERE) == 0
    assert share_of(pixels(few), BAR) > 500  # the mean of ten


def test_too_few_chondrules_are_lines_without_a_mean():
    edges = EdgeCorrection.of_mask(np.ones((600, 800), bool), (10.0, 10.0))
    table = table_of(np.array([300.0, 700.0]))
    table["edge_weight"] = edge_weights(table, edges)
    with_tables, without = (size_distribution_figure(table, tables) for tables in (size_tables(table, edges), None))
    assert with_tables == without
    nothing = size_distribution_figure(table.iloc[:0])
    assert share_of(pixels(nothing), BAR) == 0
