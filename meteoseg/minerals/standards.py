"""Fit a calibration to maps of standards of known composition."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage, stats

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.io import open_section
from meteoseg.minerals.alpha import Array, composition_vector, matrix_factors, mean_atomic_numbers
from meteoseg.minerals.calibration import Calibration, ChannelResponse, StandardCheck, ones_are_missing
from meteoseg.minerals.formula import formula_wt_pct
from meteoseg.section import Section

FEWEST_PIXELS = 100
_EROSION_PX = 2  # masks are drawn to the edge, where the neighbour is excited too
_MAJOR_WT_PCT = 1.0  # sensitivities are fitted to elements above this
_ABSENT_WT_PCT = 0.05  # backgrounds to elements below this
_RELATIVE_FLOOR = 0.03  # the matrix correction is no better
_ONE_STANDARD_SD = 0.05
_SUSPECT_SD = 4.0
_BRIGHT_COUNTS = 100.0  # dead time is measured above this


@dataclass(frozen=True)
class Standard:
    """A mapped standard: `inside` (H, W) bool, composition in element wt% (oxygen filled in by difference)."""

    name: str
    inside: NDArray[np.bool_]
    composition_wt_pct: Mapping[str, float]


@dataclass(frozen=True)
class _Measured:
    """Counts of all standards: mean, variance over mean and the facts of each, (S, C) arrays."""

    names: tuple[str, ...]
    channels: tuple[str, ...]
    wt_pct: Array
    mean: Array
    variance_ratio: Array
    factors: Array
    mean_z: Array
    ones_missing: NDArray[np.bool_]


def calibrate(standards_dir: Path) -> Calibration:
    """Fit the calibration to a folder of element maps, ``*_mask.tif`` files and ``compositions.csv``.

    ``compositions.csv`` has a row per standard: ``mask`` (file name), ``kind`` (``formula`` or ``wt_pct``) and
    ``formula_or_element_wt_pct`` (``FeS``, or ``Si:19.08 Fe:7.42 Mg:29.80``).

    Raises
    ------
    InputError : no table, a mask without composition, of nothing or of two standards, fractions for percentages.
    """
    table = standards_dir / "compositions.csv"
    if not table.is_file():
        raise InputError(f"{standards_dir} has no compositions.csv: add one with the columns mask, kind, "
                         "formula_or_element_wt_pct.")  # fmt: skip
    section = open_section(standards_dir, use_mask=False)
    compositions = read_compositions(table)
    masks = sorted(standards_dir.glob("*mask*.tif*"))
    for path in masks:
        if path.name not in compositions:
            raise InputError(f"Standard {path.name} has no composition: add a row to {table}.")
    standards = []
    for mask_name, composition in compositions.items():
        if not (standards_dir / mask_name).is_file():
            raise InputError(f"{table} names {mask_name}, which is not in the folder: correct the name.")
        inside = _read_mask(standards_dir / mask_name, section.shape)
        standards.append(Standard(mask_name.split("_mask")[0], inside, composition))
    return calibrate_section(section, standards)


def read_compositions(path: Path) -> dict[str, dict[str, float]]:
    """Read ``compositions.csv``: element wt% by mask file name, oxygen (and what else is missing) by difference.

    Raises
    ------
    InputError : a column is missing, a value is no number, or a total is that of fractions or above 102.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if not rows or not {"mask", "kind", "formula_or_element_wt_pct"} <= set(rows[0]):
        raise InputError(f"{path} needs the columns mask, kind, formula_or_element_wt_pct.")
    return {row["mask"]: _composition_of(row, path) for row in rows}


def _composition_of(row: Mapping[str, str], path: Path) -> dict[str, float]:
    text = row["formula_or_element_wt_pct"].strip()
    if row["kind"] == "formula":
        return formula_wt_pct(text)
    if row["kind"] != "wt_pct":
        raise InputError(f"{path}: kind '{row['kind']}' of {row['mask']} is not known: write formula or wt_pct.")
    try:
        values = {element: float(value) for element, value in (item.split(":") for item in text.split())}
    except ValueError as error:
        raise InputError(f"{path}: '{text}' of {row['mask']} is not like 'Si:19.08 Fe:7.42'.") from error
    total = sum(values.values())
    unknown = sorted(set(values) - set(ATOMIC_NUMBER))
    if unknown:
        raise InputError(f"{path}: '{unknown[0]}' of {row['mask']} is no element symbol: write it like 'Fe'.")
    if total <= 1.5 or total > 102 or min(values.values()) < 0:
        raise InputError(
            f"{path}: the elements of {row['mask']} sum to {total:g}: give weight percent (0-100), not fractions."
        )
    values["O"] = values.get("O", 0.0) + max(0.0, 100 - total)
    return values


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        values = tifffile.imread(path)
    except (tifffile.TiffFileError, ValueError) as error:
        raise InputError(f"Mask {path} cannot be read as TIFF: {error}.") from error
    if values.shape != shape:
        raise ShapeMismatchError(
            f"Mask {path.name} is {values.shape}, the standards' maps are {shape}: make them equal."
        )
    threshold = 128 if values.max(initial=0) > 1 else 1
    return np.asarray(values >= threshold)


