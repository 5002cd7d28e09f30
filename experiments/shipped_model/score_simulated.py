"""Score a model on simulated sections that were held out of its training, for several channel subsets.

    python experiments/shipped_model/score_simulated.py MODEL "runs/sections/coarse/002[23]*" --layer components
    python experiments/shipped_model/score_simulated.py MODEL "runs/sections/fine/051[45]*" --layer phases

Sections are of unseen seeds but of the generator settings that the training drew from. IoU is over all pixels of
all sections, 1 px along true boundaries left out, classes of 0.5 area% and more; F1 and PQ at IoU 0.5.
"""

from __future__ import annotations

import argparse
import glob
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import meteoseg as ms
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band, confusion, iou, match_objects
from meteoseg.models import Model, load_model

SUBSETS = {
    "all": None,
    "BSE": ("BSE",),
    "BSE Mg Ca Fe Al": ("BSE", "Mg", "Ca", "Fe", "Al"),
    "ten elements": ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni"),
    "Fe Mg Si": ("Fe", "Mg", "Si"),
}
MIN_SHARE = 0.005


def score_subset(model: Model, folders: list[Path], names: tuple[str, ...] | None, layer: str) -> dict[str, float]:
    legend = default_legend(layer)
    total = np.zeros((max(legend.ids) + 1,) * 2, np.int64)
    hits = found = known = 0
    quality = 0.0
    for folder in folders:
        section = ms.open_section(folder)
        if names is not None:
            section = replace(section, channels={name: section.channels[name] for name in names})
        result = ms.segment(section, model=model)
        truth = read_labels(folder / "truth" / f"{layer}.ome.tif")
        where = ~boundary_band(truth)
        predicted = result.phases if layer == "phases" else result.components
        total += confusion(predicted, truth, len(total), where=where)
        if layer == "components":
            match = match_objects(result.chondrule_labels, read_labels(folder / "truth" / "chondrules.ome.tif"))
            hits, quality = hits + match.n_matched, quality + match.pairs["iou"].sum()
            found += match.n_matched + len(match.false_pred_ids)
            known += match.n_matched + len(match.missed_truth_ids)
    common = total.sum(axis=1) >= MIN_SHARE * total.sum()
    row = {"accuracy": np.trace(total) / total.sum(), "miou": float(np.mean(iou(total)[common]))}
    row |= {legend.name_of(int(i)): float(iou(total)[i]) for i in np.flatnonzero(common)}
    if layer == "components":
        row |= {"f1": 2 * hits / max(found + known, 1), "pq": 2 * quality / max(found + known, 1)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sections")
    parser.add_argument("--layer", choices=("components", "phases"), required=True)
    parser.add_argument("--n", type=int, default=20)
    options = parser.parse_args()
    model = load_model(options.model)
    matches = sorted(glob.glob(options.sections))  # noqa: PTH207 (the pattern may be absolute)
    folders = [Path(name) for name in matches][: options.n]
    rows = {label: score_subset(model, folders, names, options.layer) for label, names in SUBSETS.items()}
    print(pd.DataFrame(rows).round(3).to_string())


if __name__ == "__main__":
    main()
