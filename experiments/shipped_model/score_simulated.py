"""Score a model on simulated sections that its training has not seen, by channel subset and by group.

    python experiments/shipped_model/score_simulated.py MODEL "runs/sections/coarse/*9" --layer components
    python experiments/shipped_model/score_simulated.py MODEL "runs/sections/unseen/*" --layer components
    python experiments/shipped_model/score_simulated.py MODEL "runs/sections/fine/053[01]*" --layer phases

IoU is over all pixels of all sections, 1 px along true boundaries left out, classes of 0.5 area% and more; phases
that no channel parts can be merged with --merge. F1 and PQ of chondrules are at IoU 0.5, 15 px and more.
Prints two tables: all sections by channel subset, and all channels by group.
"""

from __future__ import annotations

import argparse
import glob
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import meteoseg as ms
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import UNLABELLED, boundary_band, confusion, dice, iou, match_objects
from meteoseg.models import Model, load_model

SUBSETS: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "BSE": ("BSE",),
    "BSE Mg Ca Fe Al": ("BSE", "Mg", "Ca", "Fe", "Al"),
    "ten elements": ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni"),
    "Fe Mg Si": ("Fe", "Mg", "Si"),
}
MIN_SHARE = 0.005


@dataclass(frozen=True)
class Counts:
    """What was counted on one section: pixels (truth, predicted); objects found right, false, missed; sum of IoU."""

    subset: str
    group: str
    pixels: NDArray[np.int64]
    objects: tuple[float, float, float, float]


def count(model: Model, folder: Path, subset: str, layer: str) -> Counts:
    """Segment one section with a subset of its channels and count."""
    section, names = ms.open_section(folder), SUBSETS[subset]
    if names is not None:
        section = replace(section, channels={name: section.channels[name] for name in names})
    result = ms.segment(section, model=model)
    truth = read_labels(folder / "truth" / f"{layer}.ome.tif")
    predicted = result.phases if layer == "phases" else result.components
    n_classes = max(default_legend(layer).ids) + 1
    pixels = confusion(predicted, truth, n_classes, ignore=UNLABELLED, where=~boundary_band(truth))
    group = json.loads((folder / "truth" / "recipe.json").read_text())["recipe"]["group"]
    match = match_objects(result.chondrule_labels, read_labels(folder / "truth" / "chondrules.ome.tif"))
    n_false, n_missed = len(match.false_pred_ids), len(match.missed_truth_ids)
    return Counts(subset, group, pixels, (match.n_matched, n_false, n_missed, float(match.pairs["iou"].sum())))


def summarise(counted: Sequence[Counts], layer: str, merged: Iterable[Sequence[str]]) -> dict[str, float]:
    """Turn the counts of some sections into scores."""
    legend = default_legend(layer)
    total = np.sum([counts.pixels for counts in counted], axis=0)
    for names in merged:
        first, *others = (legend[name].id for name in names)
        for other in others:
            total[first] += total[other]
            total[other] = 0
            total[:, first] += total[:, other]
            total[:, other] = 0
    common = total.sum(axis=1) >= MIN_SHARE * total.sum()
    row = {
        "sections": len(counted),
        "accuracy": np.trace(total) / total.sum(),
        "mean IoU": float(np.mean(iou(total)[common])),
    }
    if layer == "components":
        tp, fp, fn, quality = np.sum([counts.objects for counts in counted], axis=0)
        objects = max(tp + (fp + fn) / 2, 1e-9)
        row["chondrule Dice"] = float(dice(total)[legend["chondrule"].id])
        row |= {"F1": tp / objects, "PQ": quality / objects}
    return row | {legend.name_of(int(i)): float(iou(total)[i]) for i in np.flatnonzero(common)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sections")
    parser.add_argument("--layer", choices=("components", "phases"), required=True)
    parser.add_argument("--subset", choices=list(SUBSETS), action="append", help="default: all of them")
    parser.add_argument("--merge", action="append", default=[], metavar="A,B", help="classes scored as one")
    parser.add_argument("--n", type=int, default=1000, help="sections at most")
    options = parser.parse_args()
    model = load_model(options.model)
    folders = [Path(name) for name in sorted(glob.glob(options.sections))][: options.n]  # noqa: PTH207
    merged = [names.split(",") for names in options.merge]
    subsets = options.subset or list(SUBSETS)
    counted = [count(model, folder, subset, options.layer) for subset in subsets for folder in folders]
    for key, chosen in (("subset", counted), ("group", [c for c in counted if c.subset == "all"])):
        names = list(dict.fromkeys(getattr(c, key) for c in chosen))
        rows = {n: summarise([c for c in chosen if getattr(c, key) == n], options.layer, merged) for n in names}
        print(pd.DataFrame(rows).T.round(3).to_string(), "\n")


if __name__ == "__main__":
    main()
