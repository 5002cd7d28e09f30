"""Reference points: drawn blind, labelled, read back into adjusted modes that survive making the tables again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from meteoseg.checkpoints.draw import draw_points, share_out
from meteoseg.checkpoints.sheet import contact_sheets
from meteoseg.cli import main
from meteoseg.io import read_labels, write_labels
from meteoseg.legend import default_legend, write_legend_csv
from meteoseg.section import ArrayPlane, Section

PHASES = default_legend("phases")


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """90 x 140 px: olivine with columns of troilite and a corner of mount."""
    labels = np.full((90, 140), PHASES["olivine"].id, np.uint8)
    labels[:, ::5] = PHASES["troilite"].id
    labels[:20, :30] = 0
    folder = tmp_path / "A12"
    folder.mkdir()
    write_labels(folder / "phases.ome.tif", labels, pixel_size_um=(2.0, 3.0))
    write_legend_csv(folder / "legend.csv", PHASES)
    return folder


def run(*args: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["checkpoints", *map(str, args)])
    assert done.exit_code == code, done.output
    return done.output


def label(folder: Path, change: dict[int, str] | None = None, wrong: float = 0.0) -> Path:
    """Fill the list with what the map says, the share `wrong` of troilite with magnetite, then `change` by point."""
    points = pd.read_csv(folder / "checkpoints_phases.csv", keep_default_na=False)
    key = pd.read_csv(folder / "checkpoints_phases_key.csv")
    points["label"] = key["mapped"].to_numpy()
    troilite = np.flatnonzero(points["label"] == "troilite")
    points.loc[troilite[: round(wrong * len(troilite))], "label"] = "magnetite"
    for point, name in (change or {}).items():
        points.loc[points["point"] == point, "label"] = name
    path = folder.parent / "labelled.csv"
    points.to_csv(path, index=False)
    return path


def test_points_are_blind_random_and_where_they_say(result):
    run(result, "-n", 120, "--min-per-class", 30)
    points = pd.read_csv(result / "checkpoints_phases.csv")
    key = pd.read_csv(result / "checkpoints_phases_key.csv")
    strata = pd.read_csv(result / "checkpoints_phases_strata.csv").set_index("name")
    labels = read_labels(result / "phases.ome.tif")
    assert points["label"].isna().all()
    assert "mapped" not in points
    assert (labels[key["row_px"], key["col_px"]] == [PHASES[name].id for name in key["mapped"]]).all()
    assert np.allclose(points["row_um"], 2 * (points["row_px"] + 0.5))
    assert np.allclose(points["col_um"], 3 * (points["col_px"] + 0.5))
    assert not points.duplicated(["row_px", "col_px"]).any()
    assert strata["area_px"].sum() == np.count_nonzero(labels)
    assert strata.loc["troilite", "n_points"] >= 30
    assert key["mapped"].value_counts().to_dict() == strata["n_points"].to_dict()
    assert key["mapped"].iloc[:20].nunique() == 2


def test_all_pixels_of_a_class_have_the_same_chance():
    labels = np.ones((40, 60), np.uint8)
    plane = ArrayPlane(labels)
    rows = [draw_points(plane, PHASES, (1.0, 1.0), n=60, least=2, seed=seed).points["row_px"] for seed in range(20)]
    assert np.concatenate(rows).mean() == pytest.approx(19.5, abs=1.2)


def test_adjusted_modes_are_written_and_survive_modes(result):
    run(result, "-n", 200, "--min-per-class", 60)
    said = run(result, "--read", label(result, wrong=0.25))
    assert "phases: 199 labelled points" in said or "phases: 200 labelled points" in said
    modes = pd.read_csv(result / "modes.csv").set_index("name")
    troilite = modes.loc["troilite"]
    n = int(pd.read_csv(result / "checkpoints_phases_strata.csv").set_index("name").loc["troilite", "n_points"])
    share = troilite.area_pct * (1 - round(0.25 * n) / n)
    assert troilite.adjusted_pct == pytest.approx(share)
    assert modes.loc["magnetite", "area_px"] == 0
    assert modes.loc["magnetite", "adjusted_pct"] == pytest.approx(troilite.area_pct - share)
    assert modes["adjusted_pct"].sum() == pytest.approx(100)
    assert modes["adjusted_wt_pct"].sum() == pytest.approx(100)
    assert troilite.adjusted_section_ci_low_pct < share < troilite.adjusted_section_ci_high_pct < troilite.area_pct + 1
    assert troilite.adjusted_ci_low_pct <= troilite.adjusted_section_ci_low_pct
    accuracy = pd.read_csv(result / "checkpoints_accuracy.csv").set_index("name")
    assert accuracy.loc["troilite", "users_accuracy_pct"] == pytest.approx(100 * (1 - round(0.25 * n) / n), abs=1e-3)
    assert accuracy.loc["olivine", "producers_accuracy_pct"] == 100
    confusion = pd.read_csv(result / "checkpoints_confusion.csv")
    assert confusion["area_pct"].sum() == pytest.approx(100, abs=1e-3)

    assert CliRunner().invoke(main, ["modes", str(result)]).exit_code == 0
    again = pd.read_csv(result / "modes.csv").set_index("name")
    pd.testing.assert_frame_equal(again, modes)


def test_an_edit_of_labels_leaves_the_adjusted_shares_as_they_are(result):
    run(result, "-n", 100)
    run(result, "--read", label(result, wrong=0.3))
    before = pd.read_csv(result / "modes.csv").set_index("name")
    labels = read_labels(result / "phases.ome.tif")
    labels[:, 70:][labels[:, 70:] == PHASES["troilite"].id] = PHASES["magnetite"].id
    write_labels(result / "phases.ome.tif", labels, pixel_size_um=(2.0, 3.0))
    assert CliRunner().invoke(main, ["modes", str(result)]).exit_code == 0
    after = pd.read_csv(result / "modes.csv").set_index("name")
    assert after.loc["magnetite", "area_pct"] > 5 > before.loc["magnetite", "area_pct"]
    for name in ("olivine", "troilite", "magnetite"):
        assert after.loc[name, "adjusted_pct"] == pytest.approx(before.loc[name, "adjusted_pct"])


def test_unlabelled_rows_are_skipped(result):
    run(result, "-n", 60)
    said = run(result, "--read", label(result, {1: "", 2: "", 3: " "}))
    total = len(pd.read_csv(result / "checkpoints_phases.csv"))
    assert f"phases: {total - 3} labelled points" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(label="olivin"), "Unknown class at point 1 of labelled.csv 'olivin'"),
        (lambda table: table.assign(row_px=95), "Point 1 of .* lies at row 95, column .* outside the map of 90 x 140"),
        (lambda table: table.assign(col_px=table["col_px"] ^ 1), "Point 1 of .* is not the one that was drawn"),
        (lambda table: table.assign(point=table["point"] + 500), "Point 501 of .* is not the one that was drawn"),
        (lambda table: pd.concat([table, table]), "Point 1 is in .* twice: keep one row"),
        (lambda table: table.assign(row_px="top"), "Point 1 of .* has the row_px 'top'"),
        (lambda table: table.assign(label=""), "has no label yet: fill its column label"),
        (lambda table: table.head(1), "labelled points? lie on what the map calls"),
        (lambda table: table.drop(columns="label"), "lacks the column 'label'"),
        (lambda table: table.assign(layer="minerals"), "has the layer 'minerals'"),
    ],
)  # fmt: skip
def test_bad_lists_are_one_line_and_change_nothing(result, change, message):
    run(result, "-n", 40)
    listed = (result / "checkpoints_phases.csv").read_bytes()
    path = label(result)
    change(pd.read_csv(path, keep_default_na=False)).to_csv(path, index=False)
    said = run(result, "--read", path, code=2)
    assert len(said.strip().splitlines()) == 1
    assert re.search(message, said), said
    assert (result / "checkpoints_phases.csv").read_bytes() == listed
    assert not (result / "modes.csv").exists()


def test_a_list_is_not_replaced_unless_asked_and_needs_points_enough(result):
    run(result, "-n", 40)
    assert "use --overwrite" in run(result, "-n", 40, code=2)
    run(result, "-n", 50, "--overwrite")
    assert len(pd.read_csv(result / "checkpoints_phases.csv")) in (49, 50)
    assert "3 points are too few for 2 classes" in run(result, "-n", 3, "--overwrite", code=2)
    assert "holds no components" in run(result, "--layer", "components", code=2)


def test_contact_sheets_show_the_surroundings_of_each_point():
    bse = np.zeros((60, 80), np.float32)
    bse[30, 40] = 100
    section = Section.from_arrays("A", {"BSE": bse})
    points = pd.DataFrame({"point": [1, 2], "row_px": [30, 0], "col_px": [40, 79]})
    sheets = contact_sheets(section, points)
    assert len(sheets) == 1
    assert sheets[0].startswith(b"\x89PNG")
    many = pd.DataFrame({"point": range(130), "row_px": 5, "col_px": 6})
    assert len(contact_sheets(section, many)) == 3


@pytest.mark.parametrize("n", [20, 47, 100, 301])
def test_as_many_points_are_drawn_as_were_asked_for(n):
    areas = {"olivine": 9000, "pyroxene": 4100, "metal": 770, "spinel": 333}
    assert sum(share_out(areas, n, 5).values()) == n


def test_a_list_that_is_not_there_is_told_with_the_remedy(tmp_path):
    from meteoseg.errors import InputError
    from meteoseg.estimation.pointfiles import POINTS_COLUMNS, read_table

    with pytest.raises(InputError, match=r"none\.csv does not exist: give the list that meteoseg checkpoints OUT"):
        read_table(tmp_path / "none.csv", POINTS_COLUMNS)
