import numpy as np
import pytest
from training_examples import make_config, write_example

from meteoseg.errors import InputError
from meteoseg.train.dataset import Crops, Example, crop_shares, load_split


@pytest.fixture
def three(tmp_path):
    for seed, name in enumerate(("sim-1", "sim-2", "own")):
        write_example(tmp_path / name, seed=seed)
    return tmp_path


def example(shape, in_focus):
    image = np.zeros((*shape, 2), np.float16)
    return Example("e", image, np.zeros((*shape, 1), np.uint8), np.ones(2, bool), None, in_focus)


def test_sections_in_focus_share_the_crops_they_are_given():
    shares = crop_shares([example((30, 100), False), example((10, 100), False), example((1, 50), True)], 0.4)
    np.testing.assert_allclose(shares, [0.45, 0.15, 0.4])


@pytest.mark.parametrize("in_focus", [True, False])
def test_the_share_has_no_meaning_where_all_or_none_are_in_focus(in_focus):
    shares = crop_shares([example((30, 100), in_focus), example((10, 100), in_focus)], 0.9)
    np.testing.assert_allclose(shares, [0.75, 0.25])


def test_crops_come_from_the_focus_as_often_as_asked(three):
    data = 'sections = ["sim-*"]\nfocus = ["own"]\nfocus_share = 0.8\nholdout = "block"\nfraction = 0.35\ngap_px = 4'
    train, held = load_split(make_config(three, data=data))
    assert [(each.name, each.in_focus) for each in train] == [("sim-1", False), ("sim-2", False), ("own", True)]
    assert [each.name for each in held] == ["own"]
    assert train[0].shape == (72, 104)
    assert train[2].shape[1] < 104
    assert Crops(train, make_config(three, data=data)).shares[2] == pytest.approx(0.8)


def test_a_section_named_twice_is_in_focus_once(three):
    data = 'sections = ["*"]\nfocus = ["own"]\nholdout = "block"\nfraction = 0.35\ngap_px = 4'
    config = make_config(three, data=data)
    (three / "c.toml").unlink()
    train, _ = load_split(config)
    assert sorted(each.name for each in train) == ["own", "sim-1", "sim-2"]


def test_a_held_out_section_in_focus_is_refused(three):
    data = 'sections = ["sim-1"]\nfocus = ["own"]\nvalidation = ["own"]'
    with pytest.raises(InputError, match="both trained on and held out"):
        load_split(make_config(three, data=data))


def test_focus_alone_is_enough_and_its_share_is_a_share(three):
    assert len(load_split(make_config(three, data='focus = ["own"]\nvalidation = ["sim-1"]'))[0]) == 1
    with pytest.raises(InputError, match=r"focus_share is 1\.5"):
        make_config(three, data='focus = ["own"]\nfocus_share = 1.5\nvalidation = ["sim-1"]')
