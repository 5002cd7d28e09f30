"""Pictures as arrays: overviews of large maps, painted labels, outlines; no figure library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError
from meteoseg.grid import Window
from meteoseg.legend import Legend

if TYPE_CHECKING:
    from meteoseg.section import Plane

RgbArray = NDArray[np.uint8]

#: Longest side of a picture in the report; larger maps are shown as overviews.
MAX_PX = 1600
OUTLINE_COLOR = "#ffb000"
_BAND_PX = 2_000_000


def overview_step(shape: tuple[int, int], max_px: int = MAX_PX) -> int:
    """Return how many map pixels one overview pixel spans along each axis.

    Examples
    --------
    >>> overview_step((900, 1000)), overview_step((40000, 1700))
    (1, 25)
    """
    return max(1, math.ceil(max(shape) / max_px))


def overview_shape(shape: tuple[int, int], max_px: int = MAX_PX) -> tuple[int, int]:
    """Return (rows, cols) of the overview of a grid of `shape`; a last, partial block counts as a pixel."""
    step = overview_step(shape, max_px)
    return math.ceil(shape[0] / step), math.ceil(shape[1] / step)


def overview(source: Plane | NDArray[Any], max_px: int = MAX_PX) -> NDArray[np.float32]:
    """Average a map over square blocks so that neither side is longer than `max_px`.

    Parameters
    ----------
    source : plane (H, W), or array (H, W) or (H, W, 3); read row band by row band.

    Returns
    -------
    (h, w) or (h, w, 3) float32, the mean of the finite values of each block (0 where there is none).
    """
    shape, read = _reader(source)
    step = overview_step(shape, max_px)
    return np.concatenate([_block_mean(read(window), step) for window in _bands(shape, step)])


def _block_mean(band: NDArray[Any], step: int) -> NDArray[np.float32]:
    values = np.asarray(band, np.float64)
    finite = np.isfinite(values)
    starts = [np.arange(0, size, step) for size in values.shape[:2]]

    def block_sum(part: NDArray[Any]) -> NDArray[np.float64]:
        rows = np.add.reduceat(part.astype(np.float64), starts[0], axis=0)
        return np.asarray(np.add.reduceat(rows, starts[1], axis=1), np.float64)

    count = block_sum(finite)
    total = block_sum(np.where(finite, values, 0.0))
    return (total / np.maximum(count, 1)).astype(np.float32)


def sample_labels(source: Plane | NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Return labels at the centres of a coarser or finer grid of `shape` over the same area.

    Point samples keep true label values (a mean of labels means nothing) and area fractions without bias.

    Examples
    --------
    >>> sample_labels(np.array([[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4], [5, 5, 5, 6, 6, 6]]), (1, 2))
    array([[3, 4]])
    """
    old, read = _reader(source)
    rows, cols = (((np.arange(new) + 0.5) * size / new).astype(np.intp) for new, size in zip(shape, old, strict=True))
    parts = []
    for window in _bands(old, 1):
        inside = rows[(rows >= window.row) & (rows < window.row_end)] - window.row
        if inside.size:
            parts.append(np.asarray(read(window))[inside][:, cols])
    return np.concatenate(parts)


def _reader(source: Plane | NDArray[Any]) -> tuple[tuple[int, int], Callable[[Window], NDArray[Any]]]:
    if isinstance(source, np.ndarray):
        array = source
        return (int(array.shape[0]), int(array.shape[1])), lambda window: array[window.slices]
    return source.shape, source.read


def _bands(shape: tuple[int, int], step: int) -> Iterator[Window]:
    height = max(step, _BAND_PX // max(1, shape[1]) // step * step)
    for row in range(0, shape[0], height):
        yield Window(row, 0, min(height, shape[0] - row), shape[1])


def paint_labels(labels: NDArray[Any], legend: Legend) -> RgbArray:
    """Return labels (H, W) painted with the colours of `legend`, (H, W, 3) uint8.

    Raises
    ------
    UnknownNameError : a label that the legend does not list.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> paint_labels(np.array([[0, 1]]), default_legend("phases")).tolist()
    [[[0, 0, 0], [106, 168, 79]]]
    """
    for label_id in np.unique(labels).tolist():
        legend.name_of(label_id)
    painted: RgbArray = legend.colors()[labels]
    return painted


def stretch_grey(values: NDArray[Any], *, low_pct: float = 0.5, high_pct: float = 99.5) -> RgbArray:
    """Return a map (H, W) as grey (H, W, 3) uint8, stretched between percentiles of its non-zero pixels."""
    image = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    filled = image[image != 0]
    low, high = np.percentile(filled, [low_pct, high_pct]) if filled.size else (0.0, 1.0)
    span = high - low if high > low else 1.0
    grey = (np.clip((image - low) / span, 0, 1) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def outline_overlay(
    background: RgbArray, object_labels: NDArray[Any], *, color: str = OUTLINE_COLOR, width_px: int = 1
) -> RgbArray:
    """Draw the outlines of objects over a picture.

    An outline lies inside its object: pixels within `width_px` (rows, columns, diagonals) of another label.
    Touching objects show a line each; the border of the picture is no outline.

    Parameters
    ----------
    background : (H, W, 3) uint8.
    object_labels : (H, W) integers, 0 where there is no object.

    Raises
    ------
    ShapeMismatchError : picture and labels differ in size (bring labels along with `sample_labels`).
    """
    if background.shape[:2] != object_labels.shape:
        raise ShapeMismatchError(
            f"The picture is {background.shape[0]} x {background.shape[1]} and the labels are "
            f"{object_labels.shape[0]} x {object_labels.shape[1]}: sample them on the grid of the picture."
        )
    size = 2 * width_px + 1
    highest = ndimage.maximum_filter(object_labels, size, mode="nearest")
    lowest = ndimage.minimum_filter(object_labels, size, mode="nearest")
    picture = background.copy()
    picture[(object_labels > 0) & (highest != lowest)] = hex_rgb(color)
    return picture


def hex_rgb(color: str) -> tuple[int, int, int]:
    """Return (red, green, blue) 0-255 of ``#rrggbb``.

    Raises
    ------
    InputError : not a colour of that form.

    Examples
    --------
    >>> hex_rgb("#ffb000")
    (255, 176, 0)
    """
    try:
        value = bytes.fromhex(color.removeprefix("#"))
    except ValueError:
        value = b""
    if len(value) != 3 or not color.startswith("#"):
        raise InputError(f"'{color}' is not a colour: write it as #rrggbb, e.g. #ffb000.")
    return value[0], value[1], value[2]


def scale_bar_um(width_um: float, *, share: float = 0.25) -> float:
    """Return the longest round length (1, 2 or 5 times a power of ten, um) within a share of a map's width.

    Raises
    ------
    PixelSizeError : the width is not a positive, finite length.

    Examples
    --------
    >>> scale_bar_um(978), scale_bar_um(10_000), scale_bar_um(3.1)
    (200.0, 2000.0, 0.5)
    """
    if not (0 < width_um < math.inf):
        raise PixelSizeError(f"A scale bar needs a map of positive width, got {width_um} um: state the pixel size.")
    limit = width_um * share
    power = 10.0 ** math.floor(math.log10(limit))
    return max(round(factor * power, 9) for factor in (1, 2, 5) if factor * power <= limit * (1 + 1e-9))
