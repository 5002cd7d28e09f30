import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from training_examples import SHAPE, disc_labels, make_config, write_example

from meteoseg.channels import ABSENT
from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import ChannelError, InputError, PixelSizeError
from meteoseg.train import dataset
from meteoseg.train.config import DataConfig
from meteoseg.train.dataset import (
    DISTANCE_STEPS,
    IGNORE,
    Crops,
    Example,
    choose_classes,
    distance_target,
    find_examples,
    load_example,
    load_split,
    split_block,
    to_class_indices,
)


@pytest.fixture
def pair(tmp_path):
    write_example(tmp_path / "a", seed=1)
    write_example(tmp_path / "b", seed=2)
    return tmp_path


def plain(shape, channels=2, name="plain"):
    image = np.random.default_rng(0).random((*shape, channels)).astype(np.float16)
    return Example(name, image, np.zeros((*shape, 1), np.uint8), np.ones(channels, bool), None)


def test_example_has_normalised_channels_classes_and_distance(pair):
    config = make_config(pair)
    example = load_example(pair / "a", config)
    disc = disc_labels().astype(bool)
    assert example.image.shape == (*SHAPE, 16)
    present = [name for name, there in zip(CANONICAL_CHANNELS, example.present, strict=True) if there]
    assert present == ["BSE", "Mg", "Fe"]
    assert (example.image[..., ~example.present] == ABSENT).all()
    mg = example.image[..., CANONICAL_CHANNELS.index("Mg")].astype(float)
    assert mg[disc].mean() > mg[~disc].mean() + 0.2
    components, phases, distance = np.moveaxis(example.targets, 2, 0)
    np.testing.assert_array_equal(components, np.where(disc, 2, 7))
    np.testing.assert_array_equal(phases, np.where(disc, 1, 8))
    assert distance[36, 40] == DISTANCE_STEPS
    assert (distance[~disc] == 0).all()


def test_classes_are_numbered_in_legend_order_and_others_ignored(pair):
    config = make_config(pair, top='layers = ["phases", "components"]')
    examples = [load_example(pair / "a", config)]
    assert choose_classes(examples, config) == {
        "phases": ("olivine", "troilite"),
        "components": ("chondrule", "matrix"),
    }
    to_class_indices(examples, config, {"phases": ("troilite", "kamacite"), "components": ("chondrule", "matrix")})
    disc = disc_labels().astype(bool)
    np.testing.assert_array_equal(examples[0].targets[..., 0], np.where(disc, IGNORE, 0))
    np.testing.assert_array_equal(examples[0].targets[..., 1], np.where(disc, 0, 1))


def test_own_legend_of_the_truth_is_followed(tmp_path):
    legend = "layer,id,name,color,density_g_cm3\ncomponents,0,outside,#000000,\ncomponents,9,chondrule,#ffffff,\n"
    components = np.where(disc_labels(), 9, IGNORE).astype(np.uint8)
    write_example(tmp_path / "a", legend=legend, components=components)
    config = make_config(tmp_path, top='layers = ["components"]')
    target = load_example(tmp_path / "a", config).targets[..., 0]
    np.testing.assert_array_equal(target, np.where(disc_labels(), 2, IGNORE))


def test_coarser_grid_halves_maps_labels_and_distance(pair):
    config = make_config(pair, top="um_per_px = 4.0")
    example = load_example(pair / "a", config)
    assert example.shape == (36, 52)
    assert example.pixel_um == 4.0
    np.testing.assert_array_equal(example.targets[..., 0], np.where(disc_labels()[1::2, 1::2], 2, 7))
    assert example.targets[..., 2].max() == DISTANCE_STEPS


def test_pixel_size_is_needed_to_resample(pair):
    path = pair / "a" / "section.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("pixel_size_um = 2.0\n", ""), encoding="utf-8")
    config = make_config(pair, top="um_per_px = 4.0")
    with pytest.raises(PixelSizeError, match="unknown"):
        load_example(pair / "a", config)


def test_channel_that_a_section_lacks_is_refused(pair):
    config = make_config(pair, top='channels = ["Mg", "Ni"]')
    with pytest.raises(ChannelError, match="'Ni' is missing"):
        load_example(pair / "a", config)


