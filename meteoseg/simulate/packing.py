"""Where objects lie: section diameters of spheres cut by a plane, placed so that they touch and indent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
FloatVector = NDArray[np.float64]


def section_diameters(rng: Rng, n: int, *, mean_mm: float, sigma: float) -> FloatVector:
    """Draw diameters (mm) of plane sections of spheres with a lognormal 3-D size law.

    A plane meets a sphere with a chance proportional to its diameter (Wicksell 1925), so the sizes that are cut
    follow D f(D), which for a lognormal law is a lognormal with mu + sigma^2; the distance of the cut from the
    centre is uniform. Cuts through the outermost 3 % of a cap are not seen as objects.

    Examples
    --------
    >>> d = section_diameters(np.random.default_rng(0), 200_000, mean_mm=0.5, sigma=0.4915)
    >>> round(float(d.mean()) / 0.5, 1)
    1.0
    """
    mu = np.log(mean_mm) - sigma**2 / 2
    spheres = np.exp(rng.normal(mu + sigma**2, sigma, n))
    offset = rng.uniform(0, 0.97, n)
    return np.asarray(spheres * np.sqrt(1 - offset**2))


@dataclass(frozen=True)
class Placement:
    """Centres (row, col) in um and radii in um of the discs that were placed, largest first."""

    centres_um: FloatVector
    radii_um: FloatVector


def pack_discs(
    rng: Rng,
    draw_radii: Callable[[int], FloatVector],
    field_um: tuple[float, float],
    *,
    target_area: float,
    overlap: float = 0.1,
) -> Placement:
    """Place discs so that they cover a share of the field, each where it touches its neighbours most closely.

    Radii are drawn in three rounds, just as many as the area still wanted, and placed from large to small; those
    that find no room are left out. Size law and packing thus stay independent, but for the largest at high cover.

    Parameters
    ----------
    draw_radii : draws n radii in um.
    field_um : (height, width) of the field; centres may lie a little outside, so that objects are cut.
    target_area : share of the field to cover.
    overlap : share of the sum of two radii by which neighbours may indent each other.
    """
    size = np.array(field_um)
    centres, placed = np.empty((0, 2)), np.empty(0)
    wanted = target_area * size.prod()
    for _ in range(3):
        missing = wanted - _covered(centres, placed, size)
        radii = draw_radii(4000)
        # Discs reach over the border by 0.6 radii at most, so a little of their area is lost there.
        enough = int(np.searchsorted(np.cumsum(np.pi * radii**2), missing)) + 1
        for radius in np.sort(radii[:enough])[::-1] if missing > 0 else ():
            centre = _best_place(rng, float(radius), centres, placed, size=size, overlap=overlap)
            if centre is not None:
                centres, placed = np.vstack([centres, centre]), np.append(placed, radius)
    return Placement(centres, placed)


def _covered(centres: FloatVector, radii: FloatVector, size: FloatVector) -> float:
    """Area of the discs inside the field, each taken as an ellipse in its cut bounding box."""
    sides = np.minimum(centres + radii[:, None], size) - np.maximum(centres - radii[:, None], 0)
    return float(np.pi / 4 * np.clip(sides, 0, None).prod(axis=1).sum())


def _best_place(
    rng: Rng, radius: float, centres: FloatVector, radii: FloatVector, *, size: FloatVector, overlap: float
) -> FloatVector | None:
    """Try 64 places; of up to six free ones take that nearest to its neighbours. None where none is free."""
    tries = rng.uniform(-0.6 * radius, size + 0.6 * radius, size=(64, 2))
    if radii.size == 0:
        return np.asarray(tries[0])
    apart = np.hypot(tries[:, None, 0] - centres[None, :, 0], tries[:, None, 1] - centres[None, :, 1])
    gaps = (apart - (1 - overlap) * (radius + radii)).min(axis=1)
    free = np.flatnonzero(gaps >= 0)
    if free.size == 0:
        return None
    some = free[:6]  # not all: the discs would gather in one corner of the field
    return np.asarray(tries[some[np.argmin(gaps[some])]])
