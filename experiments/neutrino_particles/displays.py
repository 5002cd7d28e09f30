"""Event displays: three planes of some events of each class.

python experiments/neutrino_particles/displays.py runs/particles/test -o displays.png [--per-class 3] [--crop]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from events import CLASSES
from shards import load_shards

from meteoseg.errors import MeteosegError

mpl.use("Agg")
import matplotlib.pyplot as plt

FloatArray = np.ndarray


def shown(image: FloatArray, top: float) -> FloatArray:
    """Charge on a square-root scale, 0 left white."""
    return np.where(image > 0, np.sqrt(np.minimum(image, top)), np.nan)


def draw(events: list[tuple[str, FloatArray]], channels: list[str], columns: int) -> plt.Figure:
    """Draw events (title, image) in rows of `columns` events, their planes side by side."""
    rows = -(-len(events) // columns)
    figure, axes = plt.subplots(rows, 3 * columns, figsize=(2.1 * 3 * columns, 2.25 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for number, (title, image) in enumerate(events):
        row, first = divmod(number, columns)
        top = float(np.quantile(image[image > 0], 0.99)) if (image > 0).any() else 1.0
        for plane in range(3):
            axis = axes[row, 3 * first + plane]
            axis.set_axis_on()
            axis.imshow(shown(image[plane], top), origin="lower", cmap="turbo", interpolation="nearest", vmin=0)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{title}  {channels[plane]}" if plane == 0 else channels[plane], fontsize=8)
    figure.tight_layout(pad=0.4)
    return figure


def chosen(folder: Path, per_class: int, skip: int = 0) -> tuple[list[tuple[str, FloatArray]], list[str]]:
    """Take the first events of each class, with their energies in the title."""
    found: dict[str, list[tuple[str, FloatArray]]] = {}
    channels: list[str] = []
    for shard in load_shards(folder):
        channels = list(shard.channels)
        for number, label in enumerate(shard.labels):
            if len(found.setdefault(label, [])) < per_class + skip:
                found[label].append((f"{label} {shard.kinetic_mev[number]:.0f} MeV", shard.images.dense(number)))
    order = [name for name in (*CLASSES, "") if name in found]
    return [event for name in order for event in found[name][skip:]], channels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=3)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first events of each class")
    options = parser.parse_args()
    events, channels = chosen(options.folder, options.per_class, options.skip)
    figure = draw(events, channels, options.per_class)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
