"""Count how often the 95 % intervals of modes.csv hold the expected mode of the rock, over many small sections.

python experiments/mode_coverage/coverage.py OUT.csv [--sections 200] [--only NAME]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from fields import Labels, Leaves, Rock

from meteoseg.legend import Label, Legend, default_legend
from meteoseg.modes import modes_of

SHARES = (0.55, 0.25, 0.12, 0.05, 0.02, 0.01)
LEAVES = {
    "grains of 6 px": Leaves((150, 210), SHARES, 6.0),
    "grains of 12 px": Leaves((150, 210), SHARES, 12.0),
    "objects of 20 px": Leaves((150, 210), SHARES, 20.0),
    "objects of 20 px, sigma 0.8": Leaves((150, 210), SHARES, 20.0, 0.8),
    "objects of 30 px": Leaves((150, 210), SHARES, 30.0),
}
ROCKS = {
    "LL3.2": Rock("LL", 3.2, (160, 210), 35.0),
    "H5": Rock("H", 5.0, (160, 210), 20.0),
    "CM2": Rock("CM", 2.9, (160, 210), 12.0),
    "CV3.2": Rock("CV", 3.2, (160, 210), 50.0),
}
#: Classes rarer than this are not listed.
RAREST = 0.002


def leaves_table(leaves: Leaves, n: int) -> pd.DataFrame:
    """Return a row per section and kind: estimate, interval, expected mode (all in percent)."""
    legend = Legend("phases", (Label(0, "outside", "#000000"), *(Label(1 + i, name, "#00000" + str(i))
                    for i, name in enumerate(leaves.expected))))  # fmt: skip
    fields = ({"phases": leaves.draw(seed)} for seed in range(n))
    table = modes_table(fields, {"phases": legend}, 1.0)
    table["expected_pct"] = table["name"].map(leaves.expected) * 100
    return table


def rock_table(rock: Rock, n: int) -> pd.DataFrame:
    """As `leaves_table`; the expected mode is that of all sections together."""
    legends = {layer: default_legend(layer) for layer in ("phases", "components")}
    table = modes_table(rock.sections(n), legends, rock.pixel_um)
    area = table.groupby(["layer", "name"])["area_um2"].sum()
    expected = 100 * area / area.groupby("layer").transform("sum")
    table["expected_pct"] = [expected[key] for key in zip(table["layer"], table["name"], strict=True)]
    return table


def modes_table(fields: Iterable[Mapping[str, Labels]], legends: Mapping[str, Legend], pixel_um: float) -> pd.DataFrame:
    """Join the modal tables of all sections."""
    parts = []
    for number, layers in enumerate(fields):
        for layer, labels in layers.items():
            table = modes_of(labels, legends[layer], (pixel_um, pixel_um), n_boot=200, seed=number)
            parts.append(table.dropna(subset=["area_pct"]).assign(section=number))
    return pd.concat(parts, ignore_index=True)


def coverage(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return a row per class: expected mode, scatter of the estimates, share of intervals that held the mode.

    A section without a class has no interval of it: it counts as one that did not hold the mode.
    """
    held = (table["ci_low_pct"] <= table["expected_pct"]) & (table["expected_pct"] <= table["ci_high_pct"])
    table = table.assign(held=held, width=table["ci_high_pct"] - table["ci_low_pct"])
    groups = table.groupby(["layer", "name"], sort=False)
    found = groups.agg(
        expected_pct=("expected_pct", "first"),
        sd_of_estimates=("area_pct", "std"),
        median_width=("width", "median"),
        covered_pct=("held", "sum"),
    )
    found["covered_pct"] *= 100 / n
    found = found[found["expected_pct"] >= 100 * RAREST]
    return found.sort_values(["layer", "expected_pct"], ascending=[True, False]).reset_index()


def main() -> None:
    """Run all textures, or one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--sections", type=int, default=200)
    parser.add_argument("--only")
    given = parser.parse_args()
    tables = []
    for name, source in {**LEAVES, **ROCKS}.items():
        if given.only not in (None, name):
            continue
        table = (leaves_table if isinstance(source, Leaves) else rock_table)(source, given.sections)  # type: ignore[operator]
        tables.append(coverage(table, given.sections).assign(texture=name, n=given.sections))
        print(tables[-1].round(2).to_string(), flush=True)
        pd.concat(tables).to_csv(given.out, index=False, float_format="%.4g")
    print(np.round(pd.concat(tables).query("expected_pct >= 4.9")["covered_pct"].describe(), 1).to_string())


if __name__ == "__main__":
    main()
