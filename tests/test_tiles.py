import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError
from meteoseg.tiles import plan_tiles

sizes = st.integers(1, 70)


@settings(deadline=None)
@given(sizes, sizes, st.integers(1, 24), st.integers(1, 24), st.data())
def test_every_pixel_has_one_owner_that_sees_the_margin_around_it(rows, cols, tile_px, tile_rows_px, data):
    margin_px = data.draw(st.integers(0, (min(tile_px, tile_rows_px) - 1) // 2))
    plan = plan_tiles((rows, cols), tile_px, margin_px, tile_rows_px=tile_rows_px)
    owners = np.zeros((rows, cols), int)
    for tiles in plan:
        assert len({(tile.outer.row, tile.outer.row_end) for tile in tiles}) == 1
        for tile in tiles:
            owners[tile.inner.slices] += 1
            seen = tile.inner.padded(margin_px, (rows, cols))
            assert seen.intersect(tile.outer) == seen
            assert tile.outer.height <= tile_rows_px
            assert tile.outer.width <= tile_px
            assert tile.kept == tile.inner.within(tile.outer)
    assert (owners == 1).all()


def test_tiles_lie_on_a_lattice_from_the_corner():
    long, short = (plan_tiles((5, cols), 10, 2)[0] for cols in (64, 23))
    assert [tile.outer.col for tile in long] == list(range(0, 60, 6))
    assert [tile.outer.col for tile in short] == [0, 6, 12, 18]
    assert [tile.inner for tile in short[:3]] == [tile.inner for tile in long[:3]]


def test_section_that_fits_exactly_needs_one_tile():
    assert len(plan_tiles((10, 10), 10, 4)) == len(plan_tiles((10, 10), 10, 4)[0]) == 1


@pytest.mark.parametrize("margin_px", [-1, 4, 9])
def test_impossible_margin_is_refused(margin_px):
    with pytest.raises(InputError, match="take 0 to 3"):
        plan_tiles((20, 20), 8, margin_px)


def test_empty_grid_is_refused():
    with pytest.raises(InputError, match="nothing to tile"):
        plan_tiles((0, 20), 8, 2)
