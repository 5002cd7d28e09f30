"""Calibration on held-out examples: fitted per set of channels, stored in the card, written to a model file."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_examples import make_config
from training_examples import write_example as write_discs

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.models import ModelCard, Network, NetworkCard, load_model, read_card, save_model
from meteoseg.simulate import simulate_section, write_example
from meteoseg.train import train
from meteoseg.train.calibrate import calibrate_model, calibrate_networks
from meteoseg.train.dataset import IGNORE, Example

CARD = NetworkCard("n", ("phases", "distance"), ("Fe", "Mg"), phase_classes=("outside", "olivine", "troilite"))


class Pointwise(Network):
    """Logits of (outside, olivine, troilite, distance): fixed multiples of the two channels."""

    def __init__(self, card, size):
        nn.Module.__init__(self)
        self.card = card
        self.mix = nn.Conv2d(2, 4, 1, bias=False)
        self.mix.weight.data = size * torch.tensor([[9.0, 0], [1, 0], [0, 1], [0, 0]])[:, :, None, None]
        self.eval()

    def forward(self, image):
        return self.mix(image)


def example(seed, shape=(64, 96), name="e"):
    """Channels whose difference is the log odds of olivine against troilite; 5 columns outside, 3 unknown."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 2, shape)
    targets = np.where(rng.random(shape) < 1 / (1 + np.exp(-odds)), 1, 2)
    targets[:, :5], targets[:, 5:8] = 0, IGNORE
    image = np.stack([odds / 2, -odds / 2], axis=-1).astype(np.float16)
    planes = np.stack([targets, np.zeros(shape)], axis=-1).astype(np.uint8)
    return Example(name, image, planes, np.array([True, True]), 1.0)


def test_logits_four_times_too_large_are_divided_by_four():
    found, scores = calibrate_networks([Pointwise(CARD, 4.0)], [example(seed) for seed in range(10)])
    assert [(entry.layer, entry.channels) for entry in found] == [("phases", ("Fe", "Mg"))]
    assert found[0].temperature == pytest.approx(4, rel=0.05)
    assert scores["phases_ece.all"] < 0.02 < 0.1 < scores["phases_ece_uncalibrated.all"]
    assert scores["phases_right_unclassified.all"] == pytest.approx(0.02, abs=0.007)
    assert scores["phases_wrong_unclassified.all"] > scores["phases_right_unclassified.all"]
    assert 0.5 < found[0].lowest_probability < found[0].usual_probability < 1


def test_few_windows_say_nothing_about_what_is_usual():
    found, _ = calibrate_networks([Pointwise(CARD, 1.0)], [example(0)])
    assert (found[0].usual_probability, found[0].lowest_probability) == (None, None)


def test_sets_of_channels_are_calibrated_apart():
    card = replace(CARD, canonical=True, channels=("BSE", "Fe"))
    found, scores = calibrate_networks([Pointwise(card, 1.0)], [example(seed) for seed in range(2)])
    assert [entry.channels for entry in found] == [("BSE", "Fe"), ("Fe",), ("BSE",)]
    assert {"phases_ece.all", "phases_ece.no_bse", "phases_ece.bse"} <= set(scores)
    assert found[0].temperature < found[1].temperature


def test_a_layer_without_labels_has_no_calibration():
    unknown = example(0)
    unknown.targets[..., 0] = IGNORE
    assert calibrate_networks([Pointwise(CARD, 1.0)], [unknown]) == ((), {})
    mount = example(0)
    mount.targets[..., 0] = 0
    assert calibrate_networks([Pointwise(CARD, 1.0)], [mount]) == ((), {})


def test_windows_without_labels_are_passed_over():
    large = example(0, shape=(64, 2048))
    large.targets[:, 600:] = IGNORE
    alone, _ = calibrate_networks([Pointwise(CARD, 1.0)], [large.part(Window(0, 0, 64, 1024))], max_windows=2)
    found, _ = calibrate_networks([Pointwise(CARD, 1.0)], [large], max_windows=2)
    assert found == alone
    last = example(0, shape=(64, 2048))
    last.targets[:, :1600] = IGNORE
    assert calibrate_networks([Pointwise(CARD, 1.0)], [last], max_windows=1)[0]


def test_each_layer_finds_windows_with_its_labels():
    card = replace(CARD, layers=("components", "phases"), component_classes=("chondrule", "matrix"))
    part = example(0, shape=(64, 3072))
    part.targets[..., 1], part.targets[..., 0] = part.targets[..., 0], 0
    part.targets[:, :1100, 1], part.targets[:, 1400:, 1] = IGNORE, IGNORE
    network = Pointwise(card, 1.0)
    network.mix.weight.data = torch.cat([network.mix.weight.data[1:3], network.mix.weight.data[:3]])
    found, _ = calibrate_networks([network], [part], max_windows=2)
    assert {entry.layer for entry in found} == {"components", "phases"}


