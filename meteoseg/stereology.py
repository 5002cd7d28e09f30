"""Size distributions: from diameters in the plane of section to diameters of spheres (Wicksell 1925)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize

from meteoseg.errors import InputError

FloatArray = NDArray[np.float64]

#: Fewer section diameters than this are not fitted.
MIN_SECTIONS = 30

_SIGMA_RANGE = (0.02, 2.5)
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(160)
_REACH = 8.0  # standard deviations of ln D kept in the integrals
_HESSIAN_STEP = 1e-3


@dataclass(frozen=True)
class LognormalSizes:
    """A lognormal law of sphere diameters D: ln(D / um) is normal with mean `mu` and sd `sigma`.

    `mu_se` and `sigma_se` are standard errors from the curvature of the likelihood; `n` sections of
    `d_min_um` and more were used.

    Examples
    --------
    >>> law = LognormalSizes(mu=6.2, sigma=0.46, mu_se=0.03, sigma_se=0.02, n=400, d_min_um=0.0)
    >>> round(law.median_um), round(law.mean_um)
    (493, 548)
    """

    mu: float
    sigma: float
    mu_se: float
    sigma_se: float
    n: int
    d_min_um: float

    @property
    def median_um(self) -> float:
        """Median sphere diameter, um."""
        return float(np.exp(self.mu))

    @property
    def mean_um(self) -> float:
        """Mean sphere diameter, um."""
        return float(np.exp(self.mu + self.sigma**2 / 2))


def section_to_sphere_mean_ratio(sigma: float) -> float:
    """Return mean section over mean sphere diameter of a lognormal law: ``pi / 4 * exp(sigma^2)``.

    From E[d] = pi / 4 E[D^2] / E[D] (Wicksell 1925, doi 10.1093/biomet/17.1-2.84).

    Examples
    --------
    >>> round(section_to_sphere_mean_ratio(0.0), 4), round(section_to_sphere_mean_ratio(0.4915), 3)
    (0.7854, 1.0)
    """
    return float(np.pi / 4 * np.exp(sigma**2))


def wicksell_density(d_um: ArrayLike, mu: float, sigma: float, *, d_min_um: float = 0.0) -> FloatArray:
    """Evaluate the probability density (1/um) of section diameters of lognormal spheres.

    ``f2(d) = d / E[D] * integral_d^inf f3(D) / sqrt(D^2 - d^2) dD`` (Wicksell 1925), with D = d cosh t, which
    takes the pole away; cut below `d_min_um` and normalised again.

    Parameters
    ----------
    d_um : section diameters > 0, any shape.
    mu, sigma : mean and sd of ln(D / um) of the spheres.
    d_min_um : smallest section that is recorded.

    Examples
    --------
    >>> d_um = np.arange(1.0, 6000.0)
    >>> round(float(wicksell_density(d_um, 6.2, 0.46).sum()), 3)
    1.0
    """
    d_um = np.asarray(d_um, float)
    density = np.exp(_log_density(d_um.ravel(), mu, sigma) - _log_recorded(d_min_um, mu, sigma))
    return np.where(d_um >= d_min_um, density.reshape(d_um.shape), 0.0)


def _log_density(d_um: FloatArray, mu: float, sigma: float) -> FloatArray:
    """Log of the density of all section diameters; `d_um` is (n,)."""
    cosh, _, weights = _cosh_nodes(d_um, mu, sigma)
    sphere = _lognormal(d_um[:, None] * cosh, mu, sigma)
    integral = np.maximum((weights * sphere).sum(axis=1), np.finfo(float).tiny)
    return np.asarray(np.log(d_um) - mu - sigma**2 / 2 + np.log(integral))


def _log_recorded(d_min_um: float, mu: float, sigma: float) -> float:
    """Log of the share of sections of `d_min_um` and more: E[sqrt(D^2 - d_min^2); D > d_min] / E[D]."""
    if d_min_um <= 0:
        return 0.0
    d_um = np.array([d_min_um])
    cosh, sinh, weights = _cosh_nodes(d_um, mu, sigma)
    chord_um2 = (d_min_um * sinh) ** 2
    share = float((weights * _lognormal(d_min_um * cosh, mu, sigma) * chord_um2).sum()) / np.exp(mu + sigma**2 / 2)
    return float(np.log(max(share, np.finfo(float).tiny)))


def _cosh_nodes(d_um: FloatArray, mu: float, sigma: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gauss-Legendre nodes in t for D = d cosh t, over the spheres that matter: cosh t, sinh t, weights."""
    ln_d = np.log(d_um)
    ln_low = np.maximum(mu - sigma**2 - _REACH * sigma - ln_d, 0.0)
    ln_high = np.maximum(mu + 2 * sigma**2 - ln_d, 0.0) + _REACH * sigma
    low, high = np.arccosh(np.exp(ln_low)), np.arccosh(np.exp(ln_high))
    half = ((high - low) / 2)[:, None]
    t = low[:, None] + half * (1 + _NODES)
    return np.cosh(t), np.sinh(t), half * _NODE_WEIGHTS


