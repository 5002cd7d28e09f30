"""Known intensities come back from simulated spectra, without bias and with the right error bars."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.errors import InputError
from meteoseg.spectra.analysis import analyse
from meteoseg.spectra.axis import EnergyAxis, fwhm_kev
from meteoseg.spectra.energycheck import check_energies
from meteoseg.spectra.expected import expected_spectrum
from meteoseg.spectra.findelements import find_elements
from meteoseg.spectra.fitting import make_fit
from meteoseg.spectra.lines import families_between, line_families, main_families
from meteoseg.spectra.peaks import family_profile

AXIS = EnergyAxis(10.0, 0.0, 1000)


def fitted(true: dict[str, float], *, background: float = 3000.0, trials: int = 400):
    """Counts and variances (trials, E) of the elements, of spectra whose mean is known."""
    expected = expected_spectrum(true, AXIS, background=background)
    fit = make_fit(main_families(true, 0.2, 20), AXIS, expected, at_mn_ka_ev=130)
    spectra = np.random.default_rng(5).poisson(expected, (trials, AXIS.size))
    return fit.counts(spectra), fit.variances(spectra)


@pytest.mark.parametrize(
    "true",
    [
        {"Cr": 900.0, "Mn": 60.0, "Fe": 500.0},  # Cr Kb lies on Mn Ka
        {"Mg": 2000.0, "Al": 40.0, "Si": 900.0},  # Mg Kb lies near Al Ka
        {"K": 900.0, "Ca": 50.0},  # K Kb lies on the flank of Ca Ka
        {"Fe": 2000.0, "Co": 30.0, "Ni": 100.0},  # Fe Kb lies on Co Ka
    ],
)
def test_overlapping_lines_are_stripped_and_errors_are_right(true):
    counts, variances = fitted(true)
    mean, sd = counts.mean(axis=0), counts.std(axis=0, ddof=1)
    np.testing.assert_array_less(np.abs(mean - list(true.values())), 4 * sd / np.sqrt(len(counts)))
    np.testing.assert_allclose(np.sqrt(variances.mean(axis=0)), sd, rtol=0.15)


def test_an_absent_element_scatters_around_zero():
    expected = expected_spectrum({"Mg": 300.0, "Si": 300.0}, AXIS, background=400.0)
    fit = make_fit(main_families(["Mg", "Si", "P", "Fe"], 0.2, 20), AXIS, expected, at_mn_ka_ev=130)
    counts = fit.counts(np.random.default_rng(6).poisson(expected, (2000, AXIS.size)))[:, 2:]
    assert np.all(np.abs(counts.mean(axis=0)) < 4 * counts.std(axis=0) / np.sqrt(2000))
    assert np.all((counts < 0).mean(axis=0) > 0.35)


def test_pixels_unlike_the_mean_are_unbiased():
    mean = expected_spectrum({"Mg": 300.0, "Si": 280.0, "S": 5.0, "Fe": 20.0}, AXIS, background=300.0)
    pixel = expected_spectrum({"S": 800.0, "Fe": 500.0}, AXIS, background=300.0)
    fit = make_fit(main_families(["Mg", "Si", "S", "Fe"], 0.2, 20), AXIS, mean, at_mn_ka_ev=130)
    np.testing.assert_allclose(fit.counts(pixel), [0, 0, 800, 500], atol=6)


def test_families_are_normalised_and_the_escape_peak_keeps_the_area():
    for family in line_families().values():
        assert sum(line.weight for line in family.lines) == pytest.approx(1)
    profile = family_profile(families_between("Ca", 0.2, 10)[0], AXIS, 130)
    assert profile.sum() == pytest.approx(1, abs=1e-6)
    escape = slice(AXIS.channel(1.85), AXIS.channel(2.05))
    assert profile[escape].sum() == pytest.approx(0.0077 * 0.8829, rel=0.1)


@pytest.mark.parametrize(("element", "kev"), [("O", 0.525), ("Mg", 1.254), ("Si", 1.740), ("Ca", 3.691), ("Fe", 6.401)])
def test_line_energies(element, kev):
    assert families_between(element, 0.2, 20)[0].main.energy_kev == pytest.approx(kev, abs=0.003)


def test_resolution_at_low_energy_is_finite():
    assert 0.02 < float(fwhm_kev(0.1, 120)) < 0.13


def test_elements_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"Ni has no line between .* leave it out"):
        main_families(["Mg", "Ni"], 1.0, 6.0)


def test_elements_found_and_not_feigned_by_overlaps():
    true = {"O": 9e4, "Mg": 8e4, "Si": 7e4, "Ca": 9e3, "Cr": 4e3, "Fe": 2e4}
    spectrum = np.random.default_rng(7).poisson(expected_spectrum(true, AXIS, background=9e4)).astype(float)
    assert [each.element for each in find_elements(spectrum, AXIS, at_mn_ka_ev=130)] == list(true)


def test_sum_peaks_are_no_elements():
    true = expected_spectrum({"O": 6e5, "Al": 5e5}, AXIS, background=1e5)
    piled = np.convolve(true, true)[: AXIS.size]  # channel 0 is at 0 eV: energies add as channels do
    mean = true + 0.02 * true.sum() * piled / piled.sum()
    assert piled[AXIS.channel(2.01)] > 10 * piled[AXIS.channel(2.3)]  # Al + O lies on P
    spectrum = np.random.default_rng(8).poisson(mean).astype(float)
    assert [each.element for each in find_elements(spectrum, AXIS, at_mn_ka_ev=130)] == ["O", "Al"]


@pytest.mark.parametrize(("gain", "shift_ev"), [(1.0, 0.0), (1.0, 25.0), (1.004, -12.0)])
def test_energy_axis_is_corrected(gain, shift_ev):
    true = EnergyAxis(10.0, -80.0, 1000)
    counts = {"Mg": 3e4, "Si": 3e4, "Ca": 2e4, "Fe": 2e4}
    spectrum = np.random.default_rng(9).poisson(expected_spectrum(counts, true, background=4e4, fwhm_ev=135.0))
    stated = EnergyAxis(10.0 * gain, -80.0 * gain + shift_ev, 1000)
    check = check_energies(spectrum.astype(float), stated)
    assert check.axis.ev_per_channel == pytest.approx(10.0, abs=0.005)
    assert check.axis.offset_ev == pytest.approx(-80.0, abs=4)
    assert check.fwhm_ev == pytest.approx(135, abs=3)
    assert ("is off by" in check.notes()[0]) == (shift_ev != 0)


def test_a_wrong_energy_axis_is_refused():
    spectrum = expected_spectrum({"O": 2e4, "Mg": 3e4, "Si": 3e4, "Fe": 2e4}, AXIS, background=4e4)
    with pytest.raises(InputError, match=r"energies look wrong: the strongest peak, at .* --ev-per-channel"):
        analyse(np.round(spectrum), EnergyAxis(9.0, 0.0, 1000))


def test_a_foreign_peak_is_named():
    spectrum = expected_spectrum({"O": 2e4, "Mg": 3e4, "Si": 3e4, "Ga": 1e4}, AXIS, background=4e4)
    found = analyse(np.round(spectrum), AXIS)
    assert any("peak at 9.25 keV" in note and "lines near it: Ga" in note for note in found.notes())
    with_it = analyse(np.round(spectrum), AXIS, elements=["Mg", "Si", "Ga"])
    assert with_it.element("Ga").counts == pytest.approx(1e4, rel=0.03)
    assert "found in the sum spectrum, stripped and not mapped: O" in with_it.notes()


def test_lines_that_cannot_be_told_apart_are_refused():
    axis = EnergyAxis(10.0, 0.0, 1000)
    family = families_between("Fe", 1, 10)[0]
    with pytest.raises(InputError, match="Fe K, Fe K cannot be told apart"):
        make_fit([family, family], axis, np.ones(1000), at_mn_ka_ev=130)
