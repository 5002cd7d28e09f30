"""Scores of a segmentation against a truth: pixels, objects, calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.errors import InputError, ShapeMismatchError

LabelArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int64]

#: Label of pixels without truth.
UNLABELLED = 255
#: Truth objects under this area (pixels) are ignored.
MIN_AREA_PX = 15

_BAND_PX = 1 << 23


def confusion(
    pred: LabelArray,
    truth: LabelArray,
    n_classes: int,
    *,
    ignore: int | None = None,
    where: BoolArray | None = None,
) -> CountArray:
    """Count pixels by (truth, prediction): int64 (n_classes, n_classes), rows are the truth.

    Parameters
    ----------
    pred, truth : integers of one shape, 0 to n_classes - 1.
    ignore : truth label that is left out.
    where : pixels that count; all by default.

    Raises
    ------
    ShapeMismatchError : arrays of different shapes.
    InputError : a label outside 0 to n_classes - 1.

    Examples
    --------
    >>> confusion(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 255]), 2, ignore=255).tolist()
    [[1, 1], [0, 1]]
    """
    check_shapes(pred, truth)
    counts = np.zeros(n_classes**2, np.int64)
    step = max(1, _BAND_PX * len(truth) // max(1, truth.size))
    for row0 in range(0, len(truth), step):
        rows = slice(row0, row0 + step)
        chosen = np.ones(truth[rows].shape, bool) if where is None else where[rows]
        if ignore is not None:
            chosen = chosen & (truth[rows] != ignore)
        pred_part, truth_part = (labels[rows][chosen].astype(np.int64) for labels in (pred, truth))
        for what, labels in (("prediction", pred_part), ("truth", truth_part)):
            if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
                raise InputError(
                    f"The {what} has labels {labels.min()} to {labels.max()}; 0 to {n_classes - 1} are allowed: "
                    "use the ids of legend.csv."
                )
        counts += np.bincount(truth_part * n_classes + pred_part, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def iou(matrix: CountArray) -> FloatArray:
    """Return the intersection over union of each class of a confusion matrix; NaN for absent classes.

    Examples
    --------
    >>> iou(np.array([[3, 1], [0, 4]])).tolist()
    [0.75, 0.8]
    """
    hits = np.diag(matrix).astype(float)
    return ratio(hits, matrix.sum(axis=0) + matrix.sum(axis=1) - hits)


def dice(matrix: CountArray) -> FloatArray:
    """Return the Dice coefficient (F1 of pixels) of each class of a confusion matrix; NaN for absent classes.

    Examples
    --------
    >>> dice(np.array([[3, 1], [0, 4]])).round(3).tolist()
    [0.857, 0.889]
    """
    return ratio(2.0 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def boundary_band(labels: LabelArray, width_px: int = 1, *, ignore: int | None = None) -> BoolArray:
    """Mark pixels within `width_px` (rows or columns, diagonals too) of another label, on both sides.

    Parameters
    ----------
    ignore : label that is none (`UNLABELLED`): it makes no boundary and is not marked.

    Examples
    --------
    >>> boundary_band(np.array([[1, 1, 1, 2, 2, 2]])).tolist()
    [[False, False, True, True, False, False]]
    >>> boundary_band(np.array([[255, 1, 1, 2, 2, 255]]), ignore=255).tolist()
    [[False, False, True, True, False, False]]
    """
    if width_px < 1:
        return np.zeros(labels.shape, bool)
    known = labels != ignore if ignore is not None else np.ones(labels.shape, bool)
    if not known.any():
        return np.zeros(labels.shape, bool)
    size = 2 * width_px + 1
    # What is ignored never is the highest nor the lowest of several labels.
    lowest, highest = (limit(labels[known]) for limit in (np.min, np.max))
    top = ndimage.maximum_filter(np.where(known, labels, lowest), size, mode="nearest")
    return np.asarray(known & (top != ndimage.minimum_filter(np.where(known, labels, highest), size, mode="nearest")))


@dataclass(frozen=True)
class ObjectMatch:
    """Objects of a prediction matched one to one with those of a truth.

    `pairs` has the columns truth_id, pred_id, iou; the other fields list the ids that were not matched and
    those left out (ignored truth objects, predictions that lie mostly on them). `overlaps` (truth_id, pred_id,
    iou) holds every pair of objects that share a pixel.
    """

    pairs: pd.DataFrame
    missed_truth_ids: tuple[int, ...]
    false_pred_ids: tuple[int, ...]
    ignored_truth_ids: tuple[int, ...]
    ignored_pred_ids: tuple[int, ...]
    overlaps: pd.DataFrame

    @property
    def n_matched(self) -> int:
        """True positives."""
        return len(self.pairs)

    @property
    def precision(self) -> float:
        """Matched share of the predicted objects; NaN without any."""
        return share(self.n_matched, self.n_matched + len(self.false_pred_ids))

    @property
    def recall(self) -> float:
        """Matched share of the truth objects; NaN without any."""
        return share(self.n_matched, self.n_matched + len(self.missed_truth_ids))

    @property
    def f1(self) -> float:
        """TP / (TP + FP / 2 + FN / 2), the recognition quality; NaN without any object."""
        return share(self.n_matched, self.n_matched + (len(self.false_pred_ids) + len(self.missed_truth_ids)) / 2)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the matched pairs, the segmentation quality; NaN without any."""
        return float(self.pairs["iou"].mean()) if self.n_matched else float("nan")

    @property
    def pq(self) -> float:
        """Panoptic quality, sum of IoU / (TP + FP / 2 + FN / 2) (Kirillov et al. 2019, arXiv 1801.00868)."""
        return self.f1 * self.mean_iou if self.n_matched else self.f1