def _lognormal(diameter_um: FloatArray, mu: float, sigma: float) -> FloatArray:
    z = (np.log(diameter_um) - mu) / sigma
    return np.asarray(np.exp(-0.5 * z**2) / (diameter_um * sigma * np.sqrt(2 * np.pi)))


def fit_lognormal_wicksell(d_um: ArrayLike, *, d_min_um: float = 0.0) -> LognormalSizes:
    """Fit the lognormal law of sphere diameters to section diameters by maximum likelihood.

    Sections under `d_min_um` are left out and the likelihood is that of the rest, so small caps that were
    not seen do not bias the fit. Objects are taken for spheres cut at random; objects cut by the edge of the
    map must be left out before.

    Parameters
    ----------
    d_um : section diameters (equivalent diameters), um.
    d_min_um : cut-off of the measurement, um.

    Raises
    ------
    InputError : values that are not positive and finite, under 30 sections above the cut-off, or sections
        that do not constrain the law (spread too small or too wide for a lognormal law).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> law = fit_lognormal_wicksell(simulate_sections(2000, 6.2, 0.46, rng=rng), d_min_um=100.0)
    >>> abs(law.mu - 6.2) < 3 * law.mu_se, abs(law.sigma - 0.46) < 3 * law.sigma_se
    (True, True)
    """
    sections_um = _check_sections(d_um)
    sections_um = sections_um[sections_um >= d_min_um]
    if len(sections_um) < MIN_SECTIONS:
        raise InputError(
            f"{len(sections_um)} sections of {d_min_um:g} um or more: a law needs at least {MIN_SECTIONS}."
        )

    def cost(parameters: FloatArray) -> float:
        mu, sigma = float(parameters[0]), float(np.exp(parameters[1]))
        recorded = len(sections_um) * _log_recorded(d_min_um, mu, sigma)
        return recorded - float(_log_density(sections_um, mu, sigma).sum())

    ln_d = np.log(sections_um)
    start = np.array([ln_d.mean(), np.log(np.clip(ln_d.std(), 0.1, 1.0))])
    ln_range = [(float(ln_d.min()) - 5, float(ln_d.max()) + 2), tuple(np.log(_SIGMA_RANGE))]
    found = optimize.minimize(cost, start, method="Nelder-Mead", bounds=ln_range, options={"xatol": 1e-5})
    errors = _standard_errors(cost, found.x)
    at_bound = any(abs(value - bound) < 1e-3 for value, pair in zip(found.x, ln_range, strict=True) for bound in pair)
    if not found.success or at_bound or errors is None:
        raise InputError(
            f"{len(sections_um)} sections of {d_min_um:g} um and more do not constrain a lognormal law: "
            "give more of them, or a lower cut-off."
        )
    mu, sigma = float(found.x[0]), float(np.exp(found.x[1]))
    return LognormalSizes(mu, sigma, errors[0], errors[1] * sigma, len(sections_um), d_min_um)


def _standard_errors(cost: Callable[[FloatArray], float], optimum: FloatArray) -> tuple[float, float] | None:
    """Standard errors of (mu, ln sigma) by central differences of the cost; None where it is not curved."""
    steps = _HESSIAN_STEP * np.eye(2)

    def mixed(first: FloatArray, second: FloatArray) -> float:
        corners = cost(optimum + first + second) + cost(optimum - first - second)
        corners -= cost(optimum + first - second) + cost(optimum - first + second)
        return corners / (4 * _HESSIAN_STEP**2)

    hessian = np.array([[mixed(first, second) for second in steps] for first in steps])
    if np.linalg.eigvalsh(hessian)[0] <= 0:
        return None
    variance = np.diag(np.linalg.inv(hessian))
    return float(np.sqrt(variance[0])), float(np.sqrt(variance[1]))


def simulate_sections(n: int, mu: float, sigma: float, *, rng: np.random.Generator) -> FloatArray:
    """Draw `n` section diameters (um) of lognormal spheres cut by a random plane.

    A plane meets a sphere with a chance proportional to D, and at a uniform distance from its centre.
    """
    sphere_um = np.exp(mu + sigma**2 + sigma * rng.standard_normal(n))
    return np.asarray(sphere_um * np.sqrt(1 - rng.random(n) ** 2))


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
    sections_um = _check_sections(d_um)
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


def _check_sections(d_um: ArrayLike) -> FloatArray:
    sections_um = np.asarray(d_um, float).ravel()
    if not np.all(np.isfinite(sections_um) & (sections_um > 0)):
        raise InputError("Section diameters must be positive and finite: leave out the others.")
    return sections_um
