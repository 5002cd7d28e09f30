"""Count what a trained network gets right, section by section or block by block, so that scores can be resampled.

Objects are chondrules and fragments of 15 px or more; metal-sulfide nodules and Al-rich objects are ignored. Pixel
scores leave out what lies outside the section, the ignored objects and a 1-px band along the true outlines. It is the
metric of experiments/real_sections/score_west.py; there, unmapped corners inside the section mask count as matrix.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

import meteoseg as ms
from meteoseg.evaluation.scores import matrix_of
from meteoseg.inference import Inputs, Runner
from meteoseg.io import read_labels
from meteoseg.labels.images import Scratch
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band, match_objects
from meteoseg.models import Model
from meteoseg.runs.provenance import Steps
from meteoseg.section import Section
from meteoseg.segmenting import Segmenter
from meteoseg.train.dataset import find_examples

LEGEND = default_legend("components")
CHONDRULE, OUTSIDE, UNLABELLED = LEGEND["chondrule"].id, LEGEND["outside"].id, 255
IGNORED = [LEGEND[name].id for name in ("metal-sulfide nodule", "inclusion")]
#: Side of the blocks that a single large section is parted into; whole sections are units where there are many.
BLOCK_PX = 64
COUNTS = ("tp", "fp", "fn", "iou_sum", "chondrule_both", "chondrule_sum", "matrix_both", "matrix_any")
SCORES = ("Dice", "matrix IoU", "F1", "PQ")


@dataclass(frozen=True)
class Units:
    """How the pixels of a section are grouped: square blocks, or all in one."""

    shape: tuple[int, int]
    block_px: int | None

    def of(self, rows: NDArray[np.floating], cols: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the number of the unit of each place."""
        if self.block_px is None:
            return np.zeros(len(rows), np.int64)
        per_row = -(-self.shape[1] // self.block_px)
        return (np.asarray(rows) // self.block_px * per_row + np.asarray(cols) // self.block_px).astype(np.int64)

    def image(self) -> NDArray[np.int64]:
        """Return the number of the unit of every pixel (H, W)."""
        rows, cols = np.indices(self.shape)
        return self.of(rows.ravel(), cols.ravel()).reshape(self.shape)


def segment(section: Section, model: Model) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return component ids and object ids (H, W): the label images of `meteoseg segment`, without its report."""
    with tempfile.TemporaryDirectory(prefix="bse-vs-multimodal-") as folder:
        runner = Runner(Inputs(section))
        labels = Segmenter(section, model, runner, Scratch(Path(folder), section.shape), Steps(False)).run()
        return np.array(labels.components), np.array(labels.chondrules)


def count(
    components: NDArray[np.integer], objects: NDArray[np.integer], folder: Path, *, block_px: int | None
) -> pd.DataFrame:
    """Count hits and misses against ``folder/truth``: a row per unit, columns `COUNTS`."""
    truth = read_labels(folder / "truth" / "components.ome.tif")
    drawn = read_labels(folder / "truth" / "chondrules.ome.tif").astype(np.int64)
    ignored = np.isin(truth, IGNORED)
    drawn = np.where(ignored, drawn.max() + 1, drawn)
    units = Units(drawn.shape, block_px)
    table = pd.DataFrame(0.0, index=np.unique(units.image()), columns=list(COUNTS))
    _count_objects(table, units, np.asarray(objects), drawn, ignored)
    counted = ~np.isin(truth, [OUTSIDE, UNLABELLED]) & ~ignored & ~boundary_band(drawn)
    is_chondrule, found = truth == CHONDRULE, components == CHONDRULE
    is_matrix, found_matrix = matrix_of(truth), matrix_of(components)
    pixels = {
        "chondrule_both": is_chondrule & found,
        "chondrule_sum": is_chondrule.astype(int) + found,
        "matrix_both": is_matrix & found_matrix,
        "matrix_any": is_matrix | found_matrix,
    }
    for name, values in pixels.items():
        table[name] += np.bincount(units.image()[counted], weights=values[counted], minlength=len(table))
    return table


def _count_objects(
    table: pd.DataFrame,
    units: Units,
    found: NDArray[np.integer],
    drawn: NDArray[np.int64],
    ignored: NDArray[np.bool_],
) -> None:
    """Add matched, false and missed objects, each to the unit of its centre."""
    match = match_objects(found, drawn, ignore_truth_ids=np.unique(drawn[ignored]).tolist())
    for name, labels, ids, weights in (
        ("tp", drawn, match.pairs["truth_id"], None),
        ("iou_sum", drawn, match.pairs["truth_id"], match.pairs["iou"]),
        ("fn", drawn, match.missed_truth_ids, None),
        ("fp", found, match.false_pred_ids, None),
    ):
        if len(ids):
            centres = np.array(center_of_mass(labels > 0, labels, list(ids)))
            where = units.of(centres[:, 0], centres[:, 1])
            table[name] += np.bincount(where, weights=weights, minlength=len(table))


def score_folders(model: Model, pattern: str, channels: tuple[str, ...] | None) -> pd.DataFrame:
    """Segment all examples that a glob matches and count, unit by unit (columns ``unit`` and `COUNTS`)."""
    folders = find_examples([pattern])
    return pd.concat(list(_tables(model, folders, channels)), ignore_index=True)


def _tables(model: Model, folders: tuple[Path, ...], channels: tuple[str, ...] | None) -> Iterator[pd.DataFrame]:
    for folder in folders:
        section = ms.open_section(folder)
        if channels is not None:
            section = replace(section, channels={name: section.channels[name] for name in channels})
        table = count(*segment(section, model), folder, block_px=None if len(folders) > 1 else BLOCK_PX)
        yield table.assign(unit=[f"{folder.name}:{number}" for number in table.index])


def scores(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn counts (..., 8), in the order of `COUNTS`, into scores (..., 4), in the order of `SCORES`."""
    tp, fp, fn, iou_sum, both, total, matrix_both, matrix_any = np.moveaxis(np.asarray(counts, float), -1, 0)
    objects = tp + (fp + fn) / 2
    parts = [(2 * both, total), (matrix_both, matrix_any), (tp, objects), (iou_sum, objects)]
    with np.errstate(invalid="ignore"):
        return np.stack([above / below for above, below in parts], axis=-1)
