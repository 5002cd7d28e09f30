"""Likelihood of a pixel's values under every template, by matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.alpha import ELEMENTS, Array
from meteoseg.minerals.templates import Templates

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Spread of the mixing fraction about the sampled one.
_FRACTION_SD = 0.08
_CHUNK_PX = 4096


class Response(Protocol):
    """What turns compositions into map values: a `calibration.Calibration` or `quantified.QuantifiedResponse`."""

    def net_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Values above background (T, C)."""

    def background_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Background (T, C)."""

    def recorded(self, true_counts: Array, channels: tuple[str, ...]) -> tuple[Array, Array]:
        """Mean and variance of the stored values (T, C)."""

    def relative_sds(self, channels: tuple[str, ...]) -> Array:
        """Relative uncertainty of the scale of each channel (C,)."""

    def systematic_sds(self, true_counts: Array, channels: tuple[str, ...]) -> Array:
        """Uncertainty of the mean stored values (T, C) from background and dead time."""


@dataclass(frozen=True)
class Moments:
    """Expected values of all templates and mixtures, sorted by phase.

    mean, variance : (R, C); phase_of : (R,) index into the phases, ascending; log_prior : (R,); pure : (R,) bool,
    False for mixtures.
    """

    mean: Array
    variance: Array
    net: Array
    phase_of: Ints
    log_prior: Array
    pure: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> Moments:
        """Rows where `kept` (R,) is True."""
        return Moments(
            self.mean[kept], self.variance[kept], self.net[kept],
            self.phase_of[kept], self.log_prior[kept], self.pure[kept],
        )  # fmt: skip


def template_moments(
    templates: Templates, response: Response, channels: tuple[str, ...], *, stray_wt_pct: float
) -> Moments:
    """Mean and variance of the stored values of every template and mixture.

    The variance adds to counting noise the spread of the composition (`rel_sd`, `minor_sd_wt_pct`), the
    uncertainty of sensitivities, background and dead time, and `stray_wt_pct` of every element from beyond the grain.
    """
    compositions = templates.compositions_wt_pct
    net = response.net_counts(compositions, channels)
    true = net + response.background_counts(compositions, channels)
    columns = [ELEMENTS.index(name) for name in channels]
    per_wt = response.net_counts(np.eye(len(ELEMENTS))[columns] * 1.0, channels).diagonal()
    relative = templates.rel_sd[:, None] ** 2 + response.relative_sds(channels) ** 2
    minor = templates.minor_sd_wt_pct[:, columns] ** 2 + stray_wt_pct**2
    spread = net**2 * relative + minor * per_wt**2 + response.systematic_sds(true, channels) ** 2

    first, second = templates.mixtures.T
    part = templates.fractions[:, None]
    mixed_true = part * true[first] + (1 - part) * true[second]
    mixed_spread = part**2 * spread[first] + (1 - part) ** 2 * spread[second]
    mixed_spread += (_FRACTION_SD * (true[first] - true[second])) ** 2
    mixed_net = part * net[first] + (1 - part) * net[second]
    winner = np.where(templates.fractions > 0.5, first, second)

    mean, variance = response.recorded(np.vstack([true, mixed_true]), channels)
    variance = variance + np.vstack([spread, mixed_spread])
    phase_of = np.concatenate([templates.phase_of, templates.phase_of[winner]])
    log_prior = np.concatenate([templates.log_prior, templates.log_prior[winner] + templates.mixture_log_prior])
    pure = np.arange(len(phase_of)) < len(templates.phase_of)
    order = np.argsort(phase_of, kind="stable")
    return Moments(
        mean[order], variance[order], np.vstack([net, mixed_net])[order], phase_of[order], log_prior[order], pure[order]
    )


@dataclass(frozen=True)
class Scores:
    """log_likelihood : (K, N) float32, best template of each phase; best : (N,) the best template of all."""

    log_likelihood: Floats
    best: Ints


def score(values: Floats, moments: Moments) -> Scores:
    """Log-likelihood (plus log prior) of each pixel under the best template of each phase.

    Parameters
    ----------
    values : (C, N) stored values; NaN counts as 0.
    """
    weights = row_weights(moments)
    groups = groups_of(moments.phase_of)
    pixels = values.shape[1]
    result = np.empty((len(groups), pixels), np.float32)
    best = np.empty(pixels, np.int64)
    for start in range(0, pixels, _CHUNK_PX):
        part = slice(start, min(start + _CHUNK_PX, pixels))
        table = weights @ expand(values[:, part])
        for row, (_, group) in enumerate(groups):
            table[group].max(axis=0, out=result[row, part])
        best[part] = first_highest(table, result[:, part].max(axis=0))
    return Scores(result, best)


def first_highest(table: Floats, top: Floats | None = None) -> Ints:
    """Row of the highest entry of each column, the first of equals: like argmax(axis=0), but vectorised.

    Parameters
    ----------
    table : (R, N).
    top : (N,) the highest entries, where they are known already.

    Examples
    --------
    >>> first_highest(np.array([[1, 5, 2], [3, 0, 2]], np.float32)).tolist()
    [1, 0, 0]
    """
    rows = len(table)
    hits: NDArray[Any] = (table == (np.maximum.reduce(table, axis=0) if top is None else top)).view(np.uint8)
    if rows > np.iinfo(np.uint8).max:
        hits = hits.astype(np.uint16)
    hits *= np.arange(rows, 0, -1, dtype=hits.dtype)[:, None]
    return np.asarray(rows - np.maximum.reduce(hits, axis=0).astype(np.int64))


def groups_of(phase_of: Ints) -> list[tuple[int, slice]]:
    """Return each phase of an ascending array with the slice of its rows.

    Examples
    --------
    >>> groups_of(np.array([0, 0, 2]))
    [(0, slice(0, 2, None)), (2, slice(2, 3, None))]
    """
    starts = [int(start) for start in np.flatnonzero(np.diff(phase_of, prepend=-1))]
    return [(int(phase_of[start]), slice(start, stop)) for start, stop in pairwise([*starts, len(phase_of)])]


def expand(values: Floats) -> Floats:
    """Stack x^2, x and 1 of pixels (C, N) to (2C + 1, N); NaN counts as 0."""
    channels = len(values)
    features = np.empty((2 * channels + 1, values.shape[1]), np.float32)
    plain = features[channels : 2 * channels]
    plain[...] = values
    if np.isnan(plain.max(initial=0)):
        np.nan_to_num(plain, copy=False)
    np.square(plain, out=features[:channels])
    features[-1] = 1
    return features


def row_constants(moments: Moments) -> Floats:
    """Log-likelihood, with the prior, of a pixel that lies on the mean of a row (R,)."""
    return np.asarray(moments.log_prior - 0.5 * np.log(moments.variance).sum(axis=1), np.float32)


def row_weights(moments: Moments) -> Floats:
    """Expand -(x - m)^2 / 2v into x^2, x and 1: a matrix (R, 2C + 1), for `expand`."""
    precision = 1 / moments.variance
    constant = -0.5 * (precision * moments.mean**2 + np.log(moments.variance)).sum(axis=1) + moments.log_prior
    return np.concatenate([-0.5 * precision, precision * moments.mean, constant[:, None]], axis=1, dtype=np.float32)


def misfit(values: Floats, moments: Moments, best: Ints) -> Floats:
    """Squared residual over variance, averaged over channels, of each pixel's best template (N,)."""
    result = np.zeros(values.shape[1], np.float32)
    for channel, plane in enumerate(values):
        mean = moments.mean[:, channel].astype(np.float32)[best]
        variance = moments.variance[:, channel].astype(np.float32)[best]
        result += (np.nan_to_num(plane) - mean) ** 2 / variance
    return np.asarray(result / len(values), np.float32)


def softmax(logits: Floats) -> Floats:
    """Normalised exponentials over the first axis; -inf gives 0."""
    result: Floats = np.subtract(logits, logits.max(axis=0))
    np.exp(result, out=result)
    result /= result.sum(axis=0)
    return result


__all__ = ["Moments", "Response", "Scores", "misfit", "score", "softmax", "template_moments"]
