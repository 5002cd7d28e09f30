"""Posterior of the phases with the neighbours' say."""

from __future__ import annotations

import numpy as np

from meteoseg.minerals.likelihood import Floats, softmax

#: Pixels this far away have a say.
REACH_PX = 1


def smooth_posterior(log_likelihood: Floats, *, coupling: float) -> Floats:
    """Posterior of each phase after one exchange with the eight neighbours (mean-field Potts).

    Parameters
    ----------
    log_likelihood : (K, H, W); -inf where a phase is impossible.
    coupling : added log-probability per neighbour of the same phase; 0 leaves pixels independent. Pixels with
        clear data keep their phase, so edges stay.

    Returns
    -------
    (K, H, W) float32, sums to 1 over K.
    """
    posterior = softmax(log_likelihood)
    if coupling == 0:
        return posterior
    neighbours = _sum_of_neighbours(posterior)
    neighbours *= np.float32(coupling)
    neighbours += log_likelihood
    return softmax(neighbours)


def _sum_of_neighbours(planes: Floats) -> Floats:
    """Sum over the eight neighbours of each pixel (K, H, W); beyond the edge is nothing."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    rows = padded[:, :-2] + padded[:, 1:-1]
    rows += padded[:, 2:]
    total: Floats = rows[:, :, :-2] + rows[:, :, 1:-1]
    total += rows[:, :, 2:]
    total -= planes
    return total
