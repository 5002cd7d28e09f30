"""Trainings of a few steps: held-out scores, folds, resumption, start models, the command line."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from patch_examples import make_config, write_section, write_stripes

from meteoseg import cli
from meteoseg.errors import InputError, OutputExistsError, UnknownNameError
from meteoseg.patches import (
    PatchSet,
    classify_patches,
    load_patch_model,
    read_patch_config,
    read_patch_set,
    train_patches,
    write_shard,
)
from meteoseg.patches.module import PatchModule
from meteoseg.train import read_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a data set of stripes (set/) and a network that knows them (run/)."""
    folder = tmp_path_factory.mktemp("stripes")
    write_stripes(folder / "set", sparse=True)
    train_patches(make_config(folder, rest="[augment]\nshift_px = 2\nnoise = 0.05\n"), folder / "run", progress=False)
    return folder


def card_of(run):
    return json.loads((run / "card.json").read_text(encoding="utf-8"))


def test_stripes_are_learned(trained):
    card = card_of(trained / "run")
    assert card["classes"] == ["cols", "rows"]
    assert card["channels"] == ["U", "V"]
    assert card["scores"]["macro_f1"] == 1
    assert card["min_probability"] <= 0.5
    held = pd.read_csv(trained / "run" / "heldout.csv")
    assert not set(held["group"]) & set(card["training_data"])
    assert (held["truth"] == np.where(held["p_rows"] > 0.5, "rows", "cols")).all()
    assert "energy" in held
    confusion = pd.read_csv(trained / "run" / "confusion.csv")
    assert confusion[["cols", "rows"]].to_numpy().tolist() == [[4, 0], [0, 4]]


def test_new_images_are_labelled(trained):
    model = load_patch_model(trained / "run", device="cpu")
    write_stripes(trained / "new", seed=9)
    patches = read_patch_set(trained / "new")
    table = classify_patches(model, patches, top=5, min_probability=0.0)
    assert (table["label"].to_numpy() == patches.labels).mean() > 0.9
    np.testing.assert_allclose(table["probability_1"] + table["probability_2"], 1, atol=2e-4)
    assert "class_3" not in table
    shares = model.probabilities(patches)
    np.testing.assert_allclose(shares.max(axis=1), table["probability"], atol=1e-4)


def test_unsure_images_are_unclassified(trained):
    model = load_patch_model(trained / "run", device="cpu")
    patches = read_patch_set(trained / "set")
    card = replace(model.card, temperature=50.0, min_probability=0.9)
    unsure = replace(model, file=replace(model.file, card=card))
    table = classify_patches(unsure, patches, top=1)
    assert set(table["label"]) == {"unclassified"}
    assert set(table["class_1"]) == {"rows", "cols"}
    with pytest.raises(InputError, match="--min-probability 2 is not possible"):
        classify_patches(model, patches, min_probability=2)


def test_every_group_is_held_out_once(tmp_path):
    write_stripes(tmp_path / "set", n_groups=4)
    config = make_config(tmp_path, data='patches = ["set"]\nfolds = 2', steps=20)
    train_patches(config, tmp_path / "run", progress=False)
    held = pd.read_csv(tmp_path / "run" / "heldout.csv")
    assert len(held) == 16
    assert set(held["group"]) == {"g0", "g1", "g2", "g3"}
    card = card_of(tmp_path / "run")
    assert "cross-validation by group in 2 folds" in card["notes"][0]
    assert card["training_data"] == ["g0", "g1", "g2", "g3"]


def test_same_seed_same_network(tmp_path):
    write_stripes(tmp_path / "set")
    states = []
    for run in ("one", "two"):
        config = make_config(tmp_path, steps=4, rest="[augment]\nnoise = 0.1\ngain = 0.2\n")
        states.append(load_patch_model(train_patches(config, tmp_path / run, progress=False), "cpu"))
    first, second = (model.file.network.state_dict() for model in states)
    for key, value in first.items():
        torch.testing.assert_close(value, second[key])


