"""OME-Zarr for napari and others: the maps as an image, the label images as its labels.

Version 0.4 of the format (Zarr version 2): current napari-ome-zarr reads 0.4 and 0.5, but Fiji's N5 and Bio-Formats
readers and older napari plugins read 0.4 only.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.export.images import channel_looks, common_type
from meteoseg.export.result import ResultFiles
from meteoseg.grid import Window
from meteoseg.io.pyramid import halved, level_shapes
from meteoseg.legend import Legend
from meteoseg.report.images import hex_rgb
from meteoseg.sampling import sample_pixels
from meteoseg.section import Plane, Section
from meteoseg.system.memory import give_back

if TYPE_CHECKING:
    import zarr

VERSION = "0.4"
#: Side of a chunk in pixels; a chunk is a file.
CHUNK_PX = 1024
#: Columns that are written, and rows of a map that are read, at once: zarr holds several copies of what it is given.
_BLOCK_COLS = 2 * CHUNK_PX
_READ_ROWS = CHUNK_PX // 4
_CHANNEL_AXIS = {"name": "c", "type": "channel"}
_SPACE_AXES = tuple({"name": name, "type": "space", "unit": "micrometer"} for name in "yx")


def need_zarr() -> None:
    """Check that zarr is installed.

    Raises
    ------
    InputError : it is not, or is older than version 3.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            "OME-Zarr needs the package zarr: pip install 'zarr>=3', or choose others with --to."
        ) from error
    if int(zarr.__version__.partition(".")[0]) < 3:
        raise InputError(f"OME-Zarr needs zarr 3 or newer, found {zarr.__version__}: pip install 'zarr>=3'.")


def write_ome_zarr(folder: Path, files: ResultFiles, section: Section) -> None:
    """Write the maps and label images of a result into `folder`, chunk row by chunk row.

    Raises
    ------
    InputError : labels that legend or table do not list.
    """
    import zarr

    size = files.layers.pixel_size_um
    root = zarr.open_group(folder, mode="w", zarr_format=2)
    channels = [channel.plane for channel in section.channels.values()]
    dtype = common_type([plane.dtype for plane in channels])
    _write_levels(root, channels, dtype, average=True, stacked=True)
    root.attrs.update(
        {
            "multiscales": [_multiscale(section.name, section.shape, size, average=True, stacked=True)],
            "omero": _omero(section, dtype),
        }
    )
    group = root.create_group("labels")
    names = _write_labels(group, files)
    group.attrs["labels"] = names


def _write_labels(group: zarr.Group, files: ResultFiles) -> list[str]:
    """Write the label images that there are into the group of labels; return their names."""
    looks: dict[str, Callable[[], list[dict[str, Any]]]] = {
        layer: lambda layer=layer: _legend_rows(files.legend_of(layer))  # type: ignore[misc]
        for layer in files.layers.planes
    }
    planes: dict[str, Plane] = dict(files.layers.planes)
    if files.objects is not None:
        planes["chondrules"], looks["chondrules"] = files.objects, lambda: _object_rows(files)
    for name, plane in planes.items():
        labels = group.create_group(name)
        rows = looks[name]()
        _write_levels(labels, [plane], plane.dtype, average=False, stacked=False)
        labels.attrs.update(
            {
                "multiscales": [_multiscale(name, plane.shape, files.layers.pixel_size_um)],
                "image-label": _image_label(rows),
            }
        )
    return list(planes)


def _write_levels(
    group: zarr.Group, planes: Sequence[Plane], dtype: np.dtype[Any], *, average: bool, stacked: bool
) -> None:
    """Write planes as array "0" and its coarser levels "1", "2", ..., each from the one before."""
    shape = planes[0].shape
    finer = _array(group, "0", shape, dtype, len(planes) if stacked else None)
    buffer = np.empty((min(CHUNK_PX, shape[0]), shape[1]), dtype)
    for number, plane in enumerate(planes):
        for window in _chunk_rows(shape):
            rows = _filled(buffer[: window.height], plane, window)
            for block in _blocks_of(window):
                _put(finer, number, block, rows[:, block.col : block.col_end])
    del buffer, rows
    for level, coarse in enumerate(level_shapes(shape), start=1):
        array = _array(group, str(level), coarse, dtype, len(planes) if stacked else None)
        for number in range(len(planes)):
            for window in _chunk_rows(coarse):
                for block in _blocks_of(window):
                    values = np.asarray(finer[_place(finer, number, block, factor=2)])
                    _put(array, number, block, halved(values, average=average))
        finer = array
    give_back()


