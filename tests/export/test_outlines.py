"""Outlines along pixel edges: valid polygons with the exact area, whatever the object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meteoseg.export.outlines import area, outlines
from meteoseg.export.qupath import geometry


def shape_of(inside):
    shapely = pytest.importorskip("shapely.geometry")
    return shapely.shape(geometry(outlines(inside)))


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 12))))
def test_any_mask_becomes_valid_polygons_of_its_area(inside):
    if not inside.any():
        assert outlines(inside) == []
        return
    shape = shape_of(inside)
    assert shape.is_valid
    assert shape.area == inside.sum()


@given(arrays(bool, (6, 8)))
def test_polygons_cover_the_pixels_of_the_mask(inside):
    shapely = pytest.importorskip("shapely")
    if not inside.any():
        return
    shape = shape_of(inside)
    rows, cols = np.mgrid[:6, :8] + 0.5
    np.testing.assert_array_equal(shapely.contains_xy(shape, cols, rows), inside)


def test_corner_only_contact_makes_two_parts():
    parts = outlines(np.array([[1, 1, 0], [0, 0, 1]], bool), corner_px=(10, 20))
    assert [part.outer for part in parts] == [
        [(10, 20), (10, 22), (11, 22), (11, 20)],
        [(11, 22), (11, 23), (12, 23), (12, 22)],
    ]


def test_ring_closed_at_a_corner_keeps_its_hole():
    inside = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    (part,) = outlines(inside)
    assert (area(part.outer), [area(hole) for hole in part.holes]) == (8.0, [-1.0])
    assert shape_of(inside).is_valid


def test_hole_with_an_island_is_three_rings():
    inside = np.zeros((7, 9), bool)
    inside[1:6, 1:8] = True
    inside[2:5, 2:7] = False
    inside[3, 4] = True
    parts = outlines(inside)
    assert [(area(part.outer), len(part.holes)) for part in parts] == [(35.0, 1), (1.0, 0)]
