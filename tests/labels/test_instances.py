from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.morphology import h_maxima

from meteoseg.errors import ShapeMismatchError
from meteoseg.labels import instances
from meteoseg.labels.instances import order_by_position, separate_objects

EIGHT = np.ones((3, 3), bool)


def cones(shape: tuple[int, int], *discs: tuple[float, float, float]) -> np.ndarray:
    """Distance maps of discs (row, col, radius), 0 at their edge to 1 at their centre."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    height = [1 - np.hypot(row - r, col - c) / radius for r, c, radius in discs]
    return np.clip(np.max(height, axis=0), 0, None).astype(np.float32)


def test_touching_discs_part_without_a_line_between_them() -> None:
    distance = cones((40, 70), (20, 20, 15), (20, 45, 14))
    labels = separate_objects((distance > 0).astype(float), distance)
    assert labels.max() == 2
    np.testing.assert_array_equal(labels > 0, distance > 0)
    assert labels[20, 20] == 1
    assert labels[20, 45] == 2
    row = labels[20, 8:57]
    assert set(np.flatnonzero(np.diff(row))) == {int(np.argmax(row == 2)) - 1}


def test_a_large_object_with_a_rough_distance_map_is_not_shattered() -> None:
    """The distance is the one networks learn: level from six pixels inwards (`train.targets`)."""
    rng = np.random.default_rng(3)
    inside = cones((120, 150), (60, 75, 50)) > 0
    distance = np.clip(ndi.distance_transform_edt(inside) / 6, 0, 1)
    rough = np.clip(distance + rng.normal(0, 0.15, distance.shape), 0, 1).astype(np.float32)
    assert separate_objects(inside.astype(float), rough).max() == 1


def test_an_area_of_level_distance_is_one_object_unless_it_is_all_outline() -> None:
    inside = np.zeros((20, 30))
    inside[5:15, 5:25] = 1
    np.testing.assert_array_equal(separate_objects(inside, np.full(inside.shape, 0.45)), inside)
    np.testing.assert_array_equal(separate_objects(inside, np.full(inside.shape, 0.45), seed_threshold=0.6), inside)
    assert not separate_objects(inside, np.full(inside.shape, 0.35)).any()


def test_an_area_that_is_doubtful_all_over_is_no_object() -> None:
    share = np.zeros((20, 40))
    share[5:15, 5:15] = 0.6
    share[5:15, 25:35] = 0.6
    share[6:14, 26:34] = 0.8
    labels = separate_objects(share, (share > 0).astype(float))
    assert labels[10, 10] == 0
    assert labels[10, 30] == 1
    assert int(labels.max()) == 1


def test_an_object_that_fills_the_map_is_one_object() -> None:
    assert (separate_objects(np.ones((20, 30)), np.ones((20, 30))) == 1).all()


def test_enclosed_opaques_belong_to_their_chondrule() -> None:
    distance = cones((40, 50), (20, 25, 15))
    probability = (distance > 0).astype(float)
    probability[18:22, 22:26] = 0.1
    labels = separate_objects(probability, distance)
    assert np.all(labels[18:22, 22:26] == 1)


def test_objects_under_15_px_are_dropped() -> None:
    probability = np.zeros((12, 20))
    probability[2:4, 2:9] = 1  # 14 px
    probability[7:10, 2:7] = 1  # 15 px
    labels = separate_objects(probability, probability)
    assert labels.max() == 1
    assert labels[8, 4] == 1
    assert not labels[3, 3]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_are_ordered_connected_parts_of_the_chondrule_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distance = ndi.gaussian_filter(rng.normal(size=(37, 53)), 3)
    distance = np.clip(distance / distance.max(), 0, 1)
    probability = (distance > 0.15).astype(float)
    labels = separate_objects(probability, distance)
    ids, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    found = ids > 0
    np.testing.assert_array_equal(ids[found], np.arange(1, found.sum() + 1))
    assert np.all(np.diff(first[found]) > 0)
    assert np.all(sizes[found] >= 15)
    for label_id in ids[found]:
        assert ndi.label(labels == label_id, EIGHT)[1] == 1


def test_order_by_position_of_nothing() -> None:
    assert order_by_position(np.zeros((2, 3), np.int32)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="differ in shape"):
        separate_objects(np.ones((3, 4)), np.ones((4, 3)))


@pytest.mark.parametrize("seed", range(12))
def test_peaks_are_those_of_the_reconstruction_by_dilation(seed):
    rng = np.random.default_rng(seed)
    smooth = ndi.gaussian_filter(rng.random((50, 71)), rng.uniform(0.5, 4))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    inside = smooth > rng.uniform(0.1, 0.5)
    smooth = np.where(inside, smooth, 0)
    steps = np.rint(smooth * 100).astype(np.int16)
    peaks, _ = ndi.label(inside & h_maxima(steps, 6, footprint=np.ones((3, 3))).astype(bool), np.ones((3, 3)))
    seeds = instances._seeds(smooth, inside, 30, 6)
    high = np.unique(peaks[(steps >= 30) & (peaks > 0)])
    for peak in high:
        assert len(np.unique(seeds[peaks == peak])) == 1
        assert (seeds[peaks == peak] > 0).all()
    areas, n_areas = ndi.label(inside, np.ones((3, 3)))
    without = set(range(1, n_areas + 1)) - set(np.unique(areas[np.isin(peaks, high)]))
    assert seeds.max() == len(high) + len(without)
