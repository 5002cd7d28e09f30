from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.grid import Window
from meteoseg.resample import Regrid, axis_weights


def reader(image: np.ndarray):
    return lambda window: image[(slice(None), *window.slices)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.floats(0.15, 9.0))
def test_weights_sum_to_one_and_are_not_negative(n_in: int, step: float) -> None:
    weights = axis_weights(n_in, max(1, int(np.ceil(n_in / step - 1e-6))), step).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert weights.min() >= 0


def test_area_means_keep_the_mean() -> None:
    image = np.random.default_rng(1).random((2, 30, 45)).astype(np.float32)
    grid = Regrid.onto((30, 45), (2.0, 2.0), 5.0)
    assert grid.target == (12, 18)
    coarse = grid.read(reader(image), Window.whole(grid.target))
    np.testing.assert_allclose(coarse.mean(axis=(1, 2)), image.mean(axis=(1, 2)), rtol=1e-5)


def test_pixels_that_are_not_square_become_square() -> None:
    assert Regrid.onto((10, 10), (4.0, 1.0), 2.0).target == (20, 5)


@pytest.mark.parametrize("um_per_px", [1.0, 0.4, 2.5, 3.0])
def test_windows_equal_the_whole(um_per_px: float) -> None:
    image = np.random.default_rng(2).random((1, 23, 31)).astype(np.float32)
    grid = Regrid.onto((23, 31), (1.0, 1.0), um_per_px)
    whole = grid.read(reader(image), Window.whole(grid.target))
    window = Window(2, 3, 5, 7)
    np.testing.assert_allclose(grid.read(reader(image), window), whole[(slice(None), *window.slices)], rtol=1e-6)


@pytest.mark.parametrize("um_per_px", [7.3, 22.1])
def test_a_plane_of_one_value_keeps_it_exactly(um_per_px: float) -> None:
    grid = Regrid.onto((61, 83), (10.0, 10.0), um_per_px)
    planes = np.stack([np.full((61, 83), -1.0), np.full((61, 83), 0.1)]).astype(np.float32)
    planes[1, 0, 0] = 0.2
    out = grid.read(lambda window: planes[(slice(None), *window.slices)], Window.whole(grid.target))
    assert (out[0] == -1).all()
    assert out[1, 0, 0] > 0.1
    assert out[1, -1, -1] == pytest.approx(0.1)


def test_a_linear_ramp_survives_the_way_there_and_back() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (1, 24, 40))
    grid = Regrid.onto((24, 40), (1.0, 1.0), 4.0)
    coarse = grid.read(reader(ramp), Window.whole(grid.target))
    back = grid.inverse().read(reader(coarse), Window.whole((24, 40)))
    np.testing.assert_allclose(back[:, :, 2:-2], ramp[:, :, 2:-2], atol=1e-4)


def test_nearest_takes_the_pixel_that_covers_the_centre() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]])
    back = Regrid((2, 3), (4, 6), (0.5, 0.5))
    assert back.nearest(values, Window(1, 1, 2, 4)).tolist() == [[1, 2, 2, 3], [4, 5, 5, 6]]


def test_large_windows_are_read_in_parts_with_the_same_result(monkeypatch):
    image = np.random.default_rng(2).random((2, 61, 47)).astype(np.float32)
    grid = Regrid.onto((61, 47), (1.0, 1.0), 2.7)
    window = Window(3, 1, 17, 14)
    whole = grid.read(lambda w: image[:, *w.slices], window)
    sizes = []

    def read(part):
        sizes.append(part.height * part.width)
        return image[:, *part.slices]

    monkeypatch.setattr("meteoseg.resample.SOURCE_PX", 200)
    np.testing.assert_allclose(grid.read(read, window), whole, rtol=1e-6)
    assert len(sizes) > 4
    assert max(sizes) <= 200
