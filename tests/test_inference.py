"""What is read off logits, and how networks are fed."""

import numpy as np
import pytest
import torch

from meteoseg.channels import ABSENT
from meteoseg.inference import Inputs, best_of_logits
from meteoseg.models import NetworkCard
from meteoseg.resample import Regrid
from meteoseg.section import Section


def test_best_class_of_logits_is_that_of_the_softmax_without_the_excluded():
    logits = np.random.default_rng(1).normal(0, 3, (5, 7, 9)).astype(np.float32)
    kept = logits[[0, 1, 3, 4]]
    share = np.exp(kept / 2) / np.exp(kept / 2).sum(axis=0)
    best, top, lead = best_of_logits(torch.from_numpy(logits), 2.0, excluded=[2])
    assert (best == np.array([0, 1, 3, 4])[share.argmax(axis=0)]).all()
    assert best.dtype == np.uint8
    assert top == pytest.approx(share.max(axis=0), abs=1e-5)
    assert lead == pytest.approx(kept.max(axis=0) - kept.mean(axis=0), abs=1e-5)


def test_lead_tells_what_the_softmax_hides():
    known, foreign = np.array([9.0, 1.0, -5.0, -5.0]), np.array([9.0, 1.0, 0.9, 0.9])
    logits = torch.from_numpy(np.stack([known, foreign], axis=1)[..., None].astype(np.float32))
    _, top, lead = best_of_logits(logits, 1.0)
    assert abs(top[0, 0] - top[1, 0]) < 0.001
    assert lead[0, 0] > lead[1, 0] + 2


def test_the_largest_class_may_speak_for_another():
    logits = torch.tensor([[5.0, 1.0], [2.0, 3.0], [4.0, 2.0]])[:, :, None]
    best, _, _ = best_of_logits(logits, 1.0, excluded=[0], merged={1: 0})
    assert best.ravel().tolist() == [1, 1]
    alone, _, _ = best_of_logits(logits, 1.0, excluded=[0])
    assert alone.ravel().tolist() == [2, 1]


def test_planes_come_in_the_order_of_the_network_with_a_number_for_absent_ones():
    rng = np.random.default_rng(3)
    section = Section.from_arrays("A", {"Mg": rng.random((6, 9)), "Fe": rng.random((6, 9)) * 40}, pixel_size_um=2.0)
    card = NetworkCard("n", ("phases",), ("Fe", "Ca", "Mg"), phase_classes=("olivine", "troilite"), canonical=True)
    inputs = Inputs(section)
    fe, ca, mg = inputs.reader(card, Regrid((6, 9), (6, 9), (1.0, 1.0)))(section.window)
    assert ca == ABSENT
    expected = inputs.fit(card).only(["Fe", "Mg"]).apply(section.read(["Fe", "Mg"]))
    np.testing.assert_array_equal(np.stack([fe, mg]), expected)
