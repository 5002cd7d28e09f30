"""Render the simulated sections the shipped model is trained on.

    python experiments/shipped_model/render.py coarse runs/sections/coarse --n 240 --seed 0
    python experiments/shipped_model/render.py fine   runs/sections/fine   --n 160 --seed 5000

``coarse`` sections are some millimetres wide at 5 to 25 um per pixel (for components), ``fine`` ones 448 px
wide at 0.7 to 25 um per pixel (for minerals). Groups, petrologic types, weathering, size laws, packing and
detectors are drawn anew for each section. A section that is there already is skipped, so the command can be
repeated or continued.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.simulate import Recipe, draw_detector, make_recipe, simulate_recipe, write_example

GROUP_WEIGHTS = {
    "LL": 14, "L": 12, "H": 12, "CO": 10, "CV": 10, "CM": 9, "CR": 8, "R": 6, "CK": 6, "EH": 4, "EL": 5,
    "K": 3, "CH": 2, "CB": 2, "CI": 2,
}  # fmt: skip


def draw_recipe(rng: np.random.Generator) -> Recipe:
    """Draw a group and scatter its numbers around the group's typical ones."""
    names = list(GROUP_WEIGHTS)
    weights = np.array([GROUP_WEIGHTS[name] for name in names], float)
    group = str(rng.choice(names, p=weights / weights.sum()))
    metamorphosed = group in ("H", "L", "LL", "CK", "R", "EH", "EL") and rng.random() < 0.4
    recipe = make_recipe(
        group,
        petrologic_type=float(rng.uniform(4, 6.5) if metamorphosed else rng.uniform(3, 3.9)),
        weathering=str(rng.choice(["W0", "W1", "W2", "W3", "W4"], p=[0.25, 0.3, 0.25, 0.15, 0.05])),
        epoxy_edge=bool(rng.random() < 0.5),
        crack_density=float(rng.uniform(0, 2.0)),
        pit_pct=float(rng.uniform(0.2, 6)),
    )
    rules = recipe.rules
    changed = replace(
        rules,
        chondrule_pct=float(np.clip(rules.chondrule_pct * rng.uniform(0.75, 1.2), 0, 80)),
        inclusion_pct=float(rng.uniform(0, 5)) if rng.random() < 0.4 else rules.inclusion_pct,
        opaque_pct=rules.opaque_pct * float(rng.uniform(0.5, 1.5)),
        diameter_mm=rules.diameter_mm * float(rng.uniform(0.7, 1.4)),
        sigma=float(rng.uniform(0.4, 0.85)),
        type_1=float(np.clip(rules.type_1 + rng.uniform(-0.25, 0.25), 0, 1)),
        rims=float(np.clip(rules.rims + rng.uniform(-0.3, 0.3), 0, 1)),
    )
    return replace(recipe, rules=changed)


def draw_grid(rng: np.random.Generator, scale: str, diameter_um: float) -> tuple[float, tuple[int, int]]:
    """Draw a pixel size (um) and a shape (rows, cols); chondrules are at least five pixels across."""
    lowest, highest = (0.7, 25.0) if scale == "fine" else (5.0, 25.0)
    highest = max(min(highest, diameter_um / 5), lowest * 1.1)
    pixel = float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))
    if scale == "fine":
        return pixel, (448, 448)
    field_um = max(2700.0, pixel * 320) * rng.uniform(1, 1.15)
    side = int(min(field_um / pixel, 600))
    return pixel, (side, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", choices=("coarse", "fine"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.n):
        folder = options.out / f"{seed:05d}"
        if (folder / "truth" / "legend.csv").exists():
            continue
        rng = np.random.default_rng([seed, 77])
        recipe = draw_recipe(rng)
        pixel, shape = draw_grid(rng, options.scale, recipe.rules.diameter_mm * 1000)
        simulated = simulate_recipe(
            recipe, draw_detector(rng), shape=shape, pixel_size_um=pixel, seed=seed,
            channels=CANONICAL_CHANNELS, name=f"{options.scale}-{seed:05d}",
        )  # fmt: skip
        write_example(simulated, folder)
        print(folder, simulated.recipe.group, f"{pixel:.1f} um", shape, flush=True)


if __name__ == "__main__":
    main()
