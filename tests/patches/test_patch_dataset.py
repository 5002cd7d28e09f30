"""Data sets of images: shards, tables, folders, splits by group."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from patch_examples import stripes, write_stripes

from meteoseg.errors import ChannelError, InputError
from meteoseg.patches import PatchSet, read_patch_set, write_shard
from meteoseg.patches.split import (
    assign_folds,
    check_apart,
    check_copies,
    class_indices,
    limit_per_class,
    split_by_group,
)

CHANNELS = ["U", "V", "Y"]


def few_hits(n=5, shape=(3, 6, 9), seed=3):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, *shape)) < 0.05, rng.random((n, *shape)), 0).astype(np.float32)


@pytest.mark.parametrize("sparse", [True, False])
def test_shard_gives_back_its_images(tmp_path, sparse):
    images = few_hits()
    labels = ["a", "b", "", "a", "b"]
    path = write_shard(
        tmp_path / "x.npz", images, labels, list("ggghh"), channels=CHANNELS, sparse=sparse, energy=np.arange(5.0)
    )
    patches = read_patch_set(path)
    np.testing.assert_array_equal([patches.image(index) for index in range(5)], images)
    assert patches.channels == ("U", "V", "Y")
    assert patches.labels.tolist() == labels
    assert patches.ids[4] == "x-4"
    part = patches.subset(np.array([3, 1]))
    np.testing.assert_array_equal(part.image(0), images[3])
    assert part.extra["energy"].tolist() == [3.0, 1.0]


def test_shards_of_a_folder_are_joined_in_order(tmp_path):
    for number in (1, 0):
        images = np.full((2, 1, 4, 5), number + 1.0)
        write_shard(tmp_path / f"{number}.npz", images, ["a", "b"], ["g", "g"], channels=["U"], ids=[f"{number}a", "b"])
    patches = read_patch_set(tmp_path)
    assert patches.ids.tolist() == ["0a", "b", "1a", "b"]
    assert [float(patches.image(index).mean()) for index in range(4)] == [1, 1, 2, 2]


def test_shards_of_other_channels_are_refused(tmp_path):
    write_shard(tmp_path / "a.npz", np.ones((1, 1, 4, 5)), ["a"], ["g"], channels=["U"])
    write_shard(tmp_path / "b.npz", np.ones((1, 1, 4, 5)), ["a"], ["g"], channels=["V"])
    with pytest.raises(ChannelError, match="b-0 has the channels V and a-0 has U"):
        read_patch_set(tmp_path)


def test_damaged_and_incomplete_shards_are_told(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.npz cannot be read"):
        read_patch_set(tmp_path)
    np.savez(tmp_path / "a.npz", labels=np.array(["a"]))
    with pytest.raises(InputError, match="lacks groups, channels, shape"):
        read_patch_set(tmp_path)
    with pytest.raises(InputError, match="3 planes but 2 names"):
        write_shard(tmp_path / "b.npz", few_hits(1), ["a"], ["g"], channels=["U", "V"])


def test_table_of_files(tmp_path):
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.full((2, 5, 7), len(name), np.float32))
    (tmp_path / "channels.txt").write_text("U\nV\n", encoding="utf-8")
    table = pd.DataFrame({"file": ["one.npy", "two.npy"], "label": ["a", ""], "group": ["g", "h"], "mm": ["1", "2"]})
    table.to_csv(tmp_path / "patches.csv", index=False)
    patches = read_patch_set(tmp_path)
    assert patches.image(1).shape == (2, 5, 7)
    assert (patches.labels.tolist(), patches.groups.tolist()) == (["a", ""], ["g", "h"])
    assert patches.extra["mm"].tolist() == ["1", "2"]
    (tmp_path / "channels.txt").write_text("U\n", encoding="utf-8")
    with pytest.raises(ChannelError, match=r"one\.npy has 2 channels but there are 1 names"):
        read_patch_set(tmp_path).image(0)
    (tmp_path / "two.npy").unlink()
    with pytest.raises(InputError, match=r"two.npy of .* does not exist"):
        read_patch_set(tmp_path)


def test_folder_of_multi_channel_images_has_their_names(tmp_path):
    for name in ("p", "q"):
        (tmp_path / name).mkdir()
        for channel in ("Fe", "Mg"):
            tifffile.imwrite(tmp_path / name / f"{channel}.tif", np.full((6, 9), len(channel + name), np.uint16))
    patches = read_patch_set(tmp_path)
    assert set(patches.channels) == {"Fe", "Mg"}
    assert patches.ids.tolist() == ["p", "q"]
    assert patches.image(0).shape == (2, 6, 9)


def test_empty_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        read_patch_set(tmp_path)


def test_groups_stay_together_and_classes_are_spread():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5).astype(str)
    classes = np.where(rng.random(200) < 0.1, 1, 0)
    folds = assign_folds(classes, groups, 4, seed=1)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    rare = np.bincount(folds[classes == 1], minlength=4)
    assert rare.max() - rare.min() <= 2
    np.testing.assert_array_equal(folds, assign_folds(classes, groups, 4, seed=1))
    assert (folds != assign_folds(classes, groups, 4, seed=2)).any()


def test_share_of_groups_is_held_out(tmp_path):
    patches = read_patch_set(write_stripes(tmp_path, n_groups=10))
    train, held = split_by_group(class_indices(patches, ("cols", "rows")), patches.groups, 0.2, seed=1)
    assert not set(patches.groups[train]) & set(patches.groups[held])
    assert len(held) == 8


def test_too_few_groups_are_told():
    with pytest.raises(InputError, match="2 groups cannot be parted in 5"):
        assign_folds(np.array([0, 1, 0]), np.array(["a", "a", "b"]), 5, seed=0)


def test_labels_per_class_and_unlabelled():
    classes = np.array([0, 0, 0, -1, 1, 1, 1, 1])
    kept = limit_per_class(classes, 2, seed=4)
    assert np.bincount(classes[kept]).tolist() == [2, 2]
    assert limit_per_class(classes, 0, seed=4).tolist() == [0, 1, 2, 4, 5, 6, 7]


def test_label_that_is_no_class_is_told():
    patches = PatchSet.from_arrays(np.ones((2, 1, 4, 5)), ["U"], labels=["a", "kaon"])
    with pytest.raises(InputError, match="Label 'kaon' of image 1 is none of the classes a, b"):
        class_indices(patches, ("a", "b"))


def test_copies_and_shared_groups_are_told():
    rng = np.random.default_rng(2)
    image = stripes(rng, along_rows=True)
    twice = PatchSet.from_arrays(np.stack([image, image]), ["U", "V"], groups=["g", "h"], ids=["p", "q"])
    with pytest.raises(InputError, match="Image q of group 'h' is a copy of p of group 'g'"):
        check_copies([twice])
    check_copies([PatchSet.from_arrays(np.zeros((2, 1, 4, 5)), ["U"], groups=["g", "h"])])
    with pytest.raises(InputError, match="Group 'g' is both"):
        check_apart(twice, twice.subset(np.array([0])))
