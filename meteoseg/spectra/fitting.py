"""Counts of each element by a linear fit of line families and a local background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.spectra.axis import Array, EnergyAxis, fwhm_kev
from meteoseg.spectra.lines import Family
from meteoseg.spectra.peaks import background_hats, family_profile

#: The fit reaches this many FWHM beyond the outermost lines, for the background beside them.
_MARGIN_FWHM = 3.0
#: Below this energy (keV) the noise of the detector counts pulses of its own.
LOWEST_KEV = 0.17
_LARGEST_CONDITION = 1e8
# Least variance of a channel: of all counts, and of its neighbourhood where a peak is not in the model.
_FLOOR = 5e-7
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class LineFit:
    """A fit that is the same for every spectrum: one row of weights per family, so that maps are matrix products.

    Attributes
    ----------
    families : what is fitted, F of them.
    weights : (F, N), net counts of a family = its row times the spectrum.
    model : (F + B, N), profiles of the families and of the background; gains : (F + B, N), weights of all of them.
    """

    families: tuple[Family, ...]
    weights: Array
    model: Array
    gains: Array

    def counts(self, spectra: NDArray[Any]) -> Array:
        """Net counts (..., F) of spectra (..., N). Unbiased: the counts of an absent element scatter around 0."""
        return np.asarray(spectra @ self.weights.T)

    def variances(self, spectra: NDArray[Any]) -> Array:
        """Variance (..., F) of `counts`, by error propagation: channels are Poisson, so variance = counts."""
        return np.asarray(spectra @ (self.weights**2).T)

    def fitted(self, spectrum: Array) -> Array:
        """Contribution of every family and background piece (F + B, N) to one spectrum (N,)."""
        return np.asarray((self.gains @ spectrum)[:, None] * self.model)


def make_fit(
    families: Sequence[Family],
    axis: EnergyAxis,
    mean_spectrum: Array,
    *,
    at_mn_ka_ev: float,
    extra: Array | None = None,
    up_to_kev: float = 0.0,
) -> LineFit:
    """Arrange the weighted least-squares fit of `families` for spectra that resemble `mean_spectrum`.

    Each family keeps its relative intensities, so that Cr Kb under Mn Ka, or Mg Kb under Al Ka, is stripped by what
    Cr Ka and Mg Ka say. The weights are inverse variances of the mean spectrum, which are the best for a pixel of
    average composition and leave every other pixel unbiased.

    Parameters
    ----------
    families : lines to fit, wanted or in the way.
    mean_spectrum : (N,) counts, of one pixel or of many (their sum serves as well).
    extra : (X, N) further shapes to fit, such as sum peaks.
    up_to_kev : the fit reaches at least that far.

    Raises
    ------
    InputError : two families look the same at this resolution.
    """
    low, high = fit_range(families, axis, at_mn_ka_ev)
    high = max(high, min(up_to_kev, axis.end_kev))
    used = (axis.centres_kev >= low) & (axis.centres_kev <= high)
    profiles = [family_profile(family, axis, at_mn_ka_ev) for family in families]
    hats = background_hats(axis, low, high, at_mn_ka_ev)
    shapes = [*profiles, *([] if extra is None else extra), *hats[hats.sum(axis=1) > 0]]
    model = np.where(used, shapes, 0.0)
    rough = smoothed(mean_spectrum) + _FLOOR * max(float(mean_spectrum.sum()), 1.0)
    gains = _weighted_gains(model, rough, families)
    # Variances of the spectrum itself would favour channels that happened to be low: those of the fit do not.
    variance = np.maximum((gains @ mean_spectrum) @ model, _LEAST_SHARE * rough)
    gains = _weighted_gains(model, variance, families)
    return LineFit(tuple(families), gains[: len(families)], model, gains)


def _weighted_gains(model: Array, variance: Array, families: Sequence[Family]) -> Array:
    """Weights (F + B, N) of the least-squares fit of `model` for channels of these variances (N,).

    Raises
    ------
    InputError : two families look the same.
    """
    weighted = model / variance
    normal = weighted @ model.T
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-300))
    scaled = normal * scale[:, None] * scale
    if np.linalg.cond(scaled) > _LARGEST_CONDITION:
        raise InputError(
            f"The lines of {', '.join(family.name for family in families)} cannot be told apart at this resolution: "
            "name fewer with --elements."
        )
    return np.asarray((scale[:, None] * scale * np.linalg.inv(scaled)) @ weighted)


def fit_range(families: Sequence[Family], axis: EnergyAxis, at_mn_ka_ev: float) -> tuple[float, float]:
    """Energies (keV) between which the lines of `families`, and background beside them, lie."""
    energies = np.array([line.energy_kev for family in families for line in family.lines])
    ends = energies.min(), energies.max()
    margins = _MARGIN_FWHM * fwhm_kev(np.array(ends), at_mn_ka_ev)
    first = float(axis.centres_kev[0])
    return max(float(ends[0] - margins[0]), LOWEST_KEV, first), min(float(ends[1] + margins[1]), axis.end_kev)


def smoothed(spectrum: Array) -> Array:
    """Mean of five channels around each (N,), so that an empty one is not taken for certain."""
    padded = np.pad(np.asarray(spectrum, float), 2, mode="edge")
    return np.asarray(np.convolve(padded, np.full(5, 0.2), mode="valid"))
