"""Objects of a result folder: crops, labels, counts, types; bad folders."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from patch_examples import make_config, write_section, write_stripes

from meteoseg import cli
from meteoseg.channels import ABSENT
from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.io import open_section, read_labels, write_labels
from meteoseg.objects import measure_objects
from meteoseg.patches import classify_objects, classify_results, load_patch_model, objects, train_patches
from meteoseg.patches.card import CropPlan
from meteoseg.patches.objects import object_crops, read_object_set
from meteoseg.patches.textures import count_textures, types_of
from meteoseg.runs.provenance import input_hashes, input_stamps, section_facts

FE = CANONICAL_CHANNELS.index("Fe")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with sections s0 to s5 and a network of the stripes of their objects (run/)."""
    folder = tmp_path_factory.mktemp("objects")
    for number in range(6):
        write_section(folder / f"s{number}", seed=number)
    data = 'sections = ["s[0-4]"]\nholdout = 0.2'
    rest = "[objects]\nmin_diameter_px = 8\n[augment.channel_dropout]\nbse = 0.2\n"
    train_patches(make_config(folder, data=data, steps=50, rest=rest), folder / "run", progress=False)
    return folder


def write_result(folder, maps):
    """Write what is read of a result folder of the section `maps`; object 9 is too small for the network."""
    section = open_section(maps)
    labels = read_labels(maps / "truth" / "chondrules.ome.tif").astype(np.uint32)
    labels[0:3, 0:4] = 9
    folder.mkdir(parents=True)
    write_labels(folder / "chondrules.ome.tif", labels, pixel_size_um=(2.0, 2.0))
    measure_objects(labels, (2.0, 2.0)).to_csv(folder / "chondrules.csv", index=False)
    run = {"section": section_facts(section), "inputs": input_hashes(input_stamps(section)), "notes": []}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def plan(**changes):
    return replace(CropPlan(CANONICAL_CHANNELS, True, 24, margin=0.25), **changes)


def all_crops(section, labels, how):
    numbers, crop = object_crops(section, labels, how)
    return numbers, np.stack([crop(index) for index in range(len(numbers))])


def test_crops_are_squares_around_objects(tmp_path):
    section = open_section(write_section(tmp_path / "s"))
    labels = read_labels(tmp_path / "s" / "truth" / "chondrules.ome.tif")
    numbers, crops = all_crops(section, labels, plan(mask="plane"))
    assert numbers.tolist() == [1, 2, 3, 4]
    assert crops.shape == (4, 17, 24, 24)
    assert (crops[:, FE] == ABSENT).all()
    share = crops[0, -1].mean()
    # A disc in a square 1.5 times as wide: pi / 4 / 2.25.
    assert share == pytest.approx(0.349, abs=0.03)
    _, cut = all_crops(section, labels, plan(mask="cut"))
    outside = crops[0, -1] == 0
    assert (cut[0, 0][outside] == 0).all()
    assert (crops[0, 0][outside] > 0).any()
    assert (cut[:, FE] == ABSENT).all()


def test_objects_at_the_border_are_filled_up_with_nothing(tmp_path):
    section = open_section(write_section(tmp_path / "s"))
    labels = np.zeros(section.shape, np.uint32)
    labels[0:12, 0:30] = 5
    _, crops = all_crops(section, labels, plan(margin=0.0))
    assert (crops[0, 0, 0] == 0).all()
    assert (crops[0, 0, 12] > 0).any()


@pytest.mark.parametrize("corner", [(0, 0), (5, 9), (20, 40)])
def test_large_objects_are_read_in_strips(tmp_path, monkeypatch, corner):
    section = open_section(write_section(tmp_path / "s"))
    labels = np.zeros(section.shape, np.uint32)
    labels[corner[0] : corner[0] + 40, corner[1] : corner[1] + 31] = 1
    how = plan(patch_px=6, mask="cut")
    _, whole = all_crops(section, labels, how)
    monkeypatch.setattr(objects, "_STRIP_PX", 200)
    _, strips = all_crops(section, labels, how)
    np.testing.assert_array_equal(strips, whole)
    assert whole[0, 0].mean() == pytest.approx(
        object_crops(section, labels, replace(how, patch_px=60))[1](0)[0].mean(), rel=0.01
    )


def test_small_and_unwanted_objects_are_left_out(tmp_path):
    section = open_section(write_section(tmp_path / "s"))
    labels = read_labels(tmp_path / "s" / "truth" / "chondrules.ome.tif")
    assert len(object_crops(section, labels, plan(min_diameter_px=40))[0]) == 0
    assert object_crops(section, labels, plan(), wanted=[3])[0].tolist() == [3]
    with pytest.raises(ShapeMismatchError, match="60 x 80 px"):
        object_crops(section, labels[:, :80], plan())


