"""Open spectrum cubes and single spectra with RosettaSciIO, an optional library (GPL-3)."""

from __future__ import annotations

import importlib
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, MemoryLimitError
from meteoseg.grid import Window
from meteoseg.io.cube import SpectrumCube
from meteoseg.io.source import PixelSize
from meteoseg.io.stored import stamp_of
from meteoseg.system.diskspace import size_text
from meteoseg.system.memory import available_memory, is_memory_short, memory_text

#: Plugin of RosettaSciIO by suffix; ripple has a module of its own.
_PLUGINS = {
    ".bcf": "bruker", ".pts": "jeol", ".elid": "phenom", ".emd": "emd", ".spd": "edax", ".hspy": "hspy",
    ".msa": "msa", ".emsa": "msa",
}  # fmt: skip
#: Formats that are read at once.
_WHOLE = (".elid", ".msa", ".emsa")
#: What readers of files from many makers raise on damaged ones.
_DAMAGE = (
    struct.error, zlib.error, ElementTree.ParseError, OSError, ValueError, LookupError, TypeError, AttributeError,
    EOFError, AssertionError, NotImplementedError, ArithmeticError, UnboundLocalError, RuntimeError,
)  # fmt: skip
_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6, "cm": 1e4}
_MEMORY_SHARE = 0.8
_RIPPLE_REMEDY = "export the cube as ripple (.rpl and .raw), which is read band by band"


@dataclass(frozen=True)
class LazyReader:
    """Spectra behind a lazy array (rows, cols, N), computed chunk row by chunk row."""

    path: Path
    data: Any

    def blocks(self) -> Iterator[tuple[Window, NDArray[Any]]]:
        """Yield windows and their spectra (h, w, N).

        Raises
        ------
        InputError : damaged file. MemoryLimitError : a chunk that does not fit into memory.
        """
        row = 0
        for height in self.data.chunks[0]:
            part = self.data[row : row + height]
            _check_memory(self.path, int(part.nbytes))
            with damage_told(self.path):
                spectra = np.asarray(part.compute(scheduler="synchronous"))
            yield Window(row, 0, height, spectra.shape[1]), spectra
            row += height


def _check_memory(path: Path, n_bytes: int) -> None:
    available = available_memory()
    if available is not None and n_bytes > _MEMORY_SHARE * available:
        raise MemoryLimitError(
            f"{path} is decoded in pieces of {size_text(n_bytes)} and {size_text(available)} of memory are free: "
            f"{_RIPPLE_REMEDY}."
        )


def open_file(path: Path) -> SpectrumCube:
    """Open a cube or a single spectrum of any format that RosettaSciIO reads, ripple aside.

    Raises
    ------
    InputError : the library is missing, the file is damaged, or holds no spectra.
    """
    stamp = stamp_of(path)
    plugin = load_plugin(path, _PLUGINS[path.suffix.lower()])
    with damage_told(path):
        if path.suffix.lower() == ".bcf":
            _check_bcf_is_whole(path)
        lazily = {} if path.suffix.lower() in _WHOLE else {"lazy": True}
        entries = plugin.file_reader(str(path), **lazily)
        spectra = [entry for entry in entries if _axes(entry)[1] is not None]
        if not spectra:
            raise InputError(f"{path} holds no spectra, only {len(entries)} other data sets: give the cube itself.")
        entry = max(spectra, key=lambda each: each["data"].size)
        data = _cube_data(entry)
        facts = _facts(entry, _axes(entry))
    shape = (int(data.shape[0]), int(data.shape[1]))
    images, notes = _images(entries, shape)
    if len(spectra) > 1:
        notes = (*notes, f"{path.name} holds {len(spectra)} cubes: the largest is used")
    return SpectrumCube(
        path, stamp, LazyReader(path, data), shape, int(data.shape[2]), data.dtype, images=images, notes=notes, **facts
    )


def _check_bcf_is_whole(path: Path) -> None:
    """Check that every piece of the files inside a .bcf lies in it: the compiled decoder ends the program otherwise.

    Raises
    ------
    InputError : the file is cut short.
    """
    reader = importlib.import_module("rsciio.bruker._api").SFS_reader(str(path))
    n_bytes, usable = path.stat().st_size, reader.usable_chunk
    folders = [reader.vfs]
    while folders:
        for item in folders.pop().values():
            if isinstance(item, dict):
                folders.append(item)
                continue
            if item.is_dir or not item.size:
                continue
            ends = item.pointers + usable
            ends[-1] = item.pointers[-1] + item.size - usable * (item.size_in_chunks - 1)
            if len(ends) < item.size_in_chunks or int(ends.max()) > n_bytes:
                raise InputError(f"{path} is cut short at {n_bytes} bytes ('{item.name}' goes on): copy it again.")


