"""Calibrate the probabilities of a model on held-out example folders and write it with its new card.

    python experiments/shipped_model/calibrate_model.py chondrite -o chondrite.safetensors \
        --components "runs/sections/coarse/002[23]*" --phases "runs/sections/fine/053[01]*"

Prints, for each layer and set of channels, the temperature, the threshold of ``unclassified``, the expected
calibration error without and with the temperature, and the shares of right and wrong pixels under the threshold.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import pandas as pd

from meteoseg.labels.certainty import Calibration
from meteoseg.models import read_card
from meteoseg.train.calibrate import MAX_WINDOWS, calibrate_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--components", nargs="+", metavar="GLOB")
    parser.add_argument("--phases", nargs="+", metavar="GLOB")
    parser.add_argument("--max-windows", type=int, default=MAX_WINDOWS)
    options = parser.parse_args()
    examples = {layer: getattr(options, layer) for layer in ("components", "phases") if getattr(options, layer)}
    card = read_card(calibrate_model(options.model, examples, options.out, max_windows=options.max_windows))
    for network in card.networks:
        columns = [entry.name for entry in fields(Calibration)]
        table = pd.DataFrame([[getattr(entry, name) for name in columns] for entry in network.calibration])
        if not table.empty:
            table[1] = table[1].str.join(" ")
            print(f"{network.name}\n{table.set_axis(columns, axis=1).to_string(index=False)}")
    scores = {key: value for key, value in card.scores.items() if "_ece" in key or "_unclassified" in key}
    print(pd.Series(scores).to_string())


if __name__ == "__main__":
    main()
