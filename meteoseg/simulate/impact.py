"""What impacts leave in a section: lithic clasts of other rock, veins and pockets of shock melt."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.simulate.alteration import wander
from meteoseg.simulate.canvas import COMPONENT, Canvas
from meteoseg.simulate.fabric import draw_fabric
from meteoseg.simulate.groundmass import paint_matrix, paint_opaques
from meteoseg.simulate.noise import smooth_noise, upper_share
from meteoseg.simulate.recipe import Recipe, make_recipe
from meteoseg.simulate.shapes import draw_outline, local_frame

Rng = np.random.Generator
BoolArray = NDArray[np.bool_]
#: Rock of lithic clasts and how often each occurs (FROM MEMORY, weak): the same rock recrystallised, a rock that was
#: molten by impact, a dark clast rich in matrix.
LITHOLOGIES = {"recrystallised": 0.5, "impact melt": 0.3, "dark": 0.2}
_MOST_CLASTS = 200


def lithic_clasts(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Lay angular clasts of other rock over `recipe.lithic_pct` of the area; nothing in them is outlined."""
    missing = recipe.lithic_pct / 100 * canvas.material.size
    median_um = 1000 * recipe.rules.diameter_mm
    extent = np.array(canvas.shape) * canvas.px_um
    for _ in range(_MOST_CLASTS):
        if missing <= 0:
            break
        largest = np.sqrt(missing / np.pi) * canvas.px_um
        radius = float(min(rng.lognormal(np.log(median_um), 0.5), 1.5 * largest, 0.4 * extent.min()))
        outline = draw_outline(rng, radius, roughness=0.25, fragment=True)
        local = local_frame(rng.uniform(0, 1, 2) * extent, 1.8 * radius, canvas.px_um, canvas.shape)
        if local is None:
            continue
        window, row, col = local
        inside = outline.reach(row, col) < 1
        rock = _paint_rock(
            rng, str(rng.choice(list(LITHOLOGIES), p=list(LITHOLOGIES.values()))), canvas, inside, recipe
        )
        part = canvas.part(window.slices)
        part.material[inside], part.iron[inside] = rock.material[inside], rock.iron[inside]
        part.component[inside], part.owner[inside] = COMPONENT["clast"], 0
        missing -= inside.sum()


def _paint_rock(rng: Rng, lithology: str, canvas: Canvas, inside: BoolArray, recipe: Recipe) -> Canvas:
    """Return a canvas of the shape of `inside`, full of one rock."""
    rock = Canvas.blank((inside.shape[0], inside.shape[1]), canvas.px_um)
    if lithology == "impact melt":
        paint_melt(rng, rock, np.ones(inside.shape, bool), recipe)
        return rock
    group, petrologic_type = ("CM", 3.0) if lithology == "dark" else (recipe.group, 6.0)
    own = replace(make_recipe(group), petrologic_type=petrologic_type, weathering=recipe.weathering)
    paint_matrix(rng, rock, own, draw_fabric(rng, own))
    paint_opaques(rng, rock, own)
    return rock


def paint_melt(rng: Rng, part: Canvas, where: BoolArray, recipe: Recipe) -> None:
    """Fill `where` with melt of the rock's own composition, with droplets of metal in troilite and relict grains."""
    px, rules = part.px_um, recipe.rules
    ferrous = 100 * rules.fa_eq / 30 + 4 * smooth_noise(rng, part.shape, max(15 / px, 1))
    part.put(where, "impact melt", ferrous)
    relicts = smooth_noise(rng, part.shape, max(rng.uniform(15, 60) / px, 1))
    part.put(upper_share(relicts, rng.uniform(0, 0.12), where), "olivine", rules.fa_eq)
    drops = smooth_noise(rng, part.shape, max(rng.uniform(4, 15) / px, 1))
    opaque = rules.opaque_pct / 100
    part.put(upper_share(drops, opaque, where), "troilite", 100)
    part.put(upper_share(drops, opaque * rules.metal_share, where), "kamacite")


def shock_melt(rng: Rng, canvas: Canvas, recipe: Recipe, *, pixel_um: float) -> None:
    """Draw veins and pockets of shock melt; what is over two map pixels wide no longer belongs to its host."""
    shock = recipe.shock
    length_mm = np.sqrt(np.prod(canvas.shape)) * canvas.px_um / 1000
    for _ in range(int(min(rng.poisson(shock.veins * length_mm), 60))):
        width_um = float(np.clip(rng.lognormal(np.log(40.0), 0.8), 5, 600))
        line = np.zeros(canvas.shape, np.uint8)
        path = wander(rng, canvas.shape, max(2 * width_um / canvas.px_um, 4))
        cv2.polylines(line, [path.reshape(-1, 1, 2)], False, 1, max(1, round(width_um / canvas.px_um)))
        # Veins swell and pinch.
        swollen = smooth_noise(rng, canvas.shape, max(4 * width_um / canvas.px_um, 1)) > -1.5
        _melt(rng, canvas, line.astype(bool) & swollen, recipe, own=width_um > 2 * pixel_um)
    if shock.pockets_pct > 0:
        size_um = float(rng.lognormal(np.log(200.0), 0.5))
        field = smooth_noise(rng, canvas.shape, max(size_um / canvas.px_um, 1))
        share = shock.pockets_pct / 100 * rng.lognormal(0, 0.4)
        _melt(rng, canvas, upper_share(field, float(share)), recipe, own=size_um > 2 * pixel_um)


def _melt(rng: Rng, canvas: Canvas, where: BoolArray, recipe: Recipe, *, own: bool) -> None:
    paint_melt(rng, canvas, where, recipe)
    if own:
        canvas.component[where], canvas.owner[where] = COMPONENT["matrix"], 0
