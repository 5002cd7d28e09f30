"""Simulated sections of spheres and spheroids, to try methods on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def simulate_sections(
    n: int, mu: float, sigma: float, *, rng: np.random.Generator, axial_ratio: float = 1.0
) -> FloatArray:
    """Draw `n` section diameters (um) of lognormal spheres, or spheroids of random orientation, cut by a plane.

    A plane with unit normal u meets a body with a chance proportional to its extent 2 h along u, at a uniform distance
    t from its centre. For a spheroid of semi-axes a, a, c: h^2 = a^2 (1 - u_c^2) + c^2 u_c^2, and the area of the
    section is pi a^2 c / h (1 - t^2 / h^2) (image of a sphere under an affine map).

    Parameters
    ----------
    mu, sigma : mean and standard deviation of ln(D / um), D the diameter of the sphere of the same volume.
    axial_ratio : c / a: over 1 prolate, under 1 oblate.

    Returns
    -------
    (n,) equivalent diameters of the sections.

    Examples
    --------
    >>> sections = simulate_sections(20000, 0.0, 1e-6, rng=np.random.default_rng(0), axial_ratio=1.5)
    >>> round(float(sections.mean()), 2)  # pi / 4 for spheres
    0.77
    """
    body_um = np.exp(mu + sigma**2 + sigma * rng.standard_normal(n))
    half = _extents(n, axial_ratio, rng)
    return np.asarray(body_um * np.sqrt((1 - rng.random(n) ** 2) / half))


def _extents(n: int, axial_ratio: float, rng: np.random.Generator) -> FloatArray:
    """Draw `n` half extents along the normal of a plane that meets a spheroid of volume 4 pi / 3."""
    equator = axial_ratio ** (-1 / 3)
    pole = equator * axial_ratio
    drawn = np.empty(0)
    while len(drawn) < n:
        cosine = rng.random(2 * n + 10)
        half = np.sqrt(equator**2 * (1 - cosine**2) + pole**2 * cosine**2)
        drawn = np.concatenate([drawn, half[rng.random(len(half)) * max(equator, pole) < half]])
    return drawn[:n]
