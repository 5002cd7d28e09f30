"""A spectrum cube: a spectrum for each pixel, read by row bands and never whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.io.source import PixelSize
from meteoseg.io.stored import Stamp, check_unchanged

#: Bytes of a band of spectra as float32; a few such bands are in memory at a time.
_BAND_BYTES = 64_000_000


@dataclass(frozen=True)
class CubeOptions:
    """What a user says about a spectrum cube; None leaves it to the file, or to what its spectra show.

    elements : symbols of the maps wanted. ev_per_channel, offset_ev : energy axis (eV).
    resolution_ev : FWHM of the detector at Mn Ka (eV).
    """

    elements: tuple[str, ...] | None = None
    ev_per_channel: float | None = None
    offset_ev: float | None = None
    resolution_ev: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return self == CubeOptions()

    def over(self, other: CubeOptions) -> CubeOptions:
        """Take from `other` what is not said here."""
        merged = {key: value if value is not None else getattr(other, key) for key, value in vars(self).items()}
        return CubeOptions(**merged)

    def stated(self) -> dict[str, Any]:
        """Return what is said as plain values."""
        said = {key: value for key, value in vars(self).items() if value is not None}
        return said | ({"elements": list(self.elements)} if self.elements is not None else {})

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str) -> CubeOptions:
        """Read and check plain values, as of a table in a section.toml.

        Raises
        ------
        InputError : an unknown key, a value of a wrong kind, or an element named twice.
        UnknownNameError : no element.
        """
        for key, value in table.items():
            if key not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise InputError(f"{where} has the unknown key '{key}': known are {known}.")
            if key != "elements" and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InputError(f"{where}: {key} must be a number of eV, got {value!r}.")
        if "resolution_ev" in table and not 40 <= table["resolution_ev"] <= 400:
            raise InputError(f"{where}: resolution_ev {table['resolution_ev']!r} is not possible: give 40 to 400 eV.")
        return cls(**{**table, "elements": _checked(table.get("elements"), where)})


def _checked(elements: Any, where: str) -> tuple[str, ...] | None:
    from meteoseg.elements import ATOMIC_NUMBER

    if elements is None:
        return None
    if not isinstance(elements, list) or not elements or not all(isinstance(name, str) for name in elements):
        raise InputError(f'{where}: elements must be a list such as ["Mg", "Si", "Fe"], got {elements!r}.')
    for name in elements:
        if name not in ATOMIC_NUMBER or name == "H":
            raise UnknownNameError.of("element", name, [known for known in ATOMIC_NUMBER if known != "H"])
        if list(elements).count(name) > 1:
            raise InputError(f"{where} names the element {name} twice: keep one.")
    return tuple(elements)


class SpectrumReader(Protocol):
    """Reads the spectra of a file, blocks of rows one after the other."""

    def blocks(self) -> Iterator[tuple[Window, NDArray[Any]]]:
        """Yield windows that cover the grid once, top to bottom, and their spectra (h, w, N) as stored."""


@dataclass(frozen=True)
class SpectrumCube:
    """An opened cube.

    Attributes
    ----------
    path : file of the spectra. stamp : what it was when it was opened.
    shape : (rows, cols). channels : N of each spectrum. dtype : as stored.
    ev_per_channel, offset_ev : energy axis; None where the file does not state it.
    pixel_size_um : (dy, dx) or None. beam_kv, resolution_ev : or None.
    images : by name, (H, W) images on the same grid. notes : what the user should know.
    """

    path: Path
    stamp: Stamp
    reader: SpectrumReader
    shape: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    ev_per_channel: float | None = None
    offset_ev: float | None = None
    pixel_size_um: PixelSize | None = None
    beam_kv: float | None = None
    resolution_ev: float | None = None
    images: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def bands(self) -> Iterator[tuple[Window, NDArray[Any]]]:
        """Yield windows and their spectra (h, w, N), small enough to be worked on as float32.

        Raises
        ------
        InputError : the file changed since it was opened, or ends early.
        """
        check_unchanged(self.path, self.stamp)
        rows = max(1, _BAND_BYTES // (4 * self.channels * self.shape[1]))
        for block, spectra in self.reader.blocks():
            for row in range(0, block.height, rows):
                part = spectra[row : row + rows]
                yield Window(block.row + row, block.col, part.shape[0], part.shape[1]), part
        check_unchanged(self.path, self.stamp)

    def sum_spectrum(self) -> NDArray[np.float64]:
        """Add all spectra (N,).

        Raises
        ------
        InputError : there are no counts.
        """
        total = np.zeros(self.channels)
        for _, spectra in self.bands():
            total += spectra.reshape(-1, self.channels).sum(axis=0, dtype=np.float64)
        if not np.isfinite(total).all() or total.min() < 0 or total.sum() <= 0:
            what = "no counts" if total.sum() == 0 else "values that are no counts (negative or not finite)"
            raise InputError(f"{self.path} holds {what}: export or measure it again.")
        return total
