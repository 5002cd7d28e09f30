"""The label images of a section while its result is made, and the disk space that they lie in."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.labels.certainty import Certainty
from meteoseg.system.diskspace import reserve

#: Bytes of slices of an array on disk after which its pages are given back.
LET_GO_BYTES = 64 * 2**20


class ScratchArray(np.memmap):
    """An array on disk that is read and written slice by slice in little memory, however large it is.

    The system keeps every page of a memory map that was touched in the memory of the process until it needs the space.
    Here the pages are given back after `LET_GO_BYTES` of slices; what was written lies in the file.
    """

    _touched = 0

    def __getitem__(self, index: Any) -> Any:
        """Return a part, itself such an array where it is a view."""
        part = super().__getitem__(index)
        self._let_go(getattr(part, "nbytes", 0))
        return part

    def __setitem__(self, index: Any, value: Any) -> None:
        """Overwrite a part."""
        super().__setitem__(index, value)
        self._let_go(getattr(value, "nbytes", 0))

    def _let_go(self, nbytes: int) -> None:
        self._touched += nbytes
        pages = getattr(self, "_mmap", None)
        if self._touched > LET_GO_BYTES and pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


@dataclass(frozen=True)
class Scratch:
    """Zeroed arrays on disk, in a folder that its owner removes."""

    folder: Path
    shape: tuple[int, int]

    def array(self, name: str, dtype: Any) -> NDArray[Any]:
        """Make an array of the section's shape.

        Raises
        ------
        OSError : the disk is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.raw"
        reserve(path, self.shape[0] * self.shape[1] * np.dtype(dtype).itemsize)
        return ScratchArray(path, dtype=dtype, mode="r+", shape=self.shape)


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
