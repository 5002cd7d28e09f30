"""Posterior of the phases with the neighbours' say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meteoseg.minerals.likelihood import Floats, Ints

#: Pixels this far away have a say.
REACH_PX = 1


@dataclass(frozen=True)
class Rivals:
    """Phases of the pixels that more than one phase explains: M pairs of a pixel and a phase, those of a pixel ascending.

    All other pixels have one phase of probability 1, whatever their neighbours say.
    pixel : (M,) flat index. phase : (M,). log_ratio : (M,) float32, log-likelihood less that of the pixel's best phase.
    """

    pixel: Ints
    phase: Ints
    log_ratio: Floats

    def moved_to(self, pixels: Ints) -> Rivals:
        """Return those with pixel i called pixels[i]."""
        return Rivals(pixels[self.pixel], self.phase, self.log_ratio)

    @classmethod
    def joined(cls, parts: Sequence[Rivals]) -> Rivals:
        """Put those of different pixels together."""
        return cls(
            np.concatenate([part.pixel for part in parts]),
            np.concatenate([part.phase for part in parts]),
            np.concatenate([part.log_ratio for part in parts]),
        )


def smooth_posterior(rivals: Rivals, best: Ints, *, coupling: float) -> Floats:
    """Posterior of rivals (M,) float32 after one exchange with the eight neighbours (mean-field Potts).

    Parameters
    ----------
    best : (H, W) likeliest phase of each pixel.
    coupling : added log-probability per neighbour of the same phase; 0 leaves pixels independent. Pixels with
        clear data keep their phase, so edges stay.
    """
    posterior = _softmax(rivals.log_ratio, rivals.pixel, best.size)
    if coupling == 0:
        return posterior
    logits = _sum_of_neighbours(posterior, rivals, best)
    logits *= np.float32(coupling)
    logits += rivals.log_ratio
    return _softmax(logits, rivals.pixel, best.size)


def highest(values: Floats, pixel: Ints, pixels: int) -> Floats:
    """Highest of the `values` (M,) of each pixel (N,); -inf where there are none."""
    result = np.full(pixels, -np.inf, np.float32)
    np.maximum.at(result, pixel, values)
    return result


def _softmax(logits: Floats, pixel: Ints, pixels: int) -> Floats:
    """Normalised exponentials over those of the same pixel."""
    result: Floats = logits - highest(logits, pixel, pixels).take(pixel)
    np.exp(result, out=result)
    total = np.zeros(pixels, np.float32)
    np.add.at(total, pixel, result)
    result /= total.take(pixel)
    return result


def _sum_of_neighbours(posterior: Floats, rivals: Rivals, best: Ints) -> Floats:
    """Sum of the posterior of each rival's phase over the eight neighbours of its pixel; beyond the edge is nothing."""
    rows, cols = best.shape
    width = cols + 2
    planes = np.zeros((int(max(best.max(), rivals.phase.max(initial=0))) + 1, rows + 2, width), np.float32)
    flat = planes.reshape(-1)
    corner = np.arange(rows)[:, None] * width + np.arange(cols)  # of the 3 x 3 pixels
    decided = np.ones(best.size, bool)
    decided[rivals.pixel] = False
    plane = (rows + 2) * width
    sure = np.flatnonzero(decided)
    flat[best.take(sure) * plane + corner.take(sure) + width + 1] = 1
    place = rivals.phase * plane + corner.take(rivals.pixel)
    flat[place + (width + 1)] = posterior
    total = np.zeros_like(posterior)
    for offset in (0, 1, 2, width, width + 2, 2 * width, 2 * width + 1, 2 * width + 2):
        total += flat[offset:].take(place)
    return total
