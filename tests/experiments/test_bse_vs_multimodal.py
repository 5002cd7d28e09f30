"""The experiment's arms are valid trainings, its counts are those of the metrics, its intervals behave."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from meteoseg.io import read_labels, write_labels
from meteoseg.train.config import read_config

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def load(monkeypatch):
    """Import a script of the experiments by its name; such names are forgotten after the test."""
    for folder in ("bse_vs_multimodal", "real_sections"):
        monkeypatch.syspath_prepend(str(EXPERIMENTS / folder))
        for script in (EXPERIMENTS / folder).glob("*.py"):
            monkeypatch.delitem(sys.modules, script.stem, raising=False)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(EXPERIMENTS) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def test_every_run_is_a_valid_training_of_its_own(load, tmp_path):
    plan = load("plan").read_plan(sections=tmp_path / "sections", west=tmp_path / "west")
    runs = plan.runs()
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        (tmp_path / f"{run.name}.toml").write_text(plan.config(run, tmp_path), encoding="utf-8")
        config = read_config(tmp_path / f"{run.name}.toml")
        assert (config.seed, config.channels, config.network.fusion) == (run.seed, run.arm.channels, run.arm.fusion)
        assert dict(config.augment.channel_dropout) == dict(run.arm.channel_dropout)
        assert not set(config.data.sections) & set(config.data.validation)
    four = [run.arm.name for run in runs if len(run.arm.seeds) == 3 and run.arm.data == "simulated"]
    assert sorted(four) == sorted(["bse", "xray", "both", "all"] * 3)


def test_every_difference_names_arms_and_subsets_that_are_tested(load):
    plan = load("plan").read_plan()
    tested = {f"{arm.name}/{subset}" for arm in plan.arms for subset in arm.subsets}
    named = {name for entry in plan.differences for pair in entry["of"] for name in pair}
    assert {name if "/" in name else f"{name}/all" for name in named} <= tested


def test_folds_test_on_the_half_that_was_not_trained_on(load):
    runs = [run for run in load("plan").read_plan().runs() if run.arm.name == "west-both" and run.seed == 2]
    halves = [(run.trained_on[0].name, Path(run.tests["real, other half"]).name) for run in runs]
    assert halves == [("west-left", "west-right"), ("west-right", "west-left")]


@pytest.fixture
def drawn(tmp_path):
    """A truth of 60 x 100 px: two chondrules, a nodule, a corner outside."""
    components = np.full((60, 100), 7, np.uint8)
    chondrules = np.zeros((60, 100), np.int32)
    rows, cols = np.indices(components.shape)
    for label, (row, col, radius) in enumerate([(20, 20, 12), (40, 70, 9)], start=1):
        chondrules[np.hypot(rows - row, cols - col) < radius] = label
    components[chondrules > 0] = 2
    components[5:15, 60:75] = 5
    components[50:, :20] = 0
    (tmp_path / "truth").mkdir()
    write_labels(tmp_path / "truth" / "components.ome.tif", components)
    write_labels(tmp_path / "truth" / "chondrules.ome.tif", chondrules)
    return tmp_path, components, chondrules


def test_a_miss_counts_in_its_block_and_a_found_nodule_nowhere(load, drawn):
    folder, components, chondrules = drawn
    module = load("scores")
    objects = np.where(components == 5, 9, np.where(chondrules == 2, 0, chondrules))
    found = np.where(objects > 0, 2, 7)
    table = module.count(found, objects, folder, block_px=50)
    assert table[["tp", "fp", "fn"]].to_numpy().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    whole = module.count(found, objects, folder, block_px=None)
    np.testing.assert_allclose(table.sum(), whole.sum())
    dice, matrix_iou, f1, pq = module.scores(whole.sum().to_numpy())
    assert (f1, pq) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert 0.75 < dice < 0.85
    assert 0.9 < matrix_iou < 0.97
    perfect = module.count(components, chondrules, folder, block_px=50)
    assert module.scores(perfect.sum().to_numpy()).tolist() == [1, 1, 1, 1]


def counts_of(load, name, hits, *, seeds=3, units=40):
    rng = np.random.default_rng(5)
    values = np.zeros((seeds, units, 8))
    values[..., 0] = rng.binomial(10, hits, (seeds, units))
    values[..., 2] = 10 - values[..., 0]
    values[..., 3] = values[..., 0] * 0.8
    values[..., 4:] = [90, 200, 45, 60]
    return load("intervals").Counts(name, "test", values)


def test_intervals_hold_the_mean_and_shrink_with_units(load):
    few, many = (counts_of(load, "a", 0.6, units=units).estimate() for units in (10, 250))
    for estimate in (few, many):
        assert (estimate.low <= estimate.mean).all()
        assert (estimate.mean <= estimate.high).all()
    assert (many.high - many.low)[2] < 0.5 * (few.high - few.low)[2]
    assert few.mean[:2].tolist() == pytest.approx([0.9, 0.75])


def test_difference_is_paired_and_its_sign_that_of_the_gain(load):
    same = counts_of(load, "a", 0.6)
    nothing = same.minus(same)
    assert np.abs([nothing.mean, nothing.low, nothing.high]).max() == 0
    gain = counts_of(load, "b", 0.8).minus(same)
    assert gain.low[2] > 0.05
    assert gain.mean[3] == pytest.approx(0.8 * gain.mean[2])


def test_page_is_changed_between_its_markers_only(load, tmp_path):
    table = load("table")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    table.write_page(page, "new")
    assert page.read_text(encoding="utf-8") == f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"


def test_docs_page_has_the_markers(load):
    text = (EXPERIMENTS.parent / "docs" / "bse_vs_multimodal.md").read_text(encoding="utf-8")
    table = load("table")
    assert text.index(table.BEGIN) < text.index(table.END)


def test_halves_of_the_real_section_share_no_object(load, real_data, tmp_path):
    module = load("west_examples")
    windows = module.make_examples(real_data / module.SOURCE, tmp_path)
    left, right, whole = (
        read_labels(tmp_path / f"west-{part}" / "truth" / "chondrules.ome.tif") for part in ("left", "right", "whole")
    )
    assert set(np.unique(left)) & set(np.unique(right)) == {0}
    assert windows["west-right"].col - windows["west-left"].width >= module.MIN_STRIP_PX
    np.testing.assert_array_equal(whole[:, : left.shape[1]], left)
    assert len(np.unique(whole)) - 1 == 179
