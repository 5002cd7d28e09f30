r"""Render simulated sections whose chondrules have all textures equally often, for the texture network.

    python experiments/chondrule_textures/render_textures.py runs/textures/train  --n 300 --seed 100000
    python experiments/chondrule_textures/render_textures.py runs/textures/unseen --n 60  --seed 200000 --unseen

Groups, petrologic types, weathering, shock, size laws, packing and detectors are drawn anew for each section, as for
the shipped segmentation model, but its textures are drawn from nearly equal chances, and its pixels so that a mean
chondrule is 20 to 100 of them across. ``--unseen`` moves settings out of the ranges of the training sections.
A texture whose grains, bars or laths are narrower than `RESOLVED_PX` pixels cannot be seen: its label is left empty.
A section that is there already is skipped.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.simulate import Recipe, draw_artefacts, draw_detector, draw_fabric, simulate_recipe, write_example
from meteoseg.simulate.textures import TEXTURES

sys.path.append(str(Path(__file__).resolve().parents[1] / "shipped_model"))
from render import draw_impact, draw_recipe, outside_range

SIDE_PX = 448
RESOLVED_PX = 1.5
#: Mean chondrule diameters (pixels) between which the pixel size is drawn.
ACROSS_PX = (20.0, 100.0)
FINEST_UM, COARSEST_UM = 0.7, 25.0


def with_all_textures(rng: np.random.Generator, recipe: Recipe) -> Recipe:
    """Give the textures nearly equal chances, another mixture in each section, and enough chondrules."""
    chance = rng.dirichlet(np.full(len(TEXTURES), 2.0))
    rules = replace(
        recipe.rules,
        textures=dict(zip(TEXTURES, chance.tolist(), strict=True)),
        chondrule_pct=max(recipe.rules.chondrule_pct, 45.0),
    )
    return replace(recipe, rules=rules)


def draw_pixel_um(rng: np.random.Generator, diameter_um: float) -> float:
    """Draw a pixel size (um) for chondrules of this mean diameter."""
    across = np.exp(rng.uniform(*np.log(ACROSS_PX)))
    return float(np.clip(diameter_um / across, FINEST_UM, COARSEST_UM))


def forget_unresolved(folder: Path, pixel_um: float) -> int:
    """Empty the labels of textures that the pixels are too coarse for; return how many were."""
    path = folder / "truth" / "chondrules.csv"
    table = pd.read_csv(path)
    hidden = table["scale_um"] < RESOLVED_PX * pixel_um
    table["texture"] = table["texture"].mask(hidden, "")
    table.to_csv(path, index=False)
    return int(hidden.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=100_000)
    parser.add_argument("--groups", nargs="+", default=(), help="draw from these groups alone")
    parser.add_argument("--side-px", type=int, default=SIDE_PX)
    parser.add_argument("--unseen", action="store_true", help="settings outside the ranges of the training sections")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.n):
        folder = options.out / f"{seed:06d}"
        if (folder / "truth" / "labelled").exists():
            continue
        shutil.rmtree(folder, ignore_errors=True)  # of a rendering that was stopped
        rng = np.random.default_rng([seed, 91])
        recipe = draw_recipe(rng, options.groups)
        detector, fabric = draw_detector(rng), draw_fabric(rng, recipe)
        if options.unseen:
            recipe, detector, fabric = outside_range(rng, recipe, detector, fabric)
        recipe = draw_impact(rng, with_all_textures(rng, recipe))
        pixel_um = draw_pixel_um(rng, recipe.rules.diameter_mm * 1000)
        simulated = simulate_recipe(
            recipe, draw_artefacts(rng, detector), shape=(options.side_px, options.side_px), pixel_size_um=pixel_um,
            seed=seed, fabric=fabric, channels=CANONICAL_CHANNELS, name=f"textures-{seed:06d}",
        )  # fmt: skip
        write_example(simulated, folder)
        hidden = forget_unresolved(folder, pixel_um)
        (folder / "truth" / "labelled").touch()
        n_objects = len(simulated.truths)
        print(folder, recipe.group, f"{pixel_um:.2f} um, {n_objects} objects, {hidden} unresolved", flush=True)


if __name__ == "__main__":
    main()
