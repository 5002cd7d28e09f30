"""Open set: what a model does with a mineral and with a rock it never saw.

    METEOSEG_DATA=... python experiments/open_set/measure.py [MODEL] [--channels BSE Mg Ca Fe Al]

(a) Grains of minerals that no network was trained on are planted into simulated H5 sections. The maps are linear in
the k-ratios of a mineral, so that each channel's line is fitted to the minerals of the section whose composition is
known, and the foreign mineral is read off it, with Poisson noise. Printed for each mineral: the share of its pixels
that become unclassified and that of the known minerals around it, the share of the latter that is named rightly, and
the AUROC of the top probability and of the lead (`meteoseg.labels.certainty`) for known against foreign pixels (0.5: no
better than chance). Pixels along boundaries are left out.

(b) A terrestrial gabbro (public Oxford maps, pixel size taken as 10 um): what becomes unclassified, the mean top
probability, and whether the report says that the section is new to the networks.

A model without calibration in its card is measured with the threshold 0.5.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata

import meteoseg as ms
from meteoseg.elements import BSE
from meteoseg.inference import Inputs, Runner, best_of_logits, choose_grid
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band
from meteoseg.mineraldata import Mineral, mineral
from meteoseg.models import Model, load_model
from meteoseg.section import Section
from meteoseg.simulate import simulate_section
from meteoseg.tables.measure import PROBABILITY_FILES

#: Minerals of the tables that no network is trained on.
FOREIGN = ("barite (terrestrial)", "corundum", "wollastonite", "rutile", "andradite", "gypsum (terrestrial)")
#: What an equilibrated H chondrite consists of, by phase: the compositions that the maps are fitted to.
KNOWN = {
    "olivine": "olivine Fa18.5",
    "low-Ca pyroxene": "low-Ca pyroxene Fs16.5",
    "high-Ca pyroxene": "diopside",
    "plagioclase": "albitic plagioclase An11Or5",
    "troilite": "troilite",
    "kamacite": "kamacite (Ni 5, Co 0.5)",
    "chromite": "chromite (OC)",
    "phosphate": "merrillite",
}
PHASES = default_legend("phases")
UNCLASSIFIED = PHASES["unclassified"].id
UNCALIBRATED_LEAST = 0.5


def response(part: Mineral, channel: str) -> float:
    """Backscatter coefficient or k-ratio of a mineral."""
    return part.eta if channel == BSE else part.k_ratio.get(channel, 0.0)


def line(values: np.ndarray, phases: np.ndarray, inner: np.ndarray, channel: str) -> tuple[float, float]:
    """Fit offset and slope of a map (H, W) against the responses of the known minerals."""
    points = []
    for phase, name in KNOWN.items():
        chosen = inner & (phases == PHASES[phase].id)
        if chosen.sum() >= 30:
            points.append((response(mineral(name), channel), float(values[chosen].mean()), chosen.sum() ** 0.25))
    x, y, weight = np.array(points).T
    if np.ptp(x) < 1e-6:
        return float(np.average(y, weights=weight)), 0.0
    slope, offset = np.polyfit(x, y, 1, w=weight)
    return float(max(offset, 0)), float(max(slope, 0))


def plant(simulated: Any, name: str, rng: np.random.Generator) -> tuple[Section, np.ndarray]:
    """Plant grains of a foreign mineral; return the section and where they are (H, W)."""
    phases, section = simulated.phases, simulated.section
    row, col = np.indices(phases.shape)
    grains = np.zeros(phases.shape, bool)
    for _ in range(40):
        centre, axes = rng.uniform(0, phases.shape), rng.uniform(4, 14, 2)
        grains |= ((row - centre[0]) / axes[0]) ** 2 + ((col - centre[1]) / axes[1]) ** 2 < 1
    grains &= (phases != PHASES["outside"].id) & (phases != PHASES["hole"].id)
    inner = ~boundary_band(phases)
    maps, units = {}, {}
    for channel in section.channel_names:
        values = section.read([channel])[0]
        offset, slope = line(values, phases, inner, channel)
        level = max(offset + slope * response(mineral(name), channel), 0.0)
        noise = rng.normal(level, 3, phases.shape) if channel == BSE else rng.poisson(level, phases.shape)
        planted = np.where(grains, noise, values).clip(0)
        maps[channel] = np.minimum(planted, 255).astype(np.uint8) if channel == BSE else planted.astype(np.float32)
        units[channel] = section.channels[channel].unit
    return Section.from_arrays(section.name, maps, pixel_size_um=section.pixel_size_um, units=units), grains


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """Probability that a known pixel has a higher value than a foreign one (Mann-Whitney)."""
    ranks = rankdata(np.concatenate([known, foreign]))
    total = ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2
    return float(total / (len(known) * len(foreign)))


def run(model: Model, section: Section) -> tuple[ms.Result, np.ndarray, np.ndarray]:
    """Segment; return the result, the phases (H, W) and their top probability (H, W)."""
    calibrated = any(network.calibration for network in model.card.networks)
    least = None if calibrated else UNCALIBRATED_LEAST
    result = ms.segment(section, model=model, min_probability=least, probabilities=True)
    return result, result.phases, ms.io.read_labels(result.folder / PROBABILITY_FILES["phases"]) / 100


def leads(model: Model, section: Section) -> np.ndarray:
    """Return the lead of the best phase (H, W) of the first network that finds phases on the section's own grid."""
    network = next(net for net in model.networks.values() if net.card.layers == ("phases",))
    excluded = [index for index, name in enumerate(network.card.phase_classes) if name == "outside"]
    lead = np.zeros(section.shape, np.float32)

    def finish(layers: dict[str, torch.Tensor]) -> np.ndarray:
        return best_of_logits(layers["phases"], 1.0, excluded=excluded)[2]

    for window, found in Runner(Inputs(section)).tiles(network, choose_grid(network.card, section), finish):
        lead[window.slices] = found
    return lead


