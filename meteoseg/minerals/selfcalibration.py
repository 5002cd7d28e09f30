"""Calibrate count maps without standards, from the minerals that a section must hold; refuse where that is a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.legend import HOLE
from meteoseg.minerals.calibration import FEWEST_CHANNELS, Calibration, ChannelResponse, ones_are_missing
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.fitted import FittedClassifier, iterate_gains, spread_sample
from meteoseg.minerals.likelihood import Floats, Scores, misfit, score
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY, Family, families
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section

_COARSE_PX = 1500
_SCALES = np.geomspace(0.01, 20, 20)
_START_SD, _GAIN_PRIOR_SD = 0.15, 0.15
_PASSES = 6
#: What is asked of the evidence, see docs/minerals.md.
LEAST_EXPLAINED = 0.8
LEAST_ALIKE = 0.8
LEAST_LEAD = 0.5  # natural logarithm of the likelihood per pixel
LEAST_MINERAL = 0.2
MOST_SCATTER = 0.35

_REMEDY = "Give --standards with maps of standards or a calibration.json, or leave it out: networks name the minerals"


@dataclass(frozen=True)
class _Trial:
    """One family at its best scale: mean log-likelihood per pixel of the coarse sample."""

    log_likelihood: float
    family: Family
    scale: float
    start: PhaseClassifier


@dataclass(frozen=True)
class SelfCalibration:
    """A self-calibrated classifier and the evidence for it.

    fitted : with its gains; `explained` counts only pixels that a mineral explains, holes left out.
    family : kind of detector that fits best; alike : share of the sample that the next best start names the same;
    lead : log-likelihood per pixel over the best family of the other kind; mineral : share of the sample that is no
    hole; scatter : sd of the logarithm of the gains about their mean.
    """

    fitted: FittedClassifier
    family: str
    alike: float
    lead: float
    mineral: float
    scatter: float

    def doubts(self) -> tuple[str, ...]:
        """Name what is wrong with the evidence; empty where it is good."""
        tests = (
            (self.mineral < LEAST_MINERAL, f"only {100 * self.mineral:.0f} % of the pixels hold a mineral"),
            (self.fitted.explained < LEAST_EXPLAINED, f"minerals explain {100 * self.fitted.explained:.0f} % of them"),
            (self.alike < LEAST_ALIKE, f"another start names {100 * (1 - self.alike):.0f} % of them otherwise"),
            (self.lead < LEAST_LEAD, "WDS and EDS sensitivities fit alike"),
            (self.scatter > MOST_SCATTER, f"gains scatter by {100 * self.scatter:.0f} %"),
        )
        return tuple(words for fails, words in tests if fails)


def self_calibrate(section: Section, *, phases: Sequence[str] | None = None) -> FittedClassifier:
    """Calibrate the maps of `section` from its own minerals; see `judge_self_calibration`.

    Raises
    ------
    ChannelError : fewer than three usable elements.
    InputError : display, quantified or negative values; no pixel with counts; or the evidence is weak.
    """
    found = judge_self_calibration(section, phases=phases)
    if doubts := found.doubts():
        raise InputError(f"'{section.name}' cannot be calibrated from itself ({'; '.join(doubts)}). {_REMEDY}.")
    return found.fitted


def judge_self_calibration(section: Section, *, phases: Sequence[str] | None = None) -> SelfCalibration:
    """Calibrate the maps of `section` from its own minerals, and say how good the evidence is.

    For WDS and EDS sensitivities (`sensitivities.families`) it finds the common scale that makes the pixels likeliest, takes
    the likeliest family, and refines a gain per element that a recognised phase gauges (prior sd 0.15); other elements
    follow the median. The same from the next best family shows how much hangs on the start.

    Raises
    ------
    ChannelError : fewer than three usable elements.
    InputError : display, quantified or negative values; or no pixel with counts.
    """
    names = _usable(section)
    sample = spread_sample(sample_pixels(section, lambda window: section.read(names, window))[:, None, :])
    missing = {name: ones_are_missing(plane) for name, plane in zip(names, sample, strict=True)}
    coarse = sample[:, :: max(1, sample.shape[1] // _COARSE_PX)]
    trials = [_best_scale(coarse, names, missing, family, phases) for family in families() if _covers(family, names)]
    trials.sort(key=lambda trial: -trial.log_likelihood)
    best, second = (iterate_gains(trial.start, sample, _PASSES, _GAIN_PRIOR_SD, common=True) for trial in trials[:2])
    other = [trial.log_likelihood for trial in trials if trial.family.kind != trials[0].family.kind]
    lead = trials[0].log_likelihood - max(other) if other else np.inf
    labels = [_phases(fitted.classifier, sample) for fitted in (best, second)]
    names_of = best.classifier.templates.phases
    is_mineral = labels[0] != names_of.index(HOLE)
    explained = _explained(best.classifier, sample)[is_mineral].mean() if is_mineral.any() else 0.0
    logs = np.log([max(gain, 1e-3) for gain in best.gains.values()] or [0.0])
    fitted = replace(best, explained=float(explained), classifier=_with_note(best.classifier, trials[0].family))
    alike = float(np.mean(labels[0] == labels[1]))
    return SelfCalibration(fitted, trials[0].family.name, alike, float(lead), float(is_mineral.mean()), float(logs.std()))


def _usable(section: Section) -> tuple[str, ...]:
    names = tuple(name for name in section.channel_names if name in WDS_SENSITIVITY)
    if len(names) < FEWEST_CHANNELS:
        raise ChannelError(
            f"Self-calibration needs three element maps; '{section.name}' has {', '.join(section.channel_names)}. {_REMEDY}."
        )
    for name in names:
        unit = section.channels[name].unit
        if unit not in ("counts", "unknown"):
            raise InputError(
                f"Channel '{name}' of '{section.name}' holds {unit} values and self-calibration needs counts: "
                "leave it out, and the network names the minerals."
            )
    return names


def _covers(family: Family, names: Sequence[str]) -> bool:
    return set(names) <= set(family.sensitivity)


def _best_scale(
    sample: Floats, names: Sequence[str], missing: Mapping[str, bool], family: Family, phases: Sequence[str] | None
) -> _Trial:
    def trial(scale: float) -> _Trial:
        calibration = _start(names, missing, family, scale)
        start = PhaseClassifier.from_calibration(calibration, names, phases=phases)
        return _Trial(_mean_log_likelihood(start, sample), family, scale, start)

    return max((trial(float(scale)) for scale in _SCALES), key=lambda found: found.log_likelihood)


def _start(names: Sequence[str], missing: Mapping[str, bool], family: Family, scale: float) -> Calibration:
    channels = {}
    for name in names:
        background, per_z = family.background[name]
        channels[name] = ChannelResponse(
            family.sensitivity[name] * scale, background * scale, per_z * scale, family.dead_time / max(scale, 1.0),
            missing[name], _START_SD, "self-calibrated",
        )  # fmt: skip
    return Calibration(channels, "self-calibrated")


def _mean_log_likelihood(classifier: PhaseClassifier, sample: Floats) -> float:
    """Mean over pixels, each capped from below so that odd pixels do not decide."""
    highest = score(sample, classifier.moments()).log_likelihood.max(axis=0)
    return float(np.maximum(highest, np.percentile(highest, 10)).mean())


def _scores(classifier: PhaseClassifier, sample: Floats) -> Scores:
    return score(sample, classifier.moments())


def _phases(classifier: PhaseClassifier, sample: Floats) -> NDArray[np.int64]:
    """Return the phase of each pixel (N,), as index into the templates' phases."""
    return np.asarray(classifier.moments().phase_of[_scores(classifier, sample).best])


def _explained(classifier: PhaseClassifier, sample: Floats) -> NDArray[np.bool_]:
    best = _scores(classifier, sample).best
    return np.asarray(misfit(sample, classifier.moments(), best) < classifier.settings.misfit_bound)


def _with_note(classifier: PhaseClassifier, family: Family) -> PhaseClassifier:
    note = (
        f"No standards: sensitivities ({family.name}) were fitted to the section itself (self-calibrated). "
        "Minerals that differ little in composition may be taken for each other"
    )
    response = classifier.response
    if isinstance(response, Calibration):
        response = replace(response, notes=(*response.notes, note))
    return replace(classifier, response=response, notes=(*classifier.notes, note))
