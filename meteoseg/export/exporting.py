"""Result folders into the formats of other programs, each file complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meteoseg.errors import InputError, OutputExistsError
from meteoseg.export.imagej import need_roifile, write_rois
from meteoseg.export.images import common_type, write_maps, write_painted
from meteoseg.export.omezarr import need_zarr, write_ome_zarr
from meteoseg.export.qupath import write_geojson
from meteoseg.export.result import ResultFiles
from meteoseg.runs.output import complete_or_absent, whole_file
from meteoseg.section import Section
from meteoseg.system.diskspace import check_space, disk_full_told
from meteoseg.system.footprint import export_need
from meteoseg.tables.measure import LABEL_FILES, result_folders

#: What ``--to`` takes, and ``all`` of them.
FORMATS = ("qupath", "imagej", "ome-tiff", "ome-zarr")
ALL = "all"
GEOJSON, ROIS, MAPS, ZARR = "chondrules.geojson", "chondrules.zip", "maps.ome.tif", "section.ome.zarr"
#: Where exports of a result folder go by default, inside it.
FOLDER = "export"


def export_results(
    path: Path,
    *,
    to: Collection[str] = (ALL,),
    out: Path | None = None,
    maps: Path | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Path]:
    """Export a result folder, or all that a folder holds; return what was written.

    Parameters
    ----------
    to : some of `FORMATS`, or ``all``: what the results allow; what is left out then is told.
    out : folder to write to, with a folder for each of several results; None: `FOLDER` inside each result.
    maps : folder in which the maps of the run lie now; None: where they were.
    tell : is told what is left out.

    Raises
    ------
    InputError : no results; a format asked for by name that they do not allow, or whose package is missing; label
        images that do not go with legend or table.
    OutputExistsError : a file that would be written is there and `overwrite` is not set.
    """
    folders = result_folders(path)
    if maps is not None and not maps.is_dir():
        raise InputError(f"--maps {maps} is no folder: give the folder that holds the section's maps.")
    if maps is not None and len(folders) > 1:
        raise InputError("--maps goes with one result folder.")
    written: list[Path] = []
    for folder in folders:
        target = folder / FOLDER if out is None else out / folder.name if len(folders) > 1 else out
        export = _Export(ResultFiles.of(folder), target, frozenset(to), maps, tell or (lambda _: None))
        written += export.write(overwrite=overwrite)
    return written


@dataclass(frozen=True)
class _Export:
    """The export of one result folder into `target`."""

    files: ResultFiles
    target: Path
    to: frozenset[str]
    maps: Path | None
    tell: Callable[[str], None]

    def write(self, *, overwrite: bool) -> list[Path]:
        """Write what was asked for and is possible."""
        formats = [name for name in FORMATS if name in self.to or ALL in self.to]
        formats = [name for name in formats if self._is_installed(name)]
        if not self._has_objects(formats):
            formats = [name for name in formats if name not in ("qupath", "imagej")]
        section = self._section(formats)
        if section is None:
            formats = [name for name in formats if name != "ome-zarr"]
        self._check_target(formats, section, overwrite=overwrite)
        for layer in self.files.layers.planes:
            self.files.legend_of(layer)
        return list(self._write(formats, section))

    def _is_required(self, name: str) -> bool:
        """Whether a format was asked for by name: what stands against it is then an error, else a remark."""
        return name in self.to

    def _leave_out(self, names: Sequence[str], error: InputError) -> None:
        """Tell why formats are left out, or raise it where one of them was asked for by name."""
        if any(self._is_required(name) for name in names):
            raise error
        self.tell(f"{' and '.join(names)} left out: {error}")

    def _is_installed(self, name: str) -> bool:
        checks = {"imagej": need_roifile, "ome-zarr": need_zarr}
        try:
            if name in checks:
                checks[name]()
        except InputError as error:
            self._leave_out([name], error)
            return False
        return True

    def _has_objects(self, formats: Sequence[str]) -> bool:
        """Whether there are objects to export, once image and table were compared."""
        if self.files.object_windows:
            return True
        of_objects = [name for name in formats if name in ("qupath", "imagej")]
        if of_objects:
            which = f"no objects in its {LABEL_FILES['chondrules']}"
            if self.files.objects is None:
                which = f"no {LABEL_FILES['chondrules']}"
            wanted = "choose ome-tiff or ome-zarr with --to"
            self._leave_out(of_objects, InputError(f"{self.files.folder} has {which}: {wanted}."))
        return False

    def _section(self, formats: Sequence[str]) -> Section | None:
        """Open the maps where a format takes them; None where they cannot be opened and need not be."""
        if not {"ome-tiff", "ome-zarr"} & set(formats):
            return None
        try:
            return self.files.reopened(self.maps)
        except InputError as error:
            if self.maps is not None or self._is_required("ome-zarr"):
                raise
            names = [MAPS] if "ome-tiff" in formats else []
            names += ["ome-zarr"] if "ome-zarr" in formats else []
            self.tell(f"{' and '.join(names)} left out: {error}")
            return None

    def _names(self, formats: Sequence[str], section: Section | None) -> list[str]:
        """Return the names of the files that will be written."""
        names = {"qupath": [GEOJSON], "imagej": [ROIS], "ome-zarr": [ZARR]}
        names["ome-tiff"] = [f"{layer}-colours.ome.tif" for layer in self.files.layers.planes]
        names["ome-tiff"] += [MAPS] if section is not None else []
        return [name for chosen in formats for name in names[chosen]]

    def _check_target(self, formats: Sequence[str], section: Section | None, *, overwrite: bool) -> None:
        """Check that nothing is in the way and that there is space."""
        if self.target.exists() and not self.target.is_dir():
            raise InputError(f"{self.target} is a file: give another folder with -o.")
        there = [name for name in self._names(formats, section) if (self.target / name).exists()]
        if there and not overwrite:
            raise OutputExistsError(f"{self.target / there[0]} exists: use --overwrite, or another -o.")
        if formats:
            dtype = None if section is None else common_type([c.plane.dtype for c in section.channels.values()])
            map_bytes = 0 if section is None or dtype is None else len(section.channels) * np.dtype(dtype).itemsize
            need = export_need(self.files.name, self.files.layers.shape, formats, map_bytes=map_bytes)
            if warning := check_space(self.target, need):
                self.tell(warning)

    def _write(self, formats: Sequence[str], section: Section | None) -> Iterator[Path]:
        self.target.mkdir(parents=True, exist_ok=True)
        if "qupath" in formats:
            with whole_file(self.target / GEOJSON) as part:
                write_geojson(part, self.files.exported_objects())
            yield self.target / GEOJSON
        if "imagej" in formats:
            with whole_file(self.target / ROIS) as part:
                write_rois(part, self.files.exported_objects())
            yield self.target / ROIS
        if "ome-tiff" in formats:
            with disk_full_told(self.target):
                yield from self._write_tiffs(section)
        if "ome-zarr" in formats and section is not None:
            with complete_or_absent(self.target / ZARR) as partial:
                write_ome_zarr(partial, self.files, section)
            yield self.target / ZARR

    def _write_tiffs(self, section: Section | None) -> Iterator[Path]:
        size = self.files.layers.pixel_size_um
        for layer, plane in self.files.layers.planes.items():
            path = self.target / f"{layer}-colours.ome.tif"
            write_painted(path, plane, self.files.layers.legends[layer], size)
            yield path
        if section is not None:
            write_maps(self.target / MAPS, section, size)
            yield self.target / MAPS
