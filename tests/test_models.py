import logging

import pytest
import torch

from meteoseg import models
from meteoseg.errors import ChannelError, InputError, UnknownNameError
from meteoseg.models import (
    ModelCard,
    Network,
    NetworkCard,
    build_network,
    combine_models,
    load_model,
    read_card,
    save_model,
)


def tiny_card(name="fine", layers=("components", "distance")):
    return NetworkCard(
        name,
        layers,
        ("Fe", "Mg", "S"),
        component_classes=("outside", "chondrule", "matrix"),
        phase_classes=("olivine", "troilite"),
        canonical=True,
        um_per_px=4.0,
        um_per_px_range=(2.0, 8.0),
        decoder_channels=(16, 8, 8, 8, 8),
    )


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    network = Network(tiny_card()).eval()
    card = ModelCard("mine", (network.card,), training_data=("A", "B"), scores={"miou": 0.5}, licence="CC0-1.0")
    return save_model(tmp_path / "m.safetensors", card, {"fine": network.state_dict()}), network, card


def test_card_survives_the_file(saved):
    path, _, card = saved
    assert read_card(path) == card
    assert read_card(path).networks[0].um_per_px_range == (2.0, 8.0)


def test_predictions_survive_the_file_within_half_precision(saved):
    path, network, _ = saved
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    loaded = load_model(path, device="cpu")
    with torch.inference_mode():
        before, after = network(image), loaded.networks["fine"](image)
    torch.testing.assert_close(after, before, rtol=0.01, atol=0.01)
    assert before.shape == (1, 4, 64, 96)
    assert before.std() > 0.02
    assert len(loaded.sha256) == 64


def test_file_is_half_precision_but_keeps_what_would_overflow(tmp_path):
    network = Network(tiny_card())
    state = network.state_dict()
    key = next(name for name in state if name.endswith("running_var"))
    state[key] = torch.full_like(state[key], 1e6)
    path = save_model(tmp_path / "m.safetensors", ModelCard("m", (network.card,)), {"fine": state})
    parameters = sum(value.numel() for value in state.values())
    assert path.stat().st_size < 2.4 * parameters
    kept = load_model(path, device="cpu").networks["fine"].state_dict()[key]
    assert float(kept[0]) == 1e6


def test_split_names_the_planes_in_order():
    network = Network(tiny_card(layers=("distance", "phases", "components")))
    logits = torch.arange(6.0).reshape(1, 6, 1, 1)
    parts = {layer: part.flatten().tolist() for layer, part in network.split(logits).items()}
    assert parts == {"distance": [0], "phases": [1, 2], "components": [3, 4, 5]}


def test_training_folder_stands_for_its_model(saved, tmp_path):
    path, _, card = saved
    path.rename(tmp_path / "model.safetensors")
    assert load_model(tmp_path, device="cpu").card == card


def test_folder_without_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        load_model(tmp_path)


def test_unknown_name_is_refused():
    with pytest.raises(UnknownNameError, match="no such file or folder"):
        load_model("no-such-model")


@pytest.mark.parametrize("keep", [0, 7, 2000])
def test_truncated_file_is_refused(saved, keep):
    path, *_ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="cannot be read"):
        load_model(path)


def test_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="no meteoseg card"):
        load_model(tmp_path / "x.safetensors")


def test_missing_weights_are_refused(saved, tmp_path):
    _, network, card = saved
    state = dict(list(network.state_dict().items())[:-1])
    path = save_model(tmp_path / "less.safetensors", card, {"fine": state})
    with pytest.raises(InputError, match="lacks weights of its network 'fine'"):
        load_model(path)


def test_card_and_weights_must_name_the_same_networks(saved, tmp_path):
    _, network, card = saved
    with pytest.raises(InputError, match="coarse"):
        save_model(tmp_path / "m.safetensors", card, {"coarse": network.state_dict()})


def test_family_of_two_networks(saved, tmp_path):
    path, network, _ = saved
    torch.manual_seed(5)
    other = Network(tiny_card("coarse", ("phases",)))
    second = save_model(tmp_path / "c.safetensors", ModelCard("c", (other.card,)), {"coarse": other.state_dict()})
    family = combine_models(tmp_path / "f.safetensors", "both", [path, second], licence="MIT", notes=("joined",))
    model = load_model(family, device="cpu")
    assert list(model.networks) == ["fine", "coarse"]
    assert (model.card.licence, model.card.notes) == ("MIT", ("joined",))
    assert model.card.scores == {"mine.miou": 0.5}
    weight = "unet.encoder.model.conv_stem.weight"
    torch.testing.assert_close(model.networks["fine"].state_dict()[weight], network.state_dict()[weight].half().float())
    with pytest.raises(InputError, match="unique names"):
        combine_models(tmp_path / "g.safetensors", "twice", [path, path])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"layers": ("component",)}, "Did you mean 'components'"),
        ({"layers": ()}, "at least one layer"),
        ({"name": "a.b"}, "without a full stop"),
        ({"component_classes": ("matrix",)}, "at least two classes"),
    ],
)
def test_impossible_cards_are_refused(changes, match):
    values = {"name": "n", "layers": ("components",), "channels": ("Fe",), "component_classes": ("a", "b")}
    with pytest.raises((InputError, UnknownNameError), match=match):
        NetworkCard(**(values | changes))


