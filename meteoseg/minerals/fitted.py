"""Adapt a classifier to a section: gains of the day, or a calibration from the section itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.minerals.calibration import FEWEST_CHANNELS, Calibration, ChannelResponse, ones_are_missing
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.likelihood import Floats, misfit, score, softmax
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section

#: Net counts per wt% after division by F, relative, of WDS maps (MEASURED: microprobe standards at 15 kV; Na, Al,
#: Cl, K, Cr, Mn, Co by interpolation in atomic number; reference of dead-time-free values).
WDS_SENSITIVITY: Mapping[str, float] = {
    "Na": 12.0, "Mg": 14.3, "Al": 15.1, "Si": 15.9, "P": 11.0, "S": 2.36, "Cl": 2.8, "K": 4.0, "Ca": 4.87,
    "Ti": 17.0, "Cr": 7.6, "Mn": 5.1, "Fe": 3.44, "Co": 3.35, "Ni": 3.29,
}  # fmt: skip
_WDS_BACKGROUND: Mapping[str, tuple[float, float]] = {
    "Mg": (0.04, 0.004), "Al": (0.6, 0.01), "Si": (0.02, 0.034), "P": (0.35, 0.06), "S": (0.04, 0.004),
    "Ca": (0.0, 0.03), "Ti": (-0.3, 0.175), "Cr": (-1.5, 0.33), "Fe": (-0.26, 0.054), "Ni": (-0.2, 0.068),
}  # fmt: skip
_UNKNOWN_BACKGROUND = (0.1, 0.03)

_GAIN_PRIOR_SD = 0.1
_SELF_PRIOR_SD = 0.4
_GAIN_FLOOR_SD = 0.02  # what composition leaves uncertain however many pixels there are
_CONFIDENT = 0.9
_FITS = 6.0  # misfit, mild because the gains are not known yet
_FEWEST_WINS = 2
_FEW_TEMPLATES = 8
_FEWEST_FOR_GAIN = 50
_SAMPLE_PX = 40_000
_COARSE_PX = 4_000
_LEAST_EXPLAINED = 0.5


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier adapted to a section.

    gains : factor on the sensitivity of each element; explained : share of the sample that a composition fits.
    """

    classifier: PhaseClassifier
    gains: Mapping[str, float]
    explained: float


def refine_gains(
    classifier: PhaseClassifier, values: NDArray[np.float32], channel_names: Sequence[str], *, passes: int = 3
) -> FittedClassifier:
    """Estimate one gain per element on confidently recognised pure pixels; prior 1 with sd 0.1.

    Parameters
    ----------
    classifier : made from a calibration (counts).
    values : (C, H, W) counts of the section or a sample of it; pixels that are 0 in all channels are left out.

    Raises
    ------
    InputError : the classifier is for weight percent, or `values` holds no counts.
    ChannelError : a channel is missing.
    """
    _calibration_of(classifier)
    return _refine(classifier, _sample(classifier.select(values, channel_names)), passes, _GAIN_PRIOR_SD)


