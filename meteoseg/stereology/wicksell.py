"""Lognormal spheres behind the diameters in the plane of section (Wicksell 1925), by maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from meteoseg.errors import InputError

FloatArray = NDArray[np.float64]
#: Chance by section diameter (n,), um, that an object is whole and uncut; see `EdgeCorrection.share_at`.
Uncut = Callable[[FloatArray], FloatArray]

#: Fewer section diameters than this are not fitted.
MIN_SECTIONS = 30

_SIGMA_RANGE = (0.02, 2.5)
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(160)
_REACH = 8.0  # standard deviations of ln D kept in the integrals
_HESSIAN_STEP = 1e-3
_GRID = 300
_BEYOND = 3.0  # in ln d, past the recorded sections
_LEAST_EXPECTED = 5.0


@dataclass(frozen=True)
class LognormalSizes:
    """A lognormal law of sphere diameters D: ln(D / um) is normal with mean `mu` and sd `sigma`.

    `mu_se` and `sigma_se` are standard errors from the curvature of the likelihood and `covariance` that of the two;
    `n` sections of `d_min_um` and more were used.

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
    covariance: float = 0.0

    @property
    def ln_mean_se(self) -> float:
        """Standard error of the logarithm of the mean diameter."""
        variance = self.mu_se**2 + (self.sigma * self.sigma_se) ** 2 + 2 * self.sigma * self.covariance
        return float(np.sqrt(max(variance, 0.0)))

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


def fit_lognormal_wicksell(d_um: ArrayLike, *, d_min_um: float = 0.0, uncut: Uncut | None = None) -> LognormalSizes:
    """Fit the lognormal law of sphere diameters to section diameters by maximum likelihood.

    Sections under `d_min_um` are left out and the likelihood is that of the rest, so small caps that were
    not seen do not bias the fit. Objects are taken for spheres cut at random; objects cut by the edge of the
    map must be left out before, and `uncut` says how often that happens to each size.

    Parameters
    ----------
    d_um : section diameters (equivalent diameters), um.
    d_min_um : cut-off of the measurement, um.
    uncut : chance that an object of that section diameter is clear of the edges; None: always.

    Raises
    ------
    InputError : values that are not positive and finite, under 30 sections above the cut-off, or sections
        that do not constrain the law (spread too small or too wide for a lognormal law).

    Examples
    --------
    >>> from meteoseg.stereology import simulate_sections
    >>> rng = np.random.default_rng(1)
    >>> law = fit_lognormal_wicksell(simulate_sections(2000, 6.2, 0.46, rng=rng), d_min_um=100.0)
    >>> abs(law.mu - 6.2) < 3 * law.mu_se, abs(law.sigma - 0.46) < 3 * law.sigma_se
    (True, True)
    """
    sections_um = check_sections(d_um)
    sections_um = sections_um[sections_um >= d_min_um]
    if len(sections_um) < MIN_SECTIONS:
        raise InputError(
            f"{len(sections_um)} sections of {d_min_um:g} um or more: a law needs at least {MIN_SECTIONS}."
        )
    cost = _cost_of(sections_um, d_min_um, uncut)
    ln_d = np.log(sections_um)
    start = np.array([ln_d.mean(), np.log(np.clip(ln_d.std(), 0.1, 1.0))])
    ln_range = [(float(ln_d.min()) - 5, float(ln_d.max()) + 2), tuple(np.log(_SIGMA_RANGE))]
    found = optimize.minimize(cost, start, method="Nelder-Mead", bounds=ln_range, options={"xatol": 1e-5})
    covariance = _covariance(cost, found.x)
    at_bound = any(abs(value - bound) < 1e-3 for value, pair in zip(found.x, ln_range, strict=True) for bound in pair)
    if not found.success or at_bound or covariance is None:
        raise InputError(
            f"{len(sections_um)} sections of {d_min_um:g} um and more do not constrain a lognormal law: "
            "give more of them, or a lower cut-off."
        )
    mu, sigma = float(found.x[0]), float(np.exp(found.x[1]))
    # Of (mu, ln sigma), carried over to sigma.
    mu_se, sigma_se = np.sqrt(np.diag(covariance)) * (1.0, sigma)
    return LognormalSizes(
        mu, sigma, float(mu_se), float(sigma_se), len(sections_um), d_min_um, float(covariance[0, 1] * sigma)
    )


