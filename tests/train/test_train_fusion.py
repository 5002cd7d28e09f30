"""A network with an encoder each for BSE and for the elements, from the configuration file to labels."""

from dataclasses import replace

import pytest
from training_examples import make_config, write_example

import meteoseg as ms
from meteoseg.errors import ChannelError
from meteoseg.models import read_card
from meteoseg.train import train
from meteoseg.train.config import read_config


def late_config(folder, channels=""):
    make_config(folder, top=f'name = "late"\nlayers = ["components", "distance"]\n{channels}', optim="steps = 2")
    path = folder / "c.toml"
    text = path.read_text(encoding="utf-8").replace("[network]", '[network]\nfusion = "late"\npixel_width = 4')
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_late_fusion_trains_and_segments_a_section_that_lacks_channels(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_example(tmp_path / name, seed=seed)
    model = train(late_config(tmp_path), tmp_path / "run", progress=False)
    assert read_card(model).networks[0].fusion == "late"
    section = ms.open_section(tmp_path / "b")
    for names in (("BSE", "Mg", "Fe"), ("BSE",), ("Mg", "Fe")):
        part = replace(section, channels={name: section.channels[name] for name in names})
        assert ms.segment(part, model=model).components.shape == section.shape


def test_late_fusion_without_bse_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ChannelError, match="got the channels Mg, Fe"):
        late_config(tmp_path, 'channels = ["Mg", "Fe"]')
