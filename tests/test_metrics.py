"""Scores have the values worked out by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.metrics import (
    boundary_band,
    confusion,
    dice,
    expected_calibration_error,
    iou,
    match_objects,
)


def squares(*corners, side=5, shape=(20, 34)):
    labels = np.zeros(shape, np.int32)
    for object_id, (row, col) in enumerate(corners, start=1):
        labels[row : row + side, col : col + side] = object_id
    return labels


def test_confusion_rows_are_the_truth():
    pred = np.array([[0, 1, 2], [2, 2, 1]], np.uint8)
    truth = np.array([[0, 1, 1], [2, 2, 255]], np.uint8)
    matrix = confusion(pred, truth, 3, ignore=255)
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert iou(matrix).tolist() == [1, 1 / 2, 2 / 3]
    assert dice(matrix).tolist() == [1, 2 / 3, 4 / 5]
    assert confusion(pred, truth, 3, where=truth == 2).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 2]]


def test_absent_class_scores_nan():
    matrix = confusion(np.array([0, 0]), np.array([0, 0]), 2)
    assert iou(matrix)[0] == 1
    assert np.isnan(iou(matrix)[1])
    assert np.isnan(dice(matrix)[1])


def test_boundary_band_is_on_both_sides():
    labels = np.ones((7, 9), np.uint8)
    labels[2:5, 3:6] = 2
    one = boundary_band(labels)
    assert one[1:6, 2:7].sum() == one.sum() == 25 - 1
    assert not one[3, 4]
    assert not boundary_band(labels, 0).any()
    assert boundary_band(labels, 2)[3, 4]


def test_an_ignored_label_makes_no_boundary():
    labels = np.full((5, 8), 255, np.uint8)
    labels[2, 1:4], labels[2, 4:7] = 2, 7
    assert boundary_band(labels)[2].all()
    band = boundary_band(labels, ignore=255)
    assert band[2].tolist() == [False, False, False, True, True, False, False, False]
    assert band.sum() == 2
    assert boundary_band(labels, 3, ignore=255).sum() == 6
    assert np.array_equal(boundary_band(labels.astype(np.int64), ignore=255), band)


def test_shifted_squares_have_their_iou():
    truth = squares((2, 2), (2, 15))
    pred = squares((3, 2), (2, 18))  # IoU 20 / 30 and 10 / 40
    match = match_objects(pred, truth)
    assert match.pairs.values.tolist() == [[1, 1, pytest.approx(2 / 3)]]
    assert (match.missed_truth_ids, match.false_pred_ids) == ((2,), (2,))
    assert (match.f1, match.precision, match.recall) == (0.5, 0.5, 0.5)
    assert match.pq == pytest.approx(0.5 * 2 / 3)
    low = match_objects(pred, truth, iou_threshold=0.2)
    assert low.n_matched == 2
    assert low.mean_iou == pytest.approx((2 / 3 + 1 / 4) / 2)


def test_low_threshold_still_matches_one_to_one():
    truth = squares((2, 2), (2, 7))  # touching
    pred = np.where(truth > 0, 9, 0)
    match = match_objects(pred, truth, iou_threshold=0.3)
    assert match.pairs[["truth_id", "pred_id"]].values.tolist() == [[1, 9]]
    assert match.missed_truth_ids == (2,)
    assert match.false_pred_ids == ()


def test_ignored_and_tiny_truth_count_neither_way():
    truth = squares((2, 2), (2, 12), (12, 2))
    truth[15:18, 20:24] = 4  # 12 px: too small
    pred = truth.copy()
    pred[truth == 2] = 5
    match = match_objects(pred, truth, ignore_truth_ids=[2, 77])
    assert match.pairs["truth_id"].tolist() == [1, 3]
    assert match.ignored_truth_ids == (2, 4)
    assert match.ignored_pred_ids == (4, 5)
    assert (match.f1, match.pq) == (1.0, 1.0)
    half = np.zeros_like(truth)
    half[2:4, 12:17] = 1  # 10 px on the ignored object,
    half[0:2, 12:17] = 1  # 10 px beside it: not more than half
    assert match_objects(half, truth, ignore_truth_ids=[2]).false_pred_ids == (1,)
    half[1, 12] = 0
    assert match_objects(half, truth, ignore_truth_ids=[2]).ignored_pred_ids == (1,)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_map_matches_itself_whatever_its_ids(seed):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 12, (6, 9)), np.ones((4, 4), int))
    renumbered = rng.permutation(2_000_000_000 + np.arange(12))[labels] * (labels > 0)
    match = match_objects(renumbered, labels)
    assert match.pq == match.f1 == match.mean_iou == 1
    assert match.n_matched == len(np.unique(labels[labels > 0]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_swapping_prediction_and_truth_swaps_precision_and_recall(seed):
    rng = np.random.default_rng(seed)
    one, other = (squares(*rng.integers(0, (15, 29), (4, 2))) for _ in range(2))
    there, back = match_objects(one, other, min_area_px=0), match_objects(other, one, min_area_px=0)
    assert there.precision == back.recall
    assert there.pq == pytest.approx(back.pq)


def test_overlaps_of_every_pair_are_known_whether_matched_or_not():
    truth, pred = squares((2, 2), (2, 15)), squares((3, 2), (2, 18))
    overlaps = match_objects(pred, truth, ignore_truth_ids=[2]).overlaps
    assert overlaps.values.tolist() == [[1, 1, pytest.approx(2 / 3)], [2, 2, pytest.approx(0.25)]]


def test_row_bands_do_not_change_the_match(monkeypatch):
    truth, pred = squares((2, 2), (4, 15), (10, 8)), squares((3, 2), (4, 15), (11, 9))
    whole = match_objects(pred, truth)
    monkeypatch.setattr("meteoseg.metrics._BAND_PX", 34 * 3)
    banded = match_objects(pred, truth)
    assert banded.pairs.equals(whole.pairs)
    assert confusion(pred, truth, 4).tolist() == np.histogram2d(truth.ravel(), pred.ravel(), np.arange(5))[0].tolist()
    assert banded.false_pred_ids == whole.false_pred_ids


def test_no_objects_score_nan_not_one():
    empty = np.zeros((6, 8), np.uint8)
    assert np.isnan(match_objects(empty, empty).pq)
    truth = squares((2, 2))
    match = match_objects(np.zeros_like(truth), truth)
    assert (match.pq, match.recall) == (0.0, 0.0)
    assert np.isnan(match.precision)


def test_calibration_error_by_hand():
    confidence = np.array([0.55, 0.55, 0.95, 0.95])
    is_correct = np.array([True, False, True, True])
    assert expected_calibration_error(confidence, is_correct, n_bins=10) == pytest.approx(0.05)
    rng = np.random.default_rng(0)
    honest = rng.random(200_000)
    assert expected_calibration_error(honest, rng.random(200_000) < honest) < 0.01
    assert expected_calibration_error(np.ones(4), np.ones(4, bool)) == 0


def test_bad_input_is_named():
    truth = squares((2, 2))
    with pytest.raises(ShapeMismatchError, match=r"prediction is 19 x 34 .* truth is 20 x 34"):
        match_objects(truth[1:], truth)
    with pytest.raises(InputError, match="prediction has labels 0 to 40; 0 to 32 are allowed"):
        confusion(np.where(truth > 0, 40, 0), truth, 33)
    with pytest.raises(InputError, match="truth has ids outside"):
        match_objects(truth, -truth)
    with pytest.raises(InputError, match="between 0 and 1"):
        expected_calibration_error(np.array([1.2]), np.array([True]))


def test_drawn_outlines_of_semarkona_match_themselves_but_not_when_eroded():
    folder = os.environ.get("METEOSEG_DATA")
    if not folder:
        pytest.skip("METEOSEG_DATA is not set: the drawn outlines of Semarkona are not at hand")
    import tifffile

    truth = tifffile.imread(Path(folder) / "semarkona-ps1b-west" / "objects.tif")
    assert match_objects(truth, truth).pq == 1
    eroded = np.where(boundary_band(truth) & (truth > 0), 0, truth)
    assert 0.3 < match_objects(eroded, truth).pq < 0.85
