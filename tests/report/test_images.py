import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError, UnknownNameError
from meteoseg.legend import default_legend
from meteoseg.report import images
from meteoseg.section import ArrayPlane


def test_overview_is_the_block_mean_with_partial_blocks_at_the_ends():
    values = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
    small = images.overview(values, max_px=3)
    assert small.shape == (2, 3) == images.overview_shape((5, 7), 3)
    assert small[0, 0] == values[:3, :3].mean()
    assert small[1, 2] == values[3:, 6:].mean()


def test_overview_leaves_out_pixels_that_are_not_finite():
    values = np.array([[1.0, np.nan, np.nan, np.inf], [3.0, 5.0, np.nan, np.nan]])
    np.testing.assert_array_equal(images.overview(values, max_px=2), [[3.0, 0.0]])


def test_overview_of_a_plane_read_in_bands_equals_that_of_the_array(monkeypatch):
    values = np.random.default_rng(3).integers(0, 255, (61, 37, 1)).squeeze().astype(np.uint8)
    whole = images.overview(values, max_px=9)
    monkeypatch.setattr(images, "_BAND_PX", 37 * 10)
    np.testing.assert_array_equal(images.overview(ArrayPlane(values), max_px=9), whole)


def test_overview_of_a_colour_picture_keeps_its_three_channels():
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 1] = 200
    small = images.overview(rgb, max_px=3)
    assert small.shape == (2, 3, 3)
    np.testing.assert_array_equal(small[1, 2], [0, 200, 0])


@given(rows=st.integers(1, 40), cols=st.integers(1, 40), max_px=st.integers(1, 50))
def test_sampled_labels_take_the_pixel_at_the_centre_of_each_block(rows, cols, max_px):
    labels = np.arange(rows * cols).reshape(rows, cols)
    shape = images.overview_shape(labels.shape, max_px)
    sampled = images.sample_labels(labels, shape)
    assert sampled.shape == shape
    row, col = shape[0] - 1, shape[1] // 2
    expected = labels[int((row + 0.5) * rows / shape[0]), int((col + 0.5) * cols / shape[1])]
    assert sampled[row, col] == expected


def test_sampled_labels_in_bands_equal_those_of_the_array_and_keep_large_ids(monkeypatch):
    labels = np.random.default_rng(1).integers(0, 2**32 - 1, (53, 29), dtype=np.uint32)
    whole = images.sample_labels(labels, (20, 11))
    monkeypatch.setattr(images, "_BAND_PX", 29 * 7)
    banded = images.sample_labels(ArrayPlane(labels), (20, 11))
    assert banded.dtype == np.uint32
    np.testing.assert_array_equal(banded, whole)


def test_labels_enlarge_pixel_by_pixel():
    np.testing.assert_array_equal(images.sample_labels(np.array([[1, 2]]), (2, 4)), [[1, 1, 2, 2]] * 2)


def test_painted_labels_have_the_colours_of_the_legend():
    legend = default_legend("components")
    labels = np.array([[legend["chondrule"].id, legend["rim"].id, legend["matrix"].id]], np.uint8)
    np.testing.assert_array_equal(
        images.paint_labels(labels, legend), [[[0x4C, 0x9B, 0xE8], [0xA0, 0x6A, 0x4A], [0x6E, 0x6E, 0x6E]]]
    )


def test_a_label_without_legend_entry_is_refused():
    with pytest.raises(UnknownNameError, match="Label 99 is not in the legend of layer 'components'"):
        images.paint_labels(np.array([[0, 99]]), default_legend("components"))


def test_outline_lies_inside_the_object_and_not_along_the_border_of_the_picture():
    labels = np.zeros((7, 8), np.uint32)
    labels[0:5, 2:7] = 4
    drawn = images.outline_overlay(np.zeros((7, 8, 3), np.uint8), labels, color="#ff8000")
    outline = (drawn == (255, 128, 0)).all(axis=2)
    expected = labels > 0
    expected[0:4, 3:6] = False
    np.testing.assert_array_equal(outline, expected)
    assert not drawn[~outline].any()


def test_touching_objects_show_a_line_each_of_the_width_asked_for():
    labels = np.repeat([[1] * 6 + [2] * 6], 3, axis=0)
    drawn = images.outline_overlay(np.zeros((3, 12, 3), np.uint8), labels, width_px=2)
    assert np.flatnonzero(drawn[1].any(axis=1)).tolist() == [4, 5, 6, 7]


def test_outline_overlay_leaves_the_background_as_it_was():
    background = np.zeros((3, 4, 3), np.uint8)
    images.outline_overlay(background, np.eye(3, 4, dtype=int))
    assert not background.any()


def test_labels_on_another_grid_than_the_picture_are_refused():
    with pytest.raises(ShapeMismatchError, match="picture is 3 x 4 and the labels are 4 x 3"):
        images.outline_overlay(np.zeros((3, 4, 3), np.uint8), np.zeros((4, 3), int))


def test_grey_stretch_ignores_empty_fields():
    values = np.array([[0, 0, 0, 0], [100, 150, 200, np.nan]])
    grey = images.stretch_grey(values, low_pct=0, high_pct=100)
    assert grey[..., 0].tolist() == [[0, 0, 0, 0], [0, 128, 255, 0]]
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_grey_stretch_of_a_map_of_zeros_is_black():
    assert not images.stretch_grey(np.zeros((2, 3))).any()


@given(width_um=st.floats(1e-3, 1e8))
def test_scale_bar_is_the_longest_round_length_within_its_share(width_um):
    length = images.scale_bar_um(width_um, share=0.25)
    assert 0.25 * width_um / 2.51 <= length <= 0.25 * width_um * (1 + 1e-6)
    mantissa = float(f"{length:e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 5.0)


def test_scale_bar_without_a_width_is_refused():
    with pytest.raises(PixelSizeError, match="needs a map of positive width, got 0"):
        images.scale_bar_um(0)


@pytest.mark.parametrize("color", ["orange", "#12", "ffb000", "#ffb00g"])
def test_a_colour_that_is_no_hex_triple_is_refused(color):
    with pytest.raises(InputError, match="is not a colour: write it as #rrggbb"):
        images.hex_rgb(color)
