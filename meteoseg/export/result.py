"""A result folder as exports read it: label images by window, objects one by one with their row of the table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.export.outlines import Outline, outlines
from meteoseg.grid import Window, row_bands
from meteoseg.io import open_labels
from meteoseg.legend import Legend, default_legend
from meteoseg.objects import iter_object_windows
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Plane, Section
from meteoseg.tables.labelcounts import LabelLayers
from meteoseg.tables.measure import CHONDRULES_CSV, LABEL_FILES, TEXTURE_COLUMNS, open_result, read_run

#: Colours of kinds and textures that the legend does not know (Okabe and Ito 2008, distinct for colour-blind eyes).
_MORE_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "meteoseg/chondrules")


@dataclass(frozen=True)
class ExportedObject:
    """One object of a result.

    `uuid` is the same each time the object of this section and id is exported; `label` is its texture where it has
    one, else its kind; `measurements` are the numbers of its row of chondrules.csv, those that are missing left out.
    """

    id: int
    uuid: str
    kind: str
    label: str
    color: str
    measurements: Mapping[str, float]
    parts: list[Outline]


@dataclass(frozen=True)
class ResultFiles:
    """The label images, legends and tables of one result folder."""

    folder: Path
    layers: LabelLayers

    @classmethod
    def of(cls, folder: Path) -> ResultFiles:
        """Open a result folder.

        Raises
        ------
        InputError : it holds no label images, or they differ in size.
        """
        opened = cls(folder, open_result(folder))
        if opened.objects is not None and opened.objects.shape != opened.layers.shape:
            raise ShapeMismatchError(
                f"{folder / LABEL_FILES['chondrules']} and the other label images differ in size: "
                "edit them on one grid."
            )
        return opened

    @cached_property
    def name(self) -> str:
        """Name of the section."""
        return str(read_run(self.folder).get("section", {}).get("name", self.folder.name))

    @cached_property
    def objects(self) -> Plane | None:
        """Object ids, or None where the result has none."""
        path = self.folder / LABEL_FILES["chondrules"]
        return open_labels(path)[0] if path.is_file() else None

    @cached_property
    def table(self) -> pd.DataFrame:
        """Rows of chondrules.csv by id.

        Raises
        ------
        InputError : there is none, or it lacks columns.
        """
        path = self.folder / CHONDRULES_CSV
        if not path.is_file():
            raise InputError(f"{path} is missing: make it with meteoseg modes {self.folder}.")
        table = pd.read_csv(path)
        missing = {"id", "kind", "area_px"} - set(table)
        if missing:
            raise InputError(
                f"{path} lacks the column {min(missing)}: make it again with meteoseg modes {self.folder}."
            )
        return table.set_index("id", drop=False)

    @property
    def label_names(self) -> pd.Series:
        """What each object is called, by id: its texture, or its kind where it has none."""
        texture = TEXTURE_COLUMNS[0]
        kinds = self.table["kind"].astype(str)
        return self.table[texture].fillna(kinds).astype(str) if texture in self.table else kinds

    @cached_property
    def colors(self) -> Mapping[str, str]:
        """Colour of each kind and texture."""
        components = self.layers.legends.get("components", default_legend("components"))
        names = sorted(set(self.label_names))
        known = {name: components[name].color for name in names if name in components}
        others = [name for name in names if name not in known]
        return known | {name: _MORE_COLORS[number % len(_MORE_COLORS)] for number, name in enumerate(others)}

    def legend_of(self, layer: str) -> Legend:
        """Return the legend of a layer.

        Raises
        ------
        InputError : a label of the image is not in it.
        """
        legend = self.layers.legends[layer]
        known = np.array(legend.ids)
        for window in row_bands(self.layers.shape):
            unknown = np.setdiff1d(self.layers.planes[layer].read(window), known)
            if unknown.size:
                raise InputError(
                    f"{self.folder / LABEL_FILES[layer]} has the label {unknown[0]}, which legend.csv does not list: "
                    "add a row for it, or correct the image."
                )
        return legend

    def reopened(self, maps: Path | None) -> Section:
        """Open the maps of the run, which lie in `maps` now, or where they were.

        Raises
        ------
        InputError : they are not there, or are others.
        """
        run = read_run(self.folder)
        if "section" not in run:
            raise InputError(f"The maps of {self.folder} are not known (it has no run.json): leave their export out.")
        try:
            section = reopen_section(run, maps)
        except InputError as error:
            raise InputError(
                f"The maps of {self.folder} cannot be opened ({error}): say with --maps DIR where they lie."
            ) from error
        if section.shape != self.layers.shape:
            raise ShapeMismatchError(
                f"The label images of {self.folder} are {_size(self.layers.shape)} (rows x cols) but its maps "
                f"{_size(section.shape)}: export the labels of the run."
            )
        return section

    @cached_property
    def object_windows(self) -> Mapping[int, Window]:
        """Bounding box of each object by id, in ascending order; empty where there are no objects.

        Raises
        ------
        InputError : image and table do not list the same objects with the same areas.
        """
        if self.objects is None:
            return {}
        windows = dict(iter_object_windows(_Sliced(self.objects)))  # type: ignore[arg-type]
        area_px = np.zeros(max(windows, default=0) + 1, np.int64)
        for window in row_bands(self.objects.shape):
            area_px += np.bincount(self.objects.read(window).astype(np.int64).ravel(), minlength=area_px.size)
        self._check_table({number: int(area_px[number]) for number in windows})
        return windows

    def numbers_of(self, number: int) -> dict[str, float]:
        """Return the numeric columns of an object's row (True and False as 1 and 0), without those that are missing."""
        return _numbers(self.table, number)

    def exported_objects(self) -> Iterator[ExportedObject]:
        """Yield the objects in the order of their ids, each read from its own window of the image.

        Raises
        ------
        InputError : image and table do not list the same objects with the same areas.
        """
        if self.objects is None or not self.object_windows:
            return
        names = self.label_names
        for number, window in self.object_windows.items():
            name = str(names[number])
            yield ExportedObject(
                number,
                str(uuid.uuid5(_NAMESPACE, f"{self.name}/{number}")),
                str(self.table.loc[number, "kind"]),
                name,
                self.colors[name],
                self.numbers_of(number),
                outlines(_mask(self.objects, window, number), (window.row, window.col)),
            )

    def _check_table(self, area_px: Mapping[int, int]) -> None:
        """Compare the areas of the image's objects with the table."""
        listed = self.table["area_px"]
        odd = sorted(set(area_px) ^ set(listed.index))
        if odd:
            where = "in the image" if odd[0] in area_px else "in the table"
            raise InputError(self._mismatch(f"object {odd[0]} is only {where}"))
        if listed.index.has_duplicates:
            raise InputError(self._mismatch("an object has several rows"))
        for number, area in area_px.items():
            if listed[number] != area:
                raise InputError(
                    self._mismatch(f"object {number} has {area} px in the image, {listed[number]} in the table")
                )

    def _mismatch(self, what: str) -> str:
        return (
            f"{LABEL_FILES['chondrules']} and {CHONDRULES_CSV} of {self.folder} do not go together ({what}): "
            f"make the tables again with meteoseg modes {self.folder}."
        )


@dataclass(frozen=True)
class _Sliced:
    """A plane that is read by slices of rows, as an array is."""

    plane: Plane
    ndim: int = 2

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.plane.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.plane.dtype

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Read full rows."""
        start, stop, _ = rows.indices(self.shape[0])
        return self.plane.read(Window(start, 0, stop - start, self.shape[1]))


def _mask(plane: Plane, window: Window, number: int) -> NDArray[np.bool_]:
    """Return where the object `number` is in its window, read band by band."""
    inside = np.empty(window.shape, bool)
    for band in row_bands(window.shape):
        part = Window(window.row + band.row, window.col, *band.shape)
        inside[band.slices] = plane.read(part) == number
    return inside


def _numbers(table: pd.DataFrame, number: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in map(str, table.columns):
        column = table[name]
        if column.dtype.kind in "biu":
            found[name] = int(column[number])
        elif column.dtype.kind == "f" and np.isfinite(column[number]):
            found[name] = float(column[number])
    return found


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
