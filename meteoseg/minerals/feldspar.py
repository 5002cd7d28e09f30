"""Size of feldspar grains from the label images of a section: by place, band by band, with its limit of resolution.

What part types 4, 5 and 6 is the common size of the largest *secondary* feldspar (Van Schmus & Wood 1967). Feldspar of
chondrules may be primary, even in type 3.00 (Lewis & Jones 2018), and after recrystallisation it fills the space of the
mesostasis in pools that a map of phases cannot part into grains. So the size that counts is that between chondrules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.estimation.bootstrap import bootstrapped
from meteoseg.grid import Window, row_bands
from meteoseg.legend import HOLE, OUTSIDE, Legend
from meteoseg.minerals.grains import GrainCollector, GrainSums
from meteoseg.section import Plane

FELDSPAR_CSV = "feldspar.csv"
COLUMNS = (
    "where", "area_mm2", "feldspar_pct", "n_grains", "resolved_pct", "size_um", "standard_error_um", "ci_low_um",
    "ci_high_um", "limit_um", "statement",
)  # fmt: skip
PLAGIOCLASE = "plagioclase"
FELDSPARS = (PLAGIOCLASE, "alkali feldspar", "anorthite")
#: Glass of chondrules, which networks and coarse maps take for feldspar and the other way round.
WITH_GLASS = (*FELDSPARS, "mesostasis")
ALL, IN_CHONDRULES, BETWEEN = "all", "chondrules", "between chondrules"
BETWEEN_WITH_GLASS = "between chondrules, with mesostasis"
#: Components that lie between chondrules; feldspar of inclusions and clasts is in the row `ALL` only.
_BETWEEN_COMPONENTS = ("matrix", "rim", "metal-sulfide nodule", HOLE)
#: Nine tenths of the area of feldspar lie in grains up to the size that is given: it is that of the largest ones.
QUANTILE = 0.9
#: A grain of fewer pixels across has no shape.
LEAST_PX = 3.0
#: Grains from which on a size is given; below, the standard error means nothing.
MIN_GRAINS = 20
#: Share of the area of feldspar that must lie in resolved grains: else the largest are chance clusters of pixels.
LEAST_RESOLVED_PCT = 50.0
_BLOCKS = 12
#: Classes of diameter, 1.5 % wide, from half a pixel.
_STEP, _FIRST_PX, _CLASSES = 0.015, 0.5, 800
_BAND_PX = 2_000_000


def grain_diameters(
    n_px: NDArray[np.int64], edges: NDArray[np.floating[Any]], pixel_size_um: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the diameter of grains in um: of the disc of their area, but at most twice that of their width.

    The width is 4 A / P, the diameter of the disc of the same area per outline, with the outline P by Crofton's formula
    from the pixel edges of two directions. A net of narrow arms counts by its arms, not by the area that it covers.

    Parameters
    ----------
    n_px : (G,) pixels. edges : (2, G) pixel edges of the outline that face up or down, and left or right.

    Examples
    --------
    >>> square, strip = (100, (20, 20)), (300, (600, 2))
    >>> [round(float(grain_diameters(np.array([n]), np.array(e)[:, None], (1, 1))[0]), 1) for n, e in (square, strip)]
    [11.3, 5.1]
    """
    height_um, width_um = pixel_size_um
    area_um2 = np.asarray(n_px, float) * height_um * width_um
    outline_um = np.pi / 4 * (edges[0] * width_um + edges[1] * height_um)
    # A grain that fills the map has no outline.
    width = 4 * area_um2 / np.maximum(outline_um, 1e-9)
    return np.asarray(np.minimum(np.sqrt(4 * area_um2 / np.pi), 2 * width))


@dataclass
class GrainSizes:
    """Area of grains by block of the section and class of diameter, from row bands in order.

    The grains are 8-connected and joined across bands, so that the result does not depend on the bands.
    """

    shape: tuple[int, int]
    pixel_size_um: tuple[float, float]
    area_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros((_BLOCKS**2, _CLASSES), np.int64))
    n_resolved: int = 0
    _collector: GrainCollector = field(default_factory=lambda: GrainCollector(2, 1))

    def add(self, band: NDArray[np.bool_], above: NDArray[np.bool_] | None, below: NDArray[np.bool_] | None) -> None:
        """Take in the next rows (h, W); `above` and `below` are the rows next to them (W,), None at the border."""
        no_object = band.view(np.uint8)
        self._collector.add(band, no_object, None, _outline(band, above, below))
        self._count(self._collector.drain())

    def finish(self) -> None:
        """Close the grains at the last row."""
        self._count(self._collector.finish())

    def _count(self, grains: GrainSums) -> None:
        unit_um = self.unit_um
        diameter_px = grain_diameters(grains.n_px, grains.sums, self.pixel_size_um) / unit_um
        steps = np.log(np.maximum(diameter_px, _FIRST_PX) / _FIRST_PX) / _STEP
        index = np.clip(steps.astype(np.int64), 0, _CLASSES - 1)
        row, col = (
            np.minimum((centre * _BLOCKS / side).astype(np.int64), _BLOCKS - 1)
            for centre, side in zip((grains.row_px, grains.col_px), self.shape, strict=True)
        )
        np.add.at(self.area_px, (row * _BLOCKS + col, index), grains.n_px)
        self.n_resolved += int(np.count_nonzero(diameter_px >= LEAST_PX))

    @property
    def unit_um(self) -> float:
        """Side of the square of a pixel's area."""
        return float(np.sqrt(np.prod(self.pixel_size_um)))

    @property
    def limit_um(self) -> float:
        """Least diameter that is resolved: three pixels, of the longer side."""
        return LEAST_PX * max(self.pixel_size_um)

    def size(self) -> tuple[float, float, float, float]:
        """Return the size in um, its standard error and the ends of its 95 % interval, by a bootstrap over blocks."""
        filled = self.area_px[self.area_px.sum(axis=1) > 0]
        if not len(filled):
            return (np.nan,) * 4
        value = float(_quantile_px(filled.sum(axis=0)[None])[0] * self.unit_um)
        return bootstrapped(value, filled, lambda areas: _quantile_px(areas) * self.unit_um)

    def resolved_pct(self) -> float:
        """Return the share of the area that lies in resolved grains."""
        first = int(np.ceil(np.log(LEAST_PX / _FIRST_PX) / _STEP))
        total = self.area_px.sum()
        return float(100 * self.area_px[:, first:].sum() / total) if total else np.nan