def test_truth_tables_that_lack_something_are_told(tmp_path):
    folder = write_section(tmp_path / "s")
    with pytest.raises(InputError, match="has no column 'kind'"):
        read_object_set([folder], plan(), "kind")
    with pytest.raises(InputError, match="40 px across or more"):
        read_object_set([folder], plan(min_diameter_px=40), "texture")
    (folder / "truth" / "chondrules.csv").unlink()
    with pytest.raises(InputError, match="it needs the columns id and texture"):
        read_object_set([folder], plan(), "texture")


def test_textures_are_written_into_a_result_folder(trained, tmp_path):
    folder = write_result(tmp_path / "A", trained / "s5")
    model = load_patch_model(trained / "run", "cpu")
    counts = classify_results(folder, model)["A"]
    table = pd.read_csv(folder / "chondrules.csv", keep_default_na=False)
    truth = pd.read_csv(trained / "s5" / "truth" / "chondrules.csv")
    assert table["texture"].tolist() == [*truth["texture"], "unclassified"]
    assert table["texture_probability"].iloc[-1] == ""
    assert (table["texture_probability"].iloc[:-1].astype(float) > 0.5).all()
    assert list(table)[:3] == ["id", "kind", "touches_edge"]
    assert counts["n"].sum() == 5
    assert counts["pct"].sum() == pytest.approx(100)
    noted = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert noted["textures"]["model_sha256"] == model.sha256
    best = pd.read_csv(folder / "patches.csv")
    assert {"id", "texture", "class_1", "probability_2"} <= set(best)
    classify_results(folder, model)
    assert list(pd.read_csv(folder / "chondrules.csv")) == list(table)


def test_several_result_folders_give_one_table(trained, tmp_path):
    for name in ("A", "B"):
        write_result(tmp_path / "out" / name, trained / "s5")
    arguments = ["classify-patches", str(tmp_path / "out"), "--model", str(trained / "run")]
    run = CliRunner().invoke(cli.main, arguments)
    assert run.exit_code == 0, run.output
    table = pd.read_csv(tmp_path / "out" / "textures.csv")
    assert set(table["section"]) == {"A", "B"}
    wrong = CliRunner().invoke(cli.main, [*arguments, "-o", str(tmp_path / "x")])
    assert (wrong.exit_code, "leave -o out" in wrong.output) == (2, True)


def test_maps_that_moved_are_told(trained, tmp_path):
    maps = write_section(tmp_path / "maps", seed=5)
    folder = write_result(tmp_path / "A", maps)
    maps.rename(tmp_path / "moved")
    model = load_patch_model(trained / "run", "cpu")
    with pytest.raises(InputError, match="say where they lie with --maps DIR"):
        classify_results(folder, model)
    assert len(classify_results(folder, model, maps=tmp_path / "moved")["A"]) == 3


def test_models_of_whole_images_do_not_take_objects(trained, tmp_path):
    write_stripes(tmp_path / "set")
    model = load_patch_model(train_patches(make_config(tmp_path, steps=1), tmp_path / "run", progress=False), "cpu")
    section = open_section(trained / "s5")
    with pytest.raises(InputError, match="trained on whole images, not on objects"):
        classify_objects(section, np.zeros(section.shape, np.uint32), model)


def test_section_without_objects_gives_an_empty_table(trained):
    section = open_section(trained / "s5")
    found = classify_objects(section, np.zeros(section.shape, np.uint32), load_patch_model(trained / "run", "cpu"))
    assert len(found) == 0
    assert "label" in found


def test_types_follow_the_grains(tmp_path):
    assert types_of(tmp_path) is None
    rows = [
        (1, "olivine", "Fa", 4.0, 100), (1, "olivine", "Fa", 30.0, 10), (1, "low-Ca pyroxene", "Fs", 20.0, 900),
        (2, "olivine", "Fa", 12.0, 10), (3, "low-Ca pyroxene", "Fs", 3.0, 10), (0, "olivine", "Fa", 1.0, 10),
    ]  # fmt: skip
    columns = ["chondrule", "phase", "quantity", "value", "n_px"]
    pd.DataFrame(rows, columns=columns).assign(sd_counting=0.5).to_csv(tmp_path / "grains.csv", index=False)
    assert types_of(tmp_path) == {1: "I", 2: "II", 3: "I"}


def test_intervals_of_counts_are_wilsons():
    table = pd.DataFrame({"texture": ["a"] * 3 + ["b"] * 7, "type": [""] * 10})
    counts = count_textures(table, ["a", "b", "c"]).set_index("texture")
    assert (counts.loc["a", "ci_low_pct"], counts.loc["a", "ci_high_pct"]) == (10.78, 60.32)
    assert counts.loc["c", ["n", "ci_low_pct"]].tolist() == [0, 0]
    assert counts.index.tolist() == ["b", "a", "c", "unclassified"]
