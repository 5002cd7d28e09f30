"""Read LArCV ROOT files (images of a liquid-argon chamber, with the particles behind them) through uproot.

    python experiments/neutrino_particles/larcv.py FILE.root ... -o OUT

writes them as a data set of images (docs/patches.md) that training and classification read. The tree is
``image2d_data_tree``; where the file has ``particle_mctruth_tree``, its first particle gives the label, the energy and
the vertex. The public files of five particles (DeepLearnPhysics) have both trees, their challenge part only the first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from argon import MASS, PROTON
from events import CLASSES
from readout import SIDE_PX, SparseImages
from shards import Shard, save_shard

from meteoseg.errors import InputError, MeteosegError

FloatArray = np.ndarray

IMAGE = "_image_v/_image_v"
PARTICLE = "larcv::ParticleSet/_part_v/_part_v"
PLANES = ("XY", "YZ", "ZX")
#: Particle code of the Particle Data Group, without its sign -> class.
PDG = {11: "electron", 22: "photon", 13: "muon", 211: "pion", 2212: "proton"}
_PDG_MASS = {11: MASS[0], 22: 0.0, 13: MASS[2], 211: MASS[4], 2212: MASS[PROTON]}


@dataclass(frozen=True)
class LArCVEvents:
    """Some events of a file.

    Attributes
    ----------
    images : (n, 3, rows, cols) float32, row 0 at the lowest second coordinate, column 0 at the lowest first coordinate
    low_cm, high_cm : (n, 3, 2) lower and upper corner of each image: its column axis, its row axis
    numbers : (n, 3) run, subrun, event
    pdg : (n,) int, code of the first particle; None without the particle tree
    momentum_mev, vertex_cm : (n, 3) of that particle, or None
    """

    images: FloatArray
    low_cm: FloatArray
    high_cm: FloatArray
    numbers: np.ndarray
    pdg: np.ndarray | None = None
    momentum_mev: FloatArray | None = None
    vertex_cm: FloatArray | None = None

    def kinetic_mev(self) -> FloatArray:
        """Kinetic energy of the first particle; NaN where the file does not say."""
        if self.pdg is None or self.momentum_mev is None:
            return np.full(len(self.images), np.nan)
        mass = np.array([_PDG_MASS[abs(int(code))] for code in self.pdg])
        return np.sqrt((self.momentum_mev**2).sum(axis=1) + mass**2) - mass

    def labels(self) -> list[str]:
        """Class of each event; empty without the particle tree."""
        if self.pdg is None:
            return [""] * len(self.images)
        return [PDG[abs(int(code))] for code in self.pdg]

    def vertex_to_charge_px(self) -> FloatArray:
        """Distance (pixels, (n, 3)) of the stored vertex to the nearest pixel with charge: the check of orientation."""
        if self.vertex_cm is None:
            raise InputError("These events have no stored vertex: the file has no particle tree.")
        out = np.full(self.images.shape[:2], np.nan)
        for event, plane in np.ndindex(out.shape):
            rows, cols = np.nonzero(self.images[event, plane])
            low, size = self.low_cm[event, plane], self.high_cm[event, plane] - self.low_cm[event, plane]
            first, second = plane, (plane + 1) % 3
            col = (self.vertex_cm[event, first] - low[0]) / size[0] * self.images.shape[3]
            row = (self.vertex_cm[event, second] - low[1]) / size[1] * self.images.shape[2]
            if rows.size:
                out[event, plane] = np.hypot(rows + 0.5 - row, cols + 0.5 - col).min()
        return out


def read_larcv(path: Path, *, chunk: int = 500, side_px: int = SIDE_PX) -> Iterator[LArCVEvents]:
    """Read a file, `chunk` events at a time.

    Parameters
    ----------
    path : file with the tree image2d_data_tree
    side_px : rows and columns that every image must have

    Raises
    ------
    InputError : uproot is absent, the file is not ROOT, has no such tree, lacks a plane, or an image has another size.
    """
    with _opened(path) as file:
        tree = _tree(file, path, "image2d_data")
        truth = _tree(file, path, "particle_mctruth") if "particle_mctruth_tree" in _names(file) else None
        if truth is not None and truth.num_entries != tree.num_entries:
            raise InputError(
                f"{path}: {tree.num_entries} images but {truth.num_entries} particles. The file is damaged."
            )
        for start in range(0, tree.num_entries, chunk):
            yield _events(path, tree, truth, (start, min(start + chunk, tree.num_entries)), side_px)


def _opened(path: Path) -> Any:
    try:
        import uproot
    except ImportError as error:
        raise InputError("LArCV files need uproot: pip install 'meteoseg[particles]'.") from error
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    with path.open("rb") as file:
        if file.read(4) != b"root":
            raise InputError(f"{path} is not a ROOT file. Give LArCV files (*.root).")
    try:
        return uproot.open(path)
    except (ValueError, OSError, IndexError, uproot.DeserializationError) as error:
        raise InputError(f"{path} is a damaged ROOT file ({type(error).__name__}). Fetch it again.") from error


def _names(file: Any) -> list[str]:
    return [key.split(";")[0] for key in file]


def _tree(file: Any, path: Path, product: str) -> Any:
    name = f"{product}_tree"
    if name not in _names(file):
        found = ", ".join(_names(file)) or "nothing"
        raise InputError(f"{path} has no tree '{name}' (it has {found}). Give a LArCV file of 2-D images.")
    tree = file[name]
    if f"{product}_branch" not in tree:
        raise InputError(f"{path}: tree '{name}' has no branch '{product}_branch'. Give a LArCV file of 2-D images.")
    return tree


def _events(path: Path, tree: Any, truth: Any, span: tuple[int, int], side_px: int) -> LArCVEvents:
    def read(name: str) -> np.ndarray:
        return tree[f"image2d_data_branch/{name}"].array(library="np", entry_start=span[0], entry_stop=span[1])

    rows, cols = read(f"{IMAGE}._meta._row_count"), read(f"{IMAGE}._meta._col_count")
    pixels, order = read(f"{IMAGE}._img"), read(f"{IMAGE}._meta._id")
    corners = [read(f"{IMAGE}._meta._{corner}") for corner in ("p1.x", "p1.y", "p2.x", "p2.y")]
    images, low, high = [], [], []
    for number in range(span[1] - span[0]):
        where = f"{path}, event {span[0] + number}"
        counts = [len(plane) for plane in pixels[number]]
        check_planes(where, list(rows[number]), list(cols[number]), counts, side_px)
        planes = np.argsort(order[number], kind="stable")
        images.append(np.stack([oriented(pixels[number][plane], side_px, side_px) for plane in planes]))
        box = np.array([corner[number] for corner in corners])[:, planes]
        low.append(box[:2].T)
        high.append(box[2:].T)
    numbers = np.stack([read(f"larcv::EventBase/_{key}") for key in ("run", "subrun", "event")], axis=1)
    particle = _first_particles(path, truth, span) if truth is not None else (None, None, None)
    return LArCVEvents(np.stack(images), np.stack(low), np.stack(high), numbers.astype(np.int64), *particle)


def check_planes(where: str, rows: list[int], cols: list[int], pixels: list[int], side_px: int) -> None:
    """Check the three planes of one event.

    Raises
    ------
    InputError : a plane is missing, or one has another size.
    """
    if len(rows) != len(PLANES):
        raise InputError(f"{where} has {len(rows)} planes, {len(PLANES)} are needed. Leave this file out.")
    for plane, (n_rows, n_cols, size) in enumerate(zip(rows, cols, pixels, strict=True)):
        if (n_rows, n_cols) != (side_px, side_px):
            raise InputError(
                f"{where}: plane {plane} has {n_rows} x {n_cols} pixels, {side_px} x {side_px} are needed. "
                "Leave this file out."
            )
        if size != n_rows * n_cols:
            raise InputError(
                f"{where}: plane {plane} holds {size} values for {n_rows} x {n_cols} pixels. It is damaged."
            )


def oriented(pixels: Any, n_rows: int, n_cols: int) -> FloatArray:
    """Bring the stored pixels of an image to (rows, cols): LArCV stores column after column.

    Examples
    --------
    >>> oriented([1, 2, 3, 4, 5, 6], 2, 3)
    array([[1., 3., 5.],
           [2., 4., 6.]], dtype=float32)
    """
    return np.ascontiguousarray(np.asarray(pixels, dtype=np.float32).reshape(n_cols, n_rows).T)


def _first_particles(path: Path, truth: Any, span: tuple[int, int]) -> tuple[np.ndarray, FloatArray, FloatArray]:
    def read(name: str) -> list[FloatArray]:
        branch = truth[f"particle_mctruth_branch/{PARTICLE}.{name}"]
        return list(branch.array(library="np", entry_start=span[0], entry_stop=span[1]))

    codes = read("_pdg")
    for number, each in enumerate(codes):
        if not len(each):
            raise InputError(f"{path}, event {span[0] + number} has no particle. Leave this file out.")
        if abs(int(each[0])) not in PDG:
            known = ", ".join(f"{code} {name}" for code, name in PDG.items())
            raise InputError(
                f"{path}, event {span[0] + number} is of particle {each[0]}, not of the five classes ({known})."
            )
    momentum, vertex = (
        np.stack([[float(each[0]) for each in read(name)] for name in names], axis=1)
        for names in (("_px", "_py", "_pz"), ("_vtx._x", "_vtx._y", "_vtx._z"))
    )
    return np.array([int(each[0]) for each in codes]), momentum, vertex


def sparse(images: FloatArray) -> SparseImages:
    """Keep the pixels other than 0."""
    flat = images.reshape(len(images), -1)
    event, places = np.nonzero(flat)
    offsets = np.searchsorted(event, np.arange(len(images) + 1)).astype(np.int64)
    return SparseImages(offsets, places.astype(np.int32), flat[event, places])


def convert(paths: list[Path], out: Path) -> int:
    """Write the events of LArCV files as shards; returns how many there were."""
    total = 0
    for path in paths:
        for part, events in enumerate(read_larcv(path)):
            ids = [f"{path.stem}-{run}-{subrun}-{event}" for run, subrun, event in events.numbers]
            ids = [f"{name}-{total + number}" for number, name in enumerate(ids)]
            shard = Shard(sparse(events.images), events.labels(), ids, PLANES, events.kinetic_mev())
            save_shard(out / f"{path.stem}-{part:04d}.npz", shard)
            total += len(events.images)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the data set")
    options = parser.parse_args()
    print(f"{convert(options.files, options.out)} events of {', '.join(CLASSES)} -> {options.out}")


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
