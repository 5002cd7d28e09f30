"""How often intervals of sphere sizes hold the truth: simulated sections of spheres and spheroids.

python experiments/size_unfolding/coverage.py OUT.csv [--runs 200] [--cases NAME ...] [--sections 100 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from meteoseg.errors import InputError
from meteoseg.stereology import fit_lognormal_wicksell, simulate_sections
from meteoseg.stereology.planar import size_estimates
from meteoseg.stereology.unfolding import Unfolded, _kernel, _Problem, _roughness, unfold

CUT_OFF_UM = 150.0
FIELD_UM = (4000.0, 6000.0)
QUANTITIES = ("mean_diameter", "median_diameter", "sigma_ln_d")


@dataclass(frozen=True)
class Case:
    """A population: (share, mu, sigma) of lognormal parts, axial ratio, and whether the field has edges."""

    name: str
    parts: tuple[tuple[float, float, float], ...]
    axial_ratio: float = 1.0
    edges: bool = False

    def bodies(self, n: int, rng: np.random.Generator) -> np.ndarray:
        drawn = [np.exp(mu + s * rng.standard_normal(int(n * share))) for share, mu, s in self.parts]
        return np.concatenate(drawn)

    def sections(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` sections of the cut-off and more that no edge cuts."""
        caught = np.array([share * np.exp(mu + s**2 / 2) for share, mu, s in self.parts])
        found = np.empty(0)
        while len(found) < n:
            counts = rng.multinomial(3 * n, caught / caught.sum())
            parts = [
                simulate_sections(k, mu, s, rng=rng, axial_ratio=self.axial_ratio)
                for k, (_, mu, s) in zip(counts, self.parts, strict=True)
            ]
            drawn = rng.permutation(np.concatenate(parts))
            drawn = drawn[drawn >= CUT_OFF_UM]
            if self.edges:
                drawn = drawn[rng.random(len(drawn)) < uncut(drawn)]
            found = np.concatenate([found, drawn])
        return found[:n]


def uncut(d_um: np.ndarray) -> np.ndarray:
    """Share of a rectangular field in which a disc lies whole."""
    rows, cols = (np.maximum(side - np.asarray(d_um), 0) / side for side in FIELD_UM)
    return rows * cols


LOGNORMAL = ((1.0, 6.2, 0.46),)
CASES = (
    Case("spheres", LOGNORMAL),
    Case("spheres, 4 x 6 mm field", LOGNORMAL, edges=True),
    Case("spheres of two sizes", ((0.6, 5.5, 0.25), (0.4, 6.6, 0.25))),
    Case("prolate 1.2", LOGNORMAL, 1.2),
    Case("prolate 1.5", LOGNORMAL, 1.5),
    Case("oblate 1.2", LOGNORMAL, 1 / 1.2),
    Case("oblate 1.5", LOGNORMAL, 1 / 1.5),
)


def statistics(d_um: np.ndarray) -> dict[str, float]:
    d_um = d_um[d_um >= CUT_OFF_UM]
    return dict(zip(QUANTITIES, (d_um.mean(), np.median(d_um), np.log(d_um).std()), strict=True))


Found = dict[str, tuple[float, float, float]]


def parametric(case: Case, d_um: np.ndarray) -> Found:
    law = fit_lognormal_wicksell(d_um, d_min_um=CUT_OFF_UM, uncut=uncut if case.edges else None)
    return {
        "mu": (law.mu, law.mu - 1.96 * law.mu_se, law.mu + 1.96 * law.mu_se),
        "sigma": (law.sigma, law.sigma - 1.96 * law.sigma_se, law.sigma + 1.96 * law.sigma_se),
    }


def penalised(case: Case, d_um: np.ndarray) -> Found:
    made = unfold(d_um, d_min_um=CUT_OFF_UM, uncut=uncut if case.edges else None)
    return {name: (e.value, e.ci_low, e.ci_high) for name, e in made.estimates().items()}


