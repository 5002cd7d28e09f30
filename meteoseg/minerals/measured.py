"""Counts of mapped standards: means, noise, dead time, and how sound each standard is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import InputError
from meteoseg.minerals.alpha import Array, composition_vector, matrix_factors, mean_atomic_numbers
from meteoseg.minerals.calibration import ones_are_missing
from meteoseg.section import Section

FEWEST_PIXELS = 100
_EROSION_PX = 2  # masks are drawn to the edge, where the neighbour is excited too
_LEAST_SOUND, _WORTH_TELLING = 0.7, 0.85  # shares of the core that agree in counts
_BRIGHT_COUNTS = 100.0  # dead time is measured above this
_DRIFT_SHARE, _DRIFT_SD = 0.05, 5.0
_DRIFT_COUNTS = 20.0


@dataclass(frozen=True)
class Standard:
    """A mapped standard: `inside` (H, W) bool, composition in element wt% (oxygen filled in by difference)."""

    name: str
    inside: NDArray[np.bool_]
    composition_wt_pct: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """Counts of all standards, (S, C) arrays.

    mean, mean_sd : stored counts per pixel and the standard error of their mean; variance_ratio : variance over mean
    of adjacent pixels; variance_ratio_sd : its standard error; wt_pct, factors : content and matrix factor of each
    mapped element; mean_z : (S,); ones_missing : (C,) bool; remarks : cracks and drift.
    """

    names: tuple[str, ...]
    channels: tuple[str, ...]
    wt_pct: Array
    mean: Array
    mean_sd: Array
    variance_ratio: Array
    variance_ratio_sd: Array
    factors: Array
    mean_z: Array
    ones_missing: NDArray[np.bool_]
    remarks: tuple[str, ...] = ()

    def true_means(self, column: int, dead_time: float) -> Array:
        """Mean counts (S,) of one channel without censoring and dead time."""
        mean = self.mean[:, column]
        mean = uncensored_mean(mean) if self.ones_missing[column] else mean
        return np.asarray(mean / np.maximum(1 - mean * dead_time, 0.1))


@dataclass(frozen=True)
class _Counts:
    """Of one standard, (C,) each; `remarks` on cracks and drift."""

    mean: Array
    mean_sd: Array
    ratio: Array
    ratio_sd: Array
    remarks: tuple[str, ...]


def measure(section: Section, standards: Sequence[Standard]) -> Measured:
    """Measure the standards on the element maps of `section`.

    Raises
    ------
    InputError : a standard is not one material, or a map is an 8-bit picture.
    """
    channels = tuple(name for name in section.channel_names if name in ATOMIC_NUMBER)
    for name in channels:
        if section.channels[name].unit in ("display", "wt%"):
            raise InputError(
                f"Map '{name}' of the standards holds {section.channels[name].unit} values: give maps in counts."
            )
    values = section.read(channels)
    results = [_measure_one(values, channels, standard) for standard in standards]
    compositions = np.array([composition_vector(dict(standard.composition_wt_pct)) for standard in standards])
    columns = [tuple(ATOMIC_NUMBER).index(name) for name in channels]
    return Measured(
        tuple(standard.name for standard in standards),
        channels,
        compositions[:, columns],
        np.array([found.mean for found in results]),
        np.array([found.mean_sd for found in results]),
        np.array([found.ratio for found in results]),
        np.array([found.ratio_sd for found in results]),
        matrix_factors(compositions, channels),
        mean_atomic_numbers(compositions),
        np.array([ones_are_missing(plane) for plane in values]),
        tuple(remark for found in results for remark in found.remarks),
    )


def _measure_one(values: NDArray[np.float32], channels: Sequence[str], standard: Standard) -> _Counts:
    """Measure the sound core of one standard: away from its edge, and without what differs from its median."""
    core = ndimage.binary_erosion(standard.inside, iterations=_EROSION_PX)
    sound = core.copy()
    for plane in values:
        level = float(np.median(plane[core])) if core.any() else 0.0
        sound &= np.abs(plane - level) <= 5 * np.sqrt(max(level, 1.0)) + 0.1 * level
    n_sound, n_core = int(sound.sum()), int(core.sum())
    if n_sound < max(FEWEST_PIXELS, _LEAST_SOUND * n_core):
        raise InputError(
            f"Mask of standard {standard.name} is not one material: only {n_sound} of {n_core} px "
            "agree in counts. Draw it inside one standard, free of cracks."
        )
    remarks = _drifts(values, channels, sound, standard)
    if n_sound < _WORTH_TELLING * n_core:
        left_out = 100 * (1 - n_sound / n_core)
        remarks += (f"Standard {standard.name}: {left_out:.0f} % of its pixels differ and are left out (cracks, dirt)",)
    mean = values[:, sound].mean(axis=1, dtype=float)
    pairs = sound[:, 1:] & sound[:, :-1]
    differences = values[:, :, 1:][:, pairs] - values[:, :, :-1][:, pairs]
    variance = 0.5 * np.mean(differences.astype(float) ** 2, axis=1)
    ratio = variance / np.maximum(mean, 1e-6)
    # Squared differences of neighbours share pixels: a variance of n pairs is known to sqrt(3 / n) (von Neumann, 1941).
    return _Counts(mean, np.sqrt(variance / n_sound), ratio, ratio * np.sqrt(3 / pairs.sum()), remarks)


def _drifts(
    values: NDArray[np.float32], channels: Sequence[str], sound: NDArray[np.bool_], standard: Standard
) -> tuple[str, ...]:
    """Say where the counts of a major element change steadily over a standard, top to bottom or left to right."""
    places = dict(zip(("top to bottom", "left to right"), np.nonzero(sound), strict=True))
    found: list[tuple[float, str]] = []
    for name, plane in zip(channels, values, strict=True):
        counts = plane[sound].astype(float)
        if standard.composition_wt_pct.get(name, 0.0) < 1 or counts.mean() < _DRIFT_COUNTS:
            continue
        for direction, place in places.items():
            centred = place - place.mean()
            slope = float(centred @ counts) / float(centred @ centred)
            slope_sd = float(counts.std()) / float(np.sqrt(centred @ centred))
            share = slope * float(np.ptp(place)) / float(counts.mean())
            if abs(share) > _DRIFT_SHARE and abs(slope) > _DRIFT_SD * slope_sd:
                change = f"{name} {'rises' if share > 0 else 'falls'} by {100 * abs(share):.0f} % from {direction}"
                found.append((abs(share), f"Standard {standard.name} drifts: {change}; check the beam and its focus"))
    return (max(found)[1],) if found else ()


def dead_times(measured: Measured) -> tuple[Array, Array]:
    """Dead time per count and its sd, (C,) each: of the channel's own bright standards, else the median of all.

    From variance / mean = (1 - recorded tau)^2.
    """
    ratio = np.clip(measured.variance_ratio, 0.25, 1.0)
    mean = np.maximum(measured.mean, 1e-6)
    taus = (1 - np.sqrt(ratio)) / mean
    tau_sds = measured.variance_ratio_sd / (2 * np.sqrt(ratio) * mean)
    bright = measured.mean > _BRIGHT_COUNTS
    common = float(np.median(taus[bright])) if bright.any() else 0.0
    spread = 1.4826 * float(np.median(np.abs(taus[bright] - common))) if bright.any() else 0.0
    found, sds = np.full(len(measured.channels), common), np.full(len(measured.channels), spread)
    for column, use in enumerate(bright.T):
        if use.any():
            weight = measured.mean[use, column] / measured.mean[use, column].sum()
            found[column] = float(weight @ taus[use, column])
            scatter = float(weight @ (taus[use, column] - found[column]) ** 2)
            sds[column] = float(np.sqrt(weight**2 @ tau_sds[use, column] ** 2 + scatter / use.sum()))
    return found, sds


def uncensored_mean(mean: Array) -> Array:
    """Mean of a Poisson variable whose ones were stored as zeros: solve m = n (1 - exp(-n)) for n."""
    estimate = np.maximum(mean, 1e-6) + 1.0
    for _ in range(50):
        value = estimate * (1 - np.exp(-estimate)) - mean
        slope = 1 - np.exp(-estimate) * (1 - estimate)
        estimate = np.maximum(estimate - value / slope, 1e-9)
    return estimate
