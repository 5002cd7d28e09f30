"""Simulate one section: recipe + seed -> maps and exact truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.elements import BSE
from meteoseg.errors import MeteosegError, PixelSizeError
from meteoseg.legend import default_legend
from meteoseg.section import Section
from meteoseg.simulate.alteration import crack, cut_edge, pluck, rust
from meteoseg.simulate.canvas import FIRST_INCLUSION, Canvas
from meteoseg.simulate.detector import Detector, measure
from meteoseg.simulate.fabric import Fabric, draw_fabric
from meteoseg.simulate.groundmass import paint_matrix, paint_opaques
from meteoseg.simulate.impact import lithic_clasts, shock_melt
from meteoseg.simulate.materials import paint, phase_ids
from meteoseg.simulate.recipe import Recipe, make_recipe
from meteoseg.simulate.scene import ObjectPainter
from meteoseg.simulate.textures import ChondruleTruth

#: What an ordinary full mapping session records.
DEFAULT_CHANNELS = (BSE, "O", "Na", "Mg", "Al", "Si", "P", "S", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Ni")

_MAX_PIXELS = 64_000_000  # of the sub-pixel canvas: about 1 GB of work arrays
_CHONDRULE = default_legend("components")["chondrule"].id
_OUTSIDE = 0


@dataclass(frozen=True)
class SimulatedSection:
    """Maps with their truth on the same grid.

    `phases`, `components`: (H, W) uint8 legend ids, 255 = unlabelled; `chondrules`: (H, W) uint32 object ids, 0 = none;
    `truths`: object id -> what the chondrule is.
    """

    section: Section
    phases: NDArray[np.uint8]
    components: NDArray[np.uint8]
    chondrules: NDArray[np.uint32]
    truths: dict[int, ChondruleTruth]
    recipe: Recipe
    detector: Detector

    @property
    def kinds(self) -> dict[int, str]:
        """Object id -> chondrule, fragment or Al-rich."""
        return {number: truth.kind for number, truth in self.truths.items()}

    def chondrule_table(self) -> pd.DataFrame:
        """Return what each chondrule is that has a pixel on the maps.

        Returns
        -------
        Columns `id`, `kind`, `texture`, `type` (I, II or empty), `fa_mol_pct` of its olivine, `scale_um` (width of a
        grain, bar or lath; NaN without any).
        """
        seen = [int(number) for number in np.unique(self.chondrules) if number]
        rows = [asdict(self.truths[number]) for number in seen]
        columns = ["kind", "texture", "type", "fa", "scale_um"]
        table = pd.DataFrame(rows, columns=columns).rename(columns={"fa": "fa_mol_pct"})
        table.insert(0, "id", np.array(seen, np.int64))
        return table


def block_majority(labels: NDArray[np.uint8], ss: int) -> NDArray[np.uint8]:
    """Reduce labels by the most frequent one of each ss x ss block (the lowest label where two tie).

    Examples
    --------
    >>> block_majority(np.array([[1, 2], [2, 3]], np.uint8), 2)
    array([[2]], dtype=uint8)
    """
    rows, cols = labels.shape[0] // ss, labels.shape[1] // ss
    blocks = labels[: rows * ss, : cols * ss].reshape(rows, ss, cols, ss).transpose(0, 2, 1, 3)
    ordered = np.sort(blocks.reshape(rows, cols, ss * ss), axis=-1)
    best = ordered[..., 0].copy()
    best_run = np.ones((rows, cols), np.uint8)
    run = best_run.copy()
    for k in range(1, ss * ss):
        run = np.where(ordered[..., k] == ordered[..., k - 1], run + 1, 1).astype(np.uint8)
        longer = run > best_run
        best[longer], best_run[longer] = ordered[..., k][longer], run[longer]
    return best


def supersampling_for(pixel_um: float) -> int:
    """Sub-pixels per pixel side: 2 for fine maps, up to 4 so that sub-pixels stay near 7 um.

    Examples
    --------
    >>> supersampling_for(1.0), supersampling_for(10.0), supersampling_for(25.0)
    (2, 2, 4)
    """
    return int(np.clip(np.ceil(pixel_um / 7.0), 2, 4))


def _truth(canvas: Canvas, ss: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint32]]:
    components = block_majority(canvas.component, ss)
    phases = block_majority(phase_ids()[canvas.material], ss)
    phases[components == _OUTSIDE] = default_legend("phases")["outside"].id
    centre = canvas.owner[ss // 2 :: ss, ss // 2 :: ss][: components.shape[0], : components.shape[1]]
    # At the seam of a chondrule the middle of a pixel may be an inclusion.
    chondrules = np.where((components == _CHONDRULE) & (centre < FIRST_INCLUSION), centre, 0).astype(np.uint32)
    components[(components == _CHONDRULE) & (chondrules == 0)] = default_legend("components")["matrix"].id
    return phases, components, chondrules


def simulate_recipe(
    recipe: Recipe,
    detector: Detector,
    *,
    shape: tuple[int, int],
    pixel_size_um: float,
    seed: int,
    channels: Sequence[str] = DEFAULT_CHANNELS,
    name: str | None = None,
    fabric: Fabric | None = None,
) -> SimulatedSection:
    """Simulate a section of `shape` (rows, cols) pixels of `pixel_size_um`, repeatable by `seed`.

    The fabric (packing, clasts, mantles) is drawn for the group where none is given.

    Raises
    ------
    MeteosegError : the section is too large to be simulated in memory, or too small.
    """
    ss = supersampling_for(pixel_size_um)
    if min(shape) < 16 or shape[0] * shape[1] * ss**2 > _MAX_PIXELS:
        raise MeteosegError(
            f"A simulated section of {shape[0]} x {shape[1]} px is not possible: it needs 16 px per side at least and "
            f"{_MAX_PIXELS // ss**2} px in all at most. Change the size or the pixel size."
        )
    rng = np.random.default_rng(seed)
    canvas = Canvas.blank((shape[0] * ss, shape[1] * ss), pixel_size_um / ss)
    fabric = fabric or draw_fabric(rng, recipe)
    paint_matrix(rng, canvas, recipe, fabric)
    painter = ObjectPainter(rng, canvas, recipe, fabric)
    painter.chondrules()
    painter.inclusions()
    paint_opaques(rng, canvas, recipe)
    lithic_clasts(rng, canvas, recipe)
    shock_melt(rng, canvas, recipe, pixel_um=pixel_size_um)
    rust(rng, canvas, recipe)
    pluck(rng, canvas, recipe, pixel_um=pixel_size_um)
    crack(rng, canvas, recipe, pixel_um=pixel_size_um)
    if recipe.epoxy_edge:
        cut_edge(rng, canvas)
    canvas.iron[canvas.material == paint("epoxy")] = 0
    maps, units = measure(
        rng, canvas.material, canvas.iron, channels, detector, supersampling=ss, pixel_um=pixel_size_um
    )
    phases, components, chondrules = _truth(canvas, ss)
    section = Section.from_arrays(
        name or f"simulated-{recipe.group}{recipe.petrologic_type:g}-{seed}",
        maps,
        pixel_size_um=pixel_size_um,
        units=units,
    )
    return SimulatedSection(section, phases, components, chondrules, canvas.truths, recipe, detector)


def simulate_section(
    group: str,
    *,
    petrologic_type: float = 3.2,
    weathering: str = "W1",
    shock: str = "S1",
    size_mm: tuple[float, float] = (10.0, 5.0),
    pixel_size_um: float = 5.0,
    seed: int = 1,
    channels: Sequence[str] | None = None,
    mode: str = "wds",
) -> SimulatedSection:
    """Simulate a section of a chondrite group, size (width, height) in mm.

    Examples
    --------
    >>> simulated = simulate_section("LL", size_mm=(1.0, 0.8), pixel_size_um=10.0, seed=3, channels=["BSE", "Fe"])
    >>> simulated.section.shape, simulated.section.channel_names
    ((80, 100), ('BSE', 'Fe'))

    Raises
    ------
    UnknownNameError : group, weathering grade, shock stage or detector mode.
    PixelSizeError : a pixel size or section size that is not positive.
    """
    if not pixel_size_um > 0 or not min(size_mm) > 0:
        raise PixelSizeError(f"Pixel size {pixel_size_um} um and size {size_mm} mm must be positive.")
    shape = (round(size_mm[1] * 1000 / pixel_size_um), round(size_mm[0] * 1000 / pixel_size_um))
    recipe = make_recipe(group, petrologic_type=petrologic_type, weathering=weathering, shock=shock)
    return simulate_recipe(
        recipe,
        Detector(mode=mode),
        shape=shape,
        pixel_size_um=pixel_size_um,
        seed=seed,
        channels=DEFAULT_CHANNELS if channels is None else channels,
    )
