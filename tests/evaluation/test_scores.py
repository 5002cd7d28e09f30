"""Tables of scores have the values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.errors import InputError, ShapeMismatchError, UnknownNameError
from meteoseg.evaluation.scores import Rules, evaluate_components, evaluate_objects, evaluate_phases, object_table
from meteoseg.legend import default_legend

PHASES = default_legend("phases")


def squares(*corners, side=5, shape=(20, 34)):
    labels = np.zeros(shape, np.int32)
    for object_id, (row, col) in enumerate(corners, start=1):
        labels[row : row + side, col : col + side] = object_id
    return labels


def value(table, name, metric):
    return table.set_index(["class", "metric"])["value"][(name, metric)]


def test_object_table():
    truth, pred = squares((2, 2), (2, 15), side=8), squares((2, 2), side=8)
    table, match = evaluate_objects(pred, truth)
    assert list(table.columns) == ["class", "metric", "value"]
    expected = {"n_truth": 2, "n_pred": 1, "tp": 1, "fp": 0, "fn": 1, "precision": 1, "recall": 0.5, "pq": 2 / 3}
    for metric, number in expected.items():
        assert value(table, "chondrule", metric) == pytest.approx(number)
    # inner pixels: 36 of 36 + 36 found
    assert value(table, "chondrule", "dice") == pytest.approx(2 / 3)
    assert match.missed_truth_ids == (2,)
    table, _ = evaluate_objects(pred, truth, rules=Rules(ignore_truth_ids=[2]))
    assert value(table, "chondrule", "dice") == 1


def test_phase_table():
    truth = np.ones((12, 30), np.uint8)
    truth[:, 10:20], truth[:, 20:24], truth[:, 24:27], truth[:, 27:] = 8, 31, 0, 255
    pred = truth.copy()
    pred[truth == 255] = 2
    pred[:, 5:10] = 2
    table = evaluate_phases(pred, truth, rules=Rules(boundary_px=0))
    assert value(table, "olivine", "recall") == 0.5
    assert value(table, "low-Ca pyroxene", "iou") == 0
    assert value(table, "olivine", "area_pct_truth") == 50
    assert value(table, "olivine", "modal_error_pct") == -25
    assert np.isnan(value(table, "hole", "area_pct_truth"))
    assert value(table, "all", "accuracy") == pytest.approx(19 / 24)
    assert value(table, "all", "mean_iou") == pytest.approx((0.5 + 1 + 1) / 3)
    assert value(table, "all", "mean_modal_error_pct") == pytest.approx((25 + 25 + 0) / 3)
    assert value(table, "all", "n_px") == 24 * 12
    banded = evaluate_phases(pred, truth)
    # each side of the drawn boundaries at columns 10, 20, 24 loses a column
    assert value(banded, "all", "n_px") == (24 - 5) * 12
    assert value(banded, "olivine", "area_pct_truth") == 50


def test_component_table_counts_outside():
    truth = np.full((10, 30), 7, np.uint8)
    truth[:, :10], truth[:, 10:20] = 0, 2
    pred = truth.copy()
    pred[:, 8:10] = 2
    table = evaluate_components(pred, truth, rules=Rules(boundary_px=0))
    assert value(table, "chondrule", "dice") == pytest.approx(2 * 100 / (100 + 120))
    assert value(table, "outside", "iou") == pytest.approx(0.8)
    assert value(table, "matrix", "iou") == 1
    # outside pixels are no part of the modes of the truth
    assert value(table, "chondrule", "area_pct_truth") == 50
    assert value(table, "chondrule", "area_pct_pred") == pytest.approx(100 * 120 / 220)


def test_matrix_is_what_lies_in_no_object():
    truth, pred = squares((2, 2), side=8), squares((2, 6), side=8)
    table, _ = evaluate_objects(pred, truth, rules=Rules(boundary_px=0))
    in_neither = 20 * 34 - (8 * 8 + 4 * 8)
    assert value(table, "matrix", "iou") == pytest.approx(in_neither / (20 * 34 - 4 * 8))
    nothing, _ = evaluate_objects(pred, truth, matrix=np.zeros(truth.shape, bool))
    assert value(nothing, "matrix", "iou") == 0


def test_pixels_outside_the_section_do_not_count():
    truth, pred = squares((2, 2), (2, 20)), squares((2, 2), (12, 20))
    inside = np.arange(34)[None, :] + np.zeros((20, 1)) < 18
    table, match = evaluate_objects(pred, truth, rules=Rules(inside=inside))
    assert (match.f1, match.missed_truth_ids, match.false_pred_ids) == (1, (), ())
    assert value(table, "matrix", "iou") == 1
    phases = np.where(truth > 0, 1, 2).astype(np.uint8)
    assert value(evaluate_phases(phases, phases, rules=Rules(0, inside)), "all", "n_px") == 20 * 18
    with pytest.raises(ShapeMismatchError, match="give both on one grid"):
        evaluate_objects(pred, truth, rules=Rules(inside=inside[1:]))


def test_objects_too_small_to_match_are_objects_of_the_pixels():
    truth = squares((2, 2), (2, 15), side=3)
    table, match = evaluate_objects(np.zeros_like(truth), truth, rules=Rules(boundary_px=0, min_area_px=10))
    assert match.ignored_truth_ids == (1, 2)
    assert value(table, "chondrule", "dice") == 0
    assert value(table, "matrix", "iou") == pytest.approx(1 - 18 / (20 * 34))


def test_every_object_has_its_row_the_worst_first():
    truth = squares((2, 2), (2, 15), (12, 2), (12, 24))
    pred = squares((3, 2), (2, 18), (12, 24), (12, 14))
    _, match = evaluate_objects(pred, truth, rules=Rules(ignore_truth_ids=[4]))
    table = object_table(pred, truth, match, kinds={1: "chondrule", 4: "nodule"})
    assert table["status"].tolist() == ["missed", "missed", "matched", "ignored", "false", "false"]
    assert table["truth_id"].fillna(0).tolist() == [3, 2, 1, 4, 0, 0]
    assert table["best_id"].fillna(0).tolist() == [0, 2, 1, 3, 2, 4]
    assert table["iou"].round(3).tolist() == [0, 0.25, 0.667, 1, 0.25, 0]
    assert table["kind"].tolist()[2:4] == ["chondrule", "nodule"]
    assert table.loc[2, ["area_px", "row_px", "col_px"]].tolist() == [25, 4, 4]


def test_objects_without_any_have_an_empty_table():
    empty = np.zeros((6, 9), np.int32)
    _, match = evaluate_objects(empty, empty)
    assert object_table(empty, empty, match).empty


def test_merged_phases_are_one_class():
    truth = np.full((10, 20), PHASES["kamacite"].id, np.uint8)
    truth[:, 10:] = PHASES["olivine"].id
    truth[0, :] = 255
    pred = truth.copy()
    pred[:, :5] = PHASES["taenite"].id
    apart = evaluate_phases(pred, truth)
    assert value(apart, "kamacite", "recall") < 0.5
    table = evaluate_phases(pred, truth, rules=Rules(merge=[["kamacite", "taenite"]]))
    assert value(table, "kamacite + taenite", "iou") == 1
    assert value(table, "all", "mean_iou") == 1
    assert "taenite" not in set(table["class"])
    with pytest.raises(UnknownNameError, match="kamazite"):
        evaluate_phases(pred, truth, rules=Rules(merge=[["kamazite", "taenite"]]))
    with pytest.raises(InputError, match="Only one class to merge"):
        evaluate_phases(pred, truth, rules=Rules(merge=[["taenite"]]))


def test_rare_classes_may_be_left_out_of_the_mean():
    truth = np.full((20, 50), PHASES["olivine"].id, np.uint8)
    truth[:2, :2] = PHASES["spinel"].id
    pred = np.full_like(truth, PHASES["olivine"].id)
    assert value(evaluate_phases(pred, truth, rules=Rules(0)), "all", "mean_iou") == pytest.approx(0.996 / 2)
    table = evaluate_phases(pred, truth, rules=Rules(0, min_area_pct=0.5))
    assert value(table, "all", "mean_iou") == pytest.approx(0.996)
    assert value(table, "all", "n_classes") == 1


def test_calibration_error_leaves_out_unclassified_pixels():
    truth = np.full((10, 10), PHASES["olivine"].id, np.uint8)
    pred = truth.copy()
    pred[:2], pred[2:4] = PHASES["unclassified"].id, PHASES["spinel"].id
    sure = np.full(truth.shape, 0.75)
    table = evaluate_phases(pred, truth, probability=sure)
    assert value(table, "all", "expected_calibration_error") == 0
    assert "expected_calibration_error" not in set(evaluate_phases(pred, truth)["metric"])


def test_calibration_error_without_a_classified_pixel_is_nan_and_the_table_is_whole():
    truth = np.full((10, 10), PHASES["olivine"].id, np.uint8)
    pred = np.full_like(truth, PHASES["unclassified"].id)
    table = evaluate_phases(pred, truth, probability=np.full(truth.shape, 0.4))
    assert np.isnan(value(table, "all", "expected_calibration_error"))
    assert value(table, "olivine", "recall") == 0


def test_scribbles_are_scored_up_to_where_they_meet():
    truth = np.full((12, 20), 255, np.uint8)
    truth[5, 2:8], truth[5, 8:14] = PHASES["olivine"].id, PHASES["spinel"].id
    pred = np.full_like(truth, PHASES["olivine"].id)
    table = evaluate_phases(pred, truth)
    assert value(table, "all", "n_px") == 10
    assert value(table, "all", "accuracy") == 0.5


def test_nothing_to_score_is_refused():
    truth = np.full((6, 6), 255, np.uint8)
    with pytest.raises(InputError, match="all of the truth is unlabelled"):
        evaluate_components(np.zeros_like(truth), truth)
    truth[:, 2], truth[:, 3] = 1, 2
    with pytest.raises(InputError, match="all 12 labelled pixels lie within 1 px of another label"):
        evaluate_components(np.zeros_like(truth), truth)
    assert value(evaluate_components(truth % 3, truth, rules=Rules(0)), "all", "n_px") == 12
    with pytest.raises(InputError, match="the mask leaves out all"):
        evaluate_objects(truth, truth, rules=Rules(inside=np.zeros(truth.shape, bool)))


@pytest.mark.parametrize(
    "merge", [[["kamacite", "taenite"], ["taenite", "troilite"]], [["taenite", "kamacite", "taenite"]]]
)
def test_a_class_is_merged_once(merge):
    truth = np.full((8, 8), PHASES["kamacite"].id, np.uint8)
    with pytest.raises(InputError, match="names 'taenite' twice"):
        evaluate_phases(truth, truth, rules=Rules(merge=merge))


def test_true_matrix_may_be_given():
    truth = squares((2, 2), side=8)
    clast = np.zeros(truth.shape, bool)
    clast[14:18, 20:30] = True
    matrix = (truth == 0) & ~clast
    table, _ = evaluate_objects(truth, truth, matrix=matrix, true_matrix=matrix)
    assert value(table, "matrix", "iou") == 1
    table, _ = evaluate_objects(truth, truth, matrix=matrix)
    assert value(table, "matrix", "iou") < 0.95


def test_maps_of_two_shapes_are_refused():
    truth = squares((2, 2))
    for evaluate in (evaluate_phases, evaluate_components, evaluate_objects):
        with pytest.raises(ShapeMismatchError, match="give both on one grid"):
            evaluate(truth[1:], truth)
