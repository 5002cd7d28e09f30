"""The tables sizes.csv and size_distribution.csv: diameters in the plane of section and of the spheres behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from meteoseg.errors import InputError
from meteoseg.objects import DEFAULT_KIND, cut_off_of
from meteoseg.stereology.edges import EdgeCorrection, mean_breadth
from meteoseg.stereology.planar import MIN_OBJECTS, Estimate, size_estimates
from meteoseg.stereology.unfolding import Unfolded, unfold
from meteoseg.stereology.wicksell import LognormalSizes, Uncut, fit_lognormal_wicksell, lognormal_misfit

SIZES_CSV, DISTRIBUTION_CSV = "sizes.csv", "size_distribution.csv"
#: Columns of ``sizes.csv``.
COLUMNS = (
    "dimension", "method", "weighting", "edge_rule", "quantity", "unit", "value", "standard_error", "ci_low", "ci_high",
    "n", "cut_off_um", "note",
)  # fmt: skip
#: Columns of ``size_distribution.csv``.
DISTRIBUTION_COLUMNS = (
    "d_low_um", "d_high_um", "n_sections", "section_pct", "sphere_pct", "sphere_ci_low_pct", "sphere_ci_high_pct",
    "lognormal_sphere_pct",
)  # fmt: skip
QUANTITIES = {"mean_diameter": "um", "median_diameter": "um", "sigma_ln_d": ""}
EXCLUDED, WEIGHTED = "excluded", "weighted"
_NORMAL_95 = 1.959964
_NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan)
_BIASED = "large objects are cut more often: low"
_FROM_CUT_OFF = "spheres of the cut-off and more"


@dataclass(frozen=True)
class SizeTables:
    """Contents of sizes.csv and size_distribution.csv."""

    sizes: pd.DataFrame
    distribution: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> SizeTables | None:
        """Read both from a result folder; None where it lacks them."""
        if not (folder / SIZES_CSV).is_file() or not (folder / DISTRIBUTION_CSV).is_file():
            return None
        return cls(*(pd.read_csv(folder / name) for name in (SIZES_CSV, DISTRIBUTION_CSV)))

    def write(self, folder: Path) -> None:
        """Write both into a folder."""
        self.sizes.to_csv(folder / SIZES_CSV, index=False)
        self.distribution.to_csv(folder / DISTRIBUTION_CSV, index=False)


@dataclass(frozen=True)
class _Whole:
    """Intact chondrules that no edge cuts, from the cut-off on: diameters (um) and weights (n,)."""

    diameters_um: NDArray[np.float64]
    weights: NDArray[np.float64]
    cut_off_um: float
    uncut: Uncut

    @property
    def n(self) -> int:
        return len(self.diameters_um)


def edge_weights(chondrules: pd.DataFrame, edges: EdgeCorrection) -> NDArray[np.float64]:
    """Return for how many objects of its size each one stands that no edge cuts; NaN for those that are cut.

    Parameters
    ----------
    chondrules : columns of `measure_objects`.
    """
    breadth_um = mean_breadth(*(chondrules[name] for name in _BREADTH_COLUMNS))
    return np.where(chondrules["touches_edge"].astype(bool), np.nan, edges.weights(breadth_um))


_BREADTH_COLUMNS = ("equivalent_diameter_um", "major_axis_um", "minor_axis_um")


def size_tables(chondrules: pd.DataFrame, edges: EdgeCorrection) -> SizeTables:
    """Measure the size distribution of the intact chondrules of a section.

    Parameters
    ----------
    chondrules : as chondrules.csv, with `edge_weight`.
    edges : of the section's mask.

    Returns
    -------
    Every row is there whatever was found: where the objects are too few its values are empty and the note says so.
    """
    whole = _whole(chondrules, edges)
    law, unfolded, notes = None, None, {}
    for method in ("lognormal", "unfolded"):
        try:
            if method == "lognormal":
                law = fit_lognormal_wicksell(whole.diameters_um, d_min_um=whole.cut_off_um, uncut=whole.uncut)
            else:
                unfolded = unfold(whole.diameters_um, d_min_um=whole.cut_off_um, uncut=whole.uncut)
        except InputError as error:
            notes[method] = f"not enough: {error}"
    rows = [*_plane_rows(whole, edges), *_law_rows(whole, law, notes), *_unfolded_rows(unfolded, notes)]
    sizes = pd.DataFrame(rows, columns=list(COLUMNS)).assign(n=whole.n, cut_off_um=whole.cut_off_um)
    return SizeTables(sizes, _distribution(whole, unfolded, law))


def _whole(chondrules: pd.DataFrame, edges: EdgeCorrection) -> _Whole:
    cut_off_um = cut_off_of(chondrules)
    is_whole = (chondrules["kind"] == DEFAULT_KIND) & ~chondrules["touches_edge"].astype(bool)
    own = chondrules[is_whole]
    if cut_off_um is not None:
        # The tolerance keeps an object of exactly the cut-off diameter.
        own = own[own["equivalent_diameter_um"] >= cut_off_um * (1 - 1e-9)]
    diameters_um = own["equivalent_diameter_um"].to_numpy(float)
    breadth_um = mean_breadth(*(own[name] for name in _BREADTH_COLUMNS))
    stretch = float(np.median(breadth_um / diameters_um)) if len(own) else 1.0

    def uncut(d_um: NDArray[np.float64]) -> NDArray[np.float64]:
        return edges.share_at(stretch * d_um)

    weights = own["edge_weight"].to_numpy(float)
    return _Whole(diameters_um, weights, np.nan if cut_off_um is None else cut_off_um, uncut)


def _plane_rows(whole: _Whole, edges: EdgeCorrection) -> Iterator[dict[str, Any]]:
    for weighting, power in (("number", 0), ("area", 2)):
        for edge_rule in (WEIGHTED, EXCLUDED):
            weights = whole.diameters_um**power * (whole.weights if edge_rule == WEIGHTED else 1.0)
            found = size_estimates(whole.diameters_um, weights)
            note = _BIASED if edge_rule == EXCLUDED else ""
            few = f"not enough: {whole.n} whole chondrules, {MIN_OBJECTS} are needed"
            head = {"dimension": 2, "method": "measured", "weighting": weighting, "edge_rule": edge_rule}
            for quantity in QUANTITIES:
                yield head | _row(quantity, found.get(quantity, _NOTHING)) | {"note": note if found else few}
    area_mm2 = edges.area_um2 / 1e6
    density, error = np.nan, np.nan
    if whole.n >= MIN_OBJECTS and area_mm2 > 0:
        density, error = whole.weights.sum() / area_mm2, float(np.sqrt((whole.weights**2).sum())) / area_mm2
    factor = np.exp(_NORMAL_95 * error / density)
    row = _row("chondrules_per_area", Estimate(density, error, density / factor, density * factor), "1/mm2")
    head = {"dimension": 2, "method": "measured", "weighting": "number", "edge_rule": WEIGHTED}
    yield head | row | {"note": "" if np.isfinite(density) else few}


def _law_rows(whole: _Whole, law: LognormalSizes | None, notes: dict[str, str]) -> Iterator[dict[str, Any]]:
    head = {"dimension": 3, "method": "lognormal", "weighting": "number", "edge_rule": WEIGHTED}
    if law is None:
        yield from (head | _row(name, _NOTHING) | {"note": notes["lognormal"]} for name in QUANTITIES)
        yield head | _row("misfit_probability", _NOTHING, "") | {"note": notes["lognormal"]}
        return
    chance = lognormal_misfit(whole.diameters_um, law, uncut=whole.uncut)
    doubt = chance is not None and chance < 0.05
    note = "the law does not fit: take the unfolding" if doubt else "the law goes on below the cut-off"
    half = _NORMAL_95 * law.sigma_se
    found = {
        "mean_diameter": _of_log(law.mean_um, law.ln_mean_se),
        "median_diameter": _of_log(law.median_um, law.mu_se),
        "sigma_ln_d": Estimate(law.sigma, law.sigma_se, max(0.0, law.sigma - half), law.sigma + half),
    }
    yield from (head | _row(name, found[name]) | {"note": note} for name in QUANTITIES)
    misfit = Estimate(np.nan if chance is None else chance, np.nan, np.nan, np.nan)
    yield head | _row("misfit_probability", misfit, "") | {"note": "not enough for a test" if chance is None else note}


def _unfolded_rows(unfolded: Unfolded | None, notes: dict[str, str]) -> Iterator[dict[str, Any]]:
    head = {"dimension": 3, "method": "unfolded", "weighting": "number", "edge_rule": WEIGHTED}
    found = {} if unfolded is None else unfolded.estimates()
    note = notes.get("unfolded", _FROM_CUT_OFF)
    yield from (head | _row(name, found.get(name, _NOTHING)) | {"note": note} for name in QUANTITIES)


def _row(quantity: str, found: Estimate, unit: str | None = None) -> dict[str, Any]:
    return {
        "quantity": quantity,
        "unit": QUANTITIES[quantity] if unit is None else unit,
        "value": found.value,
        "standard_error": found.standard_error,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
    }


def _of_log(value: float, ln_error: float) -> Estimate:
    factor = float(np.exp(_NORMAL_95 * ln_error))
    return Estimate(value, value * ln_error, value / factor, value * factor)


def _distribution(whole: _Whole, unfolded: Unfolded | None, law: LognormalSizes | None) -> pd.DataFrame:
    """Tabulate the shares per class; without an unfolding those of the sections alone."""
    if whole.n < MIN_OBJECTS:
        return pd.DataFrame(columns=list(DISTRIBUTION_COLUMNS))
    n_classes = int(np.clip(round(np.sqrt(whole.n)), 4, 24))
    top_um = float(whole.diameters_um.max()) * 1.001
    edges_um = np.geomspace(whole.cut_off_um, top_um, n_classes + 1) if unfolded is None else unfolded.edges_um
    limits = np.concatenate([[min(edges_um[0], whole.diameters_um.min())], edges_um[1:]])
    weighted = np.histogram(whole.diameters_um, limits, weights=whole.weights)[0]
    empty = np.full(len(edges_um) - 1, np.nan)
    low, high = (empty, empty) if unfolded is None else unfolded.share_interval()
    columns = (
        edges_um[:-1],
        edges_um[1:],
        np.histogram(whole.diameters_um, limits)[0],
        100 * weighted / weighted.sum(),
        empty if unfolded is None else 100 * unfolded.share,
        100 * low,
        100 * high,
        empty if law is None else 100 * _law_shares(law, edges_um),
    )
    return pd.DataFrame(dict(zip(DISTRIBUTION_COLUMNS, columns, strict=True)))


def _law_shares(law: LognormalSizes, edges_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the classes among the spheres that lie in any of them."""
    reached = special.ndtr((np.log(edges_um) - law.mu) / law.sigma)
    return np.asarray(np.diff(reached) / max(float(reached[-1] - reached[0]), 1e-12))
