"""The spectrum that a detector is expected to record: line families and bremsstrahlung."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meteoseg.spectra.axis import EnergyAxis
from meteoseg.spectra.lines import families_between
from meteoseg.spectra.peaks import family_profile


def expected_spectrum(
    counts: Mapping[str, float], axis: EnergyAxis, *, background: float, beam_kv: float = 20.0, fwhm_ev: float = 130.0
) -> NDArray[np.float64]:
    """Return expected counts (N,), to draw Poisson counts from.

    Parameters
    ----------
    counts : of each element's K family (L or M where the beam does not excite K).
    background : counts of bremsstrahlung in all: Kramers' law (1923), (E0 - E) / E, behind a window that passes half
        at 0.6 keV.

    Examples
    --------
    >>> spectrum = expected_spectrum({"Fe": 700.0}, EnergyAxis(10.0, 0.0, 1000), background=300.0)
    >>> round(float(spectrum.sum()))
    1000
    """
    spectrum = np.zeros(axis.size)
    for element, number in counts.items():
        spectrum += number * family_profile(families_between(element, 0.2, beam_kv, beam_kv)[0], axis, fwhm_ev)
    energy = np.maximum(axis.centres_kev, 0.05)
    shape = np.clip((beam_kv - energy) / energy, 0, None) / (1 + (0.6 / energy) ** 3)
    return np.asarray(spectrum + background * shape / shape.sum())
