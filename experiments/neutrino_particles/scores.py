"""Scores of a classification: confusion, efficiency, purity, ROC, accuracy against energy, intervals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

FloatArray = np.ndarray

#: Classes that make electromagnetic showers; the others are tracks.
SHOWERS = ("electron", "photon")


def confusion(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count events by true class (rows) and predicted class (columns).

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(truth * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Efficiency (share of a true class that is found), purity (share of a predicted class that is true), F1."""
    right = np.diag(counts).astype(float)
    true, called = counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        table = {"efficiency": right / true, "purity": right / called, "f1": 2 * right / (true + called)}
    return pd.DataFrame({"events": true, **table}, index=pd.Index(classes, name="class"))


def roc(shares: FloatArray, positive: np.ndarray) -> tuple[FloatArray, FloatArray, float]:
    """Curve of one class against the others: false-positive rate, efficiency, and the area under it (ties count half).

    Examples
    --------
    >>> roc(np.array([0.9, 0.8, 0.3]), np.array([True, True, False]))[2]
    1.0
    """
    order = np.argsort(-shares, kind="stable")
    hits = positive[order]
    last = np.flatnonzero(np.diff(-shares[order], append=np.inf))
    found = np.concatenate([[0], np.cumsum(hits)[last]]) / max(hits.sum(), 1)
    false = np.concatenate([[0], np.cumsum(~hits)[last]]) / max((~hits).sum(), 1)
    return false, found, float(np.trapezoid(found, false))


def by_energy(right: np.ndarray, kinetic_mev: FloatArray, labels: np.ndarray, edges: Sequence[float]) -> pd.DataFrame:
    """Accuracy in bins of kinetic energy, for each class and for all; bins without events are left out."""
    rows = []
    for name in ["all", *sorted(set(labels))]:
        of_class = np.ones(right.size, bool) if name == "all" else labels == name
        for low, high in itertools.pairwise(edges):
            inside = of_class & (kinetic_mev >= low) & (kinetic_mev < high)
            if inside.any():
                low_ci, high_ci = wilson(int(right[inside].sum()), int(inside.sum()))
                rows.append((name, low, high, int(inside.sum()), float(right[inside].mean()), low_ci, high_ci))
    return pd.DataFrame(rows, columns=["class", "low_mev", "high_mev", "events", "accuracy", "ci_low", "ci_high"])


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson 1927), 95 %.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    share = successes / n
    middle = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float((middle - half) / (1 + z**2 / n)), float((middle + half) / (1 + z**2 / n))


def summary(truth: np.ndarray, shares: FloatArray, classes: Sequence[str]) -> dict[str, float]:
    """Accuracy with its interval, macro F1, showers against tracks, electrons against photons, areas under ROC."""
    predicted = shares.argmax(axis=1)
    counts = confusion(truth, predicted, len(classes))
    shower = np.isin(classes, SHOWERS)
    low, high = wilson(int(np.trace(counts)), int(counts.sum()))
    shower_called = shares[:, shower].sum(axis=1) > 0.5
    out = {
        "accuracy": float(np.trace(counts) / counts.sum()), "accuracy_low": low, "accuracy_high": high,
        "macro_f1": float(per_class(counts, classes)["f1"].mean()),
        "shower_or_track": float((shower_called == shower[truth]).mean()),
    }  # fmt: skip
    if set(SHOWERS) <= set(classes):
        first, second = (list(classes).index(name) for name in SHOWERS)
        either = (truth == first) | (truth == second)
        called = shares[either, first] > shares[either, second]
        out["electron_or_photon"] = float((called == (truth[either] == first)).mean())
    for number, name in enumerate(classes):
        out[f"roc_area_{name}"] = roc(shares[:, number], truth == number)[2]
    return out