def _quantile_px(areas: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return the diameter (px) below which `QUANTILE` of the area lies, for each row of classes."""
    share = np.cumsum(areas, axis=1) / areas.sum(axis=1, keepdims=True)
    index = (share >= QUANTILE - 1e-12).argmax(axis=1)
    return np.asarray(_FIRST_PX * np.exp(_STEP * (index + 0.5)))


def _outline(
    band: NDArray[np.bool_], above: NDArray[np.bool_] | None, below: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Count the edges of each pixel (2, h, W) towards others: up and down, left and right; the map's border is none."""
    rows = [band[:1] if above is None else above[None], band, band[-1:] if below is None else below[None]]
    tall = np.concatenate(rows)
    wide = np.pad(band, ((0, 0), (1, 1)), mode="edge")
    free = (~tall[:-2]).view(np.uint8) + ~tall[2:], (~wide[:, :-2]).view(np.uint8) + ~wide[:, 2:]
    return np.stack([np.where(band, count, 0).astype(np.uint8) for count in free])


def feldspar_table(
    planes: Mapping[str, Plane], legends: Mapping[str, Legend], pixel_size_um: tuple[float, float]
) -> pd.DataFrame:
    """Measure the feldspar of a section, row band by row band.

    Parameters
    ----------
    planes, legends : label images of one grid by layer: ``phases`` and, where known, ``components``.

    Returns
    -------
    Columns `COLUMNS`, a row per place; where the components are not known there is one, `ALL`. Without feldspar, or
    where it is finer than the map resolves, `size_um` is empty and the size is under `limit_um`.
    """
    counts = {name: GrainSizes(planes["phases"].shape, pixel_size_um) for name in _wanted(planes)}
    solid_px = dict.fromkeys(counts, 0)
    for window in row_bands(planes["phases"].shape, _BAND_PX):
        outer = window.padded(1, planes["phases"].shape)
        rows = window.within(outer)[0]
        for name, (grains, solid) in _masks(planes, legends, outer, list(counts)).items():
            above = grains[rows.start - 1] if rows.start else None
            below = grains[rows.stop] if rows.stop < len(grains) else None
            counts[name].add(grains[rows], above, below)
            solid_px[name] += int(np.count_nonzero(solid[rows]))
    for found in counts.values():
        found.finish()
    return pd.DataFrame([_row(name, found, solid_px[name]) for name, found in counts.items()], columns=list(COLUMNS))


def _wanted(planes: Mapping[str, Plane]) -> Sequence[str]:
    return (ALL, IN_CHONDRULES, BETWEEN, BETWEEN_WITH_GLASS) if "components" in planes else (ALL,)


def _masks(
    planes: Mapping[str, Plane], legends: Mapping[str, Legend], window: Window, names: Sequence[str]
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return where the feldspar of each place is, and what is solid there, both (h, w) of `window`."""
    phases = planes["phases"].read(window)
    feldspar, with_glass = (np.isin(phases, _ids(legends["phases"], wanted)) for wanted in (FELDSPARS, WITH_GLASS))
    solid = ~np.isin(phases, _ids(legends["phases"], (OUTSIDE, HOLE)))
    found = {ALL: (feldspar, solid)}
    if len(names) > 1:
        component = planes["components"].read(window)
        inside, between = (
            np.isin(component, _ids(legends["components"], wanted)) for wanted in (("chondrule",), _BETWEEN_COMPONENTS)
        )
        found[IN_CHONDRULES] = feldspar & inside, solid & inside
        found[BETWEEN] = feldspar & between, solid & between
        found[BETWEEN_WITH_GLASS] = with_glass & between, solid & between
    return found


def _ids(legend: Legend, names: Sequence[str]) -> list[int]:
    return [legend[name].id for name in names if name in legend]


def _row(name: str, found: GrainSizes, solid_px: int) -> dict[str, Any]:
    area_px = int(found.area_px.sum())
    value, error, low, high = found.size()
    few = found.n_resolved < MIN_GRAINS
    is_fine = not few and (value < found.limit_um or found.resolved_pct() < LEAST_RESOLVED_PCT)
    row: dict[str, Any] = {
        "where": name,
        "area_mm2": solid_px * found.unit_um**2 / 1e6,
        "feldspar_pct": 100 * area_px / solid_px if solid_px else np.nan,
        "n_grains": found.n_resolved,
        "resolved_pct": found.resolved_pct(),
        "limit_um": found.limit_um,
    }
    if few or is_fine:
        row |= dict.fromkeys(("size_um", "standard_error_um", "ci_low_um", "ci_high_um"), np.nan)
        why = f"only {found.n_resolved} grains are resolved" if few else "finer than the map resolves"
        return row | {"statement": f"under {found.limit_um:.3g} um: {why}"}
    row |= {"size_um": value, "standard_error_um": error, "ci_low_um": low, "ci_high_um": high}
    return row | {"statement": f"{value:.3g} um ({low:.3g} to {high:.3g}), {found.n_resolved} grains"}
