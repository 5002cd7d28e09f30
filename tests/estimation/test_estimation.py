"""Errors of modal abundances: blocks, doubtful labels, reference points, connected objects, representativeness."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from meteoseg.errors import InputError
from meteoseg.estimation.blocks import block_error, correlation_cells, sampling_error
from meteoseg.estimation.doubt import combined_interval, doubt_interval
from meteoseg.estimation.objectcount import ObjectAreas
from meteoseg.estimation.reference import ALL, ReferencePoints, accuracy_table, adjusted_shares, confusion_table
from meteoseg.estimation.representative import diameter_row, mode_rows, statement


def two_classes(labels, cell_px=1):
    rows, cols = labels.shape[0] // cell_px, labels.shape[1] // cell_px
    first = labels.reshape(rows, cell_px, cols, cell_px).sum(axis=(1, 3))
    return np.stack([first, cell_px**2 - first], axis=2).astype(np.int64)


def smooth_field(rng, shape, length):
    return ndimage.gaussian_filter(rng.standard_normal(shape), length, mode="wrap") > 0


@pytest.mark.parametrize("length", [2.0, 4.0])
def test_correlation_length_is_that_of_a_smooth_field(length):
    # The correlation of a thresholded Gaussian field is (2 / pi) arcsin(r), r = exp(-(h / 2 length)^2).
    expected = 2 * length * np.sqrt(-np.log(np.sin(np.pi / 2 / np.e)))
    found = [correlation_cells(two_classes(smooth_field(np.random.default_rng(seed), (60, 80), length)))[0]
             for seed in range(8)]  # fmt: skip
    assert np.mean(found) == pytest.approx(expected, rel=0.2)


def test_long_correlations_make_fewer_blocks():
    rng = np.random.default_rng(1)
    fine, coarse = (two_classes(smooth_field(rng, (48, 66), length)) for length in (0.5, 8.0))
    assert sampling_error(fine, rng, n_boot=50).n_blocks[0] > 20
    assert sampling_error(coarse, rng, n_boot=50).n_blocks[0] < 13


def test_nothing_anywhere_has_no_error():
    found = sampling_error(np.zeros((6, 9, 2), np.int64), np.random.default_rng(0), n_boot=10)
    assert np.isnan(found.error).all()
    assert found.share.tolist() == [0, 0]


def test_doubtful_labels_widen_the_section_interval_both_ways():
    counts = two_classes(np.random.default_rng(2).random((40, 60)) < 0.4, 4)
    narrow, wide = (
        doubt_interval(counts, ("olivine", "troilite"), {"olivine": p, "troilite": p}, np.random.default_rng(0))
        for p in (0.99, 0.8)
    )
    assert narrow[0][0] > wide[0][0] > 0
    assert 40 < narrow[1][0] < wide[1][0] < 100


def test_certain_and_unclassified_labels_have_no_classification_error():
    counts = two_classes(np.random.default_rng(3).random((20, 30)) < 0.4, 2)
    low, high = doubt_interval(counts, ("olivine", "troilite"), {}, np.random.default_rng(0))
    assert (low == high).all()
    low, high = doubt_interval(counts, ("unclassified", "troilite"), {"troilite": 0.5}, np.random.default_rng(0))
    assert (low == high).all()


def test_an_empty_section_has_no_classification_error():
    low, high = doubt_interval(np.zeros((3, 4, 0), np.int64), (), {"olivine": 0.5}, np.random.default_rng(0))
    assert (low.size, high.size) == (0, 0)


def test_errors_add_in_squares_on_the_logit_scale():
    low, high = combined_interval(
        np.array([0.5, 0.0]), np.array([0.0, np.nan]), (np.array([40.0, 0]), np.array([60.0, 1]))
    )
    assert (low[0], high[0]) == (pytest.approx(40), pytest.approx(60))
    assert np.isnan([low[1], high[1]]).all()


def example_of_olofsson():
    """Counts and areas of Olofsson et al. (2014), table 8: deforestation, gain, stable forest, stable non-forest."""
    table = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
    names = ("deforestation", "gain", "forest", "non-forest")
    area = dict(zip(names, (200_000, 150_000, 3_200_000, 6_450_000), strict=True))
    points = {(a, b): n for a, row in zip(names, table, strict=True) for b, n in zip(names, row, strict=True)}
    return ReferencePoints("phases", area, points)


def test_published_example_of_error_adjusted_area():
    points = example_of_olofsson()
    found = adjusted_shares(points, np.random.default_rng(0))
    # Their text: 235 086 pixels of deforestation, margin of error 68 418 (95 %), of 10 million.
    assert found.pct[0] == pytest.approx(2.35086, rel=1e-4)
    assert 1.96 * found.error_pct[0] == pytest.approx(0.68418, rel=2e-3)
    assert found.low_pct[0] < 2.0 < 2.35 < found.high_pct[0]
    table = accuracy_table(points).set_index("name")
    assert table.loc["deforestation", "users_accuracy_pct"] == pytest.approx(88, abs=0.5)
    assert 1.96 * table.loc["deforestation", "users_error_pct"] == pytest.approx(7.4, abs=0.1)
    assert table.loc["deforestation", "producers_accuracy_pct"] == pytest.approx(75, abs=0.5)
    assert 1.96 * table.loc["deforestation", "producers_error_pct"] == pytest.approx(21.3, abs=0.2)
    assert table.loc[ALL, "users_accuracy_pct"] == pytest.approx(94.7, abs=0.1)
    assert 1.96 * table.loc[ALL, "users_error_pct"] == pytest.approx(1.8, abs=0.1)
    assert confusion_table(points)["area_pct"].sum() == pytest.approx(100)


def test_points_in_holes_leave_the_solid_section():
    points = ReferencePoints(
        "phases",
        {"olivine": 600, "hole": 400},
        {("olivine", "olivine"): 30, ("olivine", "hole"): 10, ("hole", "hole"): 20, ("hole", "troilite"): 20},
    )
    found = adjusted_shares(points, np.random.default_rng(0))
    assert dict(zip(found.names, found.pct, strict=True)) == pytest.approx(
        {"olivine": 450 / 6.5, "troilite": 200 / 6.5}
    )
    assert found.error_pct[0] == pytest.approx(found.error_pct[1])


def test_a_class_without_two_points_is_named():
    with pytest.raises(InputError, match="only 1 labelled point lie on what the map calls 'spinel'"):
        ReferencePoints("phases", {"olivine": 5, "spinel": 2}, {("olivine", "olivine"): 4, ("spinel", "olivine"): 1})


def test_adjusted_interval_covers_the_true_share():
    rng = np.random.default_rng(11)
    truth = np.array([[0.92, 0.07, 0.01], [0.1, 0.88, 0.02], [0.2, 0.1, 0.7]])
    area = np.array([0.6, 0.37, 0.03])
    names = ("a", "b", "c")
    held = []
    for _ in range(150):
        drawn = [rng.multinomial(n, row) for n, row in zip((100, 70, 20), truth, strict=True)]
        points = {(m, t): int(n) for m, row in zip(names, drawn, strict=True) for t, n in zip(names, row, strict=True)}
        found = adjusted_shares(ReferencePoints("phases", dict(zip(names, (600, 370, 30), strict=True)), points), rng)
        held.append((found.low_pct / 100 <= area @ truth) & (area @ truth <= found.high_pct / 100))
    assert (np.mean(held, axis=0)[:2] >= 0.9).all()
    assert np.mean(held, axis=0)[2] >= 0.8  # rare, and hidden in the others


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 20]])
def test_objects_counted_in_bands_are_those_of_the_whole(cuts):
    rng = np.random.default_rng(4)
    labels = np.where(ndimage.gaussian_filter(rng.standard_normal((33, 47)), 1.5) > 0.1, 4, 7)
    counted = ObjectAreas((4, 9))
    for band in np.split(labels, cuts):
        counted.add(band)
    parts, _ = ndimage.label(labels == 4, np.ones((3, 3)))
    expected = np.bincount(parts.ravel())[1:]
    assert sorted(counted.areas_px(4, least_px=1)) == sorted(expected)
    assert len(counted.areas_px(4)) == np.count_nonzero(expected >= 15)
    assert counted.areas_px(9).size == 0


def test_few_objects_are_not_representative():
    rng = np.random.default_rng(5)
    sampling = sampling_error(two_classes(rng.random((48, 48)) < 0.3, 2), rng, n_boot=50)
    areas = {"inclusion": np.array([100, 100, 100, 100]), "clast": np.zeros(0, np.int64)}
    table = mode_rows(
        "components", ("inclusion", "matrix"), sampling, cell_um=10.0, mapped_mm2=40.0, object_areas=areas
    ).set_index("name")
    row = table.loc["inclusion"]
    assert (row["n_objects"], row["count_error_pct"], row["relative_error_pct"]) == (4, 50, 50)
    assert row["mm2_for_10_pct"] == pytest.approx(1000)
    assert row["statement"] == "weak: inclusions need about 1000 mm2"
    assert table.loc["matrix", "statement"] == "representative to 10 %"
    assert table.loc["clast", "statement"] == "none found: fewer than 3 in 40 mm2 of the rock (95 %)"
    assert statement("metal", float("nan"), 3.0) == "not known: too few blocks"
    assert isinstance(table, pd.DataFrame)


def test_a_share_of_nothing_is_no_narrower_than_its_points_leave_it():
    low, high = combined_interval(
        np.array([0.0, 1.0]), np.array([0.5, 0.5]), (np.array([0.0, 95.0]), np.array([5.0, 100.0]))
    )
    assert (low[0], high[1]) == (0, 100)
    assert high[0] == pytest.approx(7.98, abs=0.01)  # odds 1/19 times exp(0.5)
    assert low[1] == pytest.approx(100 - 7.98, abs=0.01)


@pytest.mark.parametrize("shape", [(20, 500), (500, 20), (3, 900)])
def test_a_narrow_strip_is_not_cut_into_more_blocks_than_allowed(shape):
    counts = two_classes(np.random.default_rng(0).random(shape) < 0.3)
    assert 18 <= sampling_error(counts, np.random.default_rng(0), n_boot=20).n_blocks[0] <= 30


def test_a_class_has_one_row_whatever_the_size_of_its_objects():
    counts = two_classes(np.random.default_rng(6).random((48, 48)) < 0.01, 2)
    sampling = sampling_error(counts, np.random.default_rng(0), n_boot=50)
    none = np.zeros(0, np.int64)
    areas = {"clast": none, "inclusion": none}
    table = mode_rows("components", ("inclusion", "matrix"), sampling, cell_um=1.0, mapped_mm2=9.0, object_areas=areas)
    assert table["name"].tolist() == ["inclusion", "matrix", "clast"]
    assert table["n_objects"].tolist()[::2] == [0, 0]
    nothing = mode_rows("components", (), sampling, cell_um=1.0, mapped_mm2=0.0, object_areas=areas)
    assert nothing.empty
    assert diameter_row(np.nan, np.nan, 3, 9.0)["statement"].tolist() == ["not known: too few whole chondrules"]


def test_blocks_are_eight_correlation_lengths_wide():
    counts = two_classes(smooth_field(np.random.default_rng(7), (96, 120), 2.6))
    found = sampling_error(counts, np.random.default_rng(0), n_boot=20)
    expected = 96 * 120 / (8 * found.correlation_cells[0]) ** 2
    assert 9 < expected < 18
    assert found.n_blocks[0] == pytest.approx(expected, rel=0.25)


def test_neighbouring_blocks_that_are_alike_enlarge_the_error():
    rng = np.random.default_rng(8)
    first = rng.integers(20, 80, (6, 6))
    mixed = np.stack([first, 100 - first], axis=2)
    sorted_ = np.sort(first.ravel()).reshape(6, 6)
    alike = np.stack([sorted_, 100 - sorted_], axis=2)
    errors = [block_error(counts, np.random.default_rng(0)) for counts in (mixed, alike)]
    assert errors[1][0] > 1.8 * errors[0][0]


def test_rates_of_error_are_as_broad_as_their_mean():
    labels = np.random.default_rng(2).random((40, 60)) < 0.4
    low, high = doubt_interval(
        two_classes(labels, 4), ("olivine", "troilite"), {"olivine": 0.8}, np.random.default_rng(0), n_draws=20_000
    )
    share = 100 * labels.mean()
    worst = 1 - 0.025 ** (1 / 4)  # 97.5 % point of Beta(1, 4), of mean 0.2
    assert low[0] == pytest.approx(share * (1 - worst), rel=0.03)
    assert high[1] == pytest.approx(100 - share * (1 - worst), rel=0.03)


def test_what_is_wrong_belongs_to_the_neighbours_by_their_area():
    counts = np.zeros((6, 6, 3), np.int64)
    counts[:, :] = (10, 80, 10)
    low, high = doubt_interval(counts, ("a", "b", "c"), {"a": 0.5}, np.random.default_rng(0), n_draws=20_000)
    gain = high - np.array([10, 80, 10])
    assert gain[1] > 1.5 * gain[2] > 0
    assert low[1:].tolist() == [pytest.approx(80, abs=0.2), pytest.approx(10, abs=0.2)]


def test_unequal_objects_are_worth_fewer():
    rng = np.random.default_rng(5)
    sampling = sampling_error(two_classes(rng.random((48, 48)) < 0.3, 2), rng, n_boot=50)
    areas = {"clast": np.array([400, 100])}
    table = mode_rows("components", ("clast", "matrix"), sampling, cell_um=1.0, mapped_mm2=40.0, object_areas=areas)
    assert table["relative_error_pct"][0] == pytest.approx(100 * np.sqrt(400**2 + 100**2) / 500)
