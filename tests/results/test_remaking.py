"""A result folder made again from edited labels: nothing in it contradicts another, or it says what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from mineral_painting import CALIBRATION, SIDE, one_chondrule_model, painted, painted_counts

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.clustering import ClusterOptions
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.io import open_section, read_labels, write_labels
from meteoseg.legend import default_legend, read_legend_csv
from meteoseg.legend.edit import LegendEdit
from meteoseg.pipeline import segment
from meteoseg.results.remaking import modes_again
from meteoseg.tables.measure import classify_folder

PHASES, COMPONENTS = default_legend("phases"), default_legend("components")
SIZE = (2.0, 2.0)
TABLES = (
    "modes.csv",
    "chondrules.csv",
    "phases_by_component.csv",
    "chemistry.csv",
    "grains.csv",
    "classification.json",
)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the maps A/, a calibration and the results out/A; every test takes a copy."""
    folder = tmp_path_factory.mktemp("campaign")
    counts, _ = painted_counts()
    (folder / "A").mkdir()
    for name, plane in counts.items():
        tifffile.imwrite(folder / "A" / f"A_{name}.tif", plane.astype(np.uint16))
    CALIBRATION.to_json(folder / "calibration.json")
    run_on(folder, folder / "out")
    return folder


def run_on(folder: Path, out: Path, legend: LegendEdit | None = None) -> Path:
    section = open_section(folder / "A", pixel_size_um=SIZE)
    standards = folder / "calibration.json"
    return segment(section, one_chondrule_model(), standards=standards, out=out, legend=legend).folder


@pytest.fixture
def result(campaign: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(campaign / "out" / "A", tmp_path / "A"))


def edit(folder: Path, layer: str, change) -> None:
    labels = read_labels(folder / f"{layer}.ome.tif")
    change(labels)
    write_labels(folder / f"{layer}.ome.tif", labels, pixel_size_um=SIZE)


def drop_olivine_columns(labels: np.ndarray) -> None:
    """Rename the olivine of the last four columns of grains."""
    part = labels[:, 5 * SIDE :]
    part[part == PHASES["olivine"].id] = PHASES["mesostasis"].id


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def report_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def run_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def fa(folder: Path, where: str = "all") -> pd.Series:
    table = pd.read_csv(folder / "chemistry.csv")
    return table[(table["quantity"] == "Fa") & (table["where"] == where)].iloc[0]


def forget_maps(folder: Path) -> None:
    run = run_of(folder)
    run["section"]["files_from"] = "/nowhere"
    for channel in run["section"]["channels"]:
        channel["map"]["file"] = Path(channel["map"]["file"]).name
    for entry in run["inputs"]:
        entry["file"] = Path(entry["file"]).name
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")


def test_nothing_changes_where_nothing_was_edited(result: Path) -> None:
    before = content(result)
    modes_again(result)
    assert content(result) == before
    entry = run_of(result)["remade"][0]
    assert entry["edited"] == []
    assert entry["chemistry"] == "as in the run"
    assert "not edited since the run" in report_of(result)
    assert sorted(path.name for path in result.iterdir() if path.name[0] == ".") == []


def test_the_same_labels_saved_anew_measure_the_same(result: Path) -> None:
    before = content(result)
    edit(result, "phases", lambda labels: None)
    modes_again(result)
    assert run_of(result)["remade"][0]["chemistry"] == "measured again"
    assert content(result) == before


def test_edited_phases_change_chemistry_group_suggestion_and_report(result: Path) -> None:
    before = fa(result)
    assert before["n_grains"] == 36
    edit(result, "phases", drop_olivine_columns)
    modes_again(result)
    after = fa(result)
    assert after["n_grains"] == 20
    assert after["mean"] == pytest.approx(15, abs=1)  # columns of Fa 10 to 20
    assert before["mean"] == pytest.approx(20, abs=1)
    assert np.isnan(tifffile.imread(result / "Fa.ome.tif")[:, 5 * SIDE :]).all()
    assert f"{after['mean']:.1f} mol%" in report_of(result)
    assert f"{before['mean']:.1f} mol%" not in report_of(result)
    stored = json.loads((result / "classification.json").read_text(encoding="utf-8"))
    assert stored == classify_folder(result).to_json_dict()
    assert any("there are 20 in 1" in note for note in stored["notes"])
    grains = pd.read_csv(result / "grains.csv")
    assert grains.query("quantity == 'Fa'")["n_px"].sum() == after["n_px"]
    assert "edited since the run: phases.ome.tif" in report_of(result)
    assert not list(result.glob("stale-*"))


def test_a_later_look_still_says_that_labels_were_edited(result: Path) -> None:
    edit(result, "phases", drop_olivine_columns)
    modes_again(result)
    modes_again(result)
    assert [entry["edited"] for entry in run_of(result)["remade"]] == [["phases.ome.tif"], []]
    assert "edited since the run: phases.ome.tif" in report_of(result)