def load_plugin(path: Path, name: str) -> Any:
    """Import one reader of RosettaSciIO.

    Raises
    ------
    InputError : it, or a library that it needs, is missing.
    """
    try:
        return importlib.import_module(f"rsciio.{name}")
    except ImportError as error:
        raise InputError(
            f"{path} needs RosettaSciIO ({error}): install it with python -m pip install 'meteoseg[cubes]'."
        ) from error


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Say which file is damaged where a reader fails; its own warnings are for programmers.

    Raises
    ------
    InputError : in the place of the reader's error. MemoryLimitError : memory ran out.
    """
    logger = logging.getLogger("rsciio")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryLimitError):
        raise
    except ImportError as error:
        raise InputError(f"{path} needs a library that is missing ({error}): install 'meteoseg[cubes]'.") from error
    except (MemoryError, *_DAMAGE) as error:
        if is_memory_short(error):
            raise MemoryLimitError(memory_text(_RIPPLE_REMEDY)) from error
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is cut short or damaged, or no spectrum cube ({detail}): export or copy it again."
        ) from error
    finally:
        logger.setLevel(level)


def _axes(entry: Mapping[str, Any]) -> tuple[list[int], int | None]:
    """Positions of the rows and columns, and of the energies (None: an image) of a data set."""
    navigate = [bool(axis.get("navigate")) for axis in entry["axes"]]
    signal = [number for number, moves in enumerate(navigate) if not moves]
    places = [number for number, moves in enumerate(navigate) if moves]
    is_spectra = len(signal) == 1 and len(places) in (0, 2)
    return places, signal[0] if is_spectra else None


def _cube_data(entry: Mapping[str, Any]) -> Any:
    """Return the spectra as a lazy array (rows, cols, N); a single spectrum is a cube of one pixel."""
    da: Any = importlib.import_module("dask.array")
    places, signal = _axes(entry)
    data = entry["data"]
    lazy = data if hasattr(data, "chunks") else da.asarray(np.asarray(data))
    return da.transpose(lazy, (*places, signal)) if places else lazy.reshape(1, 1, -1)


def _facts(entry: Mapping[str, Any], axes: tuple[list[int], int | None]) -> dict[str, Any]:
    places, signal = axes
    energy = entry["axes"][signal if signal is not None else 0]
    ev = ev_per_unit(str(energy.get("units", "")))
    instrument = entry.get("metadata", {}).get("Acquisition_instrument") or {}
    microscope = instrument.get("SEM") or instrument.get("TEM") or {}
    detector = (microscope.get("Detector") or {}).get("EDS") or {}
    beam = float(microscope.get("beam_energy") or 0)
    return {
        "ev_per_channel": ev * float(energy["scale"]) if ev else None,
        "offset_ev": ev * float(energy["offset"]) if ev else None,
        "pixel_size_um": _pixel_size([entry["axes"][place] for place in places]),
        "beam_kv": beam or None,
        "resolution_ev": _believed(detector.get("energy_resolution_MnKa")),
    }


def _believed(resolution_ev: Any) -> float | None:
    value = float(resolution_ev or 0)
    return value if 100 <= value <= 250 else None


def ev_per_unit(text: str) -> float | None:
    """Return the eV of an energy unit as files spell it; None where it is no such unit.

    Examples
    --------
    >>> ev_per_unit("keV"), ev_per_unit("Energy (EV)"), ev_per_unit("")
    (1000.0, 1.0, None)
    """
    lowered = text.lower()
    return 1000.0 if "kev" in lowered else 1.0 if "ev" in lowered else None


def _pixel_size(axes: list[Mapping[str, Any]]) -> PixelSize | None:
    if len(axes) != 2:
        return None
    units = [_UM.get(str(axis.get("units", ""))) for axis in axes]
    sizes = [float(axis["scale"]) * unit for axis, unit in zip(axes, units, strict=True) if unit]
    return (abs(sizes[0]), abs(sizes[1])) if len(sizes) == 2 and all(sizes) else None


def _images(
    entries: list[Mapping[str, Any]], shape: tuple[int, int]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """BSE image of a file, where it lies on the grid of the cube."""
    images: dict[str, NDArray[Any]] = {}
    notes = []
    for entry in entries:
        title = str(entry.get("metadata", {}).get("General", {}).get("title", ""))
        if _axes(entry)[1] is not None or entry["data"].ndim != 2 or "BSE" not in title.upper():
            continue
        if entry["data"].shape == shape and "BSE" not in images:
            images["BSE"] = np.asarray(entry["data"])
        else:
            rows, cols = entry["data"].shape
            notes.append(f"BSE image '{title}' of {rows} x {cols} px lies on another grid and is left out")
    return images, tuple(notes)
