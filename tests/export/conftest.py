"""A small finished result: maps, label images, tables, run.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from ring_and_disc import SHAPE, SIZE_UM, object_labels

from meteoseg.io import open_section, write_labels
from meteoseg.legend import default_legend, write_legend_csv
from meteoseg.objects import measure_objects
from meteoseg.runs.provenance import section_facts, sha256_of
from meteoseg.tables.measure import write_json


@pytest.fixture
def maps_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "maps" / "A12"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for name, mean in {"Fe": 30, "Mg": 80, "BSE": 120}.items():
        tifffile.imwrite(folder / f"A12_{name}.tif", rng.poisson(mean, SHAPE).astype(np.uint16))
    return folder


@pytest.fixture
def result(tmp_path: Path, maps_folder: Path) -> Path:
    folder = tmp_path / "results" / "A12"
    folder.mkdir(parents=True)
    labels = object_labels()
    phases = np.random.default_rng(2).integers(0, 5, SHAPE).astype(np.uint8)
    components = np.where(labels > 0, 2, 7).astype(np.uint8)
    for name, image in {"phases": phases, "components": components, "chondrules": labels}.items():
        write_labels(folder / f"{name}.ome.tif", image, pixel_size_um=SIZE_UM, name=name)
    write_legend_csv(folder / "legend.csv", default_legend("phases"), default_legend("components"))
    table = measure_objects(labels, SIZE_UM, kinds={300: "fragment"})
    table["texture"] = ["porphyritic olivine", None, None]
    table.to_csv(folder / "chondrules.csv", index=False)
    section = open_section(maps_folder).with_pixel_size(SIZE_UM)
    inputs = [{"file": str(path), "sha256": sha256_of(path)} for path in sorted(maps_folder.iterdir())]
    write_json(folder / "run.json", {"section": section_facts(section), "inputs": inputs})
    return folder
