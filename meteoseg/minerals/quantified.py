"""Maps that are already weight percent: no calibration, only an error model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.alpha import ELEMENTS, Array

_RELATIVE_SD = 0.04
_LEAST_NOISE_WT_PCT = 0.2


@dataclass(frozen=True)
class QuantifiedResponse:
    """Values are element wt%; `noise_wt_pct` is the sd of a pixel of each channel at low values.

    `relative_sd` covers errors of quantification, typically 3-5 % (Newbury & Ritchie, 2015; FROM MEMORY).
    """

    noise_wt_pct: dict[str, float]
    relative_sd: float = _RELATIVE_SD

    def net_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Weight percent (T, C) of compositions (T, E)."""
        return compositions_wt_pct[:, [ELEMENTS.index(name) for name in channels]]

    def background_counts(self, compositions_wt_pct: Array, channels: tuple[str, ...]) -> Array:
        """Zero: background is taken off in quantification."""
        return np.zeros((len(compositions_wt_pct), len(channels)))

    def recorded(self, true_counts: Array, channels: tuple[str, ...]) -> tuple[Array, Array]:
        """Mean and variance; the variance grows with concentration as counting statistics do."""
        noise = np.array([self.noise_wt_pct[name] for name in channels])
        return true_counts, noise**2 * (1 + true_counts / 5)

    def relative_sds(self, channels: tuple[str, ...]) -> Array:
        """Relative error of quantification (C,)."""
        return np.full(len(channels), self.relative_sd)


def estimate_noise(values: NDArray[np.float32], channels: tuple[str, ...]) -> QuantifiedResponse:
    """Measure the pixel noise of quantified maps from differences of adjacent pixels.

    Parameters
    ----------
    values : (C, H, W) wt%; the pixels in the lower half of each channel are used.
    """
    noise = {}
    for name, plane in zip(channels, values, strict=True):
        pairs = plane[:, 1:], plane[:, :-1]
        low = (pairs[0] + pairs[1]) / 2 <= np.nanmedian(plane)
        differences = np.abs(pairs[0] - pairs[1])[low & np.isfinite(pairs[0]) & np.isfinite(pairs[1])]
        sd = 1.4826 * float(np.median(differences)) / np.sqrt(2) if differences.size else 0.0
        noise[name] = max(sd, _LEAST_NOISE_WT_PCT)
    return QuantifiedResponse(noise)
