r"""Render the simulated sections the shipped model is trained on.

    python experiments/shipped_model/render.py coarse runs/sections/coarse --n 400 --seed 10000
    python experiments/shipped_model/render.py coarse runs/sections/ordinary --n 120 --seed 40000 \
        --groups LL L H --type-3
    python experiments/shipped_model/render.py coarse runs/sections/bare --n 64 --seed 41000 --bare-contacts \
        --groups LL L H CO CV CR CK R EH EL
    python experiments/shipped_model/render.py coarse runs/sections/unseen --n 40 --seed 30000 --unseen
    python experiments/shipped_model/render.py fine   runs/sections/fine   --n 320 --seed 5000
    python experiments/shipped_model/render.py fine   runs/sections/fine_unseen --n 16 --seed 61000 --unseen \
        --pixel-um 2

``coarse`` sections are 320 px wide at 10 to 30 um per pixel (for components), ``fine`` ones 448 px wide at
0.7 to 25 um per pixel (for minerals). Groups, petrologic types, weathering, size laws, packing and
detectors are drawn anew for each section. A section that is there already is skipped, so the command can be
repeated or continued.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.simulate import (
    Detector,
    Fabric,
    Recipe,
    draw_artefacts,
    draw_detector,
    draw_fabric,
    make_recipe,
    simulate_recipe,
    write_example,
)

GROUP_WEIGHTS = {
    "LL": 14, "L": 12, "H": 12, "CO": 10, "CV": 10, "CM": 9, "CR": 8, "R": 6, "CK": 6, "EH": 4, "EL": 5,
    "K": 3, "CH": 2, "CB": 2, "CI": 2,
}  # fmt: skip


def draw_recipe(rng: np.random.Generator, groups: Sequence[str] = (), *, primitive: bool = False) -> Recipe:
    """Draw a group and scatter its numbers around the group's typical ones; `primitive` is type 3 throughout."""
    names = list(groups or GROUP_WEIGHTS)
    weights = np.array([GROUP_WEIGHTS[name] for name in names], float)
    group = str(rng.choice(names, p=weights / weights.sum()))
    metamorphosed = group in ("H", "L", "LL", "CK", "R", "EH", "EL") and not primitive and rng.random() < 0.4
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
        chondrule_pct=float(np.clip(rules.chondrule_pct * rng.uniform(0.75, 1.05), 0, 80)),
        inclusion_pct=float(rng.uniform(0, 5)) if rng.random() < 0.4 else rules.inclusion_pct,
        opaque_pct=rules.opaque_pct * float(rng.uniform(0.6, 2.0)),
        diameter_mm=rules.diameter_mm * float(rng.uniform(0.7, 1.4)),
        sigma=float(rng.uniform(0.4, 0.85)),
        type_1=float(np.clip(rules.type_1 + rng.uniform(-0.25, 0.25), 0, 1)),
        rims=float(np.clip(rules.rims + rng.uniform(-0.3, 0.3), 0, 1)),
    )
    return replace(recipe, rules=changed)


def draw_impact(rng: np.random.Generator, recipe: Recipe) -> Recipe:
    """Draw a shock stage and lithic clasts, which most sections lack."""
    stage = str(rng.choice(["S1", "S2", "S3", "S4", "S5"], p=[0.4, 0.25, 0.2, 0.1, 0.05]))
    lithic_pct = float(rng.uniform(1, 25)) if rng.random() < 0.15 else 0.0
    return replace(recipe, shock=make_recipe(recipe.group, shock=stage).shock, lithic_pct=lithic_pct)


def outside_range(
    rng: np.random.Generator, recipe: Recipe, detector: Detector, fabric: Fabric
) -> tuple[Recipe, Detector, Fabric]:
    """Move settings out of the ranges that `draw_recipe`, `draw_detector` and `draw_fabric` draw from."""
    rules = recipe.rules
    small = bool(rng.random() < 0.5)
    changed = replace(
        rules,
        diameter_mm=rules.diameter_mm * (0.65 if small else 1.3),
        sigma=float(rng.uniform(0.3, 0.4) if small else rng.uniform(0.85, 1.0)),
        opaque_pct=min(rules.opaque_pct * 1.5, 60.0) if small else rules.opaque_pct * 0.4,
    )
    detector = replace(
        detector,
        dose=detector.dose * float(rng.uniform(0.25, 0.5)),
        bse_noise=float(rng.uniform(16, 22)),
        gain_error=float(rng.uniform(0.05, 0.09)),
    )
    fabric = replace(
        fabric,
        overlap=float(rng.uniform(0.15, 0.2)),
        fragments=float(rng.uniform(0.5, 0.65)),
        porosity=float(rng.uniform(0.25, 0.35)),
    )
    weathered = replace(recipe, rules=changed, pit_pct=float(rng.uniform(6, 9)), crack_density=float(rng.uniform(2, 3)))
    return weathered, detector, fabric


def draw_grid(rng: np.random.Generator, scale: str, diameter_um: float) -> tuple[float, tuple[int, int]]:
    """Draw a pixel size (um) and a shape (rows, cols); mean chondrules are five pixels across or more.

    Coarse sections hold many chondrules: a mean one is at most 45 pixels across.
    """
    lowest, highest = (0.7, 25.0) if scale == "fine" else (max(10.0, min(diameter_um / 45, 25.0)), 30.0)
    highest = max(min(highest, diameter_um / 5), lowest * 1.1)
    pixel = float(np.exp(rng.uniform(np.log(lowest), np.log(highest))))
    side = 448 if scale == "fine" else 320
    return pixel, (side, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scale", choices=("coarse", "fine"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--groups", nargs="+", default=(), help="draw from these groups alone")
    parser.add_argument("--type-3", action="store_true", help="unequilibrated sections alone")
    parser.add_argument("--bare-contacts", action="store_true", help="objects touch without a seam of matrix")
    parser.add_argument("--pixel-um", type=float, help="pixel size; default: drawn for each section")
    parser.add_argument("--unseen", action="store_true", help="settings outside the ranges of the training sections")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.n):
        folder = options.out / f"{seed:05d}"
        if (folder / "truth" / "legend.csv").exists():
            continue
        rng = np.random.default_rng([seed, 77])
        recipe = draw_recipe(rng, options.groups, primitive=options.type_3)
        pixel, shape = draw_grid(rng, options.scale, recipe.rules.diameter_mm * 1000)
        pixel = options.pixel_um or pixel
        detector, fabric = draw_detector(rng), None
        if options.unseen:
            recipe, detector, fabric = outside_range(rng, recipe, detector, draw_fabric(rng, recipe))
        if options.bare_contacts:
            fabric = replace(draw_fabric(rng, recipe), gap=float(rng.uniform(0, 0.02)))
        recipe, detector = draw_impact(rng, recipe), draw_artefacts(rng, detector)
        simulated = simulate_recipe(
            recipe, detector, shape=shape, pixel_size_um=pixel, seed=seed, fabric=fabric,
            channels=CANONICAL_CHANNELS, name=f"{options.scale}-{seed:05d}",
        )  # fmt: skip
        write_example(simulated, folder)
        print(folder, simulated.recipe.group, f"{pixel:.1f} um", shape, flush=True)


if __name__ == "__main__":
    main()
