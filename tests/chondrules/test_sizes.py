"""Sizes: edge correction, estimates in the plane, and spheres and spheroids given back by unfolding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from meteoseg.chondrules.sizes import edge_weights, size_tables
from meteoseg.errors import InputError
from meteoseg.objects import measure_objects, size_summary
from meteoseg.stereology import fit_lognormal_wicksell, simulate_sections
from meteoseg.stereology.edges import MOST_WEIGHT, EdgeCorrection, mean_breadth
from meteoseg.stereology.planar import size_estimates
from meteoseg.stereology.unfolding import unfold
from meteoseg.stereology.wicksell import lognormal_misfit

TRUE = {"mean_diameter": 549.5, "median_diameter": 494.2, "sigma_ln_d": 0.451}  # of spheres of 150 um and more


@pytest.mark.parametrize(("pixel_size_um", "most_px"), [((1.0, 1.0), 10**7), ((2.0, 1.0), 10**7), ((1.0, 1.0), 9000)])
def test_share_of_a_rectangle_is_that_of_the_smaller_rectangle(monkeypatch, pixel_size_um, most_px):
    monkeypatch.setattr("meteoseg.stereology.edges._MOST_PX", most_px)
    edges = EdgeCorrection.of_mask(np.ones((200, 360), bool), pixel_size_um)
    rows, cols = 200 * pixel_size_um[0], 360 * pixel_size_um[1]
    for breadth_um in (10.0, 60.0, 120.0):
        expected = (rows - breadth_um) * (cols - breadth_um) / (rows * cols)
        assert edges.share_at([breadth_um])[0] == pytest.approx(expected, abs=0.03)
    assert edges.share_at([500.0])[0] == 0
    assert edges.weights([500.0])[0] == MOST_WEIGHT
    assert edges.area_um2 == pytest.approx(rows * cols, rel=0.06)


@pytest.mark.parametrize("breadth_px", [10.0, 30.0, 50.0])
def test_share_is_that_of_digital_discs_that_touch_no_edge(breadth_px):
    """A disc at a random place of 90 x 120 px is cut where a pixel of it lies in the first or last row or column."""
    places = (np.arange(4001) + 0.5) / 4001
    uncut = []
    for side in (90, 120):
        # The outermost pixel of the disc is the first whose middle it covers; all phases of the grid alike.
        first = np.ceil(side * places - breadth_px / 2 - 0.5)
        last = np.floor(side * places + breadth_px / 2 - 0.5)
        uncut.append(np.mean((first >= 1) & (last <= side - 2)))
    edges = EdgeCorrection.of_mask(np.ones((90, 120), bool), (1.0, 1.0))
    # Shares fall in steps of one pixel, so those around are averaged.
    found = edges.share_at(breadth_px + np.linspace(-1, 1, 41)).mean()
    assert found == pytest.approx(uncut[0] * uncut[1], rel=0.015)


def test_holes_of_the_mask_count_as_edges():
    mask = np.ones((200, 300), bool)
    mask[95:105, 140:160] = False
    whole, holed = (EdgeCorrection.of_mask(part, (1.0, 1.0)) for part in (np.ones_like(mask), mask))
    lost = (whole.share_at([40.0]) - holed.share_at([40.0]))[0] * mask.size
    assert lost == pytest.approx((10 + 40) * (20 + 40), rel=0.25)
    assert EdgeCorrection.of_mask(np.zeros((5, 7), bool), (1.0, 1.0)).area_um2 == 0


def test_breadth_is_that_of_a_random_direction():
    angle = np.linspace(0, np.pi, 20001)
    width = 2 * np.hypot(150 * np.cos(angle), 50 * np.sin(angle))
    assert mean_breadth([173.2], [300.0], [100.0])[0] == pytest.approx(width.mean(), rel=1e-3)


def test_weights_take_away_the_bias_of_leaving_cut_objects_out():
    rng = np.random.default_rng(5)
    rows, cols, n = 2000.0, 3000.0, 40_000
    d_um = np.exp(6.0 + 0.5 * rng.standard_normal(n))
    row, col = rng.uniform(0, rows, n), rng.uniform(0, cols, n)
    is_whole = np.minimum.reduce([row, rows - row, col, cols - col]) > d_um / 2
    edges = EdgeCorrection.of_mask(np.ones((400, 600), bool), (5.0, 5.0))
    seen = d_um[is_whole]
    found = size_estimates(seen, edges.weights(seen))
    plain = size_estimates(seen, np.ones(len(seen)))
    assert plain["mean_diameter"].value < 0.88 * d_um.mean()
    assert found["mean_diameter"].value == pytest.approx(d_um.mean(), rel=0.025)
    assert found["median_diameter"].value == pytest.approx(np.median(d_um), rel=0.025)
    assert found["sigma_ln_d"].value == pytest.approx(0.5, abs=0.015)


def test_errors_of_the_plane_are_those_of_repeated_samples():
    values = []
    for seed in range(60):
        sample = np.exp(6 + 0.4 * np.random.default_rng(seed).standard_normal(80))
        values.append(size_estimates(sample, np.ones(80)))
    for name in ("mean_diameter", "median_diameter", "sigma_ln_d"):
        spread = np.std([one[name].value for one in values])
        assert np.mean([one[name].standard_error for one in values]) == pytest.approx(spread, rel=0.35)
    held = [one["median_diameter"].ci_low < np.exp(6) < one["median_diameter"].ci_high for one in values]
    assert np.mean(held) > 0.85


def test_the_summary_uses_the_weights_of_the_table():
    labels = np.zeros((90, 120), np.uint8)
    labels[10:30, 10:30], labels[40:80, 40:100] = 1, 2
    table = measure_objects(labels, (1.0, 1.0)).assign(edge_weight=[1.0, 3.0])
    d_um = table["equivalent_diameter_um"].to_numpy()
    assert size_summary(table)["mean_um"] == pytest.approx((d_um[0] + 3 * d_um[1]) / 4)
    assert size_summary(table.drop(columns="edge_weight"))["mean_um"] == pytest.approx(d_um.mean())


def z_scores(method, seeds, **options):
    found = []
    for seed in seeds:
        sections = simulate_sections(300, 6.2, 0.46, rng=np.random.default_rng(seed), **options)
        found.append(method(sections))
    return found


@pytest.mark.parametrize("axial_ratio", [1.0, 1.2, 1 / 1.5, 1.5])
def test_unfolding_gives_spheres_and_spheroids_back(axial_ratio):
    made = z_scores(lambda d: unfold(d, d_min_um=150.0), range(12), axial_ratio=axial_ratio)
    for name, true in TRUE.items():
        held = [one.estimates()[name].ci_low <= true <= one.estimates()[name].ci_high for one in made]
        assert sum(held) >= 9, name
        assert np.mean([one.estimates()[name].value for one in made]) == pytest.approx(true, rel=0.06)


@pytest.mark.parametrize("axial_ratio", [1.2, 1 / 1.5, 1.5])
def test_lognormal_fit_gives_spheroids_back(axial_ratio):
    made = z_scores(lambda d: fit_lognormal_wicksell(d, d_min_um=150.0), range(6), axial_ratio=axial_ratio)
    assert np.mean([law.mu for law in made]) == pytest.approx(6.2, abs=0.08)
    assert np.mean([law.sigma for law in made]) == pytest.approx(0.46, abs=0.05)


def test_two_sizes_of_spheres_are_seen_and_no_lognormal_law():
    rng = np.random.default_rng(3)
    small, large = (simulate_sections(n, mu, 0.2, rng=rng) for n, mu in ((500, 5.6), (700, 7.0)))
    sections = np.concatenate([small, large])
    made = unfold(sections, d_min_um=100.0)
    middle, share = np.log(made.middle_um), made.share
    valley = share[(middle > 6.1) & (middle < 6.4)].mean()
    assert share[np.abs(middle - 5.6) < 0.15].mean() > 2 * valley
    assert share[np.abs(middle - 7.0) < 0.15].mean() > 1.3 * valley
    law = fit_lognormal_wicksell(sections, d_min_um=100.0)
    chance = lognormal_misfit(sections, law)
    assert chance is not None
    assert chance < 1e-4


def test_objects_that_the_edge_cuts_are_accounted_for():
    rng = np.random.default_rng(8)
    sections = simulate_sections(6000, 6.2, 0.46, rng=rng)

    def uncut(d_um):
        return np.clip(1 - d_um / 2500, 0, 1) * np.clip(1 - d_um / 3500, 0, 1)

    seen = sections[rng.random(len(sections)) < uncut(sections)][:1500]
    law = fit_lognormal_wicksell(seen, d_min_um=150.0, uncut=uncut)
    blind = fit_lognormal_wicksell(seen, d_min_um=150.0)
    assert abs(law.mu - 6.2) < 3 * law.mu_se
    assert abs(blind.mu + blind.sigma**2 / 2 - 6.306) > 3 * blind.ln_mean_se
    assert abs(law.mu + law.sigma**2 / 2 - 6.306) < 3 * law.ln_mean_se
    found = unfold(seen, d_min_um=150.0, uncut=uncut).estimates()["mean_diameter"]
    assert found.ci_low < TRUE["mean_diameter"] < found.ci_high


def test_a_field_without_edges_changes_nothing():
    sections = simulate_sections(134, 6.0, 0.5, rng=np.random.default_rng(6))
    plain, field = (fit_lognormal_wicksell(sections, d_min_um=250.0, uncut=u) for u in (None, np.ones_like))
    for name in ("mu", "sigma", "mu_se", "sigma_se", "covariance"):
        assert getattr(field, name) == pytest.approx(getattr(plain, name), rel=0.01), name


def test_errors_do_not_hang_on_the_grid(monkeypatch):
    sections = simulate_sections(134, 6.0, 0.5, rng=np.random.default_rng(6))
    errors = []
    for nodes in (200, 700):
        monkeypatch.setattr("meteoseg.stereology.wicksell._GRID", nodes)
        law = fit_lognormal_wicksell(sections, d_min_um=250.0, uncut=lambda d: np.clip(1 - d / 3000, 0, 1))
        errors.append((law.mu_se, law.sigma_se))
    assert errors[0] == pytest.approx(errors[1], rel=0.01)


def test_a_lognormal_law_is_not_called_a_misfit():
    sections = simulate_sections(400, 6.2, 0.46, rng=np.random.default_rng(4))
    law = fit_lognormal_wicksell(sections, d_min_um=150.0)
    chance = lognormal_misfit(sections, law)
    assert chance is not None
    assert chance > 0.01
    assert lognormal_misfit(sections[:12], law) is None


def test_unfolding_needs_sections_of_several_sizes():
    with pytest.raises(InputError, match="29 sections of 10 um or more cannot be unfolded"):
        unfold(np.linspace(20, 60, 29), d_min_um=10.0)
    with pytest.raises(InputError, match="cannot be unfolded"):
        unfold(np.full(50, 10.0), d_min_um=10.0)
    with pytest.raises(InputError, match="positive and finite"):
        unfold(np.array([np.nan] * 40), d_min_um=10.0)


def test_tables_of_a_field_agree_with_its_spheres():
    edges = EdgeCorrection.of_mask(np.ones((1000, 1400), bool), (10.0, 10.0))
    d_um = simulate_sections(400, 6.2, 0.46, rng=np.random.default_rng(2))
    d_um = d_um[np.random.default_rng(3).random(400) < edges.share_at(d_um)]
    table = pd.DataFrame(
        {"kind": "chondrule", "touches_edge": False, "area_px": np.pi * d_um**2 / 400, "area_um2": np.pi * d_um**2 / 4,
         "equivalent_diameter_um": d_um, "major_axis_um": d_um, "minor_axis_um": d_um}
    )  # fmt: skip
    table["edge_weight"] = edge_weights(table, edges)
    tables = size_tables(table, edges)
    sizes = tables.sizes.set_index(["dimension", "method", "weighting", "edge_rule", "quantity"])
    assert sizes.index.is_unique
    assert sizes["cut_off_um"].to_numpy() == pytest.approx(100.0)
    for method in ("lognormal", "unfolded"):
        row = sizes.loc[(3, method, "number", "weighted", "median_diameter")]
        assert row["ci_low"] < np.exp(6.2) < row["ci_high"]
    by_area = sizes.loc[(2, "measured", "area", "weighted", "mean_diameter"), "value"]
    assert by_area > sizes.loc[(2, "measured", "number", "weighted", "mean_diameter"), "value"]
    d_um, weight = (table.loc[table["equivalent_diameter_um"] >= 100, name].to_numpy()
                    for name in ("equivalent_diameter_um", "edge_weight"))  # fmt: skip
    assert by_area == pytest.approx((weight * d_um**3).sum() / (weight * d_um**2).sum())
    shares = tables.distribution
    assert shares["section_pct"].sum() == pytest.approx(100)
    assert shares["sphere_pct"].sum() == pytest.approx(100)
    assert shares["n_sections"].sum() == np.count_nonzero(d_um >= 100)
    assert (shares["sphere_ci_low_pct"] <= shares["sphere_pct"] * 1.001).all()
