import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.grid import Window
from meteoseg.io.warped import DisplacementGrid, Transform, WarpedPlane
from meteoseg.section import ArrayPlane

IMAGE = np.random.default_rng(5).normal(size=(23, 31)).astype(np.float32)


def shifted(offset, image=IMAGE, shape=(23, 31), grid=None):
    return WarpedPlane(ArrayPlane(image), shape, Transform(np.eye(2), np.array(offset, float), grid))


def turned(degrees, scale=1.0, offset=(0.0, 0.0)):
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Transform(matrix, np.array(offset, float))


def test_identity_changes_no_value_and_keeps_nan_where_it_is():
    image = IMAGE.copy()
    image[4, 7] = np.nan
    np.testing.assert_array_equal(shifted((0, 0), image).read(Window(0, 0, 23, 31)), image)


@given(st.integers(-6, 6), st.integers(-6, 6))
def test_a_shift_by_whole_pixels_is_exact_and_nan_beyond_the_image(row, col):
    read = shifted((row, col)).read(Window(0, 0, 23, 31))
    expected = np.full((23, 31), np.nan, np.float32)
    rows, cols = (np.arange(n) + k for n, k in zip(IMAGE.shape, (row, col), strict=True))
    fit = np.ix_((rows >= 0) & (rows < 23), (cols >= 0) & (cols < 31))
    expected[fit] = IMAGE[max(row, 0) : 23 + min(row, 0), max(col, 0) : 31 + min(col, 0)]
    np.testing.assert_array_equal(read, expected)


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_finer_image_is_averaged_over_the_pixels_it_covers(per_row, per_col):
    fine = np.random.default_rng(1).integers(0, 255, (7 * per_row, 5 * per_col)).astype(np.uint8)
    read = WarpedPlane(ArrayPlane(fine), (7, 5), Transform.scaling((per_row, per_col))).read(Window(0, 0, 7, 5))
    means = fine.reshape(7, per_row, 5, per_col).mean(axis=(1, 3))
    np.testing.assert_allclose(read, means, rtol=1e-6)


def test_a_coarser_image_is_interpolated_between_its_pixel_centres():
    coarse = np.array([[0.0, 2.0], [4.0, 6.0]])
    read = WarpedPlane(ArrayPlane(coarse), (4, 4), Transform.scaling((0.5, 0.5))).read(Window(0, 0, 4, 4))
    assert read[0].tolist() == [0.0, 0.5, 1.5, 2.0]
    assert read[:, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


@settings(max_examples=25)
@given(st.floats(-4, 4), st.floats(0.4, 2.6), st.integers(0, 15), st.integers(0, 20))
def test_windows_are_parts_of_the_whole(degrees, scale, row, col):
    plane = WarpedPlane(ArrayPlane(IMAGE), (20, 27), turned(degrees, scale, (1.3, -0.7)))
    whole = plane.read(Window(0, 0, 20, 27))
    part = Window(row, col, 5, 7)
    np.testing.assert_allclose(plane.read(part), whole[part.slices])


def test_tiles_join_without_a_seam(monkeypatch):
    plane = WarpedPlane(ArrayPlane(IMAGE), (20, 27), turned(1.5, 2.1))
    whole = plane.read(Window(0, 0, 20, 27))
    monkeypatch.setattr("meteoseg.io.warped.SAMPLES_PX", 100)
    np.testing.assert_allclose(plane.read(Window(0, 0, 20, 27)), whole, rtol=1e-6)


@pytest.mark.parametrize("value", [0.1, 0.0, 255.0, -3.3e7])
def test_a_level_area_keeps_its_value_exactly(value):
    level = np.full((40, 50), value, np.float32)
    read = WarpedPlane(ArrayPlane(level), (12, 14), turned(1.7, 2.7, (3.1, 4.4))).read(Window(0, 0, 12, 14))
    assert set(np.unique(read).tolist()) == {float(np.float32(value))}


def test_displacements_come_on_top():
    grid = DisplacementGrid(np.array([0.0, 22.0]), np.array([0.0, 30.0]), np.full((2, 2, 2), 1.0))
    moved = shifted((0, 0), grid=grid).read(Window(0, 0, 23, 31))
    np.testing.assert_array_equal(moved[:-1, :-1], IMAGE[1:, 1:])
    assert np.isnan(moved[-1]).all()


def test_only_the_part_under_a_window_is_read():
    class Watched(ArrayPlane):
        def read(self, window):
            asked.append(window.shape)
            return super().read(window)

    asked = []
    plane = WarpedPlane(Watched(np.ones((4000, 3000), np.uint8)), (400, 300), turned(1.0, 10.0))
    plane.read(Window(100, 100, 8, 9))
    assert all(rows < 120 and cols < 120 for rows, cols in asked)
