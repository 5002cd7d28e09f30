"""Score a model on the hand-drawn outlines of Semarkona ps1b (west part), no label of which it has seen.

    METEOSEG_DATA=... python experiments/real_sections/score_west.py [MODEL] [--channels BSE ...] [--tta]

Objects are the drawn chondrules and fragments of 15 px or more; Al-rich objects and metal-sulfide nodules are
ignored. Pixel scores leave out the nodules, the Al-rich object and a 1-px band along the drawn boundaries.
F1 and PQ are at IoU 0.5. Prints one row.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import meteoseg as ms
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band, match_objects

IGNORED = ("metal-sulfide nodule", "Ca-Al-rich object")
COMPONENTS = default_legend("components")


def score(components: np.ndarray, objects: np.ndarray, folder: Path) -> dict[str, float]:
    """Score component ids (H, W) and object ids (H, W) against the drawn outlines in `folder`."""
    drawn = read_labels(folder / "objects.tif")
    inside = read_labels(folder / "section_mask.tif") > 0
    kinds = pd.read_csv(folder / "objects.csv").set_index("label")["kind"]
    ignored = kinds.index[kinds.isin(IGNORED)].tolist()
    matched = match_objects(objects, drawn, iou_threshold=0.5, ignore_truth_ids=ignored)
    counted = inside & ~boundary_band(drawn) & ~np.isin(drawn, ignored)
    truth = (drawn > 0)[counted]
    found = (components == COMPONENTS["chondrule"].id)[counted]
    matrix = np.isin(components, [COMPONENTS["matrix"].id, COMPONENTS["rim"].id])[counted]
    return {
        "dice": 2 * (truth & found).sum() / (truth.sum() + found.sum()),
        "matrix_iou": (~truth & matrix).sum() / (~truth | matrix).sum(),
        "f1": matched.f1,
        "pq": matched.pq,
        "precision": matched.precision,
        "recall": matched.recall,
        "n_objects": float(len(np.unique(objects)) - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="chondrite")
    parser.add_argument("--channels", nargs="+")
    parser.add_argument("--tta", action="store_true")
    options = parser.parse_args()
    folder = Path(os.environ["METEOSEG_DATA"]) / "semarkona-ps1b-west"
    section = ms.open_section(folder, pixel_size_um=25.0)
    if options.channels:
        section = replace(section, channels={name: section.channels[name] for name in options.channels})
    result = ms.segment(section, model=options.model, tta=options.tta)
    row = score(result.components, result.chondrule_labels, folder)
    print(" ".join(f"{name} {value:.3f}" for name, value in row.items()))


if __name__ == "__main__":
    main()