def _cost_of(sections_um: FloatArray, d_min_um: float, uncut: Uncut | None) -> Callable[[FloatArray], float]:
    """Return minus the log-likelihood as a function of (mu, ln sigma)."""
    ln_grid = _ln_grid(d_min_um, sections_um, uncut)

    def log_recorded(mu: float, sigma: float) -> float:
        if uncut is None:
            return _log_recorded(d_min_um, mu, sigma)
        seen = float(np.trapezoid(_seen_density(ln_grid, mu, sigma, uncut), ln_grid))
        return float(np.log(max(seen, np.finfo(float).tiny)))

    def cost(parameters: FloatArray) -> float:
        mu, sigma = float(parameters[0]), float(np.exp(parameters[1]))
        recorded = len(sections_um) * log_recorded(mu, sigma)
        return recorded - float(_log_density(sections_um, mu, sigma).sum())

    return cost


def lognormal_misfit(sections_um: FloatArray, law: LognormalSizes, *, uncut: Uncut | None = None) -> float | None:
    """Return the chance of a misfit as large as this one if the law were true; small values speak against it.

    Pearson's chi-square over classes of equal expected number (2 n^0.4 of them; Moore 1986), with the degrees of
    freedom of two fitted parameters. None where there are too few sections for one degree of freedom.

    Parameters
    ----------
    sections_um : those that were fitted.
    """
    sections_um = sections_um[sections_um >= law.d_min_um]
    n_classes = min(int(2 * len(sections_um) ** 0.4), int(len(sections_um) / _LEAST_EXPECTED))
    if n_classes < 4:
        return None
    rank = np.interp(sections_um, *_cumulated(sections_um, law, uncut))
    counts = np.histogram(rank, np.linspace(0, 1, n_classes + 1))[0]
    expected = len(sections_um) / n_classes
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), n_classes - 3))


def _cumulated(sections_um: FloatArray, law: LognormalSizes, uncut: Uncut | None) -> tuple[FloatArray, FloatArray]:
    """Section diameters (um) and the share of the recorded sections up to them, from 0 to 1."""
    ln_d = _ln_grid(law.d_min_um, sections_um, uncut)
    density = _seen_density(ln_d, law.mu, law.sigma, uncut)
    steps = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(ln_d))])
    return np.exp(ln_d), steps / steps[-1]


def _ln_grid(d_min_um: float, sections_um: FloatArray, uncut: Uncut | None) -> FloatArray:
    """Logarithms of section diameters over all that can be recorded.

    They are the same for all laws: a grid that moved with the law would roughen its likelihood.
    """
    low = np.log(d_min_um) if d_min_um > 0 else np.log(sections_um.min()) - _BEYOND
    high = np.log(sections_um.max()) + _BEYOND
    if uncut is not None:
        wide = np.linspace(low, high, 10 * _GRID)
        seen = np.flatnonzero(uncut(np.exp(wide)) > 0)
        high = wide[min(int(seen[-1]) + 1, len(wide) - 1)] if len(seen) else high
    return np.linspace(low, high, _GRID)


def _seen_density(ln_d: FloatArray, mu: float, sigma: float, uncut: Uncut | None) -> FloatArray:
    """Density per ln d of sections that are recorded (not normalised)."""
    d_um = np.exp(ln_d)
    density = d_um * np.exp(_log_density(d_um, mu, sigma))
    return density if uncut is None else density * uncut(d_um)


def _covariance(cost: Callable[[FloatArray], float], optimum: FloatArray) -> FloatArray | None:
    """Covariance (2, 2) of (mu, ln sigma) by central differences of the cost; None where it is not curved."""
    steps = _HESSIAN_STEP * np.eye(2)

    def mixed(first: FloatArray, second: FloatArray) -> float:
        corners = cost(optimum + first + second) + cost(optimum - first - second)
        corners -= cost(optimum + first - second) + cost(optimum - first + second)
        return corners / (4 * _HESSIAN_STEP**2)

    hessian = np.array([[mixed(first, second) for second in steps] for first in steps])
    if np.linalg.eigvalsh(hessian)[0] <= 0:
        return None
    return np.asarray(np.linalg.inv(hessian))


def check_sections(d_um: ArrayLike) -> FloatArray:
    """Return section diameters as (n,) floats.

    Raises
    ------
    InputError : one that is not positive and finite.
    """
    sections_um = np.asarray(d_um, float).ravel()
    if not np.all(np.isfinite(sections_um) & (sections_um > 0)):
        raise InputError("Section diameters must be positive and finite: leave out the others.")
    return sections_um
