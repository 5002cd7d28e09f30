import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_examples import disc_labels, make_config, write_example

from meteoseg.channels import fit_normalisation
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.grid import Window
from meteoseg.io import open_section
from meteoseg.models import load_model
from meteoseg.predict import predict_windows
from meteoseg.train import train
from meteoseg.train.module import TrainingModule

SIX_STEPS = "steps = 6\nvalidate_every = 3\ncheckpoint_every = 2"


@pytest.fixture
def pair(tmp_path):
    write_example(tmp_path / "a", seed=1)
    write_example(tmp_path / "b", seed=2)
    return tmp_path


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_run_writes_model_card_and_scores(pair):
    config = make_config(pair, optim=SIX_STEPS)
    path = train(config, pair / "run", progress=False)
    model = load_model(pair / "run", device="cpu")
    assert path == pair / "run" / "model.safetensors"
    network = model.card.networks[0]
    assert network.canonical
    assert network.component_classes == ("chondrule", "matrix")
    assert network.um_per_px is None
    assert network.um_per_px_range == (2.0, 2.0)
    assert model.card.training_data == ("a",)
    assert 0 <= model.card.scores["val_components_miou"] <= 1
    assert "held-out sections: b" in model.card.notes[-1]
    rows = rows_of(pair / "run" / "metrics.csv")
    assert [row["step"] for row in rows] == ["3", "6"]
    assert float(rows[-1]["val_subset_distance_mae"]) > 0
    assert json.loads((pair / "run" / "card.json").read_text(encoding="utf-8"))["name"] == "network"


def test_interrupted_run_ends_like_an_uninterrupted_one(pair, monkeypatch, capsys):
    config = make_config(pair, optim=SIX_STEPS)
    straight = load_model(train(config, pair / "straight", progress=False), device="cpu")
    step = TrainingModule.training_step

    def stopped(self, batch, index):
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(config, pair / "run", progress=False)
    assert "stopped at step 3" in capsys.readouterr().err
    monkeypatch.undo()
    resumed = load_model(train(config, pair / "run", progress=False), device="cpu")
    expected = straight.networks["network"].state_dict()
    for key, value in resumed.networks["network"].state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=2e-3, atol=2e-3)
    steps = [row["step"] for row in rows_of(pair / "run" / "metrics.csv")]
    assert (steps[0], steps[-1]) == ("3", "6")
    saved = torch.load(pair / "run" / "checkpoint.ckpt", weights_only=True)
    assert saved["global_step"] == 6


def test_other_settings_are_refused_in_the_same_folder(pair):
    config = make_config(pair, optim="steps = 1")
    train(config, pair / "run", progress=False)
    other = make_config(pair, optim="steps = 2")
    with pytest.raises(InputError, match="key 'optim' differs"):
        train(other, pair / "run", progress=False)


def test_folder_that_is_no_run_is_refused(pair):
    with pytest.raises(OutputExistsError, match="holds no training run"):
        train(make_config(pair), pair / "a", progress=False)


def test_ratio_of_channels_is_learnt_and_segments_the_held_out_section(pair):
    config = make_config(
        pair,
        top='name = "ratio"\nchannels = ["Mg / (Mg + Fe)"]\nlayers = ["components"]\nseed = 2',
        optim="steps = 40\nlearning_rate = 0.005\nvalidate_every = 40",
        rest="[augment]\ngain = 0.05\nnoise = 0.01\nblur = 0.0",
    )
    config = replace(config, optim=replace(config.optim, tile_px=64, batch_size=4))
    model = load_model(train(config, pair / "run", progress=False), device="cpu")
    card = model.card.networks[0]
    assert card.channels == ("Mg / (Mg + Fe)",)
    assert not card.canonical
    stack = open_section(pair / "b").select(card.channels)
    image = fit_normalisation(stack).apply(stack.read(Window(0, 0, 72, 104)))
    logits = predict_windows(model.networks["ratio"], [image])[0]
    right = logits.argmax(axis=0) == np.where(disc_labels(), 0, 1)
    assert right.mean() > 0.93


def test_block_holdout_trains_and_says_so(pair):
    config = make_config(
        pair,
        top='layers = ["phases"]',
        data='sections = ["a"]\nholdout = "block"\nfraction = 0.35\ngap_px = 4',
        optim="steps = 1",
    )
    model = load_model(train(config, pair / "run", progress=False), device="cpu")
    assert "block of 35%" in model.card.notes[-1]
    assert model.card.networks[0].phase_classes == ("olivine", "troilite")
