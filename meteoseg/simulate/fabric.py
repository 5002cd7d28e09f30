"""What differs from section to section of one group: how tightly it is packed, what lies between the objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meteoseg.simulate.recipe import Recipe

Rng = np.random.Generator


@dataclass(frozen=True)
class Fabric:
    """The fabric of one section.

    Parameters
    ----------
    overlap : share of the sum of two radii by which neighbours indent each other.
    gap : width of the seam of matrix between touching objects, in radii.
    seam_opaque : share of that seam that is sulfide.
    fragments : share of the objects that are broken.
    roughness : relative size of the lumps of outlines (smallest, largest).
    clast_share, clast_um : share of the groundmass that is clasts (broken grains and chondrule bits too small to be
        outlined), and diameter of the largest.
    matrix_iron, matrix_spread : iron number of the fine matrix, and its variation over the section.
    porosity : share of the fine matrix that is pores.
    mantles : share of the chondrules that wear a mantle of metal and sulfide.
    """

    overlap: float
    gap: float
    seam_opaque: float
    fragments: float
    roughness: tuple[float, float]
    clast_share: float
    clast_um: float
    matrix_iron: float
    matrix_spread: float
    porosity: float
    mantles: float


def draw_fabric(rng: Rng, recipe: Recipe) -> Fabric:
    """Draw the fabric of a section: packed groups are indented and rich in clasts, matrix-rich ones are not."""
    packed = recipe.rules.chondrule_pct >= 55
    clasts = rng.uniform(0.3, 0.9) if packed else rng.uniform(0.03, 0.4)
    low = rng.uniform(0.02, 0.12)
    return Fabric(
        overlap=float(rng.uniform(0.02, 0.15) if packed else rng.uniform(0.0, 0.1)),
        gap=float(rng.uniform(0.02, 0.18)),
        seam_opaque=float(rng.uniform(0, 0.35) if rng.random() < 0.6 else 0.0),
        fragments=float(rng.uniform(0.15, 0.5)),
        roughness=(float(low), float(low + rng.uniform(0.1, 0.4))),
        clast_share=max(float(clasts), 0.85 if recipe.equilibrated else 0.0),
        clast_um=float(np.clip(rng.uniform(0.15, 0.45) * recipe.rules.diameter_mm * 1000, 15, 220)),
        matrix_iron=float(rng.uniform(5, 80)),
        matrix_spread=float(rng.uniform(4, 28)),
        porosity=float(rng.uniform(0, 0.25)) * (1 - recipe.metamorphism),
        mantles=float(rng.uniform(0, 0.5) if rng.random() < 0.7 else 0.0) * (recipe.rules.opaque_pct >= 2),
    )
