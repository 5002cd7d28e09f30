"""Make training examples of the hand-drawn Semarkona ps1b (west part): the whole of it, halves and quarters.

    METEOSEG_DATA=folder-of-public-maps python experiments/real_sections/west_examples.py runs/west

Writes ``west-whole``, ``west-left`` and ``west-right`` (maps, section mask, ``truth``) for `meteoseg train` and for
spatial cross-validation, and the upper half of both halves (``west-left-up``, ``west-right-up``) for a learning curve.
Between the halves lies a strip that belongs to neither, placed near the middle and just wide enough that no drawn
object has pixels in both. The labels follow the drawing: all that is not outlined is
matrix; cracks, pits and fine-grained rims were not drawn. The section mask of the source includes an unmapped corner
and the ragged lower edge, which are ``outside`` here. The folders hold public data of others: they are made afresh,
not kept in the repository.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage as ndi

from meteoseg.grid import Window
from meteoseg.io import read_labels, write_labels
from meteoseg.legend import default_legend

SOURCE = "semarkona-ps1b-west"
CHANNELS = ("BSE", "Mg", "Ca", "Fe", "Al")
#: The pixel size is not documented; this is good to 20 %.
PIXEL_UM = 25.0
#: What the drawing calls an object of each kind -> component of the legend.
COMPONENTS = {
    "chondrule or fragment": "chondrule",
    "metal-sulfide nodule": "metal-sulfide nodule",
    "Ca-Al-rich object": "inclusion",
}
MIN_STRIP_PX = 16
#: Grey level below which, in all channels, solid areas hold no rock.
NO_SIGNAL = 8


def find_strip(objects: NDArray[np.integer]) -> tuple[int, int]:
    """Return the first and last-plus-one column of a strip near the middle that parts all objects (H, W).

    The narrowest strip of `MIN_STRIP_PX` or more that no object crosses, within a sixteenth of the width from the
    middle; of several the one closest to the middle.
    """
    cols = objects.shape[1]
    where = np.nonzero(objects)
    extent = pd.DataFrame({"id": objects[where], "col": where[1]}).groupby("id")["col"].agg(["min", "max"])
    first, last = (extent[name].to_numpy() for name in ("min", "max"))
    offsets = sorted(range(-cols // 16, cols // 16 + 1), key=abs)
    strips = (
        (cols // 2 + offset - width // 2, cols // 2 + offset - width // 2 + width)
        for width in count(MIN_STRIP_PX)
        for offset in offsets
    )
    return next((start, end) for start, end in strips if not ((first < start) & (last >= end)).any())


@dataclass(frozen=True)
class Drawing:
    """The section with its drawing: maps by channel, rock (bool), component ids and chondrule ids, all (H, W)."""

    maps: dict[str, NDArray[np.uint8]]
    rock: NDArray[np.bool_]
    components: NDArray[np.uint8]
    chondrules: NDArray[np.int32]


def read_drawing(source: Path) -> Drawing:
    """Read the maps and turn the drawing into component and chondrule ids."""
    legend = default_legend("components")
    maps = {name: tifffile.imread(source / f"Semarkona-ps1b_{name}.tif") for name in CHANNELS}
    objects = read_labels(source / "objects.tif").astype(np.int32)
    kinds = pd.read_csv(source / "objects.csv").set_index("label")["kind"]
    dark = np.max(list(maps.values()), axis=0) < NO_SIGNAL
    unmapped = ndi.binary_opening(dark, np.ones((3, 3)), iterations=2) & (objects == 0)
    rock = (read_labels(source / "section_mask.tif") > 0) & ~unmapped
    ids = np.full(int(objects.max()) + 1, legend["matrix"].id, np.uint8)
    for label, kind in kinds.items():
        ids[label] = legend[COMPONENTS[kind]].id
    components = np.where(rock, ids[objects], legend["outside"].id).astype(np.uint8)
    is_chondrule = components == legend["chondrule"].id
    return Drawing(maps, rock, components, np.where(is_chondrule, objects, 0).astype(np.int32))


def write_example(drawing: Drawing, folder: Path, window: Window) -> None:
    """Write one window of the section as a training example."""
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    pictures = drawing.maps | {"mask": drawing.rock.astype(np.uint8) * 255}
    for name, image in pictures.items():
        tifffile.imwrite(folder / f"{folder.name}_{name}.tif", image[window.slices])
    size_um = (PIXEL_UM, PIXEL_UM)
    for name, labels in (("components", drawing.components), ("chondrules", drawing.chondrules)):
        write_labels(folder / "truth" / f"{name}.ome.tif", labels[window.slices], pixel_size_um=size_um, name=name)
    units = {name: "grey" if name == "BSE" else "display" for name in CHANNELS}
    lines = [f'{name} = {{ file = "{folder.name}_{name}.tif", unit = "{unit}" }}' for name, unit in units.items()]
    head = [f'name = "{folder.name}"', f"pixel_size_um = [{PIXEL_UM}, {PIXEL_UM}]", f'mask = "{folder.name}_mask.tif"']
    (folder / "section.toml").write_text("\n".join([*head, "", "[channels]", *lines, ""]), encoding="utf-8")


def make_examples(source: Path, out: Path) -> dict[str, Window]:
    """Write the five examples into `out` and return the window of each in the source."""
    objects = read_labels(source / "objects.tif")
    rows, cols = objects.shape
    left_end, right_start = find_strip(objects)
    windows = {
        "west-whole": Window(0, 0, rows, cols),
        "west-left": Window(0, 0, rows, left_end),
        "west-right": Window(0, right_start, rows, cols - right_start),
        "west-left-up": Window(0, 0, rows // 2, left_end),
        "west-right-up": Window(0, right_start, rows // 2, cols - right_start),
    }
    drawing = read_drawing(source)
    for name, window in windows.items():
        write_example(drawing, out / name, window)
    return windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/west"))
    options = parser.parse_args()
    if "METEOSEG_DATA" not in os.environ:
        parser.error("METEOSEG_DATA does not name the folder of public maps")
    for name, window in make_examples(Path(os.environ["METEOSEG_DATA"]) / SOURCE, options.out).items():
        print(options.out / name, f"{window.height} x {window.width} px from column {window.col}")


if __name__ == "__main__":
    main()
