"""The energy axis of a spectrum and the resolution of its detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError

Array = NDArray[np.float64]

#: Energy at which the resolution of detectors is stated (Mn Ka), keV.
MN_KA_KEV = 5.895
#: Widening of peaks with energy in a silicon detector, eV: square of the FWHM per eV (Fiori & Newbury, 1978).
_SPREAD_EV = 2.5
_LEAST_FWHM_EV = 25.0
#: A silicon photon that leaves the detector takes this with it, keV.
SI_KA_KEV = 1.740
_SI_EDGE_KEV = 1.839


@dataclass(frozen=True)
class EnergyAxis:
    """Channel i is centred at ``offset_ev + i * ev_per_channel`` (eV); there are `size` channels."""

    ev_per_channel: float
    offset_ev: float
    size: int

    def __post_init__(self) -> None:
        if not 0.5 <= self.ev_per_channel <= 200:
            raise InputError(
                f"{self.ev_per_channel:g} eV per channel is not believable (0.5 to 200 are): give it with "
                "--ev-per-channel EV."
            )
        if self.end_kev <= 0.5:
            raise InputError(
                f"The spectra end at {self.end_kev:.3g} keV, below every line: check eV per channel and offset."
            )

    @property
    def centres_kev(self) -> Array:
        """Energy of each channel (N,)."""
        return (self.offset_ev + self.ev_per_channel * np.arange(self.size)) / 1000

    @property
    def end_kev(self) -> float:
        """Energy of the last channel."""
        return (self.offset_ev + self.ev_per_channel * (self.size - 1)) / 1000

    def edges_kev(self) -> Array:
        """Borders of the channels (N + 1,)."""
        return (self.offset_ev + self.ev_per_channel * (np.arange(self.size + 1) - 0.5)) / 1000

    def channel(self, energy_kev: float) -> int:
        """Channel that holds `energy_kev`, cut to the spectrum."""
        return int(np.clip(round((energy_kev * 1000 - self.offset_ev) / self.ev_per_channel), 0, self.size - 1))

    def corrected(self, gain: float, shift_ev: float) -> EnergyAxis:
        """Axis on which what stood at E stands at ``gain * E + shift_ev`` (eV)."""
        return EnergyAxis(gain * self.ev_per_channel, gain * self.offset_ev + shift_ev, self.size)


def fwhm_kev(energy_kev: Array | float, at_mn_ka_ev: float) -> Array:
    """Full width at half maximum of a line, from that at Mn Ka.

    FWHM^2 = FWHM(Mn Ka)^2 + 2.5 eV (E - E(Mn Ka)), Fiori & Newbury (1978).

    Examples
    --------
    >>> fwhm_kev([5.895, 1.740], 130).round(4).tolist()
    [0.13, 0.0807]
    """
    energy_ev = 1000 * np.asarray(energy_kev, float)
    square = at_mn_ka_ev**2 + _SPREAD_EV * (energy_ev - 1000 * MN_KA_KEV)
    return np.asarray(np.sqrt(np.maximum(square, _LEAST_FWHM_EV**2)) / 1000)


def escape_share(energy_kev: float) -> float:
    """Share of a line that appears 1.74 keV lower, because a silicon photon left the detector.

    Reed & Ware (1972), normal incidence: e = 0.5 w (1 - 1/r) (1 - a ln(1 + 1/a)), with the fluorescence yield of
    silicon w = 0.047, its edge jump r = 10 and a = mu(Si Ka) / mu(E); mu(E) falls as E^-2.75 from 3190 cm2/g at the
    edge, mu(Si Ka) = 350 cm2/g. FROM MEMORY (medium).

    Examples
    --------
    >>> [round(100 * escape_share(energy), 2) for energy in (1.740, 3.691, 6.401)]
    [0.0, 0.77, 0.26]
    """
    if energy_kev <= _SI_EDGE_KEV:
        return 0.0
    ratio = 350 / (3190 * (_SI_EDGE_KEV / energy_kev) ** 2.75)
    return float(0.5 * 0.047 * 0.9 * (1 - ratio * np.log1p(1 / ratio)))
