"""Fit a calibration to maps of standards of known composition."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import InputError, MeteosegError, ShapeMismatchError
from meteoseg.io import open_section
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.formula import formula_wt_pct
from meteoseg.minerals.measured import FEWEST_PIXELS, Standard, measure, uncensored_mean
from meteoseg.minerals.standardfit import fit_standards
from meteoseg.section import Section

#: More oxygen than this (wt%), and hydrogen and carbon, no standard leaves to the difference: magnesite leaves 71.
_MOST_BY_DIFFERENCE = 75.0
_COLUMNS = ("mask", "kind", "formula_or_element_wt_pct")


def calibrate(standards_dir: Path) -> Calibration:
    """Fit the calibration to a folder of element maps, ``*_mask.tif`` files and ``compositions.csv``.

    ``compositions.csv`` has a row per standard: ``mask`` (file name), ``kind`` (``formula`` or ``wt_pct``) and
    ``formula_or_element_wt_pct`` (``FeS``, or ``Si:19.08 Fe:7.42 Mg:29.80``).

    Raises
    ------
    InputError : no table, a mask without composition, of nothing or of two standards, fractions for percentages.
    """
    table = standards_dir / "compositions.csv"
    if not table.is_file():
        raise InputError(f"{standards_dir} has no compositions.csv: add one with the columns mask, kind, "
                         "formula_or_element_wt_pct.")  # fmt: skip
    section = open_section(standards_dir, use_mask=False)
    compositions = read_compositions(table)
    masks = sorted(standards_dir.glob("*mask*.tif*"))
    for path in masks:
        if path.name not in compositions:
            raise InputError(f"Standard {path.name} has no composition: add a row to {table}.")
    standards = []
    for mask_name, composition in compositions.items():
        if not (standards_dir / mask_name).is_file():
            raise InputError(f"{table} names {mask_name}, which is not in the folder: correct the name.")
        inside = _read_mask(standards_dir / mask_name, section.shape)
        standards.append(Standard(mask_name.split("_mask")[0], inside, composition))
    return calibrate_section(section, standards)


def read_compositions(path: Path) -> dict[str, dict[str, float]]:
    """Read ``compositions.csv``: element wt% by mask file name, oxygen (and what else is missing) by difference.

    Raises
    ------
    InputError : a column is missing, a value is no number, or a total is that of fractions or above 102.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV in UTF-8: {error}.") from error
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise InputError(f"{path} needs the columns {', '.join(_COLUMNS)}.")
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, start=1):
        cells = {column: (row[column] or "").strip() for column in _COLUMNS}
        if not all(cells.values()):
            raise InputError(f"{path}: row {number} is not complete: fill {', '.join(_COLUMNS)}.")
        if cells["mask"] in found:
            raise InputError(f"{path} lists {cells['mask']} twice: keep one row per mask.")
        found[cells["mask"]] = _composition_of(cells, path)
    return found


def _composition_of(row: Mapping[str, str], path: Path) -> dict[str, float]:
    text = row["formula_or_element_wt_pct"]
    if row["kind"] == "formula":
        try:
            return formula_wt_pct(text)
        except MeteosegError as error:
            raise InputError(f"{path}: composition of {row['mask']}: {error}") from error
    if row["kind"] != "wt_pct":
        raise InputError(f"{path}: kind '{row['kind']}' of {row['mask']} is not known: write formula or wt_pct.")
    try:
        values = {element: float(value) for element, value in (item.split(":") for item in text.split())}
    except ValueError as error:
        raise InputError(f"{path}: '{text}' of {row['mask']} is not like 'Si:19.08 Fe:7.42'.") from error
    total = sum(values.values())
    unknown = sorted(set(values) - set(ATOMIC_NUMBER))
    if unknown:
        raise InputError(f"{path}: '{unknown[0]}' of {row['mask']} is no element symbol: write it like 'Fe'.")
    # The negation refuses NaN, too.
    if not (1.5 < total <= 102 and min(values.values()) >= 0):
        raise InputError(
            f"{path}: the elements of {row['mask']} sum to {total:g}: give weight percent (0-100), not fractions."
        )
    if "O" not in values and 100 - total > _MOST_BY_DIFFERENCE:
        raise InputError(
            f"{path}: {100 - total:.0f} wt% of {row['mask']} would be oxygen, by difference: give all elements, in "
            "weight percent (0-100)."
        )
    values["O"] = values.get("O", 0.0) + max(0.0, 100 - total)
    return values


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        values = tifffile.imread(path)
    except (tifffile.TiffFileError, ValueError) as error:
        raise InputError(f"Mask {path} cannot be read as TIFF: {error}.") from error
    if values.shape != shape:
        raise ShapeMismatchError(
            f"Mask {path.name} is {values.shape}, the standards' maps are {shape}: make them equal."
        )
    if values.dtype.kind not in "bui":
        raise InputError(f"Mask {path} holds {values.dtype} values: save whole numbers, 0 outside the standard.")
    threshold = 128 if values.max(initial=0) >= 128 else 1
    return np.asarray(values >= threshold)


def calibrate_section(section: Section, standards: Sequence[Standard]) -> Calibration:
    """Fit the calibration to the maps of `section` inside the standards.

    Raises
    ------
    InputError : a standard covers too little, two overlap, or one mask covers two materials; or no element of
        the standards is mapped.
    """
    _check_apart(standards)
    calibration = fit_standards(measure(section, standards))
    if not calibration.channels:
        have = ", ".join(sorted({el for standard in standards for el in standard.composition_wt_pct} - {"O"}))
        raise InputError(
            f"The standards hold {have}, the maps show {', '.join(section.channel_names)}: none in common."
        )
    return calibration


def _check_apart(standards: Sequence[Standard]) -> None:
    for index, one in enumerate(standards):
        covered = int(one.inside.sum())
        if covered < FEWEST_PIXELS:
            raise InputError(f"Mask of standard {one.name} covers {covered} px: at least {FEWEST_PIXELS} are needed.")
        for other in standards[:index]:
            if np.any(one.inside & other.inside):
                raise InputError(f"Masks of standards {other.name} and {one.name} overlap: draw them apart.")


__all__ = ["Standard", "calibrate", "calibrate_section", "read_compositions", "uncensored_mean"]
