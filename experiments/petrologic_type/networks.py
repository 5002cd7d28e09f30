"""Simulated sections of types 3.2 to 6 with maps, segmented by the shipped networks."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fields import GROUPS, TYPES

from meteoseg.pipeline import segment
from meteoseg.simulate import simulate_section

CHANNELS = ["BSE", "Na", "Mg", "Al", "Si", "S", "Ca", "Fe", "Ni"]
PIXEL_UM, SIZE_MM = 8.0, (5.6, 4.0)


def main() -> None:
    """Simulate and segment; sections that are there are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=300, help="first seed")
    parser.add_argument("-n", type=int, default=1, help="seeds of each group and type")
    given = parser.parse_args()
    for seed in range(given.first, given.first + given.n):
        for number, type_ in enumerate(TYPES):
            for group in GROUPS:
                name = f"{group}_{type_:g}_{seed}"
                if (given.folder / name / "run.json").is_file():
                    continue
                own_seed = 10_000 * seed + 100 * number + GROUPS.index(group)
                drawn = type_ + TYPES[type_] * float(np.random.default_rng(own_seed).random())
                simulated = simulate_section(
                    group, petrologic_type=drawn, size_mm=SIZE_MM, pixel_size_um=PIXEL_UM, seed=own_seed,
                    channels=CHANNELS,
                )  # fmt: skip
                folder = segment(simulated.section, out=given.folder, name=name, textures=None).folder
                truth = {"phases": simulated.phases, "components": simulated.components}
                np.savez_compressed(folder / "truth.npz", **truth, chondrules=simulated.chondrules, type=drawn)
                print(name, flush=True)


if __name__ == "__main__":
    main()
