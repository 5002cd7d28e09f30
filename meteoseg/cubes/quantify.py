"""Compositions and minerals of single spectra, by sensitivities of the detector's own reference spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meteoseg.errors import InputError
from meteoseg.io.cube import CubeOptions
from meteoseg.io.cubemaps import open_cube_maps
from meteoseg.io.names import OXIDES, oxide_to_element_factor
from meteoseg.minerals.alpha import ELEMENTS, Array, composition_vector, matrix_factors
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.sensitivities import eds_sensitivity

#: Elements whose sensitivity theory gives.
MEASURED = ("Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Co", "Ni")
# Relative error of sensitivities: of theory against theory, and of one spectrum against another.
_THEORY_SD = 0.25
_SPECTRUM_SD = 0.10
_ITERATIONS = 30
#: The oxide that an element of a silicate, oxide or phosphate is reckoned as.
_OXIDE_OF = {element: formula for formula, (element, *_) in reversed(OXIDES.items()) if formula != "Fe2O3"}
#: Total of a mineral without the elements that are not reckoned (wt%).
_TOTAL_WT_PCT = 100.0


@dataclass(frozen=True)
class Sensitivities:
    """Counts per wt% of each element, relative to each other, and the relative sd of each."""

    values: Mapping[str, float]
    relative_sd: Mapping[str, float]


@dataclass(frozen=True)
class SpectrumIdentity:
    """What a spectrum is: its elements (wt%, without oxygen), the mineral, and the probability of that."""

    wt_pct: Mapping[str, float]
    phase: str
    probability: float


def spectrum_counts(path: Path, options: CubeOptions | None = None) -> dict[str, float]:
    """Return the net counts of each element that a single spectrum shows, sum peaks taken off.

    Raises
    ------
    InputError : as `open_cube_maps`, or a cube of more than one pixel.
    """
    maps = open_cube_maps(path, options or CubeOptions())
    if maps.cube.shape != (1, 1):
        raise InputError(f"{path} is a cube of {maps.cube.shape[0]} x {maps.cube.shape[1]} pixels: give one spectrum.")
    return {each.element: each.counts for each in maps.analysis.found if each.is_sure}


def fit_sensitivities(
    references: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], *, beam_kv: float = 15.0
) -> Sensitivities:
    """Fit relative sensitivities to reference spectra whose beam currents are unknown.

    log(counts / (wt% F)) = log(sensitivity) + log(dose of the spectrum), by least squares; the sensitivities start
    from theory (`eds_sensitivity`) with 25 % error, so that elements without a reference are interpolated by it.

    Parameters
    ----------
    references : (net counts, composition in wt%) of each spectrum.
    """
    names = [name for name in MEASURED if eds_sensitivity(name, beam_kv) > 0]
    theory = np.log([eds_sensitivity(name, beam_kv) for name in names])
    rows, values, errors = (
        list(np.eye(len(names), len(names) + len(references))),
        list(theory),
        [_THEORY_SD] * len(names),
    )
    for number, (counts, composition) in enumerate(references):
        known = [name for name in names if counts.get(name, 0) > 0 and composition.get(name, 0) > 0]
        factors = matrix_factors(composition_vector(dict(composition))[None], tuple(known))[0]
        for name, factor in zip(known, factors, strict=True):
            row = np.zeros(len(names) + len(references))
            row[names.index(name)] = row[len(names) + number] = 1.0
            rows.append(row)
            values.append(float(np.log(counts[name] / (composition[name] * factor))))
            errors.append(_SPECTRUM_SD)
    weights = 1 / np.array(errors)
    design = np.array(rows) * weights[:, None]
    fitted, *_ = np.linalg.lstsq(design, np.array(values) * weights, rcond=None)
    covariance = np.linalg.pinv(design.T @ design)
    spread = np.sqrt(np.diag(covariance)[: len(names)])
    pairs = zip(names, fitted, spread, strict=False)
    table = {name: (float(np.exp(value)), float(sd)) for name, value, sd in pairs}
    return Sensitivities(
        {name: pair[0] for name, pair in table.items()}, {name: pair[1] for name, pair in table.items()}
    )


def oxide_composition(counts: Mapping[str, float], sensitivities: Sensitivities) -> tuple[dict[str, float], float]:
    """Return wt% of the elements of an oxide mineral, and the dose that makes oxides add up to 100 %.

    Oxygen goes by stoichiometry; matrix factors are those of the composition found, by iteration.

    Raises
    ------
    InputError : no element that has a sensitivity and an oxide.
    """
    names = tuple(name for name in sensitivities.values if counts.get(name, 0) > 0 and name in _OXIDE_OF)
    if not names:
        raise InputError(f"No element with a known sensitivity in {', '.join(counts) or 'the spectrum'}.")
    oxide = np.array([1 / oxide_to_element_factor(_OXIDE_OF[name]) for name in names])
    bare = np.array([counts[name] / sensitivities.values[name] for name in names])
    factors = np.ones(len(names))
    total = 1.0
    for _ in range(_ITERATIONS):
        wt = bare / factors
        total = float((wt * oxide).sum()) / _TOTAL_WT_PCT
        composition = dict(zip(names, (wt / total).tolist(), strict=True))
        composition["O"] = _TOTAL_WT_PCT - sum(composition.values())
        factors = matrix_factors(composition_vector(composition)[None], names)[0]
    composition.pop("O")
    return composition, total


def identify_spectrum(counts: Mapping[str, float], sensitivities: Sensitivities) -> SpectrumIdentity:
    """Name the mineral of a spectrum by `PhaseClassifier`: elements that it does not show count as absent.

    Raises
    ------
    InputError : no element that has a sensitivity.
    """
    composition, dose = oxide_composition(counts, sensitivities)
    response = {
        name: ChannelResponse(value * dose, relative_sd=sensitivities.relative_sd[name], source="reference spectra")
        for name, value in sensitivities.values.items()
        if name in ELEMENTS
    }
    classifier = PhaseClassifier.from_calibration(Calibration(response), tuple(response))
    values: Array = np.array([max(counts.get(name, 0.0), 0.0) for name in classifier.channels])
    found = classifier.identify(values.astype(np.float32)[:, None, None], classifier.channels)
    label = int(found.labels[0, 0])
    return SpectrumIdentity(composition, classifier.legend.name_of(label), float(found.probability[0, 0]))
