"""How far is Fa off? Poisson counts, simulated maps, and two real chondrules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import meteoseg as ms
from meteoseg.legend import default_legend
from meteoseg.minerals.alpha import composition_vector
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.chemistry import MineralChemistry
from meteoseg.minerals.chemistrytable import chemistry_table
from meteoseg.minerals.choose import choose_phase_maker
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.counting import true_values
from meteoseg.minerals.fitted import refine_gains
from meteoseg.minerals.formula import mix_formulas
from meteoseg.minerals.grains import GrainSums
from meteoseg.minerals.standards import calibrate
from meteoseg.simulate.detector import Detector, measure
from meteoseg.simulate.materials import paint
from meteoseg.simulate.recipe import microprobe_responses

NAMES = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
PAIR = ("Mg", "Fe")
LEGEND = default_legend("phases")
OLIVINE = LEGEND["olivine"].id
GRAIN_PX, N_GRAINS = 50, 8000
#: Whole numbers where the simulator's k-ratios have a knot or lie close to one.
FA = (0, 1, 5, 10, 18, 24, 29, 39, 50)
OTHERS = ("troilite", "kamacite", "magnetite", "anorthite")
SIDE, GAP, PER_ROW = 11, 5, 12


def poisson(data: Path) -> pd.DataFrame:
    """Errors of pixels and of grains of 50 px, counts as the museum's microprobe would store them."""
    calibration = calibrate(data / "standards")
    chemistry = MineralChemistry.of(calibration, PAIR, LEGEND)
    rng = np.random.default_rng(0)
    rows = []
    for fa in (0, 1, 5, 10, 18.5, 29, 50):
        composition = composition_vector(mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - fa / 100, fa / 100]))[None]
        true = (calibration.net_counts(composition, PAIR) + calibration.background_counts(composition, PAIR))[0]
        slowed = 1 + true * [calibration.channels[name].dead_time for name in PAIR]
        noise = rng.poisson(true[:, None], (2, GRAIN_PX * N_GRAINS)) - true[:, None]
        stored = np.round((true / slowed)[:, None] + noise / slowed[:, None]).clip(0)
        stored[1][stored[1] == 1] = 0
        shape = (N_GRAINS, GRAIN_PX)
        pixels, _ = chemistry.maps(stored.reshape(2, *shape), np.full(shape, OLIVINE, np.uint8))["Fa"]
        sums = true_values(calibration, stored, PAIR).reshape(2, *shape).sum(axis=2)
        zeros = np.zeros(N_GRAINS)
        same = GrainSums(np.full(N_GRAINS, OLIVINE), zeros.astype(int), np.full(N_GRAINS, GRAIN_PX), zeros, zeros, sums)
        grains = chemistry.grain_table(same).query("quantity == 'Fa'")
        rows.append({
            "Fa": fa, "Fe counts": true[1], "pixel bias": pixels.mean() - fa, "pixel sd": pixels.std(),
            "grain bias": grains["value"].mean() - fa, "grain sd": grains["value"].std(),
            "stated": grains["sd_counting"].mean(), "calibration": grains["sd_calibration"].mean(),
        })  # fmt: skip
    return pd.DataFrame(rows)


def simulated_calibration() -> Calibration:
    """Return what the simulator's microprobe is, gain errors apart."""
    return Calibration(
        {name: ChannelResponse(**values, relative_sd=0.03) for name, values in microprobe_responses().items()}
    )


def scene(seed: int) -> np.ndarray:
    """Counts (C, H, W) of a row of square grains of each Fa, and of other minerals, in glass."""
    kinds = [("olivine", fa) for fa in FA] + [(name, 100 if name == "troilite" else 0) for name in OTHERS]
    step = SIDE + GAP
    material = np.full((len(kinds) * step, PER_ROW * step), paint("mesostasis"), np.uint8)
    iron = np.full(material.shape, 30, np.uint8)
    for row, (name, share) in enumerate(kinds):
        for col in range(PER_ROW):
            box = np.s_[row * step : row * step + SIDE, col * step : col * step + SIDE]
            material[box], iron[box] = paint(name), share
    fine = [plane.repeat(4, 0).repeat(4, 1) for plane in (material, iron)]
    detector = Detector(dose=1.0, gain_error=0.03, beam_um=0.5)
    maps, _ = measure(np.random.default_rng(seed), *fine, NAMES, detector, supersampling=4, pixel_um=1.0)
    return np.stack([maps[name] for name in NAMES]).astype(np.float32)


def maps(n_maps: int = 20) -> pd.DataFrame:
    """Errors of grains in simulated maps, phases and gains found from the maps."""
    found = []
    for seed in range(n_maps):
        values = scene(seed)
        model = refine_gains(PhaseClassifier.from_calibration(simulated_calibration(), NAMES), values, NAMES).classifier
        grains = grain_table(model, values, model.classify(values, NAMES)[0]).query("quantity == 'Fa'")
        row = (grains["row_px"] // (SIDE + GAP)).astype(int)
        grains = grains.assign(Fa=np.array([*FA, *[np.nan] * len(OTHERS)])[row], seed=seed).dropna(subset="Fa")
        found.append(grains.assign(error=grains["value"] - grains["Fa"]))
    every = pd.concat(found)
    every["relative"] = every["error"] / np.hypot(every["sd_counting"], every["sd_calibration"])
    by_fa = every.groupby("Fa")
    return pd.DataFrame({
        "grains": by_fa.size(), "px": by_fa["n_px"].mean(), "bias": by_fa["error"].mean(),
        "rms": by_fa["error"].apply(lambda error: np.sqrt(np.mean(error**2))),
        "sd within a map": every.groupby(["Fa", "seed"])["error"].std().groupby("Fa").mean(),
        "error / stated": by_fa["relative"].std(),
    })  # fmt: skip


def grain_table(model: PhaseClassifier, values: np.ndarray, phases: np.ndarray) -> pd.DataFrame:
    """Grains of a whole map."""
    chemistry = MineralChemistry.of(model.response, model.channels, LEGEND)
    planes = values[[model.channels.index(name) for name in chemistry.elements]]
    collector = chemistry.collector()
    chemistry.gather(collector, planes, phases, None)
    return chemistry.grain_table(collector.finish())


def semarkona(data: Path) -> pd.DataFrame:
    """Means over grains of the two real chondrules and their surroundings."""
    tables = {}
    for name in ("semarkona-chm8", "semarkona-chm1"):
        section = ms.open_section(data / name, pixel_size_um=1.0, use_mask=False)
        maker = choose_phase_maker(section, data / "standards")
        model = maker.classifier
        grains = grain_table(model, section.read(model.channels), maker.draw(section, section.window))
        tables[name] = chemistry_table(grains, chondrules=False)
    return pd.concat(tables)


if __name__ == "__main__":
    kinds = {
        "poisson": lambda: poisson(Path(os.environ["METEOSEG_DATA"])),
        "maps": maps,
        "semarkona": lambda: semarkona(Path(os.environ["METEOSEG_DATA"])),
    }
    print(kinds[sys.argv[1]]().round(2).to_string())
