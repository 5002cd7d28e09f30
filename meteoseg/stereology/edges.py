"""Objects that the edge of the map cuts: how much rarer the whole ones of a given size are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from meteoseg.grid import row_bands

FloatArray = NDArray[np.float64]
#: The map is thinned to about this many pixels before distances are measured.
_MOST_PX = 4_000_000
#: A disc is clear of the edge if the middle of the pixel between lies outside it.
_GAP_PX = 0.5
_STEPS = 400
#: No object counts for more than this many others of the smallest size.
MOST_WEIGHT = 20.0


@dataclass(frozen=True)
class EdgeCorrection:
    """Share of the mapped area in which the centre of a disc may lie so that the disc is whole and uncut.

    An object of breadth b is seen whole only where its centre keeps its distance from the edge, in the map eroded by
    the object: large objects are cut more often, and a mean of whole ones alone is too small. Weights that are the
    inverse of this share correct for it (Miles 1974; Lantuejoul 1978; Horvitz & Thompson 1952, doi
    10.1080/01621459.1952.10483446).

    Parameters
    ----------
    breadth_um : (K,) rising diameters of the disc, from 0.
    share : (K,) falling from 1 to 0.
    area_um2 : mapped area.

    Examples
    --------
    >>> edges = EdgeCorrection.of_mask(np.ones((200, 300), bool), (1.0, 1.0))
    >>> round(float(edges.share_at([60.0])[0]), 2), (200 - 60) * (300 - 60) / (200 * 300)
    (0.55, 0.56)
    """

    breadth_um: FloatArray
    share: FloatArray
    area_um2: float = 0.0

    @classmethod
    def of_mask(cls, inside: NDArray[np.bool_], pixel_size_um: tuple[float, float]) -> EdgeCorrection:
        """Measure the shares of a mask (H, W), True in the section; it is read by row bands.

        Beyond 4 million pixels the mask is thinned: a cell of the coarse grid is inside where all its pixels are.
        """
        step = max(1, int(np.ceil(np.sqrt(inside.size / _MOST_PX))))
        coarse = np.pad(_thinned(inside, step), 1)
        size_um = (pixel_size_um[0] * step, pixel_size_um[1] * step)
        # From the middle of the nearest cell outside to its side, and the gap.
        gap_um = (0.5 * step + _GAP_PX) * float(np.sqrt(pixel_size_um[0] * pixel_size_um[1]))
        if not coarse.any():
            return cls(np.array([0.0, 1.0]), np.zeros(2))
        distance_um = ndimage.distance_transform_edt(coarse, sampling=size_um)[coarse]
        reach_um = np.sort(distance_um - gap_um)
        breadth_um = np.linspace(0.0, max(2 * float(reach_um[-1]), 1e-9), _STEPS)
        clear = len(reach_um) - np.searchsorted(reach_um, breadth_um / 2, side="left")
        return cls(breadth_um, clear / len(reach_um), len(reach_um) * size_um[0] * size_um[1])

    def share_at(self, breadth_um: ArrayLike) -> FloatArray:
        """Return the share for diameters, um; 0 beyond the largest disc that fits in."""
        return np.asarray(np.interp(np.asarray(breadth_um, float), self.breadth_um, self.share, right=0.0))

    def weights(self, breadth_um: ArrayLike) -> FloatArray:
        """Return 1 / share, at most `MOST_WEIGHT`."""
        return np.asarray(1 / np.maximum(self.share_at(breadth_um), 1 / MOST_WEIGHT))


def mean_breadth(diameter_um: ArrayLike, major_um: ArrayLike, minor_um: ArrayLike) -> FloatArray:
    """Return the diameter of the disc that is as often cut by a straight edge as the object: outline / pi, um.

    The outline is that of the ellipse with the object's axes (Ramanujan 1914); objects without axes are discs. For
    objects of random direction the loss of area by erosion is that of this disc to first order (Steiner's formula).

    Examples
    --------
    >>> mean_breadth([100.0, 8.0], [140.0, np.nan], [71.4, np.nan]).round(1).tolist()
    [108.5, 8.0]
    """
    a, b = np.asarray(major_um, float) / 2, np.asarray(minor_um, float) / 2
    bulge = ((a - b) / (a + b)) ** 2
    breadth_um = (a + b) * (1 + 3 * bulge / (10 + np.sqrt(4 - 3 * bulge)))
    return np.where(np.isfinite(breadth_um), breadth_um, np.asarray(diameter_um, float))


def _thinned(inside: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Return the cells of `step` x `step` pixels that are wholly inside; a rest at the border is left out."""
    if step == 1:
        return np.asarray(inside, bool)
    rows, cols = inside.shape[0] // step, inside.shape[1] // step
    coarse = np.ones((max(rows, 1), max(cols, 1)), bool)
    for window in row_bands(inside.shape):
        band = np.asarray(inside[window.slices])[:, : coarse.shape[1] * step]
        across = np.logical_and.reduceat(band, np.arange(0, band.shape[1], step), axis=1)
        for offset, row in enumerate(across):
            cell = (window.row + offset) // step
            if cell < len(coarse):
                coarse[cell] &= row[: coarse.shape[1]]
    return coarse