def bootstrapped(case: Case, d_um: np.ndarray) -> Found:
    """The same unfolding, with intervals of 100 draws of the sections and the weight kept."""
    chance = uncut if case.edges else None
    made = unfold(d_um, d_min_um=CUT_OFF_UM, uncut=chance)
    problem, rng = _Problem(_kernel(made.edges_um, chance), _roughness(made.edges_um)), np.random.default_rng(1)
    drawn: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    for _ in range(100):
        counts = rng.multinomial(len(d_um), made.n_sections / made.n_sections.sum()).astype(float)
        again = problem.solve(counts, made.weight, made.ln_number)
        one = Unfolded(made.edges_um, counts, again, made.covariance, made.weight)
        for name, value in one._statistics(one.share[None, :]).items():
            drawn[name].append(float(value[0]))
    middle = made.estimates()
    return {name: (middle[name].value, *np.quantile(drawn[name], [0.025, 0.975])) for name in QUANTITIES}


def planar(case: Case, d_um: np.ndarray) -> Found:
    weights = 1 / uncut(d_um) if case.edges else np.ones(len(d_um))
    return {name: (e.value, e.ci_low, e.ci_high) for name, e in size_estimates(d_um, weights).items()}


def planar_excluded(_: Case, d_um: np.ndarray) -> Found:
    return {name: (e.value, e.ci_low, e.ci_high) for name, e in size_estimates(d_um, np.ones(len(d_um))).items()}


METHODS: dict[str, tuple[Callable[[Case, np.ndarray], Found], float]] = {
    "lognormal fit": (parametric, 1.0),
    "unfolding": (penalised, 1.0),
    "unfolding, bootstrap": (bootstrapped, 0.25),
    "in the plane, weighted": (planar, 1.0),
    "in the plane, cut ones left out": (planar_excluded, 1.0),
}


def truths(case: Case) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(99)
    bodies = statistics(case.bodies(2_000_000, rng))
    plane = statistics(Case(case.name, case.parts, case.axial_ratio).sections(1_000_000, rng))
    law = {"mu": case.parts[0][1], "sigma": case.parts[0][2]} if len(case.parts) == 1 else {}
    return {name: law if name == "lognormal fit" else bodies if "unfolding" in name else plane for name in METHODS}


def _is_tried(name: str, case: Case, n: int) -> bool:
    """Leave out what would only repeat another case, or take hours."""
    if name.startswith("unfolding,"):
        return n == 100 and case.axial_ratio == 1 and not case.edges
    return case.edges if "left out" in name else case.axial_ratio == 1 or "plane" not in name


def rows(case: Case, n: int, runs: int) -> Iterator[dict[str, object]]:
    truth = truths(case)
    for name, (method, share) in METHODS.items():
        if not truth[name] or not _is_tried(name, case, n):
            continue
        found: list[Found] = []
        n_failed = 0
        for seed in range(max(20, int(share * runs))):
            try:
                found.append(method(case, case.sections(n, np.random.default_rng(seed))))
            except InputError:
                n_failed += 1
        for quantity, true in truth[name].items():
            values = np.array([one[quantity] for one in found])
            scale = true if quantity not in ("mu", "sigma", "sigma_ln_d") else 1.0
            yield {
                "case": case.name, "n": n, "method": name, "quantity": quantity, "true": round(true, 4),
                "runs": len(found), "failed": n_failed,
                "coverage_pct": round(100 * float(np.mean((values[:, 1] <= true) & (true <= values[:, 2]))), 1),
                "bias": round(float(np.mean(values[:, 0]) - true) / scale, 4),
                "scatter": round(float(np.std(values[:, 0])) / scale, 4),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--sections", type=int, nargs="*", default=[100, 400])
    options = parser.parse_args()
    table: list[dict[str, object]] = []
    for case in (case for case in CASES if case.name in options.cases):
        for n in options.sections:
            table += rows(case, n, options.runs)
            pd.DataFrame(table).to_csv(options.out, index=False)
            print(case.name, n, flush=True)


if __name__ == "__main__":
    main()