def test_model_cannot_be_calibrated_without_labels(tmp_path):
    folder = write_discs(tmp_path / "held")
    (folder / "truth" / "phases.ome.tif").unlink()
    card = NetworkCard(
        "n", ("phases", "distance"), ("Fe", "Mg"), phase_classes=("olivine", "troilite"),
        decoder_channels=(8, 8, 8, 8, 8),
    )  # fmt: skip
    path = save_model(tmp_path / "m.safetensors", ModelCard("m", (card,)), network_states(Network(card)))
    with pytest.raises(InputError, match="no labelled pixel to calibrate 'n' on"):
        calibrate_model(path, {"phases": [str(folder)]}, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_model_file_gets_a_new_card_and_keeps_its_weights(tmp_path):
    write_example(simulate_section("LL", size_mm=(0.5, 0.4), pixel_size_um=5, seed=2), tmp_path / "held" / "a")
    card = NetworkCard(
        "fine", ("phases",), ("Fe", "Mg"), phase_classes=("outside", "olivine", "low-Ca pyroxene"),
        decoder_channels=(8, 8, 8, 8, 8),
    )  # fmt: skip
    network = Network(card)
    path = save_model(tmp_path / "m.safetensors", ModelCard("m", (card,), scores={"a": 1.0}), network_states(network))
    out = calibrate_model(path, {"phases": [str(tmp_path / "held" / "*")]}, tmp_path / "c.safetensors")
    changed = read_card(out)
    assert changed.networks[0].calibration[0].channels == ("Fe", "Mg")
    assert changed.scores["a"] == 1
    assert "fine.phases_ece.all" in changed.scores
    before, after = (load_model(file).networks["fine"].state_dict() for file in (path, out))
    assert all(torch.equal(before[key], after[key]) for key in before)
    with pytest.raises(InputError, match="has the first layer 'components'"):
        calibrate_model(path, {"components": [str(tmp_path / "held" / "*")]}, out)


def network_states(network):
    return {network.card.name: network.state_dict()}


def test_card_without_calibration_is_read():
    text = ModelCard("m", (CARD,)).to_json().replace('"calibration": []', '"tile_px": 512')
    assert "calibration" not in text
    assert ModelCard.from_json(text).networks[0].calibration == ()
    found, _ = calibrate_networks([Pointwise(CARD, 1.0)], [example(0)])
    card = ModelCard("m", (replace(CARD, calibration=found),))
    assert ModelCard.from_json(card.to_json()) == card


def test_training_ends_with_a_calibration(tmp_path):
    for seed, name in enumerate("ab"):
        write_discs(tmp_path / name, seed=seed)
    config = make_config(tmp_path, top='layers = ["phases"]', optim="steps = 2\nvalidate_every = 2")
    card = read_card(train(config, tmp_path / "run", progress=False))
    entries = card.networks[0].calibration
    assert [entry.channels for entry in entries] == [("BSE", "Mg", "Fe"), ("Mg", "Fe"), ("BSE",)]
    assert 0 <= card.scores["phases_ece.all"] <= 1


def without_classes(folder):
    """Leave outlines only."""
    for layer in ("phases", "components"):
        (folder / "truth" / f"{layer}.ome.tif").unlink()


def test_training_scored_on_outlines_alone_keeps_its_model(tmp_path):
    for seed, name in enumerate("ab"):
        write_discs(tmp_path / name, seed=seed)
    without_classes(tmp_path / "b")
    config = make_config(tmp_path, top='layers = ["components", "distance"]', optim="steps = 2\nvalidate_every = 2")
    card = read_card(train(config, tmp_path / "run", progress=False))
    assert card.networks[0].calibration == ()
    assert card.notes[-1] == "probabilities of components are not calibrated: no held-out labels of them"
    assert "val_distance_mae" in card.scores
    assert all(np.isfinite(score) for score in card.scores.values())


def test_model_is_on_disk_before_the_calibration(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_discs(tmp_path / name, seed=seed)
    config = make_config(tmp_path, top='layers = ["phases"]', optim="steps = 1")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("meteoseg.train.loop.calibrate_networks", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", progress=False)
    assert "the calibration did not end" in read_card(tmp_path / "run" / "model.safetensors").notes[-1]
    assert load_model(tmp_path / "run").networks["network"].card.calibration == ()
    monkeypatch.undo()
    assert read_card(train(config, tmp_path / "run", progress=False)).networks[0].calibration
