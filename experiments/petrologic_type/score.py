"""Types that feldspar and outlines give simulated sections: of painted labels, or of those that the networks made."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from meteoseg.chondrules.delineation import delineation_table
from meteoseg.classify import Measured, Measurements, delineation_evidence, feldspar_evidence
from meteoseg.classify.groups import groups
from meteoseg.classify.petrology import petrologic_type
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.minerals.feldspar import BETWEEN, BETWEEN_WITH_GLASS, feldspar_table
from meteoseg.section import ArrayPlane

LAYERS = ("phases", "components")
CHANNELS = ("Na", "Al", "Ca")


def load(path: Path, *, truth: bool) -> tuple[dict[str, np.ndarray], float, list[float]]:
    """Return labels by layer, pixel size and Fa of the chondrules (empty where not known) of a field or a result."""
    if path.is_file():
        field = np.load(path)
        return {name: field[name] for name in (*LAYERS, "chondrules")}, 6.0, field["fa_mol_pct"].tolist()
    stored = np.load(path / "truth.npz")
    names = (*LAYERS, "chondrules")
    if truth:
        return {name: stored[name] for name in names}, 8.0, []
    return {name: np.asarray(read_labels(path / f"{name}.ome.tif")) for name in names}, 8.0, []


def score(path: Path, *, truth: bool) -> dict[str, object]:
    """Measure one section and answer its type with and without the scatter of Fa."""
    labels, pixel_um, fa = load(path, truth=truth)
    labels["phases"] = np.where(labels["phases"] == 255, default_legend("phases")["unclassified"].id, labels["phases"])
    group, type_, _ = path.name.removesuffix(".npz").split("_")
    planes = {layer: ArrayPlane(labels[layer]) for layer in LAYERS}
    legends = {layer: default_legend(layer) for layer in LAYERS}
    grains = feldspar_table(planes, legends, (pixel_um, pixel_um))
    across = delineation_table(labels["chondrules"], planes, legends, (pixel_um, pixel_um))
    values = feldspar_evidence(grains, CHANNELS)[0] | delineation_evidence(across)[0]
    places = grains.set_index("where")
    row: dict[str, object] = {"group": group, "type": float(type_), "contrast": across["contrast"].iloc[0]}
    row |= {"ci_low": across["ci_low"].iloc[0], "ci_high": across["ci_high"].iloc[0]}
    row |= {"feldspar_pct": places["feldspar_pct"][BETWEEN], "size_um": places["size_um"][BETWEEN]}
    row |= {"resolved_pct": places["resolved_pct"][BETWEEN], "glass_pct": places["feldspar_pct"][BETWEEN_WITH_GLASS]}
    row["glass_size_um"] = places["size_um"][BETWEEN_WITH_GLASS]
    for column, kept in (("feldspar", "feldspar"), ("outlines", "chondrule"), ("both", "")):
        part = {name: value for name, value in values.items() if name.startswith(kept)}
        row[column] = petrologic_type([groups()[group]], Measurements(part))[0]
    if fa:
        scatter = 100 * float(np.mean(np.abs(np.array(fa) - np.mean(fa))) / np.mean(fa))
        found = Measurements(values | {"Fa_pmd": Measured(scatter)})
        row |= {"Fa_pmd": scatter, "all": petrologic_type([groups()[group]], found)[0]}
    return row


def main() -> None:
    """Score a folder of fields (``*.npz``) or of results; print confusions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="CSV of all sections")
    parser.add_argument("--truth", action="store_true", help="of results: the truth in place of the networks' labels")
    given = parser.parse_args()
    paths = sorted(given.folder.glob("*.npz")) or sorted(path.parent for path in given.folder.glob("*/truth.npz"))
    table = pd.DataFrame([score(path, truth=given.truth) for path in paths])
    if given.out is not None:
        table.to_csv(given.out, index=False, float_format="%.4g")
    print(table.to_string(float_format="%.3g"))
    for column in ("feldspar", "outlines", "both", "all"):
        if column in table:
            print(f"\n{column}\n{pd.crosstab(table['type'], table[column])}")


if __name__ == "__main__":
    main()
