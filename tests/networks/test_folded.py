"""The form in which networks run is the same function."""

import numpy as np
import pytest
import torch
from torch import nn

from meteoseg.channels import ABSENT
from meteoseg.models import Network, NetworkCard
from meteoseg.networks.folded import Convolution, folded

CHANNELS = ("BSE", "Fe", "Mg", "Si")


def trained_like(**changes):
    """A network with normalisation and weights for absent channels that are not those of the start."""
    values = {"layers": ("phases",), "channels": CHANNELS, "phase_classes": ("olivine", "troilite", "hole")}
    torch.manual_seed(2)
    network = Network(NetworkCard("n", **(values | changes))).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
        if isinstance(module, nn.Linear) and module.in_features == len(CHANNELS):
            module.weight.data.normal_()
    return network


def image_with(present):
    image = np.random.default_rng(7).random((1, len(CHANNELS), 64, 96)).astype(np.float32)
    image[:, ~present] = ABSENT
    return torch.from_numpy(image)


@pytest.mark.parametrize("lacking", [[], [0], [1, 3]])
@pytest.mark.parametrize(
    "kind",
    [
        {"encoder": "full-resolution", "decoder_channels": (12, 8, 6)},
        {"encoder": "full-resolution", "decoder_channels": (8, 6), "fusion": "late"},
        {"decoder_channels": (16, 8, 8, 8, 8), "pixel_width": 6},
    ],
)
def test_folded_network_gives_the_same_logits(kind, lacking):
    network = trained_like(**kind)
    present = np.ones(len(CHANNELS), bool)
    present[lacking] = False
    image = image_with(present)
    with torch.inference_mode():
        plain = network(image)
        lean = folded(network, torch.from_numpy(present), torch.float32)
        quick = lean(image.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(quick.numpy(), plain.numpy(), rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_folding_leaves_the_network_as_it_was():
    network = trained_like(encoder="full-resolution", decoder_channels=(8, 6))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded(network, torch.ones(len(CHANNELS), dtype=torch.bool), torch.bfloat16)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_nothing_is_left_to_normalise_at_full_resolution():
    network = trained_like(encoder="full-resolution", decoder_channels=(8, 6))
    lean = folded(network, torch.ones(len(CHANNELS), dtype=torch.bool), torch.float32)
    kinds = [type(module) for module in lean.modules()]
    assert nn.BatchNorm2d not in kinds
    assert nn.ReLU not in kinds
    assert kinds.count(Convolution) == 6


def test_fused_and_plain_rectifier_are_the_same(monkeypatch):
    network = trained_like(encoder="full-resolution", decoder_channels=(8, 6))
    lean = folded(network, torch.ones(len(CHANNELS), dtype=torch.bool), torch.float32)
    image = image_with(np.ones(len(CHANNELS), bool)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        fused = lean(image)
        monkeypatch.setattr("meteoseg.networks.folded._FUSED", None)
        plain = lean(image)
    np.testing.assert_allclose(fused.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
