"""Textures of chondrules and inclusions: which material, with which iron number, at each point of an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.simulate.materials import paint
from meteoseg.simulate.noise import mixed_noise, smooth_noise, tessellate, upper_share
from meteoseg.simulate.recipe import Recipe

#: Share of the grains from which on a porphyritic chondrule is drawn as one of a single mineral.
_ONE_MINERAL = 0.9

Rng = np.random.Generator
FloatField = NDArray[np.float32]
ByteField = NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """The pixels of one object: offsets (um) from its centre, distance in its own radius, and its radius (um)."""

    row_um: FloatField
    col_um: FloatField
    reach: FloatField
    radius_um: float
    px_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.reach.shape[0], self.reach.shape[1])

    @property
    def points(self) -> NDArray[np.float32]:
        """Offsets as (N, 2)."""
        return np.column_stack([self.row_um.ravel(), self.col_um.ravel()])


@dataclass
class Fill:
    """What fills an object: material index and iron number (0-100) of each pixel.

    `scale_um` is the width of what makes its texture (a grain, a bar and its gap, a lath), NaN where nothing does.
    """

    material: ByteField
    iron: FloatField
    scale_um: float = float("nan")


@dataclass(frozen=True)
class Melt:
    """Composition of a chondrule: type I or II, its mean Fa and Fs (mol%), its share of opaques."""

    type_1: bool
    fa: float
    fs: float
    opaque_share: float
    mesostasis_share: float


def draw_melt(rng: Rng, recipe: Recipe) -> Melt:
    """Draw a chondrule's composition; metamorphism pulls Fa and Fs towards the group's equilibrium."""
    rules = recipe.rules
    type_1 = bool(rng.random() < rules.type_1)
    mean, spread = rules.fa_1 if type_1 else rules.fa_2
    raw = abs(rng.normal(mean, spread))
    pull = min(1.0, recipe.metamorphism * 3) if recipe.equilibrated else min(0.9, recipe.metamorphism * 1.5)
    fa = raw + pull * (rules.fa_eq - raw) + (rng.normal(0, 0.4) if recipe.equilibrated else 0)
    fs = (0.8 if type_1 else 0.75) * raw
    fs += pull * (rules.fs_eq - fs)
    opaque = min(0.45, rng.lognormal(np.log(0.045 if type_1 else 0.025), 0.95))
    return Melt(type_1, float(np.clip(fa, 0, 95)), float(np.clip(fs, 0, 60)), opaque, rng.uniform(0.04, 0.32))


def _mesostasis(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Fill with glass, crystallites of high-Ca pyroxene, or with plagioclase from type 5 on."""
    crystallites = smooth_noise(rng, frame.shape, max(rng.uniform(3, 12) / frame.px_um, 1))
    feldspathic = recipe.petrologic_type >= 4.8 or (melt.type_1 and rng.random() < 0.15)
    if feldspathic:
        base = "plagioclase" if recipe.petrologic_type >= 4 or rng.random() < 0.3 else "anorthite"
    else:
        base = "mesostasis"
    material = np.full(frame.shape, paint(base), np.uint8)
    iron = np.full(frame.shape, (5.0 if melt.type_1 else 90.0) if base == "mesostasis" else 8.0, np.float32)
    pyroxene = upper_share(crystallites, rng.uniform(0.1, 0.45))
    material[pyroxene] = paint("high-Ca pyroxene")
    iron[pyroxene] = 4.0 if melt.type_1 else 14.0
    return Fill(material, iron)