def calibrate_section(section: Section, standards: Sequence[Standard]) -> Calibration:
    """Fit the calibration to the maps of `section` inside the standards.

    Raises
    ------
    InputError : a standard covers too little, two overlap, or one mask covers two materials; or no element of
        the standards is mapped.
    """
    _check_apart(standards)
    measured = _measure(section, standards)
    dead_time = _dead_times(measured)
    responses: dict[str, ChannelResponse] = {}
    checks: list[StandardCheck] = []
    for column, channel in enumerate(measured.channels):
        response, found = _fit_channel(measured, column, float(dead_time[column]))
        checks += found
        if response is not None:
            responses[channel] = response
    if not responses:
        have = ", ".join(sorted({el for standard in standards for el in standard.composition_wt_pct} - {"O"}))
        raise InputError(
            f"The standards hold {have}, the maps show {', '.join(section.channel_names)}: none in common."
        )
    notes = [_suspect_note(check) for check in checks if abs(check.residual_sd) > _SUSPECT_SD]
    interpolated = interpolate_missing(responses, measured.channels, _backgrounds(measured))
    notes += [f"{name}: no standard, sensitivity by interpolation" for name in interpolated if name not in responses]
    return Calibration(interpolated, "standards", tuple(checks), tuple(notes))


def _suspect_note(check: StandardCheck) -> str:
    return (
        f"Standard {check.standard} does not fit: {check.element} gives {check.counts:.1f} counts where "
        f"{check.fitted_counts:.1f} are expected ({check.residual_sd:+.1f} sd); check its mask and composition"
    )


def _check_apart(standards: Sequence[Standard]) -> None:
    for index, one in enumerate(standards):
        covered = int(one.inside.sum())
        if covered < FEWEST_PIXELS:
            raise InputError(f"Mask of standard {one.name} covers {covered} px: at least {FEWEST_PIXELS} are needed.")
        for other in standards[:index]:
            if np.any(one.inside & other.inside):
                raise InputError(f"Masks of standards {other.name} and {one.name} overlap: draw them apart.")


def _measure(section: Section, standards: Sequence[Standard]) -> _Measured:
    channels = tuple(name for name in section.channel_names if name in ATOMIC_NUMBER)
    values = section.read(channels)
    results = [_measure_one(values, standard) for standard in standards]
    compositions = np.array([composition_vector(dict(standard.composition_wt_pct)) for standard in standards])
    columns = [tuple(ATOMIC_NUMBER).index(name) for name in channels]
    return _Measured(
        tuple(standard.name for standard in standards),
        channels,
        compositions[:, columns],
        np.array([mean for mean, _ in results]),
        np.array([ratio for _, ratio in results]),
        matrix_factors(compositions, channels),
        mean_atomic_numbers(compositions),
        np.array([ones_are_missing(plane) for plane in values]),
    )


def _measure_one(values: NDArray[np.float32], standard: Standard) -> tuple[Array, Array]:
    """Mean counts and variance over mean (of adjacent pixels) in the sound core of one standard, (C,) each."""
    core = ndimage.binary_erosion(standard.inside, iterations=_EROSION_PX)
    sound = core.copy()
    for plane in values:
        level = float(np.median(plane[core])) if core.any() else 0.0
        sound &= np.abs(plane - level) <= 5 * np.sqrt(max(level, 1.0)) + 0.1 * level
    if sound.sum() < max(FEWEST_PIXELS, 0.7 * core.sum()):
        raise InputError(
            f"Mask of standard {standard.name} is not one material: only {int(sound.sum())} of {int(core.sum())} px "
            "agree in counts. Draw it inside one standard, free of cracks."
        )
    mean = values[:, sound].mean(axis=1, dtype=float)
    pairs = sound[:, 1:] & sound[:, :-1]
    differences = values[:, :, 1:][:, pairs] - values[:, :, :-1][:, pairs]
    variance = 0.5 * np.mean(differences.astype(float) ** 2, axis=1)
    return mean, variance / np.maximum(mean, 1e-6)


def _dead_times(measured: _Measured) -> Array:
    """Dead time per count (C,): of the channel's own bright standards, else the median of all.

    From variance / mean = (1 - recorded tau)^2.
    """
    ratio = np.clip(measured.variance_ratio, 0.25, 1.0)
    taus = (1 - np.sqrt(ratio)) / np.maximum(measured.mean, 1e-6)
    bright = measured.mean > _BRIGHT_COUNTS
    common = float(np.median(taus[bright])) if bright.any() else 0.0
    own = [float(np.average(t[b], weights=m[b])) if b.any() else common
           for t, b, m in zip(taus.T, bright.T, measured.mean.T, strict=True)]  # fmt: skip
    return np.array(own)


