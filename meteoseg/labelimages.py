"""The label images of a section while its result is made, and the disk space that they lie in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.certainty import Certainty


@dataclass(frozen=True)
class Scratch:
    """Zeroed arrays on disk, in a folder that its owner removes."""

    folder: Path
    shape: tuple[int, int]

    def array(self, name: str, dtype: Any) -> NDArray[Any]:
        """Make an array of the section's shape."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return np.memmap(self.folder / f"{name}.raw", dtype=dtype, mode="w+", shape=self.shape)


@dataclass
class LabelImages:
    """Label images of one section (H, W); a layer that nothing delivers is None.

    `probabilities` holds, where asked for, the top probability in percent, and `mixtures` which pixels chemistry takes
    for a mixture of two phases; `certainty` holds the mean probability.
    """

    inside: NDArray[np.bool_]
    phases: NDArray[np.uint8] | None = None
    components: NDArray[np.uint8] | None = None
    chondrules: NDArray[np.int32] | None = None
    mixtures: NDArray[np.bool_] | None = None
    notes: list[str] = field(default_factory=list)
    probabilities: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    certainty: dict[str, Certainty] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, NDArray[Any]]:
        """The images that are there: phases, components, chondrules."""
        found = {"phases": self.phases, "components": self.components, "chondrules": self.chondrules}
        return {layer: image for layer, image in found.items() if image is not None}

    @property
    def layers(self) -> list[str]:
        """Names of the images that have a legend."""
        return [layer for layer in self.images if layer != "chondrules"]
