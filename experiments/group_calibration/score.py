"""Score the group suggestion on simulated sections: top-1, top-2, confusion, reliability, ties.

Run: python score.py FOLDER [-n DRAWS]. Sections are drawn twice: from the fields that draw.py painted (each stands for
100 mm2, or its own area where that is larger, with its realised modes; its chondrules are drawn with replacement), and
from the recipes (the modes that the generator is told, which its fields do not all reach). Each is measured DRAWS times
with errors: 10 % (relative) and 0.3 points on modes, 8 % on the mean diameter, Fa and Fs of 30 chondrules with an
offset of 0.5 mol%.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from draw import TYPES

from meteoseg.classify import Measured, Measurements, classify, measurements_from_tables
from meteoseg.simulate import make_recipe, simulated_groups

RELATIVE, POINTS, SIZE, IRON = 0.10, 0.3, 0.08, 0.5
AREA_UM2 = 1e8
CHANNELS = ["BSE", "Al", "Ca", "Fe", "Ni", "S", "O"]
SECTION = ("chondrules", "matrix", "refractory_inclusions", "metal", "sulfide", "magnetite", "chondrule_mean_diameter")
IRONS = ("Fa_olivine", "Fs_lowCa_pyroxene", "Fa_pmd")
SETS = {
    "components, opaques, size, Fa, Fs, scatter": (*SECTION, "rust", *IRONS),
    "components, opaques, size (no compositions)": (*SECTION, "rust"),
    "components and size": (*SECTION[:3], "chondrule_mean_diameter"),
}
#: Pairs and triples that reference.md 5.4 calls not separable from a section, and what must be missing for that.
TIES = {
    "H/L/LL type 3 by Fa and scatter alone": (("H", "L", "LL"), ("Fa_olivine", "Fa_pmd"), (3.2,)),
    "EH/EL by opaques and Fa, without size, Si or (Mn,Mg)S": (("EH", "EL"), ("metal", "Fa_olivine"), (3.2, 5)),
}


def measured(rng: np.random.Generator, folder: Path) -> Measurements:
    """Measure one field once, with errors."""
    modes, objects, truth = (pd.read_csv(folder / f"{name}.csv") for name in ("modes", "chondrules", "truth"))
    noise = np.exp(rng.normal(0, RELATIVE, len(modes)))
    values = np.maximum(modes["area_pct"] * noise + rng.normal(0, POINTS, len(modes)) * (modes["area_pct"] > 0), 0)
    totals = values.groupby(modes["layer"]).transform("sum")
    modes["area_pct"] = np.where(modes["area_pct"].notna(), 100 * values / totals, np.nan)
    error = np.hypot(RELATIVE * modes["area_pct"], POINTS)
    half = 1.96 * np.hypot(error, (modes["ci_high_pct"] - modes["ci_low_pct"]).fillna(0) / 3.92)
    modes["ci_low_pct"], modes["ci_high_pct"] = modes["area_pct"] - half, modes["area_pct"] + half
    times = max(1.0, AREA_UM2 / modes.loc[modes["layer"] == "phases", "area_um2"].sum())
    modes["area_um2"] *= times
    objects = objects.sample(math.ceil(times * len(objects)), replace=True, random_state=int(rng.integers(2**31)))
    scale = math.exp(rng.normal(0, SIZE))
    for name, power in (("equivalent_diameter_um", 1), ("area_um2", 2)):
        objects[name] = objects[name] * scale**power
    group, petrologic = folder.name.split("_")[0], float(modes["petrologic_type"].iloc[0])
    found = measurements_from_tables(
        modes,
        objects,
        channels=CHANNELS,
        pixel_size_error_pct=100 * SIZE,
        chemistry=irons(rng, truth, group, petrologic),
    )
    return found


def irons(rng: np.random.Generator, truth: pd.DataFrame, group: str, petrologic: float) -> dict[str, Measured]:
    """Return mean Fa of grains of up to 30 chondrules, its scatter, and where equilibrated Fs."""
    grains = truth["fa_mol_pct"].dropna().to_numpy()
    if len(grains) < 10:
        return {}
    chosen = np.maximum(rng.choice(grains, min(30, len(grains)), replace=False) + rng.normal(0, IRON), 0.05)
    error = math.hypot(float(chosen.std(ddof=1)) / math.sqrt(len(chosen)), IRON)
    found = {"Fa_olivine": Measured(float(chosen.mean()), error)}
    if len(chosen) >= 20:
        pmd = 100 * float(np.abs(chosen - chosen.mean()).mean() / chosen.mean())
        found["Fa_pmd"] = Measured(pmd, 0.1 * pmd)
    if petrologic >= 4:
        fs = make_recipe(group, petrologic_type=petrologic).rules.fs_eq
        found["Fs_lowCa_pyroxene"] = Measured(max(fs + rng.normal(0, IRON), 0.0), IRON)
    return found


def from_recipe(rng: np.random.Generator, group: str, petrologic: float) -> Measurements:
    """Measure once what the recipe of a group states, with errors."""
    rules = make_recipe(group, petrologic_type=petrologic).rules
    opaque = rules.opaque_pct
    parts = {
        "chondrules": rules.chondrule_pct,
        "matrix": max(100 - rules.chondrule_pct - rules.inclusion_pct - opaque, 0.0),
        "refractory_inclusions": rules.inclusion_pct,
        "metal": opaque * rules.metal_share,
        "sulfide": opaque * (1 - rules.metal_share),
        "magnetite": rules.magnetite_pct,
    }
    values = {}
    for name, part in parts.items():
        seen = max(part * math.exp(rng.normal(0, RELATIVE)) + (rng.normal(0, POINTS) if part else 0.0), 0.0)
        values[name] = Measured(min(seen, 100.0), math.hypot(RELATIVE * seen, POINTS))
    if group != "CI":
        size = rules.diameter_mm * math.exp(rng.normal(0, SIZE))
        values["chondrule_mean_diameter"] = Measured(size, SIZE * size)
        kind = rng.random(60) < rules.type_1
        grains = np.where(kind, rng.normal(*rules.fa_1, 60), rng.normal(*rules.fa_2, 60))
        if petrologic >= 4:
            grains = rng.normal(rules.fa_eq, 0.02 * rules.fa_eq, 60)
        values |= irons(rng, pd.DataFrame({"fa_mol_pct": np.maximum(grains, 0.1)}), group, petrologic)
    return Measurements(values)


def sections(fields: list[Path]) -> list[tuple[str, Any]]:
    """Return (group, what measures it once with a generator of random numbers) for each field."""
    return [(path.name.split("_")[0], partial(measured, folder=path)) for path in fields]


def recipes() -> list[tuple[str, Any]]:
    """Return the same for each recipe, in each of its types."""
    pairs = [(group, kind) for group in simulated_groups() for kind in TYPES.get(group, (3.0,))]
    return [(group, partial(from_recipe, group=group, petrologic=kind)) for group, kind in pairs]


def answers(made: list[tuple[str, Any]], draws: int, keep: tuple[str, ...]) -> pd.DataFrame:
    """Return a row per measurement of a section: the right group and the probability of each."""
    rng = np.random.default_rng(5)
    rows = []
    for group, measure in made:
        for _ in range(draws):
            whole = measure(rng)
            part = Measurements({name: value for name, value in whole.values.items() if name in keep})
            scores = classify(part).groups
            rows.append({"right": group} | {score.group: score.probability for score in scores})
    return pd.DataFrame(rows).dropna()


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Return top-1, top-2, top-1 or tied, log-loss."""
    chances = table.drop(columns="right")
    order = np.argsort(-chances.to_numpy(), axis=1)
    names = chances.columns.to_numpy()
    first, second = names[order[:, 0]], names[order[:, 1]]
    right = np.array([row[row["right"]] for row in table.to_dict("records")])
    tied = (second == table["right"]) & (right >= 0.2)
    hit = first == table["right"]
    return {
        "n": len(table),
        "top_1": hit.mean(),
        "top_2": (hit | (second == table["right"])).mean(),
        "right_or_tied": (hit | tied).mean(),
        "log_loss": -np.log(np.maximum(right, 1e-12)).mean(),
    }


