"""Size distributions: in the plane of section with edge correction, and from there to spheres (Wicksell 1925)."""

from meteoseg.stereology.saltykov import saltykov
from meteoseg.stereology.simulated import simulate_sections
from meteoseg.stereology.wicksell import (
    MIN_SECTIONS,
    LognormalSizes,
    fit_lognormal_wicksell,
    section_to_sphere_mean_ratio,
    wicksell_density,
)

__all__ = [
    "MIN_SECTIONS",
    "LognormalSizes",
    "fit_lognormal_wicksell",
    "saltykov",
    "section_to_sphere_mean_ratio",
    "simulate_sections",
    "wicksell_density",
]
