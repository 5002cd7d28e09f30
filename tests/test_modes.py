"""Modal abundances sum to 100, survive rotation, and carry honest intervals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError, UnknownNameError
from meteoseg.estimation.blocks import block_intervals
from meteoseg.estimation.reference import ReferencePoints
from meteoseg.legend import Label, default_legend
from meteoseg.modes import (
    COLUMNS,
    BlockCounts,
    JointCounts,
    LabelTrust,
    cross_table,
    default_cell_px,
    modal_table,
    modes_of,
)

PHASES, COMPONENTS = default_legend("phases"), default_legend("components")


def random_phases(seed, shape=(36, 60)):
    rng = np.random.default_rng(seed)
    labels = rng.choice([1, 2, 8, 31, 32], p=[0.5, 0.25, 0.1, 0.1, 0.05], size=shape).astype(np.uint8)
    labels[:, :5] = 0
    return labels


def boolean_model(rng, shape, median_px, cover):
    """Paint Poisson discs of lognormal diameter (sigma 0.5) that cover a share `cover` on average."""
    inside, margin = np.zeros(shape, bool), int(4 * median_px)
    per_px = -np.log(1 - cover) / (np.pi / 4 * median_px**2 * np.exp(0.5))
    size = np.array(shape) + 2 * margin
    n = rng.poisson(per_px * size.prod())
    radii = median_px / 2 * np.exp(0.5 * rng.standard_normal(n))
    row, col = np.ogrid[: shape[0], : shape[1]]
    for (r, c), radius in zip(rng.uniform(0, size, (n, 2)) - margin, radii, strict=True):
        top, left = max(0, int(r - radius)), max(0, int(c - radius))
        part = np.s_[top : max(0, int(r + radius) + 2), left : max(0, int(c + radius) + 2)]
        inside[part] |= (row[part[0]] - r) ** 2 + (col[:, part[1]] - c) ** 2 <= radius**2
    return inside


def test_areas_percentages_and_weights():
    labels = np.array([[0, 0, 31, 1, 1, 1], [32, 8, 1, 1, 1, 1]], np.uint8)
    table = modes_of(labels, PHASES, (3.0, 2.0)).set_index("name")
    assert list(table.reset_index()[list(COLUMNS)].columns) == list(COLUMNS)
    assert table.index.tolist() == ["olivine", "troilite", "unclassified", "outside", "hole"]
    assert table["area_px"].tolist() == [7, 1, 1, 2, 1]
    assert table["area_um2"].tolist() == [42.0, 6.0, 6.0, 12.0, 6.0]
    assert table["area_pct"][:3].tolist() == pytest.approx([700 / 9, 100 / 9, 100 / 9])
    assert table.loc[["outside", "hole"], ["area_pct", "ci_low_pct", "ci_high_pct", "wt_pct"]].isna().all(axis=None)
    mass = np.array([7 * 3.44, 4.83])
    assert table["wt_pct"][:2].tolist() == pytest.approx((100 * mass / mass.sum()).tolist())
    assert np.isnan(table.loc["unclassified", "wt_pct"])


@pytest.mark.parametrize(("n_px", "weighed"), [(2, True), (3, False)])
def test_no_weights_where_minerals_without_density_take_much_area(n_px, weighed):
    legend = PHASES.with_labels([Label(0, "X", "#aa8800")])
    labels = np.full((6, 20), 32, np.uint8)
    labels.ravel()[:100] = [1] * 90 + [8] * (10 - n_px) + [legend["X"].id] * n_px
    table = modes_of(labels, legend, (1.0, 1.0)).set_index("name")
    assert table.loc[["olivine", "troilite"], "wt_pct"].notna().all() == weighed
    assert np.isnan(table.loc["X", "wt_pct"])


def test_components_have_no_weight():
    table = modes_of(np.full((9, 12), 7, np.uint8), COMPONENTS, (1.0, 1.0)).set_index("name")
    assert np.isnan(table.loc["matrix", "wt_pct"])
    assert table.loc["matrix", "area_pct"] == 100


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_percentages_sum_to_100_and_survive_rotation_and_flip(seed):
    labels = random_phases(seed)
    table = modes_of(labels, PHASES, (2.0, 1.0))
    assert table["area_pct"].sum() == pytest.approx(100)
    assert table["wt_pct"].sum() == pytest.approx(100)
    assert table["area_px"].sum() == labels.size
    for turned, pixel_size_um in ((np.rot90(labels), (1.0, 2.0)), (labels[::-1], (2.0, 1.0))):
        other = modes_of(turned, PHASES, pixel_size_um)
        columns = ["name", "area_px", "area_um2", "area_pct", "wt_pct"]
        pd.testing.assert_frame_equal(other[columns], table[columns])


def test_doubling_the_pixel_size_quadruples_areas_only():
    labels = random_phases(1)
    one, two = modes_of(labels, PHASES, (1.5, 1.0)), modes_of(labels, PHASES, (3.0, 2.0))
    assert two["area_um2"].tolist() == pytest.approx((4 * one["area_um2"]).tolist())
    pd.testing.assert_frame_equal(one.drop(columns="area_um2"), two.drop(columns="area_um2"))


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, 36), max_size=6), block_px=st.integers(1, 50))
def test_bands_equal_the_whole(cuts, block_px):
    labels = random_phases(2, (37, 23))
    whole, banded = (BlockCounts(PHASES.ids, block_px, labels.shape) for _ in range(2))
    whole.add(0, labels)
    edges = [0, *sorted(cuts), 37]
    for start, stop in pairwise(edges):
        banded.add(start, labels[start:stop])
    assert np.array_equal(whole.counts, banded.counts)
    assert whole.counts[0, 0, 1] == np.count_nonzero(labels[:block_px, :block_px] == 1)
    assert whole.total.sum() == labels.size


def test_rows_counted_in_parts_equal_the_whole(monkeypatch):
    whole, parts = (BlockCounts(PHASES.ids, 10, (36, 60)) for _ in range(2))
    whole.add(0, random_phases(2))
    monkeypatch.setattr("meteoseg.modes._PIXELS_AT_ONCE", 60 * 4)
    parts.add(0, random_phases(2))
    assert np.array_equal(whole.counts, parts.counts)


def test_intervals_hold_the_share_and_are_the_same_twice():
    table = modes_of(random_phases(3), PHASES, (1.0, 1.0)).dropna(subset=["area_pct"])
    assert (table["ci_low_pct"] < table["area_pct"]).all()
    assert (table["area_pct"] < table["ci_high_pct"]).all()
    again = modes_of(random_phases(3), PHASES, (1.0, 1.0)).dropna(subset=["area_pct"])
    pd.testing.assert_frame_equal(table, again)


def test_interval_of_independent_pixels_is_binomial():
    rng = np.random.default_rng(5)
    labels = np.where(rng.random((300, 420)) < 0.2, 8, 1).astype(np.uint8)
    row = modes_of(labels, PHASES, (1.0, 1.0)).set_index("name").loc["troilite"]
    binomial_pct = 100 * 2 * 1.96 * np.sqrt(0.2 * 0.8 / labels.size)
    assert row.ci_high_pct - row.ci_low_pct == pytest.approx(binomial_pct, rel=0.5)


def test_clumps_widen_the_interval():
    rng = np.random.default_rng(6)
    fine = (rng.random((240, 360)) < 0.3).astype(np.uint8) + 1
    coarse = np.kron((rng.random((12, 18)) < 0.3).astype(np.uint8) + 1, np.ones((20, 20), np.uint8))
    widths = []
    for labels in (fine, coarse):
        row = modes_of(labels, PHASES, (1.0, 1.0)).set_index("name").loc["low-Ca pyroxene"]
        widths.append(row.ci_high_pct - row.ci_low_pct)
    assert widths[1] > 8 * widths[0]


def test_interval_covers_the_true_share_of_random_discs():
    covered = []
    for seed in range(40):
        labels = boolean_model(np.random.default_rng(seed), (180, 240), 12, 0.5) + np.uint8(1)
        row = modes_of(labels, PHASES, (1.0, 1.0), n_boot=200).set_index("name").loc["low-Ca pyroxene"]
        covered.append(row.ci_low_pct <= 50 <= row.ci_high_pct)
    assert np.mean(covered) >= 0.8  # 95 % nominal, about 92 % measured


def test_phase_in_one_block_has_a_wide_open_interval():
    labels = np.ones((60, 60), np.uint8)
    labels[3:5, 3:5] = 10
    row = modes_of(labels, PHASES, (1.0, 1.0)).set_index("name").loc["magnetite"]
    assert 0 < row.ci_low_pct < row.area_pct / 4
    assert 4 * row.area_pct < row.ci_high_pct < 20 * row.area_pct


def test_few_blocks_give_no_interval():
    counts = np.zeros((3, 4, 2), np.int64)
    counts.reshape(-1, 2)[:7] = [30, 70]
    low, high = block_intervals(counts, np.random.default_rng(0))
    assert np.isnan(low).all()
    assert np.isnan(high).all()
    counts.reshape(-1, 2)[7] = [40, 60]
    low, high = block_intervals(counts, np.random.default_rng(0))
    assert low[0] < 100 * 250 / 800 < high[0]


def test_empty_section_lists_outside_only():
    table = modes_of(np.zeros((8, 9), np.uint8), COMPONENTS, (1.0, 1.0))
    assert table["name"].tolist() == ["outside", "hole"]
    assert table["area_px"].tolist() == [72, 0]


def test_both_layers_in_one_table():
    phases, components = random_phases(4), np.where(random_phases(4) == 0, 0, 7)
    counts = {"phases": BlockCounts(PHASES.ids, 6, (36, 60)), "components": BlockCounts(COMPONENTS.ids, 6, (36, 60))}
    counts["phases"].add(0, phases)
    counts["components"].add(0, components)
    table, sampling = modal_table(counts, {"phases": PHASES, "components": COMPONENTS}, (1.0, 1.0))
    assert sampling["components"].names == ("matrix",)
    assert table.groupby("layer")["area_pct"].sum().to_dict() == pytest.approx({"phases": 100, "components": 100})
    with pytest.raises(UnknownNameError, match="Unknown layer 'components'"):
        modal_table(counts, {"phases": PHASES}, (1.0, 1.0))


def by_points(labels, points):
    """Modal table of labels with reference points: counts by (mapped, true)."""
    areas = {name: int(np.count_nonzero(labels == PHASES[name].id)) for name, _ in points}
    counts = BlockCounts(PHASES.ids, default_cell_px(labels.shape), labels.shape)
    counts.add(0, labels)
    trust = {"phases": LabelTrust({"olivine": 0.95}, ReferencePoints("phases", areas, points))}
    return modal_table({"phases": counts}, {"phases": PHASES}, (1.0, 1.0), trust=trust, n_boot=100)[0].set_index("name")


def test_a_class_that_no_point_confirmed_may_still_be_there():
    labels = np.where(np.random.default_rng(0).random((120, 160)) < 0.05, 12, 1).astype(np.uint8)
    table = by_points(labels, {("olivine", "olivine"): 50, ("spinel", "olivine"): 20})
    assert table["adjusted_pct"].tolist()[:2] == [100, 0]
    assert table.loc["spinel", "adjusted_ci_high_pct"] > table.loc["spinel", "adjusted_section_ci_high_pct"] > 1
    assert table.loc["olivine", "adjusted_ci_low_pct"] < table.loc["olivine", "adjusted_section_ci_low_pct"] < 99


def test_a_class_that_points_alone_have_tells_nothing_of_how_it_is_strewn():
    labels = np.where(np.random.default_rng(0).random((120, 160)) < 0.05, 12, 1).astype(np.uint8)
    points = {("olivine", "olivine"): 40, ("olivine", "troilite"): 10, ("spinel", "spinel"): 20}
    troilite = by_points(labels, points).loc["troilite"]
    assert troilite["adjusted_pct"] == pytest.approx(20 * np.mean(labels == 1))
    assert troilite["adjusted_section_ci_low_pct"] > 8
    empty = ["ci_low_pct", "ci_high_pct", "section_ci_low_pct", "section_ci_high_pct"]
    assert troilite[[*empty, "adjusted_ci_low_pct", "adjusted_ci_high_pct"]].isna().all()


def test_cross_table_adds_up():
    phases = np.array([[1, 1, 8, 0], [1, 31, 30, 30]], np.uint8)
    components = np.array([[2, 2, 2, 0], [7, 2, 7, 7]], np.uint8)
    joint = JointCounts(PHASES.ids, COMPONENTS.ids)
    joint.add(phases[:1], components[:1])
    joint.add(phases[1:], components[1:])
    table = cross_table(joint, PHASES, COMPONENTS, pixel_size_um=(2.0, 1.0))
    keyed = table.set_index(["component", "phase"])
    assert keyed["area_px"].sum() == phases.size
    assert keyed.loc[("chondrule", "olivine")].tolist() == pytest.approx([2, 4.0, 200 / 3, 200 / 3])
    assert keyed.loc[("matrix", "fine-grained matrix")].tolist() == pytest.approx([2, 4.0, 200 / 3, 100.0])
    assert keyed.loc[("chondrule", "hole"), ["pct_of_component", "pct_of_phase"]].isna().all()
    solid = table.dropna()
    assert solid.groupby("component")["pct_of_component"].sum().tolist() == pytest.approx([100, 100])
    assert solid.groupby("phase")["pct_of_phase"].sum().tolist() == pytest.approx([100, 100, 100])


def test_minerals_in_a_hole_of_the_components_belong_to_no_percentage():
    joint = JointCounts(PHASES.ids, COMPONENTS.ids)
    joint.add(np.array([[1, 1, 1, 8]]), np.array([[1, 7, 7, 7]]))
    table = cross_table(joint, PHASES, COMPONENTS, pixel_size_um=(1.0, 1.0)).set_index(["component", "phase"])
    assert table.loc[("hole", "olivine"), ["pct_of_component", "pct_of_phase"]].isna().all()
    assert table.loc[("matrix", "olivine"), "pct_of_phase"] == 100


def test_counts_do_not_overflow():
    counts = BlockCounts((0, 1), 10, (10, 10))
    counts.counts[0, 0, 1] = 2**33
    counts.add(0, np.ones((10, 10), np.uint8))
    assert counts.total[1] == 2**33 + 100


def test_bad_input_is_named():
    counts = BlockCounts(PHASES.ids, 4, (8, 6))
    counts.add(0, np.ones((3, 6), np.uint8))
    with pytest.raises(InputError, match="Row 3 of the label image was never counted"):
        _ = counts.total
    with pytest.raises(InputError, match="Rows 2 to 3 are counted twice"):
        counts.add(2, np.ones((2, 6), np.uint8))
    with pytest.raises(ShapeMismatchError, match="does not fit an image of 8 x 6"):
        counts.add(3, np.ones((2, 5), np.uint8))
    with pytest.raises(UnknownNameError, match="Label 77 is not in the legend"):
        counts.add(3, np.full((2, 6), 77, np.uint8))
    with pytest.raises(UnknownNameError, match="Label -1 is not in the legend"):
        modes_of(np.full((2, 6), -1), PHASES, (1.0, 1.0))
    with pytest.raises(PixelSizeError, match="two positive numbers"):
        modes_of(np.ones((2, 6), np.uint8), PHASES, (1.0, float("nan")))
    with pytest.raises(ShapeMismatchError, match="give the same rows of both"):
        JointCounts((0, 1), (0, 1)).add(np.ones((2, 2), int), np.ones((2, 3), int))


def test_default_cells_are_about_2300():
    rows, cols = 908, 978
    cell_px = default_cell_px((rows, cols))
    assert 2000 <= (rows / cell_px) * (cols / cell_px) <= 2600
