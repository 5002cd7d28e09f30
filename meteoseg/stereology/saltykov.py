"""Numbers of spheres per class of diameter by back-substitution (Saltykov's method)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg

from meteoseg.errors import InputError
from meteoseg.stereology.wicksell import check_sections


def saltykov(d_um: ArrayLike, n_classes: int, *, d_min_um: float = 0.0) -> pd.DataFrame:
    """Unfold section diameters into numbers of spheres per class by back-substitution (Saltykov's method).

    Classes run from `d_min_um` to the largest section: of equal width where `d_min_um` is 0, of equal ratio
    otherwise. Spheres of a class have its middle diameter (arithmetic or geometric); their sections fall into
    their own class and the smaller ones by exact geometry. Noise grows towards small classes and may give
    negative numbers, which are kept as they come: use at most 10 to 12 classes and several hundred sections.

    Parameters
    ----------
    d_um : section diameters, um.
    n_classes : number of classes.
    d_min_um : lower end of the smallest class, um; smaller sections are left out.

    Returns
    -------
    Columns d_low_um, d_high_um, d_mid_um, n_sections, n_v_rel (spheres per unit volume times unit area of
    section, 1/um) and number_pct (its share of the sum).

    Raises
    ------
    InputError : no section above `d_min_um`, or fewer than 1 class.

    Examples
    --------
    >>> table = saltykov([100.0] * 50 + [60.0] * 20, 2)
    >>> table[["d_low_um", "d_high_um", "n_sections"]].values.tolist()
    [[0.0, 50.0, 0.0], [50.0, 100.0, 70.0]]
    """
    sections_um = check_sections(d_um)
    sections_um = sections_um[sections_um >= d_min_um]
    if n_classes < 1 or len(sections_um) == 0 or sections_um.max() <= d_min_um:
        raise InputError(
            f"{len(sections_um)} sections over {d_min_um:g} um cannot be unfolded in {n_classes} classes: "
            "give 1 class or more and sections above the cut-off."
        )
    largest_um = float(sections_um.max())
    if d_min_um > 0:
        edges = np.geomspace(d_min_um, largest_um, n_classes + 1)
        middle = np.sqrt(edges[1:] * edges[:-1])
    else:
        edges = np.linspace(0.0, largest_um, n_classes + 1)
        middle = (edges[1:] + edges[:-1]) / 2
    edges[-1] = largest_um
    n_sections = np.histogram(sections_um, edges)[0]
    reach = np.sqrt(np.maximum(middle[None, :] ** 2 - edges[:, None] ** 2, 0.0))
    n_v = linalg.solve_triangular(reach[:-1] - reach[1:], n_sections.astype(float))
    return pd.DataFrame(
        {
            "d_low_um": edges[:-1],
            "d_high_um": edges[1:],
            "d_mid_um": middle,
            "n_sections": n_sections,
            "n_v_rel": n_v,
            "number_pct": 100 * n_v / n_v.sum(),
        }
    )
