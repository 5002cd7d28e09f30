"""Elements and minerals of the four reference spectra, each with sensitivities from the three others.

``METEOSEG_DATA=... python experiments/spectra/reference_minerals.py``
"""

from __future__ import annotations

import os
from pathlib import Path

from meteoseg.cubes.quantify import fit_sensitivities, identify_spectrum, spectrum_counts
from meteoseg.minerals import formula_wt_pct

FORMULAS = {"albite": "NaAlSi3O8", "apatite": "Ca5P3O12F", "enstatite": "MgSiO3", "spinel": "MgAl2O4"}


def main() -> None:
    folder = Path(os.environ["METEOSEG_DATA"]) / "spectra"
    counts = {name: spectrum_counts(folder / f"{name}.msa") for name in FORMULAS}
    for name in FORMULAS:
        others = [(counts[other], formula_wt_pct(FORMULAS[other])) for other in FORMULAS if other != name]
        found = identify_spectrum(counts[name], fit_sensitivities(others))
        shown = ", ".join(f"{element} {value:.1f}" for element, value in found.wt_pct.items())
        ideal = ", ".join(f"{key} {value:.1f}" for key, value in formula_wt_pct(FORMULAS[name]).items() if key != "O")
        print(f"{name:10} {' '.join(counts[name])}\n   wt% {shown}  (ideal {ideal})")
        print(f"   {found.phase}, probability {found.probability:.3f}")


if __name__ == "__main__":
    main()
