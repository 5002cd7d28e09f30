"""What lies between the objects: fine matrix, clasts of all sizes, metal and sulfide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.simulate.canvas import COMPONENT, Canvas
from meteoseg.simulate.fabric import Fabric
from meteoseg.simulate.noise import mixed_noise, smooth_noise, upper_share
from meteoseg.simulate.recipe import MATRIX_KINDS, Recipe

Rng = np.random.Generator
BoolArray = NDArray[np.bool_]

#: Share of a cell that its clast fills on average; diameter of the largest cells over their spacing.
_CELL_COVER, _LARGEST_CELL = 0.75, 1.3
_EH_OPAQUES = ("niningerite", "oldhamite", "daubreelite", "schreibersite")
_RARE_OPAQUES = {"EH": _EH_OPAQUES, "EL": ("alabandite", *_EH_OPAQUES[1:])}


def paint_matrix(rng: Rng, canvas: Canvas, recipe: Recipe, fabric: Fabric) -> None:
    """Cover the canvas with fine-grained matrix, clasts and accessory grains."""
    shape, px = canvas.shape, canvas.px_um
    tone = mixed_noise(rng, shape, tuple(max(s / px, 1) for s in (400, 60, 8)))
    iron = fabric.matrix_iron + fabric.matrix_spread * tone
    canvas.put(np.ones(shape, bool), MATRIX_KINDS[recipe.rules.matrix], iron)
    canvas.put(upper_share(smooth_noise(rng, shape, max(rng.uniform(1, 5) / px, 1)), fabric.porosity), "epoxy")
    _paint_clasts(rng, canvas, recipe, fabric)
    _grow_feldspar(rng, canvas, recipe, fabric)
    for name, percent in (
        ("magnetite", recipe.rules.magnetite_pct),
        ("carbonate", recipe.rules.carbonate_pct),
    ):
        spots = upper_share(smooth_noise(rng, shape, max(rng.uniform(4, 20) / px, 1)), percent / 100)
        canvas.put(spots, name, rng.uniform(0, 100))
    if recipe.petrologic_type >= 4 or rng.random() < 0.3:
        canvas.put(upper_share(smooth_noise(rng, shape, max(25 / px, 1)), 0.007), "phosphate", rng.uniform(0, 100))
        canvas.put(upper_share(smooth_noise(rng, shape, max(20 / px, 1)), 0.006), "chromite")


def _paint_clasts(rng: Rng, canvas: Canvas, recipe: Recipe, fabric: Fabric) -> None:
    """Strew clasts of falling size over the matrix: each class covers the same area, large ones lie on top last."""
    if recipe.equilibrated:
        sizes_um = [15 + 40 * recipe.metamorphism, 20.0, 8.0]
    else:
        sizes_um = [fabric.clast_um * step for step in (1.0, 0.55, 0.3, 0.15)]
    sizes_um = [size for size in sizes_um if size >= 1.5 * canvas.px_um] or [1.5 * canvas.px_um]
    each = 1 - (1 - fabric.clast_share) ** (1 / len(sizes_um))
    for size_um in reversed(sizes_um):
        _strew(rng, canvas, recipe, size_um=size_um, share=each)


def _strew(rng: Rng, canvas: Canvas, recipe: Recipe, *, size_um: float, share: float) -> None:
    """Strew clasts about `size_um` across over `share` of the area, each of one mineral and composition."""
    spacing = max(size_um / canvas.px_um * 1.15, 1.5)
    cell, distance, n_cells = _cells(rng, canvas.shape, spacing)
    # A clast fills its cell up to a radius of its own, so that some are round and most are broken.
    present = rng.random(n_cells) < min(1.0, share / _CELL_COVER)
    limit = np.where(present, rng.uniform(0.35, 1.0, n_cells) * spacing, 0).astype(np.float32)
    inside = distance < limit[cell]
    names, weights = zip(*_clast_kinds(recipe), strict=True)
    kind = rng.choice(len(names), size=n_cells, p=np.array(weights) / sum(weights))
    kind_of_pixel = kind[cell]
    for index, name in enumerate(names):
        iron = _clast_iron(rng, recipe, name, n_cells)[cell]
        if name == "chondrule glass mix":
            iron = iron + 4 * smooth_noise(rng, canvas.shape, max(8 / canvas.px_um, 1))
        canvas.put(inside & (kind_of_pixel == index), name, iron)


def _cells(rng: Rng, shape: tuple[int, int], spacing_px: float) -> tuple[NDArray[np.int32], NDArray[np.float32], int]:
    """Part an area into cells around random seeds: cell number, distance to its seed (px), number of cells."""
    n_seeds = max(2, int(shape[0] * shape[1] / spacing_px**2))
    free = np.ones(shape, np.uint8)
    free[rng.integers(0, shape[0], n_seeds), rng.integers(0, shape[1], n_seeds)] = 0
    distance, cell = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return np.asarray(cell, np.int32) - 1, np.asarray(distance, np.float32), int(cell.max())


def _clast_kinds(recipe: Recipe) -> list[tuple[str, float]]:
    """Materials of clasts and their weights."""
    if recipe.rules.matrix == "enstatite":
        return [("low-Ca pyroxene", 0.75), ("plagioclase", 0.12), ("silica", 0.05), ("chondrule glass mix", 0.08)]
    kinds = [("olivine", 0.42), ("low-Ca pyroxene", 0.25), ("high-Ca pyroxene", 0.08)]
    # The feldspar of equilibrated rocks is grown apart; in type 4 it is too fine for any pixel.
    if recipe.equilibrated:
        return [*kinds, ("chondrule glass mix", 0.1)] if recipe.petrologic_type < 5 else kinds
    return [*kinds, ("mesostasis", 0.1), ("chondrule glass mix", 0.12), ("troilite", 0.03)]


def _grow_feldspar(rng: Rng, canvas: Canvas, recipe: Recipe, fabric: Fabric) -> None:
    """Let grains of secondary feldspar grow in the groundmass, the largest of them of the fabric's diameter."""
    if fabric.feldspar_um < canvas.px_um or recipe.petrologic_type < 5 or recipe.rules.matrix == "enstatite":
        return
    for size_um, share in ((fabric.feldspar_um, 0.06), (0.5 * fabric.feldspar_um, 0.05)):
        spacing = max(size_um / canvas.px_um / _LARGEST_CELL, 1.5)
        cell, distance, n_cells = _cells(rng, canvas.shape, spacing)
        present = rng.random(n_cells) < share / _CELL_COVER
        limit = np.where(present, rng.uniform(0.5, 1.0, n_cells) * spacing, 0).astype(np.float32)
        canvas.put(distance < limit[cell], "plagioclase", 8.0)


