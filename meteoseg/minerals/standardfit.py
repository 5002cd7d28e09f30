"""Fit sensitivity and background of each element to measured standards, and check every standard against the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.minerals.alpha import Array
from meteoseg.minerals.calibration import Calibration, ChannelResponse, StandardCheck
from meteoseg.minerals.measured import Measured, dead_times
from meteoseg.minerals.suspects import (
    ABSENT_WT_PCT,
    MAJOR_WT_PCT,
    RELATIVE_FLOOR,
    SUSPECT_SD,
    Net,
    find_suspects,
    looks_like,
)

_ONE_STANDARD_SD = 0.05
_SUSPECT_ONLY_SD = 0.3
_INTERPOLATED_SD = 0.3
_LEAST_BACKGROUND_SD = 0.02
_95_PCT_IN_SD = 1.96


@dataclass(frozen=True)
class _Line:
    """Background against mean atomic number: counts = intercept + slope Z; `sd` of one material about the line."""

    intercept: float = 0.0
    slope: float = 0.0
    sd: float = 0.0
    slope_sd: float = 0.0

    def at(self, mean_z: Array) -> Array:
        return np.maximum(self.intercept + self.slope * mean_z, 0.0)


def fit_standards(measured: Measured) -> Calibration:
    """Fit the calibration; `channels` is empty where no mapped element is in a standard."""
    taus, tau_sds = dead_times(measured)
    columns = range(len(measured.channels))
    true = np.stack([measured.true_means(column, float(taus[column])) for column in columns], axis=1)
    lines = [_background_line(measured, column) for column in columns]
    net = _net(measured, true, lines)
    suspects, pairs = find_suspects(net)
    kept = [row for row in range(len(measured.names)) if row not in suspects]
    bases = {
        name: ChannelResponse(
            1.0, line.intercept, line.slope, float(taus[column]), bool(measured.ones_missing[column]),
            background_sd=line.sd, background_per_z_sd=line.slope_sd, dead_time_sd=float(tau_sds[column]),
        )
        for column, (name, line) in enumerate(zip(measured.channels, lines, strict=True))
    }  # fmt: skip
    fitted = {name: _fit_channel(net, column, kept, bases[name]) for column, name in enumerate(measured.channels)}
    responses = {name: response for name, response in fitted.items() if response is not None}
    checks = _checks(measured, net, responses, bases)
    notes = [_suspect_note(measured, net, row, kept, responses, checks) for row in suspects]
    notes += [_pair_note(measured, net, *pair) for pair in pairs]
    notes += measured.remarks
    if responses:
        notes += [f"{name}: no standard, sensitivity by interpolation" for name in bases if name not in responses]
        responses = interpolate_missing(responses, measured.channels, bases)
    names = tuple(measured.names[row] for row in suspects)
    return Calibration(responses, "standards", tuple(checks), tuple(notes), names)


def _net(measured: Measured, true: Array, lines: Sequence[_Line]) -> Net:
    background = np.stack([line.at(measured.mean_z) for line in lines], axis=1)
    net = (true - background) / measured.factors
    with np.errstate(divide="ignore", invalid="ignore"):
        per_wt = np.where(measured.wt_pct > 0, net / measured.wt_pct, 0.0)
    return Net(measured.wt_pct, per_wt, measured.mean_sd / np.maximum(net, 1.0), net, measured.factors)


def _background_line(measured: Measured, column: int) -> _Line:
    """Fit a line (Theil-Sen) to the background where the element is absent; standards that hold it are outliers."""
    absent = measured.wt_pct[:, column] < ABSENT_WT_PCT
    counts, mean_z = measured.true_means(column, 0.0)[absent], measured.mean_z[absent]
    if not absent.any():
        return _Line()
    level = float(np.median(counts))
    spread = max(1.4826 * float(np.median(np.abs(counts - level))), _LEAST_BACKGROUND_SD)
    if absent.sum() < 4 or np.ptp(mean_z) < 3:
        return _Line(level, 0.0, spread)
    slope, intercept, low, high = (float(value) for value in stats.theilslopes(counts, mean_z))
    if slope < 0:
        return _Line(level, 0.0, spread)
    residual = counts - intercept - slope * mean_z
    sd = max(1.4826 * float(np.median(np.abs(residual))), _LEAST_BACKGROUND_SD)
    return _Line(intercept, slope, sd, (high - low) / (2 * _95_PCT_IN_SD))


def _fit_channel(net: Net, column: int, kept: Sequence[int], base: ChannelResponse) -> ChannelResponse | None:
    """Median sensitivity of the standards that are kept; of a suspect one where there is no other."""
    major = np.flatnonzero(net.major[:, column])
    trusted = np.intersect1d(major, kept)
    per_wt = net.per_wt[trusted if trusted.size else major, column]
    if not per_wt.size or (sensitivity := float(np.median(per_wt))) <= 0:
        return None
    spread = 1.4826 * float(np.median(np.abs(per_wt / sensitivity - 1)))
    relative_sd = max(RELATIVE_FLOOR, spread) if per_wt.size > 1 else _ONE_STANDARD_SD
    source = f"{per_wt.size} standard{'s' if per_wt.size > 1 else ''}"
    if not trusted.size:
        relative_sd, source = _SUSPECT_ONLY_SD, f"{source} in doubt"
    return replace(base, sensitivity=sensitivity, relative_sd=relative_sd, source=source)


def _checks(
    measured: Measured, net: Net, responses: Mapping[str, ChannelResponse], bases: Mapping[str, ChannelResponse]
) -> list[StandardCheck]:
    """Compare every standard with the fit, in its major elements and in those that it should not hold."""
    found = []
    for column, name in enumerate(measured.channels):
        response = responses.get(name, bases[name])
        background = np.maximum(response.background + response.background_per_z * measured.mean_z, 0.02)
        for row, standard in enumerate(measured.names):
            wt_pct, factor = float(measured.wt_pct[row, column]), float(measured.factors[row, column])
            is_major = bool(net.major[row, column]) and name in responses
            if not is_major and wt_pct >= ABSENT_WT_PCT:
                continue
            expected = response.sensitivity * wt_pct * factor * is_major + float(background[row])
            fitted, _ = Calibration({name: response}).recorded(np.array([[expected]]), (name,))
            counts, counts_sd = float(measured.mean[row, column]), float(measured.mean_sd[row, column])
            if is_major:
                residual = (float(net.per_wt[row, column]) / response.sensitivity - 1) / response.relative_sd
            else:
                residual = (counts - fitted.item()) / float(np.hypot(response.background_sd, counts_sd))
            found.append(
                StandardCheck(standard, name, wt_pct, counts, fitted.item(), residual, counts_sd,
                              float(measured.mean_z[row]))
            )  # fmt: skip
    return found


def _suspect_note(
    measured: Measured,
    net: Net,
    row: int,
    kept: Sequence[int],
    responses: Mapping[str, ChannelResponse],
    checks: Sequence[StandardCheck],
) -> str:
    """Say what is wrong with a standard, and which other one it looks like."""
    misfit = net.misfits([*kept, row])[row]
    worst = measured.channels[int(np.abs(misfit).argmax())]
    name = measured.names[row]
    check = next(check for check in checks if check.standard == name and check.element == worst)
    sensitivity = np.array([responses[el].sensitivity if el in responses else 0.0 for el in measured.channels])
    like = looks_like(net, row, sensitivity)
    advice = "check its mask and composition"
    if like is not None:
        advice = f"its counts are those of {measured.names[like]}: check whether masks or compositions are swapped"
    return (
        f"Standard {name} does not fit: {worst} gives {check.counts:.1f} counts where {check.fitted_counts:.1f} are "
        f"expected ({float(misfit[measured.channels.index(worst)]):+.0f} sd); it was left out; {advice}"
    )


def _pair_note(measured: Measured, net: Net, first: int, second: int, column: int) -> str:
    one, other = float(net.per_wt[first, column]), float(net.per_wt[second, column])
    return (
        f"Standards {measured.names[first]} and {measured.names[second]} disagree in {measured.channels[column]} by "
        f"{100 * abs(one - other) / max(abs(one + other) / 2, 1e-9):.0f} %: one of them is wrong, check mask and "
        "composition of both"
    )


def interpolate_missing(
    responses: Mapping[str, ChannelResponse], channels: Sequence[str], bases: Mapping[str, ChannelResponse]
) -> dict[str, ChannelResponse]:
    """Add elements without a standard: logarithm of the sensitivity, linear in atomic number between neighbours.

    Their relative sd is 0.3, because a neighbour may have been measured with another crystal.
    """
    known = sorted(responses, key=ATOMIC_NUMBER.__getitem__)
    numbers = [ATOMIC_NUMBER[name] for name in known]
    logs = [np.log(responses[name].sensitivity) for name in known]
    result = {}
    for name in channels:
        value = float(np.exp(np.interp(ATOMIC_NUMBER[name], numbers, logs)))
        missing = replace(bases[name], sensitivity=value, relative_sd=_INTERPOLATED_SD, source="interpolated")
        result[name] = responses.get(name, missing)
    return result


__all__ = ["MAJOR_WT_PCT", "SUSPECT_SD", "fit_standards", "interpolate_missing"]