def test_stopped_run_goes_on(tmp_path, monkeypatch, capsys):
    write_stripes(tmp_path / "set")
    config = make_config(tmp_path, steps=12)
    straight = load_patch_model(train_patches(config, tmp_path / "straight", progress=False), "cpu")
    step = PatchModule.training_step

    def stopped(self, batch, index):
        if self.global_step == 7:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(PatchModule, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_patches(config, tmp_path / "run", progress=False)
    assert "stopped at step 7" in capsys.readouterr().err
    monkeypatch.undo()
    resumed = load_patch_model(train_patches(config, tmp_path / "run", progress=False), "cpu")
    expected = straight.file.network.state_dict()
    for key, value in resumed.file.network.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=2e-3, atol=2e-3)
    with pytest.raises(InputError, match="key 'optim' differs"):
        train_patches(make_config(tmp_path, steps=13), tmp_path / "run", progress=False)
    with pytest.raises(OutputExistsError, match="holds no training run"):
        train_patches(config, tmp_path / "set", progress=False)


def test_head_alone_learns_from_a_start_model(trained):
    config = make_config(trained, network='start = "run"\nfreeze = true', steps=10)
    train_patches(config, trained / "tuned", progress=False)
    old, new = (load_patch_model(trained / run, "cpu").file.network.encoders.state_dict() for run in ("run", "tuned"))
    for key, value in old.items():
        torch.testing.assert_close(value, new[key])
    assert "encoder started from model 'stripes'" in card_of(trained / "tuned")["notes"][0]
    other = make_config(trained, top='channels = ["U"]', network='start = "run"', steps=2)
    with pytest.raises(InputError, match=r"the encoder of 'stripes' .* is not that of this training"):
        train_patches(other, trained / "other", progress=False)


def test_pretrained_weights_that_cannot_be_had_are_told(tmp_path, monkeypatch, caplog):
    import segmentation_models_pytorch as smp

    write_stripes(tmp_path / "set")
    real = smp.encoders.get_encoder

    def offline(name, *, weights=None, **settings):
        if weights is not None:
            raise OSError("no route to host")
        return real(name, weights=None, **settings)

    monkeypatch.setattr(smp.encoders, "get_encoder", offline)
    network = 'encoder = "tu-mobilenetv3_small_100"\npretrained = true'
    config = make_config(tmp_path, top="", network=network, steps=2)
    train_patches(replace(config, patch_px=32), tmp_path / "run", progress=False)
    assert "could not be fetched (no route to host)" in caplog.text
    assert "encoder started at random" in card_of(tmp_path / "run")["notes"][0]


def test_weighted_loss_and_few_labels(tmp_path):
    write_stripes(tmp_path / "set")
    rest = '[loss]\nbalance = "loss"\nclass_balance = 1.0\nlabel_smoothing = 0.1\n'
    config = make_config(tmp_path, data='patches = ["set"]\nlabels_per_class = 3', steps=3, rest=rest)
    train_patches(config, tmp_path / "run", progress=False)
    note = card_of(tmp_path / "run")["notes"][-1]
    assert note == "classes weigh one over their share to the power of 1; label smoothing 0.1"


def test_class_without_an_image_is_told(tmp_path):
    write_stripes(tmp_path / "set")
    config = make_config(tmp_path, top='classes = ["cols", "kaon", "rows"]')
    with pytest.raises(InputError, match="Class 'kaon' has no image to train on"):
        train_patches(config, tmp_path / "run", progress=False)
    config = make_config(tmp_path, top='classes = ["cols", "kaon"]')
    with pytest.raises(InputError, match="Label 'rows' of image a-0 is none of the classes"):
        train_patches(config, tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": 'patches = ["set"]\nholdout = "random"'}, "images of one group are alike"),
        ({"data": 'patches = ["set"]\nsections = ["s"]'}, "not both"),
        ({"data": 'patches = ["set"]\nfolds = 1'}, "folds is 2 or more"),
        ({"top": 'normalisation = "section"'}, "does not fit these data"),
        ({"network": "freeze = true"}, "freeze needs start"),
        ({"rest": '[loss]\nbalance = "smote"'}, "Unknown balance 'smote'"),
        ({"rest": "[augment]\nflip = true"}, "Unknown key"),
    ],
)
def test_settings_that_cannot_be_are_told(tmp_path, settings, message):
    with pytest.raises((InputError, UnknownNameError), match=message):
        make_config(tmp_path, **settings)


