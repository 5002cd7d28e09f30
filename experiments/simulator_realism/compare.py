"""Set simulated sections beside real ones: numbers and pictures.

    METEOSEG_DATA=... python experiments/simulator_realism/compare.py [--seeds 6] [--sections "runs/coarse/0*"] [--page]

Semarkona ps1b (west part) against simulated sections like it (LL3.0, 25 um, 8-bit pictures, detectors drawn),
and the microprobe maps of Semarkona's chondrule 8 (1 um, counts) against simulated fields. Prints all numbers;
--page writes them to statistics.csv beside this file, the main ones into docs/realism.md, pictures to docs/images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import figures
import numpy as np
import pandas as pd
from counts import chondrule_8, quantiles, simulated_field
from measures import statistics
from page import IMAGES, fill, markdown
from sections import Maps, real_west, rendered, simulated

from meteoseg.errors import MeteosegError

STATISTICS = Path(__file__).with_name("statistics.csv")
#: Rows shown in the docs; all are in statistics.csv.
MAIN = (
    "area chondrules %", "area nodules %", "area between %", "objects per 100 mm2", "diameter median um",
    "diameter p90 um", "sd of ln diameter", "solidity median", "axis ratio median", "gap to nearest p90 px",
    "seam pixels % of rock", "BSE seam minus sides", "Mg seam minus sides", "Fe seam minus sides",
    "BSE share of pixel pairs in > between", "Mg share of pixel pairs in > between",
    "Fe share of pixel pairs in > between", "Al in p50", "Ca in p50", "Mg in p50",
    "Mg sd of object means / sd in objects", "Fe sd of object means / sd in objects",
    "rank correlation Mg-Fe in", "rank correlation Mg-Fe between", "rank correlation Ca-Al in",
    "BSE local sd 3 px in", "Mg local sd 3 px in", "Mg local sd 3 px between", "Mg local sd 15 px in",
    "Fe local sd 3 px in", "Ca local sd 3 px between", "BSE variance at over 20 px %", "Mg variance at over 20 px %",
    "Mg variance at 2-5 px %", "Fe variance at over 20 px %", "Fe variance at 2-5 px %",
)  # fmt: skip


def tabulate(real: Maps, made: list[Maps]) -> pd.DataFrame:
    """Real number, mean and sd of the simulated ones, and how many sd the real one lies off."""
    numbers = pd.DataFrame([statistics(maps) for maps in made])
    table = pd.DataFrame({"real": pd.Series(statistics(real)), "simulated": numbers.mean(), "sd": numbers.std()})
    table["z"] = ((table["real"] - table["simulated"]) / table["sd"]).where(table["sd"] > 0)
    table.index.name = "what"
    return table


def largest(table: pd.DataFrame, n: int = 12) -> pd.DataFrame:
    """Pick the numbers whose real value lies farthest off, in sd of the simulated sections."""
    return table.loc[table["z"].abs().nlargest(n).index]


def compare_counts(n_fields: int, *, page: bool) -> pd.DataFrame:
    """Compare counts at 1 um: quantiles of real and of all simulated pixels."""
    real = chondrule_8()
    fields = [simulated_field(seed, tuple(real)) for seed in range(21, 21 + n_fields)]
    pooled = {name: np.concatenate([field[name] for field in fields]) for name in real}
    if page:
        figures.draw_counts(real, fields, IMAGES / "realism_counts.png")
    return quantiles(real).add_suffix(" real").join(quantiles(pooled).add_suffix(" simulated"))


def draw_all(real: Maps, made: list[Maps]) -> None:
    """Write the pictures of the page."""
    for draw in ("maps", "histograms", "spectra", "scatter", "objects"):
        getattr(figures, f"draw_{draw}")(real, made, IMAGES / f"realism_{draw}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="number of simulated sections")
    parser.add_argument("--first-seed", type=int, default=11)
    parser.add_argument("--sections", metavar="GLOB", help="rendered training examples instead of new ones")
    parser.add_argument("--fields", type=int, default=4, help="simulated fields at 1 um")
    parser.add_argument("--page", action="store_true", help="write docs/realism.md, its pictures and statistics.csv")
    options = parser.parse_args()
    try:
        real = real_west()
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        made = rendered(options.sections) if options.sections else [simulated(seed)[0] for seed in seeds]
        table = tabulate(real, made)
        at_1_um = compare_counts(options.fields, page=options.page)
    except MeteosegError as error:
        sys.exit(str(error))
    print(table.round(2).to_string(), "\n", at_1_um.round(1).to_string(), sep="\n")
    if options.page:
        table.round(4).to_csv(STATISTICS)
        fill("statistics", markdown(table.loc[list(MAIN)]))
        fill("largest", markdown(largest(table)))
        fill("counts", markdown(at_1_um, 0))
        draw_all(real, made)


if __name__ == "__main__":
    main()
