"""Score a model on the labelled part of a section that was held out of its training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.evaluation.scores import ALL, Rules, evaluate_components, evaluate_objects, evaluate_phases, matrix_of
from meteoseg.grid import Window
from meteoseg.inference import Inputs, Runner, choose_grid
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band
from meteoseg.models import Model, Network
from meteoseg.runs.provenance import Steps
from meteoseg.section import Section
from meteoseg.segmenting import Segmenter
from meteoseg.train.drawn import Drawn
from meteoseg.train.targets import IGNORE

_CHONDRULE = "chondrule"


def score_on(
    model: Model, section: Section, drawn: Drawn, *, window: Window, networks: Sequence[Network]
) -> dict[str, float]:
    """Label `window` of a section with some networks of a model, as `segment` does, and compare with drawn labels.

    No pixel is left unclassified for being unsure, so that models score by one rule, whatever their calibration.

    Returns
    -------
    Scores by name, the most telling first. With objects f1, pq, dice_chondrule, matrix_iou, then those of classes:
    mean_iou and accuracy over the labelled pixels, dice_chondrule, and iou of each class (`IoU <name>`). Pixels
    within 1 px of another label, and those that the section mask leaves out, do not count.
    """
    cards = tuple(network.card for network in networks)
    part = replace(model, card=replace(model.card, networks=cards), networks={n.card.name: n for n in networks})
    with tempfile.TemporaryDirectory(prefix="meteoseg-", ignore_cleanup_errors=True) as scratch:
        labels, at = _segment(part, section, window, Path(scratch))
        inside = section.read_mask(window)
        classes = drawn.classes[window.slices]
        counted = inside & ~boundary_band(classes, ignore=IGNORE)
        truth = np.where(counted, classes, IGNORE).astype(np.uint8)
        scores = _object_scores(labels, drawn, at, window=window, inside=inside) if drawn.objects is not None else {}
        image = labels.phases if drawn.layer == "phases" else labels.components
        found = np.array(image[at.slices]) if image is not None else np.zeros(window.shape, np.uint8)
    return scores | _class_scores(found, truth, drawn.layer)


def _segment(model: Model, section: Section, window: Window, scratch: Path) -> tuple[LabelImages, Window]:
    """Label a section, or a part of it where that gives the same, and say where `window` lies in the labels."""
    card = next(iter(model.networks.values())).card
    inputs = Inputs(section)
    outer = window.padded(2 * card.margin_px, section.shape)
    if card.canonical:
        # The part is normalised like the whole section.
        inputs.fit(card)
        part = section.part(outer)
        if choose_grid(card, part).step == choose_grid(card, section).step:
            section, inputs = part, Inputs(part, inputs.normalisations)
            rows, cols = window.within(outer)
            window = Window(rows.start, cols.start, window.height, window.width)
    labels = Segmenter(
        section, model, Runner(inputs, min_probability=0), Scratch(scratch, section.shape), Steps()
    ).run()
    return labels, window


def _object_scores(
    labels: LabelImages, drawn: Drawn, at: Window, *, window: Window, inside: NDArray[np.bool_]
) -> dict[str, float]:
    """Match the chondrules found at `at` with those drawn in `window`."""
    if labels.chondrules is None or labels.components is None or drawn.objects is None:
        return {}
    ignored = drawn.ids_of("ignore")
    truth = drawn.objects[window.slices].astype(np.int64)
    known = (drawn.classes[window.slices] != IGNORE) | np.isin(truth, ignored)
    matrix = matrix_of(np.asarray(labels.components[at.slices]))
    rules = Rules(inside=inside & known, ignore_truth_ids=drawn.uncounted_ids)
    table, _ = evaluate_objects(np.array(labels.chondrules[at.slices]), truth, rules=rules, matrix=matrix)
    return {
        "f1": _value(table, _CHONDRULE, "f1"),
        "pq": _value(table, _CHONDRULE, "pq"),
        "matrix_iou": _value(table, "matrix", "iou"),
    }


def _class_scores(found: NDArray[np.uint8], truth: NDArray[np.uint8], layer: str) -> dict[str, float]:
    evaluate = evaluate_phases if layer == "phases" else evaluate_components
    table = evaluate(found, truth, rules=Rules(boundary_px=0))
    scores = {"mean_iou": _value(table, ALL, "mean_iou"), "accuracy": _value(table, ALL, "accuracy")}
    legend = default_legend(layer)
    names = [legend.name_of(int(value)) for value in np.unique(truth) if value != IGNORE]
    if layer == "components":
        scores["dice_chondrule"] = _value(table, _CHONDRULE, "dice") if _CHONDRULE in names else float("nan")
    return scores | {f"iou_{name}": _value(table, name, "iou") for name in names}


def _value(table: pd.DataFrame, name: str, metric: str) -> float:
    chosen = table[(table["class"] == name) & (table["metric"] == metric)]["value"]
    return float(chosen.iloc[0]) if len(chosen) else float("nan")


def compare(before: Mapping[str, float], after: Mapping[str, float]) -> pd.DataFrame:
    """Return the table metric, before, after, change."""
    rows = [(key, before[key], after[key], after[key] - before[key]) for key in before]
    return pd.DataFrame(rows, columns=["metric", "before", "after", "change"])


def verdict(table: pd.DataFrame) -> list[str]:
    """Say so where the tuned model is worse than the one it started from, or where nobody can tell."""
    first, finite = table.iloc[0]["metric"], table[np.isfinite(table["change"])]
    notes = []
    if not np.isfinite(table.iloc[0]["change"]):
        instead = f"judge by {finite.iloc[0]['metric']}" if len(finite) else "nothing tells what was gained"
        notes.append(
            f"WARNING: the held-out part could not be scored by {first} (it has too few labels for that): {instead}, "
            "or hold out another side with --holdout."
        )
    if len(finite) and finite.iloc[0]["change"] < 0:
        fallen = finite.iloc[0]["metric"]
        notes.append(
            f"WARNING: {fallen} fell on the held-out part. Keep the start model, or label more, elsewhere too."
        )
    return notes
