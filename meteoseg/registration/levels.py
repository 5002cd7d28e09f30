"""Maps and image, both reduced to one pixel size and small enough to be held in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.warped import DisplacementGrid, Transform, WarpedPlane
from meteoseg.registration.reference import Predictor, area_means, reduced_maps
from meteoseg.resample import Regrid
from meteoseg.section import ArrayPlane, Plane, Section

FloatArray = NDArray[np.float32]

#: Longest side of the maps, and number of pixels of the image, that are held in memory.
LEVEL_SIDE_PX = 1024
_LEVEL_IMAGE_PX = 16_000_000
#: Longest sides of the maps and of the image in the search over rotations, scales and shifts.
SEARCH_SIDE_PX = 180
_SEARCH_IMAGE_SIDE_PX = 900
#: Fewer pixels of the maps along a side cannot be told from chance.
LEAST_SIDE_PX = 32


@dataclass(frozen=True)
class Level:
    """Maps (C, h, w), stabilised, and image (H, W) on pixels of one size; NaN where unknown.

    `to_maps` and `to_image` lead from pixels of the level to those of the maps and of the image.
    """

    maps: FloatArray
    image: FloatArray
    to_maps: Transform
    to_image: Transform

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the maps."""
        return int(self.maps.shape[1]), int(self.maps.shape[2])

    @property
    def is_full(self) -> bool:
        """Whether the maps are those of the section, not reduced."""
        return bool((self.to_maps.matrix == np.eye(2)).all())

    def full(self, transform: Transform) -> Transform:
        """Turn a transform between the grids of the level into one from the section to the image."""
        return self.to_image.after(transform).after(self.to_maps.inverse())

    def own(self, transform: Transform) -> Transform:
        """Turn a transform from the section to the image into one between the grids of the level."""
        linear = self.to_image.inverse().after(transform).after(self.to_maps)
        if transform.grid is None:
            return linear
        grid, step, start = transform.grid, np.diag(self.to_maps.matrix), self.to_maps.offset
        rows, cols = (grid.rows - start[0]) / step[0], (grid.cols - start[1]) / step[1]
        return replace(linear, grid=DisplacementGrid(rows, cols, grid.shift_px / step))

    def registered(self, transform: Transform) -> FloatArray:
        """Return the image (h, w) on the maps through a transform between the grids of the level."""
        plane = WarpedPlane(ArrayPlane(self.image), self.shape, transform)
        return plane.read(Window.whole(self.shape))

    def predictor(self, names: tuple[str, ...], transform: Transform) -> Predictor | None:
        """Fit a predictor where maps and image meet; None where they hardly do."""
        image = self.registered(transform)
        if (np.isfinite(image) & np.isfinite(self.maps).all(axis=0)).sum() < LEAST_SIDE_PX**2:
            return None
        return Predictor.fit(names, self.maps, image)

    def reduced(self) -> Level:
        """Return the level of the search."""
        factor = max(1.0, max(self.shape) / SEARCH_SIDE_PX, max(self.image.shape) / _SEARCH_IMAGE_SIDE_PX)
        if factor == 1.0:
            return self
        maps, map_step = _shrunk(self.maps, factor)
        image, image_step = _shrunk(self.image[None], factor)
        return Level(maps, image[0], self.to_maps.after(map_step), self.to_image.after(image_step))


def read_level(
    section: Section,
    names: tuple[str, ...],
    image: Plane,
    map_px: tuple[float, float],
    image_px: tuple[float, float],
) -> Level:
    """Read maps and image once, band by band, onto the finest common pixel size that fits in memory.

    `map_px` and `image_px` are the pixel sizes (dy, dx) in one unit.
    """
    own = float(np.sqrt(map_px[0] * map_px[1]))
    map_side = max(section.shape[0] * map_px[0], section.shape[1] * map_px[1])
    image_area = image.shape[0] * image_px[0] * image.shape[1] * image_px[1]
    size = max(own, map_side / LEVEL_SIDE_PX, (image_area / _LEVEL_IMAGE_PX) ** 0.5)
    grids = [Regrid.onto(shape, px, size) for shape, px in ((section.shape, map_px), (image.shape, image_px))]
    return Level(
        reduced_maps(section, names, grids[0]),
        area_means(lambda window: image.read(window)[None], grids[1])[0],
        *(Transform.scaling(grid.step) for grid in grids),
    )


def check_level(level: Level, section: Section, file: str) -> None:
    """Check that maps and image hold enough to be compared.

    Raises
    ------
    InputError : maps of a few pixels, an image without any contrast, or an image far larger than the maps.
    """
    known = level.image[np.isfinite(level.image)]
    if not known.size or known.min() == known.max():
        raise InputError(f"{file} is blank (one grey level everywhere): give another image.")
    measured = np.isfinite(level.maps).all(axis=0)
    if not measured.any() or max(float(np.nanstd(plane)) for plane in level.maps) < 1e-6:
        raise InputError(f"The maps of '{section.name}' are blank: nothing can be registered to them.")
    least = min(level.reduced().shape)
    if least < LEAST_SIDE_PX:
        raise InputError(
            f"Maps of '{section.name}' are {least} px wide beside {file}, too few to find them in it (at least "
            f"{LEAST_SIDE_PX} px): cut the image to the surroundings of the maps, or check its pixel size."
        )


def _shrunk(values: FloatArray, factor: float) -> tuple[FloatArray, Transform]:
    grid = Regrid.onto((int(values.shape[1]), int(values.shape[2])), (1.0, 1.0), factor)
    return area_means(lambda window: values[(slice(None), *window.slices)], grid), Transform.scaling(grid.step)
