"""Do element maps of one region at three count levels agree within counting noise?

``METEOSEG_DATA=... python experiments/spectra/p45.py OUT`` writes OUT/p45.csv and OUT/p45.png.

For two maps a and b of an element with variances va and vb (propagated through the fit), and r the ratio of the doses:
``spread`` = sum (a - r b)^2 / sum (va + r^2 vb) over all pixels, 1 where nothing but counting noise parts them, and
``shift`` = (sum a - r sum b) / its standard deviation. r is the ratio of all counts above 0.3 keV, row by row: the
acquisition of 166 k counts was stopped within a frame, so its upper rows have one frame more. ``flat`` is the spread of
the pixels that lie inside grains: where the brightness of BSE changes little, a drift between the acquisitions cannot
show.
"""

from __future__ import annotations

import os
import sys
from itertools import combinations
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from meteoseg.io.cube import CubeOptions
from meteoseg.io.cubemaps import open_cube, open_cube_maps

CUBES = {
    "65 k": "P45_job_hyperspy.bcf",
    "166 k": "P45_the_default_job.bcf",
    "916 k": "P45_12bit_packed_8bit_compressed.bcf",
}
ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "K", "Ca", "Ti", "Fe")
SHOWN = ("Na", "Al", "Si", "K", "Ca", "Fe")


def load(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps (E, H, W), their variances, and the counts of each row (H, 1) of a cube."""
    maps = open_cube_maps(path, CubeOptions(elements=ELEMENTS))
    fit, size = maps.analysis.fit, len(ELEMENTS)
    counts, variances = np.empty((size, *maps.cube.shape)), np.empty((size, *maps.cube.shape))
    used = maps.analysis.check.axis.centres_kev > 0.3
    dose = np.empty((maps.cube.shape[0], 1))
    for window, spectra in maps.cube.bands():
        dose[window.row : window.row_end, 0] = spectra[..., used].sum(axis=(1, 2))
        counts[:, *window.slices] = np.moveaxis(fit.counts(spectra)[..., :size], -1, 0)
        variances[:, *window.slices] = np.moveaxis(fit.variances(spectra)[..., :size], -1, 0)
    return counts, variances, dose


def inside_grains(path: Path) -> np.ndarray:
    """Pixels (H, W) of the flatter half of the BSE image."""
    bse = gaussian_filter(open_cube(path).images["BSE"].astype(float), 1)
    slope = np.hypot(*np.gradient(bse))
    return slope < np.median(slope)


def compare(first: tuple, second: tuple, names: tuple[str, str], flat: np.ndarray) -> list[dict[str, object]]:
    """One row per element."""
    (a, va, dose_a), (b, vb, dose_b) = first, second
    ratio = dose_a / dose_b
    rng = np.random.default_rng(1)
    rows = []
    for number, element in enumerate(ELEMENTS):
        square = ((a[number] - ratio * b[number]) ** 2).ravel()
        variance = (va[number] + ratio**2 * vb[number]).ravel()
        inner = flat.ravel()
        draws = rng.integers(0, square.size, (300, square.size))
        again = square[draws].sum(axis=1) / variance[draws].sum(axis=1)
        rows.append(
            {
                "element": element,
                "pair": f"{names[0]} - {names[1]}",
                "counts_per_px": round(float(a[number].mean()), 2),
                "spread": round(float(square.sum() / variance.sum()), 3),
                "spread_sd": round(float(again.std()), 3),
                "flat": round(float(square[inner].sum() / variance[inner].sum()), 3),
                "shift_sd": round(float((a[number] - ratio * b[number]).sum() / np.sqrt(variance.sum())), 1),
                "ratio": round(float(a[number].sum() / (ratio * b[number]).sum()), 3),
            }
        )
    return rows


def blocks(values: np.ndarray) -> np.ndarray:
    """Sums of 5 x 5 pixels, in which counts are many enough to scatter like a Gaussian."""
    rows, cols = values.shape
    return values.reshape(rows // 5, 5, cols // 5, 5).sum(axis=(1, 3))


def picture(loaded: dict[str, tuple], path: Path) -> None:
    """Maps at three levels, at the dose of the longest, and differences of the two longer ones over their sd."""
    figure, axes = plt.subplots(len(SHOWN), 5, figsize=(15, 2.15 * len(SHOWN)), width_ratios=(1, 1, 1, 1, 0.9))
    top = loaded["916 k"]
    for row, element in zip(axes, SHOWN, strict=True):
        number = ELEMENTS.index(element)
        high = np.percentile(top[0][number], 99.5)
        for panel, (name, (counts, _, dose)) in zip(row, loaded.items(), strict=False):
            panel.imshow(counts[number] * top[2] / dose, vmin=0, vmax=high, cmap="magma")
            panel.set_title(f"{element}, {name} counts", fontsize=9)
        low, ratio = loaded["166 k"], loaded["166 k"][2] / top[2]
        variance = blocks(low[1][number] + ratio**2 * top[1][number])
        difference = blocks(low[0][number] - ratio * top[0][number]) / np.sqrt(variance)
        row[3].imshow(difference, vmin=-4, vmax=4, cmap="RdBu_r")
        row[3].set_title("difference / sd, 5 x 5 px", fontsize=9)
        row[4].hist(difference[np.isfinite(difference)], np.linspace(-5, 5, 31), density=True, color="0.6")
        grid = np.linspace(-5, 5, 201)
        row[4].plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), "k", lw=1)
        row[4].set_yticks([])
        for panel in row[:4]:
            panel.set_xticks([])
            panel.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    folder, out = Path(os.environ["METEOSEG_DATA"]) / "cubes", Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    flat = inside_grains(folder / CUBES["916 k"])
    loaded = {name: load(folder / file) for name, file in CUBES.items()}
    rows = [row for pair in combinations(CUBES, 2) for row in compare(loaded[pair[0]], loaded[pair[1]], pair, flat)]
    table = pd.DataFrame(rows).sort_values(["pair", "element"], key=lambda column: column.map(_order))
    table.to_csv(out / "p45.csv", index=False)
    print(table.to_string(index=False))
    picture(loaded, out / "p45.png")


def _order(value: str) -> int:
    return ELEMENTS.index(value) if value in ELEMENTS else len(value)


if __name__ == "__main__":
    main()
