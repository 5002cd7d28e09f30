"""A painted section of mineral grains, as wt% and as counts, and a model that sees one chondrule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from meteoseg.legend import default_legend
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.models import Model, ModelCard, NetworkCard
from meteoseg.section import Section

NAMES = ("Mg", "Si", "Ca", "Fe", "Ni", "S", "Al")
CALIBRATION = Calibration({name: ChannelResponse(WDS_SENSITIVITY[name], 0.2, 0.02, relative_sd=0.02) for name in NAMES})
SIDE = 16


def painted(rows=6, cols=9, seed=1):
    """wt% maps and phases of square grains of olivine (Fa 10 to 30 by column), pyroxene and kamacite, 2 px apart."""
    compositions = [mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - fa, fa]) for fa in np.linspace(0.1, 0.3, cols)]
    phases = np.zeros((rows * SIDE, cols * SIDE), np.uint8)
    values = {name: np.zeros(phases.shape) for name in NAMES}
    rng = np.random.default_rng(seed)
    legend = default_legend("phases")
    for row in range(rows):
        kind = {4: "low-Ca pyroxene", 5: "kamacite"}.get(row, "olivine")
        for col in range(cols):
            known = {"low-Ca pyroxene": formula_wt_pct("Mg1.6Fe0.36Ca0.04Si2O6"), "kamacite": {"Fe": 94.5, "Ni": 5.5}}
            wt = known.get(kind, compositions[col])
            box = np.s_[row * SIDE : (row + 1) * SIDE - 2, col * SIDE : (col + 1) * SIDE - 2]
            phases[box] = legend[kind].id
            for name in NAMES:
                values[name][box] = wt.get(name, 0.0)
    noisy = {name: plane + rng.normal(0, 0.3, plane.shape) * (phases > 0) for name, plane in values.items()}
    return noisy, phases


def section_of(values, units="wt%"):
    return Section.from_arrays("A", values, pixel_size_um=2.0, units=dict.fromkeys(values, units))


def painted_counts(rows=6, cols=9):
    """Counts (H, W) by element of the grains of `painted`, and their phases."""
    wt, phases = painted(rows, cols)
    rng = np.random.default_rng(3)
    legend = default_legend("phases")
    counts = {name: np.zeros(phases.shape) for name in NAMES}
    for phase in np.unique(phases[phases > 0]):
        for col in range(cols):
            box = np.zeros(phases.shape, bool)
            box[:, col * SIDE : (col + 1) * SIDE] = True
            box &= phases == phase
            composition = {name: max(0.0, float(wt[name][box].mean())) for name in NAMES} | {"O": 40.0}
            if legend.name_of(int(phase)) == "kamacite":
                composition["O"] = 0.0
            for name, mean in CALIBRATION.predict_counts(composition).items():
                counts[name][box] = rng.poisson(mean, int(box.sum()))
    return counts, phases


class OneChondrule(nn.Module):
    """Stands for a network that sees nothing but chondrule."""

    multiple_px = 32

    def __init__(self):
        super().__init__()
        self.card = NetworkCard("one", ("components",), ("Fe",), component_classes=("matrix", "chondrule"), tile_px=64)
        self.level = nn.Parameter(torch.tensor([0.0, 9.0]).reshape(1, 2, 1, 1))

    def forward(self, image):
        return self.level.expand(len(image), 2, *image.shape[2:])

    def split(self, logits):
        return {"components": logits}


def one_chondrule_model():
    network = OneChondrule()
    return Model(ModelCard("one", (network.card,)), {"one": network}, Path("one.safetensors"), "0" * 64)