def test_edited_chondrules_move_grains_and_a_contradiction_is_told(result: Path) -> None:
    def part(labels: np.ndarray) -> None:
        labels[:, 70:] = np.where(labels[:, 70:] > 0, 2, 0)
        labels[:, :9] = 0

    assert fa(result, "chondrules")["n_chondrules"] == 1
    edit(result, "chondrules", part)
    told: list[str] = []
    modes_again(result, tell=told.append)
    assert fa(result, "chondrules")["n_chondrules"] == 2
    assert pd.read_csv(result / "chondrules.csv")["id"].tolist() == [1, 2]
    is_chondrule = read_labels(result / "components.ome.tif") == COMPONENTS["chondrule"].id
    n_px = int(np.count_nonzero(is_chondrule[:, :9]))
    textures, contradiction = told
    assert "run meteoseg classify-patches again" in textures
    assert (
        f"{n_px} pixels are chondrule in components.ome.tif but no object of chondrules.ome.tif, 0 the other way"
        in contradiction
    )
    assert contradiction in report_of(result)
    edit(result, "components", lambda labels: labels[:, :9].fill(0))
    modes_again(result, tell=told.append)
    assert "are outside in phases.ome.tif or components.ome.tif" in told[-1]


def test_without_the_maps_chemistry_is_stale_and_comes_back_with_them(result: Path, campaign: Path) -> None:
    forget_maps(result)
    edit(result, "phases", drop_olivine_columns)
    done = CliRunner().invoke(main, ["modes", str(result)])
    assert done.exit_code == 0, done.output
    assert f"/nowhere/A_Mg.tif is not there): run meteoseg modes {result} --maps FOLDER" in done.stderr
    assert not (result / "chemistry.csv").exists()
    assert not (result / "Fa.ome.tif").exists()
    assert (result / "stale-grains.csv").is_file()
    page = report_of(result)
    assert "<h2>Mineral chemistry</h2>" not in page
    assert "Pictures of the maps are left out: /nowhere/A_Mg.tif is not there." in page
    assert "Outlines of chondrules over the phases." in page
    stored = json.loads((result / "classification.json").read_text(encoding="utf-8"))
    assert not any("Fa_olivine" in note for note in stored["notes"])
    assert run_of(result)["remade"][0]["chemistry"].startswith("stale: ")
    again: list[str] = []
    modes_again(result, tell=again.append)
    assert "No mineral chemistry" in again[0]
    modes_again(result, maps=campaign / "A")
    assert fa(result)["n_grains"] == 20
    assert not list(result.glob("stale-*"))
    assert "<h2>Mineral chemistry</h2>" in report_of(result)


def test_maps_that_changed_are_not_used(result: Path, campaign: Path, tmp_path: Path) -> None:
    maps = shutil.copytree(campaign / "A", tmp_path / "maps")
    tifffile.imwrite(maps / "A_Fe.tif", np.zeros((6 * SIDE, 9 * SIDE), np.uint16))
    edit(result, "phases", drop_olivine_columns)
    told: list[str] = []
    modes_again(result, maps=maps, tell=told.append)
    assert "A_Fe.tif is not the file of the run: its SHA-256 differs" in told[0]
    assert not (result / "chemistry.csv").exists()


def test_without_the_maps_what_was_not_edited_stays(result: Path) -> None:
    before = content(result)
    forget_maps(result)
    told: list[str] = []
    modes_again(result, tell=told.append)
    assert told == []
    assert content(result) == before
    assert "<h2>Mineral chemistry</h2>" in report_of(result)


def test_results_without_their_calibration_cannot_be_measured_again(result: Path) -> None:
    (result / "calibration.json").unlink()
    edit(result, "phases", drop_olivine_columns)
    told: list[str] = []
    modes_again(result, tell=told.append)
    assert "(run without calibration.json): segment the section again into another folder" in told[0]
    assert not (result / "chemistry.csv").exists()


def test_phases_that_a_legend_joined_keep_their_composition(campaign: Path, tmp_path: Path) -> None:
    folder = run_on(campaign, tmp_path, LegendEdit(merge={"ferromagnesian": ("low-Ca pyroxene", "olivine")}))
    before = pd.read_csv(folder / "chemistry.csv")
    legend = read_legend_csv(folder / "legend.csv")["phases"]
    edit(folder, "phases", lambda labels: None)
    modes_again(folder)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "chemistry.csv"), before)

    def paint(labels: np.ndarray) -> None:
        labels[5 * SIDE : 5 * SIDE + 10, :20] = legend["ferromagnesian"].id  # was kamacite
        labels[:SIDE] = np.where(labels[:SIDE] > 0, legend["mesostasis"].id, 0)  # a row of olivine

    edit(folder, "phases", paint)
    told: list[str] = []
    modes_again(folder, tell=told.append)
    assert fa(folder)["n_grains"] == 27
    old = read_labels(folder / "phases_unjoined.ome.tif")[5 * SIDE : 5 * SIDE + 10, :20]
    n_px = np.count_nonzero((old != PHASES["olivine"].id) & (old != PHASES["low-Ca pyroxene"].id))
    assert n_px > 100
    assert f"{n_px} pixels were painted as a phase that joins several" in told[0]


