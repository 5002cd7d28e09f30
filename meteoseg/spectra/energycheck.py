"""Check the energy calibration and the resolution of a detector on lines that a spectrum shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from meteoseg.spectra.axis import MN_KA_KEV, Array, EnergyAxis, fwhm_kev
from meteoseg.spectra.findelements import FoundElement, find_elements
from meteoseg.spectra.lines import Line
from meteoseg.spectra.peaks import line_profile

DEFAULT_FWHM_EV = 130.0
#: Shift of a line that is worth a warning, eV.
WARN_SHIFT_EV = 10.0
_LARGEST_SHIFT_EV = 60.0
_FWHM_RANGE_EV = (100.0, 220.0)
_LEAST_COUNTS = 400.0
_LEAST_LINE_KEV = 0.9
_LEAST_SPAN_KEV = 0.8
_ISOLATED_FWHM = 1.3


@dataclass(frozen=True)
class EnergyCheck:
    """What known lines say about the energy axis.

    axis : corrected. fwhm_ev : resolution at Mn Ka. lines : names of the lines used.
    largest_shift_ev : largest distance between a line's place on the axis as stated and its known energy.
    """

    axis: EnergyAxis
    fwhm_ev: float
    lines: tuple[str, ...] = ()
    largest_shift_ev: float = 0.0

    def notes(self) -> tuple[str, ...]:
        """Say what was found, for the user."""
        if not self.lines:
            return ("energy calibration not checked: no line is strong enough",)
        used = ", ".join(self.lines)
        if abs(self.largest_shift_ev) < WARN_SHIFT_EV:
            return (
                f"energy calibration checked on {used}: within {abs(self.largest_shift_ev):.1f} eV, "
                f"resolution {self.fwhm_ev:.0f} eV at Mn Ka",
            )
        return (
            f"energy calibration is off by {self.largest_shift_ev:+.0f} eV ({used}): corrected to "
            f"{self.axis.ev_per_channel:.4f} eV per channel and {self.axis.offset_ev:+.1f} eV offset; check it "
            "in the microscope's program",
        )


def check_energies(
    spectrum: Array, axis: EnergyAxis, *, fwhm_ev: float | None = None, beam_kv: float | None = None
) -> EnergyCheck:
    """Fit offset, gain and resolution to the strong, isolated K lines of a spectrum (N,).

    A gain is fitted where two lines lie 0.8 keV apart, an offset alone where there is less. `fwhm_ev` fixes the
    resolution.
    """
    width = fwhm_ev or DEFAULT_FWHM_EV
    check = EnergyCheck(axis, width)
    for _ in range(3):
        found = find_elements(spectrum, check.axis, at_mn_ka_ev=check.fwhm_ev, beam_kv=beam_kv)
        lines = _strong_lines(found)
        places = [_fit_line(spectrum, check.axis, line, check.fwhm_ev) for _, line in lines]
        good = [(name, line, *place) for (name, line), place in zip(lines, places, strict=True) if place]
        if not good:
            break
        check = _corrected(check.axis, axis, good, fwhm_ev)
    return check


def _strong_lines(found: Sequence[FoundElement]) -> list[tuple[str, Line]]:
    """Main lines strong enough for their place to be known to an eV or two, and apart from equally strong ones."""
    usable = [each for each in found if each.counts > _LEAST_COUNTS and each.family.main.energy_kev > _LEAST_LINE_KEV]
    strongest = max((each.counts for each in usable), default=0.0)
    usable = [each for each in usable if each.counts > 0.03 * strongest]
    return [(f"{each.element} {each.family.main.name}", each.family.main) for each in usable]


def _fit_line(spectrum: Array, axis: EnergyAxis, line: Line, fwhm_ev: float) -> tuple[float, float, float] | None:
    """Place (keV), FWHM (keV) and error of the place (keV) of a line, by a Gaussian on a sloping background.

    None where neighbours or noise spoil it.
    """
    width = float(fwhm_kev(line.energy_kev, fwhm_ev))
    reach = _ISOLATED_FWHM * width
    first, last = (axis.channel(line.energy_kev + side * reach) for side in (-1, 1))
    counts = np.asarray(spectrum[first : last + 1], float)
    edges = axis.edges_kev()[first : last + 2]
    slope = np.linspace(-1, 1, counts.size)
    errors = np.sqrt(np.maximum(counts, 4.0))

    def residual(values: Array) -> Array:
        place, scale, area, level, tilt = values
        at_mn = _at_mn_ka(line.energy_kev, scale * width)
        model = area * line_profile(place, edges, at_mn) + level + tilt * slope
        return np.asarray((counts - model) / errors)

    start = [line.energy_kev, 1.0, max(float(counts.sum() - counts.size * counts.min()), 1.0), float(counts.min()), 0.0]
    fitted = least_squares(residual, start, x_scale=np.maximum(np.abs(start), 1.0) * [0.01, 0.1, 1, 1, 1])
    place, scale = fitted.x[:2]
    spread = np.linalg.pinv(fitted.jac.T @ fitted.jac)[0, 0] * max(1.0, 2 * fitted.cost / max(counts.size - 5, 1))
    if abs(place - line.energy_kev) > _LARGEST_SHIFT_EV / 1000 or not 0.7 < scale < 1.4:
        return None
    return float(place), float(scale * width), float(np.sqrt(spread))


def _at_mn_ka(energy_kev: float, width_kev: float) -> float:
    """Resolution at Mn Ka (eV) of a detector that shows a line with this FWHM."""
    square = (1000 * width_kev) ** 2 + 2500 * (MN_KA_KEV - energy_kev)
    return float(np.sqrt(max(square, 1.0)))


def _corrected(
    now: EnergyAxis, stated: EnergyAxis, good: list[tuple[str, Line, float, float, float]], fwhm_ev: float | None
) -> EnergyCheck:
    """Return the axis on which the lines lie best at their energies."""
    known = 1000 * np.array([line.energy_kev for _, line, *_ in good])
    place = 1000 * np.array([found for *_, found, _, _ in good])
    weights = 1 / (1000 * np.array([error for *_, error in good]) + 1.0)
    gain, shift = 1.0, float(np.average(known - place, weights=weights**2))
    if np.ptp(known) > 1000 * _LEAST_SPAN_KEV:
        gain, shift = (float(value) for value in np.polyfit(place, known, 1, w=weights))
    axis = now.corrected(gain, shift)
    channels = (place - now.offset_ev) / now.ev_per_channel
    shifts = stated.offset_ev + stated.ev_per_channel * channels - known
    widths = [_at_mn_ka(line.energy_kev, width) for _, line, _, width, _ in good]
    measured = float(np.clip(np.average(widths, weights=weights), *_FWHM_RANGE_EV))
    largest = float(shifts[np.abs(shifts).argmax()])
    return EnergyCheck(axis, fwhm_ev or measured, tuple(name for name, *_ in good), largest)
