"""Calibrate count maps without standards, from the minerals that a section must hold; refuse where that is a guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.legend import HOLE
from meteoseg.minerals.calibration import FEWEST_CHANNELS, Calibration, ChannelResponse, ones_are_missing
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.fitted import FittedClassifier, calibration_of, iterate_gains, spread_sample
from meteoseg.minerals.likelihood import Floats, misfit, score
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY, Family, families
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section

_COARSE_PX = 1500
_SCALES = np.geomspace(0.01, 20, 20)
_FINER = (1.22, 1.1)
_START_SD, _GAIN_PRIOR_SD = 0.15, 0.15
_PASSES = 6
#: Sensitivities are started anew this much (natural logarithm) up and down in turn, to see how much hangs on the start.
_TILT = 0.15
#: How well calibrated sensitivities would be known, and the misfit that they would then leave.
_CALIBRATED_SD, _CONSISTENT_MISFIT = 0.03, 2.0
#: What is asked of the evidence, see docs/minerals.md.
LEAST_CONSISTENT = 0.78
LEAST_ALIKE = 0.9
LEAST_LEAD = 0.5
LEAST_MINERAL = 0.2

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

    fitted : with its gains; family : kind of detector that fits best; mineral : share of the sample that is no hole;
    consistent : share of those that fit a mineral as closely as with standards; alike : share of the sample that
    starts from other sensitivities (15 % up and down) name the same; lead : log-likelihood per pixel over the best
    family of the other kind.
    """

    fitted: FittedClassifier
    family: str
    mineral: float
    consistent: float
    alike: float
    lead: float

    def doubts(self) -> tuple[str, ...]:
        """Name what is wrong with the evidence; empty where it is good."""
        tests = (
            (self.mineral < LEAST_MINERAL, f"only {100 * self.mineral:.0f} % of the pixels hold a mineral"),
            (
                self.consistent < LEAST_CONSISTENT,
                f"{100 * self.consistent:.0f} % of the mineral pixels fit one closely",
            ),
            (self.alike < LEAST_ALIKE, f"another start names {100 * (1 - self.alike):.0f} % of the pixels otherwise"),
            (self.lead < LEAST_LEAD, "WDS and EDS sensitivities fit alike"),
        )
        return tuple(words for fails, words in tests if fails)


def self_calibrate(section: Section, *, phases: Sequence[str] | None = None) -> FittedClassifier:
    """Calibrate the maps of `section` from its own minerals; see `judge_self_calibration`.

    `explained` of the result counts the pixels that fit a mineral closely, holes left out.

    Raises
    ------
    ChannelError : fewer than three usable elements.
    InputError : display, quantified or negative values; no pixel with counts; or the evidence is weak.
    """
    return require_self_calibration(section, phases=phases).fitted


def require_self_calibration(section: Section, *, phases: Sequence[str] | None = None) -> SelfCalibration:
    """Calibrate as `self_calibrate` and return the evidence too.

    Raises
    ------
    ChannelError, InputError : as `self_calibrate`.
    """
    found = judge_self_calibration(section, phases=phases)
    if doubts := found.doubts():
        raise InputError(f"'{section.name}' cannot be calibrated from itself ({'; '.join(doubts)}). {_REMEDY}.")
    return found


def judge_self_calibration(section: Section, *, phases: Sequence[str] | None = None) -> SelfCalibration:
    """Calibrate the maps of `section` from its own minerals, and say how good the evidence is.

    For WDS and EDS sensitivities (`sensitivities.families`) it finds the common scale that makes the pixels likeliest,
    takes the likeliest family, and refines a gain per element that a recognised phase gauges (prior sd 0.15); other
    elements follow the median. The same from sensitivities 15 % up and down in turn shows how much hangs on the start.

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
    best = max(trials, key=lambda trial: trial.log_likelihood)
    other = [trial.log_likelihood for trial in trials if trial.family.kind != best.family.kind]
    fitted, *tilted = (
        iterate_gains(_tilted(best.start, tilt), sample, _PASSES, _GAIN_PRIOR_SD, unaided=True)
        for tilt in (0.0, _TILT, -_TILT)
    )
    labels = _phases(fitted.classifier, sample)
    is_mineral = labels != fitted.classifier.templates.phases.index(HOLE)
    consistent = float(_fits_closely(fitted.classifier, sample)[is_mineral].mean()) if is_mineral.any() else 0.0
    return SelfCalibration(
        replace(fitted, classifier=_with_note(fitted.classifier, best.family), explained=consistent),
        best.family.name,
        float(is_mineral.mean()),
        consistent,
        min(float(np.mean(_phases(start.classifier, sample) == labels)) for start in tilted),
        best.log_likelihood - max(other) if other else np.inf,
    )


def _usable(section: Section) -> tuple[str, ...]:
    names = tuple(name for name in section.channel_names if name in WDS_SENSITIVITY)
    if len(names) < FEWEST_CHANNELS:
        raise ChannelError(
            f"Self-calibration needs three element maps; '{section.name}' has {', '.join(section.channel_names)}. "
            f"{_REMEDY}."
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

    best = max((trial(float(scale)) for scale in _SCALES), key=lambda found: found.log_likelihood)
    for step in _FINER:
        nearby = (trial(best.scale * step), trial(best.scale / step))
        best = max(best, *nearby, key=lambda found: found.log_likelihood)
    return best


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


def _tilted(classifier: PhaseClassifier, tilt: float) -> PhaseClassifier:
    """Return the classifier with sensitivities up and down in turn by `tilt` (natural logarithm)."""
    return _with_channels(
        classifier,
        lambda index, response: replace(response, sensitivity=response.sensitivity * np.exp(tilt * (-1) ** index)),
    )


def _with_channels(
    classifier: PhaseClassifier, change: Callable[[int, ChannelResponse], ChannelResponse]
) -> PhaseClassifier:
    calibration = calibration_of(classifier)
    channels = {name: change(index, response) for index, (name, response) in enumerate(calibration.channels.items())}
    return replace(classifier, response=replace(calibration, channels=channels))


def _phases(classifier: PhaseClassifier, sample: Floats) -> NDArray[np.int64]:
    """Return the phase of each pixel (N,), as index into the templates' phases."""
    moments = classifier.moments()
    return np.asarray(moments.phase_of[score(sample, moments).best])


def _fits_closely(classifier: PhaseClassifier, sample: Floats) -> NDArray[np.bool_]:
    """Tell which pixels (N,) a composition fits as closely as it would with standards."""
    calibrated = _with_channels(classifier, lambda _, response: replace(response, relative_sd=_CALIBRATED_SD))
    moments = calibrated.moments()
    return np.asarray(misfit(sample, moments, score(sample, moments).best) < _CONSISTENT_MISFIT)


def _with_note(classifier: PhaseClassifier, family: Family) -> PhaseClassifier:
    note = (
        f"No standards: sensitivities ({family.name}) were fitted to the section itself (self-calibrated). "
        "Minerals that differ little in composition may be taken for each other"
    )
    calibration = calibration_of(classifier)
    response = replace(calibration, notes=(*calibration.notes, note))
    return replace(classifier, response=response, notes=(*classifier.notes, note))
