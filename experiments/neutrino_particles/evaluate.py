"""Score trained networks on held-out events, and draw the confusion matrix, ROC and accuracy against energy.

    python experiments/neutrino_particles/evaluate.py runs/particles/test runs/wires-early [runs/wires-late ...] -o OUT

Each run is a folder that `meteoseg train` wrote. OUT gets scores.csv (a row per run), and for each run its
confusion.csv, per_class.csv, by_energy.csv, scores.png and displays.png (events with their predicted labels).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from displays import draw
from scores import by_energy, confusion, per_class, roc, summary
from shards import Shard, load_shards

from meteoseg.errors import InputError, MeteosegError

mpl.use("Agg")
import matplotlib.pyplot as plt

FloatArray = np.ndarray

ENERGY_EDGES = (0.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 1000.0)


def shares_of(run: Path, events: Path) -> tuple[FloatArray, tuple[str, ...]]:
    """Probabilities (N, K) that a trained network gives to the events of a data set, and its classes."""
    from meteoseg.patches import load_patch_model, read_patch_set

    model, patches = load_patch_model(run), read_patch_set(events)
    start = time.perf_counter()
    shares = model.probabilities(patches)
    print(f"{run.name}: {len(patches) / (time.perf_counter() - start):.0f} events per second", flush=True)
    return np.asarray(shares), tuple(model.card.classes)


def truths(shards: list[Shard], classes: tuple[str, ...]) -> np.ndarray:
    """Class numbers of the events.

    Raises
    ------
    InputError : an event has no label, or one that the network does not know.
    """
    labels = [label for shard in shards for label in shard.labels]
    strange = sorted(set(labels) - set(classes))
    if strange:
        names = ", ".join(name or "(no label)" for name in strange)
        raise InputError(
            f"The events hold classes that the network was not trained on: {names}. It knows: {', '.join(classes)}."
        )
    return np.array([classes.index(label) for label in labels])


def evaluate(run: Path, events: Path, out: Path) -> dict[str, float | str]:
    """Write the tables and pictures of one run and return its row of scores."""
    shards = load_shards(events)
    shares, classes = shares_of(run, events)
    truth = truths(shards, classes)
    out.mkdir(parents=True, exist_ok=True)
    predicted = shares.argmax(axis=1)
    counts = confusion(truth, predicted, len(classes))
    pd.DataFrame(counts, index=pd.Index(classes, name="true"), columns=classes).to_csv(out / "confusion.csv")
    per_class(counts, classes).round(4).to_csv(out / "per_class.csv")
    energy = np.concatenate([shard.kinetic_mev for shard in shards])
    accuracy = by_energy(predicted == truth, energy, np.array(classes)[truth], ENERGY_EDGES)
    accuracy.round(4).to_csv(out / "by_energy.csv", index=False)
    picture(counts, accuracy, shares, truth, classes).savefig(out / "scores.png", dpi=110)
    titles = [
        f"{classes[t]}: {classes[p]} {shares[i, p]:.2f}" for i, (t, p) in enumerate(zip(truth, predicted, strict=True))
    ]
    draw(_shown(shards, titles, truth, predicted), list(shards[0].channels), 4).savefig(out / "displays.png", dpi=90)
    return {"run": run.name, "events": truth.size, **summary(truth, shares, classes)}


def _shown(
    shards: list[Shard], titles: list[str], truth: np.ndarray, predicted: np.ndarray
) -> list[tuple[str, FloatArray]]:
    """Two right and two wrong events of each class, the first that come."""
    images = [(shard, number) for shard in shards for number in range(len(shard))]
    chosen: list[int] = []
    for label in np.unique(truth):
        for right in (True, False):
            chosen += list(np.flatnonzero((truth == label) & ((predicted == truth) == right))[:2])
    return [(titles[i], images[i][0].images.dense(images[i][1])) for i in chosen]


def picture(
    counts: np.ndarray, accuracy: pd.DataFrame, shares: FloatArray, truth: np.ndarray, classes: tuple[str, ...]
) -> plt.Figure:
    """Draw the confusion matrix, the ROC curves and the accuracy against energy."""
    figure, (matrix, curves, energies) = plt.subplots(1, 3, figsize=(15, 4.6))
    part = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    matrix.imshow(part, cmap="Blues", vmin=0, vmax=1)
    for row, col in np.ndindex(part.shape):
        color = "white" if part[row, col] > 0.6 else "black"
        matrix.text(col, row, f"{part[row, col]:.2f}", ha="center", va="center", color=color)
    matrix.set_xticks(range(len(classes)), classes, rotation=30)
    matrix.set_yticks(range(len(classes)), classes)
    matrix.set(xlabel="predicted", ylabel="true", title="share of each true class")
    for number, name in enumerate(classes):
        false, found, area = roc(shares[:, number], truth == number)
        curves.plot(false, found, label=f"{name}, area {area:.3f}")
    curves.set(xlabel="other classes kept", ylabel="efficiency", title="ROC, one class against the others")
    curves.legend(loc="lower right")
    for name, rows in accuracy.groupby("class"):
        middle = (rows["low_mev"] + rows["high_mev"]) / 2
        style = {"color": "black", "linewidth": 2.0} if name == "all" else {}
        energies.plot(middle, rows["accuracy"], marker="o", label=name, **style)
    energies.set(xlabel="kinetic energy (MeV)", ylabel="accuracy", ylim=(0, 1.02), title="accuracy against energy")
    energies.legend(loc="lower right")
    figure.tight_layout()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path, help="folder of labelled shards")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    table = pd.DataFrame([evaluate(run, options.events, options.out / run.name) for run in options.runs])
    table.round(4).to_csv(options.out / "scores.csv", index=False)
    print(table.round(3).T.to_string(header=False))


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
