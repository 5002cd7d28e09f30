"""How well images are labelled: accuracy, F1, confusion, areas under ROC curves, labels that look wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from meteoseg.metrics import expected_calibration_error

Shares = NDArray[np.float32]
Classes = NDArray[np.int64]


def confusion_matrix(truth: Classes, best: Classes, n_classes: int) -> NDArray[np.int64]:
    """Return the counts (K truth, K labelled).

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(truth * n_classes + best, minlength=n_classes**2).reshape(n_classes, n_classes)


def f1_scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return F1 (K,): harmonic mean of recall and precision; NaN for a class without truth.

    Examples
    --------
    >>> f1_scores(np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])).tolist()
    [0.75, 0.75, nan]
    """
    truth, labelled = confusion.sum(axis=1), confusion.sum(axis=0)
    f1 = 2 * np.diag(confusion) / np.maximum(truth + labelled, 1)
    return np.where(truth > 0, f1, np.nan)


def summary_scores(shares: Shares, truth: Classes, classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, macro F1, expected calibration error, and per class recall, precision and area under ROC.

    Recall is what particle physics calls efficiency, precision purity. Classes without truth count nowhere.

    Parameters
    ----------
    shares : (N, K) probabilities; truth : (N,).
    """
    best = shares.argmax(axis=1)
    confusion = confusion_matrix(truth, best, len(classes))
    top = np.clip(shares.max(axis=1).astype(np.float64), 0, 1)
    out = {
        "accuracy": float((best == truth).mean()),
        "macro_f1": float(np.nanmean(f1_scores(confusion))),
        "ece": float(expected_calibration_error(top, best == truth)),
    }
    for index, name in enumerate(classes):
        n_true, n_labelled = int(confusion[index].sum()), int(confusion[:, index].sum())
        if not n_true:
            continue
        out[f"recall.{name}"] = float(confusion[index, index] / n_true)
        out[f"precision.{name}"] = float(confusion[index, index] / n_labelled) if n_labelled else 0.0
        if n_true < len(truth):
            out[f"auc.{name}"] = area_under_roc(shares[:, index], truth == index)
    return out


def area_under_roc(values: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive has a higher value than a negative, ties half (Mann & Whitney 1947).

    Examples
    --------
    >>> area_under_roc(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]))
    0.75
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    ranks = rankdata(values)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def confusion_table(shares: Shares, truth: Classes, classes: Sequence[str]) -> pd.DataFrame:
    """Return the confusion matrix as a table: a row per true class, a column per label."""
    counts = confusion_matrix(truth, shares.argmax(axis=1), len(classes))
    table = pd.DataFrame(counts, columns=list(classes))
    table.insert(0, "truth", list(classes))
    return table


def suspect_labels(shares: Shares, given: Classes) -> NDArray[np.bool_]:
    """Mark labels that held-out predictions contradict: confident learning (Northcutt et al. 2021, arXiv:1911.00068).

    A label is suspect where another class, the most probable of those, reaches the mean probability that images given
    that class have of it.

    Parameters
    ----------
    shares : (N, K) probabilities of networks that did not see the image; given : (N,) its label.
    """
    n_classes = shares.shape[1]
    usual = np.full(n_classes, np.inf)
    for index in np.unique(given):
        usual[index] = float(shares[given == index, index].mean())
    reached = np.where(shares >= usual, shares, -1.0)
    likely = reached.argmax(axis=1)
    return np.asarray((reached.max(axis=1) >= 0) & (likely != given))
