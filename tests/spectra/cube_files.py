"""Small ripple cubes with known counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from meteoseg.spectra.axis import EnergyAxis
from meteoseg.spectra.expected import expected_spectrum

AXIS = EnergyAxis(10.0, 0.0, 1000)
FORSTERITE = {"O": 900.0, "Mg": 800.0, "Si": 600.0, "Fe": 40.0}
TROILITE = {"S": 900.0, "Fe": 500.0}


def two_minerals(shape: tuple[int, int] = (9, 14)) -> np.ndarray:
    """Poisson counts (H, W, N), uint16: forsterite in the left half, troilite in the right one."""
    spectra = np.array([expected_spectrum(each, AXIS, background=500.0) for each in (FORSTERITE, TROILITE)])
    which = np.broadcast_to(np.arange(shape[1]) >= shape[1] // 2, shape).astype(int)
    return np.random.default_rng(3).poisson(spectra[which]).astype("<u2")


def write_ripple(
    folder: Path, counts: np.ndarray, name: str = "cube", *, by_image: bool = False, **more: object
) -> Path:
    """Write a cube as .rpl and .raw; `more` are lines of the header, with _ for -."""
    rows, cols, channels = counts.shape
    header = {"width": cols, "height": rows, "depth": channels, "offset": 0, "data-length": counts.dtype.itemsize,
              "data-type": "unsigned", "byte-order": "little-endian",
              "record-by": "image" if by_image else "vector"}  # fmt: skip
    header |= {key.replace("_", "-"): value for key, value in more.items()}
    lines = ["key\tvalue", *(f"{key}\t{value}" for key, value in header.items())]
    (folder / f"{name}.rpl").write_text("\n".join(lines) + "\n")
    stored = np.moveaxis(counts, -1, 0) if by_image else counts
    (folder / f"{name}.raw").write_bytes(np.ascontiguousarray(stored).tobytes())
    return folder / f"{name}.rpl"
