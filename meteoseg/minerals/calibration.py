"""From compositions to expected counts: sensitivity, background, dead time and censoring of each element map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.minerals.alpha import (
    ELEMENTS,
    Array,
    composition_vector,
    matrix_factors,
    mean_atomic_numbers,
)

FEWEST_CHANNELS = 3
_FORMAT = "meteoseg-calibration-1"
_FEWEST_TWOS = 20
_K_FACTOR_KEYS = ("k_factors", "counts_per_wt_pct")


@dataclass(frozen=True)
class ChannelResponse:
    """How the map of one element answers to a composition.

    Attributes
    ----------
    sensitivity : counts per wt% of the element, after division by the matrix factor F (`alpha.matrix_factors`).
    background, background_per_z : counts = background + background_per_z * mean atomic number (never below 0.02).
    dead_time : share of time lost per count (detector dead time / dwell time), non-paralysable counter.
    ones_missing : the file stores a count of 1 as 0.
    relative_sd : of the sensitivity, one standard deviation.
    source : where the sensitivity comes from.
    background_sd : sd (counts) of the background of one material about that line.
    background_per_z_sd, dead_time_sd : standard errors; 0 where nobody measured them.
    """

    sensitivity: float
    background: float = 0.0
    background_per_z: float = 0.0
    dead_time: float = 0.0
    ones_missing: bool = False
    relative_sd: float = 0.1
    source: str = "given"
    background_sd: float = 0.0
    background_per_z_sd: float = 0.0
    dead_time_sd: float = 0.0


@dataclass(frozen=True)
class StandardCheck:
    """One standard and element against the fitted calibration.

    wt_pct : 0 where the counts are background; counts, counts_sd : stored mean per pixel and its standard error;
    fitted_counts : of the calibration; residual_sd : misfit in standard deviations; mean_z : of the standard.
    """

    standard: str
    element: str
    wt_pct: float
    counts: float
    fitted_counts: float
    residual_sd: float
    counts_sd: float = 0.0
    mean_z: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """Response of every calibrated element, with the checks and remarks of the fit.

    `kind` is ``standards``, ``self-calibrated`` or ``given`` (a hand-written file); `suspects` names the standards
    that contradict the others and were left out.

    Examples
    --------
    >>> calibration = Calibration({"Fe": ChannelResponse(3.3, background_per_z=0.05)})
    >>> round(calibration.predict_counts({"Fe": 100.0})["Fe"], 1)
    331.3
    """

    channels: Mapping[str, ChannelResponse]
    kind: str = "given"
    checks: tuple[StandardCheck, ...] = ()
    notes: tuple[str, ...] = field(default=())
    suspects: tuple[str, ...] = ()

    def usable(self, channel_names: Sequence[str]) -> tuple[str, ...]:
        """Return the elements of `channel_names` that are calibrated.

        Raises
        ------
        ChannelError : fewer than three are; both lists are named.
        """
        names = tuple(name for name in channel_names if name in self.channels)
        if len(names) < FEWEST_CHANNELS:
            raise ChannelError(
                f"The calibration covers {', '.join(self.channels)} and the section has {', '.join(channel_names)}: "
                f"at least {FEWEST_CHANNELS} elements must be in both. Use standards mapped with the same elements."
            )
        return names

    def with_gains(self, gains: Mapping[str, tuple[float, float]]) -> Calibration:
        """Multiply sensitivities by gains, given as (gain, relative sd); elements left out keep theirs."""
        channels = dict(self.channels)
        for name, (gain, relative_sd) in gains.items():
            old = channels[name]
            channels[name] = replace(old, sensitivity=old.sensitivity * gain, relative_sd=relative_sd)
        return replace(self, channels=channels)

    def net_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Counts above background (T, C), before dead time, of compositions (T, E) in the order of ELEMENTS."""
        columns = [ELEMENTS.index(name) for name in channels]
        sensitivity = np.array([self.channels[name].sensitivity for name in channels])
        factors = matrix_factors(compositions_wt_pct, channels)
        return np.asarray(compositions_wt_pct[:, columns] * factors * sensitivity)

    def background_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Background counts (T, C) of compositions (T, E)."""
        mean_z = mean_atomic_numbers(compositions_wt_pct)[:, None]
        intercept = np.array([self.channels[name].background for name in channels])
        slope = np.array([self.channels[name].background_per_z for name in channels])
        return np.maximum(intercept + slope * mean_z, 0.02)

    def relative_sds(self, channels: tuple[str, ...]) -> Array:
        """Relative sd of the sensitivities (C,)."""
        return np.array([self.channels[name].relative_sd for name in channels])

    def systematic_sds(self, true_counts: Array, channels: tuple[str, ...]) -> Array:
        """Sd (T, C) of the mean stored counts that background and dead time leave, for true mean counts (T, C)."""
        background = np.array([self.channels[name].background_sd for name in channels])
        dead_time_sd = np.array([self.channels[name].dead_time_sd for name in channels])
        dead_time = np.array([self.channels[name].dead_time for name in channels])
        return np.asarray(np.hypot(background, dead_time_sd * (true_counts / (1 + true_counts * dead_time)) ** 2))

    def recorded(self, true_counts: Array, channels: tuple[str, ...]) -> tuple[Array, Array]:
        """Mean and variance of the stored counts (T, C) for true mean counts (T, C).

        A non-paralysable counter records n / (1 + n tau) with variance / mean = (1 - recorded tau)^2; where
        counts of 1 are stored as 0, mean and variance are those of the censored Poisson variable.
        """
        dead_time = np.array([self.channels[name].dead_time for name in channels])
        ones_missing = np.array([self.channels[name].ones_missing for name in channels])
        mean = true_counts / (1 + true_counts * dead_time)
        variance = mean * (1 - mean * dead_time) ** 2
        lost = np.where(ones_missing, mean * np.exp(-mean), 0.0)
        censored_mean = mean - lost
        censored_variance = variance + mean**2 - lost - censored_mean**2
        return censored_mean, np.maximum(np.where(lost > 0, censored_variance, variance), 1e-3)

    def predict_counts(self, composition_wt_pct: Mapping[str, float]) -> dict[str, float]:
        """Mean stored counts of every calibrated element on a composition in element wt%.

        Raises
        ------
        UnknownNameError : a symbol is not an element.
        """
        names = tuple(self.channels)
        composition = composition_vector(dict(composition_wt_pct))[None]
        true = self.net_counts(composition, names) + self.background_counts(composition, names)
        mean, _ = self.recorded(true, names)
        return {name: float(value) for name, value in zip(names, mean[0], strict=True)}

    def to_json(self, path: Path) -> None:
        """Write the calibration; `from_json` reads it back."""
        data = {"format": _FORMAT, **asdict(self)}
        path.write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path) -> Calibration:
        """Read a calibration written by `to_json` or by hand.

        By hand, ``{"channels": {"Fe": {"sensitivity": 3.3}, ...}}`` is enough; the other keys of
        `ChannelResponse` are optional. Or give k-factors: ``{"k_factors": {"Si": 1.0, "Fe": 1.8, ...},
        "counts_per_wt_pct": 15.9}``, where wt% is proportional to k times the counts (matrix-corrected) and
        ``counts_per_wt_pct`` is the sensitivity of an element whose k is 1.

        Raises
        ------
        InputError : the file is missing, no JSON, or has unknown keys or impossible values.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"Calibration file {path} does not exist.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"Calibration file {path} is not valid JSON: {error}.") from error
        given = _channels_of(path, data)
        unknown = sorted(set(data) - {entry.name for entry in fields(cls)} - {"format", *_K_FACTOR_KEYS})
        if unknown:
            raise InputError(
                f"Calibration file {path} has the unknown key '{unknown[0]}': use channels, or k_factors and "
                "counts_per_wt_pct."
            )
        channels = {name: _response(path, name, values) for name, values in given.items()}
        try:
            checks = tuple(StandardCheck(**check) for check in data.get("checks", ()))
        except TypeError as error:
            raise InputError(f"Calibration file {path} has an unknown or missing key: {error}.") from error
        notes, suspects = (tuple(map(str, data.get(key, ()))) for key in ("notes", "suspects"))
        return cls(channels, str(data.get("kind", "given")), checks, notes, suspects)


