"""Relative sensitivities that detectors are known to have: the start of a self-calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from meteoseg.elements import ATOMIC_WEIGHT

#: Net counts per wt% after division by F, relative, of WDS maps (MEASURED: microprobe standards at 15 kV; Na, Al,
#: Cl, K, Cr, Mn, Co by interpolation in atomic number; reference of dead-time-free values).
WDS_SENSITIVITY: Mapping[str, float] = {
    "Na": 12.0, "Mg": 14.3, "Al": 15.1, "Si": 15.9, "P": 11.0, "S": 2.36, "Cl": 2.8, "K": 4.0, "Ca": 4.87,
    "Ti": 17.0, "Cr": 7.6, "Mn": 5.1, "Fe": 3.44, "Co": 3.35, "Ni": 3.29,
}  # fmt: skip
_WDS_BACKGROUND: Mapping[str, tuple[float, float]] = {
    "Mg": (0.04, 0.004), "Al": (0.6, 0.01), "Si": (0.02, 0.034), "P": (0.35, 0.06), "S": (0.04, 0.004),
    "Ca": (0.0, 0.03), "Ti": (-0.3, 0.175), "Cr": (-1.5, 0.33), "Fe": (-0.26, 0.054), "Ni": (-0.2, 0.068),
}  # fmt: skip
_UNKNOWN_BACKGROUND = (0.1, 0.03)
_WDS_DEAD_TIME = 2.5e-4

#: Energy of the K edge in keV (Bearden & Burr, 1967) and fluorescence yield of the K shell (Krause, 1979). FROM MEMORY.
_K_SHELL: Mapping[str, tuple[float, float]] = {
    "Na": (1.072, 0.023), "Mg": (1.305, 0.030), "Al": (1.560, 0.039), "Si": (1.839, 0.050), "P": (2.146, 0.063),
    "S": (2.472, 0.078), "Cl": (2.822, 0.097), "K": (3.607, 0.140), "Ca": (4.038, 0.163), "Ti": (4.966, 0.214),
    "Cr": (5.989, 0.275), "Mn": (6.539, 0.308), "Fe": (7.112, 0.340), "Co": (7.709, 0.373), "Ni": (8.333, 0.406),
}  # fmt: skip
_LEAST_OVERVOLTAGE = 1.1
#: Loss of soft lines in the window, the detector's dead layer and the specimen: half is left at this energy (keV),
#: a smooth stand-in for the curves of polymer windows. FROM MEMORY (weak).
_HALF_LEFT_KEV = 0.9
_LINE_PER_EDGE = 0.94


@dataclass(frozen=True)
class Family:
    """Sensitivities of one kind of detector, up to a common scale.

    sensitivity : counts per wt%, relative; background : (counts at Z = 0, counts per unit of Z) on the same scale;
    kind : ``WDS`` or ``EDS``; name : with its settings; dead_time : per count at the scale of `sensitivity`.
    """

    kind: str
    name: str
    sensitivity: Mapping[str, float]
    background: Mapping[str, tuple[float, float]]
    dead_time: float = 0.0


def eds_sensitivity(element: str, beam_kv: float) -> float:
    """Intensity of a pure element's K line in an energy-dispersive detector, relative (per electron and wt%).

    Generated intensity by Green & Cosslett (1961): fluorescence yield over atomic weight times U ln U - U + 1 with the
    overvoltage U; then the share that window, dead layer and specimen leave. 0 where the beam does not excite the line.

    Examples
    --------
    >>> round(eds_sensitivity("Fe", 20) / eds_sensitivity("Si", 20), 2)
    0.29
    """
    edge_kev, fluorescence_yield = _K_SHELL[element]
    overvoltage = beam_kv / edge_kev
    if overvoltage < _LEAST_OVERVOLTAGE:
        return 0.0
    generated = fluorescence_yield / ATOMIC_WEIGHT[element] * (overvoltage * math.log(overvoltage) - overvoltage + 1)
    line_kev = _LINE_PER_EDGE * edge_kev
    return generated / (1 + (_HALF_LEFT_KEV / line_kev) ** 2)


def _eds(beam_kv: int, background_wt_pct: float) -> Family:
    """Return an EDS family whose continuum under a line is that of `background_wt_pct` of the element at Z = 12."""
    scale = WDS_SENSITIVITY["Si"] / eds_sensitivity("Si", beam_kv)
    values = {name: scale * eds_sensitivity(name, beam_kv) for name in _K_SHELL}
    usable = {name: value for name, value in values.items() if value > 0}
    background = {name: (0.0, value * background_wt_pct / 12) for name, value in usable.items()}
    return Family("EDS", f"EDS, {beam_kv} kV, background of {background_wt_pct:g} wt%", usable, background)


def families() -> tuple[Family, ...]:
    """Return what a self-calibration tries: one WDS family, EDS of three beam energies with and without background."""
    background = {name: _WDS_BACKGROUND.get(name, _UNKNOWN_BACKGROUND) for name in WDS_SENSITIVITY}
    wds = Family("WDS", "WDS", WDS_SENSITIVITY, background, _WDS_DEAD_TIME)
    return (wds, *(_eds(beam_kv, wt_pct) for beam_kv in (15, 20, 30) for wt_pct in (0.2, 1.5)))
