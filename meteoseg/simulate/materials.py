"""Materials a simulated section is painted with, and what each would give in every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import BSE
from meteoseg.errors import UnknownNameError
from meteoseg.legend import default_legend
from meteoseg.mineraldata import mineral

#: Iron numbers (mol% Fa, Fs, or the iron share of a mixture) run over 0..100 in whole numbers.
IRON_STEPS = 101
_UNLABELLED = 255


@dataclass(frozen=True)
class Material:
    """A paint: its phase in the legend and its composition as a mixture of minerals, against the iron number.

    `phase` is empty where the legend has none: such pixels are unlabelled in the truth.
    `knots` maps an iron number (0-100) to a mixture {mineral name: volume fraction}.
    """

    name: str
    phase: str
    knots: Mapping[float, Mapping[str, float]]


def _series(name: str, phase: str, members: Mapping[float, str]) -> Material:
    return Material(name, phase, {iron: {member: 1.0} for iron, member in members.items()})


def _single(name: str, phase: str, member: str) -> Material:
    return Material(name, phase, {0.0: {member: 1.0}})


_OLIVINE = {
    0: "olivine Fa0", 1: "olivine Fa1", 10: "olivine Fa10", 18.5: "olivine Fa18.5", 24.5: "olivine Fa24.5",
    29: "olivine Fa29", 39: "olivine Fa39", 50: "olivine Fa50", 100: "olivine Fa100",
}  # fmt: skip
_PYROXENE = {
    0: "low-Ca pyroxene Fs0.5", 3: "low-Ca pyroxene Fs3", 16.5: "low-Ca pyroxene Fs16.5",
    21: "low-Ca pyroxene Fs21", 24: "low-Ca pyroxene Fs24",
}  # fmt: skip
_MATRIX = "fine-grained matrix"

#: All paints. Mixtures stand for material finer than any pixel.
MATERIALS: tuple[Material, ...] = (
    _single("epoxy", "hole", "epoxy (mount, pores, cracks)"),
    _series("olivine", "olivine", _OLIVINE),
    _series("low-Ca pyroxene", "low-Ca pyroxene", _PYROXENE),
    _single("pigeonite", "low-Ca pyroxene", "pigeonite Fs20Wo9"),
    _series("high-Ca pyroxene", "high-Ca pyroxene", {0: "diopside", 12: "augite (chondrule, Wo38En50Fs12 + Al,Cr)",
                                                     50: "hedenbergite"}),
    _single("fassaite", "high-Ca pyroxene", "fassaite (Al,Ti-diopside)"),
    _series("plagioclase", "plagioclase", {0: "albitic plagioclase An11Or5", 50: "plagioclase An50"}),
    _single("anorthite", "anorthite", "anorthite"),
    _series("mesostasis", "mesostasis", {0: "mesostasis type I (Ca,Al-rich glass)",
                                         100: "mesostasis type II (Na,Si-rich glass)"}),
    _single("kamacite", "kamacite", "kamacite (Ni 5, Co 0.5)"),
    _single("kamacite EH", "kamacite", "kamacite EH (Ni 6, Si 3)"),
    _series("taenite", "taenite", {0: "taenite (Ni 30)", 100: "tetrataenite (Ni 50)"}),
    _series("troilite", "troilite", {0: "pyrrhotite", 100: "troilite"}),
    _single("pentlandite", "pentlandite", "pentlandite"),
    _single("magnetite", "magnetite", "magnetite"),
    _single("chromite", "chromite", "chromite (OC)"),
    _series("spinel", "spinel", {0: "spinel", 25: "hercynitic spinel (Hc25)", 100: "hercynite"}),
    _series("melilite", "melilite", {0: "melilite Ak0 (gehlenite)", 20: "melilite Ak20", 60: "melilite Ak60",
                                     100: "akermanite"}),
    _single("hibonite", "hibonite", "hibonite"),
    _single("perovskite", "perovskite", "perovskite"),
    _single("nepheline", "nepheline", "nepheline"),
    _series("phosphate", "phosphate", {0: "merrillite", 100: "chlorapatite"}),
    _single("schreibersite", "schreibersite", "schreibersite"),
    _series("phyllosilicate", "phyllosilicate", {0: "serpentine (Mg)", 100: "cronstedtite"}),
    _series("carbonate", "carbonate", {0: "calcite", 100: "dolomite"}),
    _single("silica", "silica", "silica (quartz/cristobalite/tridymite)"),
    _series("iron oxyhydroxide", "iron oxyhydroxide", {0: "goethite (terrestrial rust)", 100: "akaganeite"}),
    _single("niningerite", "niningerite", "niningerite"),
    _single("alabandite", "alabandite", "alabandite (ferroan)"),
    _single("oldhamite", "oldhamite", "oldhamite"),
    _single("daubreelite", "daubreelite", "daubreelite"),
    _single("ilmenite", "ilmenite", "ilmenite"),
    Material("anhydrous matrix", _MATRIX, {
        0: {"olivine Fa29": 0.45, "low-Ca pyroxene Fs16.5": 0.3, "albite": 0.15, "diopside": 0.06, "troilite": 0.02,
            "epoxy (mount, pores, cracks)": 0.02},
        100: {"olivine Fa50": 0.62, "olivine Fa100": 0.1, "albite": 0.1, "diopside": 0.04, "troilite": 0.05,
              "magnetite": 0.03, "epoxy (mount, pores, cracks)": 0.06}}),
    Material("hydrated matrix", _MATRIX, {
        0: {"serpentine (Mg)": 0.6, "saponite": 0.2, "cronstedtite": 0.1, "epoxy (mount, pores, cracks)": 0.1},
        100: {"cronstedtite": 0.5, "serpentine (Mg)": 0.2, "tochilinite": 0.2, "pyrrhotite": 0.02,
              "epoxy (mount, pores, cracks)": 0.08}}),
    Material("enstatite matrix", _MATRIX, {
        0: {"low-Ca pyroxene Fs0.5": 0.75, "albite": 0.15, "silica (quartz/cristobalite/tridymite)": 0.07,
            "troilite": 0.03},
        100: {"low-Ca pyroxene Fs0.5": 0.6, "albite": 0.15, "troilite": 0.15, "kamacite EH (Ni 6, Si 3)": 0.1}}),
    Material("chondrule glass mix", "low-Ca pyroxene", {
        0: {"low-Ca pyroxene Fs3": 0.75, "mesostasis type I (Ca,Al-rich glass)": 0.2, "diopside": 0.05},
        24: {"low-Ca pyroxene Fs24": 0.7, "mesostasis type II (Na,Si-rich glass)": 0.25,
             "augite (chondrule, Wo38En50Fs12 + Al,Cr)": 0.05}}),
    Material("impact melt", "", {
        0: {"low-Ca pyroxene Fs0.5": 0.74, "albitic plagioclase An11Or5": 0.16, "diopside": 0.02, "troilite": 0.08},
        60: {"olivine Fa18.5": 0.42, "low-Ca pyroxene Fs16.5": 0.35, "albitic plagioclase An11Or5": 0.13,
             "diopside": 0.05, "troilite": 0.05},
        100: {"olivine Fa29": 0.55, "low-Ca pyroxene Fs24": 0.22, "albitic plagioclase An11Or5": 0.13,
              "diopside": 0.06, "troilite": 0.04}}),
)  # fmt: skip

_INDEX = {material.name: index for index, material in enumerate(MATERIALS)}


def paint(name: str) -> int:
    """Return the index of a material.

    Raises
    ------
    UnknownNameError : no material of that name.
    """
    if name not in _INDEX:
        raise UnknownNameError.of("material", name, _INDEX)
    return _INDEX[name]


@cache
def phase_ids() -> NDArray[np.uint8]:
    """Return the legend id of the phase of each material, (M,); 255 = unlabelled."""
    legend = default_legend("phases")
    return np.array([legend[material.phase].id if material.phase else _UNLABELLED for material in MATERIALS], np.uint8)


def _mixture_value(mixture: Mapping[str, float], channel: str) -> float:
    """Average by mass: BSE gives eta, 'Z' the mean atomic number, an element its k-ratio."""
    parts = [(mineral(name), fraction) for name, fraction in mixture.items()]
    mass = sum(part.density_g_cm3 * fraction for part, fraction in parts)

    def value(part_name: str) -> float:
        part = mineral(part_name)
        if channel == BSE:
            return part.eta
        return part.mean_z if channel == "Z" else part.k_ratio.get(channel, 0.0)

    return sum(value(part.name) * part.density_g_cm3 * fraction for part, fraction in parts) / mass


def response_table(channels: Sequence[str]) -> NDArray[np.float32]:
    """Tabulate every material's response: (materials, iron number 0..100, channels).

    Element channels hold k-ratios (0-1 against the pure element), ``BSE`` the backscatter coefficient and the
    pseudo-channel ``Z`` the mean atomic number; between knots the response is interpolated linearly.
    """
    table = np.zeros((len(MATERIALS), IRON_STEPS, len(channels)), np.float32)
    iron = np.arange(IRON_STEPS)
    for row, material in enumerate(MATERIALS):
        knots = sorted(material.knots)
        for col, channel in enumerate(channels):
            values = [_mixture_value(material.knots[knot], channel) for knot in knots]
            table[row, :, col] = np.interp(iron, knots, values)
    return table