def _channels_of(path: Path, data: Any) -> dict[str, Any]:
    """Return the keys of `ChannelResponse` by element, made from k-factors where those are given."""
    is_table = isinstance(data, dict)
    if is_table and "k_factors" in data and "channels" not in data:
        factors, scale = data["k_factors"], data.get("counts_per_wt_pct")
        if not isinstance(factors, dict) or not factors or not all(map(_is_positive, [scale, *factors.values()])):
            raise InputError(
                f'Calibration file {path} needs {{"k_factors": {{"Si": 1.0, "Fe": 1.8, ...}}, "counts_per_wt_pct": '
                "15.9}, all above 0."
            )
        return {name: {"sensitivity": scale / factor, "source": "k-factor"} for name, factor in factors.items()}
    if not is_table or not isinstance(data.get("channels"), dict) or not data["channels"]:
        raise InputError(f'Calibration file {path} needs {{"channels": {{"Fe": {{"sensitivity": 3.3}}, ...}}}}.')
    return dict(data["channels"])


def _response(path: Path, name: str, values: Any) -> ChannelResponse:
    """Check one channel of a calibration file."""
    if name not in ELEMENTS:
        raise InputError(f"Calibration file {path} names '{name}', which is no element symbol: write it like 'Fe'.")
    known = {entry.name: entry.type for entry in fields(ChannelResponse)}
    if not isinstance(values, dict):
        raise InputError(f'Calibration file {path}: {name} is {values!r}, write {{"sensitivity": {values!r}}}.')
    unknown = sorted(set(values) - set(known))
    if unknown or "sensitivity" not in values:
        what = f"the unknown key '{unknown[0]}'" if unknown else "no 'sensitivity'"
        raise InputError(
            f"Calibration file {path}: {name} has an unknown or missing key ({what}). Use {', '.join(known)}."
        )
    for key, value in values.items():
        _check_value(path, f"{key} of {name}", value, known[key])
    return ChannelResponse(**values)


def _check_value(path: Path, what: str, value: Any, type_name: Any) -> None:
    """Check a value of `ChannelResponse`; `type_name` is its annotation."""
    key = what.split()[0]
    if type_name in ("bool", "str"):
        fits, allowed = isinstance(value, bool if type_name == "bool" else str), f"a {type_name}"
    elif key in ("sensitivity", "relative_sd"):
        fits, allowed = _is_positive(value), "above 0"
    else:
        fits = _is_number(value) and (value >= 0 or key.startswith("background"))
        allowed = "a number" if key.startswith("background") else "0 or more"
    if not fits:
        raise InputError(f"Calibration file {path}: {what} is {value!r}, not {allowed}: correct it.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def ones_are_missing(plane: NDArray[Any]) -> bool:
    """Tell whether an integer count map holds 0 and 2 but never 1 (a 1 was stored as 0)."""
    return bool(np.any(plane == 0) and np.count_nonzero(plane == 2) >= _FEWEST_TWOS and not np.any(plane == 1))
