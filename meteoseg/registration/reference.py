"""What the image should look like where it fits: predicted from the element maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from meteoseg.elements import BSE
from meteoseg.errors import InputError
from meteoseg.grid import Window, row_bands
from meteoseg.resample import Read, Regrid
from meteoseg.section import Section

FloatArray = NDArray[np.float32]
Points = NDArray[np.float64]
#: Width (1 sd, px) by which the prediction is smoothed against counting noise.
SMOOTHING_PX = 0.7
_BINS = 64
_RIDGE = 1e-3
_FIT_PX = 60_000
_BAND_PX = 250_000


def stabilised(values: FloatArray) -> FloatArray:
    """Return maps (C, H, W) whose noise depends little on the intensity: square roots (Anscombe, 1948); NaN as 0."""
    return np.asarray(np.sqrt(np.clip(np.nan_to_num(values), 0, None) + np.float32(0.375)), np.float32)


def element_names(section: Section, channel: str) -> tuple[str, ...]:
    """Return the channels that predict `channel`: the elements, without BSE and the channel itself.

    Raises
    ------
    InputError : there are none.
    """
    names = tuple(name for name in section.channel_names if name not in (BSE, channel))
    if not names:
        raise InputError(
            f"Section '{section.name}' has no element map to which {channel} could be registered: add one."
        )
    return names


def reduced_maps(section: Section, names: tuple[str, ...], grid: Regrid) -> FloatArray:
    """Return stabilised area means (C, h, w) of the maps on the target of `grid`, read band by band.

    NaN where not measured: outside the section mask, or 0 in every map (an empty field of a mosaic).
    """

    def read(window: Window) -> FloatArray:
        maps = section.read(names, window)
        measured = section.read_mask(window) & (maps.any(axis=0) if len(names) > 1 else np.True_)
        return np.where(measured, np.nan_to_num(maps), np.float32(np.nan))

    means = area_means(read, grid)
    return np.where(np.isnan(means), means, stabilised(means))


def area_means(read: Read, grid: Regrid) -> FloatArray:
    """Return area means (C, h, w) on the target of `grid`, read band by band; NaN where most is unknown."""
    return np.concatenate([_band_means(read, grid, band) for band in row_bands(grid.target, _BAND_PX)], axis=1)


def _band_means(read: Read, grid: Regrid, band: Window) -> FloatArray:
    def read_known(window: Window) -> FloatArray:
        values = np.asarray(read(window), np.float32)
        known = np.isfinite(values)
        return np.concatenate([np.where(known, values, 0), known.astype(np.float32)])

    means = grid.read(read_known, band)
    values, share = means[: len(means) // 2], means[len(means) // 2 :]
    return np.divide(values, share, out=np.full_like(values, np.nan), where=share > 0.5)


@dataclass(frozen=True)
class Predictor:
    """Predicts the image from element maps: a weighted sum of their square roots, then its mean grey level.

    The second step bends the sum as the contrast of the image does, clipping to black and white included.

    Parameters
    ----------
    names : the maps. weights : (C,) of their square roots.
    sums : (B,) weighted sums and greys : (B,) the mean grey levels there.
    """

    names: tuple[str, ...]
    weights: Points
    sums: Points
    greys: Points

    @classmethod
    def fit(cls, names: tuple[str, ...], maps: FloatArray, image: FloatArray) -> Predictor:
        """Fit to stabilised maps (C, h, w) and an image (h, w) on their grid; NaN pixels are left out."""
        used = np.flatnonzero(np.isfinite(image) & np.isfinite(maps).all(axis=0))
        used = used[:: max(1, len(used) // _FIT_PX)]
        x = maps.reshape(len(maps), -1)[:, used].astype(np.float64)
        y = image.reshape(-1)[used].astype(np.float64)
        deviation = x - x.mean(axis=1, keepdims=True)
        spread = np.maximum(deviation.std(axis=1), 1e-6)
        deviation /= spread[:, None]
        normal = deviation @ deviation.T / y.size + _RIDGE * np.eye(len(x))
        weights = np.linalg.solve(normal, deviation @ (y - y.mean()) / y.size) / spread
        sums = weights @ x
        return cls(names, weights, *_grey_curve(sums, y))

    def predict(self, maps: FloatArray) -> FloatArray:
        """Return the predicted image (h, w) of stabilised maps (C, h, w), slightly smoothed."""
        sums = np.tensordot(self.weights, np.nan_to_num(maps), 1)
        return np.asarray(gaussian_filter(np.interp(sums, self.sums, self.greys), SMOOTHING_PX), np.float32)

    def read(self, section: Section, window: Window) -> FloatArray:
        """Return the predicted image of a window of the section, read with a margin for the smoothing."""
        outer = window.padded(4, section.shape)
        return self.predict(stabilised(section.read(self.names, outer)))[window.within(outer)]


def _grey_curve(sums: Points, greys: Points) -> tuple[Points, Points]:
    """Return ascending sums and the mean grey level at each, from bins of equal count."""
    order = np.argsort(sums, kind="stable")
    bins = np.array_split(order, min(_BINS, max(1, len(order) // 16)))
    at = np.array([sums[part].mean() for part in bins])
    return at, np.array([greys[part].mean() for part in bins])
