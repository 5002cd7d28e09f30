"""Sampling error of modal abundances: block bootstrap, with blocks several correlation lengths of the map wide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special, stats

FloatArray = NDArray[np.float64]
Counts = NDArray[np.int64]

CONFIDENCE = 0.95
#: Fewer blocks with area than this give no interval.
MIN_BLOCKS = 8
#: Blocks are this many correlation lengths wide, as far as `FEWEST_BLOCKS` and `MOST_BLOCKS` of the section allow.
LENGTHS_PER_BLOCK = 8.0
FEWEST_BLOCKS, MOST_BLOCKS = 9, 25

_REPLICATES_AT_ONCE = 100


@dataclass(frozen=True)
class SamplingError:
    """Sampling error of the share of each class, (K,) each.

    share : area of the class / area of all classes. error : one standard error of it, NaN where there are too few
    blocks. n_blocks : blocks that it comes from. correlation_cells : correlation length in cells.
    """

    share: FloatArray
    error: FloatArray
    n_blocks: NDArray[np.int64]
    correlation_cells: FloatArray

    @property
    def half_width(self) -> FloatArray:
        """Half of the 95 % interval on the scale of ln(p / (1 - p)), by Student's t for `degrees`.

        NaN for a class without a pixel: nothing tells how its grains are strewn.
        """
        spread = np.maximum(self.share * (1 - self.share), np.finfo(float).tiny)
        quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, degrees(self.n_blocks))
        return np.where(self.share > 0, quantile * self.error / spread, np.nan)

    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Return the 95 % interval (low, high) of each share, in percent."""
        log_odds = special.logit(self.share)
        low, high = special.expit(log_odds - self.half_width), special.expit(log_odds + self.half_width)
        return np.asarray(100 * low), np.asarray(100 * high)


def degrees(n_blocks: NDArray[np.integer[Any]]) -> FloatArray:
    """Return the degrees of freedom of an error from so many blocks: ``(n - 1) / 2``, 1 at least.

    The covariance of neighbours is estimated from the same blocks. That it costs half of the degrees was found by trial
    on simulated sections (docs/measurements.md).
    """
    return np.maximum(1.0, (np.asarray(n_blocks, float) - 1) / 2)


def sampling_error(counts: Counts, rng: np.random.Generator, *, n_boot: int = 1000) -> SamplingError:
    """Return the sampling error of the share of each class, from pixel counts in small square cells.

    For each class its correlation length is estimated (`correlation_cells`) and the cells are joined to blocks about
    `LENGTHS_PER_BLOCK` of it wide; see `block_error`.

    Parameters
    ----------
    counts : (cell rows, cell cols, classes) pixels; cells without any are left out.
    rng, n_boot : random numbers and number of bootstrap replicates.
    """
    area = counts.sum(axis=2)
    n_classes = counts.shape[2]
    total = counts.sum(axis=(0, 1))
    share = total / max(1, int(total.sum()))
    lengths = correlation_cells(counts)
    error, n_blocks = np.full(n_classes, np.nan), np.zeros(n_classes, np.int64)
    grids = [_block_grid(area, length) for length in lengths]
    for grid in dict.fromkeys(grids):
        same = [index for index, other in enumerate(grids) if other == grid]
        blocks = join_cells(counts, grid)
        found = block_error(blocks, rng, n_boot=n_boot)
        error[same], n_blocks[same] = found[same], np.count_nonzero(blocks.sum(axis=2))
    return SamplingError(np.asarray(share), error, n_blocks, lengths)


def _block_grid(area: Counts, length: float) -> tuple[int, int]:
    """Return (block rows, block cols) for blocks of the wanted width, with as many blocks as the rules allow.

    What counts is blocks with area: a section that fills part of its map is cut into more.
    """
    rows, cols = area.shape
    filled = max(1e-9, np.count_nonzero(area) / area.size)
    wanted = filled * rows * cols / max(LENGTHS_PER_BLOCK * length, 1e-9) ** 2
    n_all = float(np.clip(wanted, FEWEST_BLOCKS, MOST_BLOCKS)) / filled
    # The shorter side first: of a map narrower than a block all blocks lie along the longer one.
    across = max(1, round(min(rows, cols) * math.sqrt(n_all / (rows * cols))))
    along = max(1, round(n_all / across))
    grid = (across, along) if rows <= cols else (along, across)
    return min(rows, grid[0]), min(cols, grid[1])


