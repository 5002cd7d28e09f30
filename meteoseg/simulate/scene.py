"""Paint a section: matrix, then objects over it, then opaques between them, at sub-pixel resolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meteoseg.legend import default_legend
from meteoseg.simulate.materials import paint
from meteoseg.simulate.noise import mixed_noise, smooth_noise, upper_share
from meteoseg.simulate.packing import pack_discs, section_diameters
from meteoseg.simulate.recipe import MATRIX_KINDS, Recipe
from meteoseg.simulate.shapes import draw_outline, local_frame
from meteoseg.simulate.textures import TEXTURES, Fill, Frame, add_opaques, draw_melt, igneous_rim, refractory

Rng = np.random.Generator
_COMPONENT = {label.name: label.id for label in default_legend("components").labels}
_FIRST_INCLUSION = 1_000_000  # object ids from here on are inclusions and never written as chondrules


@dataclass
class Canvas:
    """A section at sub-pixel resolution (`px_um` micrometres), painted in place.

    `material` and `iron` (0-100) say what is there; `component` holds legend ids; `owner` object ids (0 = none);
    `reach` the distance to the owner's centre in its own radius.
    """

    px_um: float
    material: NDArray[np.uint8]
    iron: NDArray[np.uint8]
    component: NDArray[np.uint8]
    owner: NDArray[np.uint32]
    reach: NDArray[np.float32]
    kinds: dict[int, str] = field(default_factory=dict)

    @classmethod
    def blank(cls, shape: tuple[int, int], px_um: float) -> Canvas:
        """Return a canvas of matrix without material."""
        return cls(
            px_um,
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.uint8),
            np.full(shape, _COMPONENT["matrix"], np.uint8),
            np.zeros(shape, np.uint32),
            np.full(shape, np.inf, np.float32),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.material.shape[0], self.material.shape[1])

    def put(self, where: NDArray[np.bool_], name: str, iron: float | NDArray[np.floating] = 0.0) -> None:
        """Paint the pixels of `where` with a material."""
        self.material[where] = paint(name)
        self.iron[where] = np.clip(iron, 0, 100) if np.isscalar(iron) else np.clip(np.asarray(iron)[where], 0, 100)


def paint_matrix(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Cover the canvas with fine-grained matrix, clastic grains and, when metamorphosed, recrystallised grains."""
    shape, px = canvas.shape, canvas.px_um
    tone = mixed_noise(rng, shape, tuple(max(s / px, 1) for s in (400, 60, 8)))
    centre, spread = rng.uniform(30, 75), rng.uniform(8, 35)
    canvas.put(np.ones(shape, bool), MATRIX_KINDS[recipe.rules.matrix], centre + spread * tone)
    recrystallised = recipe.rules.matrix == "recrystallised" or recipe.equilibrated
    _paint_clasts(rng, canvas, recipe, 0.85 if recrystallised else float(rng.uniform(0.1, 0.7)))
    for name, percent in (
        ("magnetite", recipe.rules.magnetite_pct),
        ("carbonate", recipe.rules.carbonate_pct),
    ):
        spots = upper_share(smooth_noise(rng, shape, max(rng.uniform(4, 20) / px, 1)), percent / 100)
        canvas.put(spots, name, rng.uniform(0, 100))
    if recipe.petrologic_type >= 4 or rng.random() < 0.3:
        canvas.put(upper_share(smooth_noise(rng, shape, max(25 / px, 1)), 0.007), "phosphate", rng.uniform(0, 100))
        canvas.put(upper_share(smooth_noise(rng, shape, max(20 / px, 1)), 0.006), "chromite")


def _paint_clasts(rng: Rng, canvas: Canvas, recipe: Recipe, share: float) -> None:
    """Strew mineral grains of several sizes over the matrix, `share` of its area."""
    shape, px, rules = canvas.shape, canvas.px_um, recipe.rules
    sizes_um = (8.0, 20.0, 15 + 40 * recipe.metamorphism) if recipe.equilibrated else (5.0, 15.0, 40.0, 90.0)
    kinds = [("olivine", 0.5), ("low-Ca pyroxene", 0.3), ("high-Ca pyroxene", 0.08), ("plagioclase", 0.12)]
    if rules.matrix == "enstatite":
        kinds = [("low-Ca pyroxene", 0.8), ("plagioclase", 0.12), ("silica", 0.05), ("olivine", 0.03)]
    for size in sizes_um:
        for name, weight in kinds:
            grains = upper_share(smooth_noise(rng, shape, max(size / px, 1)), share * weight / len(sizes_um) * 1.2)
            mean: float | NDArray[np.floating] = {"olivine": rules.fa_eq, "low-Ca pyroxene": rules.fs_eq}.get(name, 8.0)
            if not recipe.equilibrated and name in ("olivine", "low-Ca pyroxene"):
                drawn = abs(rules.fa_1[0] + 0.5 * (rules.fa_2[0] - rules.fa_1[0]))
                mean = drawn + 10 * smooth_noise(rng, shape, max(2.5 * size / px, 1))
                mean = np.clip(mean, 0, 60)
            canvas.put(grains, name, mean)


