"""Tables of scores: a segmentation against a truth, pixel by pixel and object by object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from meteoseg.errors import InputError
from meteoseg.legend import HOLE, OUTSIDE, UNCLASSIFIED, Legend, default_legend
from meteoseg.metrics import (
    MIN_AREA_PX,
    UNLABELLED,
    BoolArray,
    CountArray,
    FloatArray,
    LabelArray,
    ObjectMatch,
    boundary_band,
    check_shapes,
    confusion,
    dice,
    expected_calibration_error,
    iou,
    match_objects,
    ratio,
    share,
)

#: Name under which scores over all classes are listed.
ALL = "all"
#: Components that count as matrix between objects.
MATRIX_COMPONENTS = ("matrix", "rim")
_COLUMNS = ["class", "metric", "value"]


@dataclass(frozen=True)
class Rules:
    """What counts in a score.

    Parameters
    ----------
    boundary_px : width of the band along truth boundaries that pixel scores leave out; 0 for none.
    inside : (H, W), False where pixels do not count (outside of the section); None: all count.
    min_area_pct : classes with less of the labelled truth take no part in the mean IoU.
    merge : groups of classes that are scored as one (inseparable phases).
    ignore_truth_ids : objects that count neither way.
    iou_threshold : objects match above it.
    """

    boundary_px: int = 1
    inside: BoolArray | None = None
    min_area_pct: float = 0.0
    merge: Sequence[Sequence[str]] = ()
    ignore_truth_ids: Iterable[int] = ()
    iou_threshold: float = 0.5
    min_area_px: int = MIN_AREA_PX

    def where(self, truth: LabelArray) -> BoolArray:
        """Return the pixels (H, W) that count before the boundaries are left out."""
        if self.inside is None:
            return np.ones(truth.shape, bool)
        check_shapes(self.inside, truth)
        return self.inside


def matrix_of(components: LabelArray) -> BoolArray:
    """Return where components (H, W) of the shipped legend are matrix or fine-grained rim.

    Examples
    --------
    >>> legend = default_legend("components")
    >>> matrix_of(np.array([[legend[name].id for name in ("outside", "chondrule", "rim", "matrix")]])).tolist()
    [[False, False, True, True]]
    """
    legend = default_legend("components")
    return np.isin(components, [legend[name].id for name in MATRIX_COMPONENTS])


def evaluate_phases(
    pred: LabelArray,
    truth: LabelArray,
    *,
    legend: Legend | None = None,
    rules: Rules | None = None,
    probability: FloatArray | None = None,
) -> pd.DataFrame:
    """Score a phase map; pixels whose truth is ``outside`` or unlabelled (255) are left out.

    Parameters
    ----------
    pred, truth : (H, W) ids of `legend` (the shipped one by default).
    probability : (H, W) of the predicted phase, 0-1, for the expected calibration error.

    Returns
    -------
    Tidy table class, metric, value. Per class that occurs: iou, dice, precision, recall (fractions),
    area_pct_truth, area_pct_pred, modal_error_pct (without band, ``hole`` left out). Class ``all``: accuracy,
    mean_iou (over the classes of the truth, `Rules.min_area_pct` and more of it), n_classes (of that mean),
    mean_modal_error_pct, n_px (scored), and expected_calibration_error of classified pixels.

    Raises
    ------
    ShapeMismatchError : arrays of different shapes.
    InputError : labels outside the legend, no pixel to score, or a class in two groups to merge.
    UnknownNameError : a class to merge that the legend lacks.
    """
    legend = legend or default_legend("phases")
    rules = rules or Rules()
    check_shapes(pred, truth)
    where = rules.where(truth) & (truth != legend[OUTSIDE].id)
    return _evaluate_layer(pred, truth, legend, where=where, rules=rules, probability=probability)


def evaluate_components(
    pred: LabelArray,
    truth: LabelArray,
    *,
    legend: Legend | None = None,
    rules: Rules | None = None,
    probability: FloatArray | None = None,
) -> pd.DataFrame:
    """Score a component map; ``outside`` is a class of its own, unlabelled pixels (255) are left out.

    The table is that of `evaluate_phases`; ``dice`` of class ``chondrule`` is that of chondrules against the
    rest.
    """
    legend = legend or default_legend("components")
    rules = rules or Rules()
    check_shapes(pred, truth)
    return _evaluate_layer(pred, truth, legend, where=rules.where(truth), rules=rules, probability=probability)


def _evaluate_layer(
    pred: LabelArray,
    truth: LabelArray,
    legend: Legend,
    *,
    where: BoolArray,
    rules: Rules,
    probability: FloatArray | None,
) -> pd.DataFrame:
    n_classes = max(legend.ids) + 1
    pred, truth, names = _merged(pred, truth, legend, rules.merge)
    matrix_all = confusion(pred, truth, n_classes, ignore=UNLABELLED, where=where)
    inner = where & ~boundary_band(truth, rules.boundary_px, ignore=UNLABELLED)
    matrix = confusion(pred, truth, n_classes, ignore=UNLABELLED, where=inner)
    _check_any(int(matrix_all.sum()), int(matrix.sum()), rules)
    in_modes = np.array([i in legend.ids and legend.name_of(i) not in (OUTSIDE, HOLE) for i in range(n_classes)])
    scores = _class_scores(matrix, matrix_all, in_modes)
    rows: list[tuple[str, str, float]] = []
    occurs = (matrix_all.sum(axis=0) + matrix_all.sum(axis=1)) > 0
    for label_id in np.flatnonzero(occurs):
        rows += [(names[int(label_id)], metric, float(values[label_id])) for metric, values in scores.items()]
    truth_px = matrix_all.sum(axis=1)
    averaged = (matrix.sum(axis=1) > 0) & (100 * truth_px >= rules.min_area_pct * truth_px.sum())
    rows += [
        (ALL, "accuracy", share(int(np.trace(matrix)), int(matrix.sum()))),
        (ALL, "mean_iou", _mean(scores["iou"][averaged])),
        (ALL, "n_classes", float(np.count_nonzero(averaged))),
        (ALL, "mean_modal_error_pct", _mean(np.abs(scores["modal_error_pct"])[occurs & in_modes])),
        (ALL, "n_px", float(matrix.sum())),
    ]
    if probability is not None:
        judged = inner & (truth != UNLABELLED) & (pred != _unclassified_id(legend))
        is_right = pred[judged] == truth[judged]
        error = expected_calibration_error(probability[judged], is_right) if is_right.size else float("nan")
        rows.append((ALL, "expected_calibration_error", error))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _check_any(n_labelled: int, n_inner: int, rules: Rules) -> None:
    """Refuse a comparison without a single pixel."""
    if not n_labelled:
        raise InputError(
            "No pixel is left to score: all of the truth is unlabelled (255) or outside of the section. "
            "Check the truth and the mask."
        )
    if not n_inner:
        raise InputError(
            f"No pixel is left to score: all {n_labelled} labelled pixels lie within {rules.boundary_px} px of another "
            "label. Give --boundary-px 0."
        )


def _unclassified_id(legend: Legend) -> int:
    return legend[UNCLASSIFIED].id if UNCLASSIFIED in legend.names else UNLABELLED


def _merged(
    pred: LabelArray, truth: LabelArray, legend: Legend, merge: Sequence[Sequence[str]]
) -> tuple[LabelArray, LabelArray, dict[int, str]]:
    """Give the classes of each group the id of its first; return the maps and the names by id."""
    names = {label_id: legend.name_of(label_id) for label_id in legend.ids}
    seen: set[int] = set()
    for group in merge:
        ids = [legend[name].id for name in group]
        if len(set(ids)) < 2:
            raise InputError(f"Only one class to merge in '{','.join(group)}': write --merge \"kamacite,taenite\".")
        twice = next((name for place, name in enumerate(group) if legend[name].id in seen | set(ids[:place])), None)
        if twice is not None:
            raise InputError(f"--merge names '{twice}' twice: write all that are one as a single group, --merge A,B,C.")
        seen |= set(ids)
        names[ids[0]] = " + ".join(group)
        pred, truth = (np.where(np.isin(labels, ids), np.asarray(ids[0], labels.dtype), labels)
                       for labels in (pred, truth))  # fmt: skip
    return pred, truth, names


def _class_scores(matrix: CountArray, matrix_all: CountArray, in_modes: BoolArray) -> dict[str, FloatArray]:
    """Return the scores of each class (K,): of `matrix` those of pixels, of `matrix_all` the modes."""
    truth_pct, pred_pct = (_percent(matrix_all.sum(axis=axis) * in_modes) for axis in (1, 0))
    hits = np.diag(matrix).astype(float)
    return {
        "iou": iou(matrix),
        "dice": dice(matrix),
        "precision": ratio(hits, matrix.sum(axis=0)),
        "recall": ratio(hits, matrix.sum(axis=1)),
        "area_pct_truth": np.where(in_modes, truth_pct, np.nan),
        "area_pct_pred": np.where(in_modes, pred_pct, np.nan),
        "modal_error_pct": np.where(in_modes, pred_pct - truth_pct, np.nan),
    }


def evaluate_objects(
    pred: LabelArray,
    truth: LabelArray,
    *,
    rules: Rules | None = None,
    matrix: BoolArray | None = None,
    true_matrix: BoolArray | None = None,
) -> tuple[pd.DataFrame, ObjectMatch]:
    """Score a map of object ids: matching as in `match_objects`, Dice of objects, IoU of the matrix between them.

    Pixel scores leave out the objects named in `Rules.ignore_truth_ids` and, `Rules.boundary_px` wide, the band
    along truth outlines; objects too small to be matched are objects in them all the same.

    Parameters
    ----------
    pred, truth : (H, W) object ids, 0 is no object.
    matrix, true_matrix : (H, W) predicted and true matrix; by default every pixel in no object.

    Returns
    -------
    Tidy table class, metric, value. Class ``chondrule``: n_truth, n_pred, tp, fp, fn, precision, recall, f1,
    mean_iou_matched, pq, dice; class ``matrix``: iou. And the match itself.

    Raises
    ------
    ShapeMismatchError : arrays of different shapes.
    InputError : no pixel counts.
    """
    rules = rules or Rules()
    check_shapes(pred, truth)
    where = rules.where(truth)
    if not where.any():
        raise InputError("No pixel is left to score: the mask leaves out all of them. It must not be 0 in the section.")
    named = list(rules.ignore_truth_ids)
    matrix = np.asarray(pred == 0) if matrix is None else matrix
    true_matrix = np.asarray(truth == 0) if true_matrix is None else true_matrix
    match = match_objects(
        np.where(where, pred, 0),
        np.where(where, truth, 0),
        iou_threshold=rules.iou_threshold,
        ignore_truth_ids=named,
        min_area_px=rules.min_area_px,
    )
    counted = where & ~boundary_band(truth, rules.boundary_px) & ~np.isin(truth, named)
    is_object = (truth > 0).astype(np.uint8)
    objects = confusion((pred > 0).astype(np.uint8), is_object, 2, where=counted)
    between = confusion(matrix.astype(np.uint8), true_matrix.astype(np.uint8), 2, where=counted)
    n_missed, n_false = len(match.missed_truth_ids), len(match.false_pred_ids)
    values = {
        "n_truth": match.n_matched + n_missed,
        "n_pred": match.n_matched + n_false,
        "tp": match.n_matched,
        "fp": n_false,
        "fn": n_missed,
        "precision": match.precision,
        "recall": match.recall,
        "f1": match.f1,
        "mean_iou_matched": match.mean_iou,
        "pq": match.pq,
        "dice": float(dice(objects)[1]),
    }
    rows = [("chondrule", metric, float(value)) for metric, value in values.items()]
    return pd.DataFrame([*rows, ("matrix", "iou", float(iou(between)[1]))], columns=_COLUMNS), match


def object_table(
    pred: LabelArray, truth: LabelArray, match: ObjectMatch, *, kinds: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """List every object of truth and prediction: one row per object, the worst first.

    Returns
    -------
    Columns truth_id, kind, status (``missed``, ``matched``, ``false``, ``ignored``), matched_id, best_id and iou (of
    the predicted object that fits best, matched or not), area_px, row_px, col_px (centroid). A false prediction has
    its id in best_id and no truth_id. Counted truth objects come first, by rising IoU.
    """
    best = match.overlaps.sort_values("iou", ascending=False).drop_duplicates("truth_id").set_index("truth_id")
    table = _geometry(truth).rename_axis("truth_id").reset_index()
    table["kind"] = [(kinds or {}).get(int(number), "") for number in table["truth_id"]]
    matched = dict(zip(match.pairs["truth_id"], match.pairs["pred_id"], strict=True))
    table["matched_id"] = table["truth_id"].map(matched).astype("Int64")
    table["best_id"] = table["matched_id"].fillna(table["truth_id"].map(best["pred_id"]).astype("Int64"))
    of_pair = match.overlaps.set_index(["truth_id", "pred_id"])["iou"].to_dict()
    pairs = zip(table["truth_id"], table["best_id"], strict=True)
    table["iou"] = [0.0 if pd.isna(other) else float(of_pair[own, other]) for own, other in pairs]
    ignored = table["truth_id"].isin(match.ignored_truth_ids)
    table["status"] = np.select([ignored, table["matched_id"].notna()], ["ignored", "matched"], "missed")
    table = pd.concat([table[~ignored].sort_values(["iou", "truth_id"]), table[ignored]])
    false = _geometry(pred).loc[list(match.false_pred_ids)].rename_axis("best_id").reset_index()
    false = false.assign(status="false", kind="", iou=[_best_of(match, int(i)) for i in false["best_id"]])
    columns = ["truth_id", "kind", "status", "matched_id", "best_id", "iou", "area_px", "row_px", "col_px"]
    parts = [part for part in (table, false) if len(part)] or [table]
    whole = pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)
    return whole.astype({name: "Int64" for name in ("truth_id", "matched_id", "best_id", "area_px")})


def _best_of(match: ObjectMatch, pred_id: int) -> float:
    own = match.overlaps.loc[match.overlaps["pred_id"] == pred_id, "iou"]
    return float(own.max()) if len(own) else 0.0


def _geometry(labels: LabelArray) -> pd.DataFrame:
    """Return area and centroid (pixels) of each object, by id."""
    ids, area = np.unique(labels[labels > 0], return_counts=True)
    centres = np.reshape(ndimage.center_of_mass(labels > 0, labels, ids), (-1, 2)).round(1)
    return pd.DataFrame({"area_px": area, "row_px": centres[:, 0], "col_px": centres[:, 1]}, index=ids.astype(np.int64))


def _percent(counts: CountArray) -> FloatArray:
    return np.asarray(100 * counts / max(1, int(counts.sum())))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")
