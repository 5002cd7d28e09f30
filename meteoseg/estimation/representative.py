"""How representative the mapped area is: relative errors, numbers of objects, the area that 10 % would need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.estimation.blocks import SamplingError

COLUMNS = (
    "layer", "name", "value", "unit", "relative_error_pct", "n_blocks", "correlation_um", "n_objects",
    "count_error_pct", "mapped_mm2", "mm2_for_10_pct", "statement",
)  # fmt: skip
INCLUSION = "inclusion"
#: Relative error (%) that an abundance should have.
GOOD_PCT, ROUGH_PCT = 10.0, 30.0
#: Mapped area under which nothing stands for the rock, as in the group suggestion.
LEAST_MM2 = 20.0
#: Under this area (mm2) the abundance of refractory inclusions is weak (Hezel et al. 2008, Meteorit. Planet. Sci. 43).
INCLUSION_MM2 = 1000.0
#: 95 % upper limit of a Poisson mean where nothing was found: -ln 0.05.
_NONE_FOUND = 3.0
#: Statement of a class that labelled points found and the map has nowhere.
_POINTS_ALONE = "not on the map: found by labelled points alone"
_NO_DIAMETER = "not known: too few whole chondrules"


def mode_rows(
    layer: str,
    names: Sequence[str],
    sampling: SamplingError,
    *,
    cell_um: float,
    mapped_mm2: float,
    object_areas: Mapping[str, NDArray[np.int64]],
) -> pd.DataFrame:
    """Return a row for the abundance of each class of a layer.

    The relative error is the standard error of the blocks over the share. Where objects were counted it is at least
    that of objects strewn independently, ``sqrt(sum a^2) / sum a`` for objects of areas a (compound Poisson). It falls
    with the root of the area: the area for 10 % is ``mapped * (error / 10 %)^2``.

    Parameters
    ----------
    names, sampling : classes and their sampling error.
    cell_um : side of a cell. mapped_mm2 : solid area.
    object_areas : areas (px) of the connected objects of those classes whose objects were counted.
    """
    rows = [
        _mode_row(
            layer,
            name,
            sampling,
            index,
            cell_um=cell_um,
            mapped_mm2=mapped_mm2,
            areas=object_areas[name].astype(float) if name in object_areas else None,
        )
        for index, name in enumerate(names)
    ]
    if mapped_mm2 > 0:
        rows += [none_found(layer, name, mapped_mm2) for name in object_areas if name not in names]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mode_row(
    layer: str,
    name: str,
    sampling: SamplingError,
    index: int,
    *,
    cell_um: float,
    mapped_mm2: float,
    areas: NDArray[np.float64] | None,
) -> tuple[object, ...]:
    share = float(sampling.share[index])
    if share <= 0:
        return (layer, name, 0.0, "area %", math.nan, 0, *[math.nan] * 3, mapped_mm2, math.nan, _POINTS_ALONE)
    relative = 100 * float(sampling.error[index]) / share
    n_objects, count_error = (math.nan if areas is None else float(len(areas))), math.nan
    if areas is not None and len(areas):
        count_error = 100 / math.sqrt(len(areas))
        strewn = 100 * float(np.sqrt((areas**2).sum()) / areas.sum())
        relative = max(strewn, relative) if not math.isnan(relative) else strewn
    return (
        layer, name, 100 * share, "area %", relative, int(sampling.n_blocks[index]),
        cell_um * float(sampling.correlation_cells[index]), n_objects, count_error, mapped_mm2,
        _area_for_10(mapped_mm2, relative), statement(name, relative, mapped_mm2),
    )  # fmt: skip


def none_found(layer: str, name: str, mapped_mm2: float) -> tuple[object, ...]:
    """Return the row of a class of which no object was found."""
    text = f"none found: fewer than {_NONE_FOUND:g} in {mapped_mm2:.3g} mm2 of the rock (95 %)"
    nan = math.nan
    return (layer, name, 0.0, "area %", nan, 0, nan, 0.0, nan, mapped_mm2, nan, text)


def diameter_row(mean_um: float, error_um: float, n: int, mapped_mm2: float) -> pd.DataFrame:
    """Return the row of the mean chondrule diameter: its value, standard error and number of chondrules."""
    nan = math.nan
    relative = 100 * error_um / mean_um
    told = _NO_DIAMETER if math.isnan(relative) else statement("", relative, mapped_mm2)
    row = ("chondrules", "mean diameter", mean_um, "um", relative, 0, nan, float(n), 100 / math.sqrt(n) if n else nan,
           mapped_mm2, _area_for_10(mapped_mm2, relative), told)  # fmt: skip
    return pd.DataFrame([row], columns=list(COLUMNS))


def _area_for_10(mapped_mm2: float, relative_pct: float) -> float:
    return mapped_mm2 * (relative_pct / GOOD_PCT) ** 2


def statement(name: str, relative_pct: float, mapped_mm2: float) -> str:
    """Say how good a quantity is.

    Examples
    --------
    >>> statement("matrix", 14.0, 20.0)
    'rough: about 39 mm2 would give 10 %'
    >>> statement("inclusion", 8.0, 200.0)
    'weak: inclusions need about 1000 mm2'
    >>> statement("olivine", 8.0, 0.04)
    'no sample of the rock: under 20 mm2'
    """
    if name == INCLUSION and mapped_mm2 < INCLUSION_MM2:
        needed = max(INCLUSION_MM2, _area_for_10(mapped_mm2, relative_pct)) if relative_pct == relative_pct else 1000.0
        return (
            f"weak: inclusions need about {_spoken(needed)} mm2"
            if needed >= 1e4
            else f"weak: inclusions need about {needed:.0f} mm2"
        )
    if math.isnan(relative_pct):
        return "not known: too few blocks"
    if mapped_mm2 < LEAST_MM2:
        return f"no sample of the rock: under {LEAST_MM2:g} mm2"
    if relative_pct <= GOOD_PCT:
        return "representative to 10 %"
    word = "rough" if relative_pct <= ROUGH_PCT else "weak"
    return f"{word}: about {_spoken(_area_for_10(mapped_mm2, relative_pct))} mm2 would give 10 %"


def _spoken(area_mm2: float) -> str:
    """Write an area with two figures, never as a power of ten."""
    return f"{float(f'{area_mm2:.2g}'):.10g}"
