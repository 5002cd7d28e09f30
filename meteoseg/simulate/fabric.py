"""What differs from section to section of one group: how tightly it is packed, what lies between the objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meteoseg.simulate.recipe import Recipe

Rng = np.random.Generator
#: Least petrologic type, and range of the common diameter (um) of its largest secondary feldspar (between the cuts of
#: Van Schmus & Wood 1967, 2 and 50 um; how far beyond 50 um it goes is a choice).
_FELDSPAR_UM = ((6.0, 55.0, 140.0), (5.0, 8.0, 44.0), (4.0, 1.0, 2.0))


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
    feldspar_um : common diameter of the largest grains of secondary feldspar; 0 below type 4.
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
    feldspar_um: float = 0.0


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
        feldspar_um=_feldspar_um(rng, recipe),
    )


def _feldspar_um(rng: Rng, recipe: Recipe) -> float:
    """Draw the common diameter of the largest secondary feldspar, which defines types 4, 5 and 6."""
    if not recipe.equilibrated:
        return 0.0
    low, high = next(span for least, *span in _FELDSPAR_UM if recipe.petrologic_type >= least)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
