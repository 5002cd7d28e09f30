"""Adapt a classifier to a section: one gain per element, from phases that are recognised in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.minerals.alpha import Array
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.likelihood import Floats, misfit, score, softmax

_GAIN_PRIOR_SD = 0.1
_GAIN_FLOOR_SD = 0.02  # what composition leaves uncertain however many pixels there are
#: Without standards, pixels that noise makes look like a phase are taken for sure ones: an error of this share of a
#: pixel's noise, measured on simulated maps of 25 to 350 counts per pixel (0, 0.3, 0.6 and 1 were tried).
_CHOICE_UNAIDED = 1.0
_CONFIDENT = 0.9
_FITS = 6.0  # misfit, mild because the gains are not known yet
_FEWEST_WINS = 2
_FEW_TEMPLATES = 8
_FEWEST_FOR_GAIN = 50
_SAMPLE_PX = 40_000


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
    calibration_of(classifier)
    return iterate_gains(classifier, spread_sample(classifier.select(values, channel_names)), passes, _GAIN_PRIOR_SD)


def spread_sample(planes: Floats) -> Floats:
    """Pick at most about `_SAMPLE_PX` non-empty pixels (C, N), evenly spread and the same every time."""
    flat = planes.reshape(len(planes), -1)
    mapped = np.flatnonzero(np.any(flat > 0, axis=0))
    if mapped.size == 0:
        raise InputError("All maps are empty (0 in every channel): nothing to calibrate minerals on.")
    if not np.isfinite(flat).all() or flat.min() < 0:
        raise InputError("Counts must be finite and not negative to calibrate minerals: mask or correct the maps.")
    return np.asarray(flat[:, mapped[:: max(1, mapped.size // _SAMPLE_PX)]])


def iterate_gains(
    classifier: PhaseClassifier, sample: Floats, passes: int, least_prior_sd: float, *, unaided: bool = False
) -> FittedClassifier:
    """Iterate `_gain_step`; `unaided` by standards, elements that no phase gauges get the median of the gains."""
    first = calibration_of(classifier)
    prior_sd = {name: max(least_prior_sd, first.channels[name].relative_sd) for name in classifier.channels}
    gains: dict[str, tuple[float, float]] = {}
    explained = 0.0
    for _ in range(passes):
        current = {name: gains.get(name, (1.0, 0.0))[0] for name in classifier.channels}
        step, explained = _gain_step(classifier, sample, current, prior_sd, unaided=unaided)
        gains |= step
        if unaided and step:
            middle = float(np.median([gain for gain, _ in step.values()]))
            gains |= {name: (middle, prior_sd[name]) for name in classifier.channels if name not in step}
        classifier = replace(classifier, response=first.with_gains(gains))
    gain_of = {name: float(gain) for name, (gain, _) in gains.items()}
    return FittedClassifier(_prune(classifier, sample), gain_of, explained)


def calibration_of(classifier: PhaseClassifier) -> Calibration:
    """Return the calibration of a classifier of counts.

    Raises
    ------
    InputError : the classifier is for weight percent.
    """
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
    classifier: PhaseClassifier,
    sample: Floats,
    current: Mapping[str, float],
    prior_sd: Mapping[str, float],
    *,
    unaided: bool,
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
            residual, variance = sample[column, use] - expected, moments.variance[scores.best[use], column]
            excess = _mean_excess(residual, variance, net) if unaided else float(np.median(residual / net))
            relative = float(templates.rel_sd[templates.phase_of == index].mean())
            noise = 1 / net.sum() + (_CHOICE_UNAIDED**2 / net.mean() if unaided else 0.0)
            weight = 1 / (relative**2 + _GAIN_FLOOR_SD**2 + noise)
            weights, weighted = weights + weight, weighted + weight * current[name] * (1 + excess)
        if weights > 1 / prior_sd[name] ** 2:
            found[name] = (weighted / weights, max(_GAIN_FLOOR_SD, weights**-0.5))
    return found, float(fits.mean())


def _mean_excess(residual: Floats, variance: Array, net: Array) -> float:
    """Relative excess of net counts: the mean of residuals cut at 2 sd over that of the net counts.

    Not the median of the ratios, which is off by up to half a count where there are few.
    """
    limit = 2 * np.sqrt(variance)
    return float(np.clip(residual, -limit, limit).mean() / net.mean())
