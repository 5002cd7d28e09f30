"""Maps that are already weight percent: no calibration, only an error model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.minerals.alpha import ELEMENTS, Array

_RELATIVE_SD = 0.04
_LEAST_NOISE_WT_PCT = 0.2
# Point analyses are measured longer than pixels: some 1 % in accuracy, 2 % for totals of 97 to 101.5.
_POINT_RELATIVE_SD = 0.03
# Oxygen of point analyses is computed, mostly with all iron as FeO: up to 7 wt% too low in magnetite.
_POINT_OXYGEN_SD_WT_PCT = 2.0
_FEWEST_PAIRS = 20
_LEAST_CORRELATION = 0.2
# Of few pairs, the best of a dozen correlations is some 3 sd from zero by chance.
_CHANCE_SD = 3.0
_LARGEST_FRACTION = 1.5


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

    def systematic_sds(self, true_counts: Array, channels: tuple[str, ...]) -> Array:
        """Zero: neither background nor dead time is left."""
        return np.zeros((len(true_counts), len(channels)))

    def relative_sds(self, channels: tuple[str, ...]) -> Array:
        """Relative error of quantification (C,)."""
        return np.full(len(channels), self.relative_sd)


def estimate_noise(values: NDArray[np.float32], channels: tuple[str, ...]) -> QuantifiedResponse:
    """Measure the pixel noise of quantified maps from differences of adjacent pixels.

    Only for maps: where neighbours are other grains, their differences say nothing (`neighbours_are_related`).

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


def point_noise(channels: tuple[str, ...]) -> QuantifiedResponse:
    """Return the error model of single analyses, whose neighbours in the map are other grains."""
    noise = {name: _POINT_OXYGEN_SD_WT_PCT if name == "O" else _LEAST_NOISE_WT_PCT for name in channels}
    return QuantifiedResponse(noise, _POINT_RELATIVE_SD)


def neighbours_are_related(values: NDArray[np.float32]) -> bool:
    """Tell a map from a table of point analyses that was laid out as one.

    In a map, adjacent pixels lie mostly in one grain, so that at least one element is alike in them, along rows and
    along columns. In a table of analyses of many grains neither holds (or only along the lines it was typed in).

    Parameters
    ----------
    values : (C, H, W) wt%; pixels that are empty in all channels are left out. A map of one row or column is judged
        along it; of fewer than 20 pairs nothing can be said: True.

    Examples
    --------
    >>> stripes = np.repeat(np.arange(64.0).reshape(8, 8), 6, axis=1).repeat(6, axis=0)
    >>> neighbours_are_related(stripes[None]), neighbours_are_related(np.random.default_rng(1).random((2, 48, 48)))
    (True, False)
    """
    planes = np.nan_to_num(values)
    mapped = np.any(planes > 0, axis=0)
    ranks = np.stack([_ranks(plane, mapped) for plane in planes])
    related = []
    for ahead, behind in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        both = mapped[ahead] & mapped[behind]
        n_pairs = int(np.count_nonzero(both))
        if n_pairs >= _FEWEST_PAIRS:
            alike = max(_correlation(rank[ahead][both], rank[behind][both]) for rank in ranks)
            related.append(alike > max(_LEAST_CORRELATION, _CHANCE_SD * n_pairs**-0.5))
    return all(related)


def _ranks(plane: NDArray[np.float32], mapped: NDArray[np.bool_]) -> Array:
    """Rank of each pixel (H, W) among the mapped ones: few bright pixels must not decide."""
    values, inverse, counts = np.unique(plane[mapped], return_inverse=True, return_counts=True)
    ranks = np.zeros(plane.shape)
    if values.size:
        ranks[mapped] = (np.cumsum(counts) - counts / 2)[inverse]
    return ranks


def _correlation(first: Array, second: Array) -> float:
    deviations = first - first.mean(), second - second.mean()
    power = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum()) / power if power > 0 else 0.0


def check_percent(values: NDArray[np.float32], name: str) -> None:
    """Check that the maps (C, H, W) of section `name` are percent.

    Raises
    ------
    InputError : no pixel adds up to more than 1.5, as fractions do.
    """
    totals = np.nan_to_num(values).sum(axis=0)
    most = float(np.percentile(totals, 99)) if totals.size else 0.0
    if 0 < most < _LARGEST_FRACTION:
        raise InputError(
            f"The wt% maps of '{name}' add up to about {most:.2g}: they look like fractions. Multiply them by 100."
        )
