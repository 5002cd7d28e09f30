"""Objects have the areas, axes and outlines they were painted with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.objects import (
    COLUMNS,
    SHAPE_COLUMNS,
    iter_object_windows,
    largest_connected,
    measure_objects,
    perimeter,
    size_summary,
)


def painted_ellipse(semi_um, angle_deg, pixel_size_um=(1.0, 1.0), shape=(150, 180), centre_um=None):
    """Paint an ellipse whose first semi-axis makes `angle_deg` with the row axis (towards columns)."""
    dy, dx = pixel_size_um
    row_um, col_um = (np.mgrid[: shape[0], : shape[1]] + 0.5) * np.array([dy, dx])[:, None, None]
    centre = centre_um or (shape[0] * dy / 2 + 0.3, shape[1] * dx / 2 - 0.2)
    angle = np.radians(angle_deg)
    down, right = row_um - centre[0], col_um - centre[1]
    along = (down * np.cos(angle) + right * np.sin(angle)) / semi_um[0]
    across = (-down * np.sin(angle) + right * np.cos(angle)) / semi_um[1]
    return (along**2 + across**2 <= 1).astype(np.uint8), centre


def ellipse_perimeter(a, b):
    t = np.linspace(0, 2 * np.pi, 20001)
    return float(np.trapezoid(np.hypot(a * np.sin(t), b * np.cos(t)), t))


@pytest.mark.parametrize("pixel_size_um", [(1.0, 1.0), (2.0, 1.0), (1.0, 1.5)])
@pytest.mark.parametrize("angle_deg", [0.0, 30.0, 75.0, -50.0])
def test_ellipse_has_its_axes_area_angle_and_outline(pixel_size_um, angle_deg):
    shape = (int(160 / pixel_size_um[0]), int(180 / pixel_size_um[1]))
    labels, centre = painted_ellipse((60, 30), angle_deg, pixel_size_um, shape)
    row = measure_objects(labels, pixel_size_um).iloc[0]
    assert row.area_um2 == pytest.approx(np.pi * 60 * 30, rel=0.01)
    assert row.major_axis_um == pytest.approx(120, rel=0.01)
    assert row.minor_axis_um == pytest.approx(60, rel=0.01)
    assert row.aspect_ratio == pytest.approx(2, rel=0.015)
    assert row.orientation_deg == pytest.approx(angle_deg, abs=1)
    assert (row.row_um, row.col_um) == pytest.approx(centre, abs=0.3)
    outline_rel = 0.01 if pixel_size_um == (1.0, 1.0) else 0.03
    assert row.perimeter_um == pytest.approx(ellipse_perimeter(60, 30), rel=outline_rel)
    assert row.equivalent_diameter_um == pytest.approx(2 * np.sqrt(60 * 30), rel=0.005)
    assert row.circularity == pytest.approx(
        4 * np.pi * np.pi * 1800 / ellipse_perimeter(60, 30) ** 2, rel=2 * outline_rel
    )
    assert 0.97 <= row.solidity <= 1


@pytest.mark.parametrize("radius_px", [6, 10, 40])
def test_disc_is_circular(radius_px):
    labels, _ = painted_ellipse((radius_px, radius_px), 0, shape=(90, 100))
    row = measure_objects(labels, (1.0, 1.0)).iloc[0]
    assert row.perimeter_um == pytest.approx(2 * np.pi * radius_px, rel=0.015)
    assert row.circularity == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("angle_deg", [0, 10, 26, 45])
def test_straight_edges_are_within_two_percent(angle_deg):
    row, col = np.mgrid[:200, :220] - 100.0
    angle = np.radians(angle_deg)
    along, across = row * np.cos(angle) + col * np.sin(angle) + 0.3, -row * np.sin(angle) + col * np.cos(angle) + 0.1
    inside = (np.abs(along) < 60) & (np.abs(across) < 40)
    assert perimeter(inside, (1.0, 1.0)) == pytest.approx(400, rel=0.02)


def test_two_discs_joined_by_a_bridge_are_not_solid():
    labels = np.zeros((60, 120), np.uint8)
    row, col = np.mgrid[:60, :120]
    labels[(row - 30) ** 2 + (col - 30) ** 2 <= 400] = 1
    labels[(row - 30) ** 2 + (col - 90) ** 2 <= 400] = 1
    labels[29:31, 30:90] = 1
    measured = measure_objects(labels, (1.0, 1.0)).iloc[0]
    assert measured.solidity == pytest.approx(2 * np.pi * 400 / (np.pi * 400 + 40 * 60), abs=0.05)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 20))
def test_scaling_the_pixel_scales_lengths_and_areas(seed, factor):
    labels = random_blobs(seed)
    small = measure_objects(labels, (1.5, 1.0))
    large = measure_objects(labels, (1.5 * factor, factor))
    assert large["area_um2"].to_numpy() == pytest.approx(small["area_um2"].to_numpy() * factor**2)
    for column in ("row_um", "equivalent_diameter_um", "major_axis_um", "minor_axis_um", "perimeter_um"):
        np.testing.assert_allclose(large[column], small[column] * factor, rtol=1e-9)
    for column in ("aspect_ratio", "circularity", "solidity", "area_px"):
        np.testing.assert_allclose(large[column], small[column], rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_transposing_swaps_rows_and_columns(seed):
    labels = random_blobs(seed)
    one, other = measure_objects(labels, (1.5, 1.0)), measure_objects(labels.T, (1.0, 1.5))
    np.testing.assert_allclose(other["row_um"], one["col_um"])
    for column in ("area_um2", "major_axis_um", "minor_axis_um", "perimeter_um"):
        np.testing.assert_allclose(other[column], one[column], rtol=1e-9)


def random_blobs(seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((50, 70), np.int32)
    row, col = np.mgrid[:50, :70]
    for object_id, (r, c, a) in enumerate(rng.uniform([5, 5, 3], [45, 65, 14], (4, 3)), start=1):
        labels[((row - r) / a) ** 2 + ((col - c) / (1.4 * a)) ** 2 <= 1] = object_id
    return labels


def test_small_objects_are_kept_without_shape():
    labels = np.zeros((20, 40), np.uint16)
    labels[2:10, 2:11] = 3  # 72 px: 9.6 px across
    labels[2:10, 20:30] = 9  # 80 px: 10.1 px across
    table = measure_objects(labels, (1.0, 1.0))
    assert table["id"].tolist() == [3, 9]
    assert table.loc[0, list(SHAPE_COLUMNS)].isna().all()
    assert table.loc[0, "area_px"] == 72
    assert table.loc[1, list(SHAPE_COLUMNS)].notna().all()


def test_objects_at_border_or_mask_touch_the_edge():
    labels = np.zeros((20, 30), np.uint8)
    mask = np.ones(labels.shape, bool)
    labels[0:3, 5:8] = 1  # border of the grid
    labels[5:8, 5:8] = 2  # free
    labels[12:15, 12:15] = 3  # beside a masked pixel, diagonally
    mask[15, 15] = False
    labels[5:8, 20:23] = 4  # one pixel away from the masked column
    mask[:, 24:] = False
    table = measure_objects(labels, (1.0, 1.0), mask=mask)
    assert table["touches_edge"].tolist() == [True, False, True, False]
    assert measure_objects(labels, (1.0, 1.0))["touches_edge"].tolist() == [True, False, False, False]


def test_kinds_offset_and_columns():
    labels = np.zeros((20, 30), np.uint8)
    labels[4:6, 8:12], labels[10:12, 1:3] = 1, 2
    table = measure_objects(labels, (2.0, 1.0), kinds={2: "fragment"}, offset_px=(100, 10))
    assert list(table.columns) == list(COLUMNS)
    assert table["kind"].tolist() == ["chondrule", "fragment"]
    assert table[["row_um", "col_um"]].values.tolist() == [[210.0, 20.0], [222.0, 12.0]]


def test_empty_map_gives_an_empty_table_with_types():
    table = measure_objects(np.zeros((5, 7), np.uint32), (1.0, 1.0))
    assert len(table) == 0
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == COLUMNS
    assert size_summary(table) == {
        "n": 0, "n_intact_uncut": 0, "cut_off_um": None, "mean_um": None, "median_um": None, "sd_ln_d": None,
    }  # fmt: skip


def test_boxes_join_over_row_bands(monkeypatch):
    labels = random_blobs(3)
    whole = list(iter_object_windows(labels))
    monkeypatch.setattr("meteoseg.objects._BAND_PX", 70 * 7)
    assert list(iter_object_windows(labels)) == whole
    object_id, window = whole[-1]
    rows, cols = np.nonzero(labels == object_id)
    assert window == Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)


def test_bad_input_is_named():
    labels = np.ones((4, 6), np.uint8)
    with pytest.raises(ShapeMismatchError, match=r"mask is 4 x 5 .* label image is 4 x 6"):
        measure_objects(labels, (1.0, 1.0), mask=np.ones((4, 5), bool))
    with pytest.raises(PixelSizeError, match="two positive numbers"):
        measure_objects(labels, (0.0, 1.0))
    with pytest.raises(InputError, match="2-D array of integers, got 2-D float64"):
        measure_objects(labels.astype(float), (1.0, 1.0))
    with pytest.raises(InputError, match="renumber them from 1"):
        measure_objects(np.array([[-1, 2]]), (1.0, 1.0))


def test_largest_part_is_kept():
    labels = np.zeros((8, 12), np.uint16)
    labels[1:3, 1:3] = 300
    labels[3, 3] = 300  # joined by a corner
    labels[6, 6:9] = 300  # smaller part
    labels[0, 11] = 2
    kept, removed = largest_connected(labels)
    assert kept.dtype == np.uint16
    assert np.argwhere(removed).tolist() == [[6, 6], [6, 7], [6, 8]]
    assert np.array_equal(kept, np.where(removed, 0, labels))
    assert labels[6, 6] == 300


def test_size_summary_counts_intact_uncut_above_the_cut_off():
    labels = np.zeros((60, 90), np.uint8)
    row, col = np.mgrid[:60, :90]
    for object_id, (r, c, radius) in enumerate([(15, 15, 8), (15, 45, 12), (40, 20, 10), (0, 80, 9)], start=1):
        labels[(row - r) ** 2 + (col - c) ** 2 <= radius**2] = object_id
    labels[50:58, 60:69] = 5  # 72 px, 9.6 px across: under the cut-off of 10 px
    table = measure_objects(labels, (2.0, 2.0), kinds={3: "fragment"})
    summary = size_summary(table)
    d_um = table["equivalent_diameter_um"].to_numpy()[:2]
    assert (summary["n"], summary["n_intact_uncut"]) == (5, 2)
    assert summary["cut_off_um"] == pytest.approx(20.0)
    assert summary["mean_um"] == pytest.approx(d_um.mean())
    assert summary["sd_ln_d"] == pytest.approx(np.log(d_um[1] / d_um[0]) / np.sqrt(2))
    assert size_summary(table, min_diameter_um=40.0)["n_intact_uncut"] == 1
