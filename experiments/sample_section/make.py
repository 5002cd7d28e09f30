"""Make the sample section in data/sample: a simulated H3.6 chondrite, 6 um per pixel, EDS counts.

python experiments/sample_section/make.py data/sample
"""

from __future__ import annotations

import argparse
from pathlib import Path

from meteoseg.simulate import Detector, make_recipe, simulate_recipe, write_example

CHANNELS = ("BSE", "O", "Mg", "Al", "Si", "S", "Ca", "Fe", "Ni")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    simulated = simulate_recipe(
        make_recipe("H", petrologic_type=3.6, weathering="W1"),
        Detector(mode="eds", dose=0.45, gain_error=0.02, bse_noise=4.0),
        shape=(880, 1040), pixel_size_um=6.0, seed=13, channels=CHANNELS, name="sample-H3.6",
    )  # fmt: skip
    write_example(simulated, options.out)


if __name__ == "__main__":
    main()