def uncensored_mean(mean: Array) -> Array:
    """Mean of a Poisson variable whose ones were stored as zeros: solve m = n (1 - exp(-n)) for n."""
    estimate = np.maximum(mean, 1e-6) + 1.0
    for _ in range(50):
        value = estimate * (1 - np.exp(-estimate)) - mean
        slope = 1 - np.exp(-estimate) * (1 - estimate)
        estimate = np.maximum(estimate - value / slope, 1e-9)
    return estimate


def _true_means(measured: _Measured, column: int, dead_time: float) -> Array:
    mean = measured.mean[:, column]
    mean = uncensored_mean(mean) if measured.ones_missing[column] else mean
    return np.asarray(mean / np.maximum(1 - mean * dead_time, 0.1))


def _background_line(measured: _Measured, column: int) -> tuple[float, float]:
    """Fit (intercept, slope) of the background against mean atomic number where the element is absent."""
    absent = measured.wt_pct[:, column] < _ABSENT_WT_PCT
    counts = _true_means(measured, column, 0.0)[absent]
    if not absent.any():
        return 0.0, 0.0
    if absent.sum() < 4 or np.ptp(measured.mean_z[absent]) < 3:
        return float(np.median(counts)), 0.0
    slope, intercept, *_ = stats.theilslopes(counts, measured.mean_z[absent])
    if slope < 0:
        return float(np.median(counts)), 0.0
    return float(intercept), float(slope)


def _backgrounds(measured: _Measured) -> dict[str, ChannelResponse]:
    taus = _dead_times(measured)
    found = {}
    for column, channel in enumerate(measured.channels):
        intercept, slope = _background_line(measured, column)
        missing = bool(measured.ones_missing[column])
        found[channel] = ChannelResponse(1.0, intercept, slope, float(taus[column]), missing)
    return found


def _fit_channel(
    measured: _Measured, column: int, dead_time: float
) -> tuple[ChannelResponse | None, list[StandardCheck]]:
    intercept, slope = _background_line(measured, column)
    background = np.maximum(intercept + slope * measured.mean_z, 0.0)
    wt_pct, channel = measured.wt_pct[:, column], measured.channels[column]
    major = np.flatnonzero(wt_pct > _MAJOR_WT_PCT)
    if not major.size:
        return None, []
    true = _true_means(measured, column, dead_time)
    per_wt = (true - background)[major] / (wt_pct * measured.factors[:, column])[major]
    sensitivity = float(np.median(per_wt))
    if sensitivity <= 0:
        return None, []
    spread = 1.4826 * float(np.median(np.abs(per_wt / sensitivity - 1)))
    relative_sd = max(_RELATIVE_FLOOR, spread) if major.size > 1 else _ONE_STANDARD_SD
    response = ChannelResponse(
        sensitivity, intercept, slope, dead_time, bool(measured.ones_missing[column]), relative_sd,
        f"{major.size} standard{'s' if major.size > 1 else ''}",
    )  # fmt: skip
    alone = Calibration({channel: response})
    checks = []
    for row, value in zip(major, per_wt, strict=True):
        expected = sensitivity * wt_pct[row] * measured.factors[row, column] + background[row]
        fitted = alone.recorded(np.array([[expected]]), (channel,))[0].item()
        residual = (value / sensitivity - 1) / relative_sd
        checks.append(
            StandardCheck(measured.names[row], channel, float(wt_pct[row]), float(measured.mean[row, column]), fitted,
                          float(residual))
        )  # fmt: skip
    return response, checks


def interpolate_missing(
    responses: Mapping[str, ChannelResponse], channels: Sequence[str], backgrounds: Mapping[str, ChannelResponse]
) -> dict[str, ChannelResponse]:
    """Add elements without a standard: logarithm of the sensitivity, linear in atomic number between neighbours.

    Their relative sd is 0.3, because a neighbour may have been measured with another crystal.
    """
    known = sorted(responses, key=ATOMIC_NUMBER.__getitem__)
    numbers = [ATOMIC_NUMBER[name] for name in known]
    logs = [np.log(responses[name].sensitivity) for name in known]
    result = {}
    for name in channels:
        if name in responses:
            result[name] = responses[name]
            continue
        base = backgrounds[name]
        sensitivity = float(np.exp(np.interp(ATOMIC_NUMBER[name], numbers, logs)))
        result[name] = ChannelResponse(
            sensitivity, base.background, base.background_per_z, base.dead_time, base.ones_missing, 0.3, "interpolated"
        )
    return result
