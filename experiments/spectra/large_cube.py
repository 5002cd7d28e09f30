"""Peak memory and time of element maps of a cube that is made on the spot.

``python experiments/spectra/large_cube.py 4.3`` makes a ripple cube of 4.3 GB in a temporary folder, runs
``meteoseg maps`` on it in a process of its own, and prints what that took.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from meteoseg.spectra.axis import EnergyAxis
from meteoseg.spectra.expected import expected_spectrum

CHANNELS, COLS, BLOCK_ROWS = 2048, 1024, 16
MINERALS = (
    {"O": 60.0, "Mg": 50.0, "Si": 45.0, "Fe": 8.0},
    {"O": 55.0, "Mg": 30.0, "Si": 70.0, "Ca": 12.0, "Cr": 2.0},
    {"S": 90.0, "Fe": 40.0},
    {"Fe": 80.0, "Ni": 6.0},
)


def make_cube(folder: Path, rows: int) -> Path:
    """Write grains of 64 px of four minerals, uint16; a block of counts is reused, shifted."""
    axis = EnergyAxis(10.0, 0.0, CHANNELS)
    means = np.array([expected_spectrum(counts, axis, background=60.0) for counts in MINERALS])
    rng = np.random.default_rng(1)
    which = np.arange(COLS) // 64 % len(MINERALS)
    block = rng.poisson(np.broadcast_to(means[which], (BLOCK_ROWS, COLS, CHANNELS))).astype("<u2")
    with (folder / "large.raw").open("wb") as handle:
        for row in range(0, rows, BLOCK_ROWS):
            handle.write(np.roll(block, 64 * (row // 64), axis=1)[: rows - row].tobytes())
    header = {"width": COLS, "height": rows, "depth": CHANNELS, "offset": 0, "data-length": 2, "data-type": "unsigned",
              "byte-order": "little-endian", "record-by": "vector", "ev-per-chan": 10.0}  # fmt: skip
    lines = [f"{key}\t{value}" for key, value in {"key": "value", **header}.items()]
    (folder / "large.rpl").write_text("\n".join(lines) + "\n")
    return folder / "large.rpl"


def main() -> None:
    gigabytes = float(sys.argv[1])
    rows = round(gigabytes * 1e9 / (2 * CHANNELS * COLS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cube = make_cube(folder, rows)
        size = (folder / "large.raw").stat().st_size
        start = time.perf_counter()
        command = [sys.executable, "-m", "meteoseg", "maps", str(cube), "-o", str(folder / "maps"), *sys.argv[2:]]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(done.stdout)
        print(f"{rows} x {COLS} x {CHANNELS}: {size / 1e9:.2f} GB, {seconds:.0f} s, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
