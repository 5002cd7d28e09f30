from dataclasses import replace

import numpy as np
import pytest
import torch
from training_examples import make_config, write_example

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.io import open_section
from meteoseg.models import load_model, save_model
from meteoseg.train import train
from meteoseg.train.config import read_config
from meteoseg.train.leakage import record
from meteoseg.train.start import take_over

PLAIN = "\n[augment]\nnoise = 0.02\n"


@pytest.fixture
def pair(tmp_path):
    write_example(tmp_path / "a", seed=1)
    write_example(tmp_path / "b", seed=2)
    return tmp_path


def started(folder, *, top="", network="", optim="steps = 1\nlearning_rate = 1e-9"):
    text = f"""{top}
[data]
sections = ["a"]
validation = ["b"]
[network]
{network}
[optim]
batch_size = 2
tile_px = 32
threads = 1
precision = "32"
validation_crops = 2
{optim}
"""
    (folder / "c.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "c.toml")


@pytest.fixture
def first_run(pair):
    config = make_config(pair, top='name = "first"\nlayers = ["components", "distance"]', optim="steps = 2")
    train(config, pair / "first", progress=False)
    return pair


def test_weights_settings_and_training_data_are_taken_over(first_run):
    before = load_model(first_run / "first", device="cpu")
    config = started(first_run, top='name = "second"', network='start = "first"')
    after = load_model(train(config, first_run / "second", progress=False), device="cpu")
    card, old = after.card.networks[0], before.card.networks[0]
    assert (card.layers, card.component_classes, card.decoder_channels) == (
        ("components", "distance"),
        ("chondrule", "matrix"),
        old.decoder_channels,
    )
    for key, value in before.networks["first"].state_dict().items():
        if "running" not in key and "tracked" not in key:
            torch.testing.assert_close(after.networks["second"].state_dict()[key], value, rtol=0, atol=2e-3)
    assert any(before.sha256 in note and "'first'" in note for note in after.card.notes)
    assert after.card.training_data == ("a",)


def test_training_data_of_the_start_model_come_first(first_run):
    model = load_model(first_run / "first", device="cpu")
    card = replace(model.card, training_data=("simulated sections",))
    save_model(first_run / "sim.safetensors", card, {name: net.state_dict() for name, net in model.networks.items()})
    config = started(first_run, network='start = "sim.safetensors"')
    assert load_model(train(config, first_run / "next", progress=False)).card.training_data == (
        "simulated sections",
        "a",
    )


def test_the_same_start_goes_on_in_the_same_folder(first_run):
    config = started(first_run, network='start = "first"')
    train(config, first_run / "second", progress=False)
    assert train(config, first_run / "second", progress=False).is_file()


def test_shipped_names_are_not_taken_for_paths(pair):
    config, model = take_over(started(pair, network='start = "chondrite"\nstart_network = "coarse"'))
    assert config.network.start == "chondrite"
    assert config.layers == ("components", "distance")
    assert config.um_per_px == model.networks["coarse"].card.um_per_px
    assert config.network.component_classes == model.networks["coarse"].card.component_classes


def test_a_model_with_several_networks_asks_which(pair):
    with pytest.raises(InputError, match=r"coarse \(components, distance\).*start_network"):
        take_over(started(pair, network='start = "chondrite"'))


def test_layers_choose_the_network_where_one_delivers_them(pair):
    config, _ = take_over(started(pair, top='layers = ["phases"]', network='start = "chondrite"'))
    assert config.network.start_network == "fine"


@pytest.mark.parametrize(
    ("top", "network", "match"),
    [
        ('channels = ["Mg", "Fe"]', "", r"channels is \['Mg', 'Fe'\] .* the canonical list"),
        ("um_per_px = 4", "", "um_per_px is 4.0 .* 10.0: leave um_per_px out"),
        ('layers = ["phases"]', "", "layers is .*'phases'.* has .*'components', 'distance'"),
        ("", 'component_classes = ["chondrule", "matrix"]', "component_classes is .* leave component_classes out"),
        ("", "pixel_width = 7", "pixel_width is 7 "),
    ],
)
def test_settings_that_do_not_agree_are_refused(pair, top, network, match):
    config = started(pair, top=top, network=f'start = "chondrite"\nstart_network = "coarse"\n{network}')
    with pytest.raises(InputError, match=match) as caught:
        take_over(config)
    assert "\n" not in str(caught.value)


def test_unknown_network_names_the_closest(pair):
    config = started(pair, network='start = "chondrite"\nstart_network = "corse"')
    with pytest.raises(UnknownNameError, match="Did you mean 'coarse'"):
        take_over(config)


def test_start_network_without_start_and_start_with_pretrained_are_refused(pair):
    with pytest.raises(InputError, match="start_network is given without start"):
        started(pair, network='start_network = "coarse"')
    with pytest.raises(InputError, match="exclude each other"):
        started(pair, network='start = "chondrite"\npretrained = true')


def test_channel_expressions_are_taken_over(pair):
    ratio = 'name = "ratio"\nchannels = ["Mg / (Mg + Fe)"]\nlayers = ["components"]'
    train(make_config(pair, top=ratio, optim="steps = 1"), pair / "ratio", progress=False)
    config, _ = take_over(started(pair, network='start = "ratio"'))
    assert config.channels == ("Mg / (Mg + Fe)",)
    assert not config.canonical
    other = started(pair, top='channels = ["Mg / Fe"]', network='start = "ratio"')
    with pytest.raises(InputError, match=r"has \['Mg / \(Mg \+ Fe\)'\]: leave channels out"):
        take_over(other)


def test_all_layers_are_trained_where_none_are_named(pair):
    assert make_config(pair).layers == ("components", "phases", "distance")
    assert np.isin(["phases"], make_config(pair, top="layers = []").layers).all()


def test_validation_that_the_start_model_was_trained_on_is_refused(first_run):
    config = started(first_run, network='start = "first"')
    data = replace(config.data, sections=config.data.validation, validation=config.data.sections)
    swapped = replace(config, data=data)
    with pytest.raises(InputError, match=r"Model 'first' was trained on 'a'.* out of \[data\] validation"):
        take_over(swapped)
    take_over(config)


def test_validation_is_compared_with_what_a_model_was_tuned_on(first_run):
    model = load_model(first_run / "first", device="cpu")
    known = record(open_section(first_run / "b"), Window(0, 0, 72, 40), name="elsewhere")
    states = {name: net.state_dict() for name, net in model.networks.items()}
    save_model(first_run / "own.safetensors", replace(model.card, training_data=(known,)), states)
    with pytest.raises(InputError, match="rows 0-71, columns 0-39 of 'elsewhere'"):
        take_over(started(first_run, network='start = "own.safetensors"'))
