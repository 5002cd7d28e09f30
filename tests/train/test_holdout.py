import numpy as np
import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.train.holdout import onto_grid, split_labels

SHAPE = (60, 200)


def scribbles(*strokes):
    """Strokes of five pixels: (row, col, label)."""
    labels = np.full(SHAPE, 255, np.uint8)
    for row, col, value in strokes:
        labels[row, col : col + 5] = value
    return labels


SPREAD = scribbles((5, 10, 2), (30, 20, 7), (40, 60, 2), (10, 90, 7), (20, 150, 2), (50, 170, 7))


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_parts_are_a_gap_apart_and_cover_the_rest(side):
    labels = np.random.default_rng(0).integers(1, 4, SHAPE).astype(np.uint8)
    split = split_labels(labels, "components", side=side, share=0.25, gap_px=9)
    axis = 0 if side in ("top", "bottom") else 1
    spans = sorted((w.row, w.row_end) if axis == 0 else (w.col, w.col_end) for w in (split.train, split.held))
    assert spans[1][0] - spans[0][1] == 9
    assert (spans[0][0], spans[1][1]) == (0, SHAPE[axis])
    assert split.train.intersect(split.held) is None
    assert split.held.shape[axis] == SHAPE[axis] // 4
    assert (split.held.row, split.held.col)[axis] == 0 if side in ("left", "top") else True


def test_the_block_is_measured_in_labels_not_in_area():
    split = split_labels(SPREAD, "components", side="right", share=1 / 3, gap_px=20)
    assert split.held.col == 150
    assert split.train.col_end == 130


def test_auto_takes_a_side_with_all_classes_on_both():
    labels = scribbles((5, 10, 2), (30, 20, 7), (40, 60, 2), (10, 90, 7), (20, 150, 2), (50, 160, 2), (30, 170, 2))
    assert split_labels(labels, "components", share=0.35, gap_px=10).side == "left"
    with pytest.raises(InputError, match="on the right can be held out"):
        split_labels(labels, "components", side="right", share=0.35, gap_px=10)


def test_labels_all_on_one_side_are_refused_with_their_places():
    labels = scribbles((5, 10, 2), (8, 20, 7), (9, 12, 2), (11, 22, 7))
    with pytest.raises(
        InputError, match=r"all on one side \(chondrule in rows 5-9, columns 10-16; matrix in"
    ) as caught:
        split_labels(labels, "components", gap_px=30)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", ["random", "pixels", "patches"])
def test_random_hold_out_is_refused_with_the_reason(side):
    with pytest.raises(InputError, match=r"nearly copies of each other, so the score would flatter\. Hold out a side"):
        split_labels(SPREAD, "components", side=side)


def test_unknown_side_names_the_closest():
    with pytest.raises(UnknownNameError, match="Did you mean 'right'"):
        split_labels(SPREAD, "components", side="rigth")


def test_windows_on_another_grid_never_grow():
    coarse = onto_grid(Window(5, 11, 20, 30), (4.0, 4.0))
    assert coarse == Window(2, 3, 4, 7)
    assert onto_grid(Window(5, 11, 20, 30), (0.5, 0.5)) == Window(10, 22, 40, 60)
