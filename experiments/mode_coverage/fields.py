"""Label fields of small sections whose expected modes are known: dead leaves, and simulated meteorites without maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.legend import default_legend
from meteoseg.simulate.alteration import crack, pluck, rust
from meteoseg.simulate.canvas import Canvas
from meteoseg.simulate.fabric import draw_fabric
from meteoseg.simulate.groundmass import paint_matrix, paint_opaques
from meteoseg.simulate.materials import phase_ids
from meteoseg.simulate.recipe import make_recipe
from meteoseg.simulate.scene import ObjectPainter

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Leaves:
    """A dead-leaves field: discs of lognormal diameter fall on each other until all is covered.

    shape : (rows, cols). shares : of the kinds of disc. median_px, sigma : diameter of the discs.
    grain_px : 0, or diameter of grains of the same kinds that fill every second kind of disc.
    """

    shape: tuple[int, int]
    shares: tuple[float, ...]
    median_px: float
    sigma: float = 0.5

    @property
    def expected(self) -> dict[str, float]:
        """Expected share of each kind: that of its discs, since all have one law of sizes."""
        return {f"{100 * share:g} %": share for share in self.shares}

    def draw(self, seed: int) -> Labels:
        """Draw a field; labels are 1 for the first kind and so on."""
        rng = np.random.default_rng([seed, 5])
        margin = int(2 * self.median_px * np.exp(2 * self.sigma))
        size = np.array(self.shape) + 2 * margin
        labels, left = np.zeros(self.shape, np.uint8), self.shape[0] * self.shape[1]
        while left > 0:  # from the topmost disc down: only what is still bare is painted
            centre = rng.uniform(0, size) - margin
            radius = self.median_px / 2 * np.exp(self.sigma * rng.standard_normal())
            kind = 1 + int(rng.choice(len(self.shares), p=self.shares))
            left -= _paint(labels, centre, radius, kind)
        return labels


def _paint(labels: Labels, centre: NDArray[np.float64], radius: float, kind: int) -> int:
    """Paint the bare pixels of a disc; return their number."""
    low, high = np.maximum(0, np.floor(centre - radius).astype(int)), np.ceil(centre + radius).astype(int) + 1
    part = labels[low[0] : max(0, high[0]), low[1] : max(0, high[1])]
    if not part.size:
        return 0
    row, col = np.ogrid[low[0] : low[0] + part.shape[0], low[1] : low[1] + part.shape[1]]
    bare = ((row - centre[0]) ** 2 + (col - centre[1]) ** 2 <= radius**2) & (part == 0)
    part[bare] = kind
    return int(np.count_nonzero(bare))


class OneRock(np.random.Generator):
    """Random numbers whose single draws are their middle: what the simulator draws once per scene is then fixed.

    `paint_opaques` draws amount and size of the opaques of each scene. Sections of one meteorite would differ by them,
    which no interval from within a section can tell; arrays of random numbers (places, shapes) stay random.
    """

    def lognormal(self, mean: float = 0.0, sigma: float = 1.0, size: object = None) -> float:  # type: ignore[override]
        """Return the mean of the law, whatever `size`."""
        del size
        return float(np.exp(mean + sigma**2 / 2))

    def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> object:  # type: ignore[override]
        """Return the middle of the range, or an array as ever."""
        return (low + high) / 2 if size is None else super().uniform(low, high, size)


@dataclass(frozen=True)
class Rock:
    """A simulated meteorite: group, petrologic type, section (rows, cols) in pixels, pixel size in um."""

    group: str
    petrologic_type: float
    section_px: tuple[int, int]
    pixel_um: float

    def sections(self, n: int) -> Iterator[Mapping[str, Labels]]:
        """Yield sections of one fabric: phases and components by layer.

        Each is the middle of a scene of its own, a quarter larger each way and painted as `meteoseg.simulate` does, at
        one sub-pixel per pixel, without detector and epoxy edge; opaques as `OneRock` says.
        """
        recipe = make_recipe(self.group, petrologic_type=self.petrologic_type)
        fabric = draw_fabric(np.random.default_rng(7), recipe)
        margin = [round(side / 8) for side in self.section_px]
        middle = tuple(slice(edge, edge + side) for edge, side in zip(margin, self.section_px, strict=True))
        for seed in range(n):
            rng = np.random.default_rng([seed, 99])
            shape = (self.section_px[0] + 2 * margin[0], self.section_px[1] + 2 * margin[1])
            canvas = Canvas.blank(shape, self.pixel_um)
            paint_matrix(rng, canvas, recipe, fabric)
            painter = ObjectPainter(rng, canvas, recipe, fabric)
            painter.chondrules()
            painter.inclusions()
            paint_opaques(OneRock(rng.bit_generator), canvas, recipe)
            rust(rng, canvas, recipe)
            pluck(rng, canvas, recipe, pixel_um=self.pixel_um)
            crack(rng, canvas, recipe, pixel_um=self.pixel_um)
            phases = phase_ids()[canvas.material].astype(np.uint8)
            phases[canvas.component == 0] = default_legend("phases")["outside"].id
            yield {"phases": phases[middle], "components": canvas.component[middle]}
