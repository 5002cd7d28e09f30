"""Write a simulated section as a folder of maps with its truth beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tifffile

from meteoseg.errors import OutputExistsError
from meteoseg.legend import default_legend, write_legend_csv
from meteoseg.runs.output import all_or_nothing, complete_or_absent
from meteoseg.simulate.section import SimulatedSection
from meteoseg.system.diskspace import DiskNeed


def write_example(simulated: SimulatedSection, out: Path) -> Path:
    """Write maps and section.toml (pixel size) to `out`; labels, chondrules.csv and recipe.json to `out`/truth.

    All files are written or none. `out` is then both a SECTION for every command and a training example.

    Raises
    ------
    OutputExistsError : `out` exists and is not empty.
    DiskFullError : the disk is full.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputExistsError(f"Output folder {out} exists and is not empty: choose another name with -o.")
    if out.exists():
        with all_or_nothing(out, _need(simulated)) as renewed:
            _write(simulated, renewed.folder)
    else:
        with complete_or_absent(out, _need(simulated)) as folder:
            _write(simulated, folder)
    return out


def _need(simulated: SimulatedSection) -> DiskNeed:
    """Disk space that the files take at most: a value in two bytes, a label in as many as it has."""
    section = simulated.section
    maps = 2 * len(section.channels) * section.shape[0] * section.shape[1]
    labels = sum(layer.nbytes for layer in (simulated.phases, simulated.components, simulated.chondrules))
    return DiskNeed(f"simulating '{section.name}'", 0, maps + labels)


def _write(simulated: SimulatedSection, out: Path) -> None:
    (out / "truth").mkdir()
    section = simulated.section
    size = section.require_pixel_size()
    lines = [f'name = "{section.name}"', f"pixel_size_um = [{size[0]:g}, {size[1]:g}]", "", "[channels]"]
    for name in section.channel_names:
        path = f"{section.name}_{name}.tif"
        tifffile.imwrite(out / path, section.channels[name].plane.read(section.window), compression="zlib")
        lines.append(f'{name} = {{ file = "{path}", unit = "{section.channels[name].unit}" }}')
    (out / "section.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for layer, labels in (
        ("phases", simulated.phases),
        ("components", simulated.components),
        ("chondrules", simulated.chondrules),
    ):
        metadata = {"PhysicalSizeX": size[1], "PhysicalSizeXUnit": "µm", "PhysicalSizeY": size[0],
                    "PhysicalSizeYUnit": "µm", "axes": "YX", "Name": layer}  # fmt: skip
        label_path = out / "truth" / f"{layer}.ome.tif"
        tifffile.imwrite(label_path, np.ascontiguousarray(labels), ome=True, metadata=metadata, compression="zlib")
    table = simulated.chondrule_table()
    table.to_csv(out / "truth" / "chondrules.csv", index=False, float_format="%.6g")
    settings = {"recipe": asdict(simulated.recipe), "detector": asdict(simulated.detector)}
    (out / "truth" / "recipe.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    write_legend_csv(out / "truth" / "legend.csv", default_legend("phases"), default_legend("components"))
