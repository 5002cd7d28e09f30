"""From the sum spectrum of a section to the fit that makes its element maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meteoseg.errors import InputError
from meteoseg.spectra.axis import Array, EnergyAxis
from meteoseg.spectra.energycheck import EnergyCheck, check_energies
from meteoseg.spectra.findelements import (
    LOWEST_LINE_KEV,
    FoundElement,
    find_elements,
    measure_elements,
    other_families,
    sum_peaks,
)
from meteoseg.spectra.fitting import LineFit, make_fit
from meteoseg.spectra.foreign import ForeignPeak, foreign_peaks
from meteoseg.spectra.lines import Family, families_between, line_families, main_families

# Energies are refused where peaks of no known element hold this share of the counts of those found.
_REFUSED_SHARE = 0.3
_CANDIDATE_KEV = 0.04


@dataclass(frozen=True)
class SpectrumAnalysis:
    """What a sum spectrum (N,) says, and the fit for spectra of its kind.

    Attributes
    ----------
    check : the energy axis, checked on known lines. found : elements that are there beyond doubt, and those asked for.
    elements : which of them are wanted. fit : its first rows are those elements, in order; others are in the way.
    foreign : peaks of no element that was found.
    """

    spectrum: Array
    check: EnergyCheck
    found: tuple[FoundElement, ...]
    elements: tuple[str, ...]
    fit: LineFit
    foreign: tuple[ForeignPeak, ...]

    def element(self, name: str) -> FoundElement:
        """Return what was found of one element."""
        return next(each for each in self.found if each.element == name)

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know."""
        doubtful = [name for name in self.elements if not self.element(name).is_sure]
        notes = list(self.check.notes())
        notes += [f"{name}: no peak in the sum spectrum beyond doubt, mapped because it was named" for name in doubtful]
        left = [each.element for each in self.found if each.element not in self.elements]
        if left:
            notes.append(f"found in the sum spectrum, stripped and not mapped: {', '.join(left)}")
        notes += [foreign_text(peak) for peak in self.foreign]
        return tuple(notes)


def analyse(
    spectrum: Array,
    axis: EnergyAxis,
    *,
    elements: Sequence[str] | None = None,
    fwhm_ev: float | None = None,
    beam_kv: float | None = None,
) -> SpectrumAnalysis:
    """Check the energies of a sum spectrum (N,), find its elements, and arrange the fit of its pixels.

    Parameters
    ----------
    axis : energies as stated. elements : those to map (None: all that are found); others that are found are fitted too,
        so that they do not disturb. fwhm_ev : resolution at Mn Ka (None: from the spectrum).

    Raises
    ------
    InputError : no known line is there, most peaks are no known lines, or a named element has no line in range.
    """
    seen_between = (LOWEST_LINE_KEV, axis.end_kev, beam_kv)
    asked = main_families(elements, *seen_between) if elements is not None else ()
    check = check_energies(spectrum, axis, fwhm_ev=fwhm_ev, beam_kv=beam_kv)
    settings = {"at_mn_ka_ev": check.fwhm_ev}
    found = find_elements(spectrum, check.axis, beam_kv=beam_kv, **settings)
    extra = [family.element for family in asked if family.element not in {each.element for each in found}]
    names = [*(each.element for each in found), *extra]
    if not names:
        raise InputError(_nothing_text(spectrum, check.axis, beam_kv, check.fwhm_ev))
    seen = [families_between(name, *seen_between) for name in names]
    measured = tuple(measure_elements(spectrum, check.axis, seen, extra=sum_peaks(spectrum, check.axis), **settings))
    foreign = foreign_peaks(spectrum, check.axis, measured, beam_kv=beam_kv, **settings)
    _refuse_wrong_energies(measured, foreign)
    wanted = tuple(elements) if elements is not None else tuple(names)
    ordered = sorted(seen, key=lambda own: wanted.index(own[0].element) if own[0].element in wanted else len(wanted))
    families: list[Family] = [*(own[0] for own in ordered), *other_families(ordered)]
    fit = make_fit(families, check.axis, spectrum, at_mn_ka_ev=check.fwhm_ev)
    return SpectrumAnalysis(spectrum, check, measured, wanted, fit, foreign)


def _refuse_wrong_energies(found: Sequence[FoundElement], foreign: Sequence[ForeignPeak]) -> None:
    explained = sum(max(each.counts, 0.0) for each in found)
    if sum(peak.counts for peak in foreign) > _REFUSED_SHARE * explained:
        raise InputError(_wrong_text(foreign[0]))


def _wrong_text(peak: ForeignPeak) -> str:
    return (
        f"The energies look wrong: the strongest peak, at {peak.energy_kev:.2f} keV, is no line of the usual elements. "
        "Give the energy axis with --ev-per-channel EV and --energy-offset EV, or name the elements with --elements."
    )


def _nothing_text(spectrum: Array, axis: EnergyAxis, beam_kv: float | None, fwhm_ev: float) -> str:
    foreign = foreign_peaks(spectrum, axis, (), at_mn_ka_ev=fwhm_ev, beam_kv=beam_kv)
    if foreign:
        return _wrong_text(foreign[0])
    return (
        f"No element shows a line beyond doubt in {spectrum.sum():.0f} counts: measure longer, check the energy axis, "
        "or name the elements with --elements."
    )


def foreign_text(peak: ForeignPeak) -> str:
    """Say where a peak of no element that was found lies, and which elements have a line there.

    Examples
    --------
    >>> print(foreign_text(ForeignPeak(2.05, 1200)))
    peak at 2.05 keV (1200 counts) is of no element found; lines near it: Pt, Zr, P: name it with --elements
    """
    near = sorted(
        (abs(family.main.energy_kev - peak.energy_kev), family.element)
        for family in line_families().values()
        if abs(family.main.energy_kev - peak.energy_kev) < _CANDIDATE_KEV
    )
    lines = (
        f"lines near it: {', '.join(dict.fromkeys(name for _, name in near))}" if near else "no main line is near it"
    )
    return (
        f"peak at {peak.energy_kev:.2f} keV ({peak.counts:.0f} counts) is of no element found; {lines}: "
        "name it with --elements"
    )
