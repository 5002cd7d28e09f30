"""Sphere diameters from section diameters without a law: maximum penalised likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.stereology.planar import CONFIDENCE, Estimate
from meteoseg.stereology.wicksell import MIN_SECTIONS, Uncut, check_sections

FloatArray = NDArray[np.float64]

N_CLASSES = 30
#: Spheres may be this much larger than the largest section.
_TOP = 1.25
#: Weights of roughness that are tried, the smoothest first (integral of the squared third derivative over ln D).
WEIGHTS = tuple(float(weight) for weight in 10.0 ** np.arange(1, -6, -1))
_FOLDS = 5
_SEED = 7
_DRAWS = 400
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(8)
_MOST_STEP = 2.0
_ITERATIONS = 60


@dataclass(frozen=True)
class Unfolded:
    """Numbers of spheres by class of diameter, and what is known of them.

    Parameters
    ----------
    edges_um : (K + 1,) limits of the classes, of equal ratio, from the cut-off on.
    n_sections : (K,) sections that were seen in each class.
    ln_number : (K,) ln of the number of spheres (per volume, in units of 1 / um times the area of the map).
    covariance : (K, K) of `ln_number`.
    weight : of roughness, as chosen.
    """

    edges_um: FloatArray
    n_sections: FloatArray
    ln_number: FloatArray
    covariance: FloatArray
    weight: float

    @property
    def middle_um(self) -> FloatArray:
        """Geometric middle of each class."""
        return np.asarray(np.sqrt(self.edges_um[1:] * self.edges_um[:-1]))

    @property
    def share(self) -> FloatArray:
        """Share of the spheres of the cut-off and more in each class; sums to 1."""
        return np.asarray(_shares(self.ln_number[None, :])[0])

    @cached_property
    def _drawn(self) -> FloatArray:
        """Shares (draws, K) as uncertain as the data leave them."""
        root = np.linalg.cholesky(self.covariance + 1e-10 * np.eye(len(self.covariance)))
        normal = np.random.default_rng(_SEED).standard_normal((_DRAWS, len(root)))
        return _shares(self.ln_number + normal @ root.T)

    def share_interval(self) -> tuple[FloatArray, FloatArray]:
        """Return the 95 % interval of each share (low, high)."""
        low, high = np.quantile(self._drawn, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2], axis=0)
        return low, high

    def estimates(self) -> dict[str, Estimate]:
        """Return mean and median (um) and the standard deviation of ln D of spheres of the cut-off and more."""
        values = self._statistics(self.share[None, :])
        drawn = self._statistics(self._drawn)
        limits = {name: np.quantile(drawn[name], [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]) for name in values}
        return {
            name: Estimate(float(values[name][0]), float(drawn[name].std()), *(float(end) for end in limits[name]))
            for name in values
        }

    def _statistics(self, share: FloatArray) -> dict[str, FloatArray]:
        middle = np.log(self.middle_um)
        mean = share @ middle
        width = float(np.log(self.edges_um[1] / self.edges_um[0]))
        within = width**2 / 12
        return {
            "mean_diameter": share @ self.middle_um * np.sinh(width / 2) / (width / 2),
            "median_diameter": np.exp(_medians(share, np.log(self.edges_um))),
            "sigma_ln_d": np.sqrt(np.maximum(share @ middle**2 - mean**2, 0) + within),
        }


def unfold(d_um: FloatArray, *, d_min_um: float, uncut: Uncut | None = None, n_classes: int = N_CLASSES) -> Unfolded:
    """Unfold section diameters into numbers of spheres without assuming a law.

    The number of sections per class is Poisson with the mean that the spheres of all classes make by exact geometry
    (Wicksell 1925). The logarithm of the number of spheres is made smooth: the likelihood is maximised less a penalty,
    half the weight times the integral of the squared third derivative over ln D (Silverman 1982, doi
    10.1214/aos/1176345872): with much weight the result becomes lognormal. The weight is the largest whose predictions
    of sections left out (five folds) are within one standard error of the best. Errors are those of the penalised
    likelihood taken as a posterior (Wahba 1983; Nychka 1988, doi 10.1080/01621459.1988.10478711), which count the
    smoothing as well as chance.

    Parameters
    ----------
    d_um : section diameters of objects that no edge cuts, um.
    d_min_um : cut-off; smaller sections are left out, and smaller spheres not told of.
    uncut : chance that an object of that section diameter is clear of the edges; None: always.

    Raises
    ------
    InputError : under 30 sections above the cut-off, all of one size, or values that are not positive and finite.

    Examples
    --------
    >>> from meteoseg.stereology import simulate_sections
    >>> sections = simulate_sections(1000, 6.2, 0.4, rng=np.random.default_rng(0))
    >>> found = unfold(sections, d_min_um=100.0).estimates()["median_diameter"]
    >>> bool(found.ci_low < np.exp(6.2) < found.ci_high)
    True
    """
    sections_um = check_sections(d_um)
    sections_um = sections_um[sections_um >= d_min_um]
    if d_min_um <= 0 or len(sections_um) < MIN_SECTIONS or sections_um.max() <= 1.1 * d_min_um:
        raise InputError(
            f"{len(sections_um)} sections of {d_min_um:g} um or more cannot be unfolded: it needs at least "
            f"{MIN_SECTIONS} of several sizes, and a cut-off over 0."
        )
    edges_um = np.geomspace(d_min_um, _TOP * float(sections_um.max()), n_classes + 1)
    counts = np.histogram(sections_um, edges_um)[0].astype(float)
    problem = _Problem(_kernel(edges_um, uncut), _roughness(edges_um))
    weight = _choose_weight(problem, counts)
    ln_number = problem.solve(counts, weight)
    covariance = np.linalg.inv(problem.curvature(ln_number, weight))
    return Unfolded(edges_um, counts, ln_number, (covariance + covariance.T) / 2, weight)


def _kernel(edges_um: FloatArray, uncut: Uncut | None) -> FloatArray:
    """Length (um) along which a plane cuts a sphere of class i so that the section falls in class j: (J, I).

    The mean over the class (even in ln D) of sqrt(D^2 - a_j^2) - sqrt(D^2 - a_(j+1)^2); with `uncut`, times the chance
    to be seen whole.
    """
    ln_edges = np.log(edges_um)
    half = np.diff(ln_edges) / 2
    nodes_um = np.exp(ln_edges[:-1, None] + half[:, None] * (1 + _NODES))
    reach = np.sqrt(np.maximum(nodes_um[None, :, :] ** 2 - edges_um[:, None, None] ** 2, 0.0)) @ (_NODE_WEIGHTS / 2)
    kernel = reach[:-1] - reach[1:]
    if uncut is not None:
        kernel *= uncut(np.sqrt(edges_um[1:] * edges_um[:-1]))[:, None]
    return np.asarray(kernel)


def _roughness(edges_um: FloatArray) -> FloatArray:
    """Matrix (K, K) whose form is the integral of the squared third derivative over ln D."""
    width = float(np.log(edges_um[1] / edges_um[0]))
    third = np.diff(np.eye(len(edges_um) - 1), n=3, axis=0)
    return np.asarray(third.T @ third / width**5)


@dataclass(frozen=True)
class _Problem:
    """Kernel (J, I) and roughness (I, I) of an unfolding."""

    kernel: FloatArray
    roughness: FloatArray

    def cost(self, counts: FloatArray, ln_number: FloatArray, weight: float) -> float:
        expected = np.maximum(self.kernel @ np.exp(ln_number), 1e-12)
        smooth = weight / 2 * float(ln_number @ self.roughness @ ln_number)
        return float((expected - counts * np.log(expected)).sum()) + smooth

    def curvature(self, ln_number: FloatArray, weight: float) -> FloatArray:
        """Expected second derivatives of the cost (Fisher information and penalty)."""
        slope = self.kernel * np.exp(ln_number)
        expected = np.maximum(slope.sum(axis=1), 1e-9)
        information = slope.T @ (slope / expected[:, None])
        return np.asarray(information + weight * self.roughness + 1e-6 * np.eye(len(ln_number)))

    def solve(self, counts: FloatArray, weight: float, start: FloatArray | None = None) -> FloatArray:
        """Minimise the cost by damped Fisher scoring."""
        found = np.full(self.kernel.shape[1], np.log(max(counts.sum(), 1.0) / self.kernel.sum()))
        found = found if start is None else start
        cost = self.cost(counts, found, weight)
        for _ in range(_ITERATIONS):
            slope = self.kernel * np.exp(found)
            expected = np.maximum(slope.sum(axis=1), 1e-12)
            gradient = slope.T @ (1 - counts / expected) + weight * self.roughness @ found
            step = np.linalg.solve(self.curvature(found, weight), gradient)
            step *= min(1.0, _MOST_STEP / max(float(np.abs(step).max()), 1e-12))
            for _ in range(12):
                lower = self.cost(counts, found - step, weight)
                if lower <= cost:
                    break
                step /= 2
            found, gain, cost = found - step, cost - lower, lower
            if gain < 1e-7:
                break
        return found


def _choose_weight(problem: _Problem, counts: FloatArray) -> float:
    """Return the largest weight whose prediction of left-out sections is within one standard error of the best."""
    losses = np.array(list(_losses(problem, counts)))
    totals = losses.sum(axis=0)
    best = int(np.argmin(totals))
    excess = losses - losses[:, [best]]
    error = excess.std(axis=0, ddof=1) * np.sqrt(len(losses))
    return WEIGHTS[int(np.flatnonzero(totals - totals[best] <= error)[0])]


def _losses(problem: _Problem, counts: FloatArray) -> Iterator[list[float]]:
    """Yield, fold by fold, minus the log-likelihood of the sections left out, for each weight."""
    rng = np.random.default_rng(_SEED)
    classes = np.repeat(np.arange(len(counts)), counts.astype(int))
    fold = rng.permutation(len(classes)) % _FOLDS
    for left_out in range(_FOLDS):
        held = np.bincount(classes[fold == left_out], minlength=len(counts)).astype(float)
        start, row = None, []
        for weight in WEIGHTS:
            start = problem.solve(counts - held, weight, start)
            expected = problem.kernel @ np.exp(start)
            share = np.maximum(expected / expected.sum(), 1e-9)
            row.append(-float(held @ np.log(share)))
        yield row


def _shares(ln_number: FloatArray) -> FloatArray:
    number = np.exp(ln_number - ln_number.max(axis=1, keepdims=True))
    return np.asarray(number / number.sum(axis=1, keepdims=True))


def _medians(share: FloatArray, ln_edges: FloatArray) -> FloatArray:
    """Return the ln of the median of each row of shares (draws, K), even within classes."""
    reached = np.concatenate([np.zeros((len(share), 1)), np.cumsum(share, axis=1)], axis=1)
    return np.array([np.interp(0.5, row, ln_edges) for row in reached])
