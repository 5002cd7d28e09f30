"""Draw label fields of every group with the simulator and measure them: modes, chondrules, what each chondrule is.

Run: python draw.py FOLDER [-n ROUNDS]. A round is one field per group; rounds that are there are kept. No maps are
segmented: the labels are the truth, so what is tested is the inference from measurements to groups, not the networks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from meteoseg.legend import default_legend
from meteoseg.objects import measure_objects
from meteoseg.simulate import simulate_section, simulated_groups
from meteoseg.tables.labelcounts import LabelLayers, count_modes

#: (width mm, height mm), pixel size um: at least 20 mm2, but for CH, whose chondrules are of 50 um. 80 mm2 of a CV hold
#: some 15 chondrules that no edge cuts, too few for a mean size; a thin section has 300 mm2 or more.
SIZES = {"CV": ((20, 15), 25), "CK": ((10, 8), 20), "CB": ((8, 6), 20), "CH": ((1.6, 1.2), 4), "CI": ((6, 5), 20)}
USUAL = ((6.0, 4.0), 16)
#: Types of the groups that go from 3 to 6, by turns; the others are what they are.
TYPES = {"H": (5, 3.2), "L": (5, 3.2), "LL": (5, 3.2), "EH": (4, 3.2), "EL": (5, 3.2), "R": (4, 3.6), "CK": (5, 4)}
GRADES = ("W0", "W1", "W2")


def draw(group: str, turn: int, folder: Path) -> None:
    """Write modes.csv, chondrules.csv and truth.csv of one field."""
    size_mm, pixel_um = SIZES.get(group, USUAL)
    types = TYPES.get(group, (3.0,))
    simulated = simulate_section(
        group,
        size_mm=size_mm,
        pixel_size_um=pixel_um,
        seed=9000 + turn,
        petrologic_type=types[turn % len(types)],
        weathering=GRADES[turn % len(GRADES)],
        channels=["BSE"],
    )
    legends = {layer: default_legend(layer) for layer in ("phases", "components")}
    planes = {"phases": simulated.phases, "components": simulated.components}
    folder.mkdir(parents=True)
    layers = LabelLayers({name: _Plane(image) for name, image in planes.items()}, legends, (pixel_um, pixel_um))
    modes, _ = count_modes(layers)
    modes.assign(petrologic_type=simulated.recipe.petrologic_type).to_csv(folder / "modes.csv", index=False)
    inside = simulated.components != 0
    objects = measure_objects(simulated.chondrules, (pixel_um, pixel_um), kinds=simulated.kinds, mask=inside)
    objects.to_csv(folder / "chondrules.csv", index=False)
    simulated.chondrule_table().to_csv(folder / "truth.csv", index=False)


class _Plane:
    """An array read by window, as label files are."""

    def __init__(self, image: np.ndarray) -> None:
        self.image, self.shape, self.dtype = image, image.shape, image.dtype

    def read(self, window) -> np.ndarray:
        return self.image[window.slices]


def main() -> None:
    """Draw rounds of fields."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-n", "--rounds", type=int, default=6)
    given = parser.parse_args()
    for turn in range(given.rounds):
        for group in simulated_groups():
            folder = given.folder / f"{group}_{turn}"
            if not (folder / "truth.csv").is_file():
                draw(group, turn, folder)
                print(folder.name, flush=True)


if __name__ == "__main__":
    main()
