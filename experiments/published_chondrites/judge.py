"""Judge the group suggestion on published values: top-1, top-2, ties, log-loss, for columns as tables have them.

Run: python judge.py [-o scores.csv]. The table bench.csv is held out: nothing is fitted to it.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd

from meteoseg.classify import Measured, Measurements, classify

HERE = Path(__file__).resolve().parent
PROPERTIES = {
    "chondrules_vol_pct": "chondrules",
    "matrix_vol_pct": "matrix",
    "refractory_inclusions_vol_pct": "refractory_inclusions",
    "metal_vol_pct": "metal",
    "sulfide_vol_pct": "sulfide",
    "magnetite_vol_pct": "magnetite",
    "chondrule_mean_diameter_mm": "chondrule_mean_diameter",
    "Fa_olivine_mol_pct": "Fa_olivine",
    "Fs_lowCa_pyroxene_mol_pct": "Fs_lowCa_pyroxene",
    "Fa_pmd_pct": "Fa_pmd",
}
COMPONENTS = ["chondrules_vol_pct", "matrix_vol_pct", "refractory_inclusions_vol_pct"]
OPAQUE = ["metal_vol_pct", "sulfide_vol_pct"]
SIZE, IRON = ["chondrule_mean_diameter_mm"], ["Fa_olivine_mol_pct", "Fs_lowCa_pyroxene_mol_pct"]
#: Columns of a published table; a meteorite with fewer than two of them filled is left out of that row.
SUBSETS = {
    "everything but the scatter of Fa": list(PROPERTIES)[:-1],
    "everything": list(PROPERTIES),
    "components, opaques, size, Fa, Fs": [*COMPONENTS, *OPAQUE, *SIZE, *IRON],
    "components, opaques, size": [*COMPONENTS, *OPAQUE, *SIZE],
    "components and size": [*COMPONENTS, *SIZE],
    "components": COMPONENTS,
    "Fa, Fs, metal": [*IRON, "metal_vol_pct"],
}
TIE = 0.2


def judged(bench: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return a row per meteorite: the first two groups, their probabilities, and that of the right one."""
    rows = []
    for row in bench.to_dict("records"):
        values = {PROPERTIES[name]: Measured(float(row[name])) for name in columns if not math.isnan(row[name])}
        if len(values) < 2:
            continue
        scores = classify(Measurements(values)).groups
        first, second = scores[:2]
        right = next((score.probability for score in scores if score.group == row["group"]), 0.0)
        tied = row["group"] == second.group and second.probability >= TIE
        rows.append(
            {
                "name": row["name"],
                "group": row["group"],
                "first": first.group,
                "p_first": first.probability,
                "second": second.group,
                "p_second": second.probability,
                "p_right": right,
                "top_1": first.group == row["group"],
                "top_1_or_tie": first.group == row["group"] or tied,
                "log_loss": -math.log(max(right, 1e-12)),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print the scores by subset of columns and the meteorites that go wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path)
    out = parser.parse_args().out
    bench = pd.read_csv(HERE / "bench.csv")
    parts = []
    for name, columns in SUBSETS.items():
        found = judged(bench, columns)
        parts.append(found.assign(columns=name))
        rate = found[["top_1", "top_1_or_tie"]].mean()
        print(
            f"{name}: n {len(found)}, top-1 {rate['top_1']:.3f}, right or tied {rate['top_1_or_tie']:.3f}, "
            f"log-loss {found['log_loss'].mean():.3f}"
        )
        for row in found[~found["top_1"]].to_dict("records"):
            print(
                f"    {row['name']}: {row['group']} ({row['p_right']:.2f}) "
                f"taken for {row['first']} ({row['p_first']:.2f}), {row['second']} ({row['p_second']:.2f})"
            )
    if out is not None:
        pd.concat(parts).to_csv(out, index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
