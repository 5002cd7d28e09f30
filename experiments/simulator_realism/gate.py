"""Is the simulator as hard as a real section? A random forest with watershed must find as much in both.

    METEOSEG_DATA=... python experiments/simulator_realism/gate.py [--seeds 6] [--sections "runs/coarse/000*"] [--page]

The forest is trained on one half of a section and tested on the other, both ways, on Semarkona ps1b (west part)
and on simulated sections like it (LL3.0, 25 um, five 8-bit pictures, detectors drawn). It passes when the mean F1
and PQ of the simulated sections lie within 0.08 of 0.56 and 0.41, the scores of the method on real sections.
Exit code 1 when it does not. About three minutes on one core. --page writes the table into docs/realism.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

import numpy as np
import pandas as pd
from forest import Settings, features, part_objects, probability, score, train
from page import fill, markdown
from sections import Maps, real_west, rendered, simulated

from meteoseg.errors import MeteosegError

TARGETS = {"f1": 0.56, "pq": 0.41}
TOLERANCE = 0.08
SCORES = ["f1", "pq", "dice", "matrix_iou"]
TITLES = {"f1": "F1", "pq": "PQ", "dice": "Dice", "matrix_iou": "matrix IoU", "n_truth": "objects drawn",
          "n_found": "objects found"}  # fmt: skip
OWN, OTHER, TOUCHING = "", "forest of another section", "truth without gaps"


def score_halves(maps: Maps, other: Maps | None, touching: Maps | None, settings: Settings) -> list[dict[str, object]]:
    """Train on each half and test on the other one; on a half of another section; against outlines without gaps."""
    halves = maps.halves()
    rows: list[dict[str, object]] = []
    for learn, test in ((0, 1), (1, 0)):
        forest = train(halves[learn], features(halves[learn].maps), settings)
        found = _find(forest, halves[test], settings)
        rows.append({"truth": OWN, **score(found, halves[test])})
        if touching is not None:
            rows.append({"truth": TOUCHING, **score(found, touching.halves()[test])})
        if other is not None:
            half = other.halves()[test]
            rows.append({"truth": OTHER, **score(_find(forest, half, settings), half)})
    return [{"section": maps.name, **row} for row in rows]


def _find(forest: object, maps: Maps, settings: Settings) -> np.ndarray:
    return part_objects(probability(forest, maps, features(maps.maps)), settings)  # type: ignore[arg-type]


def score_simulated(seeds: Iterable[int], pattern: str | None, settings: Settings) -> pd.DataFrame:
    """Score simulated sections, each also by a forest of the section before it."""
    if pattern:
        sections, touching = rendered(pattern), rendered(pattern, gaps=False)
    else:
        pairs = [simulated(seed) for seed in seeds]
        sections, touching = [with_gaps for with_gaps, _ in pairs], [without for _, without in pairs]
    rows: list[dict[str, object]] = []
    for index, maps in enumerate(sections):
        other = sections[index - 1] if len(sections) > 1 else None
        rows += score_halves(maps, other, touching[index], settings)
        print(".", end="", flush=True, file=sys.stderr)
    return pd.DataFrame(rows)


def summarise(real: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """Means of real and simulated sections, sd between simulated sections, verdict."""
    by_section = made.groupby(["truth", "section"])[[*SCORES, "n_truth", "n_found"]].mean()
    own = by_section.loc[OWN]
    table = pd.DataFrame({"real, halves": real[own.columns].mean()})
    table["simulated mean"], table["sd"] = own.mean(), own.std()
    for name in (TOUCHING, OTHER):
        if name in by_section.index:
            table[name] = by_section.loc[name].mean()
    target = pd.Series(TARGETS)
    table["target"] = target.map("{:.2f}".format).str.cat([f" ± {TOLERANCE}"] * len(target))
    passed = (own.mean()[target.index] - target).abs() <= TOLERANCE
    table["verdict"] = passed.map({True: "pass", False: "FAIL"})
    table.index.name = "per half section"
    return table.rename(index=TITLES).fillna({"target": "", "verdict": ""})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="number of simulated sections")
    parser.add_argument("--first-seed", type=int, default=11)
    parser.add_argument("--sections", metavar="GLOB", help="rendered training examples instead of new ones")
    parser.add_argument("--page", action="store_true", help="write the table into docs/realism.md")
    options = parser.parse_args()
    settings = Settings()
    try:
        real = pd.DataFrame(score_halves(real_west(), None, None, settings))
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        made = score_simulated(seeds, options.sections, settings)
    except MeteosegError as error:
        sys.exit(f"{error}")
    table = summarise(real, made)
    print(f"\n{settings}\n")
    print(made[made["truth"] == OWN].groupby("section")[[*SCORES, "n_truth", "n_found"]].mean().round(3).to_string())
    print(f"\n{table.round(3).to_string()}")
    if options.page:
        fill("gate", markdown(table, 3))
    sys.exit(int((table["verdict"] == "FAIL").any()))


if __name__ == "__main__":
    main()
