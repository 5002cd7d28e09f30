"""Kinds of networks, from the configuration file to labels: full resolution, one or two encoders."""

from dataclasses import replace

import pytest
import torch
from training_examples import make_config, write_example

import meteoseg as ms
from meteoseg.channels import ABSENT
from meteoseg.errors import ChannelError, InputError
from meteoseg.models import read_card
from meteoseg.networks.unet import FullResolutionEncoder, PresentChannels
from meteoseg.train import train
from meteoseg.train.config import read_config

FULL_RESOLUTION = 'encoder = "full-resolution"\ndecoder_channels = [16, 8, 8]'
WIDTHS = "decoder_channels = [16, 8, 8, 8, 8]\n"


def network_config(folder, network, channels=""):
    make_config(folder, top=f'name = "late"\nlayers = ["components", "distance"]\n{channels}', optim="steps = 2")
    path = folder / "c.toml"
    text = path.read_text(encoding="utf-8").replace("[network]", f"[network]\n{network}")
    if "decoder_channels" in network:
        text = text.replace(WIDTHS, "")
    path.write_text(text, encoding="utf-8")
    return read_config(path)


@pytest.mark.parametrize(
    ("network", "fusion"),
    [
        ('fusion = "late"\npixel_width = 4', "late"),
        (f'fusion = "late"\n{FULL_RESOLUTION}', "late"),
        (FULL_RESOLUTION, "early"),
    ],
)
def test_each_kind_trains_and_segments_a_section_that_lacks_channels(tmp_path, network, fusion):
    for name, seed in (("a", 1), ("b", 2)):
        write_example(tmp_path / name, seed=seed)
    model = train(network_config(tmp_path, network), tmp_path / "run", progress=False)
    assert read_card(model).networks[0].fusion == fusion
    section = ms.open_section(tmp_path / "b")
    for names in (("BSE", "Mg", "Fe"), ("BSE",), ("Mg", "Fe")):
        part = replace(section, channels={name: section.channels[name] for name in names})
        assert ms.segment(part, model=model).components.shape == section.shape


def test_late_fusion_without_bse_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ChannelError, match="got the channels Mg, Fe"):
        network_config(tmp_path, 'fusion = "late"', 'channels = ["Mg", "Fe"]')


@pytest.mark.parametrize(
    ("network", "match"),
    [
        ('encoder = "full-resolution"\npretrained = true', "no pretrained weights"),
        ('encoder = "full-resolution"\ndecoder_channels = [8]', "between 2 and 6"),
    ],
)
def test_what_the_full_resolution_network_cannot_do_is_one_line(tmp_path, network, match):
    with pytest.raises(InputError, match=match):
        network_config(tmp_path, network)


def test_the_first_level_sees_single_pixels_and_two_around_them():
    torch.manual_seed(0)
    encoder = FullResolutionEncoder(1, (4, 8)).eval()
    image = torch.zeros(1, 1, 32, 32)
    changed = image.clone()
    changed[0, 0, 16, 16] = 1
    differs = (encoder(image)[0] != encoder(changed)[0]).any(dim=1)[0].nonzero()
    assert differs.amin(dim=0).tolist() == [14, 14]
    assert differs.amax(dim=0).tolist() == [18, 18]
    assert [16, 16] in differs.tolist()


def test_channels_that_lack_count_for_nothing_and_the_others_for_more():
    torch.manual_seed(0)
    layer = PresentChannels(4, 3)
    image = torch.rand(2, 4, 16, 16)
    image[1, 1:] = ABSENT
    planes = layer(image)
    alone = torch.nn.functional.conv2d(image[1:, :1], layer.convolution.weight[:, :1], padding=1)
    torch.testing.assert_close(planes[1:], 2 * alone)
    torch.testing.assert_close(planes[:1], layer.convolution(image[:1]))
    planes.sum().backward()
    assert torch.equal(layer.lacking.weight.grad.abs().sum(dim=0) > 0, torch.tensor([False, True, True, True]))
