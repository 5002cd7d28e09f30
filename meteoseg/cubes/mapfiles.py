"""Write the element maps and component images of a spectrum cube, to be used as a section from then on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from meteoseg.errors import OutputExistsError
from meteoseg.grid import Window, row_bands
from meteoseg.io.cube import CubeOptions
from meteoseg.io.cubemaps import CubeMaps, ScratchPlanes, open_cube_maps
from meteoseg.io.msa import write_msa
from meteoseg.io.source import stem_of
from meteoseg.runs.output import complete_or_absent
from meteoseg.spectra.components import Components, fit_components

MAPS = "maps.ome.tif"
_TILE_PX = 256
_SAMPLE_PX = 20_000
_SEED = 1


@dataclass(frozen=True)
class _Plane:
    """A plane of the file: its name, and how a window of it is read."""

    name: str
    unit: str
    scratch: tuple[ScratchPlanes, int] | None = None
    maps: tuple[CubeMaps, int] | None = None
    image: NDArray[np.float32] | None = None

    def read(self, window: Window) -> NDArray[np.float32]:
        source = self.maps or self.scratch
        if source is not None:
            return source[0].read(source[1], window)
        return np.asarray(self.image[window.slices] if self.image is not None else 0, np.float32)


def write_cube_maps(
    path: Path,
    out: Path,
    options: CubeOptions,
    *,
    components: int = 0,
    method: str = "pca",
    name: str | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write ``maps.ome.tif``, ``section.toml``, ``elements.csv`` and ``sum.msa`` of a cube into the folder `out`.

    With `components`, that many component images (``PCA1``, ... or ``NMF1``, ...) are channels too, and their spectra
    are written as ``PCA1.msa``, ... .

    Returns
    -------
    Notes for the user.

    Raises
    ------
    InputError : as `open_cube_maps`, or too many components.
    OutputExistsError : `out` is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise OutputExistsError(f"{out} exists and is not empty: use --overwrite, or another -o.")
    maps = open_cube_maps(path, options)
    planes = [_Plane(element, "counts", maps=(maps, number)) for number, element in enumerate(maps.elements)]
    planes += [_Plane(key, "grey", image=np.asarray(image, np.float32)) for key, image in maps.cube.images.items()]
    fitted = _components(maps, components, method) if components else None
    if fitted is not None:
        scratch = ScratchPlanes(_transformed(maps, fitted), maps.cube.shape)
        planes += [_Plane(key, "unknown", scratch=(scratch, number)) for number, key in enumerate(fitted.names)]
    with complete_or_absent(out) as folder:
        _write_planes(folder / MAPS, planes, maps)
        (folder / "section.toml").write_text(_section_toml(name or stem_of(path), planes, maps), encoding="utf-8")
        _write_spectra(folder, maps, fitted)
    return (*maps.cube.notes, *maps.analysis.notes(), *_explained(fitted))


def _components(maps: CubeMaps, count: int, method: str) -> Components:
    """Fit components on a random sample of the pixels that hold counts."""
    rows, cols = maps.cube.shape
    share = min(1.0, _SAMPLE_PX / (rows * cols))
    rng = np.random.default_rng(_SEED)
    parts = []
    for _, spectra in maps.cube.bands():
        flat = spectra.reshape(-1, maps.cube.channels)
        chosen = flat[rng.random(len(flat)) < share]
        parts.append(chosen[chosen.any(axis=1)])
    return fit_components(_line_channels(np.concatenate(parts), maps), count, method=method)


def _line_channels(spectra: NDArray[np.generic], maps: CubeMaps) -> NDArray[np.generic]:
    """Blank channels (P, N) outside the range of the lines: noise pulses and the empty end say nothing."""
    used = maps.analysis.fit.model.any(axis=0)
    return np.asarray(spectra * used.astype(spectra.dtype))


def _transformed(maps: CubeMaps, fitted: Components) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    for window, spectra in maps.cube.bands():
        flat = _line_channels(spectra.reshape(-1, maps.cube.channels), maps)
        yield window, fitted.transform(flat).reshape(*window.shape, -1)


def _write_planes(path: Path, planes: Sequence[_Plane], maps: CubeMaps) -> None:
    shape = maps.cube.shape
    size = maps.cube.pixel_size_um
    pixel = {} if size is None else {
        "PhysicalSizeY": size[0], "PhysicalSizeYUnit": "µm", "PhysicalSizeX": size[1], "PhysicalSizeXUnit": "µm",
    }  # fmt: skip
    metadata = {"axes": "CYX", "Channel": {"Name": [plane.name for plane in planes]}, **pixel}
    big = 4 * len(planes) * shape[0] * shape[1] > 1_000_000_000
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as tif:
        tif.write(
            _tiles(planes, shape),
            shape=(len(planes), *shape),
            dtype=np.float32,
            tile=(_TILE_PX, _TILE_PX),
            compression="zlib",
            metadata=metadata,
        )


def _tiles(planes: Sequence[_Plane], shape: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """Yield tiles plane by plane, row of tiles by row of tiles."""
    for plane in planes:
        for band in row_bands(shape, _TILE_PX * shape[1]):
            values = plane.read(band)
            for col in range(0, shape[1], _TILE_PX):
                yield np.ascontiguousarray(values[:, col : col + _TILE_PX])


def _section_toml(name: str, planes: Sequence[_Plane], maps: CubeMaps) -> str:
    size = maps.cube.pixel_size_um
    lines = [f'name = "{name}"']
    lines.append("# pixel_size_um = 1.0   (unknown: fill in)" if size is None else f"pixel_size_um = {list(size)}")
    lines += ["", "[channels]"]
    lines += [
        f'{plane.name} = {{ file = "{MAPS}", page = {number}, unit = "{plane.unit}" }}'
        for number, plane in enumerate(planes, start=1)
    ]
    return "\n".join(lines) + "\n"


def _write_spectra(folder: Path, maps: CubeMaps, fitted: Components | None) -> None:
    analysis, beam = maps.analysis, maps.cube.beam_kv
    axis = analysis.check.axis
    write_msa(folder / "sum.msa", analysis.spectrum, axis, title=f"sum of {maps.cube.path.name}", beam_kv=beam)
    rows = [
        {
            "element": each.element,
            "lines": each.family.name,
            "energy_kev": round(each.family.main.energy_kev, 4),
            "counts": round(each.counts, 1),
            "sd": round(each.sd, 1),
            "sure": each.is_sure,
            "mapped": each.element in maps.elements,
        }
        for each in analysis.found
    ]
    pd.DataFrame(rows).to_csv(folder / "elements.csv", index=False)
    if fitted is None:
        return
    for key, spectrum in zip(fitted.names, fitted.spectra, strict=True):
        write_msa(folder / f"{key}.msa", spectrum, axis, title=f"component {key}", beam_kv=beam)


def _explained(fitted: Components | None) -> tuple[str, ...]:
    if fitted is None:
        return ()
    shares = ", ".join(f"{key} {100 * share:.2f} %" for key, share in zip(fitted.names, fitted.explained, strict=True))
    return (f"components: {shares}",)
