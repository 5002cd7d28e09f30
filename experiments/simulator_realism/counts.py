"""Microprobe counts at 1 um: Semarkona's chondrule 8, and simulated fields."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

import meteoseg as ms
from meteoseg.errors import InputError
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.simulate import Detector, make_recipe, simulate_recipe

PERCENT = (5, 25, 50, 75, 95)
_FIELD_PX = 500


def chondrule_8() -> dict[str, np.ndarray]:
    """Read the ten element maps of chondrule 8: element -> counts of the mapped pixels."""
    if "METEOSEG_DATA" not in os.environ:
        raise InputError("METEOSEG_DATA is not set: let it name the folder that holds semarkona-chm8.")
    folder = Path(os.environ["METEOSEG_DATA"]) / "semarkona-chm8"
    section = ms.open_section(folder, pixel_size_um=1.0)
    planes = {name: section.channels[name].plane.read(section.window) for name in section.channel_names}
    mapped = (read_labels(folder / "mask.tif") > 0) & (sum(plane.astype(np.int64) for plane in planes.values()) > 0)
    return {name: plane[mapped] for name, plane in planes.items()}


def simulated_field(seed: int, elements: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Simulate a field of LL3.0 at 1 um as a microprobe maps it (40 nA, 15 ms): element -> counts of rock."""
    made = simulate_recipe(
        make_recipe("LL", petrologic_type=3.0, weathering="W1", epoxy_edge=False),
        Detector("wds"),
        shape=(_FIELD_PX, _FIELD_PX),
        pixel_size_um=1.0,
        seed=seed,
        channels=elements,
    )
    legend = default_legend("components")
    rock = ~np.isin(made.components, [legend["outside"].id, legend["hole"].id])
    return {name: made.section.channels[name].plane.read(made.section.window)[rock] for name in elements}


def quantiles(counts: dict[str, np.ndarray]) -> pd.DataFrame:
    """Tabulate quantiles of the counts: one row per element."""
    rows = {name: np.percentile(values, PERCENT) for name, values in counts.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"p{p}" for p in PERCENT]).rename_axis("element")
