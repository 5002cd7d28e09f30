"""Mean spectra of the phases and chondrules of a result, from the cube that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError, OutputExistsError, ShapeMismatchError
from meteoseg.grid import row_bands
from meteoseg.io.cube import CubeOptions, SpectrumCube
from meteoseg.io.cubemaps import energy_axis, open_cube
from meteoseg.io.labels import open_labels
from meteoseg.io.msa import write_msa
from meteoseg.legend import read_legend_csv
from meteoseg.runs.output import complete_or_absent
from meteoseg.section import Plane
from meteoseg.spectra.axis import EnergyAxis
from meteoseg.spectra.energycheck import check_energies
from meteoseg.tables.measure import LABEL_FILES

FOLDER = "spectra"
TABLE = "spectra.csv"
_GROUP_BYTES = 400_000_000


@dataclass(frozen=True)
class _Sums:
    """Sum spectra (L, N) and pixels (L,) of the labels `ids` of a layer."""

    layer: str
    ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    spectra: NDArray[np.float64]


def write_mean_spectra(
    folder: Path, cube_path: Path, options: CubeOptions, *, least_px: int = 15, overwrite: bool = False
) -> Path:
    """Write the mean spectrum of each phase and chondrule of a result folder as EMSA, into its subfolder ``spectra``.

    Files are called ``phase-olivine.msa`` and ``chondrule-12.msa``; ``spectra.csv`` lists them with their pixels and
    counts. Labels are read by row bands, and so are the spectra.

    Parameters
    ----------
    least_px : classes and objects of fewer pixels are left out.

    Returns
    -------
    The folder written.

    Raises
    ------
    InputError : no result folder, no cube, or an unreadable one.
    ShapeMismatchError : the cube has another grid than the labels.
    OutputExistsError : the subfolder is not empty.
    """
    out = folder / FOLDER
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise OutputExistsError(f"{out} exists and is not empty: use --overwrite.")
    cube = open_cube(cube_path)
    axis = energy_axis(cube, options)
    layers = _layers(folder, cube)
    total = cube.sum_spectrum()
    checked = check_energies(total, axis, beam_kv=cube.beam_kv).axis
    with complete_or_absent(out) as partial:
        rows = []
        for layer, plane in layers.items():
            for sums in _summed(cube, layer, plane, least_px):
                rows += _write(partial, sums, _names(folder, layer), checked, cube)
        table = pd.DataFrame(rows, columns=["file", "layer", "id", "name", "area_px", "counts", "counts_per_px"])
        table.to_csv(partial / TABLE, index=False)
    return out


def _layers(folder: Path, cube: SpectrumCube) -> dict[str, Plane]:
    files = {layer: folder / LABEL_FILES[layer] for layer in ("phases", "chondrules")}
    planes = {layer: open_labels(file)[0] for layer, file in files.items() if file.is_file()}
    if not planes:
        raise InputError(
            f"{folder} holds no results of meteoseg segment (such as {LABEL_FILES['phases']}): give its OUT/<name>."
        )
    for plane in planes.values():
        if plane.shape != cube.shape:
            raise ShapeMismatchError(
                f"{cube.path} has {cube.shape[0]} x {cube.shape[1]} pixels (rows x cols) and the labels of {folder} "
                f"{plane.shape[0]} x {plane.shape[1]}: give the cube that this result was made from."
            )
    return planes


def _names(folder: Path, layer: str) -> Mapping[int, str]:
    if layer != "phases" or not (folder / "legend.csv").is_file():
        return {}
    legend = read_legend_csv(folder / "legend.csv")[layer]
    return {label.id: label.name for label in legend.labels}


def _summed(cube: SpectrumCube, layer: str, plane: Plane, least_px: int) -> Iterator[_Sums]:
    """Add up the spectra of each label, as many labels at a time as memory takes."""
    areas = _areas(plane)
    large = np.flatnonzero(areas >= least_px)
    large = large[large > 0]  # 0 is outside in every layer
    group = max(1, _GROUP_BYTES // (8 * cube.channels))
    for start in range(0, len(large), group):
        ids = large[start : start + group]
        yield _Sums(layer, ids, areas[ids], _sum_of(cube, plane, ids, len(areas)))


def _areas(plane: Plane) -> NDArray[np.int64]:
    """Pixels of each label, by id."""
    areas = np.zeros(1, np.int64)
    for window in row_bands(plane.shape):
        counts = np.bincount(plane.read(window).ravel())
        size = max(len(areas), len(counts))
        areas = np.pad(areas, (0, size - len(areas))) + np.pad(counts, (0, size - len(counts)))
    return areas


def _sum_of(cube: SpectrumCube, plane: Plane, ids: NDArray[np.int64], n_labels: int) -> NDArray[np.float64]:
    from scipy.sparse import csr_array

    place = np.full(n_labels, -1, np.int64)
    place[ids] = np.arange(len(ids))
    sums = np.zeros((len(ids), cube.channels))
    for window, spectra in cube.bands():
        row = place[plane.read(window).ravel()]
        pixels = np.flatnonzero(row >= 0)
        if not pixels.size:
            continue
        present, local = np.unique(row[pixels], return_inverse=True)
        member = csr_array((np.ones(pixels.size, np.float32), (local, np.arange(pixels.size))))
        sums[present] += member @ spectra.reshape(-1, cube.channels)[pixels].astype(np.float32)
    return sums


def _write(
    folder: Path, sums: _Sums, names: Mapping[int, str], axis: EnergyAxis, cube: SpectrumCube
) -> list[dict[str, object]]:
    kind = "phase" if sums.layer == "phases" else "chondrule"
    rows: list[dict[str, object]] = []
    for number, pixels, spectrum in zip(sums.ids.tolist(), sums.pixels.tolist(), sums.spectra, strict=True):
        name = names.get(number, "" if kind == "chondrule" else str(number))
        file = f"{kind}-{_file_part(name) or number}.msa"
        title = f"{kind} {name or number}, mean of {pixels} px of {cube.path.name}"
        write_msa(folder / file, spectrum / pixels, axis, title=title, beam_kv=cube.beam_kv)
        counts = round(float(spectrum.sum()), 1)
        rows.append({"file": file, "layer": sums.layer, "id": number, "name": name, "area_px": pixels,
                     "counts": counts, "counts_per_px": round(counts / pixels, 3)})  # fmt: skip
    return rows


def _file_part(name: str) -> str:
    """Name of a phase as part of a file name."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())
