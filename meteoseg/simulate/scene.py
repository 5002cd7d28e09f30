"""Paint the objects of a section over its matrix: chondrules with their rims and mantles, refractory inclusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window
from meteoseg.simulate.canvas import COMPONENT, FIRST_INCLUSION, Canvas
from meteoseg.simulate.fabric import Fabric
from meteoseg.simulate.groundmass import fill_opaque
from meteoseg.simulate.materials import paint
from meteoseg.simulate.noise import smooth_noise, upper_share
from meteoseg.simulate.packing import pack_discs, section_diameters
from meteoseg.simulate.recipe import MATRIX_KINDS, Recipe
from meteoseg.simulate.shapes import draw_outline, local_frame
from meteoseg.simulate.textures import (
    TEXTURES,
    ChondruleTruth,
    Fill,
    Frame,
    Melt,
    add_opaques,
    draw_melt,
    igneous_rim,
    name_texture,
    refractory,
)

Rng = np.random.Generator


@dataclass(frozen=True)
class ObjectPainter:
    """Paints one object after the other; what came first keeps its place unless the newcomer's centre is nearer."""

    rng: Rng
    canvas: Canvas
    recipe: Recipe
    fabric: Fabric

    def chondrules(self) -> None:
        """Pack chondrules and fragments over the matrix, with rims and mantles."""
        rng, rules, fabric = self.rng, self.recipe.rules, self.fabric
        placed = pack_discs(
            rng,
            lambda n: section_diameters(rng, n, mean_mm=rules.diameter_mm, sigma=rules.sigma) * 500,
            (self.canvas.shape[0] * self.canvas.px_um, self.canvas.shape[1] * self.canvas.px_um),
            target_area=rules.chondrule_pct / 100 * _packing_loss(fabric),
            overlap=fabric.overlap,
        )
        names, weights = zip(*rules.textures.items(), strict=True)
        chance = np.array(weights) / sum(weights)
        for number, (centre, radius) in enumerate(zip(placed.centres_um, placed.radii_um, strict=True), start=1):
            texture = str(rng.choice(names, p=chance)) if rng.random() > 0.012 else "Al"
            self._chondrule(number, centre, float(radius), texture)

    def _chondrule(self, number: int, centre: NDArray[np.float64], radius: float, texture: str) -> None:
        rng, canvas, recipe = self.rng, self.canvas, self.recipe
        fragment = bool(rng.random() < self.fabric.fragments)
        outline = draw_outline(rng, radius, roughness=float(rng.uniform(*self.fabric.roughness)), fragment=fragment)
        local = local_frame(centre, 1.8 * radius, canvas.px_um, canvas.shape)
        if local is None:
            return
        window, row, col = local
        frame = Frame(row, col, outline.reach(row, col), radius, canvas.px_um)
        melt = draw_melt(rng, recipe)
        fill = TEXTURES[texture](rng, frame, melt, recipe)
        name = name_texture(texture, fill, frame.reach < 1)
        self._finish(fill, frame, melt, texture)
        before = canvas.reach[window.slices]
        mine = (frame.reach < 1) & (frame.reach < before - np.float32(self.fabric.gap))
        if recipe.petrologic_type >= 5 and rng.random() < 0.8:
            mine &= self._blurred_outline(frame)
        contested = (frame.reach < 1) & (before < 1) & ~mine & (frame.reach < before)
        self._take(window.slices, mine, fill, frame, number=number, component="chondrule")
        self._seam(canvas.part(window.slices), contested)
        kind = "Al-rich" if texture == "Al" else ("fragment" if fragment else "chondrule")
        melt_type = "" if texture == "metal" else ("I" if melt.type_1 else "II")
        canvas.truths[number] = ChondruleTruth(kind, name, melt_type, melt.fa, fill.scale_um)
        if rng.random() < recipe.rules.rims * (1 - recipe.metamorphism) and not fragment:
            self._rim(window.slices, frame)
        if rng.random() < self.fabric.mantles:
            self._mantle(window, frame)

    def _seam(self, part: Canvas, where: NDArray[np.bool_]) -> None:
        """Put matrix with sulfide between two objects that touch."""
        part.owner[where] = 0
        part.component[where] = COMPONENT["matrix"]
        part.put(where, MATRIX_KINDS[self.recipe.rules.matrix], self.fabric.matrix_iron + 15)
        grains = smooth_noise(self.rng, part.shape, max(10 / part.px_um, 1))
        part.put(upper_share(grains, self.fabric.seam_opaque, where), "troilite", 100)

    def _finish(self, fill: Fill, frame: Frame, melt: Melt, texture: str) -> None:
        """Add an igneous rim and opaques, as the texture allows."""
        if texture not in ("C", "Al", "metal") and self.rng.random() < 0.18:
            igneous_rim(self.rng, frame, fill, melt, self.recipe)
        if texture != "metal":
            add_opaques(self.rng, frame, fill, melt, self.recipe)

    def _blurred_outline(self, frame: Frame) -> NDArray[np.bool_]:
        """Recrystallised margins: the outline dissolves into the matrix grain by grain."""
        fuzz = 0.12 * self.recipe.metamorphism * smooth_noise(self.rng, frame.shape, max(25 / frame.px_um, 1))
        return np.asarray(frame.reach + fuzz < 1)

    def _take(
        self, at: tuple[slice, slice], mine: NDArray[np.bool_], fill: Fill, frame: Frame, *, number: int, component: str
    ) -> None:
        canvas = self.canvas
        canvas.material[at][mine] = fill.material[mine]
        canvas.iron[at][mine] = np.clip(fill.iron, 0, 100)[mine]
        canvas.component[at][mine] = COMPONENT[component]
        canvas.owner[at][mine] = number
        canvas.reach[at][mine] = frame.reach[mine]

    def _rim(self, at: tuple[slice, slice], frame: Frame) -> None:
        """Lay a fine-grained rim around an object, where there is still matrix."""
        rng, canvas = self.rng, self.canvas
        width = rng.uniform(0.06, 0.25)
        warped = frame.reach + 0.03 * smooth_noise(rng, frame.shape, max(0.2 * frame.radius_um / frame.px_um, 2))
        ring = (warped < 1 + width) & (canvas.component[at] == COMPONENT["matrix"])
        tone = rng.uniform(10, 95) + 6 * smooth_noise(rng, frame.shape, max(10 / frame.px_um, 1))
        canvas.material[at][ring] = paint(MATRIX_KINDS[self.recipe.rules.matrix])
        canvas.iron[at][ring] = np.clip(tone, 0, 100)[ring]
        canvas.component[at][ring] = COMPONENT["rim"]
        specks = ring & upper_share(smooth_noise(rng, frame.shape, max(4 / frame.px_um, 1)), rng.uniform(0.0, 0.06))
        canvas.material[at][specks] = paint("troilite")

    def _mantle(self, window: Window, frame: Frame) -> None:
        """Lay a broken shell of metal and sulfide around an object, where there is still matrix or rim."""
        rng, canvas = self.rng, self.canvas
        patches = smooth_noise(rng, frame.shape, max(0.6 * frame.radius_um / frame.px_um, 2))
        width = rng.uniform(0.08, 0.35) * np.clip(0.8 + 0.5 * patches, 0, 1.6)
        free = np.isin(canvas.component[window.slices], [COMPONENT["matrix"], COMPONENT["rim"]])
        ring = free & (frame.reach < 1 + width) & (patches > rng.uniform(-2, 0.7))
        if ring.any():
            fill_opaque(rng, canvas, self.recipe, where=ring, size_um=0.3 * frame.radius_um, at=window.slices)
            canvas.component[window.slices][ring] = COMPONENT["metal-sulfide nodule"]

    def inclusions(self) -> None:
        """Strew refractory inclusions (Poisson) of irregular outline over matrix and gaps."""
        rng, canvas = self.rng, self.canvas
        field_um = np.array(canvas.shape) * canvas.px_um
        mean_um = float(np.clip(self.recipe.rules.diameter_mm * 600, 40, 500))
        wanted = self.recipe.rules.inclusion_pct / 100 * field_um.prod() / (np.pi / 4 * mean_um**2 * 1.4)
        for number in range(int(rng.poisson(wanted))):
            radius = float(rng.lognormal(np.log(mean_um / 2), 0.6))
            outline = draw_outline(
                rng, radius, roughness=float(rng.uniform(0.1, 0.5)), fragment=bool(rng.random() < 0.3)
            )
            local = local_frame(rng.uniform(0, field_um), 2.2 * radius, canvas.px_um, canvas.shape)
            if local is None:
                continue
            window, row, col = local
            frame = Frame(row, col, outline.reach(row, col), radius, canvas.px_um)
            mine = (frame.reach < 1) & (canvas.component[window.slices] != COMPONENT["chondrule"])
            if mine.sum() < 0.5 * (frame.reach < 1).sum():
                continue
            fill = refractory(rng, frame, self.recipe)
            self._take(window.slices, mine, fill, frame, number=FIRST_INCLUSION + number, component="inclusion")


def _packing_loss(fabric: Fabric) -> float:
    """Area of discs to place per area of objects wanted: indentation, seams and broken faces take the rest."""
    return 1.08 + 1.1 * fabric.overlap + fabric.gap + 0.15 * fabric.fragments