def test_configuration_is_written_and_read_back(tmp_path):
    config = make_config(tmp_path, network='fusion = "late"\nbranches = [["U"], ["V"]]')
    (tmp_path / "again.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read_patch_config(tmp_path / "again.toml") == config
    with pytest.raises(UnknownNameError, match="task"):
        read_config(tmp_path / "c.toml")


def test_command_line_labels_images(trained, tmp_path):
    run = CliRunner().invoke(
        cli.main, ["classify-patches", str(trained / "set"), "--model", str(trained / "run"), "-o", str(tmp_path / "o")]
    )
    assert run.exit_code == 0, run.output
    assert "macro F1 1.0000 of 24 labelled images" in run.output
    table = pd.read_csv(tmp_path / "o" / "patches.csv")
    assert list(table)[:4] == ["id", "group", "label", "probability"]
    noted = json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))
    assert noted["model"]["name"] == "stripes"
    assert len(noted["inputs"][0]["sha256"]) == 64


def test_command_line_tells_what_is_wrong_in_one_line(trained, tmp_path):
    write_shard(tmp_path / "k.npz", np.ones((1, 2, 9, 9)), ["kaon"], ["g"], channels=["U", "V"])
    arguments = ["classify-patches", str(tmp_path / "k.npz"), "--model", str(trained / "run")]
    bare = CliRunner().invoke(cli.main, arguments)
    assert (bare.exit_code, "say with -o OUT" in bare.output) == (2, True)
    new = CliRunner().invoke(cli.main, [*arguments, "-o", str(tmp_path / "out")])
    assert new.exit_code == 0
    assert "Label 'kaon' is none that the model knows" in new.output
    other = CliRunner().invoke(cli.main, [*arguments[:3], "chondrite", "-o", str(tmp_path / "x")])
    assert (other.exit_code, "labels pixels, not whole images" in other.output) == (2, True)
    wrong = CliRunner().invoke(cli.main, ["segment", str(tmp_path), "--model", str(trained / "run"), "-o", "o"])
    assert wrong.exit_code == 2


def test_command_line_trains_by_task(tmp_path):
    write_stripes(tmp_path / "set")
    make_config(tmp_path, steps=2)
    run = CliRunner().invoke(cli.main, ["train", str(tmp_path / "c.toml"), "-o", str(tmp_path / "run")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_objects_of_sections_are_learned(tmp_path):
    for number in range(4):
        write_section(tmp_path / f"s{number}", seed=number)
    rest = '[objects]\nmask = "plane"\nmargin = 0.2\n[augment]\nsymmetry = "mirrors"\n'
    config = make_config(tmp_path, data='sections = ["s?"]\nholdout = 0.25', steps=30, rest=rest)
    train_patches(config, tmp_path / "run", progress=False)
    model = load_patch_model(tmp_path / "run", "cpu")
    assert model.card.canonical
    assert model.card.n_planes == 17
    assert model.card.normalisation == "section"
    assert len(pd.read_csv(tmp_path / "run" / "heldout.csv")) == 4


def test_whole_images_may_be_of_files(trained, tmp_path):
    model = load_patch_model(trained / "run", "cpu")
    patches = PatchSet.from_arrays(np.random.default_rng(0).random((3, 2, 30, 24)), ["U", "V"])
    assert model.probabilities(patches).shape == (3, 2)
