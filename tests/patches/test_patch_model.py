"""The network for patches at work: its folded form gives what the plain one gives."""

import numpy as np
import pytest
import torch

from meteoseg.channels import ABSENT
from meteoseg.patches import load_patch_model
from meteoseg.patches import model as patch_model
from meteoseg.patches.card import PatchCard
from meteoseg.patches.model import network_logits, views_of
from meteoseg.patches.network import PatchNetwork


def crops(channels: int, side_px: int) -> np.ndarray:
    """Seven images (C, P, P); two lack the second channel, one all but the first."""
    images = np.random.default_rng(3).random((7, channels, side_px, side_px), np.float32)
    images[[1, 4], 1] = ABSENT
    images[6, 1:] = ABSENT
    return images


@pytest.mark.parametrize("fusion", ["early", "shared"])
def test_folded_network_gives_what_the_plain_one_gives(monkeypatch, fusion):
    monkeypatch.setattr(patch_model, "fast_bfloat16", lambda: False)
    card = PatchCard("n", ("a", "b", "c"), ("U", "V"), patch_px=32, widths=(8, 12), fusion=fusion)
    torch.manual_seed(5)
    network = PatchNetwork(card).eval()
    images = crops(2, 32)
    with torch.inference_mode():
        plain = network(torch.from_numpy(images)).numpy()
    found = network_logits(network, lambda index: images[index], len(images), batch_size=4)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    assert np.ptp(found, axis=0).min() > 1e-3


def test_half_precision_hardly_changes_the_shipped_network(monkeypatch):
    network = load_patch_model("chondrule-textures").file.network.cpu().eval()
    images = crops(network.card.n_planes, network.card.patch_px)
    with torch.inference_mode():
        views = views_of(torch.from_numpy(images), network.card.views)
        plain = torch.stack([network(view) for view in views]).mean(dim=0).numpy()
    monkeypatch.setattr(patch_model, "fast_bfloat16", lambda: True)
    found = network_logits(network, lambda index: images[index], len(images))
    assert np.abs(found - plain).max() < 0.1
    assert (found.argmax(axis=1) == plain.argmax(axis=1)).all()
