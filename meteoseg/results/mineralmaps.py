"""Mineral chemistry of a section: maps of Fa, Fs, Wo, An and Ni, the grains, and their means, into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.chondrules.tables import Compositions
from meteoseg.errors import InputError
from meteoseg.grid import BAND_PX, Window, row_bands
from meteoseg.io import BandWriter
from meteoseg.labels.images import LabelImages
from meteoseg.minerals.chemistry import MineralChemistry
from meteoseg.minerals.chemistrytable import chemistry_table
from meteoseg.minerals.choose import ChemicalPhases
from meteoseg.minerals.solutions import chemistry_rules
from meteoseg.section import Section
from meteoseg.tables.measure import CHEMISTRY_CSV, GRAINS_CSV

#: Said where nothing of this can be measured.
WHY_NOT = "No mineral chemistry: it needs counts with standards (--standards) or maps in weight percent."
_SIGNIFICANT_BITS = 12
_FLOAT32_FRACTION_BITS = 23


@dataclass(frozen=True)
class ChemistryFiles:
    """What was measured: the content of chemistry.csv and grains.csv, and the map of each quantity."""

    table: pd.DataFrame
    grains: pd.DataFrame
    maps: Mapping[str, Path] = field(default_factory=dict)

    @property
    def compositions(self) -> Compositions:
        """Grains and their means, for the tables of chondrules."""
        return Compositions(self.grains, self.table)


def chemistry_of(phases: ChemicalPhases) -> MineralChemistry:
    """Return what measures compositions with the response, channels and legend of a phase classifier."""
    classifier = phases.classifier
    return MineralChemistry.of(classifier.response, classifier.channels, classifier.legend)


def write_chemistry(section: Section, labels: LabelImages, phases: ChemicalPhases, folder: Path) -> ChemistryFiles:
    """Measure the minerals of a section as `write_compositions` does, with the response of the classifier.

    Parameters
    ----------
    labels : with the phases as `phases` drew them (ids of its legend), and chondrules where there are any.

    Raises
    ------
    InputError : `labels` has no phases.
    """
    if labels.phases is None:
        raise InputError("There are no phases to measure the composition of.")
    return write_compositions(section, labels.phases, labels.chondrules, chemistry=chemistry_of(phases), folder=folder)


def write_compositions(
    section: Section,
    phases: NDArray[np.uint8],
    chondrules: NDArray[np.int32] | None,
    *,
    chemistry: MineralChemistry,
    folder: Path,
) -> ChemistryFiles:
    """Write chemistry.csv, grains.csv and the maps of a section, row band by row band.

    Parameters
    ----------
    phases : (H, W) ids of the legend of `chemistry`; chondrules : (H, W) object ids, or None where none were sought.
    """
    mapped = [quantity.name for quantity in chemistry.quantities if quantity.mapped]
    maps = {name: folder / f"{name}.ome.tif" for name in mapped}
    collector = chemistry.collector()
    with ExitStack() as files:
        writers = {
            name: [files.enter_context(_writer(section, folder, part)) for part in (name, f"{name}_sd")]
            for name in mapped
        }
        for window in row_bands(section.shape, BAND_PX // 4):
            band = _read_band(section, chemistry, window, phases, chondrules)
            made = chemistry.maps(band.values, band.phases[band.inner])
            for name, pair in writers.items():
                for writer, plane in zip(pair, made[name], strict=True):
                    writer.write(shortened(plane))
            chemistry.gather(collector, band.values, band.phases, band.objects, halo=band.halo)
    grains = chemistry.grain_table(collector.finish())
    table = chemistry_table(grains, chondrules=chondrules is not None)
    grains.to_csv(folder / GRAINS_CSV, index=False, float_format="%.6g")
    table.to_csv(folder / CHEMISTRY_CSV, index=False, float_format="%.6g")
    # As they were written: tables made again from the file are then the same to the last digit.
    return ChemistryFiles(table, pd.read_csv(folder / GRAINS_CSV), maps)


@dataclass(frozen=True)
class _Band:
    """Element maps (C, h, W) of a window; phase and object ids with `halo` rows more above and below."""

    values: NDArray[np.float32]
    phases: NDArray[np.uint8]
    objects: NDArray[np.int32] | None
    halo: tuple[int, int]

    @property
    def inner(self) -> slice:
        """The rows of the window in `phases`."""
        return slice(self.halo[0], len(self.phases) - self.halo[1])


def _read_band(
    section: Section,
    chemistry: MineralChemistry,
    window: Window,
    phases: NDArray[np.uint8],
    chondrules: NDArray[np.int32] | None,
) -> _Band:
    edge_px = int(chemistry_rules()["grains"]["edge_px"])
    outer = window.padded(edge_px, section.shape)
    return _Band(
        section.read(chemistry.elements, window) if chemistry.elements else np.empty((0, *window.shape), np.float32),
        np.asarray(phases[outer.slices]),
        None if chondrules is None else np.asarray(chondrules[outer.slices]),
        (window.row - outer.row, outer.row_end - window.row_end),
    )


def _writer(section: Section, folder: Path, name: str) -> BandWriter:
    path, size = folder / f"{name}.ome.tif", section.pixel_size_um
    return BandWriter(path, section.shape, np.float32, pixel_size_um=size, name=name)


def shortened(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to 12 binary digits (0.02 %), so that noise beyond them does not fill the file; NaN stays.

    Examples
    --------
    >>> shortened(np.array([18.123456, 0.0, np.nan], np.float32)).tolist()
    [18.125, 0.0, nan]
    """
    dropped = _FLOAT32_FRACTION_BITS - _SIGNIFICANT_BITS
    bits = values.view(np.uint32) + np.uint32(1 << (dropped - 1))
    return (bits & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)
