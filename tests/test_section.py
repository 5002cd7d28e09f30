from __future__ import annotations

import numpy as np
import pytest

from meteoseg.errors import ChannelError, InputError, PixelSizeError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.section import ArrayPlane, PlaneView, Section

SHAPE = (6, 9)


def section(mask: np.ndarray | None = None, **maps: np.ndarray) -> Section:
    maps = maps or {"Fe": np.arange(54.0).reshape(SHAPE), "Mg": np.full(SHAPE, 3.0)}
    return Section.from_arrays("A12", maps, pixel_size_um=2.0, mask=mask)


@pytest.mark.parametrize("inside", [1, 2, 100, 127, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_what_is_over_zero_is_inside_the_mask(inside: int, dtype: type) -> None:
    mask = np.zeros(SHAPE, dtype)
    mask[2:4, 1:6] = inside
    assert section(mask).read_mask().sum() == 10


def test_grey_edges_of_a_bright_mask_are_cut_alike_in_all_windows() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[0] = 1
    mask[3:, :4] = 255
    mask[3:, 4] = 127
    cut = section(mask)
    assert cut.read_mask().sum() == 12
    rows = [cut.read_mask(Window(row, 0, 1, SHAPE[1])) for row in range(SHAPE[0])]
    np.testing.assert_array_equal(np.concatenate(rows), cut.read_mask())


def test_a_mask_of_fractions_and_nan() -> None:
    mask = np.full(SHAPE, np.nan)
    mask[1, :4] = 0.3
    assert section(mask).read_mask().sum() == 4


def test_maps_and_mask_must_agree_in_shape() -> None:
    with pytest.raises(ShapeMismatchError, match=r"Fe 6 x 9, Mg 9 x 6"):
        section(Fe=np.ones(SHAPE), Mg=np.ones(SHAPE[::-1]))
    with pytest.raises(ShapeMismatchError, match=r"Mask of 'A12' is 9 x 6 .* --crop-to-common"):
        section(np.ones(SHAPE[::-1]))


def test_what_a_section_cannot_be() -> None:
    with pytest.raises(InputError, match="has no channel"):
        Section.from_arrays("A12", {})
    with pytest.raises(PixelSizeError, match="not possible"):
        section().with_pixel_size(float("nan"))
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        Section.from_arrays("A12", {"Fe": np.ones(SHAPE)}).require_pixel_size()


def test_selected_expressions_are_the_same_in_any_window() -> None:
    stack = section().select(["Mg / (Mg + Fe)", "gaussian(Fe, 1)", "Fe"])
    window = Window(2, 3, 3, 5)
    np.testing.assert_allclose(stack.read(window), stack.read()[(slice(None), *window.slices)], rtol=1e-6)
    assert stack.read()[0, 0, 3] == pytest.approx(0.5)


def test_selections_that_cannot_be_made() -> None:
    with pytest.raises(ChannelError, match=r"'Ni' is missing from 'A12' \(it has Fe, Mg\)"):
        section().select(["Fe / Ni"])
    with pytest.raises(ChannelError, match="selected twice"):
        section().select(["Fe", "Fe"])
    with pytest.raises(ChannelError, match="No channel"):
        section().select([])


def test_plane_view_counts_from_its_own_corner() -> None:
    values = np.arange(30).reshape(5, 6)
    view = PlaneView(ArrayPlane(values), Window(1, 2, 3, 4))
    assert view.shape == (3, 4)
    np.testing.assert_array_equal(view.read(Window(1, 0, 2, 3)), values[2:4, 2:5])


def test_infinite_values_are_read_as_nan() -> None:
    values = np.arange(54.0).reshape(SHAPE)
    values[0, :3] = np.inf, -np.inf, 1e39  # float32 cannot hold the last
    read = section(Fe=values, Mg=np.full(SHAPE, 3)).read()
    assert np.isnan(read[0, 0, :3]).all()
    np.testing.assert_array_equal(read[0].ravel()[3:], values.ravel()[3:])
    assert (read[1] == 3).all()
