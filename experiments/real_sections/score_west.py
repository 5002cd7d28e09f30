"""Score a model on the hand-drawn outlines of Semarkona ps1b (west part), no label of which it has seen.

    METEOSEG_DATA=... python experiments/real_sections/score_west.py [MODEL] [--channels BSE ...] [--tta | --no-tta]

Objects are the drawn chondrules and fragments of 15 px or more; Al-rich objects and metal-sulfide nodules are
ignored. Pixel scores leave out the nodules, the Al-rich object and a 1-px band along the drawn boundaries.
F1 and PQ are at IoU 0.5; the true matrix is what lies in no object. As in `meteoseg segment`, networks on coarse pixels
are averaged over flips and rotations; --tta averages all networks, --no-tta none. Prints one row, and the five worst
objects. `meteoseg evaluate` gives the same scores.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import meteoseg as ms
from meteoseg.evaluation.evaluate import Evaluation, evaluate_files, read_ignored

IGNORED = ("metal-sulfide nodule", "Ca-Al-rich object")
SHOWN = (("chondrule", "dice"), ("matrix", "iou"), *(("chondrule", m) for m in ("f1", "pq", "precision", "recall")))


def score(result: Path, folder: Path) -> Evaluation:
    """Score a result folder against the drawn outlines in `folder`."""
    ignored = read_ignored(str(folder / "objects.csv"), IGNORED)
    return evaluate_files(
        result, folder / "objects.tif", kind="objects", ignored=ignored, inside=folder / "section_mask.tif"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="chondrite")
    parser.add_argument("--channels", nargs="+")
    parser.add_argument("--tta", action=argparse.BooleanOptionalAction)
    options = parser.parse_args()
    folder = Path(os.environ["METEOSEG_DATA"]) / "semarkona-ps1b-west"
    section = ms.open_section(folder, pixel_size_um=25.0)
    if options.channels:
        section = replace(section, channels={name: section.channels[name] for name in options.channels})
    result = ms.segment(section, model=options.model, tta=options.tta)
    found = score(result.folder, folder)
    values = found.scores.set_index(["class", "metric"])["value"]
    print(" ".join(f"{name} {metric} {values[name, metric]:.3f}" for name, metric in SHOWN))
    if found.objects is not None:
        print(found.objects.head(5).to_string(index=False))


if __name__ == "__main__":
    main()
