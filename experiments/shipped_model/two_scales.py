"""Minerals at the section's own pixels against the coarse grid of the components, on held-out simulated sections.

python experiments/shipped_model/two_scales.py "runs/sections/fine/053[01]*"
"""

from __future__ import annotations

import argparse
import glob
from dataclasses import replace
from pathlib import Path

import numpy as np

import meteoseg as ms
from meteoseg.io import read_labels
from meteoseg.metrics import boundary_band
from meteoseg.models import load_model

COARSE_UM = 10.0
FINEST_OF_INTEREST_UM = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections")
    parser.add_argument("--n", type=int, default=8)
    options = parser.parse_args()
    model = load_model("chondrite")
    fine = model.networks["fine"]
    rows: list[list[float]] = []
    for name in sorted(glob.glob(options.sections)):  # noqa: PTH207 (the pattern may be absolute)
        section = ms.open_section(name)
        if section.require_pixel_size()[0] > FINEST_OF_INTEREST_UM or len(rows) == options.n:
            continue
        truth = read_labels(Path(name) / "truth" / "phases.ome.tif")
        counted = ~boundary_band(truth) & (truth > 0)
        row = []
        for um_per_px in (None, COARSE_UM):
            fine.card = replace(fine.card, um_per_px=um_per_px, um_per_px_range=None)
            row.append(float((ms.segment(section, model=model).phases == truth)[counted].mean()))
        rows.append(row)
        print(Path(name).name, section.require_pixel_size()[0], [round(value, 3) for value in row], flush=True)
    print("mean accuracy, own pixels and coarse grid:", np.mean(rows, axis=0).round(3))


if __name__ == "__main__":
    main()
