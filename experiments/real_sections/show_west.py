"""Draw the found outlines of ps1b (west part) beside the hand-drawn ones, each half by a network taught on the other.

    python experiments/real_sections/show_west.py runs/coarse_west_left runs/coarse_west_right docs/images/ps1b-west.png

Left: the drawing. Right: what was found. Numbers mark the five largest objects that were missed in each half. Needs
``runs/west`` (see west_examples.py). Prints the scores of each half and of both together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

import meteoseg as ms
from meteoseg.evaluation.scores import matrix_of
from meteoseg.grid import Window
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band, match_objects

LEGEND = default_legend("components")
IGNORED = [LEGEND[name].id for name in ("metal-sulfide nodule", "inclusion")]
SCALE = 4


def truth_of(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.uint8], list[int]]:
    """Return object ids with nodules and inclusions numbered after the chondrules, components, ids to ignore."""
    components = read_labels(folder / "truth" / "components.ome.tif")
    objects = read_labels(folder / "truth" / "chondrules.ome.tif").astype(np.int64)
    others, n_others = ndi.label(np.isin(components, IGNORED))
    first = int(objects.max()) + 1
    return np.where(others > 0, others + first, objects), components, list(range(first + 1, first + n_others + 1))


def score(result: ms.Result, folder: Path) -> tuple[dict[str, float], pd.DataFrame]:
    """Return counts that add up over halves, and the objects that were missed."""
    truth, components, ignored = truth_of(folder)
    match = match_objects(result.chondrule_labels, truth, ignore_truth_ids=ignored)
    counted = (components != LEGEND["outside"].id) & ~boundary_band(truth) & ~np.isin(components, IGNORED)
    drawn, found = (
        (components == LEGEND["chondrule"].id)[counted],
        (result.components == LEGEND["chondrule"].id)[counted],
    )
    matrix = matrix_of(result.components)[counted]
    areas = pd.Series(np.bincount(truth.ravel())).reindex(list(match.missed_truth_ids))
    centres = ndi.center_of_mass(truth > 0, truth, list(match.missed_truth_ids))
    missed = pd.DataFrame(centres, columns=["row", "col"]).assign(id=areas.index, area_px=areas.to_numpy())
    counts = {
        "tp": match.n_matched,
        "fp": len(match.false_pred_ids),
        "fn": len(match.missed_truth_ids),
        "iou": float(match.pairs["iou"].sum()),
        "both": int((drawn & found).sum()),
        "sum": int(drawn.sum() + found.sum()),
        "matrix_both": int((~drawn & matrix).sum()),
        "matrix_any": int((~drawn | matrix).sum()),
    }
    return counts, missed.sort_values("area_px", ascending=False)


def summary(counts: dict[str, float]) -> str:
    """Turn counts into a line of scores."""
    objects = counts["tp"] + (counts["fp"] + counts["fn"]) / 2
    dice, matrix = 2 * counts["both"] / counts["sum"], counts["matrix_both"] / counts["matrix_any"]
    found, quality, n_objects = counts["tp"] / objects, counts["iou"] / objects, counts["tp"] + counts["fn"]
    return f"Dice {dice:.3f}, matrix IoU {matrix:.3f}, F1 {found:.3f}, PQ {quality:.3f} ({n_objects:.0f} objects)"


def outlined(grey: NDArray[np.uint8], labels: NDArray[np.integer], color: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the map (H, W), enlarged, with outlines drawn over it: (H, W, 3) uint8."""
    big = np.kron(np.asarray(labels), np.ones((SCALE, SCALE), np.int64))
    picture = np.repeat(np.kron(grey, np.ones((SCALE, SCALE), np.uint8))[..., None], 3, axis=2)
    picture[find_boundaries(big, mode="thick")] = color
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("taught_on_left")
    parser.add_argument("taught_on_right")
    parser.add_argument("out", type=Path)
    parser.add_argument("--west", type=Path, default=Path("runs/west"))
    options = parser.parse_args()
    figure, axes = plt.subplots(1, 2, figsize=(16, 8.5), gridspec_kw={"wspace": 0.02})
    halves, total = [], {}
    for name, model in (("west-left", options.taught_on_right), ("west-right", options.taught_on_left)):
        folder = options.west / name
        section = ms.open_section(folder)
        result = ms.segment(section, model=model)
        counts, missed = score(result, folder)
        total = {key: total.get(key, 0) + value for key, value in counts.items()}
        print(name, summary(counts))
        print(missed.head(5).round(0).to_string(index=False))
        truth, _, ignored = truth_of(folder)
        grey = section.channels["BSE"].plane.read(Window.whole(section.shape)).astype(np.uint8)
        halves.append((grey, np.where(np.isin(truth, ignored), 0, truth), np.asarray(result.chondrule_labels), missed))
    print("both", summary(total))
    gap = np.full((halves[0][0].shape[0] * SCALE, 6 * SCALE, 3), 255, np.uint8)
    for axis, column, color, title in (
        (axes[0], 1, (255, 210, 0), "drawn by hand"),
        (axes[1], 2, (80, 200, 255), "found (taught on the other half)"),
    ):
        pictures = [outlined(half[0], half[column], color) for half in halves]
        axis.imshow(np.concatenate([pictures[0], gap, pictures[1]], axis=1))
        axis.set_title(title)
        axis.axis("off")
        for side, half in enumerate(halves):
            shift = side * (halves[0][0].shape[1] + 6)
            for number, row in enumerate(half[3].head(5).itertuples(), start=1 + 5 * side):
                axis.text(
                    (row.col + shift) * SCALE, row.row * SCALE, str(number), color="red", fontsize=11, weight="bold"
                )
    figure.savefig(options.out, dpi=72, bbox_inches="tight")


if __name__ == "__main__":
    main()
