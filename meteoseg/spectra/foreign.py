"""Peaks that no element explains: of rare elements, or on a wrong energy axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import grey_opening, uniform_filter1d

from meteoseg.spectra.axis import Array, EnergyAxis, fwhm_kev
from meteoseg.spectra.findelements import LOWEST_LINE_KEV, FoundElement, fit_with_sums, other_families, sum_peaks
from meteoseg.spectra.lines import Family, families_between

_SHARE = 0.05
_SD = 10.0
_FROM_KEV = 0.9
_LEAST_COUNTS = 20.0


@dataclass(frozen=True)
class ForeignPeak:
    """A peak that the lines of the elements found do not explain: its place and counts."""

    energy_kev: float
    counts: float


def foreign_peaks(
    spectrum: Array,
    axis: EnergyAxis,
    found: Sequence[FoundElement],
    *,
    at_mn_ka_ev: float,
    beam_kv: float | None = None,
) -> tuple[ForeignPeak, ...]:
    """Return peaks above 0.9 keV beside those of `found`, the largest first.

    A peak counts where a window of one FWHM holds 10 sd, and 5 % of the strongest element, more than the fit says.
    """
    top = min(axis.end_kev, beam_kv or axis.end_kev)
    seen = [families_between(each.element, LOWEST_LINE_KEV, axis.end_kev, beam_kv) for each in found]
    energies = axis.centres_kev
    modelled = _modelled(spectrum, axis, seen, at_mn_ka_ev)
    largest = max((each.counts for each in found), default=0.0)
    peaks: list[ForeignPeak] = []
    excess = np.asarray(spectrum, float) - modelled
    usable = (energies > _FROM_KEV) & (energies < top)
    while usable.any():
        place, counts, sd = _largest_window(excess, spectrum, axis, usable, at_mn_ka_ev)
        if counts < max(_SD * sd, _SHARE * largest, _LEAST_COUNTS):
            break
        peaks.append(ForeignPeak(float(energies[place]), counts))
        usable &= np.abs(energies - energies[place]) > 2 * float(fwhm_kev(energies[place], at_mn_ka_ev))
    return tuple(peaks)


def _modelled(spectrum: Array, axis: EnergyAxis, seen: Sequence[Sequence[Family]], fwhm_ev: float) -> Array:
    """What elements, their sum peaks and a smooth background explain of a spectrum (N,)."""
    rough = np.minimum(_lower_envelope(spectrum, axis, fwhm_ev), spectrum)
    if not seen:
        return rough
    families = [own[0] for own in seen] + other_families(seen)
    fit = fit_with_sums(families, axis, spectrum, fwhm_ev, sum_peaks(spectrum, axis))
    fitted = fit.fitted(spectrum).sum(axis=0)
    peaks = fit.fitted(spectrum)[: len(families) + 1].sum(axis=0)
    return np.where(fitted > 0, np.minimum(fitted, rough + peaks), rough)


def _lower_envelope(spectrum: Array, axis: EnergyAxis, fwhm_ev: float) -> Array:
    """Background (N,) under peaks: a smoothed spectrum, opened by windows of three FWHM at 6 keV."""
    width = 2 * round(1.5 * 1000 * float(fwhm_kev(6.0, fwhm_ev)) / axis.ev_per_channel) + 1
    wide = uniform_filter1d(np.asarray(spectrum, float), max(3, width // 9))
    return np.asarray(uniform_filter1d(grey_opening(wide, width), max(3, width // 3)))


def _largest_window(
    excess: Array, spectrum: Array, axis: EnergyAxis, usable: NDArray[np.bool_], fwhm_ev: float
) -> tuple[int, float, float]:
    """Return the channel, the excess and its sd of the window, one FWHM wide, that exceeds the model most."""
    width = max(3, round(1000 * float(fwhm_kev(2.0, fwhm_ev)) / axis.ev_per_channel))
    sums = uniform_filter1d(excess, width) * width
    sds = np.sqrt(np.maximum(uniform_filter1d(np.asarray(spectrum, float), width) * width, 1.0))
    place = int(np.where(usable, sums, -np.inf).argmax())
    return place, float(sums[place]), float(sds[place])
