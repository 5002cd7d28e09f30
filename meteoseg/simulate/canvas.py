"""The canvas a section is painted on, at sub-pixel resolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meteoseg.legend import default_legend
from meteoseg.simulate.materials import paint
from meteoseg.simulate.textures import ChondruleTruth

#: Id of each component by name.
COMPONENT = {label.name: label.id for label in default_legend("components").labels}
#: Object ids from here on are inclusions and never written as chondrules.
FIRST_INCLUSION = 1_000_000


@dataclass
class Canvas:
    """A section at sub-pixel resolution (`px_um` micrometres), painted in place.

    `material` and `iron` (0-100) say what is there; `component` holds legend ids; `owner` object ids (0 = none);
    `reach` the distance to the owner's centre in its own radius; `truths` what each chondrule is.
    """

    px_um: float
    material: NDArray[np.uint8]
    iron: NDArray[np.uint8]
    component: NDArray[np.uint8]
    owner: NDArray[np.uint32]
    reach: NDArray[np.float32]
    truths: dict[int, ChondruleTruth] = field(default_factory=dict)

    @classmethod
    def blank(cls, shape: tuple[int, int], px_um: float) -> Canvas:
        """Return a canvas of matrix without material."""
        return cls(
            px_um,
            np.zeros(shape, np.uint8),
            np.zeros(shape, np.uint8),
            np.full(shape, COMPONENT["matrix"], np.uint8),
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

    def part(self, at: tuple[slice, slice]) -> Canvas:
        """Return a window of the canvas (a view)."""
        material, iron, component = self.material[at], self.iron[at], self.component[at]
        return Canvas(self.px_um, material, iron, component, self.owner[at], self.reach[at], self.truths)
