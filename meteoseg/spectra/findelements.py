"""Elements that a spectrum shows, beyond doubt by counting, overlaps and sum peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from meteoseg.spectra.axis import Array, EnergyAxis
from meteoseg.spectra.fitting import LineFit, make_fit
from meteoseg.spectra.lines import Family, families_between, is_measurable

#: Elements looked for when nobody names any. Others (Zr, Ba, Pb, ...) overlap with these and are rare: by name only.
USUAL_ELEMENTS = (
    "C", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu",
    "Zn",
)  # fmt: skip
#: Main lines below this energy (keV) are lost in detector noise and absorption.
LOWEST_LINE_KEV = 0.26
#: L and M lines below this energy (keV) are too weakly known to be fitted beside K lines.
LOWEST_OTHER_KEV = 0.4
_LEAST_SD = 4.0
# Real peaks differ from Gaussians, and real backgrounds from straight pieces, by about this share.
_SHAPE_ERROR = 0.02
# Relative intensities within L and M families are known to about this share.
_LOOSE_ERROR = 0.1
_LEAST_COUNTS = 20.0
#: Sum peaks are judged up to this energy (keV), whichever elements remain.
_SUMS_KEV = 9.0


@dataclass(frozen=True)
class FoundElement:
    """An element of a spectrum.

    family : the lines it was measured by. counts : net counts. sd : their counting error (1 sd).
    doubt : counts that errors of peak shape and background may feign. is_sure : whether `counts` exceed both.
    """

    family: Family
    counts: float
    sd: float
    doubt: float

    @property
    def element(self) -> str:
        """Its symbol."""
        return self.family.element

    @property
    def is_sure(self) -> bool:
        """More than four sd and the doubt together, and 20 counts."""
        return self.counts > max(_LEAST_SD * self.sd + self.doubt, _LEAST_COUNTS)

    @property
    def margin(self) -> float:
        """Counts in units of what they must exceed; 1 at the limit."""
        return self.counts / (_LEAST_SD * self.sd + self.doubt + 1e-9)


def find_elements(
    spectrum: Array, axis: EnergyAxis, *, at_mn_ka_ev: float, beam_kv: float | None = None
) -> tuple[FoundElement, ...]:
    """List the elements of a spectrum (N,), by backward elimination from the usual ones.

    All candidates are fitted at once, with a local background and the sum peaks of all peaks; the least significant is
    dropped until all that remain are sure. An element counts as found where its K lines (L, M where the beam does not
    excite K) exceed 4 sd of counting plus 2 % of what lies under them.
    An empty answer means that no line is there.

    Examples
    --------
    >>> from meteoseg.spectra.peaks import family_profile
    >>> axis = EnergyAxis(10.0, 0.0, 1200)
    >>> shapes = [family_profile(families_between(name, 0.2, 12)[0], axis, 130) for name in ("Mg", "Fe")]
    >>> spectrum = np.round(20 + 9000 * shapes[0] + 4000 * shapes[1])
    >>> [found.element for found in find_elements(spectrum, axis, at_mn_ka_ev=130)]
    ['Mg', 'Fe']
    """
    seen = {name: families_between(name, LOWEST_LINE_KEV, axis.end_kev, beam_kv) for name in USUAL_ELEMENTS}
    candidates = [name for name, families in seen.items() if is_measurable(families)]
    piled = sum_peaks(spectrum, axis)
    while candidates:
        found = measure_elements(
            spectrum, axis, [seen[name] for name in candidates], at_mn_ka_ev=at_mn_ka_ev, extra=piled
        )
        worst = min(found, key=lambda each: each.margin)
        if worst.is_sure:
            return tuple(found)
        candidates.remove(worst.element)
    return ()


def measure_elements(
    spectrum: Array,
    axis: EnergyAxis,
    seen: Sequence[Sequence[Family]],
    *,
    at_mn_ka_ev: float,
    extra: Array | None = None,
) -> list[FoundElement]:
    """Fit one spectrum (N,) and return the counts of each element's first family.

    Parameters
    ----------
    seen : families of each element, the one it is measured by first; the others are fitted where they lie above
        0.4 keV. extra : (X, N) shapes fitted beside them.
    """
    families = [own[0] for own in seen] + other_families(seen)
    fit = fit_with_sums(families, axis, spectrum, at_mn_ka_ev, extra)
    counts, sds = fit.counts(spectrum), np.sqrt(fit.variances(spectrum))
    doubts = _shape_doubts(fit, spectrum)
    return [
        FoundElement(family, float(counts[i]), float(sds[i]), float(doubts[i]))
        for i, family in enumerate(families[: len(seen)])
    ]


def fit_with_sums(
    families: Sequence[Family], axis: EnergyAxis, spectrum: Array, fwhm_ev: float, extra: Array | None
) -> LineFit:
    """Fit one spectrum (N,) as far as sum peaks reach."""
    return make_fit(families, axis, spectrum, at_mn_ka_ev=fwhm_ev, extra=extra, up_to_kev=_SUMS_KEV)


def other_families(seen: Sequence[Sequence[Family]]) -> list[Family]:
    """L and M families of elements that are measured by another shell: in the way of light elements."""
    return [family for own in seen for family in own[1:] if family.main.energy_kev >= LOWEST_OTHER_KEV]


def _shape_doubts(fit: LineFit, spectrum: Array) -> Array:
    """Counts of each family (F,) that a shape error of every other contribution may feign."""
    size = len(fit.families)
    errors = np.full(len(fit.model), _SHAPE_ERROR)
    errors[:size] = [_SHAPE_ERROR if family.shell == "K" else _LOOSE_ERROR for family in fit.families]
    wrong = np.abs(fit.fitted(spectrum)) * errors[:, None]
    others = wrong.sum(axis=0) - wrong[:size]
    return np.asarray((np.abs(fit.weights) * others).sum(axis=1))


def sum_peaks(spectrum: Array, axis: EnergyAxis) -> Array:
    """Spectrum of two photons counted as one (1, N), area about 1: the spectrum folded with itself.

    One shape for all sum peaks, so that Al + O under P, or Ca + Ca beside Ni, are told by the others.
    """
    counts = np.where(axis.centres_kev > LOWEST_LINE_KEV / 2, np.asarray(spectrum, float), 0.0)
    folded = np.maximum(fftconvolve(counts, counts), 0.0)
    # Channel i + j of the folded spectrum lies at the sum of two energies, so one offset too high.
    shift = round(axis.offset_ev / axis.ev_per_channel)
    start = np.arange(axis.size) - shift
    inside = (start >= 0) & (start < len(folded))
    piled = np.where(inside, folded[np.clip(start, 0, len(folded) - 1)], 0.0)
    return np.asarray(piled[None] / max(float(folded.sum()), 1.0))
