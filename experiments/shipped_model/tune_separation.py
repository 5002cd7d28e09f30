"""Choose what parts touching chondrules and drops doubtful ones, on held-out simulated sections.

python experiments/shipped_model/tune_separation.py runs/coarse "runs/sections/coarse/*9"
"""

from __future__ import annotations

import argparse
import glob
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.transform import resize

import meteoseg as ms
from meteoseg.inference import Inputs, Runner, choose_grid
from meteoseg.io import read_labels
from meteoseg.labels.instances import separate_objects
from meteoseg.metrics import match_objects
from meteoseg.models import load_model

#: Settings of `separate_objects` that are tried, each with each.
TRIED = {
    "min_depth": (0.03, 0.06),
    "max_border": (0.4, 0.5, 0.6, 1.0),
    "min_peak": (0, 0.4),
    "min_probability": (0.5, 0.65, 0.7),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sections")
    parser.add_argument("--n", type=int, default=20)
    options = parser.parse_args()
    network = next(iter(load_model(options.model).networks.values()))
    chondrule = network.card.component_classes.index("chondrule")
    rows = []
    for name in sorted(glob.glob(options.sections))[: options.n]:  # noqa: PTH207 (the pattern may be absolute)
        section = ms.open_section(name)
        grid = choose_grid(network.card, section)
        maps = Runner(Inputs(section)).probabilities(network, grid)
        share = maps["components"].astype(np.float32)
        others = np.delete(share, chondrule, axis=0).max(axis=0)
        relative = share[chondrule] / np.maximum(share[chondrule] + others, 1e-6)
        truth = read_labels(Path(name) / "truth" / "chondrules.ome.tif")
        coarse = resize(truth, relative.shape, order=0, preserve_range=True, anti_aliasing=False).astype(np.int64)
        for values in product(*TRIED.values()):
            found = separate_objects(relative, maps["distance"][0], **dict(zip(TRIED, values, strict=True)))
            match = match_objects(found, coarse)
            n_false, n_missed = len(match.false_pred_ids), len(match.missed_truth_ids)
            counts = (match.n_matched, n_false, n_missed, match.pairs["iou"].sum())
            rows.append((*values, *counts))
    table = pd.DataFrame(rows, columns=[*TRIED, "tp", "fp", "fn", "iou"]).groupby(list(TRIED)).sum()
    half = table["tp"] + (table["fp"] + table["fn"]) / 2
    table["f1"], table["pq"] = table["tp"] / half, table["iou"] / half
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