def match_objects(
    pred: LabelArray,
    truth: LabelArray,
    *,
    iou_threshold: float = 0.5,
    ignore_truth_ids: Iterable[int] = (),
    min_area_px: int = MIN_AREA_PX,
) -> ObjectMatch:
    """Match objects of IoU above a threshold, one to one, the best pairs first.

    Above 0.5 a pair is unique; below, the order of IoU decides (ties: lower ids). Truth objects that are
    named in `ignore_truth_ids` or have less than `min_area_px` pixels count neither way, nor does an
    unmatched prediction with more than half of its area on such objects.

    Parameters
    ----------
    pred, truth : (H, W) integers >= 0 of one shape, 0 is background.

    Raises
    ------
    ShapeMismatchError : arrays of different shapes.
    InputError : negative ids.

    Examples
    --------
    >>> truth = np.repeat(np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]]), 5, axis=0)
    >>> match = match_objects(np.where(truth == 1, 7, 0), truth)
    >>> match.n_matched, match.recall, match.precision, round(match.f1, 3)
    (1, 0.5, 1.0, 0.667)
    """
    overlap = _overlaps(pred, truth)
    truth_px = overlap.groupby("truth")["n_px"].sum().drop(0, errors="ignore")
    pred_px = overlap.groupby("pred")["n_px"].sum().drop(0, errors="ignore")
    ignored = set(truth_px.index[truth_px < min_area_px]) | (set(ignore_truth_ids) & set(truth_px.index))
    both = overlap[(overlap["truth"] > 0) & (overlap["pred"] > 0)]
    union_px = both["truth"].map(truth_px) + both["pred"].map(pred_px) - both["n_px"]
    both = both.assign(iou=both["n_px"] / union_px)
    valid = both[~both["truth"].isin(ignored)]
    pairs = _one_to_one(valid[valid["iou"] > iou_threshold])
    on_ignored_px = both[both["truth"].isin(ignored)].groupby("pred")["n_px"].sum()
    is_ignored = on_ignored_px.reindex(pred_px.index, fill_value=0) > pred_px / 2
    found, used = set(pairs["truth_id"]), set(pairs["pred_id"])
    unmatched = [int(i) for i in pred_px.index if i not in used]
    return ObjectMatch(
        pairs=pairs,
        missed_truth_ids=tuple(int(i) for i in truth_px.index if i not in found and i not in ignored),
        false_pred_ids=tuple(i for i in unmatched if not is_ignored[i]),
        ignored_truth_ids=tuple(sorted(int(i) for i in ignored)),
        ignored_pred_ids=tuple(i for i in unmatched if is_ignored[i]),
        overlaps=both.rename(columns={"truth": "truth_id", "pred": "pred_id"})[["truth_id", "pred_id", "iou"]],
    )


