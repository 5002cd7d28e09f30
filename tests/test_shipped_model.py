"""The shipped model on the shipped sample: small enough, honest about its classes, and not worse than measured."""

from pathlib import Path

import numpy as np
import pytest

import meteoseg as ms
from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band, match_objects
from meteoseg.models import load_model, shipped_models

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
PHASES, COMPONENTS = default_legend("phases"), default_legend("components")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return ms.segment(ms.open_section(SAMPLE), out=tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", ["chondrite", "chondrite-zero-shot"])
def test_weights_are_small_and_their_card_is_whole(name) -> None:
    assert sum(path.stat().st_size for path in shipped_models().values()) < 20e6
    card = load_model(name).card
    layers = {layer for network in card.networks for layer in network.layers}
    assert layers == {"components", "distance", "phases"}
    assert all(network.canonical and network.channels == CANONICAL_CHANNELS for network in card.networks)
    assert all(set(network.phase_classes) <= set(PHASES.names) for network in card.networks)
    assert card.licence == "MIT"
    assert any("Semarkona" in entry for entry in card.training_data) == (name == "chondrite")
    for network in card.networks:
        calibrated = {entry.layer for entry in network.calibration}
        assert calibrated == set(network.layers) - {"distance"}


def test_sample_chondrules_are_found(result) -> None:
    truth = read_labels(SAMPLE / "truth" / "chondrules.ome.tif")
    found, known = result.chondrule_labels > 0, truth > 0
    dice = 2 * (found & known).sum() / (found.sum() + known.sum())
    assert dice > 0.88
    assert match_objects(result.chondrule_labels, truth).f1 > 0.45


def test_sample_minerals_are_named(result) -> None:
    truth = read_labels(SAMPLE / "truth" / "phases.ome.tif")
    inner = ~boundary_band(truth) & (truth != PHASES["outside"].id)
    assert (result.phases == truth)[inner].mean() > 0.77


def test_sample_layers_agree(result) -> None:
    np.testing.assert_array_equal(result.components == COMPONENTS["chondrule"].id, result.chondrule_labels > 0)
    np.testing.assert_array_equal(result.components == 0, result.phases == 0)
    modes = result.modes()
    for layer in ("phases", "components"):
        assert modes[modes["layer"] == layer]["area_pct"].sum() == pytest.approx(100, abs=0.01)
