"""Sections of spheres give back the spheres they were cut from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from meteoseg.errors import InputError
from meteoseg.stereology import (
    fit_lognormal_wicksell,
    saltykov,
    section_to_sphere_mean_ratio,
    simulate_sections,
    wicksell_density,
)

LAWS = [(6.2, 0.46), (5.2, 0.6), (3.0, 0.2)]


@pytest.mark.parametrize(("mu", "sigma"), LAWS)
def test_density_equals_the_integral_over_spheres(mu, sigma):
    def integrand(ln_sphere, d):
        normal = np.exp(-0.5 * ((ln_sphere - mu) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        return normal / np.sqrt(np.exp(2 * ln_sphere) - d**2)

    for d in np.exp(mu + sigma * np.array([-4.0, -1.0, 0.5, 2.0])):
        top = max(mu, np.log(d)) + 9 * sigma
        integral, _ = integrate.quad(integrand, np.log(d) + 1e-13, top, args=(d,), limit=2000)
        expected = d * integral / np.exp(mu + sigma**2 / 2)
        assert float(wicksell_density(d, mu, sigma)) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(mu=st.floats(2, 8), sigma=st.floats(0.1, 1.0), cut_sd=st.floats(-3, 2))
def test_density_above_a_cut_off_is_one_in_all(mu, sigma, cut_sd):
    d_min_um = float(np.exp(mu + cut_sd * sigma))
    ln_d = np.linspace(np.log(d_min_um), max(mu, np.log(d_min_um)) + 10 * sigma, 4001)
    d_um = np.exp(ln_d)
    density = wicksell_density(d_um * (1 + 1e-12), mu, sigma, d_min_um=d_min_um)
    assert integrate.simpson(density * d_um, x=ln_d) == pytest.approx(1, abs=1e-5)
    assert wicksell_density(0.99 * d_min_um, mu, sigma, d_min_um=d_min_um) == 0


@pytest.mark.parametrize(("mu", "sigma"), LAWS)
def test_mean_ratio_is_that_of_the_density(mu, sigma):
    ln_d = np.linspace(mu - 12 * sigma - 3, mu + 10 * sigma, 8001)
    d_um = np.exp(ln_d)
    mean_um = integrate.simpson(d_um**2 * wicksell_density(d_um, mu, sigma), x=ln_d)
    ratio = mean_um / np.exp(mu + sigma**2 / 2)
    assert ratio == pytest.approx(section_to_sphere_mean_ratio(sigma), rel=1e-5)


def test_spheres_of_one_size_look_smaller_by_pi_over_4():
    d_um = simulate_sections(200_000, np.log(100.0), 1e-6, rng=np.random.default_rng(0))
    assert d_um.mean() == pytest.approx(100 * np.pi / 4, rel=0.005)
    assert section_to_sphere_mean_ratio(0.0) == pytest.approx(np.pi / 4)


@pytest.mark.parametrize("d_min_um", [0.0, 150.0, 400.0])
def test_fit_recovers_the_law_within_its_errors(d_min_um):
    z = []
    for seed in range(6):
        d_um = simulate_sections(500, 6.2, 0.46, rng=np.random.default_rng(seed))
        law = fit_lognormal_wicksell(d_um, d_min_um=d_min_um)
        z += [(law.mu - 6.2) / law.mu_se, (law.sigma - 0.46) / law.sigma_se]
        assert law.n == np.count_nonzero(d_um >= d_min_um)
    assert np.abs(z).max() < 3.2
    assert 0.4 < np.sqrt(np.mean(np.square(z))) < 1.7


def test_fit_of_the_sections_alone_would_be_biased():
    d_um = simulate_sections(1500, 6.2, 0.3, rng=np.random.default_rng(2))
    law = fit_lognormal_wicksell(d_um)
    assert law.median_um == pytest.approx(np.exp(6.2), rel=0.03)
    assert np.median(d_um) < 0.93 * law.median_um
    assert law.mean_um == pytest.approx(np.exp(6.2 + 0.045), rel=0.03)


def test_fit_scales_with_the_unit():
    d_um = simulate_sections(300, 6.2, 0.46, rng=np.random.default_rng(3))
    um, nm = fit_lognormal_wicksell(d_um, d_min_um=100), fit_lognormal_wicksell(1000 * d_um, d_min_um=1e5)
    assert nm.mu - um.mu == pytest.approx(np.log(1000), abs=1e-3)
    assert nm.sigma == pytest.approx(um.sigma, abs=1e-3)


@pytest.mark.parametrize(("n_classes", "d_min_um"), [(25, 0.0), (10, 60.0)])
def test_saltykov_recovers_the_law(n_classes, d_min_um):
    d_um = simulate_sections(20_000, 6.2, 0.46, rng=np.random.default_rng(4))
    table = saltykov(d_um, n_classes, d_min_um=d_min_um)
    assert table["number_pct"].sum() == pytest.approx(100)
    assert table["n_sections"].sum() == np.count_nonzero(d_um >= d_min_um)
    mean_um = (table["d_mid_um"] * table["n_v_rel"]).sum() / table["n_v_rel"].sum()
    assert mean_um == pytest.approx(np.exp(6.2 + 0.46**2 / 2), rel=0.08)
    # N_A = N_V E[D]
    assert (table["d_mid_um"] * table["n_v_rel"]).sum() == pytest.approx(20_000, rel=0.02)


def test_saltykov_of_one_class_divides_by_the_reach():
    table = saltykov([80.0, 90.0, 100.0], 1, d_min_um=64.0)
    middle_um = np.sqrt(64.0 * 100.0)
    assert table["n_v_rel"].tolist() == pytest.approx([3 / np.sqrt(middle_um**2 - 64.0**2)])


def test_bad_input_is_named():
    with pytest.raises(InputError, match="29 sections of 0 um or more"):
        fit_lognormal_wicksell(np.linspace(10, 20, 29))
    with pytest.raises(InputError, match="positive and finite"):
        fit_lognormal_wicksell([1.0, np.nan] * 30)
    with pytest.raises(InputError, match="do not constrain a lognormal law"):
        fit_lognormal_wicksell(np.full(50, 100.0))
    with pytest.raises(InputError, match="cannot be unfolded in 0 classes"):
        saltykov([1.0, 2.0], 0)
    with pytest.raises(InputError, match="0 sections over 5 um"):
        saltykov([1.0, 2.0], 3, d_min_um=5.0)


def test_standard_errors_are_those_of_repeated_samples():
    laws = [
        fit_lognormal_wicksell(simulate_sections(150, 6.2, 0.46, rng=np.random.default_rng(seed)), d_min_um=100.0)
        for seed in range(16)
    ]
    for name in ("mu", "sigma"):
        spread = np.std([getattr(law, name) for law in laws], ddof=1)
        assert np.mean([getattr(law, f"{name}_se") for law in laws]) == pytest.approx(spread, rel=0.5)
