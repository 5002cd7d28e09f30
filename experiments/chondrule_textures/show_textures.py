r"""Draw the chondrules of a result folder with the textures they were given, to be judged by eye.

    python experiments/chondrule_textures/show_textures.py results/semarkona-chm8 --preset FeMgSCaAl -o sheet.png

The folder was labelled with ``meteoseg classify-patches``; its maps lie where they were, or in ``--maps``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from meteoseg.channels import composite
from meteoseg.grid import Window
from meteoseg.io import read_labels
from meteoseg.objects import iter_object_windows
from meteoseg.runs.reopening import reopen_section
from meteoseg.tables.measure import read_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--preset", default="FeMgSCaAl")
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--most", type=int, default=60, help="the largest so many objects are shown")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    section = reopen_section(read_run(options.result), options.maps)
    objects = read_labels(options.result / "chondrules.ome.tif")
    table = pd.read_csv(options.result / "chondrules.csv").set_index("id")
    shown = table.sort_values("area_px", ascending=False).head(options.most).sort_values(["texture", "area_px"])
    windows: dict[int, Window] = dict(iter_object_windows(objects))
    rgb = composite(section, options.preset)
    cols = min(10, len(shown))
    rows = -(-len(shown) // cols)
    figure, axes = plt.subplots(rows, cols, figsize=(1.6 * cols, 1.9 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (number, row) in zip(axes.flat, shown.iterrows(), strict=False):
        window = windows[int(number)].padded(3, objects.shape)
        scale_rows, scale_cols = rgb.shape[0] / objects.shape[0], rgb.shape[1] / objects.shape[1]
        part = rgb[
            int(window.row * scale_rows) : int(np.ceil(window.row_end * scale_rows)),
            int(window.col * scale_cols) : int(np.ceil(window.col_end * scale_cols)),
        ]
        axis.imshow(part)
        axis.contour(
            np.arange(window.width) * scale_cols, np.arange(window.height) * scale_rows,
            objects[window.slices] == number, [0.5], colors="w", linewidths=0.6,
        )  # fmt: skip
        axis.set_title(f"{number}: {row['texture']}\n{row['texture_probability']:.2f}", fontsize=6)
    figure.tight_layout()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=150)


if __name__ == "__main__":
    main()
