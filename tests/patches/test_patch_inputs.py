"""From images to the input of a network: channels, normalisation, size, variation, and the card."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from patch_examples import stripes

from meteoseg.channels import ABSENT
from meteoseg.errors import ChannelError, InputError, ShapeMismatchError, UnknownNameError
from meteoseg.models import ModelCard
from meteoseg.patches import PatchCard, PatchSet
from meteoseg.patches.batches import Variation, turned
from meteoseg.patches.config import PatchAugmentConfig
from meteoseg.patches.network import PatchNetwork
from meteoseg.patches.prepare import Preparation, fit_dataset

CARD = PatchCard("n", ("a", "b"), ("U", "V"), patch_px=24, normalisation="none", fit="exact", widths=(4, 8))


def test_plain_channels_come_in_the_order_of_the_card():
    image = np.stack([np.full((24, 24), value, np.float32) for value in (1, 2, 3)])
    out = Preparation(CARD, ("V", "W", "U"))(image, "x")
    assert out[:, 0, 0].tolist() == [3, 1]


def test_expressions_are_worked_out():
    card = replace(CARD, channels=("Mg / (Mg + Fe)",))
    image = np.stack([np.full((24, 24), value, np.float32) for value in (1, 3)])
    assert Preparation(card, ("Fe", "Mg"))(image, "x")[0, 5, 7] == 0.75


def test_missing_channel_is_told():
    with pytest.raises(ChannelError, match=r"Channel 'V' is missing from the images \(they have U, W\)"):
        Preparation(CARD, ("U", "W"))
    with pytest.raises(ChannelError, match="Channel 'Mg' is missing"):
        Preparation(replace(CARD, channels=("Mg / Fe",)), ("Fe", "Ca"))


def test_image_of_another_size_is_told():
    image = np.zeros((2, 20, 24), np.float32)
    with pytest.raises(ShapeMismatchError, match=r"Image p is 20 x 24 px .* takes 24 x 24"):
        Preparation(CARD, ("U", "V"))(image, "p")
    with pytest.raises(ShapeMismatchError, match="larger than the 24 x 24"):
        Preparation(replace(CARD, fit="pad"), ("U", "V"))(np.zeros((2, 20, 30), np.float32), "p")


def test_padding_centres_and_resizing_keeps_the_shape():
    image = np.ones((2, 12, 20), np.float32)
    padded = Preparation(replace(CARD, fit="pad"), ("U", "V"))(image, "p")
    assert padded[0].sum() == 240
    assert padded[0, 6:18, 2:22].all()
    fitted = Preparation(replace(CARD, fit="resize"), ("U", "V"))(np.ones((2, 24, 48), np.float32), "p")
    assert fitted[0].sum() == 24 * 12
    assert fitted[0, 6:18].all()


def test_data_set_is_normalised_by_its_signal():
    images = np.zeros((20, 2, 24, 24), np.float32)
    images[:, 0, 3, 4:9] = 50
    images[:, 1] = np.random.default_rng(0).uniform(10, 20, (20, 24, 24))
    zero, scale = fit_dataset(PatchSet.from_arrays(images, ["U", "V"]), ["U", "V"], seed=1)
    assert (zero[0], scale[0]) == (0, 50)
    assert zero[1] == pytest.approx(10, abs=0.2)
    assert scale[1] == pytest.approx(10, abs=0.3)
    card = replace(CARD, normalisation="dataset", zero=zero, scale=scale)
    assert Preparation(card, ("U", "V"))(images[0], "x")[0, 3, 4] == 1


def test_canonical_channels_may_lack():
    card = replace(CARD, channels=("BSE", "Mg"), canonical=True, normalisation="image", fit="resize", mask="plane")
    image = np.random.default_rng(0).random((1, 10, 14)).astype(np.float32)
    out = Preparation(card, ("Mg",))(image, "x")
    assert (out[0] == ABSENT).all()
    assert out[1].max() > 0.9
    assert (out[2] == 1).all()
    with pytest.raises(ChannelError, match="missing"):
        Preparation(card, ("Fe",))


def test_variation_keeps_empty_pixels_empty_and_repeats_by_seed():
    settings = PatchAugmentConfig(symmetry="square", shift_px=3, gain=0.3, noise=0.2, drop_channel=0.5)
    image = np.zeros((2, 24, 24), np.float32)
    image[:, 10:14, 9:15] = 0.5
    vary = Variation(settings, CARD)
    out = vary(image, np.random.default_rng(1))
    np.testing.assert_array_equal(out, vary(image, np.random.default_rng(1)))
    present = out[out[:, 0, 0] != ABSENT]
    assert len(present) >= 1
    assert (present != 0).any(axis=0).sum() <= 24
    assert image.max() == 0.5


def test_symmetries_turn_only_what_they_may():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    seen = {
        name: {turned(image, name, np.random.default_rng(seed)).tobytes() for seed in range(60)}
        for name in ("none", "mirror-rows", "mirror-cols", "mirrors", "square")
    }
    assert {name: len(found) for name, found in seen.items()} == {
        "none": 1, "mirror-rows": 2, "mirror-cols": 2, "mirrors": 4, "square": 8,
    }  # fmt: skip
    assert np.ascontiguousarray(image[:, ::-1]).tobytes() in seen["mirror-rows"]


@pytest.mark.parametrize("fusion", ["early", "late", "shared"])
@pytest.mark.parametrize("encoder", ["full-resolution", "tu-mobilenetv3_small_100"])
def test_networks_take_any_number_of_channels(fusion, encoder):
    card = replace(CARD, channels=tuple("UVWXY"), encoder=encoder, fusion=fusion, patch_px=32, mask="plane")
    network = PatchNetwork(card).eval()
    assert network(torch.zeros(3, 6, 32, 32)).shape == (3, 2)
    n_encoders = {"early": 1, "late": 5, "shared": 1}[fusion]
    assert len(network.encoders) == n_encoders


def test_shared_encoder_does_not_care_which_plane_is_which():
    card = replace(CARD, fusion="shared")
    network = PatchNetwork(card).eval()
    image = torch.rand(1, 2, 24, 24)
    half = network.features(image).chunk(2, dim=1)
    turned_half = network.features(image.flip(1)).chunk(2, dim=1)
    torch.testing.assert_close(half[0], turned_half[1])


def test_unknown_encoder_is_told():
    with pytest.raises(InputError, match="Encoder 'resnet19' is not possible"):
        PatchNetwork(replace(CARD, encoder="resnet19"))


def test_card_refuses_what_cannot_be():
    with pytest.raises(InputError, match="two different classes"):
        replace(CARD, classes=("a", "a"))
    with pytest.raises(InputError, match="leave such labels empty"):
        replace(CARD, classes=("a", "unclassified"))
    with pytest.raises(InputError, match="name each channel once"):
        replace(CARD, fusion="late", branches=(("U",),))
    with pytest.raises(UnknownNameError, match="Unknown fit 'crop'"):
        replace(CARD, fit="crop")


def test_cards_of_the_two_tasks_are_told_apart():
    with pytest.raises(InputError, match="use it with meteoseg classify-patches"):
        ModelCard.from_json(CARD.to_json())
    with pytest.raises(InputError, match="cannot be read"):
        PatchCard.from_json("[]")


def test_stripes_are_not_alike():
    rng = np.random.default_rng(0)
    assert not np.allclose(stripes(rng, along_rows=True)[0], stripes(rng, along_rows=False)[0])