def _filled(rows: NDArray[Any], plane: Plane, window: Window) -> NDArray[Any]:
    """Fill `rows` with whole rows of a plane, read a few at a time, and return it."""
    for row in range(0, window.height, _READ_ROWS):
        height = min(_READ_ROWS, window.height - row)
        rows[row : row + height] = plane.read(Window(window.row + row, window.col, height, window.width))
    return rows


def _array(
    group: zarr.Group, name: str, shape: tuple[int, int], dtype: np.dtype[Any], channels: int | None
) -> zarr.Array[Any]:
    first, chunks = ((), ()) if channels is None else ((channels,), (1,))
    return group.create_array(
        name,
        shape=(*first, *shape),
        chunks=(*chunks, min(CHUNK_PX, shape[0]), min(CHUNK_PX, shape[1])),
        dtype=dtype,
        fill_value=0,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _place(array: zarr.Array[Any], number: int, window: Window, *, factor: int = 1) -> tuple[Any, ...]:
    """Return the index of a window, `factor` times as large, in plane `number` of an array."""
    rows = slice(factor * window.row, factor * window.row_end)
    cols = slice(factor * window.col, factor * window.col_end)
    return (number, rows, cols) if array.ndim == 3 else (rows, cols)


def _put(array: zarr.Array[Any], number: int, window: Window, values: NDArray[Any]) -> None:
    array[_place(array, number, window)] = values


def _chunk_rows(shape: tuple[int, int]) -> Iterator[Window]:
    for row in range(0, shape[0], CHUNK_PX):
        yield Window(row, 0, min(CHUNK_PX, shape[0] - row), shape[1])


def _blocks_of(rows: Window) -> Iterator[Window]:
    """Cut rows into whole chunks."""
    for col in range(0, rows.width, _BLOCK_COLS):
        yield Window(rows.row, col, rows.height, min(_BLOCK_COLS, rows.width - col))


def _multiscale(
    name: str,
    shape: tuple[int, int],
    pixel_size_um: tuple[float, float],
    *,
    average: bool = False,
    stacked: bool = False,
) -> dict[str, Any]:
    """Return what says how large the pixels of each level are, and where their centres lie."""
    first = [1.0] if stacked else []
    datasets = []
    for level in range(1 + len(level_shapes(shape))):
        scale = [*first, *(size * 2**level for size in pixel_size_um)]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if average and level:
            shift = [0.0] * len(first) + [size * (2**level - 1) / 2 for size in pixel_size_um]
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    axes = [*([_CHANNEL_AXIS] if stacked else []), *_SPACE_AXES]
    kind = "mean" if average else "nearest"
    return {"version": VERSION, "name": name, "axes": axes, "datasets": datasets, "type": kind}


def _omero(section: Section, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return names, colours and contrast of the channels; only the first one is shown at first."""
    channels = []
    for number, (look, values) in enumerate(
        zip(channel_looks(section.channel_names), sample_pixels(section), strict=True)
    ):
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
        limits = np.iinfo(dtype) if dtype.kind == "u" else None
        channels.append(
            {
                "label": look.name,
                "color": look.color[1:].upper(),
                "active": number == 0,
                "window": {
                    "min": float(limits.min if limits else finite.min(initial=low)),
                    "max": float(limits.max if limits else finite.max(initial=high)),
                    "start": float(low),
                    "end": float(high if high > low else low + 1),
                },
            }
        )
    return {"version": VERSION, "channels": channels, "rdefs": {"model": "color"}}


def _image_label(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    colors = [{"label-value": row["label-value"], "rgba": row.pop("rgba")} for row in rows]
    return {"version": VERSION, "colors": colors, "properties": rows, "source": {"image": "../../"}}


def _legend_rows(legend: Legend) -> list[dict[str, Any]]:
    return [
        {"label-value": label.id, "name": label.name, "rgba": [*hex_rgb(label.color), 255 if label.id else 0]}
        for label in legend.labels
    ]


def _object_rows(files: ResultFiles) -> list[dict[str, Any]]:
    """Return name, kind and measurements of each object, and a colour that sets it off from its neighbours."""
    names = files.label_names
    return [
        {
            "label-value": number,
            "name": f"{names.loc[number]} {number}",
            "kind": str(files.table.loc[number, "kind"]),
            **{key: value for key, value in files.numbers_of(number).items() if key != "id"},
            "rgba": _distinct_color(number),
        }
        for number in files.object_windows
    ]


def _distinct_color(number: int) -> list[int]:
    """Return a colour far from that of the numbers around it (steps of the golden angle around the hues)."""
    rgb = colorsys.hsv_to_rgb(number * 0.6180339887498949 % 1.0, 0.75, 0.95)
    return [*(round(255 * part) for part in rgb), 255]
