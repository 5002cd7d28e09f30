"""Count how often `section_ci` of modes.csv holds the true mode of the section, for labels with known errors.

python experiments/mode_coverage/classification.py OUT.csv [--sections 200]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from fields import Labels, Leaves
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.estimation.doubt import doubt_interval

SHARES = (0.55, 0.25, 0.12, 0.05, 0.02, 0.01)
LEAVES = Leaves((150, 210), SHARES, 12.0)
CELL_PX = 4
RATES = (0.05, 0.2)
#: Share of its errors that the network owns up to.
OWNED = {"all": 1.0, "a third": 1 / 3}
_N = len(SHARES)
#: A bound that is the mapped share itself holds it, whatever the last digit.
_ROUNDING = 1e-9
NAMES = tuple(f"{100 * share:g} %" for share in SHARES)

Wrong = Callable[[Labels, float, np.random.Generator], Labels]


def others(rng: np.random.Generator, kind: int, n: int) -> NDArray[np.intp]:
    """Draw `n` classes other than `kind` by their shares."""
    chance = np.array(SHARES)
    chance[kind] = 0
    return rng.choice(_N, n, p=chance / chance.sum())


def single_pixels(truth: Labels, rate: float, rng: np.random.Generator) -> Labels:
    """Each pixel errs by itself."""
    mapped = truth.copy()
    for kind in range(_N):
        wrong = (truth == kind) & (rng.random(truth.shape) < rate)
        mapped[wrong] = others(rng, kind, int(wrong.sum()))
    return mapped


def whole_grains(truth: Labels, rate: float, rng: np.random.Generator) -> Labels:
    """Connected grains are taken for another class as a whole."""
    mapped = truth.copy()
    for kind in range(_N):
        parts, n = ndimage.label(truth == kind)
        becomes = np.where(rng.random(n) < rate, others(rng, kind, n), kind) if n else np.zeros(0)
        mapped[parts > 0] = becomes[parts[parts > 0] - 1]
    return mapped


def one_rate(truth: Labels, rate: float, rng: np.random.Generator) -> Labels:
    """A class errs at one rate all over a section, another in the next; to any class."""
    mapped = truth.copy()
    for kind in range(_N):
        wrong = (truth == kind) & (rng.random(truth.shape) < rng.beta(1, (1 - rate) / rate))
        mapped[wrong] = others(rng, kind, int(wrong.sum()))
    return mapped


def one_rate_to_one_class(truth: Labels, rate: float, rng: np.random.Generator) -> Labels:
    """As `one_rate`, and all that is wrong goes to one class."""
    mapped = truth.copy()
    for kind in range(_N):
        wrong = (truth == kind) & (rng.random(truth.shape) < rng.beta(1, (1 - rate) / rate))
        mapped[wrong] = others(rng, kind, 1)[0]
    return mapped


def one_way(truth: Labels, rate: float, rng: np.random.Generator) -> Labels:
    """Always the same confusions at the same rate: 25 for 12 %, 5 for 55 %, 55 for 25 %."""
    mapped = truth.copy()
    for kind, taken_for in ((1, 2), (3, 0), (0, 1)):
        mapped[(truth == kind) & (rng.random(truth.shape) < rate)] = taken_for
    return mapped


ERRORS: dict[str, Wrong] = {
    "single pixels": single_pixels,
    "whole grains": whole_grains,
    "one rate per class and section": one_rate,
    "the same, to one class": one_rate_to_one_class,
    "the same one-way confusions": one_way,
}


def cells(mapped: Labels) -> NDArray[np.int64]:
    """Return pixels by cell and class."""
    row, col = np.indices(mapped.shape) // CELL_PX
    shape = (int(row.max()) + 1, int(col.max()) + 1, _N)
    where = (row * shape[1] + col) * _N + mapped
    return np.bincount(where.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def coverage(truths: list[Labels], maps: list[Labels], owned: float) -> list[float]:
    """Return the share (%) of sections whose interval holds the true mode, by class; of those that have the class."""
    right, total = np.zeros(_N), np.zeros(_N)
    for truth, mapped in zip(truths, maps, strict=True):
        total += np.bincount(mapped.ravel(), minlength=_N)
        right += np.bincount(mapped[mapped == truth], minlength=_N)
    probability = {name: 1 - owned * (1 - u) for name, u in zip(NAMES, right / total, strict=True)}
    held = np.full((len(truths), _N), np.nan)
    for number, (truth, mapped) in enumerate(zip(truths, maps, strict=True)):
        counts = cells(mapped)
        there = np.flatnonzero(counts.sum(axis=(0, 1)))
        low, high = doubt_interval(
            counts[:, :, there], [NAMES[k] for k in there], probability, np.random.default_rng(number)
        )
        true_pct = 100 * np.bincount(truth.ravel(), minlength=_N)[there] / truth.size
        held[number, there] = (low <= true_pct + _ROUNDING) & (true_pct - _ROUNDING <= high)
    return [float(value) for value in 100 * np.nanmean(held, axis=0)]


def main() -> None:
    """Run all kinds of error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--sections", type=int, default=200)
    given = parser.parse_args()
    truths = [LEAVES.draw(seed) - 1 for seed in range(given.sections)]
    rows = []
    for name, make in ERRORS.items():
        for rate in RATES:
            rng = np.random.default_rng(1)
            maps = [make(truth, rate, rng) for truth in truths]
            for owner, owned in OWNED.items():
                rows.append((name, rate, owner, *coverage(truths, maps, owned)))
                print(*rows[-1][:3], *(round(value) for value in rows[-1][3:]), flush=True)
    table = pd.DataFrame(rows, columns=["errors", "rate", "owned", *NAMES])
    table.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
