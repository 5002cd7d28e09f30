"""Score a model on the labelled part of a section that was held out of its training."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from meteoseg.grid import Window
from meteoseg.inference import Inputs, Runner, choose_grid
from meteoseg.legend import default_legend
from meteoseg.models import Model, Network
from meteoseg.provenance import Steps
from meteoseg.scores import ALL, Rules, evaluate_components, evaluate_objects, evaluate_phases
from meteoseg.section import PlaneView, Section
from meteoseg.segmenting import LabelImages, Scratch, Segmenter
from meteoseg.train.drawn import Drawn
from meteoseg.train.targets import IGNORE

_CHONDRULE = "chondrule"
#: Components that count as matrix between objects.
_MATRIX = ("matrix", "rim")


def score_on(
    model: Model, section: Section, drawn: Drawn, window: Window, networks: Sequence[Network]
) -> dict[str, float]:
    """Label `window` of a section with some networks of a model, as `segment` does, and compare with drawn labels.

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
        truth = np.where(inside, without_borders(drawn.classes[window.slices]), IGNORE).astype(np.uint8)
        scores = _object_scores(labels, drawn, at, window, inside) if drawn.objects is not None else {}
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
        inputs.reader(card)
        part = cropped(section, outer)
        if choose_grid(card, part).step == choose_grid(card, section).step:
            section, inputs = part, Inputs(part, inputs.normalisations)
            rows, cols = window.within(outer)
            window = Window(rows.start, cols.start, window.height, window.width)
    labels = Segmenter(section, model, Runner(inputs), Scratch(scratch, section.shape), Steps()).run()
    return labels, window


def cropped(section: Section, window: Window) -> Section:
    """Return a part of a section, without copying pixels."""
    channels = {
        name: replace(channel, plane=PlaneView(channel.plane, window)) for name, channel in section.channels.items()
    }
    mask = None if section.mask is None else PlaneView(section.mask, window)
    return replace(section, channels=channels, mask=mask)


def without_borders(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take away labels within 1 px of another label; unlabelled pixels (255) are no label.

    Examples
    --------
    >>> without_borders(np.array([[255, 1, 1, 1, 2, 2]], np.uint8))
    array([[255,   1,   1, 255, 255,   2]], dtype=uint8)
    """
    known = classes != IGNORE
    highest = ndimage.maximum_filter(np.where(known, classes, 0), 3, mode="nearest")
    lowest = ndimage.minimum_filter(classes, 3, mode="nearest")
    return np.where(known & (highest == lowest), classes, IGNORE).astype(np.uint8)


def _object_scores(
    labels: LabelImages, drawn: Drawn, at: Window, window: Window, inside: NDArray[np.bool_]
) -> dict[str, float]:
    """Match the chondrules found at `at` with those drawn in `window`."""
    if labels.chondrules is None or labels.components is None or drawn.objects is None:
        return {}
    legend = default_legend("components")
    ignored = drawn.ids_of("ignore")
    truth = drawn.objects[window.slices].astype(np.int64)
    known = (drawn.classes[window.slices] != IGNORE) | np.isin(truth, ignored)
    matrix = np.isin(labels.components[at.slices], [legend[name].id for name in _MATRIX])
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
