"""Channel names: the chemical elements that are mapped, the canonical channel list, aliases."""

from __future__ import annotations

import re

#: Atomic number and standard atomic weight (g/mol, IUPAC 2021 abridged) of the elements a map may show.
ATOMIC_NUMBER: dict[str, int] = {
    "H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "Na": 11, "Mg": 12, "Al": 13, "Si": 14, "P": 15, "S": 16, "Cl": 17,
    "K": 19, "Ca": 20, "Sc": 21, "Ti": 22, "V": 23, "Cr": 24, "Mn": 25, "Fe": 26, "Co": 27, "Ni": 28, "Cu": 29,
    "Zn": 30, "Ga": 31, "Ge": 32, "Sr": 38, "Y": 39, "Zr": 40, "Nb": 41, "Mo": 42, "Ba": 56, "La": 57, "Ce": 58,
    "W": 74, "Re": 75, "Os": 76, "Ir": 77, "Pt": 78, "Au": 79, "Pb": 82,
}  # fmt: skip
ATOMIC_WEIGHT: dict[str, float] = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Na": 22.990, "Mg": 24.305, "Al": 26.982,
    "Si": 28.085, "P": 30.974, "S": 32.06, "Cl": 35.45, "K": 39.098, "Ca": 40.078, "Sc": 44.956, "Ti": 47.867,
    "V": 50.942, "Cr": 51.996, "Mn": 54.938, "Fe": 55.845, "Co": 58.933, "Ni": 58.693, "Cu": 63.546, "Zn": 65.38,
    "Ga": 69.723, "Ge": 72.630, "Sr": 87.62, "Y": 88.906, "Zr": 91.224, "Nb": 92.906, "Mo": 95.95, "Ba": 137.327,
    "La": 138.905, "Ce": 140.116, "W": 183.84, "Re": 186.207, "Os": 190.23, "Ir": 192.217, "Pt": 195.084,
    "Au": 196.967, "Pb": 207.2,
}  # fmt: skip

BSE = "BSE"

#: The channels the shipped model knows, in the order of its input planes. Absent ones are marked absent.
CANONICAL_CHANNELS: tuple[str, ...] = (
    BSE, "O", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Ni",
)  # fmt: skip

#: Spellings met in file names, lower case, and the channel they mean (see docs/formats.md).
ALIASES: dict[str, str] = {"pho": "P", "sul": "S", "bse": BSE, "bei": BSE, "compo": BSE, "cp": BSE}

_COMPONENT = re.compile(r"(?:PCA|NMF)[1-9]\d?")


def is_component(name: str) -> bool:
    """Tell whether `name` is that of a component image of a spectrum cube.

    Examples
    --------
    >>> is_component("PCA1"), is_component("NMF12"), is_component("Fe"), is_component("PCA")
    (True, True, False, False)
    """
    return _COMPONENT.fullmatch(name) is not None


def is_channel_name(name: str) -> bool:
    """Tell whether a channel may be called so: ``BSE``, an element symbol, or a component image."""
    return name == BSE or name in ATOMIC_NUMBER or is_component(name)
