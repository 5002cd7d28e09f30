from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError
from meteoseg.tiles import plan_tiles

sizes = st.integers(1, 70)


@settings(deadline=None)
@given(sizes, sizes, st.integers(1, 24), st.data())
def test_tiles_cover_every_pixel_with_the_promised_overlap(rows, cols, tile_px, data):
    overlap_px = data.draw(st.integers(0, tile_px - 1))
    plan = plan_tiles((rows, cols), tile_px, overlap_px)
    covered = np.zeros((rows, cols), int)
    for row in plan:
        for window in row:
            assert window.shape == (min(tile_px, rows), min(tile_px, cols))
            assert window.row_end <= rows
            assert window.col_end <= cols
            covered[window.slices] += 1
    assert covered.min() >= 1
    for left, right in pairwise(plan[0]):
        assert left.col_end - right.col >= overlap_px
        assert right.col > left.col
    for upper, lower in pairwise(plan):
        assert upper[0].row_end - lower[0].row >= overlap_px
        assert lower[0].row > upper[0].row


def test_last_tile_is_moved_back():
    starts = [window.col for window in plan_tiles((5, 23), 10, 4)[0]]
    assert starts == [0, 6, 12, 13]


def test_section_that_fits_exactly_needs_one_tile():
    assert len(plan_tiles((10, 10), 10, 4)) == len(plan_tiles((10, 10), 10, 4)[0]) == 1


@pytest.mark.parametrize("overlap_px", [-1, 8, 9])
def test_impossible_overlap_is_refused(overlap_px):
    with pytest.raises(InputError, match="take 0 to 7"):
        plan_tiles((20, 20), 8, overlap_px)


def test_empty_grid_is_refused():
    with pytest.raises(InputError, match="nothing to tile"):
        plan_tiles((0, 20), 8, 2)