def paint_objects(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Pack chondrules (with rims) and refractory inclusions over the matrix."""
    field_um = (canvas.shape[0] * canvas.px_um, canvas.shape[1] * canvas.px_um)
    rules = recipe.rules
    # Indentation, gaps and fragments lose about an eighth of the packed area.
    target = min(rules.chondrule_pct / 100 * 1.13, 0.86)
    placed = pack_discs(
        rng,
        lambda n: section_diameters(rng, n, mean_mm=rules.diameter_mm, sigma=rules.sigma) * 500,
        field_um,
        target_area=target,
        overlap=float(rng.uniform(0.05, 0.18)),
    )
    names, weights = zip(*rules.textures.items(), strict=True)
    chance = np.array(weights) / sum(weights)
    gap = float(rng.uniform(0, 0.05))
    for number, (centre, radius) in enumerate(zip(placed.centres_um, placed.radii_um, strict=True), start=1):
        texture = str(rng.choice(names, p=chance)) if rng.random() > 0.012 else "Al"
        _paint_chondrule(rng, canvas, recipe, number, centre, float(radius), texture, gap)
    _paint_inclusions(rng, canvas, recipe)


def _paint_chondrule(
    rng: Rng, canvas: Canvas, recipe: Recipe, number: int, centre: NDArray[np.float64], radius: float,
    texture: str, gap: float,
) -> None:  # fmt: skip
    fragment = bool(rng.random() < 0.22)
    outline = draw_outline(rng, radius, roughness=float(rng.uniform(0.03, 0.28)), fragment=fragment)
    local = local_frame(centre, 1.8 * radius, canvas.px_um, canvas.shape)
    if local is None:
        return
    window, row, col = local
    frame = Frame(row, col, outline.reach(row, col), radius, canvas.px_um)
    melt = draw_melt(rng, recipe)
    fill = TEXTURES[texture](rng, frame, melt, recipe)
    if texture not in ("C", "Al", "metal") and rng.random() < 0.18:
        igneous_rim(rng, frame, fill, melt, recipe)
    if texture != "metal":
        add_opaques(rng, frame, fill, melt, recipe)
    before = canvas.reach[window.slices]
    mine = (frame.reach < 1) & (frame.reach < before - np.float32(gap))
    if recipe.petrologic_type >= 5 and rng.random() < 0.8:
        mine &= _blurred_outline(rng, frame, recipe)
    contested = (frame.reach < 1) & (before < 1) & ~mine & (frame.reach < before)
    _take(canvas, window.slices, mine, fill, number, "chondrule", frame.reach)
    canvas.owner[window.slices][contested] = 0
    canvas.component[window.slices][contested] = _COMPONENT["matrix"]
    canvas.material[window.slices][contested] = paint(MATRIX_KINDS[recipe.rules.matrix])
    canvas.kinds[number] = "Al-rich" if texture == "Al" else ("fragment" if fragment else "chondrule")
    if rng.random() < recipe.rules.rims * (1 - recipe.metamorphism) and not fragment:
        _paint_rim(rng, canvas, recipe, window.slices, frame)


def _blurred_outline(rng: Rng, frame: Frame, recipe: Recipe) -> NDArray[np.bool_]:
    """Recrystallised margins: the outline dissolves into the matrix grain by grain."""
    fuzz = 0.12 * recipe.metamorphism * smooth_noise(rng, frame.shape, max(25 / frame.px_um, 1))
    return np.asarray(frame.reach + fuzz < 1)


def _take(canvas: Canvas, at: tuple[slice, slice], mine: NDArray[np.bool_], fill: Fill, number: int, component: str,
          reach: NDArray[np.float32]) -> None:  # fmt: skip
    canvas.material[at][mine] = fill.material[mine]
    canvas.iron[at][mine] = np.clip(fill.iron, 0, 100)[mine]
    canvas.component[at][mine] = _COMPONENT[component]
    canvas.owner[at][mine] = number
    canvas.reach[at][mine] = reach[mine]


def _paint_rim(rng: Rng, canvas: Canvas, recipe: Recipe, at: tuple[slice, slice], frame: Frame) -> None:
    """Lay a fine-grained rim around an object, where there is still matrix."""
    width = rng.uniform(0.06, 0.25)
    warped = frame.reach + 0.03 * smooth_noise(rng, frame.shape, max(0.2 * frame.radius_um / frame.px_um, 2))
    ring = (warped < 1 + width) & (canvas.component[at] == _COMPONENT["matrix"])
    tone = rng.uniform(20, 95) + 6 * smooth_noise(rng, frame.shape, max(10 / frame.px_um, 1))
    canvas.material[at][ring] = paint(MATRIX_KINDS[recipe.rules.matrix])
    canvas.iron[at][ring] = np.clip(tone, 0, 100)[ring]
    canvas.component[at][ring] = _COMPONENT["rim"]
    specks = ring & upper_share(smooth_noise(rng, frame.shape, max(4 / frame.px_um, 1)), rng.uniform(0.0, 0.06))
    canvas.material[at][specks] = paint("troilite")


def _paint_inclusions(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Strew refractory inclusions (Poisson) of irregular outline over matrix and gaps."""
    field_um = np.array(canvas.shape) * canvas.px_um
    mean_um = float(np.clip(recipe.rules.diameter_mm * 600, 40, 500))
    wanted = recipe.rules.inclusion_pct / 100 * field_um.prod() / (np.pi / 4 * mean_um**2 * 1.4)
    for number in range(int(rng.poisson(wanted))):
        radius = float(rng.lognormal(np.log(mean_um / 2), 0.6))
        outline = draw_outline(rng, radius, roughness=float(rng.uniform(0.1, 0.5)), fragment=bool(rng.random() < 0.3))
        local = local_frame(rng.uniform(0, field_um), 2.2 * radius, canvas.px_um, canvas.shape)
        if local is None:
            continue
        window, row, col = local
        frame = Frame(row, col, outline.reach(row, col), radius, canvas.px_um)
        free = canvas.component[window.slices] != _COMPONENT["chondrule"]
        mine = (frame.reach < 1) & free
        if mine.sum() < 0.5 * (frame.reach < 1).sum():
            continue
        fill = refractory(rng, frame, recipe)
        _take(canvas, window.slices, mine, fill, _FIRST_INCLUSION + number, "inclusion", frame.reach)


def paint_opaques(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Put metal and sulfide between the objects: specks in the matrix and interstitial nodules."""
    rules, shape, px = recipe.rules, canvas.shape, canvas.px_um
    between = (canvas.component == _COMPONENT["matrix"]) | (canvas.component == _COMPONENT["rim"])
    if not between.any():
        return
    room = between.mean()
    share = float(np.clip(rules.opaque_pct / 100 * rng.uniform(0.6, 1.3) / room, 0, 0.9))
    nodule_size = float(np.clip(rules.diameter_mm * 1000 * rng.uniform(0.2, 0.6), 20, 350))
    body = mixed_noise(rng, shape, (max(nodule_size / px, 1), max(nodule_size / 4 / px, 1)))
    nodules = upper_share(body, share * 0.6, between)
    specks = upper_share(smooth_noise(rng, shape, max(rng.uniform(3, 14) / px, 1)), share * 0.4, between)
    opaque = nodules | specks
    metal = upper_share(smooth_noise(rng, shape, max(0.8 * nodule_size / px, 1)), rules.metal_share, opaque)
    canvas.put(opaque, "troilite", 100)
    nickel_sulfide = upper_share(smooth_noise(rng, shape, max(0.3 * nodule_size / px, 1)), 0.06, opaque & ~metal)
    canvas.put(nickel_sulfide, "pentlandite")
    canvas.put(metal, "kamacite EH" if recipe.group in ("EH", "EL") else "kamacite")
    taenite = upper_share(smooth_noise(rng, shape, max(0.3 * nodule_size / px, 1)), rng.uniform(0.05, 0.35), metal)
    canvas.put(taenite, "taenite", rng.uniform(0, 100))
    _paint_rare_opaques(rng, canvas, recipe, opaque)
    canvas.component[nodules] = _COMPONENT["metal-sulfide nodule"]


def _paint_rare_opaques(rng: Rng, canvas: Canvas, recipe: Recipe, opaque: NDArray[np.bool_]) -> None:
    rare = {"EH": ("niningerite", "oldhamite", "daubreelite", "schreibersite"),
            "EL": ("alabandite", "oldhamite", "daubreelite", "schreibersite")}.get(
                recipe.group, ("magnetite", "schreibersite", "ilmenite"))  # fmt: skip
    for name in rare:
        share = rng.uniform(0.005, 0.05)
        canvas.put(upper_share(smooth_noise(rng, canvas.shape, max(8 / canvas.px_um, 1)), share, opaque), name)
