"""Where an image of another contrast fits: its multiple correlation with all maps, for all turns and shifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import affine_transform, gaussian_filter

from meteoseg.io.warped import Transform

FloatArray = NDArray[np.float32]
Points = NDArray[np.float64]

ROTATIONS_DEG = tuple(np.arange(-5.0, 5.1, 1.0).tolist())
SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
#: Share of the smaller of maps and image by which they must overlap.
MIN_OVERLAP = 0.2
_COARSE_SD_PX = 10.0
_FINE_SD_PX = 0.8
_COMPONENTS = 8
_PEAK_DISTANCE_PX = 6


@dataclass(frozen=True)
class Fit:
    """A place where the image may fit: `transform` between the two grids that were searched.

    `r2` is the squared multiple correlation of the image with the maps, `score` its log-likelihood ratio.
    """

    transform: Transform
    r2: float
    score: float


def search(maps: FloatArray, image: FloatArray, *, n_best: int = 3) -> list[Fit]:
    """Return the best places, best first, of an image (H, W) against maps (C, h, w) of the same pixel size.

    NaN pixels take no part. At each shift the squared multiple correlation R2 of the band-passed image with the
    band-passed and whitened maps is a sum of squared cross-correlations, so that Fourier transforms give it for all
    shifts at once; places are ranked by -N ln(1 - R2), N the number of common pixels.
    """
    whitened, inside = _whitened(maps)
    found: list[Fit] = []
    size = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(maps.shape[1:], image.shape, strict=True)]
    spectra = np.conj(fft.rfft2(whitened, s=size))
    inside_spectrum = np.conj(fft.rfft2(inside.astype(np.float32), s=size))
    least = MIN_OVERLAP * min(inside.sum(), np.isfinite(image).sum())
    for turn in turns():
        moved, known, centre = _turned(image, turn)
        score, r2 = _scores(spectra, inside_spectrum, moved, known, size, least)
        found += _peaks(score, r2, turn, centre, image.shape, size)
    return _distinct(sorted(found, key=lambda fit: -fit.score), maps.shape[1:], n_best)


def turns() -> Iterator[Points]:
    """Yield the matrices (2, 2) of all rotations and scales that are tried."""
    for degrees in ROTATIONS_DEG:
        angle = np.deg2rad(degrees)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for scale in SCALES:
            yield scale * rotation


def band_passed(values: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return details of intermediate size (H, W), 0 where unknown, and where `values` are known.

    Shading and charging are wider, noise is finer; both are left out. Unknown pixels have no weight.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0).astype(np.float32)
    parts = []
    for width in (_FINE_SD_PX, _COARSE_SD_PX):
        weight = gaussian_filter(known.astype(np.float32), width)
        parts.append(gaussian_filter(filled, width) / np.maximum(weight, 1e-3))
    return np.where(known, parts[0] - parts[1], 0).astype(np.float32), known


def _whitened(maps: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return uncorrelated components (K, h, w) of unit variance of the band-passed maps, and where they are known."""
    passed = np.stack([band_passed(plane)[0] for plane in maps])
    inside = np.asarray(np.isfinite(maps).all(axis=0))
    values = passed[:, inside].astype(np.float64)
    scale = values.std(axis=1)
    used = scale > 1e-6
    values = values[used] / scale[used, None]
    variance, axes = np.linalg.eigh(values @ values.T / max(1, values.shape[1]))
    best = np.argsort(variance)[::-1][:_COMPONENTS]
    best = best[variance[best] > 1e-6]
    out = np.zeros((len(best), *inside.shape), np.float32)
    out[:, inside] = (axes[:, best] / np.sqrt(variance[best])).T @ values
    return out, inside


def _turned(image: FloatArray, turn: Points) -> tuple[FloatArray, NDArray[np.bool_], Points]:
    """Return the image as the maps would show it if `turn` joined them about its centre: values, known, centre."""
    centre = (np.array(image.shape) - 1) / 2
    known = np.isfinite(image)
    offset = centre - turn @ centre
    moved = affine_transform(np.where(known, image, 0), turn, offset, order=1, mode="constant", cval=0.0)
    weight = affine_transform(known.astype(np.float32), turn, offset, order=1, mode="constant", cval=0.0)
    passed, _ = band_passed(np.where(weight > 0.99, moved, np.nan).astype(np.float32))
    return passed, weight > 0.99, centre


def _scores(
    spectra: NDArray[np.complex64],
    inside: NDArray[np.complex64],
    moved: FloatArray,
    known: NDArray[np.bool_],
    size: list[int],
    least: float,
) -> tuple[FloatArray, FloatArray]:
    """Return log-likelihood ratio and R2 of all shifts; both 0 where the overlap is under `least` pixels."""
    common = fft.irfft2(inside * fft.rfft2(known.astype(np.float32), s=size), s=size)
    energy = fft.irfft2(inside * fft.rfft2(moved**2, s=size), s=size)
    spectrum = fft.rfft2(moved, s=size)
    squares = np.zeros(size, np.float32)
    for part in spectra:
        squares += fft.irfft2(part * spectrum, s=size) ** 2
    enough = (common >= max(least, 1.0)) & (energy > 1e-4 * max(float(energy.max()), 1e-12))
    r2 = np.divide(squares, common * energy, out=np.zeros_like(squares), where=enough).clip(0, 0.999)
    return -common * np.log1p(-r2) * enough, r2


def _peaks(
    score: FloatArray,
    r2: FloatArray,
    turn: Points,
    centre: Points,
    image_shape: tuple[int, ...],
    size: list[int],
) -> list[Fit]:
    """Return the three highest places of one rotation and scale."""
    score = score.copy()
    fits = []
    for _ in range(3):
        at = np.array(np.unravel_index(int(score.argmax()), score.shape))
        if score[tuple(at)] <= 0:
            break
        shift = np.where(at >= np.array(image_shape), at - np.array(size), at)
        # Map position p shows the turned image at p + shift: the image at turn @ (p + shift - centre) + centre.
        transform = Transform(turn, turn @ (shift - centre) + centre)
        fits.append(Fit(transform, float(r2[tuple(at)]), float(score[tuple(at)])))
        near = [np.arange(place - _PEAK_DISTANCE_PX, place + _PEAK_DISTANCE_PX + 1) % length
                for place, length in zip(at, score.shape, strict=True)]  # fmt: skip
        score[np.ix_(*near)] = 0
    return fits


def _distinct(fits: list[Fit], map_shape: tuple[int, ...], n_best: int) -> list[Fit]:
    """Keep the best fits whose centres lie apart."""
    centre = (np.array(map_shape, np.float64)[None] - 1) / 2
    kept: list[Fit] = []
    for fit in fits:
        at = fit.transform.apply(centre)
        if all(np.linalg.norm(at - other.transform.apply(centre)) > _PEAK_DISTANCE_PX for other in kept):
            kept.append(fit)
        if len(kept) == n_best:
            break
    return kept