def test_distance_parts_touching_objects_and_goes_on_past_the_border():
    labels = np.zeros((30, 41), int)
    labels[5:25, 5:20] = 1
    labels[5:25, 20:35] = 7
    labels[0:4, :] = 3
    distance = distance_target(labels) / DISTANCE_STEPS
    expected = np.minimum(distance_transform_edt(labels == 7), 6) / 6
    np.testing.assert_allclose(distance[labels == 7], expected[labels == 7], atol=0.003)
    assert (distance[10:20, 25:30] == 1).all()
    assert distance[15, 19] < 0.3
    assert distance[15, 20] < 0.3
    np.testing.assert_allclose(distance[:4, 7], [1, 0.75, 0.5, 0.25], atol=0.003)
    assert (distance[labels == 0] == 0).all()


def test_same_section_trained_on_and_held_out_is_refused(pair):
    config = make_config(pair, data='sections = ["*"]\nvalidation = ["b"]')
    (pair / "c.toml").rename(pair / "c.txt")
    (pair / "c.txt").unlink()
    with pytest.raises(InputError, match="both trained on and held out"):
        load_split(config)


def test_held_out_link_to_a_trained_section_is_refused(pair):
    (pair / "copy").symlink_to(pair / "a")
    config = make_config(pair, data='sections = ["a"]\nvalidation = ["copy"]')
    with pytest.raises(InputError, match="both trained on and held out"):
        load_split(config)


def test_unfinished_folders_are_no_examples(pair):
    (pair / ".c.partial-1").mkdir()
    assert [folder.name for folder in find_examples([f"{pair}/*"])] == ["a", "b"]


def test_glob_without_match_is_refused(pair):
    config = make_config(pair, data='sections = ["z*"]\nholdout = "block"')
    with pytest.raises(InputError, match="matches no folder"):
        load_split(config)


@pytest.mark.parametrize("seed", range(4))
def test_block_split_leaves_a_gap(seed):
    example = plain((60, 200))
    example.targets[..., 0] = np.arange(200)
    kept, held = split_block(example, DataConfig(("x",), holdout="block", fraction=0.25, gap_px=10), seed=seed)
    left, right = sorted((set(np.unique(part.targets)) for part in (kept, held)), key=min)
    assert held.shape == (60, 50)
    assert kept.shape == (60, 140)
    assert min(right) - max(left) == 11


def test_section_too_small_for_a_block_is_refused():
    with pytest.raises(InputError, match="too small"):
        split_block(plain((60, 70)), DataConfig(("x",), holdout="block"), seed=0)


def test_crops_depend_on_their_number_alone(pair):
    config = make_config(pair)
    train, _ = load_split(config)
    first = Crops(train, config)
    later = iter(Crops(train, config, start=2 * config.optim.batch_size))
    batches = [batch for batch, _ in zip(first, range(3), strict=False)]
    again = next(later)
    torch.testing.assert_close(again["image"], batches[2]["image"], rtol=0, atol=0)
    assert not torch.equal(batches[0]["image"], batches[1]["image"])
    assert batches[0]["image"].shape == (2, 16, 32, 32)
    assert batches[0]["image"].is_contiguous(memory_format=torch.channels_last)
    assert batches[0]["distance"].dtype == torch.uint8


def test_workers_take_turns(pair, monkeypatch):
    config = make_config(pair)
    train, _ = load_split(config)
    alone = [batch["image"] for batch, _ in zip(Crops(train, config), range(4), strict=False)]
    for worker in range(2):
        info = type("Info", (), {"id": worker, "num_workers": 2})
        monkeypatch.setattr(dataset, "get_worker_info", lambda info=info: info)
        mine = [batch["image"] for batch, _ in zip(Crops(train, config), range(2), strict=False)]
        torch.testing.assert_close(torch.stack(mine), torch.stack(alone[worker::2]), rtol=0, atol=0)


def test_validation_crops_end_and_are_not_varied(pair):
    config = make_config(pair)
    _, held_out = load_split(config)
    crops = Crops(held_out, config, count=5, augmented=False, dropout=False)
    batches = list(crops)
    assert [len(batch["image"]) for batch in batches] == [2, 2, 1]
    mg = CANONICAL_CHANNELS.index("Mg")
    patch = batches[0]["image"][0, mg].numpy()
    whole = held_out[0].image[..., mg].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (32, 32))
    assert (windows == patch).all(axis=(2, 3)).sum() == 1
