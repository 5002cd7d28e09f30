"""Where the BSE tile of chm1 lies, by measures that have nothing in common: prints one line each."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import center_of_mass
from skimage.feature import match_template
from skimage.registration import phase_cross_correlation

#: Round metal grains in silicate (row, col) and half the side of a square around each.
GRAINS = (
    (145, 185, 22), (120, 307, 12), (194, 412, 22), (273, 438, 22),
    (424, 235, 22), (340, 168, 14), (170, 448, 12), (248, 453, 12),
)  # fmt: skip


def peak(image: np.ndarray, template: np.ndarray, radius: int = 10) -> np.ndarray:
    """Return the shift (row, col) of highest correlation, whole pixels refined by parabolas."""
    surface = match_template(image, template[radius:-radius, radius:-radius])
    row, col = np.unravel_index(surface.argmax(), surface.shape)
    parts = []
    for line, at in ((surface[:, col], row), (surface[row], col)):
        below, top, above = line[at - 1 : at + 2]
        parts.append(at - radius + 0.5 * (below - above) / (below - 2 * top + above))
    return np.array(parts)


def main(folder: Path) -> None:
    """Print shifts of the BSE tile against the Fe map, positive where it is found further down or right."""
    bse = tifffile.imread(folder / "obj1_8bt_BSE.tif").astype(float)
    iron = tifffile.imread(folder / "obj1_32bt_Fe.tif").astype(float)
    print("correlation, grey levels", peak(bse, iron).round(2))
    print("correlation, BSE over 0", peak((bse > 0).astype(float), iron).round(2))
    print("correlation, Fe over 150", peak(bse, (iron > 150).astype(float)).round(2))
    print("phase correlation", -phase_cross_correlation(iron, bse, upsample_factor=50)[0])
    print("cross-correlation", -phase_cross_correlation(iron, bse, upsample_factor=50, normalization=None)[0])
    shifts = []
    for row, col, half in GRAINS:
        part = (slice(row - half, row + half), slice(col - half, col + half))
        shifts.append(np.subtract(center_of_mass(bse[part] > 127), center_of_mass(iron[part] > 90)))
        print(f"centroid of the grain at {row}, {col}", shifts[-1].round(2))
    print("median of the grains", np.median(shifts, axis=0).round(2))
    for row in (0, 128, 256, 384):
        blocks = [peak(bse[row : row + 128, col : col + 128], iron[row : row + 128, col : col + 128], 8) for col in (0, 128, 256, 384)]  # fmt: skip  # noqa: E501
        print(f"blocks of rows {row} to {row + 127}", *(tuple(block.round(2).tolist()) for block in blocks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