def foreign_minerals(model: Model, channels: list[str] | None, n_sections: int) -> pd.DataFrame:
    """Measure (a): one row per mineral, pixels of all sections together."""
    rows = []
    for name in FOREIGN:
        parts: list[tuple[np.ndarray, ...]] = []
        for seed in range(n_sections):
            simulated = simulate_section(
                "H", petrologic_type=5.5, size_mm=(0.64, 0.48), pixel_size_um=2.0, seed=900 + seed, mode="eds",
                channels=channels,
            )  # fmt: skip
            section, grains = plant(simulated, name, np.random.default_rng([seed, 5]))
            _, phases, top = run(model, section)
            lead = leads(model, section)
            inner = ~boundary_band(np.where(grains, 99, simulated.phases).astype(np.uint8))
            counted = inner & (simulated.phases != 0)
            parts.append(tuple(values[counted] for values in (phases, top, lead, grains, simulated.phases)))
        phases, top, lead, grains, truth = (np.concatenate(values) for values in zip(*parts, strict=True))
        called = pd.Series(phases[grains & (phases != UNCLASSIFIED)]).value_counts()
        rows.append({
            "mineral": name.split(" (")[0],
            "n_px": int(grains.sum()),
            "foreign_unclassified": float((phases[grains] == UNCLASSIFIED).mean()),
            "known_unclassified": float((phases[~grains] == UNCLASSIFIED).mean()),
            "known_right": float((phases == truth)[~grains].mean()),
            "auroc_probability": auroc(top[~grains], top[grains]),
            "auroc_lead": auroc(lead[~grains], lead[grains]),
            "mostly_called": PHASES.name_of(int(called.index[0])) if len(called) else "",
        })  # fmt: skip
    return pd.DataFrame(rows)


def gabbro(model: Model) -> None:
    """Measure (b)."""
    section = ms.open_section(Path(os.environ["METEOSEG_DATA"]) / "oxford-csv", pixel_size_um=10.0)
    result, _, top = run(model, section)
    modes = result.modes().query("layer == 'phases'").set_index("name")["area_pct"]
    print(f"gabbro: unclassified {modes.get('unclassified', 0.0):.1f} area%, mean top probability {top.mean():.2f}")
    print("largest modes:", modes.drop("unclassified", errors="ignore").nlargest(5).round(1).to_dict())
    print("suggestion:", result.classify().groups[:2])
    print("certainty:", result.run["certainty"])
    notes = [note for note in result.run["notes"] if "less sure" in note]
    print("\n".join(notes) or "no note that the section is new to the networks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="chondrite")
    parser.add_argument("--channels", nargs="+")
    parser.add_argument("--n", type=int, default=2, help="simulated sections per mineral")
    options = parser.parse_args()
    model = load_model(options.model)
    print(foreign_minerals(model, options.channels, options.n).round(3).to_string(index=False))
    if "METEOSEG_DATA" in os.environ:
        gabbro(model)


if __name__ == "__main__":
    main()
