"""What every format module returns: one `MapSource` per image of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window
from meteoseg.io.names import oxide_to_element_factor
from meteoseg.section import Plane

PixelSize = tuple[float, float]


@dataclass(frozen=True)
class MapSource:
    """One image of a file, not yet a channel.

    `label` is the text that may name the element and `label_from` says what that text is; `page` counts
    from 1 in files of several images, else None; `unit` follows from the stored type; `remark` says how the
    values were converted; `problem` says why the image cannot be a channel (empty where it can).
    """

    path: Path
    plane: Plane
    label: str
    label_from: str = "file name"
    page: int | None = None
    unit: str = "unknown"
    pixel_size_um: PixelSize | None = None
    pixel_size_source: str = ""
    remark: str = ""
    problem: str = ""


@dataclass(frozen=True)
class OxidePlane:
    """A map of oxide wt% read as element wt% (float32)."""

    plane: Plane
    formula: str

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.plane.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    def read(self, window: Window) -> NDArray[Any]:
        """Return element wt% of `window`."""
        values = self.plane.read(window).astype(np.float32)
        return values * np.float32(oxide_to_element_factor(self.formula))


def stem_of(path: Path) -> str:
    """Return the file name without its suffix (``.ome.tif`` counts as one).

    Examples
    --------
    >>> stem_of(Path("maps/A12.ome.tif")), stem_of(Path("2.5umppx_Fe.tif"))
    ('A12', '2.5umppx_Fe')
    """
    return path.stem.removesuffix(".ome")


def unit_of_type(dtype: np.dtype[Any], sample: NDArray[Any] | None = None) -> str:
    """Return what values of `dtype` are: 8-bit display, whole numbers counts, else unknown.

    `sample` holds some values of a floating-point map: counts if the finite ones are whole numbers, not all 0.
    """
    if dtype.kind == "b" or (dtype.kind in "ui" and dtype.itemsize == 1):
        return "display"
    if dtype.kind in "ui":
        return "counts"
    if sample is None:
        return "unknown"
    finite = sample[np.isfinite(sample)]
    return "counts" if finite.any() and bool((finite == np.round(finite)).all()) else "unknown"


def is_single_hue(rgb: NDArray[Any]) -> bool:
    """Tell whether a colour picture is one hue times a brightness, so that its maximum is the grey value.

    Parameters
    ----------
    rgb : (N, 3) sample of pixels, 8 bit. Pixels darker than 24 are not judged; two percent may deviate
        (compression noise, a scale bar) by more than 40 grey levels.

    Examples
    --------
    >>> grey = np.arange(256)[:, None]
    >>> is_single_hue(grey * np.array([1, 0.5, 0])), is_single_hue(np.eye(3) * 255)
    (True, False)
    """
    values = rgb.reshape(-1, rgb.shape[-1])[:, :3].astype(np.float32)
    brightness = values.max(axis=1)
    values, brightness = values[brightness >= 24], brightness[brightness >= 24]
    if not brightness.size:
        return True
    hue = np.median(values / brightness[:, None], axis=0)
    deviation = np.abs(values - brightness[:, None] * hue).max(axis=1)
    return float((deviation > 40).mean()) <= 0.02