def test_joined_tables_of_a_batch_are_named(result: Path) -> None:
    told: list[str] = []
    modes_again(result, tell=told.append)
    assert told == []
    (result.parent / "summary.csv").write_text("section\nA\n")
    modes_again(result, tell=told.append)
    assert len(told) == 1
    assert told[0].endswith("run meteoseg batch with --resume, which makes them again.")


def test_compositions_of_wt_pct_maps_are_measured_again_alike(tmp_path: Path) -> None:
    values, _ = painted(rows=6, cols=5)
    (tmp_path / "B").mkdir()
    for name, plane in values.items():
        tifffile.imwrite(tmp_path / "B" / f"{name} Wt%.tif", plane.astype(np.float32))
    section = open_section(tmp_path / "B", pixel_size_um=SIZE)
    folder = segment(section, one_chondrule_model(), out=tmp_path / "out").folder
    before = (folder / "grains.csv").read_bytes()
    edit(folder, "phases", lambda labels: None)
    modes_again(folder)
    assert run_of(folder)["remade"][0]["chemistry"] == "measured again"
    assert (folder / "grains.csv").read_bytes() == before


def test_a_failure_leaves_the_folder_as_it_was(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(result, "phases", drop_olivine_columns)
    before = {path.name: path.read_bytes() for path in result.iterdir()}
    monkeypatch.setattr("meteoseg.results.remaking.write_section_report", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        modes_again(result)
    assert {path.name: path.read_bytes() for path in result.iterdir()} == before


def test_labels_on_two_grids_are_refused(result: Path) -> None:
    write_labels(result / "chondrules.ome.tif", np.ones((9 * SIDE, 6 * SIDE), np.uint8))
    with pytest.raises(ShapeMismatchError, match=r"chondrules.ome.tif is 144 x 96 .* edit them on one grid"):
        modes_again(result)


def test_a_size_that_a_picture_program_wrote_does_not_count(result: Path) -> None:
    before = (result / "modes.csv").read_bytes()
    labels = read_labels(result / "phases.ome.tif")
    tifffile.imwrite(result / "phases.ome.tif", labels, resolution=(72, 72), resolutionunit="INCH", metadata=None)
    modes_again(result)
    assert (result / "modes.csv").read_bytes() == before
    modes_again(result, pixel_size=4.0)
    assert pd.read_csv(result / "modes.csv")["area_um2"].sum() == pytest.approx(2 * 16 * 54 * SIDE**2)
    assert run_of(result)["section"]["pixel_size_um"] == [4.0, 4.0]
    assert run_of(result)["remade"][-1]["pixel_size_um_before"] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": Path("none")}, "--maps none is no folder"),
        ({"maps": Path(), "masks": [Path("a.tif")]}, "--maps goes with one result folder, without --mask"),
    ],
)
def test_maps_go_with_one_result_folder(result: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        modes_again(result, **options)


def test_classes_of_a_cluster_result_are_made_again(campaign: Path, tmp_path: Path) -> None:
    section = open_section(campaign / "A", pixel_size_um=SIZE)
    folder = ms.cluster(section, ClusterOptions("kmeans", classes=3), out=tmp_path).folder
    picture = (folder / "phases.png").read_bytes()
    edit(folder, "phases", lambda labels: np.place(labels, labels == 2, 1))
    modes_again(folder)
    means = pd.read_csv(folder / "channel_means.csv").set_index("name")
    assert list(means.index) == ["cluster 1", "cluster 3"]
    labels = read_labels(folder / "phases.ome.tif")
    iron = tifffile.imread(campaign / "A" / "A_Fe.tif")
    assert means.loc["cluster 1", "Fe"] == pytest.approx(iron[labels == 1].mean())
    assert (folder / "phases.png").read_bytes() != picture
    assert "cluster 2" not in report_of(folder)
    assert not any("Weight percent" in note for note in run_of(folder)["remade"][0]["notes"])
    forget_maps(folder)
    edit(folder, "phases", lambda labels: np.place(labels, labels == 3, 1))
    told: list[str] = []
    modes_again(folder, tell=told.append)
    assert "No channel means of the edited classes" in told[0]
    assert not (folder / "channel_means.csv").exists()
    assert (folder / "stale-channel_means.csv").is_file()
    assert "<h2>Channel means</h2>" not in report_of(folder)


def test_textures_stay_with_objects_that_were_not_edited(result: Path) -> None:
    table = pd.read_csv(result / "chondrules.csv").assign(texture="granular", texture_probability=0.7, type="I")
    table.to_csv(result / "chondrules.csv", index=False)
    (result / "textures.csv").write_text("texture,n\ngranular,1\n", encoding="utf-8")
    modes_again(result)
    assert set(pd.read_csv(result / "chondrules.csv")["texture"]) == {"granular"}
    edit(result, "chondrules", lambda labels: labels.__setitem__((slice(0, 3), slice(0, 3)), 77))
    told: list[str] = []
    modes_again(result, tell=told.append)
    assert "texture" not in pd.read_csv(result / "chondrules.csv")
    assert any("run meteoseg classify-patches again" in note for note in told)
    assert not (result / "textures.csv").exists()
