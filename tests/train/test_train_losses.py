import numpy as np
import pytest
import torch
from torch.nn import functional

from meteoseg.errors import InputError
from meteoseg.train.config import LossConfig
from meteoseg.train.losses import NetworkLoss, class_weights, distance_loss
from meteoseg.train.module import iou_per_class

WEIGHTS = {"phases": np.array([1.0, 2.0, 0.5], np.float32)}


def test_cross_entropy_is_that_of_known_pixels_alone():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    target = torch.randint(0, 3, (2, 4, 5), generator=generator).to(torch.uint8)
    target[0, :2] = 255
    loss = NetworkLoss(WEIGHTS, LossConfig(phases=2.0, dice=0.0))
    value = loss({"phases": logits}, {"phases": target})["phases"]
    expected = functional.cross_entropy(logits, target.long(), torch.from_numpy(WEIGHTS["phases"]), ignore_index=255)
    torch.testing.assert_close(value, 2 * expected)


def test_dice_part_falls_to_zero_for_sure_and_right_answers():
    target = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
    right = functional.one_hot(target.long(), 3).permute(0, 3, 1, 2) * 60.0
    loss = NetworkLoss(WEIGHTS, LossConfig(dice=1.0))
    assert float(loss({"phases": right}, {"phases": target})["phases"]) == pytest.approx(0, abs=1e-5)
    wrong = loss({"phases": right.roll(1, dims=1)}, {"phases": target})["phases"]
    assert float(wrong) == pytest.approx(61, rel=1e-3)


def test_batch_without_truth_gives_zero_and_finite_gradients():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    nothing = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    loss = NetworkLoss(WEIGHTS, LossConfig())({"phases": logits}, {"phases": nothing})["phases"]
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
    assert float(distance_loss(torch.randn(1, 4, 4), nothing)) == 0


def test_distance_loss_is_smallest_at_the_truth():
    target = torch.full((1, 3, 3), 127, dtype=torch.uint8)
    values = [float(distance_loss(torch.full((1, 3, 3), logit), target)) for logit in (-1.0, 0.0, 1.0)]
    assert values[1] == pytest.approx(np.log(2), abs=1e-4)
    assert min(values) == values[1]


def test_rare_classes_weigh_more_within_limits():
    weights = class_weights(np.array([1_000_000, 10_000, 1, 0]))
    assert weights[0] < 1 < weights[1]
    assert weights.max() <= 5
    assert weights.min() >= 0.2


def test_the_balance_says_how_much_more_a_rare_class_counts():
    counts = np.array([900, 100])
    ratios = [float(np.divide(*class_weights(counts, balance)[::-1])) for balance in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(ratios, [1, 3, 9], rtol=1e-5)
    with pytest.raises(InputError, match=r"\[loss\] class_balance is 2"):
        LossConfig(class_balance=2.0)


def test_iou_of_a_known_confusion():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou_per_class(confusion), [6 / 9, 3 / 6, np.nan])
