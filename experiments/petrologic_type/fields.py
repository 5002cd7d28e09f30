"""Label fields of ordinary chondrites of types 3.2 to 6, painted by the simulator: truth, without maps or networks."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from meteoseg.legend import default_legend
from meteoseg.simulate.alteration import crack, pluck, rust
from meteoseg.simulate.canvas import Canvas
from meteoseg.simulate.fabric import draw_fabric
from meteoseg.simulate.groundmass import paint_matrix, paint_opaques
from meteoseg.simulate.materials import phase_ids
from meteoseg.simulate.recipe import make_recipe
from meteoseg.simulate.scene import ObjectPainter

GROUPS, PIXEL_UM, SHAPE = ("H", "L", "LL"), 6.0, (700, 860)
#: Types drawn, and how far each may lie above its whole number.
TYPES = {3.2: 0.0, 4.0: 0.9, 5.0: 0.9, 6.0: 0.6}


def paint(group: str, type_: float, seed: int) -> dict[str, np.ndarray]:
    """Paint one field at one sub-pixel per pixel; return labels by layer, the type and the size of its feldspar."""
    rng = np.random.default_rng([seed, GROUPS.index(group), round(10 * type_)])
    recipe = make_recipe(group, petrologic_type=type_ + TYPES[type_] * float(rng.random()))
    fabric = draw_fabric(rng, recipe)
    canvas = Canvas.blank(SHAPE, PIXEL_UM)
    paint_matrix(rng, canvas, recipe, fabric)
    painter = ObjectPainter(rng, canvas, recipe, fabric)
    painter.chondrules()
    painter.inclusions()
    paint_opaques(rng, canvas, recipe)
    rust(rng, canvas, recipe)
    pluck(rng, canvas, recipe, pixel_um=PIXEL_UM)
    crack(rng, canvas, recipe, pixel_um=PIXEL_UM)
    is_chondrule = canvas.component == default_legend("components")["chondrule"].id
    fa = [truth.fa for truth in canvas.truths.values()]
    return {
        "phases": phase_ids()[canvas.material].astype(np.uint8),
        "components": canvas.component,
        "chondrules": np.where(is_chondrule, canvas.owner, 0).astype(np.int32),
        "feldspar_um": np.array(fabric.feldspar_um),
        "type": np.array(recipe.petrologic_type),
        "fa_mol_pct": np.array(fa),
    }


def main() -> None:
    """Paint fields; those that are there are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("-n", type=int, default=2, help="seeds of each group and type")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(given.first, given.first + given.n):
        for group in GROUPS:
            for type_ in TYPES:
                path = given.folder / f"{group}_{type_:g}_{seed}.npz"
                if not path.is_file():
                    np.savez_compressed(path, **paint(group, type_, seed))
                    print(path.name, flush=True)


if __name__ == "__main__":
    main()
