"""Temperatures, thresholds and the note on sections that are new to a network."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.labels.certainty import (
    Calibration,
    Certainty,
    fit_temperature,
    mean_shares,
    nearest_calibration,
    threshold,
    top_of_shares,
)
from meteoseg.metrics import expected_calibration_error


def drawn(temperature: float, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 3) that are `temperature` times too large, and classes drawn as the honest ones say."""
    rng = np.random.default_rng(3)
    honest = rng.normal(0, 1.5, (n, 3)).astype(np.float32)
    share = mean_shares([honest])
    targets = (rng.random((n, 1)) > np.cumsum(share, axis=1)).sum(axis=1).clip(0, 2)
    return honest * np.float32(temperature), targets


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_the_truth_is_found_and_mends_the_calibration(temperature: float) -> None:
    logits, targets = drawn(temperature)
    found = fit_temperature([logits], targets)
    assert found == pytest.approx(temperature, rel=0.05)
    share = mean_shares([logits], found)
    top, is_right = share.max(axis=1).astype(float), share.argmax(axis=1) == targets
    assert expected_calibration_error(top, is_right) < 0.012


def test_several_networks_share_the_temperature_of_their_mean() -> None:
    logits, targets = drawn(2.0)
    assert fit_temperature([logits, logits], targets) == pytest.approx(fit_temperature([logits], targets), rel=1e-3)


def test_bad_samples_are_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="logits for 3 pixels"):
        fit_temperature([np.zeros((2, 2))], np.zeros(3, int))
    with pytest.raises(InputError, match="no labelled pixel"):
        fit_temperature([np.zeros((0, 2))], np.zeros(0, int))
    with pytest.raises(InputError, match="calibrate the model again"):
        Calibration("phases", ("Fe",), temperature=0.0)


def test_a_threshold_costs_the_stated_share_of_right_pixels() -> None:
    rng = np.random.default_rng(0)
    top, is_right = rng.random(5000), rng.random(5000) < 0.7
    least = threshold(top, is_right, lost=0.02)
    assert (top[is_right] < least).mean() == pytest.approx(0.02, abs=0.001)
    assert threshold(top, np.zeros(5000, bool), lost=0.02) == 0


def test_top_class_of_shares_is_the_largest_without_the_excluded() -> None:
    shares = np.random.default_rng(1).dirichlet(np.ones(5), (7, 9)).transpose(2, 0, 1).astype(np.float32)
    kept = shares[[0, 1, 3, 4]]
    best, top = top_of_shares(shares.copy(), [2])
    assert (best == np.array([0, 1, 3, 4])[kept.argmax(axis=0)]).all()
    assert top == pytest.approx(kept.max(axis=0) / kept.sum(axis=0), abs=1e-5)


def test_the_channels_that_are_most_alike_decide() -> None:
    known = [Calibration("phases", channels) for channels in (("BSE", "Fe", "Mg"), ("BSE",), ("Fe", "Mg", "Si"))]
    assert nearest_calibration(known, "phases", ["BSE", "Fe", "Mg", "Ca"]) is known[0]
    assert nearest_calibration(known, "phases", ["BSE", "SE"]) is known[1]
    assert nearest_calibration(known, "phases", ["Si", "Mg"]) is known[2]
    assert nearest_calibration(known, "components", ["BSE"]) is None


def test_a_section_that_is_new_is_noted_and_others_are_not() -> None:
    known = Calibration("phases", ("Fe",), 1.0, 0.4, usual_probability=0.9, lowest_probability=0.8)
    sure = Certainty("phases", known)
    sure.add(np.full((3, 4), 0.85))
    assert sure.note() is None
    sure.add(np.full(20, 0.3))
    assert sure.mean == pytest.approx((12 * 0.85 + 20 * 0.3) / 32)
    assert sure.facts()["unsure_pct"] == 62.5
    note = sure.note()
    assert note is not None
    assert "much less sure of the phases" in note
    assert "0.51, there 0.80 at the lowest and 0.90 as a rule; 62 %" in note


def test_without_a_calibration_nothing_is_claimed() -> None:
    sure = Certainty("components", None)
    assert (sure.note(), sure.facts()["mean_probability"]) == (None, None)
    sure.add(np.full(4, 0.1))
    assert (sure.note(), sure.facts()["mean_probability"], sure.facts()["unsure_pct"]) == (None, 0.1, None)
