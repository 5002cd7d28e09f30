"""Posterior of the phases with the neighbours' say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meteoseg.minerals.likelihood import Floats, Ints

#: Pixels this far away have a say.
REACH_PX = 1


@dataclass(frozen=True)
class Pairs:
    """Pixels with their likely phases: M pairs, those of a pixel in the order of the phases.

    Nearly every pixel has one to three, so that work on pairs is a fraction of the work on all phases.
    pixel : (M,) flat index. phase : (M,). log_ratio : (M,) float32, log-likelihood less that of the pixel's best phase.
    """

    pixel: Ints
    phase: Ints
    log_ratio: Floats

    def only(self, which: Ints) -> Pairs:
        """Return some of them."""
        return Pairs(self.pixel.take(which), self.phase.take(which), self.log_ratio.take(which))

    def renumbered(self, pixels: Ints) -> Pairs:
        """Return those with pixel i called pixels[i]."""
        return Pairs(pixels.take(self.pixel), self.phase, self.log_ratio)

    def joined(self, other: Pairs) -> Pairs:
        """Return these and those of other pixels."""
        return Pairs(
            np.concatenate([self.pixel, other.pixel]),
            np.concatenate([self.phase, other.phase]),
            np.concatenate([self.log_ratio, other.log_ratio]),
        )


def smooth_posterior(pairs: Pairs, shape: tuple[int, int], *, coupling: float) -> Floats:
    """Posterior of each pair after one exchange with the eight neighbours (mean-field Potts).

    Parameters
    ----------
    pairs : of the pixels of a grid of `shape`; a phase without a pair is impossible.
    coupling : added log-probability per neighbour of the same phase; 0 leaves pixels independent. Pixels with
        clear data keep their phase, so edges stay.

    Returns
    -------
    (M,) float32, sums to 1 over the pairs of a pixel.
    """
    pixels = shape[0] * shape[1]
    posterior = _normalised(np.exp(pairs.log_ratio), pairs.pixel, pixels)
    if coupling == 0:
        return posterior
    logits = _sum_of_neighbours(posterior, pairs, shape)
    logits *= np.float32(coupling)
    logits += pairs.log_ratio
    logits -= highest(logits, pairs.pixel, pixels).take(pairs.pixel)
    return _normalised(np.exp(logits, out=logits), pairs.pixel, pixels)


def highest(values: Floats, pixel: Ints, pixels: int) -> Floats:
    """Highest of the `values` (M,) of each pixel (N,)."""
    result = np.full(pixels, -np.inf, np.float32)
    np.maximum.at(result, pixel, values)
    return result


def _normalised(shares: Floats, pixel: Ints, pixels: int) -> Floats:
    """Divide by the sum over the pairs of a pixel, in place."""
    total = np.zeros(pixels, np.float32)
    np.add.at(total, pixel, shares)
    shares /= total.take(pixel)
    return shares


def _sum_of_neighbours(posterior: Floats, pairs: Pairs, shape: tuple[int, int]) -> Floats:
    """Sum of the posterior of the same phase over the eight neighbours of each pair; beyond the edge is nothing."""
    rows, width = shape[0] + 2, shape[1] + 2
    padded = np.zeros((int(pairs.phase.max()) + 1) * rows * width, np.float32)
    corner = np.add.outer(np.arange(shape[0]) * width, np.arange(shape[1])).ravel()
    place = pairs.phase * (rows * width) + corner.take(pairs.pixel)
    padded[place + (width + 1)] = posterior
    total = np.zeros_like(posterior)
    for offset in (0, 1, 2, width, width + 2, 2 * width, 2 * width + 1, 2 * width + 2):
        total += padded[offset:].take(place)
    return total
