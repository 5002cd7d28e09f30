import json
import re
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.errors import InputError, OutputExistsError, UnknownNameError
from meteoseg.finetuning import tuning as finetuning
from meteoseg.finetuning.drawnscores import score_on, verdict
from meteoseg.finetuning.tuning import FineTuneOptions, finetune
from meteoseg.grid import Window
from meteoseg.labels.certainty import Calibration
from meteoseg.models import load_model, save_model
from meteoseg.section import Section
from meteoseg.train.drawn import read_drawn

SHAPE = (96, 200)
CLASSES = {1: "chondrule", 2: "matrix"}
CENTRES = [(30, 30), (66, 70), (28, 110), (70, 150), (30, 178)]


def discs():
    """Object ids of five discs in a row of maps."""
    rows, cols = np.indices(SHAPE)
    ids = np.zeros(SHAPE, np.uint16)
    for number, (row, col) in enumerate(CENTRES, start=1):
        ids[(rows - row) ** 2 + (cols - col) ** 2 < 16**2] = number
    return ids


def section(seed=3):
    rng = np.random.default_rng(seed)
    inside = discs() > 0
    rates = {"Mg": (120, 40), "Fe": (30, 90), "Si": (100, 60)}
    maps = {name: rng.poisson(np.where(inside, *rate)).astype(np.uint16) for name, rate in rates.items()}
    return Section.from_arrays("A12", maps, pixel_size_um=8.0)


def scribbles():
    """A short stroke in each disc and one beside it."""
    labels = np.zeros(SHAPE, np.uint8)
    for row, col in CENTRES:
        labels[row, col - 8 : col + 8] = 1
        labels[95 - row, col - 8 : col + 8] = 2
    return labels


def written(folder, *, seed):
    """The maps of a section in a folder, with the components as truth."""
    (folder / "truth").mkdir(parents=True)
    maps = section(seed)
    for name, channel in maps.channels.items():
        tifffile.imwrite(folder / f"{name}.tif", channel.plane.read(Window.whole(SHAPE)))
    tifffile.imwrite(folder / "truth" / "components.ome.tif", np.where(discs() > 0, 2, 7).astype(np.uint8))
    (folder / "section.toml").write_text(
        'pixel_size_um = 8.0\n[channels]\nMg = "Mg.tif"\nFe = "Fe.tif"\nSi = "Si.tif"\n', encoding="utf-8"
    )
    return str(folder)


def quick(**changes):
    return FineTuneOptions(**({"steps": 2, "gap_px": 8, "threads": 1} | changes))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_model):
    """A fine-tuning on scribbles, long enough to learn what is bright in Mg."""
    out = tmp_path_factory.mktemp("runs") / "mine"
    options = quick(steps=12, learning_rate=5e-3, holdout="right")
    return finetune(section(), scribbles(), out=out, classes=CLASSES, model=tiny_model, options=options)


def test_scribbles_teach_what_is_held_out(tuned):
    table = tuned.scores.set_index("metric")
    assert list(table.index) == ["mean_iou", "accuracy", "dice_chondrule", "iou_chondrule", "iou_matrix"]
    assert table.loc["mean_iou", "after"] > table.loc["mean_iou", "before"] + 0.1
    np.testing.assert_allclose(table["change"], table["after"] - table["before"])
    pd.testing.assert_frame_equal(pd.read_csv(tuned.folder / "finetune.csv"), tuned.scores)
    assert "held out: right of 'A12'" in tuned.summary()


def test_result_is_a_complete_model_with_the_other_networks_untouched(tuned, tiny_model):
    before, after = load_model(tiny_model, device="cpu"), load_model(tuned.folder, device="cpu")
    assert [net.card.layers for net in after.networks.values()] == [("components", "distance"), ("phases",)]
    old, new = (model.networks["fine"].state_dict() for model in (before, after))
    assert all((old[key] == new[key]).all() for key in old)
    old, new = (model.networks["coarse"].state_dict() for model in (before, after))
    assert any((old[key] != new[key]).any() for key in old)
    assert after.card.networks[0].component_classes == before.card.networks[0].component_classes
    assert after.card.networks[0].um_per_px == 8.0