def self_calibrate(section: Section, *, phases: Sequence[str] | None = None) -> FittedClassifier:
    """Calibrate count maps without standards, from the minerals that the section itself must hold.

    Starts from the relative sensitivities of WDS maps (`WDS_SENSITIVITY`), finds the common scale that explains
    the pixels best, then refines a gain per element (prior sd 0.4). Only for linear counts: not for display images,
    whose contrast was stretched. Elements that no mineral of the section gauges follow the others.

    Raises
    ------
    ChannelError : fewer than three usable elements.
    InputError : display, quantified or negative values, or no scale explains half of the pixels.
    """
    names = [name for name in section.channel_names if name in WDS_SENSITIVITY]
    if len(names) < FEWEST_CHANNELS:
        raise ChannelError(f"Self-calibration needs three element maps; '{section.name}' has {section.channel_names}.")
    for name in names:
        unit = section.channels[name].unit
        if unit not in ("counts", "unknown"):
            raise InputError(
                f"Channel '{name}' of '{section.name}' holds {unit} values and self-calibration needs counts: "
                "leave it out, and the network names the minerals."
            )
    sample = _sample(sample_pixels(section, lambda window: section.read(names, window))[:, None, :])
    missing = {name: ones_are_missing(plane) for name, plane in zip(names, sample, strict=True)}
    coarse = sample[:, :: max(1, sample.shape[1] // _COARSE_PX)]
    trials = []
    for scale in np.geomspace(0.02, 20, 16):
        start = PhaseClassifier.from_calibration(_start(names, missing, float(scale)), names, phases=phases)
        trials.append((_mean_log_likelihood(start, coarse), start))
    best = max(trials, key=lambda trial: trial[0])[1]
    fitted = _refine(best, sample, 6, _SELF_PRIOR_SD, common=True)
    if fitted.explained < _LEAST_EXPLAINED:
        raise InputError(
            f"Self-calibration explains only {100 * fitted.explained:.0f} % of the pixels of '{section.name}'. "
            "Give --standards, or let the network name the minerals."
        )
    return fitted


def _start(names: Sequence[str], ones_missing: Mapping[str, bool], scale: float) -> Calibration:
    channels = {}
    for name in names:
        background, per_z = _WDS_BACKGROUND.get(name, _UNKNOWN_BACKGROUND)
        channels[name] = ChannelResponse(
            WDS_SENSITIVITY[name] * scale, background * scale, per_z * scale, 2.5e-4 / max(scale, 1.0),
            ones_missing[name], 0.15, "self-calibrated",
        )  # fmt: skip
    note = "No standards: sensitivities were fitted to the section itself (self-calibrated)"
    return Calibration(channels, "self-calibrated", notes=(note,))


def _sample(planes: Floats) -> Floats:
    """Pick at most about `_SAMPLE_PX` non-empty pixels (C, N), evenly spread and the same every time."""
    flat = planes.reshape(len(planes), -1)
    mapped = np.flatnonzero(np.any(flat > 0, axis=0))
    if mapped.size == 0:
        raise InputError("All maps are empty (0 in every channel): nothing to calibrate minerals on.")
    if not np.isfinite(flat).all() or flat.min() < 0:
        raise InputError("Counts must be finite and not negative to calibrate minerals: mask or correct the maps.")
    return np.asarray(flat[:, mapped[:: max(1, mapped.size // _SAMPLE_PX)]])


def _mean_log_likelihood(classifier: PhaseClassifier, sample: Floats) -> float:
    """Mean over pixels, each capped from below so that odd pixels do not decide."""
    highest = score(sample, classifier.moments()).log_likelihood.max(axis=0)
    return float(np.maximum(highest, np.percentile(highest, 10)).mean())


def _refine(
    classifier: PhaseClassifier, sample: Floats, passes: int, least_prior_sd: float, *, common: bool = False
) -> FittedClassifier:
    """Iterate `_gain_step`; with `common`, elements that no phase gauges take the median gain of the others."""
    first = _calibration_of(classifier)
    prior_sd = {name: max(least_prior_sd, first.channels[name].relative_sd) for name in classifier.channels}
    gains: dict[str, tuple[float, float]] = {}
    explained = 0.0
    for _ in range(passes):
        current = {name: gains.get(name, (1.0, 0.0))[0] for name in classifier.channels}
        step, explained = _gain_step(classifier, sample, current, prior_sd)
        gains |= step
        if common and step:
            middle = float(np.median([gain for gain, _ in step.values()]))
            gains |= {name: (middle, prior_sd[name]) for name in classifier.channels if name not in step}
        classifier = replace(classifier, response=first.with_gains(gains))
    gain_of = {name: float(gain) for name, (gain, _) in gains.items()}
    return FittedClassifier(_prune(classifier, sample), gain_of, explained)


def _calibration_of(classifier: PhaseClassifier) -> Calibration:
    if not isinstance(classifier.response, Calibration):
        raise InputError("Gains are fitted to counts with a calibration: weight percent maps need none.")
    return classifier.response


def _prune(classifier: PhaseClassifier, sample: Floats) -> PhaseClassifier:
    """Leave out, for speed, what no sampled pixel is like: mixtures, and steps of finely sampled phases."""
    moments = replace(classifier, kept=None).moments()
    wins = np.bincount(score(sample, moments).best, minlength=len(moments.mean))
    sizes = np.bincount(moments.phase_of[moments.pure], minlength=len(classifier.templates.phases))
    keep = (wins >= _FEWEST_WINS) | (moments.pure & (sizes[moments.phase_of] <= _FEW_TEMPLATES))
    for phase in np.setdiff1d(moments.phase_of, moments.phase_of[keep]):
        keep |= moments.pure & (moments.phase_of == phase)
    return replace(classifier, kept=keep)


def _gain_step(
    classifier: PhaseClassifier, sample: Floats, current: Mapping[str, float], prior_sd: Mapping[str, float]
) -> tuple[dict[str, tuple[float, float]], float]:
    """One pass: compare net counts with those expected on sure pixels of phases that gauge an element.

    Returns gain and relative sd per gauged element (inverse-variance mean of the phases and the prior), and the
    share of pixels that fit.
    """
    templates, moments = classifier.templates, classifier.moments()
    scores = score(sample, moments)
    fits = misfit(sample, moments, scores.best) < _FITS
    sure = fits & moments.pure[scores.best] & (softmax(scores.log_likelihood).max(axis=0) > _CONFIDENT)
    phase = np.where(sure, moments.phase_of[scores.best], -1)
    found: dict[str, tuple[float, float]] = {}
    for column, name in enumerate(classifier.channels):
        weights, weighted = 1 / prior_sd[name] ** 2, 1 / prior_sd[name] ** 2
        for index, gauge in enumerate(templates.gauges):
            use = np.flatnonzero(phase == index) if name in gauge else np.empty(0, np.int64)
            if use.size < _FEWEST_FOR_GAIN:
                continue
            expected = moments.mean[scores.best[use], column]
            net = np.maximum(moments.net[scores.best[use], column], 1.0)
            ratio = 1 + float(np.median((sample[column, use] - expected) / net))
            relative = float(templates.rel_sd[templates.phase_of == index].mean())
            weight = 1 / (relative**2 + _GAIN_FLOOR_SD**2 + 1 / net.sum())
            weights, weighted = weights + weight, weighted + weight * current[name] * ratio
        if weights > 1 / prior_sd[name] ** 2:
            found[name] = (weighted / weights, max(_GAIN_FLOOR_SD, weights**-0.5))
    return found, float(fits.mean())
