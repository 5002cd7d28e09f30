"""Figure of the documentation: errors of the simulated pairs, and the checkerboard of a real image."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

import meteoseg as ms

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def column(file: str, name: str, **where: str) -> np.ndarray:
    """Return a column of a table as numbers, of the rows whose other columns are as `where` says."""
    with (HERE / file).open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if all(row[key] == value for key, value in where.items())]
    return np.array([float(row[name]) for row in rows])


def main(folder: Path, out: Path) -> None:
    """Draw from pairs.csv, compare.csv and the maps of chm1 in `folder`."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 5), gridspec_kw={"width_ratios": [1, 2.1]})
    series = {
        "meteoseg register": column("pairs.csv", "error_px", refused=""),
        "mutual information, Fe (SimpleITK)": column("compare.csv", "error_px", method="mutual information"),
        "phase correlation, Fe (scikit-image)": column("compare.csv", "error_px", method="phase correlation"),
    }
    for name, errors in series.items():
        share = (np.arange(len(errors)) + 1) / len(errors)
        axes[0].plot(np.sort(errors), share, "." if len(errors) > 9 else "D", label=f"{name}, {len(errors)} pairs")
    axes[0].axvline(0.25, color="grey", lw=0.8, ls=":")
    axes[0].set(xscale="log", xlabel="mean error over the maps (map pixels)", ylabel="share of pairs", ylim=(0, 1.02))
    axes[0].legend(fontsize=8, loc="lower right")
    section = ms.open_section(folder, use_mask=False, without=["BSE"])
    found = ms.register(section, folder / "obj1_8bt_BSE.tif")
    axes[1].imshow(Image.open(io.BytesIO(found.picture)))
    axes[1].set_title(
        "Semarkona chm1: as exported | registered (orange: predicted from the maps, grey: BSE)", fontsize=9
    )
    axes[1].axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