def test_card_says_where_it_comes_from_and_what_it_scored(tuned, tiny_model):
    before, card = load_model(tiny_model, device="cpu"), load_model(tuned.folder, device="cpu").card
    assert card.name == "mine"
    assert f"'tiny' (SHA-256 {before.sha256})" in card.notes[0]
    assert "labels from an array" in card.notes[1]
    assert len(card.training_data) == 1
    assert re.fullmatch(r"A12: rows 0-95, columns 0-14\d of 96 x 200 px, blocks [0-9a-f]{480}", card.training_data[0])
    assert card.licence == "MIT"
    after = tuned.scores.set_index("metric")["after"]
    assert card.scores["holdout_after.mean_iou"] == pytest.approx(after["mean_iou"], abs=1e-4)
    assert json.loads((tuned.folder / "card.json").read_text(encoding="utf-8"))["notes"] == list(card.notes)
    assert {path.name for path in (tuned.folder / "networks" / "coarse").iterdir()} == {"config.toml", "metrics.csv"}


def test_segment_uses_it_and_still_names_minerals(tuned, tmp_path):
    result = ms.segment(section(), model=tuned.folder, out=tmp_path)
    truth = discs() > 0
    found = result.chondrule_labels[:, :150] > 0
    assert (found == truth[:, :150]).mean() > 0.8
    assert set(result.modes()["layer"]) == {"phases", "components"}


def test_objects_are_matched_and_their_kinds_respected_with_replay(tmp_path, tiny_model):
    kinds = dict.fromkeys(range(1, 6), "chondrule or fragment") | {2: "opaque thing"}
    done = finetune(
        section(), discs(), out=tmp_path / "run", kind="objects", kinds=kinds, model=tiny_model,
        options=quick(holdout="right", holdout_share=0.4, replay=(written(tmp_path / "other", seed=9),)),
    )  # fmt: skip
    assert list(done.scores["metric"][:3]) == ["f1", "pq", "matrix_iou"]
    assert "objects of kind 'opaque thing' (1): take no part" in done.notes[1]
    assert [entry.split(":")[0] for entry in load_model(done.folder).card.training_data] == ["A12", "other"]


def test_phases_are_tuned_on_the_own_grid(tmp_path, tiny_model):
    done = finetune(
        section(), scribbles(), out=tmp_path / "run", kind="phases", model=tiny_model, options=quick(),
        classes={1: "olivine", 2: "troilite"},
    )  # fmt: skip
    assert done.scores["metric"].tolist() == ["mean_iou", "accuracy", "iou_olivine", "iou_troilite"]
    names = [path.name for path in (done.folder / "networks").iterdir()]
    assert names == ["fine"]


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"classes": {1: "chondrule", 2: "clast"}}, InputError, "does not know 'clast', only outside, hole"),
        ({"classes": {1: "chondrule"}}, InputError, "What the label value 2 means"),
        ({"options": quick(gap_px=3)}, InputError, "3 px is too narrow .* at least 8 px with --gap"),
        ({"options": quick(gap_px=150)}, InputError, "all on one side"),
        ({"model": "chondritee"}, UnknownNameError, "Did you mean 'chondrite'"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, tiny_model, changes, error, match):
    given = {"classes": CLASSES, "model": tiny_model, "options": quick()} | changes
    with pytest.raises(error, match=match) as caught:
        finetune(section(), scribbles(), out=tmp_path / "run", **given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_random_hold_out_is_refused():
    with pytest.raises(InputError, match="nearly copies"):
        FineTuneOptions(holdout="random")


def test_folder_in_use_is_refused(tuned, tiny_model):
    with pytest.raises(OutputExistsError, match="--overwrite"):
        finetune(section(), scribbles(), out=tuned.folder, classes=CLASSES, model=tiny_model)


def test_replay_of_the_same_section_is_refused(tmp_path, tiny_model):
    options = quick(replay=(written(tmp_path / "copy", seed=3),))
    with pytest.raises(InputError, match="show the same pixels"):
        finetune(section(), scribbles(), out=tmp_path / "run", classes=CLASSES, model=tiny_model, options=options)


def test_a_part_is_scored_like_the_whole(tiny_model):
    model, drawn = load_model(tiny_model, device="cpu"), read_drawn(discs(), section(), kind="objects")
    window = Window(0, 150, 96, 50)
    part = section().part(window)
    np.testing.assert_array_equal(part.read(["Mg"]), section().read(["Mg"], window))
    networks = [model.networks["coarse"]]
    whole = score_on(model, section(), drawn, window=Window(0, 0, *SHAPE), networks=networks)
    assert set(whole) == set(score_on(model, section(), drawn, window=window, networks=networks))
    assert 0 <= whole["accuracy"] <= 1


def unsure(tiny_model, path):
    """The tiny model with a calibration that leaves all phases unclassified."""
    model = load_model(tiny_model, device="cpu")
    strict = Calibration("phases", ("Mg", "Fe", "Si"), 2.0, 0.99, min_lead=99.0)
    cards = [replace(card, calibration=(strict,)) for card in model.card.networks]
    states = {name: net.state_dict() for name, net in model.networks.items()}
    return save_model(path, replace(model.card, networks=tuple(cards)), states)


def test_before_and_after_are_scored_by_one_rule_whatever_is_calibrated(tmp_path, tiny_model, monkeypatch):
    given = {"kind": "phases", "classes": {1: "olivine", 2: "troilite"}}
    given["options"] = quick(steps=12, learning_rate=5e-3, holdout="right")
    tables, calibrations = [], []
    for number, (start, least) in enumerate([(tiny_model, 1), (unsure(tiny_model, tmp_path / "u.safetensors"), 10**9)]):
        monkeypatch.setattr(finetuning, "MIN_CALIBRATION_PX", least)
        done = finetune(section(), scribbles(), out=tmp_path / f"run{number}", model=start, **given)
        tables.append(done.scores)
        calibrations.append(load_model(done.folder, device="cpu").networks["fine"].card.calibration)
    pd.testing.assert_frame_equal(*tables)
    assert tables[1].set_index("metric").loc["accuracy", "after"] > 0.3
    assert calibrations[0]
    assert calibrations[1] == ()


def test_what_the_start_model_was_tuned_on_is_not_scored(tuned, tmp_path):
    again = {"classes": CLASSES, "model": tuned.folder}
    with pytest.raises(
        InputError, match=r"'mine' was trained on rows 0-95, .* of 'A12'.* --holdout, or .* --model"
    ) as e:
        finetune(section(), scribbles(), out=tmp_path / "left", options=quick(holdout="left"), **again)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())
    done = finetune(section(), scribbles(), out=tmp_path / "right", options=quick(holdout="right", steps=1), **again)
    assert len(load_model(done.folder).card.training_data) == 1
    other = finetune(section(8), scribbles(), out=tmp_path / "b", options=quick(holdout="left", steps=1), **again)
    assert len(load_model(other.folder).card.training_data) == 2


