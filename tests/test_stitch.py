import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg import stitch
from meteoseg.grid import Window
from meteoseg.stitch import Stitcher, blend_weights
from meteoseg.tiles import plan_tiles


def through_tiles(image, tile_px, overlap_px):
    """Take an image (K, H, W) through tiles and stitch, the network being the identity."""
    shape = image.shape[1:]
    rows = plan_tiles(shape, tile_px, overlap_px)
    stitcher = Stitcher(shape, len(image), overlap_px)
    bands = []
    for row, end in zip(rows, [*(below[0].row for below in rows[1:]), shape[0]], strict=True):
        for window in row:
            stitcher.add(window, image[(slice(None), *window.slices)])
        bands += list(stitcher.finish(end))
    return bands


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 24), st.data())
def test_identity_network_returns_its_input(rows, cols, tile_px, data):
    overlap_px = data.draw(st.integers(0, tile_px - 1))
    image = np.random.default_rng(rows * 61 + cols).normal(size=(2, rows, cols)).astype(np.float32)
    bands = through_tiles(image, tile_px, overlap_px)
    assert [row for row, _ in bands] == list(np.cumsum([0, *(b.shape[1] for _, b in bands[:-1])]))
    np.testing.assert_allclose(np.concatenate([band for _, band in bands], axis=1), image, rtol=1e-5, atol=1e-6)


def test_large_bands_are_handed_out_in_parts(monkeypatch):
    monkeypatch.setattr(stitch, "BAND_VALUES", 1)
    image = np.arange(50 * 7, dtype=np.float32).reshape(1, 50, 7)
    bands = through_tiles(image, 64, 8)
    assert [(row, band.shape[1]) for row, band in bands] == [(0, 16), (16, 16), (32, 16), (48, 2)]
    np.testing.assert_allclose(np.concatenate([band for _, band in bands], axis=1), image, rtol=1e-6)


def test_weights_of_two_neighbours_add_up_to_one():
    row = blend_weights((64, 20), 6)[32]
    np.testing.assert_allclose(row[-6:] + row[:6], 1, atol=1e-6)
    assert row.min() > 0
    np.testing.assert_array_equal(row[6:-6], 1)


def test_seam_between_tiles_that_disagree_is_a_smooth_ramp():
    stitcher = Stitcher((8, 24), 1, 8)
    stitcher.add(Window(0, 0, 8, 16), np.zeros((1, 8, 16), np.float32))
    stitcher.add(Window(0, 8, 8, 16), np.ones((1, 8, 16), np.float32))
    ((_, band),) = stitcher.finish(8)
    line = band[0, 4]
    assert (np.diff(line) >= -1e-6).all()
    assert np.diff(line).max() < 0.25
    assert line[0] == 0
    assert line[-1] == 1


def test_uncovered_pixel_is_an_error():
    stitcher = Stitcher((4, 9), 1, 0)
    stitcher.add(Window(0, 0, 4, 4), np.zeros((1, 4, 4), np.float32))
    stitcher.add(Window(0, 5, 4, 4), np.zeros((1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="no tile covered"):
        list(stitcher.finish(4))


def test_tile_for_rows_already_handed_out_is_an_error():
    stitcher = Stitcher((8, 4), 1, 0)
    stitcher.add(Window(0, 0, 4, 4), np.zeros((1, 4, 4), np.float32))
    list(stitcher.finish(4))
    with pytest.raises(ValueError, match="outside rows 4 to 8"):
        stitcher.add(Window(2, 0, 4, 4), np.zeros((1, 4, 4), np.float32))


def test_tile_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="does not fill"):
        Stitcher((8, 4), 1, 0).add(Window(0, 0, 4, 4), np.zeros((1, 4, 3), np.float32))
