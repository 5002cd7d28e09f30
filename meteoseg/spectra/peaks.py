"""How a family of lines looks in a spectrum."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from meteoseg.spectra.axis import SI_KA_KEV, Array, EnergyAxis, escape_share, fwhm_kev
from meteoseg.spectra.lines import Family

_SIGMA_PER_FWHM = 1 / 2.3548


def family_profile(family: Family, axis: EnergyAxis, at_mn_ka_ev: float) -> Array:
    """Share of the counts of `family` in each channel (N,): Gaussians, with the escape peaks of silicon.

    The sum is 1 where the whole family lies in the spectrum.
    """
    edges = axis.edges_kev()
    profile = np.zeros(axis.size)
    for line in family.lines:
        lost = escape_share(line.energy_kev)
        profile += line.weight * (1 - lost) * line_profile(line.energy_kev, edges, at_mn_ka_ev)
        if lost:
            profile += line.weight * lost * line_profile(line.energy_kev - SI_KA_KEV, edges, at_mn_ka_ev)
    return profile


def line_profile(energy_kev: float, edges_kev: Array, at_mn_ka_ev: float) -> Array:
    """Gaussian of area 1 at `energy_kev`, integrated over each channel (N,) between `edges_kev` (N + 1,)."""
    sigma = float(fwhm_kev(energy_kev, at_mn_ka_ev)) * _SIGMA_PER_FWHM
    return np.asarray(np.diff(ndtr((edges_kev - energy_kev) / sigma)))


def background_hats(axis: EnergyAxis, low_kev: float, high_kev: float, at_mn_ka_ev: float) -> Array:
    """Basis of a continuous, piecewise linear background (K, N) between two energies; 0 elsewhere.

    Its knots lie six FWHM apart: too far for a piece to pass for a peak, near enough to follow bremsstrahlung.
    Between the peaks of neighbouring lines it is fixed by the gaps, as by two windows beside each line.
    """
    knots = [low_kev]
    while knots[-1] < high_kev:
        knots.append(knots[-1] + 6 * float(fwhm_kev(knots[-1], at_mn_ka_ev)))
    places = low_kev + (np.array(knots) - low_kev) * (high_kev - low_kev) / (knots[-1] - low_kev)
    energies = axis.centres_kev
    inside = (energies >= low_kev) & (energies <= high_kev)
    hats = [np.interp(energies, places, unit) for unit in np.eye(len(places))]
    return np.asarray(hats) * inside