def _clast_iron(rng: Rng, recipe: Recipe, name: str, n_clasts: int) -> NDArray[np.float32]:
    """Draw the iron number of clasts: those of the group's chondrules, or of its equilibrated minerals."""
    rules = recipe.rules
    if recipe.equilibrated:
        equal = {"olivine": rules.fa_eq, "low-Ca pyroxene": rules.fs_eq}.get(name, 8.0)
        return np.full(n_clasts, equal, np.float32)
    if name in ("troilite", "plagioclase", "silica"):
        return np.full(n_clasts, 100.0 if name == "troilite" else 8.0, np.float32)
    type_1 = rng.random(n_clasts) < rules.type_1
    if name == "mesostasis":
        return np.where(type_1, 5, 90).astype(np.float32)
    mean, spread = (np.where(type_1, one, two) for one, two in zip(rules.fa_1, rules.fa_2, strict=True))
    highest = {"olivine": 70, "low-Ca pyroxene": 24, "high-Ca pyroxene": 40}.get(name, 24)
    return np.clip(np.abs(rng.normal(mean, spread)), 0, highest).astype(np.float32)


def paint_opaques(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Put metal and sulfide between the objects: specks in the matrix and interstitial nodules."""
    rules, shape, px = recipe.rules, canvas.shape, canvas.px_um
    between = (canvas.component == COMPONENT["matrix"]) | (canvas.component == COMPONENT["rim"])
    if not between.any():
        return
    # Mantles around chondrules are there already and count.
    wanted = rules.opaque_pct / 100 * rng.lognormal(0, 0.4)
    missing = max(wanted - (canvas.component == COMPONENT["metal-sulfide nodule"]).mean(), 0.2 * wanted)
    share = float(np.clip(missing / between.mean(), 0, 0.9))
    largest = float(np.clip(rules.diameter_mm * 1000 * rng.uniform(0.2, 2.0), 20, 1200))
    nodular = rng.uniform(0.5, 0.95)
    body = mixed_noise(rng, shape, (max(largest / px, 1), max(largest / 4 / px, 1)))
    nodules = upper_share(body, share * nodular, between)
    specks = upper_share(smooth_noise(rng, shape, max(rng.uniform(3, 14) / px, 1)), share * (1 - nodular), between)
    # Nodules enclose some of the silicates they grew around.
    kept = upper_share(smooth_noise(rng, shape, max(rng.uniform(8, 40) / px, 1)), rng.uniform(0, 0.3), nodules)
    fill_opaque(rng, canvas, recipe, where=(nodules & ~kept) | specks, size_um=largest)
    canvas.component[nodules] = COMPONENT["metal-sulfide nodule"]


def fill_opaque(
    rng: Rng,
    canvas: Canvas,
    recipe: Recipe,
    *,
    where: BoolArray,
    size_um: float,
    at: tuple[slice, slice] = (slice(None), slice(None)),
) -> None:
    """Paint `where`, a mask of the window `at`, with the group's opaque minerals, in patches of about `size_um`."""
    px, rules, part = canvas.px_um, recipe.rules, canvas.part(at)
    metal = upper_share(smooth_noise(rng, where.shape, max(0.8 * size_um / px, 1)), rules.metal_share, where)
    part.put(where, "troilite", 100)
    patches = smooth_noise(rng, where.shape, max(0.3 * size_um / px, 1))
    part.put(upper_share(patches, 0.06, where & ~metal), "pentlandite")
    part.put(metal, "kamacite EH" if recipe.group in ("EH", "EL") else "kamacite")
    part.put(upper_share(patches, rng.uniform(0.05, 0.35), metal), "taenite", rng.uniform(0, 100))
    for name in _RARE_OPAQUES.get(recipe.group, ("magnetite", "schreibersite", "ilmenite")):
        grains = smooth_noise(rng, where.shape, max(8 / px, 1))
        part.put(upper_share(grains, rng.uniform(0.005, 0.05), where), name)
