"""All tables of the chondrules of a section, written to its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.chondrules.counts import chondrule_counts
from meteoseg.chondrules.minerals import MINERAL_COLUMNS, count_phases, mineral_columns, phases_by_chondrule
from meteoseg.chondrules.rims import RIM_COLUMNS, rim_columns
from meteoseg.chondrules.sizes import edge_weights, size_tables
from meteoseg.chondrules.types import composition_columns
from meteoseg.legend import Legend
from meteoseg.objects import measure_objects
from meteoseg.section import Plane
from meteoseg.stereology.edges import EdgeCorrection

CHONDRULES_CSV = "chondrules.csv"
PHASES_CSV, COUNTS_CSV = "phases_by_chondrule.csv", "chondrule_counts.csv"
_RIM = "rim"


@dataclass(frozen=True)
class Compositions:
    """Compositions of minerals: grains and their means, as grains.csv and chemistry.csv; None where not measured."""

    grains: pd.DataFrame | None = None
    means: pd.DataFrame | None = None


@dataclass(frozen=True)
class ObjectLabels:
    """Objects of a section and what lies in and around them.

    objects : (H, W) ids. inside : (H, W) the section; None: all of it. planes, legends : by layer, on the same grid;
    layers may lack. pixel_size_um : (dy, dx).
    """

    objects: NDArray[Any]
    inside: NDArray[np.bool_] | None
    planes: Mapping[str, Plane]
    legends: Mapping[str, Legend]
    pixel_size_um: tuple[float, float]


def write_object_tables(
    folder: Path, labels: ObjectLabels, compositions: Compositions, *, kinds: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """Write chondrules.csv, phases_by_chondrule.csv, chondrule_counts.csv, sizes.csv and size_distribution.csv.

    Parameters
    ----------
    kinds : kinds of objects by id.

    Returns
    -------
    The content of chondrules.csv.
    """
    table = measure_objects(labels.objects, labels.pixel_size_um, kinds=kinds, mask=labels.inside)
    ids = table["id"].to_numpy(np.int64)
    minerals = pd.DataFrame({name: "" if name == MINERAL_COLUMNS[0] else np.nan for name in MINERAL_COLUMNS},
                            index=table.index)  # fmt: skip
    if "phases" in labels.planes:
        legend = labels.legends["phases"]
        counts = count_phases(labels.objects, labels.planes["phases"], legend, ids)
        minerals = mineral_columns(counts, legend)
        pixel_area_um2 = labels.pixel_size_um[0] * labels.pixel_size_um[1]
        by_object = phases_by_chondrule(counts, legend, ids, pixel_area_um2=pixel_area_um2)
        by_object.to_csv(folder / PHASES_CSV, index=False)
    measured = composition_columns(table["id"], compositions.grains, compositions.means)
    table = pd.concat([table, minerals, measured, _rims(labels, table)], axis=1)
    mask = np.ones(labels.objects.shape, bool) if labels.inside is None else labels.inside
    edges = EdgeCorrection.of_mask(mask, labels.pixel_size_um)
    table["edge_weight"] = edge_weights(table, edges)
    table.to_csv(folder / CHONDRULES_CSV, index=False)
    chondrule_counts(table).to_csv(folder / COUNTS_CSV, index=False)
    size_tables(table, edges).write(folder)
    return table


def _rims(labels: ObjectLabels, table: pd.DataFrame) -> pd.DataFrame:
    if "components" not in labels.planes or _RIM not in labels.legends["components"]:
        return pd.DataFrame(np.nan, index=table.index, columns=list(RIM_COLUMNS))
    rim_id = labels.legends["components"][_RIM].id
    found = rim_columns(labels.objects, labels.planes["components"], rim_id, labels.pixel_size_um)
    return found[list(RIM_COLUMNS)]