def porphyritic(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe, *, pyroxene_share: float) -> Fill:
    """Grains of olivine and low-Ca pyroxene in mesostasis; type I has pyroxene outside, type II is zoned."""
    grain_um = float(np.clip(frame.radius_um * np.exp(rng.uniform(np.log(0.05), np.log(0.45))), 6, 250))
    bend = max(0.5 * grain_um / frame.px_um, 1)
    warp = np.column_stack([smooth_noise(rng, frame.shape, bend).ravel() for _ in range(2)])
    points = frame.points + np.float32(rng.uniform(0.02, 0.15) * grain_um) * warp
    index, gap, n = tessellate(rng, points, grain_um, anisotropy=rng.uniform(1, 2.2))
    fill = _mesostasis(rng, frame, melt, recipe)
    fill.scale_um = grain_um
    limit = np.quantile(gap[:: max(1, gap.size // 50_000)], melt.mesostasis_share)
    solid = (gap > limit).reshape(frame.shape)
    owner = index.reshape(frame.shape)
    chance = np.full(n, pyroxene_share)
    # A chondrule of pyroxene alone has no core of olivine.
    if melt.type_1 and pyroxene_share < _ONE_MINERAL:
        seen, where = np.unique(index, return_index=True)
        chance[seen] = np.clip(pyroxene_share * 2 * frame.reach.ravel()[where] ** 1.5, 0, 1)
    is_pyroxene = (rng.random(n) < chance)[owner]
    core = rng.normal(0, 0.6 if recipe.equilibrated else 2.0, n).astype(np.float32)[owner]
    depth = np.clip(gap.reshape(frame.shape) / (limit + 0.6), 0, 1)
    zoning = 0.0 if melt.type_1 or recipe.equilibrated else rng.uniform(5, 30) * (1 - recipe.metamorphism)
    iron = melt.fa + core + np.float32(zoning) * (1 - depth) ** 2
    fill.material[solid] = np.where(is_pyroxene, paint("low-Ca pyroxene"), paint("olivine"))[solid]
    fill.iron[solid] = np.where(is_pyroxene, melt.fs + 0.5 * core, iron)[solid]
    rim = (gap > limit) & (gap < limit * 1.35)
    calcic = rim.reshape(frame.shape) & is_pyroxene & (rng.random() < 0.6)
    fill.material[calcic] = paint("high-Ca pyroxene")
    fill.iron[calcic] = 6.0
    return fill


def barred(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Parallel olivine bars in mesostasis, one to three orientations, often with an olivine shell."""
    fill = _mesostasis(rng, frame, melt, recipe)
    # From many thin bars to a few that are a quarter of the radius wide.
    period = float(np.clip(frame.radius_um * np.exp(rng.uniform(np.log(0.05), np.log(0.4))), 5, 200))
    fill.scale_um = period
    domain, _, n = tessellate(rng, frame.points, frame.radius_um * rng.uniform(1.0, 2.5))
    angle = rng.uniform(0, np.pi, n)[domain].reshape(frame.shape)
    bend = 0.25 * period * smooth_noise(rng, frame.shape, max(frame.radius_um / frame.px_um / 2, 2))
    across = np.cos(angle) * frame.row_um + np.sin(angle) * frame.col_um + bend
    bars = np.mod(across / period, 1.0) < rng.uniform(0.5, 0.75)
    shell = frame.reach > rng.uniform(0.84, 1.1)
    solid = bars | shell
    fill.material[solid] = paint("olivine")
    fill.iron[solid] = melt.fa
    return fill


def radial(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Laths of low-Ca pyroxene fanning out from a point near the rim."""
    fill = _mesostasis(rng, frame, melt, recipe)
    direction, start = rng.uniform(0, 2 * np.pi), frame.radius_um * rng.uniform(0.5, 1.0)
    row = frame.row_um - start * np.sin(direction)
    col = frame.col_um - start * np.cos(direction)
    angle, distance = np.arctan2(row, col), np.hypot(row, col)
    wobble = 0.6 * smooth_noise(rng, frame.shape, max(0.3 * frame.radius_um / frame.px_um, 2))
    n_laths = int(rng.integers(40, 180))
    fill.scale_um = 2 * np.pi * frame.radius_um / n_laths
    laths = np.cos(angle * n_laths + wobble + 2 * np.log1p(distance / frame.radius_um))
    solid = laths > rng.uniform(-0.75, -0.2)
    fill.material[solid] = paint("low-Ca pyroxene")
    fill.iron[solid] = melt.fs
    return fill


def cryptocrystalline(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Pyroxene and glass finer than a pixel, nearly uniform."""
    del recipe
    uneven = 0.6 * smooth_noise(rng, frame.shape, max(0.4 * frame.radius_um / frame.px_um, 2))
    material = np.full(frame.shape, paint("chondrule glass mix"), np.uint8)
    return Fill(material, (min(melt.fs, 24.0) + uneven).astype(np.float32))


def granular(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Equant small grains of olivine and pyroxene with little mesostasis."""
    packed = Melt(melt.type_1, melt.fa, melt.fs, melt.opaque_share, 0.04)
    fine = Frame(frame.row_um, frame.col_um, frame.reach, frame.radius_um * 0.3, frame.px_um)
    return porphyritic(rng, fine, packed, recipe, pyroxene_share=0.4)


def aluminous(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Al-rich chondrule: plagioclase or anorthite with olivine, spinel and high-Ca pyroxene."""
    fill = porphyritic(rng, frame, Melt(True, melt.fa, melt.fs, 0.0, 0.55), recipe, pyroxene_share=0.2)
    glass = fill.material == paint("mesostasis")
    fill.material[glass] = paint("anorthite")
    spots = upper_share(smooth_noise(rng, frame.shape, max(10 / frame.px_um, 1)), 0.05)
    fill.material[spots] = paint("spinel")
    fill.iron[spots] = 3.0
    return fill


def metallic(rng: Rng, frame: Frame, melt: Melt, recipe: Recipe) -> Fill:
    """Metal chondrule of CB and CH: one body of metal with sulfide blebs."""
    del melt
    material = np.full(frame.shape, paint("kamacite"), np.uint8)
    blebs = upper_share(smooth_noise(rng, frame.shape, max(12 / frame.px_um, 1)), 0.03 * (1 - recipe.metamorphism))
    material[blebs] = paint("troilite")
    return Fill(material, np.full(frame.shape, 100.0, np.float32))


Texture = Callable[[Rng, Frame, Melt, Recipe], Fill]

TEXTURES: dict[str, Texture] = {
    "POP": lambda rng, frame, melt, recipe: porphyritic(
        rng, frame, melt, recipe, pyroxene_share=float(rng.uniform(0.15, 0.7))
    ),
    "PO": lambda rng, frame, melt, recipe: porphyritic(rng, frame, melt, recipe, pyroxene_share=0.04),
    "PP": lambda rng, frame, melt, recipe: porphyritic(rng, frame, melt, recipe, pyroxene_share=0.95),
    "BO": barred,
    "RP": radial,
    "C": cryptocrystalline,
    "GOP": granular,
    "Al": aluminous,
    "metal": metallic,
}

#: What petrographers call the textures that are drawn.
TEXTURE_NAMES = {
    "PO": "porphyritic olivine",
    "POP": "porphyritic olivine-pyroxene",
    "PP": "porphyritic pyroxene",
    "BO": "barred olivine",
    "RP": "radial pyroxene",
    "C": "cryptocrystalline",
    "GOP": "granular",
    "metal": "metallic",
    "Al": "Al-rich",
}
#: Olivine and pyroxene are both in the name of a porphyritic chondrule unless one is this many times the other
#: (Gooding & Keil 1981; FROM MEMORY, medium).
_BOTH_NAMED = 10.0


@dataclass(frozen=True)
class ChondruleTruth:
    """What a simulated chondrule is: kind, name of its texture, type I or II, Fa (mol%), width of its grains (um)."""

    kind: str
    texture: str
    type: str
    fa: float
    scale_um: float


def name_texture(code: str, fill: Fill, inside: NDArray[np.bool_]) -> str:
    """Return the name of a texture; porphyritic ones are named after the minerals that were painted.

    Parameters
    ----------
    code : key of `TEXTURES`.
    inside : pixels of the chondrule.

    Examples
    --------
    >>> fill = Fill(np.full((4, 5), paint("olivine"), np.uint8), np.zeros((4, 5), np.float32))
    >>> name_texture("POP", fill, np.ones((4, 5), bool)), name_texture("BO", fill, np.ones((4, 5), bool))
    ('porphyritic olivine', 'barred olivine')
    """
    if code not in ("PO", "POP", "PP"):
        return TEXTURE_NAMES[code]
    olivine, pyroxene = (
        int(np.count_nonzero(inside & (fill.material == paint(name)))) for name in ("olivine", "low-Ca pyroxene")
    )
    if olivine > _BOTH_NAMED * pyroxene:
        return TEXTURE_NAMES["PO"]
    return TEXTURE_NAMES["PP" if pyroxene > _BOTH_NAMED * olivine else "POP"]


def add_opaques(rng: Rng, frame: Frame, fill: Fill, melt: Melt, recipe: Recipe) -> None:
    """Add rounded metal (type I) or sulfide (type II) blebs, in some chondrules gathered near the rim."""
    size = float(np.clip(frame.radius_um * np.exp(rng.uniform(np.log(0.02), np.log(0.2))), 2.5, 80)) / frame.px_um
    field = mixed_noise(rng, frame.shape, (max(size, 1), max(size / 3, 1), max(size * rng.uniform(2, 5), 1)))
    if rng.random() < 0.5:
        field = field + rng.uniform(0.5, 2.5) * frame.reach**2
    spots = upper_share(field, melt.opaque_share, frame.reach < 1)
    metal = melt.type_1 and recipe.rules.metal_share > 0
    share = melt.opaque_share * min(1.0, 1.5 * recipe.rules.metal_share) * rng.uniform(0.3, 1.0)
    inner = upper_share(field, share, frame.reach < 1) if metal else spots & False
    fill.material[spots] = paint("troilite" if recipe.group != "R" else "pentlandite")
    fill.iron[spots] = 100.0
    fill.material[inner] = paint("kamacite EH" if recipe.group in ("EH", "EL") else "kamacite")
    nickel = inner & (smooth_noise(rng, frame.shape, max(size * 2, 1)) > 1.4)
    fill.material[nickel] = paint("taenite")
    if not melt.type_1:
        chromite = upper_share(smooth_noise(rng, frame.shape, max(5 / frame.px_um, 1)), 0.006)
        fill.material[chromite] = paint("chromite")


def igneous_rim(rng: Rng, frame: Frame, fill: Fill, melt: Melt, recipe: Recipe) -> None:
    """Lay a finer-grained, sulfide-rich igneous rim over the outer part of a chondrule."""
    inner = rng.uniform(0.7, 0.92)
    warped = frame.reach + 0.03 * smooth_noise(rng, frame.shape, max(0.15 * frame.radius_um / frame.px_um, 2))
    ring = warped > inner
    fine = Frame(frame.row_um, frame.col_um, frame.reach, frame.radius_um * 0.2, frame.px_um)
    rim = porphyritic(rng, fine, melt, recipe, pyroxene_share=0.4)
    rich = upper_share(smooth_noise(rng, frame.shape, max(12 / frame.px_um, 1)), rng.uniform(0.02, 0.5))
    rim.material[rich] = paint("troilite")
    rim.iron[rich] = 100.0
    fill.material[ring], fill.iron[ring] = rim.material[ring], rim.iron[ring]


def refractory(rng: Rng, frame: Frame, recipe: Recipe) -> Fill:
    """CAI (melilite, spinel, anorthite, fassaite, perovskite, diopside rim) or AOA (olivine with CAI nodules)."""
    lumps = smooth_noise(rng, frame.shape, max(0.25 * frame.radius_um / frame.px_um, 2))
    grains = smooth_noise(rng, frame.shape, max(10 / frame.px_um, 1))
    if rng.random() < 0.45:
        material = np.full(frame.shape, paint("olivine"), np.uint8)
        iron = np.full(frame.shape, 1.0 + 20 * recipe.metamorphism, np.float32)
        for share, name, value in (
            (0.25, "anorthite", 0.0),
            (0.12, "high-Ca pyroxene", 1.0),
            (0.06, "spinel", 2.0),
        ):
            where = upper_share(lumps + 0.4 * grains, share)
            material[where], iron[where] = paint(name), value
        return Fill(material, iron)
    core = "melilite" if rng.random() < 0.7 else ("high-Ca pyroxene" if rng.random() < 0.5 else "anorthite")
    material = np.full(frame.shape, paint(core), np.uint8)
    iron = (20 + 15 * lumps).clip(0, 70).astype(np.float32)
    for share, field, name in (
        (rng.uniform(0.05, 0.4), lumps + 0.5 * grains, "spinel"),
        (rng.uniform(0.0, 0.3), -lumps + 0.5 * grains, "fassaite"),
        (rng.uniform(0.0, 0.03), grains, "perovskite"),
        (0.15 if rng.random() < 0.15 else 0.0, grains + lumps, "hibonite"),
        (0.2 * rng.random() if rng.random() < 0.3 else 0.0, -grains, "nepheline"),
    ):
        where = upper_share(field.astype(np.float32), share)
        material[where], iron[where] = paint(name), 2.0
    edge = frame.reach > rng.uniform(0.86, 0.97)
    material[edge], iron[edge] = paint("high-Ca pyroxene"), 1.0
    return Fill(material, iron)
