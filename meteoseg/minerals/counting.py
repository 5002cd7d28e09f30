"""What lies between stored values and the counts that entered the detector: dead time, lost ones, noise."""

from __future__ import annotations

import numpy as np

from meteoseg.minerals.alpha import Array
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.likelihood import Response
from meteoseg.minerals.measured import uncensored_mean

#: A counter never loses more than this part of its time.
_MOST_DEAD = 0.9
#: Above this mean the loss of ones is no longer felt (1e-4 counts).
_CENSORED_BELOW = 12.0


def true_values(response: Response, stored: Array, names: tuple[str, ...]) -> Array:
    """Undo the dead time of stored values (C, N): m / (1 - m tau); weight percent stay as they are."""
    if not isinstance(response, Calibration):
        return stored
    tau = np.array([response.channels[name].dead_time for name in names])[:, None]
    return np.asarray(stored / np.maximum(1 - stored * tau, 1 - _MOST_DEAD))


def true_means(response: Response, means: Array, names: tuple[str, ...]) -> Array:
    """Undo the loss of ones in means over many pixels (C, N), where files store a count of 1 as 0."""
    if not isinstance(response, Calibration):
        return means
    result = means.copy()
    for row, name in enumerate(names):
        low = means[row] < _CENSORED_BELOW
        if response.channels[name].ones_missing and low.any():
            result[row, low] = uncensored_mean(means[row, low])
    return result


def noise_variances(response: Response, means: Array, names: tuple[str, ...], *, least: float = 1.0) -> Array:
    """Variance of one pixel about means (C, N) of `true_values`.

    Counts are Poisson; undoing a dead time tau makes their noise wider by 1 + n tau. A pixel's own count stands for
    its mean, but never less than `least`. Weight percent have the noise that was measured in the maps.
    """
    if not isinstance(response, Calibration):
        _, variance = response.recorded(np.maximum(means, 0).T, names)
        return np.asarray(variance.T)
    tau = np.array([response.channels[name].dead_time for name in names])[:, None]
    return np.asarray(np.maximum(means, least) * (1 + np.maximum(means, 0) * tau))