def _overlaps(pred: LabelArray, truth: LabelArray) -> pd.DataFrame:
    """Count pixels of every (truth, pred) pair that occurs but (0, 0): a sparse contingency table."""
    check_shapes(pred, truth)
    step = max(1, _BAND_PX // max(1, truth.shape[-1]))
    parts = []
    for row0 in range(0, truth.shape[0], step):
        band = [np.asarray(labels[row0 : row0 + step]).astype(np.int64) for labels in (truth, pred)]
        for what, labels in zip(("truth", "prediction"), band, strict=True):
            if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 1 << 31:
                raise InputError(f"The {what} has ids outside 0 to 2147483647: renumber its objects from 1.")
        keys, n_px = np.unique((band[0] << 31) | band[1], return_counts=True)
        parts.append(pd.DataFrame({"truth": keys >> 31, "pred": keys & ((1 << 31) - 1), "n_px": n_px}))
    whole = pd.concat(parts).groupby(["truth", "pred"], as_index=False)["n_px"].sum()
    return pd.DataFrame(whole[(whole["truth"] > 0) | (whole["pred"] > 0)])


def _one_to_one(candidates: pd.DataFrame) -> pd.DataFrame:
    """Keep the best pair of every object, the highest IoU first."""
    ranked = candidates.sort_values(["iou", "truth", "pred"], ascending=[False, True, True])
    truth_seen: set[int] = set()
    pred_seen: set[int] = set()
    kept: list[tuple[int, int, float]] = []
    for truth_id, pred_id, value in zip(ranked["truth"], ranked["pred"], ranked["iou"], strict=True):
        if truth_id not in truth_seen and pred_id not in pred_seen:
            truth_seen.add(truth_id)
            pred_seen.add(pred_id)
            kept.append((int(truth_id), int(pred_id), float(value)))
    return pd.DataFrame(sorted(kept), columns=["truth_id", "pred_id", "iou"])


def expected_calibration_error(confidence: FloatArray, is_correct: BoolArray, *, n_bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equal bins, weighted by pixels (0 to 1).

    Guo et al. (2017, arXiv 1706.04599).

    Parameters
    ----------
    confidence : probability (0-1) of the predicted class, any shape.
    is_correct : the prediction is right, same shape.

    Raises
    ------
    ShapeMismatchError : arrays of different shapes.
    InputError : no pixel, or probabilities outside 0-1.

    Examples
    --------
    >>> round(expected_calibration_error(np.full(10, 0.9), np.arange(10) < 7), 3)
    0.2
    """
    check_shapes(confidence, is_correct)
    values = np.asarray(confidence, float).ravel()
    if values.size == 0 or not (np.min(values) >= 0 and np.max(values) <= 1):
        raise InputError("Confidences must be probabilities between 0 and 1, at least one: check the input.")
    bins = np.minimum((values * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, weights=values - is_correct.ravel().astype(float), minlength=n_bins)
    return float(np.abs(gap).sum() / values.size)


def check_shapes(pred: NDArray[Any], truth: NDArray[Any]) -> None:
    """Refuse a prediction and a truth of different shapes.

    Raises
    ------
    ShapeMismatchError : they differ.
    """
    if pred.shape != truth.shape:
        raise ShapeMismatchError(
            f"The prediction is {_size(pred.shape)} (rows x cols) but the truth is {_size(truth.shape)}: "
            "give both on one grid."
        )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> FloatArray:
    """Divide arrays (K,) and give NaN where the whole is 0.

    Examples
    --------
    >>> ratio(np.array([1.0, 0.0]), np.array([4, 0])).tolist()
    [0.25, nan]
    """
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def share(part: float, whole: float) -> float:
    """Return part / whole, NaN where the whole is 0."""
    return part / whole if whole else float("nan")
