"""Scores of files: what `meteoseg evaluate` reads, leaves out and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from meteoseg.cli import main
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.evaluation.evaluate import evaluate_files, read_ignored
from meteoseg.io import read_labels, write_labels
from meteoseg.legend import default_legend
from meteoseg.metrics import boundary_band
from meteoseg.tables.measure import LABEL_FILES, PROBABILITY_FILES

PHASES, COMPONENTS = default_legend("phases"), default_legend("components")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """30 x 44 px: two chondrules, a nodule, and a table that says so; the left 4 columns are no section."""
    objects = np.zeros((30, 44), np.uint16)
    objects[4:12, 8:18], objects[16:26, 8:18], objects[10:18, 30:38] = 3, 5, 9
    write_labels(tmp_path / "drawn.tif", objects)
    write_labels(tmp_path / "mask.tif", np.where(np.arange(44) < 4, 0, 255) * np.ones((30, 1), np.uint8))
    table = pd.DataFrame({"label": [3, 5, 9], "kind": ["chondrule", "chondrule", "nodule"]})
    table.to_csv(tmp_path / "drawn.csv", index=False)
    return tmp_path


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """The first chondrule one column off, the nodule called one, the second missed and called clast; mount right."""
    folder = tmp_path / "out" / "A12"
    folder.mkdir(parents=True)
    objects = np.zeros((30, 44), np.uint32)
    objects[4:12, 9:19], objects[10:18, 30:38] = 1, 2
    components = np.where(objects > 0, COMPONENTS["chondrule"].id, COMPONENTS["matrix"].id).astype(np.uint8)
    components[16:26, 8:18], components[13:15, 8:18] = COMPONENTS["clast"].id, COMPONENTS["rim"].id
    components[:, :4] = 0
    write_labels(folder / LABEL_FILES["chondrules"], objects)
    write_labels(folder / LABEL_FILES["components"], components)
    return folder


def value(table: pd.DataFrame, name: str, metric: str) -> float:
    return float(table.set_index(["class", "metric"])["value"][(name, metric)])


def test_objects_as_the_command_scores_them(drawn: Path, result: Path) -> None:
    ignore = ["--ignore", str(drawn / "drawn.csv"), "--ignore-kind", "nodule"]
    files = ["-o", str(drawn / "scores.csv"), "--per-object", str(drawn / "each.csv")]
    done = CliRunner().invoke(
        main,
        ["evaluate", str(result), str(drawn / "drawn.tif"), "--kind", "objects",
         "--inside", str(drawn / "mask.tif"), *ignore, *files],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    table, each = pd.read_csv(drawn / "scores.csv"), pd.read_csv(drawn / "each.csv")
    assert [value(table, "chondrule", m) for m in ("tp", "fp", "fn")] == [1, 0, 1]
    # worked out here from the definitions: band and nodule left out, matrix is matrix and rim
    truth, inside = read_labels(drawn / "drawn.tif"), read_labels(drawn / "mask.tif") > 0
    components = read_labels(result / LABEL_FILES["components"])
    counted = inside & ~boundary_band(truth) & (truth != 9)
    known, found = (truth > 0)[counted], (components == COMPONENTS["chondrule"].id)[counted]
    matrix = np.isin(components, [COMPONENTS["matrix"].id, COMPONENTS["rim"].id])[counted]
    assert value(table, "chondrule", "dice") == pytest.approx(2 * (known & found).sum() / (known.sum() + found.sum()))
    assert value(table, "matrix", "iou") == pytest.approx((~known & matrix).sum() / (~known | matrix).sum())
    assert each["truth_id"].tolist() == [5, 3, 9]
    assert each["status"].tolist() == ["missed", "matched", "ignored"]
    assert each["kind"].tolist() == ["chondrule", "chondrule", "nodule"]
    assert each["iou"].tolist() == [0, pytest.approx(72 / 88), 1]


def test_an_object_image_has_its_matrix_between_the_objects(drawn: Path, result: Path) -> None:
    image = result / LABEL_FILES["chondrules"]
    alone = evaluate_files(image, drawn / "drawn.tif", kind="objects", inside=drawn / "mask.tif").scores
    folder = evaluate_files(result, drawn / "drawn.tif", kind="objects", inside=drawn / "mask.tif").scores
    assert value(alone, "chondrule", "pq") == value(folder, "chondrule", "pq")
    # the clast of the folder is no matrix, but in the image the missed chondrule is
    assert value(alone, "matrix", "iou") < value(folder, "matrix", "iou")


def test_ids_to_ignore_may_be_listed(drawn: Path, result: Path) -> None:
    scores = evaluate_files(result, drawn / "drawn.tif", kind="objects", ignored=read_ignored("5,9")).scores
    assert value(scores, "chondrule", "f1") == 1


def test_what_is_ignored_must_be_known(drawn: Path) -> None:
    table = str(drawn / "drawn.csv")
    assert read_ignored(table, ["nodule"]).ids == (9,)
    assert read_ignored(None).ids == ()
    with pytest.raises(UnknownNameError, match="nodules"):
        read_ignored(table, ["nodules"])
    with pytest.raises(InputError, match="add --ignore KINDS"):
        read_ignored(None, ["nodule"])
    with pytest.raises(InputError, match="neither a file nor a list of ids"):
        read_ignored(str(drawn / "absent.csv"), ["nodule"])
    pd.DataFrame({"number": [1]}).to_csv(drawn / "other.csv", index=False)
    with pytest.raises(InputError, match="it needs label"):
        read_ignored(str(drawn / "other.csv"))


def test_a_table_without_a_kind_to_ignore_is_refused(drawn: Path) -> None:
    with pytest.raises(InputError, match=r"ignores nothing: add --ignore-kind KIND \(chondrule, nodule\)"):
        read_ignored(str(drawn / "drawn.csv"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("3,chondrule\n,nodule", "has the label '': give the whole number"),
        ("3,chondrule\n1.5,nodule", "has the label '1.5': give the whole number"),
        ("\N{SUPERSCRIPT TWO},nodule", "give the whole number"),
        ("three,nodule", "has the label 'three': give the whole number"),
        ("3,chondrule\n3,nodule", "names the object 3 twice"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_one_line(drawn: Path, result: Path, rows: str, message: str) -> None:
    (drawn / "bad.csv").write_text(f"label,kind\n{rows}\n", encoding="utf-8")
    args = ["evaluate", str(result), str(drawn / "drawn.tif"), "--kind", "objects", "-o", str(drawn / "s.csv")]
    done = CliRunner().invoke(main, [*args, "--ignore", str(drawn / "bad.csv"), "--ignore-kind", "nodule"])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert message in done.output
    assert not (drawn / "s.csv").exists()


def test_empty_rows_of_the_kinds_are_skipped(drawn: Path) -> None:
    (drawn / "gaps.csv").write_text("label,kind\n3.0,chondrule\n,\n\n9,nodule\n", encoding="utf-8")
    found = read_ignored(str(drawn / "gaps.csv"), ["nodule"])
    assert (found.ids, found.kinds) == ((9,), {3: "chondrule", 9: "nodule"})


def test_superscript_digits_are_no_ids() -> None:
    with pytest.raises(InputError, match="neither a file nor a list of ids"):
        read_ignored("3\u00b2")


def test_truth_without_a_scored_pixel_is_one_line(drawn: Path, result: Path) -> None:
    write_labels(drawn / "blank.tif", np.full((30, 44), 255, np.uint8))
    write_labels(drawn / "nothing.tif", np.zeros((30, 44), np.uint8))
    for args in (
        [str(drawn / "blank.tif")],
        [str(drawn / "drawn.tif"), "--kind", "objects", "--inside", str(drawn / "nothing.tif")],
    ):
        done = CliRunner().invoke(main, ["evaluate", str(result), *args, "-o", str(drawn / "s.csv")])
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        assert "No pixel is left to score" in done.output


def test_the_truth_folder_says_what_is_section(result: Path) -> None:
    truth = result.parent / "truth"
    truth.mkdir()
    objects = read_labels(result / LABEL_FILES["chondrules"])
    components = read_labels(result / LABEL_FILES["components"])
    objects[objects == 2] = 0
    components[:, 25:] = 0
    write_labels(truth / LABEL_FILES["chondrules"], objects)
    write_labels(truth / LABEL_FILES["components"], components)
    scores = evaluate_files(result, truth, kind="objects").scores
    assert value(scores, "chondrule", "f1") == 1


@pytest.mark.parametrize("kind", ["components", "objects"])
def test_a_result_scores_perfectly_against_itself(result: Path, kind: str) -> None:
    table = evaluate_files(result.parent, result, kind=kind, boundary_px=0).scores
    perfect = table[table["metric"].isin(["f1", "pq", "dice", "iou", "mean_iou", "accuracy"])]
    assert len(perfect) == {"components": 12, "objects": 4}[kind]
    assert perfect["value"].eq(1).all(), perfect


def test_an_object_image_scores_perfectly_against_its_folder(result: Path) -> None:
    image = result / LABEL_FILES["chondrules"]
    for pair in ((image, image), (image, result)):
        assert value(evaluate_files(*pair, kind="objects").scores, "matrix", "iou") == 1
    # an image of objects as truth: whatever is in none of them is matrix, the clast of the result is not
    assert value(evaluate_files(result, image, kind="objects").scores, "matrix", "iou") < 1


def test_written_probabilities_give_the_calibration_error(result: Path) -> None:
    phases = np.full((12, 20), PHASES["olivine"].id, np.uint8)
    write_labels(result / LABEL_FILES["phases"], phases)
    write_labels(result / PROBABILITY_FILES["phases"], np.full((12, 20), 80, np.uint8))
    truth = phases.copy()
    truth[:, 15:] = PHASES["spinel"].id
    write_labels(result.parent / "truth.tif", truth)
    table = evaluate_files(result, result.parent / "truth.tif", kind="phases", boundary_px=0).scores
    assert value(table, "all", "expected_calibration_error") == pytest.approx(0.05)


def test_options_of_another_kind_are_refused(result: Path) -> None:
    with pytest.raises(InputError, match="--min-area-pct and --merge are for classes"):
        evaluate_files(result, result, kind="objects", merge=["kamacite,taenite"])
    with pytest.raises(InputError, match="--ignore is for objects"):
        evaluate_files(result, result, kind="components", ignored=read_ignored("3"))
    with pytest.raises(UnknownNameError, match="minerals"):
        evaluate_files(result, result, kind="minerals")
    done = CliRunner().invoke(main, ["evaluate", str(result), str(result), "--per-object", "a.csv", "-o", "b.csv"])
    assert (done.exit_code, "--per-object lists objects" in done.output) == (2, True)


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no chondrules"):
        evaluate_files(tmp_path, tmp_path, kind="objects")
