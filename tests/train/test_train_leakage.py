import numpy as np
import pytest
import tifffile
from training_examples import make_config, write_example

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.section import Section
from meteoseg.train.config import read_config
from meteoseg.train.dataset import load_split
from meteoseg.train.leakage import check_unseen, fingerprint, record, shared_pair


def maps(seed, shape=(120, 150), top=200):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, top, shape).astype(np.uint8) for name in ("BSE", "Mg", "Fe")}


def prints(*arrays):
    return [fingerprint(Section.from_arrays(f"s{number}", each)) for number, each in enumerate(arrays)]


def test_different_sections_share_nothing():
    assert shared_pair(prints(maps(1), maps(2), maps(3))) is None


@pytest.mark.parametrize("low", [3, 12])
def test_low_counts_and_flat_areas_do_not_look_alike(low):
    assert shared_pair(prints(maps(1, top=low), maps(2, top=low))) is None
    flat = {name: np.full((90, 90), 7, np.uint8) for name in ("Mg", "Fe")}
    assert shared_pair(prints(flat, flat)) is None


def test_copy_in_another_type_under_another_channel_is_found():
    whole = maps(1)
    copy = {"Si": whole["Mg"].astype(np.float32)}
    assert shared_pair(prints(maps(4), whole, copy)) == ("s1", "s2")


def test_overlapping_crops_are_found():
    whole = maps(1)
    left, right = ({name: values[:, part] for name, values in whole.items()} for part in (np.s_[:90], np.s_[60:]))
    assert shared_pair(prints(left, right)) == ("s0", "s1")
    apart = {name: values[:, 95:] for name, values in whole.items()}
    assert shared_pair(prints(left, apart)) is None


def rough(folder, seed):
    """Maps with enough counts that small blocks are unmistakable."""
    rng = np.random.default_rng(seed)
    for name in ("BSE", "Mg", "Fe"):
        counts = rng.poisson(900, (72, 104)).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", counts)
    return folder


@pytest.fixture
def pair(tmp_path):
    for seed, name in enumerate("ab"):
        rough(write_example(tmp_path / name), seed)
    return tmp_path


def copied(source, target, rows=slice(None)):
    """A copy of the maps of an example, compressed and in another type."""
    write_example(target)
    for name in ("BSE", "Mg", "Fe"):
        values = tifffile.imread(source / f"{name}.tif").astype(np.uint32)[rows]
        tifffile.imwrite(target / f"{name}.tif", values, compression="zlib")
    for name in ("phases", "components", "chondrules"):
        path = target / "truth" / f"{name}.ome.tif"
        tifffile.imwrite(path, tifffile.imread(path)[rows])


def test_held_out_copy_of_a_trained_section_is_refused(pair):
    copied(pair / "a", pair / "renamed")
    config = make_config(pair, data='sections = ["a", "b"]\nvalidation = ["renamed"]')
    with pytest.raises(InputError, match=r"renamed' and '.*a' show the same pixels"):
        load_split(config)


def test_held_out_crop_of_a_trained_section_is_refused(pair):
    copied(pair / "a", pair / "crop", slice(30, None))
    config = make_config(pair, data='sections = ["a"]\nvalidation = ["crop"]')
    with pytest.raises(InputError, match="show the same pixels"):
        load_split(config)


def test_copies_leak_between_blocks_too(pair):
    copied(pair / "a", pair / "renamed")
    config = make_config(pair, data='sections = ["a", "renamed"]\nholdout = "block"\nfraction = 0.35\ngap_px = 4')
    with pytest.raises(InputError, match="show the same pixels"):
        load_split(config)


def test_copy_of_a_section_in_focus_is_refused_among_the_others(pair):
    copied(pair / "a", pair / "renamed")
    data = 'sections = ["b", "renamed"]\nfocus = ["a"]\nholdout = "block"\nfraction = 0.35\ngap_px = 4'
    with pytest.raises(InputError, match="show the same pixels"):
        load_split(make_config(pair, data=data))


@pytest.mark.parametrize("way", ["random", "pixels", "patches", "patch", "crops"])
def test_random_hold_out_is_refused_with_the_reason(tmp_path, way):
    (tmp_path / "c.toml").write_text(f'[data]\nsections = ["*"]\nholdout = "{way}"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"nearly copies .* Hold out whole sections .* or a block") as caught:
        read_config(tmp_path / "c.toml")
    assert "\n" not in str(caught.value)


def test_a_block_without_a_gap_is_refused(tmp_path):
    (tmp_path / "c.toml").write_text('[data]\nsections = ["*"]\nholdout = "block"\ngap_px = 0\n', encoding="utf-8")
    with pytest.raises(InputError, match="gap_px is 0: give a number between 4"):
        read_config(tmp_path / "c.toml")


def test_all_channels_are_compared():
    whole = maps(1) | {name: values for name, values in zip(("Si", "Ca", "S"), maps(7).values(), strict=True)}
    assert shared_pair(prints(whole, {"S": whole["S"]})) == ("s0", "s1")


def section(arrays, name="A12"):
    return Section.from_arrays(name, arrays)


def unseen(known, arrays, window=None, name="A12"):
    check_unseen(known, section(arrays, name), window, model="run1", remedy="take another")


LEFT, RIGHT = Window(0, 0, 120, 60), Window(0, 75, 120, 75)


def test_what_a_model_was_trained_on_is_not_held_out_later():
    known = ["simulated sections", record(section(maps(1)), LEFT)]
    unseen(known, maps(1), RIGHT)
    with pytest.raises(InputError, match=r"'run1' was trained on rows 0-119, columns 0-59 of 'A12'.*: take") as caught:
        unseen(known, maps(1), Window(0, 50, 120, 100))
    assert "\n" not in str(caught.value)


def test_renamed_copies_and_crops_are_recognised_and_namesakes_let_pass():
    known = [record(section(maps(1)), LEFT)]
    cropped = {name: values[10:, 5:] for name, values in maps(1).items()}
    with pytest.raises(InputError, match="was trained on"):
        unseen(known, cropped, Window(0, 0, 110, 40), name="other")
    unseen(known, cropped, Window(0, 75, 110, 70), name="other")
    unseen(known, maps(2), LEFT)


def test_without_contrast_name_and_place_decide():
    flat = {"Fe": np.zeros((120, 150), np.uint8)}
    known = [record(section(flat), LEFT)]
    unseen(known, flat, RIGHT)
    unseen(known, flat, LEFT, name="B7")
    with pytest.raises(InputError, match="was trained on"):
        unseen(known, flat, LEFT)


def test_bare_name_on_the_card_is_enough_to_refuse():
    unseen(["A11"], maps(1))
    with pytest.raises(InputError, match="was trained on 'A12'"):
        unseen(["A12"], maps(1))