def join_cells(counts: Counts, grid: tuple[int, int]) -> Counts:
    """Join cells to `grid` (block rows, block cols) blocks of nearly equal size.

    Examples
    --------
    >>> join_cells(np.ones((4, 5, 1), int), (2, 2))[:, :, 0].tolist()
    [[6, 4], [6, 4]]
    """
    rows, cols = counts.shape[:2]
    starts = [np.unique(-(-np.arange(n) * size // n)) for n, size in zip(grid, (rows, cols), strict=True)]
    joined = np.add.reduceat(np.add.reduceat(counts, starts[0], axis=0), starts[1], axis=1)
    return np.asarray(joined, np.int64)


def correlation_cells(counts: Counts) -> FloatArray:
    """Return the correlation length of each class in cells: the lag at which its correlation falls to 1 / e.

    The residual ``count - share * area`` of the cells is correlated with itself at all lags (by Fourier transform;
    cells without area are left out), and the mean over directions is taken. Lags go up to half the shorter side.
    """
    area = counts.sum(axis=2).astype(float)
    share = counts.sum(axis=(0, 1)) / max(1.0, area.sum())
    shape = [fft.next_fast_len(2 * size, real=True) for size in area.shape]
    lag = np.hypot(*np.meshgrid(*(np.minimum(np.arange(n), n - np.arange(n)) for n in shape), indexing="ij"))
    ring = np.rint(lag).astype(np.intp).ravel()
    n_rings = max(2, min(area.shape) // 2)
    n_pairs = _ring_sums(_autocovariance((area > 0).astype(float), shape), ring, n_rings)
    lengths = np.empty(counts.shape[2])
    for index in range(counts.shape[2]):
        found = _ring_sums(_autocovariance(counts[:, :, index] - share[index] * area, shape), ring, n_rings)
        lengths[index] = _fall_to_1_e(found / np.maximum(n_pairs, 0.5))
    return lengths


def _autocovariance(values: FloatArray, shape: list[int]) -> FloatArray:
    return np.asarray(fft.irfft2(np.abs(fft.rfft2(values, shape)) ** 2, shape))


def _ring_sums(values: FloatArray, ring: NDArray[np.intp], n_rings: int) -> FloatArray:
    return np.asarray(np.bincount(ring, values.ravel(), minlength=n_rings)[:n_rings])


def _fall_to_1_e(covariance: FloatArray) -> float:
    """Return the place at which a covariance by lag first falls under 1 / e of that at 0, between lags linearly."""
    if not covariance[0] > 0:
        return 0.0
    correlation = covariance / covariance[0]
    below = np.flatnonzero(correlation < 1 / math.e)
    if not below.size:
        return float(len(correlation))
    after = int(below[0])
    before = correlation[after - 1]
    return float(after - 1 + (before - 1 / math.e) / (before - correlation[after]))


def block_error(counts: Counts, rng: np.random.Generator, *, n_boot: int = 1000) -> FloatArray:
    """Return the standard error of the share of each class, from counts in blocks; NaN under `MIN_BLOCKS` blocks.

    The blocks that hold area are drawn with replacement, `n_boot` times; the spread of the ratio (area of the class /
    area of all classes) over the replicates, times ``sqrt(n / (n - 1))``, is its standard error. Objects cut by block
    sides make neighbouring blocks alike, which such a draw does not see: the error is multiplied by the root of
    `neighbour_inflation`. Block bootstrap: Hall (1985, doi 10.1016/0304-4149(85)90212-1).

    Parameters
    ----------
    counts : (block rows, block cols, classes) pixels; blocks without any are left out.
    """
    used = counts[counts.sum(axis=2) > 0].astype(float)
    n_blocks, n_classes = used.shape
    if n_blocks < MIN_BLOCKS:
        return np.full(n_classes, np.nan)
    shares = np.empty((n_boot, n_classes))
    for start in range(0, n_boot, _REPLICATES_AT_ONCE):
        part = shares[start : start + _REPLICATES_AT_ONCE]
        drawn = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=len(part)) @ used
        part[...] = drawn / drawn.sum(axis=1, keepdims=True)
    share = used.sum(axis=0) / used.sum()
    factor = np.sqrt(neighbour_inflation(counts, share) * n_blocks / (n_blocks - 1))
    return np.asarray(factor * shares.std(axis=0, ddof=1))


def block_intervals(counts: Counts, rng: np.random.Generator, *, n_boot: int = 1000) -> tuple[FloatArray, FloatArray]:
    """Return 95 % intervals (low, high) in percent of the share of each class, from counts in blocks as they are.

    The interval is ``logit(p) +- t SE / (p (1 - p))``, turned back (logit intervals of ratios: Korn & Graubard
    1998): it stays inside 0-100 % and is not empty for a rare class. A class found in one block alone gets roughly a
    factor 8 either way: blocks cannot say more. A class that fills every block gets [100, 100]. Under `MIN_BLOCKS`
    blocks: NaN.

    Parameters
    ----------
    counts : (block rows, block cols, classes) pixels.
    """
    total = counts.sum(axis=(0, 1))
    share = np.asarray(total / max(1, int(total.sum())))
    n_blocks = np.full(len(share), np.count_nonzero(counts.sum(axis=2)))
    error = block_error(counts, rng, n_boot=n_boot)
    return SamplingError(share, error, n_blocks, np.full(len(share), np.nan)).interval()


def neighbour_inflation(counts: Counts, share: FloatArray) -> FloatArray:
    """Ratio (>= 1) of the variance with and without the covariance of the eight neighbouring blocks.

    Residuals are ``e = counts - share * area``. Without correlation the sum over neighbour pairs is expected
    at ``-pairs * sum(e^2) / (n (n - 1))`` because residuals sum to zero (Moran 1950); that is added back.
    """
    area = counts.sum(axis=2).astype(float)
    residual = counts - share * area[:, :, None]
    n_blocks = int(np.count_nonzero(area))
    variance = np.maximum((residual**2).sum(axis=(0, 1)), np.finfo(float).tiny)
    covariance, n_pairs = np.zeros(len(share)), 0
    for here, there in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        covariance += (residual[here] * residual[there]).sum(axis=(0, 1))
        n_pairs += int(np.count_nonzero((area[here] > 0) & (area[there] > 0)))
    ratio = 1 + 2 * covariance / variance + 2 * n_pairs / (n_blocks * max(1, n_blocks - 1))
    return np.asarray(np.maximum(1.0, ratio))
