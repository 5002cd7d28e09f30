"""Mineral chemistry in the report: the table in words, and maps of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray

from meteoseg.report.facts import number
from meteoseg.report.images import MAX_PX, overview_shape, sample_labels
from meteoseg.report.mapsheet import LegendEntry, MapSheet

if TYPE_CHECKING:
    from meteoseg.section import Plane

_COLORS = "viridis"
#: Of pixels without a value: no colour of the scale is near this grey, neither its dark nor its bright end.
GROUND = (150, 150, 150)
_STEPS = 6
_STRETCH_PCT = (2.0, 98.0)


def chemistry_rows(chemistry: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of ``chemistry.csv`` in words.

    Examples
    --------
    >>> row = {"phase": "olivine", "quantity": "Fa", "unit": "mol%", "where": "all", "n_grains": 31, "mean": 18.62,
    ...        "sd_between_grains": 0.51, "systematic_error": 0.4, "ci_low": 17.8, "ci_high": 19.4}
    >>> found = chemistry_rows(pd.DataFrame([row]))[0]
    >>> found["mean"], found["interval"], found["where"]
    ('18.6 mol%', '17.8 - 19.4', 'whole section')
    """
    places = {"all": "whole section", "chondrules": "in chondrules"}
    return [
        {
            "phase": str(row["phase"]),
            "quantity": str(row["quantity"]).replace("_", " "),
            "where": places.get(str(row["where"]), str(row["where"])),
            "n_grains": str(int(row["n_grains"])),
            "mean": f"{_brief(row['mean'])} {row['unit']}",
            "interval": f"{_brief(row['ci_low'])} - {_brief(row['ci_high'])}",
            "scatter": _brief(row["sd_between_grains"]),
            "systematic": _brief(row["systematic_error"]),
        }
        for row in chemistry.to_dict("records")
    ]


def _brief(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.1f}" if abs(found) >= 1 else f"{found:.2f}"


def value_map_figure(
    values: Plane | NDArray[Any], name: str, unit: str, pixel_size_um: tuple[float, float], *, max_px: int = MAX_PX
) -> bytes | None:
    """Draw a map of values in colours from its 2 % to its 98 % point, with a legend; PNG bytes.

    Parameters
    ----------
    values : (H, W) floats, NaN (drawn grey) where there is no value; None is returned where all are NaN.
    pixel_size_um : (dy, dx) of `values`.
    """
    rows, cols = values.shape
    shape = overview_shape((rows, cols), max_px)
    shown = sample_labels(values, shape)
    present = np.isfinite(shown)
    if not present.any():
        return None
    low, high = np.percentile(shown[present], _STRETCH_PCT)
    high = max(high, low + 1e-3)
    share = np.clip((np.where(present, shown, low) - low) / (high - low), 0, 1)
    rgb = (255 * colormaps[_COLORS](share)[..., :3]).astype(np.uint8)
    rgb[~present] = GROUND
    ends = (bool((shown[present] < low).any()), bool((shown[present] > high).any()))
    entries = (*_scale(f"{name} ", (low, high), unit, ends), LegendEntry("not measured", _hex(GROUND)))
    size = (pixel_size_um[0] * rows / shape[0], pixel_size_um[1] * cols / shape[1])
    return MapSheet(rgb, size, entries).png()


def _scale(name: str, limits: tuple[float, float], unit: str, ends: tuple[bool, bool]) -> tuple[LegendEntry, ...]:
    """List colours from the highest value to the lowest; `ends` say whether lower and higher values share the last."""
    low, high = limits
    signs = ["≥ " if ends[1] else "", *[""] * (_STEPS - 2), "≤ " if ends[0] else ""]
    return tuple(
        LegendEntry(
            f"{name}{sign}{low + part * (high - low):.1f} {unit}",
            _hex(tuple(round(255 * value) for value in colormaps[_COLORS](part)[:3])),
        )
        for part, sign in zip(np.linspace(1, 0, _STEPS), signs, strict=True)
    )


def _hex(color: tuple[int, ...]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
