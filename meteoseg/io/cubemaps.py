"""Element maps of a spectrum cube, made by row bands into a scratch file when they are first read."""

from __future__ import annotations

import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.cube import CubeOptions, SpectrumCube
from meteoseg.io.cubereaders import open_file
from meteoseg.io.folder import Found
from meteoseg.io.formats import is_readable_cube, require_file
from meteoseg.io.ripple import open_ripple
from meteoseg.io.source import MapSource
from meteoseg.io.stored import Stamp, read_grid
from meteoseg.section import ArrayPlane, Channel
from meteoseg.spectra.analysis import SpectrumAnalysis, analyse
from meteoseg.spectra.axis import EnergyAxis
from meteoseg.system.diskspace import disk_full_told

_STORED = np.dtype(np.float32)
_opened: weakref.WeakValueDictionary[tuple[Path, Stamp, CubeOptions], CubeMaps] = weakref.WeakValueDictionary()
_opening = threading.Lock()


class ScratchPlanes:
    """Planes of values in a scratch file on the disk of temporary files, gone with this object.

    Parameters
    ----------
    bands : windows of full width and values (h, w, P) in them. shape : (rows, cols).

    Raises
    ------
    DiskFullError : the disk of temporary files ran full.
    """

    def __init__(self, bands: Iterable[tuple[Window, NDArray[np.float32]]], shape: tuple[int, int]) -> None:
        self.shape = shape
        rows, cols = shape
        folder = Path(tempfile.gettempdir())
        with disk_full_told(folder):
            self._file = tempfile.TemporaryFile(prefix="meteoseg-", dir=folder)  # noqa: SIM115 - closed by _close
            self._close = weakref.finalize(self, self._file.close)
            for window, values in bands:
                for number, plane in enumerate(np.moveaxis(values, -1, 0)):
                    self._file.seek((number * rows + window.row) * cols * _STORED.itemsize)
                    self._file.write(np.ascontiguousarray(plane, _STORED).data)

    def read(self, number: int, window: Window) -> NDArray[np.float32]:
        """Return a window (h, w) of plane `number`; one reader at a time."""
        at = number * self.shape[0] * self.shape[1] * _STORED.itemsize
        return read_grid(self._file, _STORED, at, (*self.shape, 1), window)[..., 0].astype(np.float32)


@dataclass(eq=False)
class CubeMaps:
    """The element maps of a cube: net counts, background and overlaps taken off.

    Attributes
    ----------
    options : what the user said of it. analysis : what its sum spectrum says.
    """

    cube: SpectrumCube
    options: CubeOptions
    analysis: SpectrumAnalysis
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _scratch: ScratchPlanes | None = field(default=None, repr=False)

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements mapped."""
        return self.analysis.elements

    def read(self, number: int, window: Window) -> NDArray[np.float32]:
        """Return net counts (h, w) of element `number`; below 0 where the background happened to be low.

        Raises
        ------
        InputError : the file changed since it was opened. DiskFullError : no room for the maps.
        """
        with self._lock:
            if self._scratch is None:
                self._scratch = ScratchPlanes(self.bands(), self.cube.shape)
            return self._scratch.read(number, window)

    def bands(self) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield windows of full width and the net counts (h, w, E) in them, float32."""
        weights = self.analysis.fit.weights[: len(self.elements)].T.astype(np.float32)
        for window, spectra in self.cube.bands():
            yield window, spectra.astype(np.float32) @ weights


@dataclass(frozen=True)
class CubePlane:
    """The map of one element of a cube."""

    maps: CubeMaps
    element: str

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.maps.cube.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return _STORED

    def read(self, window: Window) -> NDArray[Any]:
        """Return net counts of `window`."""
        return self.maps.read(self.maps.elements.index(self.element), window)


@dataclass(frozen=True)
class CubeImage(ArrayPlane):
    """An image that lies in the file of a cube, on its grid."""

    maps: CubeMaps


def open_cube(path: Path) -> SpectrumCube:
    """Open a spectrum cube, or a single spectrum as a cube of one pixel.

    Raises
    ------
    InputError : missing, damaged or cut short, no cube, or RosettaSciIO is not installed.
    """
    require_file(path)
    if not is_readable_cube(path):
        raise InputError(f"{path} is no spectrum cube that can be read: name one, such as a .bcf or .rpl file.")
    return open_ripple(path) if path.suffix.lower() in (".rpl", ".raw") else open_file(path)


def open_cube_maps(path: Path, options: CubeOptions) -> CubeMaps:
    """Open a cube, check its energies and find its elements; its maps are made when they are read.

    Opened twice with the same options, it is the same: channels share their maps.

    Raises
    ------
    InputError : as `open_cube`; no counts, no energy axis, energies that fit no lines, elements out of range.
    """
    with _opening:
        cube = open_cube(path)
        key = (cube.path.resolve(), cube.stamp, options)
        known = _opened.get(key)
        if known is None:
            known = _opened[key] = CubeMaps(cube, options, _analysis(cube, options))
        return known


def _analysis(cube: SpectrumCube, options: CubeOptions) -> SpectrumAnalysis:
    axis = energy_axis(cube, options)
    spectrum = cube.sum_spectrum()
    resolution = options.resolution_ev or cube.resolution_ev
    try:
        return analyse(spectrum, axis, elements=options.elements, fwhm_ev=resolution, beam_kv=cube.beam_kv)
    except InputError as error:
        raise InputError(f"{cube.path}: {error}") from error


def energy_axis(cube: SpectrumCube, options: CubeOptions) -> EnergyAxis:
    """Return the energy axis that the options, or else the file, state.

    Raises
    ------
    InputError : neither does.
    """
    step = options.ev_per_channel or cube.ev_per_channel
    if step is None:
        raise InputError(
            f"{cube.path} states no energy per channel: give it with --ev-per-channel EV (and --energy-offset EV where "
            "channel 0 is not at 0 eV), as the microscope's program shows it."
        )
    offset = cube.offset_ev if options.offset_ev is None else options.offset_ev
    try:
        return EnergyAxis(step, 0.0 if offset is None else offset, cube.channels)
    except InputError as error:
        raise InputError(f"{cube.path}: {error}") from error


def cube_channels(path: Path, options: CubeOptions) -> Found:
    """Return the element maps of a cube, and its BSE image, as the content of a section.

    Raises
    ------
    InputError : as `open_cube_maps`.
    """
    maps = open_cube_maps(path, options)
    cube = maps.cube
    channels = {
        name: Channel(name, CubePlane(maps, name), "counts", cube.path, _reason(maps, name)) for name in maps.elements
    }
    for name, image in cube.images.items():
        channels[name] = Channel(name, CubeImage(image, maps), "grey", cube.path, f"{name} image of the cube")
    first = next(iter(channels.values())).plane
    source = MapSource(cube.path, first, "", pixel_size_um=cube.pixel_size_um, pixel_size_source="metadata")
    return Found(channels, (source,), notes=(*cube.notes, *_offset_note(maps), *maps.analysis.notes()))


def _offset_note(maps: CubeMaps) -> tuple[str, ...]:
    if maps.cube.offset_ev is None and maps.options.offset_ev is None:
        return ("energy of channel 0 is not stated and taken as 0 eV, then corrected by known lines",)
    return ()


def _reason(maps: CubeMaps, name: str) -> str:
    found = maps.analysis.element(name)
    line = found.family.main
    sure = "" if found.is_sure else ", doubtful"
    return f"{name} {line.name} {line.energy_kev:.3f} keV, {found.counts:.0f} +- {found.sd:.0f} counts in all{sure}" + (
        " (chosen)" if maps.options.elements else ""
    )
