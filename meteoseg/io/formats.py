"""Which module reads which file."""

from __future__ import annotations

from pathlib import Path

from meteoseg.errors import InputError
from meteoseg.io import image, jeol, text, tiff
from meteoseg.io.jeol import conditions_of, read_jeol
from meteoseg.io.source import MapSource

#: Spectrum cubes and single spectra, by suffix: sections of their own (`cubemaps`).
CUBES = {
    ".bcf": "Bruker", ".rpl": "ripple", ".raw": "ripple", ".pts": "JEOL", ".elid": "Phenom", ".emd": "Velox",
    ".h5oina": "Oxford", ".spd": "EDAX", ".hspy": "HyperSpy", ".msa": "EMSA", ".emsa": "EMSA",
}  # fmt: skip
#: Cubes that no open library reads.
CLOSED_CUBES = (".h5oina",)
CUBE_REMEDY = "give the cube itself as the section, or name it in section.toml as [cube] file"
CLOSED_REMEDY = "export its element maps (TIFF, PNG or CSV) and give their folder"


def kind_of(path: Path) -> str | None:
    """Return ``tiff``, ``image``, ``text``, ``jeol``, ``cube`` or None for an unknown format."""
    suffix = path.suffix.lower()
    if suffix in CUBES:
        return "cube"
    if suffix in jeol.SUFFIXES or (suffix in text.SUFFIXES and _is_jeol_text(path)):
        return "jeol"
    kinds = {"tiff": tiff.SUFFIXES, "image": image.SUFFIXES, "text": text.SUFFIXES}
    return next((kind for kind, suffixes in kinds.items() if suffix in suffixes), None)


def is_readable_cube(path: Path) -> bool:
    """Tell whether a file is a spectrum cube, or a spectrum, that can be a section."""
    return kind_of(path) == "cube" and path.suffix.lower() not in CLOSED_CUBES


def require_file(path: Path) -> None:
    """Check that a path is a file.

    Raises
    ------
    InputError : there is nothing, or a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it.")
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the spelling.")


def read_maps(path: Path) -> tuple[MapSource, ...]:
    """List the images of one file of any known format.

    Raises
    ------
    InputError : missing, unreadable or truncated file, a spectrum cube, or an unknown format.
    """
    require_file(path)
    kind = kind_of(path)
    readers = {"tiff": tiff.read_tiff, "image": image.read_image, "text": text.read_text, "jeol": read_jeol}
    if kind == "cube":
        remedy = CLOSED_REMEDY if path.suffix.lower() in CLOSED_CUBES else CUBE_REMEDY
        raise InputError(f"{path} is a {CUBES[path.suffix.lower()]} spectrum cube: {remedy}.")
    if kind is None:
        known = ", ".join((*tiff.SUFFIXES, *image.SUFFIXES, *text.SUFFIXES, *jeol.SUFFIXES))
        raise InputError(f"{path} is not of a known map format ({known}): export it in one of them.")
    return readers[kind](path)


def _is_jeol_text(path: Path) -> bool:
    return conditions_of(path) is not None