def test_unreachable_pretrained_weights_are_logged_and_noted(monkeypatch, caplog):
    class Offline(Network):
        def __init__(self, card, *, pretrained=False):
            if pretrained:
                raise OSError("no route to host")
            super().__init__(card)

    monkeypatch.setattr(models, "Network", Offline)
    with caplog.at_level(logging.WARNING):
        _, notes = build_network(tiny_card(), pretrained=True)
    assert "no route to host" in notes[0]
    assert "started at random" in caplog.text


def test_pixel_branch_adds_to_the_unet_and_sees_five_pixels() -> None:
    card = NetworkCard("n", ("phases",), ("Fe", "Mg"), phase_classes=("olivine", "troilite"), pixel_width=8)
    network = Network(card).eval()
    assert network.pixel is not None
    image = torch.rand(1, 2, 32, 64, generator=torch.Generator().manual_seed(3))
    moved = image.clone()
    moved[:, :, 10, 20] += 1.0
    with torch.no_grad():
        torch.testing.assert_close(network(image), network.unet(image) + network.pixel(image))
        changed = (network.pixel(moved) != network.pixel(image)).any(dim=1)[0].nonzero()
    assert changed.min(dim=0).values.tolist() == [8, 18]
    assert changed.max(dim=0).values.tolist() == [12, 22]


def late_card(**changes):
    values = {"component_classes": ("chondrule", "matrix"), "decoder_channels": (16, 8, 8, 8, 8), "pixel_width": 4}
    return NetworkCard("n", ("components",), ("Mg", "BSE", "Fe"), **(values | {"fusion": "late"} | changes))


def test_late_fusion_gives_bse_and_elements_encoders_of_their_own():
    torch.manual_seed(2)
    network = Network(late_card()).eval()
    image = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(3))
    without_bse = image.clone()
    without_bse[:, 1] = 0
    with torch.no_grad():
        bse, elements = network.unet.encoders.parts(image)
        bse_without, elements_without = network.unet.encoders.parts(without_bse)
        assert network(image).shape == (1, 2, 64, 32)
        assert not torch.allclose(network(image), network(without_bse))
    assert [plane.shape[1] for plane in (bse[0], elements[0])] == [1, 2]
    torch.testing.assert_close(elements_without, elements)
    assert not torch.allclose(bse_without[-1], bse[-1])


def test_late_fusion_joins_at_every_level_and_adds_one_encoder_only():
    late, early = Network(late_card()), Network(late_card(fusion="early"))
    sizes = [
        {name: sum(p.numel() for p in part.parameters()) for name, part in network.unet.named_children()}
        for network in (late, early)
    ]
    assert sizes[0]["decoder"] == sizes[1]["decoder"]
    assert sizes[0]["segmentation_head"] == sizes[1]["segmentation_head"]
    assert sizes[0]["encoders"] == pytest.approx(2 * sizes[1]["encoder"], rel=0.001)
    late.train()(torch.rand(2, 3, 64, 64)).sum().backward()
    stems = [encoder.model.conv_stem.weight for encoder in late.unet.encoders.branches.values()]
    assert all(stem.grad is not None and stem.grad.abs().sum() > 0 for stem in stems)


def test_late_fusion_survives_the_file(tmp_path):
    torch.manual_seed(4)
    network = Network(late_card()).eval()
    path = save_model(tmp_path / "m.safetensors", ModelCard("m", (network.card,)), {"n": network.state_dict()})
    loaded = load_model(path, device="cpu").networks["n"]
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image), network(image), rtol=0.01, atol=0.01)
    assert loaded.card.fusion == "late"


def test_cards_from_before_fusion_are_read_as_early():
    card = ModelCard("m", (tiny_card(),))
    text = card.to_json().replace('"fusion": "early",', "")
    assert "fusion" not in text
    assert ModelCard.from_json(text) == card


@pytest.mark.parametrize("channels", [("Fe", "Mg"), ("BSE",), ("BSE", "gaussian(BSE, 2)")])
def test_late_fusion_without_one_of_the_modalities_is_refused(channels):
    with pytest.raises(
        ChannelError, match=r"needs BSE and at least one element, got the channels .*fusion = \"early\""
    ):
        NetworkCard("n", ("distance",), channels, fusion="late")


def test_unknown_fusion_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'late'"):
        NetworkCard("n", ("distance",), ("Fe", "BSE"), fusion="lat")
