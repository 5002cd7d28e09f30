"""Set simulated events beside the 20 public ones: same particle, energy, direction and vertex, many times over.

    METEOSEG_DATA=... python experiments/neutrino_particles/compare.py [--repeats 200] [--out comparison.csv]

For each real event: lit pixels, summed charge and length of the charge, and where they lie among the simulated ones
(percentile); then quantiles of the charge per pixel. The simulation stops at the walls of the real chamber.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from events import Primaries, class_number, deposits_of
from kinematics import unit
from larcv import LArCVEvents, read_larcv, sparse
from particles import Deposits
from readout import Axes, SparseImages

from meteoseg.errors import InputError, MeteosegError

FloatArray = np.ndarray

#: Active volume of the chamber of the public events (MicroBooNE), cm: x, y, z.
WALLS_CM = np.array([[0.0, 256.35], [-116.5, 116.5], [0.0, 1036.8]])
#: Pixels above this count for the length (units of the public files): most Compton electrons are below.
LENGTH_FROM = 50.0
QUANTILES = (5, 25, 50, 75, 95)


def measures(images: SparseImages) -> pd.DataFrame:
    """Lit pixels (all planes), summed charge (mean of planes) and length (cm) of each event."""
    rows = []
    for number in range(len(images.offsets) - 1):
        image = images.dense(number)
        high = image > LENGTH_FROM
        spans = [np.ptp(np.flatnonzero(line)) for line in _profiles(high) if line.any()]
        length = float(np.sqrt(np.sum(np.square(spans)))) * Axes.voxel_cm
        rows.append({"pixels": int((image > 0).sum()), "charge": float(image.sum()) / 3, "length_cm": length})
    return pd.DataFrame(rows)


def _profiles(high: np.ndarray) -> list[np.ndarray]:
    """Where there is charge along x, y and z."""
    return [high[0].any(axis=0), high[0].any(axis=1), high[1].any(axis=1)]


def twins(real: LArCVEvents, repeats: int, seed: int) -> SparseImages:
    """Simulate each real event `repeats` times; event i of repeat r is number r n + i."""
    n = len(real.images)
    labels = np.tile([class_number(name) for name in real.labels()], repeats)
    kinetic = np.tile(real.kinetic_mev(), repeats)
    direction = np.tile(unit(real.momentum_mev), (repeats, 1))
    rng = np.random.default_rng(seed)
    deposits = deposits_of(Primaries(labels, kinetic, direction), rng)
    place = deposits.place + real.vertex_cm[deposits.event % n]
    inside = ((place > WALLS_CM[:, 0]) & (place < WALLS_CM[:, 1])).all(axis=1)
    kept = Deposits(*(getattr(deposits, name)[inside] for name in ("event", "place", "energy", "loss", "delay_us")))
    return Axes().images(kept, n * repeats, rng)


def compare(real: LArCVEvents, name: str, repeats: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table of events, and quantiles of the charge per pixel."""
    simulated = twins(real, repeats, seed=1)
    ours = measures(simulated).to_numpy().reshape(repeats, len(real.images), 3)
    theirs = measures(sparse(real.images))
    table = pd.DataFrame({"class": real.labels(), "kinetic_mev": real.kinetic_mev().round(0)})
    for column, what in enumerate(theirs):
        value = theirs[what].to_numpy()
        table[what] = value.round(1)
        table[f"{what}_simulated"] = np.median(ours[:, :, column], axis=0).round(1)
        below = (ours[:, :, column] < value).mean(axis=0) + (ours[:, :, column] == value).mean(axis=0) / 2
        table[f"{what}_percentile"] = (100 * below).round(0)
    lit = real.images[real.images > 0]
    quantiles = pd.DataFrame(
        {
            f"{name} real": np.percentile(lit, QUANTILES),
            f"{name} simulated": np.percentile(simulated.values, QUANTILES),
        },
        index=pd.Index(QUANTILES, name="percentile of pixels"),
    )
    return table, quantiles.round(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=Path, help="CSV of the events")
    options = parser.parse_args()
    folder = os.environ.get("METEOSEG_DATA")
    if not folder:
        raise InputError("METEOSEG_DATA does not name the folder of public data. Set it.")
    tables, pixels = [], []
    for name in ("electron", "proton"):
        real = next(read_larcv(Path(folder) / "larcv" / f"{name}.root"))
        print(f"{name}: vertex to charge at most {real.vertex_to_charge_px().max():.1f} px")
        table, quantiles = compare(real, name, options.repeats)
        tables.append(table)
        pixels.append(quantiles)
    events = pd.concat(tables, ignore_index=True)
    print(events.to_string(index=False), pd.concat(pixels, axis=1).to_string(), sep="\n\n")
    for what in ("pixels", "charge", "length_cm"):
        inside = events[f"{what}_percentile"].between(5, 95).sum()
        print(f"{what}: {inside} of {len(events)} real events between the 5th and 95th percentile of the simulated")
    if options.out:
        events.to_csv(options.out, index=False)


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