def test_objects_on_both_sides_are_left_out_and_counted(tmp_path, tiny_model):
    bridged = discs()
    bridged[80:90, 60:190] = 9
    given = {"kind": "objects", "model": tiny_model, "options": quick(steps=1, holdout="right", holdout_share=0.3)}
    done = finetune(section(), bridged, out=tmp_path / "run", **given)
    assert "not trained on, since they reach into the held-out part: 1 objects" in done.summary()
    only = np.where(bridged == 9, bridged, 0)
    with pytest.raises(InputError, match=r"left to train on shows only matrix .* left out: 1\): give another side"):
        finetune(section(), only, out=tmp_path / "none", **given)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([0.1, 0.0], []),
        ([-0.1, 0.2], ["f1 fell"]),
        ([np.nan, 0.2], ["could not be scored by f1 .*: judge by mean_iou"]),
        ([np.nan, -0.2], ["could not be scored by f1", "mean_iou fell"]),
        ([np.nan, np.nan], ["nothing tells what was gained"]),
    ],
)
def test_verdict_is_never_silent_about_what_is_not_known(changes, found):
    notes = verdict(pd.DataFrame({"metric": ["f1", "mean_iou"], "change": changes}))
    assert len(notes) == len(found)
    for note, text in zip(notes, found, strict=True):
        assert re.search(text, note)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--holdout-share", 0.9), ("--replay-share", 1), ("--learning-rate", 0), ("--gap", 0), ("--threads", -1)],
)
def test_values_out_of_range_are_refused_under_the_name_of_the_option(option, value):
    done = CliRunner().invoke(main, ["finetune", "maps", "--labels", "l.tif", "-o", "run", option, str(value)])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}'" in done.stderr


def test_every_option_of_the_command_is_explained():
    for param in main.commands["finetune"].params[1:]:
        assert param.help, param.name


def test_command_tunes_from_files_and_its_defaults_are_those_of_python(maps, tmp_path, tiny_model):
    labels = np.zeros((48, 70), np.int32)
    labels[18:22, 20:40:2] = 1
    labels[40, 5:65], labels[2, 5:65] = 2, 2
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    (tmp_path / "legend.csv").write_text("id,name\n1,chondrule\n2,matrix\n", encoding="utf-8")
    args = ["finetune", maps, "--labels", tmp_path / "labels.tif", "--legend", tmp_path / "legend.csv"]
    args += ["--pixel-size", 8, "--model", tiny_model, "-o", tmp_path / "run", "--steps", 1, "--gap", 8]
    done = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "mean_iou" in done.stdout
    assert (tmp_path / "run" / "model.safetensors").is_file()
    defaults = {param.name: param.default for param in main.commands["finetune"].params}
    for entry in fields(FineTuneOptions):
        if entry.default not in (None, ()):
            assert defaults[entry.name] == entry.default
