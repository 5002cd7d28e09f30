"""What simple measurements of the images reach without a network: a random forest, a yardstick of how hard the set is.

python experiments/neutrino_particles/baseline.py runs/particles/train runs/particles/test
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from displays import FloatArray
from events import CLASSES
from scipy import ndimage
from scores import confusion, per_class, summary
from shards import Shard, load_shards
from sklearn.ensemble import RandomForestClassifier

from meteoseg.errors import MeteosegError


def features(image: FloatArray) -> list[float]:
    """Measure one image (3, rows, cols), plane by plane: pixels, charge, its quantiles, extents, straightness, pieces,
    and the charge in quarters along the main axis.
    """
    out: list[float] = []
    for plane in image:
        rows, cols = np.nonzero(plane)
        charge = plane[rows, cols].astype(float)
        if charge.size < 3:
            out += [float(charge.size), charge.sum(), *[0.0] * 16]
            continue
        points = np.stack([rows, cols], axis=1) - np.average(np.stack([rows, cols], axis=1), axis=0, weights=charge)
        widths, axes = np.linalg.eigh(np.cov(points.T, aweights=charge))
        along = points @ axes[:, 1]
        edges = np.quantile(along, [0.02, 0.25, 0.5, 0.75, 0.98])
        quarter = np.clip(np.searchsorted(edges[1:4], along), 0, 3)
        sums, counts = np.bincount(quarter, charge, 4), np.maximum(np.bincount(quarter, minlength=4), 1)
        labels, pieces = ndimage.label(plane > 0, structure=np.ones((3, 3)))
        largest = np.bincount(labels[rows, cols]).max() / charge.size
        out += [float(charge.size), charge.sum(), *np.quantile(charge, [0.1, 0.5, 0.9, 0.99]), charge.mean()]
        out += [np.ptp(rows), np.ptp(cols), *np.sqrt(np.maximum(widths, 0)), edges[4] - edges[0], pieces, largest]
        out += list(sums / counts)
    return out


def table_of(shards: list[Shard]) -> tuple[FloatArray, np.ndarray]:
    """Features and class numbers of all events."""
    rows = [features(shard.images.dense(number)) for shard in shards for number in range(len(shard))]
    return np.array(rows), np.array([CLASSES.index(label) for shard in shards for label in shard.labels])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    options = parser.parse_args()
    forest = RandomForestClassifier(300, min_samples_leaf=2, random_state=1)
    forest.fit(*table_of(load_shards(options.train)))
    values, truth = table_of(load_shards(options.test))
    shares = forest.predict_proba(values)
    counts = confusion(truth, shares.argmax(axis=1), len(CLASSES))
    print(pd.DataFrame(counts, index=pd.Index(CLASSES, name="true"), columns=CLASSES).to_string())
    print(per_class(counts, CLASSES).round(3).to_string())
    print(pd.Series(summary(truth, shares, CLASSES)).round(3).to_string())


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
