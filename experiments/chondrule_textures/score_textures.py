r"""Score a texture model on simulated sections: confusion matrix, macro F1, F1 by size and by set of channels.

    python experiments/chondrule_textures/score_textures.py runs/textures/model "runs/textures/unseen/*" -o scores

Outlines are the true ones; objects without a label (textures too fine for the pixels) and those too small for the
network are left out, and counted. ``--channels BSE Mg Ca Fe Al`` scores with some of the maps alone.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from meteoseg.io import open_section, read_labels
from meteoseg.objects import equivalent_diameter
from meteoseg.patches import PatchModel, classify_objects, load_patch_model
from meteoseg.patches.card import UNCLASSIFIED
from meteoseg.patches.scores import confusion_matrix, f1_scores
from meteoseg.train.dataset import find_examples

SIZES_PX = (0, 16, 24, 32, 48, 64, 96, 10_000)


def label_section(folder: Path, model: PatchModel, channels: list[str]) -> pd.DataFrame:
    """Return truth, label and size of every object of a simulated section."""
    section = open_section(folder)
    if channels:
        section = replace(section, channels={name: section.channels[name] for name in channels})
    objects = read_labels(folder / "truth" / "chondrules.ome.tif")
    truth = pd.read_csv(folder / "truth" / "chondrules.csv", keep_default_na=False).set_index("id")["texture"]
    table = classify_objects(section, objects, model)
    areas = np.bincount(objects.ravel())
    table["truth"] = table["id"].map(truth)
    table["diameter_px"] = [equivalent_diameter(float(areas[number])) for number in table["id"]]
    return table.assign(section=folder.name)


def macro_f1(table: pd.DataFrame, classes: tuple[str, ...], column: str) -> float:
    """Return the mean F1 of the classes that occur."""
    number = {name: index for index, name in enumerate([*classes, UNCLASSIFIED])}
    truth, found = (table[name].map(number).to_numpy(np.int64) for name in ("truth", column))
    return float(np.nanmean(f1_scores(confusion_matrix(truth, found, len(number)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sections", help="glob of simulated sections")
    parser.add_argument("--channels", nargs="+", default=[])
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    model = load_patch_model(options.model)
    classes = model.card.classes
    started = time.perf_counter()
    folders = find_examples([options.sections])
    parts = [label_section(folder, model, options.channels) for folder in folders]
    seconds = time.perf_counter() - started
    table = pd.concat(parts, ignore_index=True)
    scored = table[(table["truth"] != "") & (table["class_1"] != "")]
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "objects.csv", index=False)
    confusion = pd.crosstab(scored["truth"], scored["label"]).reindex(classes, fill_value=0)
    confusion.to_csv(options.out / "confusion.csv")
    print(confusion.to_string())
    print(f"{len(table)} objects of {len(parts)} sections, {len(table) / seconds:.0f} per second, {len(scored)} scored")
    print(f"accuracy {(scored['class_1'] == scored['truth']).mean():.3f}")
    print(f"macro F1 {macro_f1(scored, classes, 'class_1'):.3f}, unclassified as wrong "
          f"{macro_f1(scored, classes, 'label'):.3f}")  # fmt: skip
    sizes = pd.cut(scored["diameter_px"], SIZES_PX)
    for size, part in scored.groupby(sizes, observed=True):
        right = (part["class_1"] == part["truth"]).mean()
        print(f"  diameter {size} px: {len(part)} objects, accuracy {right:.3f}")


if __name__ == "__main__":
    main()
