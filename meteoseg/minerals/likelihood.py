"""Likelihood of a pixel's values under every template, by matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.alpha import ELEMENTS, Array
from meteoseg.minerals.templates import Templates

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Spread of the mixing fraction about the sampled one.
_FRACTION_SD = 0.08
_CHUNK_PX = 4096
#: A phase that no pixel of a band holds with this probability is left out of the smoothing, for speed. It could
#: not win: the likeliest of K < 100 phases has more, and neighbours add next to nothing to it.
_LEAST_POSTERIOR = 0.01


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
    uncertainty of the sensitivities, and `stray_wt_pct` of every element from beyond the grain.
    """
    compositions = templates.compositions_wt_pct
    net = response.net_counts(compositions, channels)
    true = net + response.background_counts(compositions, channels)
    columns = [ELEMENTS.index(name) for name in channels]
    per_wt = response.net_counts(np.eye(len(ELEMENTS))[columns] * 1.0, channels).diagonal()
    relative = templates.rel_sd[:, None] ** 2 + response.relative_sds(channels) ** 2
    minor = templates.minor_sd_wt_pct[:, columns] ** 2 + stray_wt_pct**2
    spread = net**2 * relative + minor * per_wt**2

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
    weights = _weights(moments)
    starts = np.flatnonzero(np.diff(moments.phase_of, prepend=-1))
    groups = [slice(*ends) for ends in zip(starts, [*starts[1:], len(weights)], strict=True)]
    pixels = values.shape[1]
    result = np.empty((len(groups), pixels), np.float32)
    best = np.empty(pixels, np.int64)
    for start in range(0, pixels, _CHUNK_PX):
        part = slice(start, min(start + _CHUNK_PX, pixels))
        chunk = np.nan_to_num(values[:, part])
        table = weights @ np.concatenate([chunk * chunk, chunk, np.ones_like(chunk[:1])])
        for row, group in enumerate(groups):
            table[group].max(axis=0, out=result[row, part])
        best[part] = _best_template(table, groups, result[:, part].argmax(axis=0))
    return Scores(result, best)


def _best_template(table: Floats, groups: Sequence[slice], phase: Ints) -> Ints:
    """Row of the highest entry of each column, looked for in the group `phase` of the column only (fast)."""
    best = np.empty(len(phase), np.int64)
    for row in np.unique(phase):
        columns = np.flatnonzero(phase == row)
        best[columns] = groups[row].start + table[groups[row]][:, columns].argmax(axis=0)
    return best


def _weights(moments: Moments) -> Floats:
    """Expand -(x - m)^2 / 2v into x^2, x and 1: a matrix (R, 2C + 1)."""
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


def smooth_posterior(log_likelihood: Floats, *, coupling: float) -> Floats:
    """Posterior of each phase after one exchange with the eight neighbours (mean-field Potts).

    Parameters
    ----------
    log_likelihood : (K, H, W).
    coupling : added log-probability per neighbour of the same phase; 0 leaves pixels independent. Pixels with
        clear data keep their phase, so edges stay.

    Returns
    -------
    (K, H, W) float32, sums to 1 over K.
    """
    posterior = softmax(log_likelihood)
    if coupling == 0:
        return posterior
    likely = posterior.max(axis=(1, 2)) > _LEAST_POSTERIOR
    padded = np.pad(posterior[likely], ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    neighbours = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    neighbours -= posterior[likely]
    neighbours *= np.float32(coupling)
    neighbours += log_likelihood[likely]
    posterior[~likely] = 0
    posterior[likely] = softmax(neighbours)
    return posterior


def softmax(logits: Floats) -> Floats:
    """Normalised exponentials over the first axis."""
    result: Floats = np.subtract(logits, logits.max(axis=0))
    np.exp(result, out=result)
    result /= result.sum(axis=0)
    return result


__all__: list[str] = ["Moments", "Response", "Scores", "misfit", "score", "smooth_posterior", "template_moments"]
