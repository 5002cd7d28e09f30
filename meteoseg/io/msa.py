"""Write spectra as EMSA/MAS files (ISO 22029), which every microanalysis program opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meteoseg.io.cubereaders import damage_told, load_plugin
from meteoseg.spectra.axis import EnergyAxis


def write_msa(
    path: Path, spectrum: NDArray[np.float64], axis: EnergyAxis, *, title: str, beam_kv: float | None = None
) -> None:
    """Write one spectrum (N,) with its energy axis in keV, by RosettaSciIO.

    Raises
    ------
    InputError : the library is missing.
    """
    plugin = load_plugin(path, "msa")
    beam = {} if beam_kv is None else {"Acquisition_instrument": {"SEM": {"beam_energy": float(beam_kv)}}}
    signal = {
        "data": np.asarray(spectrum, float),
        "axes": [
            {
                "name": "Energy",
                "size": axis.size,
                "offset": axis.offset_ev / 1000,
                "scale": axis.ev_per_channel / 1000,
                "units": "keV",
                "navigate": False,
            }
        ],
        "metadata": {
            "General": {"title": title[:64]},
            "Signal": {"signal_type": "EDS_SEM", "quantity": "X-rays (Counts)"},
            **beam,
        },
        "original_metadata": {},
    }
    with damage_told(path):
        plugin.file_writer(str(path), signal)