def reliability(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by class of the probability of the first group, the mean probability and the share that is right."""
    chances = table.drop(columns="right")
    best = chances.max(axis=1)
    hit = chances.idxmax(axis=1) == table["right"]
    bins = pd.cut(best, [0, 0.5, 0.7, 0.9, 0.99, 1.0])
    grouped = pd.DataFrame({"p": best, "right": hit}).groupby(bins, observed=True)
    return grouped.agg(n=("p", "size"), mean_p=("p", "mean"), right=("right", "mean")).round(3)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", "--draws", type=int, default=20)
    given = parser.parse_args()
    fields = sorted(path.parent for path in given.folder.glob("*/truth.csv"))
    for kind, made in (("fields", sections(fields)), ("recipes", recipes())):
        for name, keep in SETS.items():
            table = answers(made, given.draws, keep)
            print(f"\n{kind}; {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in summary(table).items()))
            best = table.drop(columns="right").idxmax(axis=1)
            print(pd.crosstab(table["right"], best, normalize="index").round(2).replace(0, "").to_string())
            print(reliability(table).to_string())
    for name, (pair, keep, types) in TIES.items():
        made = [(group, partial(from_recipe, group=group, petrologic=kind)) for group in pair for kind in types]
        inside = answers(made, given.draws, keep)[list(pair)]
        share = inside.div(inside.sum(axis=1), axis=0)
        first, last = share.max(axis=1).mean(), share.min(axis=1).mean()
        print(f"\n{name}: of these groups the first has {first:.2f}, the last {last:.2f}")


if __name__ == "__main__":
    main()
