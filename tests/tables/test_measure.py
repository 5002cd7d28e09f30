from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError, UnknownNameError
from meteoseg.io import write_labels
from meteoseg.legend import default_legend, write_legend_csv
from meteoseg.results.remaking import modes_again
from meteoseg.section import ArrayPlane
from meteoseg.tables.labelcounts import LabelLayers, count_modes
from meteoseg.tables.measure import (
    LABEL_FILES,
    classify_again,
    result_folders,
)

PHASES, COMPONENTS = default_legend("phases"), default_legend("components")


@pytest.fixture
def labels() -> dict[str, np.ndarray]:
    """30 x 40 px: a chondrule of 10 x 10 px of olivine in matrix, 5 columns of mount."""
    components = np.full((30, 40), COMPONENTS["matrix"].id, np.uint8)
    phases = np.full((30, 40), PHASES["fine-grained matrix"].id, np.uint8)
    components[5:15, 20:30] = COMPONENTS["chondrule"].id
    phases[5:15, 20:30] = PHASES["olivine"].id
    components[:, :5] = phases[:, :5] = 0
    objects = (components == COMPONENTS["chondrule"].id).astype(np.uint32)
    return {"phases": phases, "components": components, "chondrules": objects}


@pytest.fixture
def result(tmp_path: Path, labels: dict[str, np.ndarray]) -> Path:
    folder = tmp_path / "out" / "A12"
    folder.mkdir(parents=True)
    for layer, image in labels.items():
        write_labels(folder / LABEL_FILES[layer], image, pixel_size_um=(2.0, 2.0), name=layer)
    write_legend_csv(folder / "legend.csv", PHASES, COMPONENTS)
    return folder


def area_pct(table: pd.DataFrame, layer: str, name: str) -> float:
    row = table[(table["layer"] == layer) & (table["name"] == name)]
    return float(row["area_pct"].iloc[0])


def test_tables_are_made_again_after_an_edit(result: Path, labels: dict[str, np.ndarray]) -> None:
    table = modes_again(result)["A12"]
    assert area_pct(table, "components", "chondrule") == pytest.approx(100 * 100 / (30 * 35))
    edited = labels["components"].copy()
    edited[5:10, 20:30] = COMPONENTS["matrix"].id
    write_labels(result / LABEL_FILES["components"], edited, pixel_size_um=(2.0, 2.0))
    modes_again(result)
    written = pd.read_csv(result / "modes.csv")
    assert area_pct(written, "components", "chondrule") == pytest.approx(100 * 50 / (30 * 35))
    assert pd.read_csv(result / "chondrules.csv")["area_um2"].tolist() == [400.0]
    cross = pd.read_csv(result / "phases_by_component.csv").set_index(["component", "phase"])["area_px"]
    assert cross["matrix", "olivine"] == 50


def test_kinds_given_by_hand_survive(result: Path) -> None:
    modes_again(result)
    table = pd.read_csv(result / "chondrules.csv").assign(kind="fragment")
    table.to_csv(result / "chondrules.csv", index=False)
    modes_again(result)
    assert pd.read_csv(result / "chondrules.csv")["kind"].tolist() == ["fragment"]


def test_the_parent_folder_of_results_is_accepted(result: Path) -> None:
    assert list(modes_again(result.parent)) == ["A12"]
    assert result_folders(result.parent) == [result]


def test_a_region_of_interest_counts_alone(result: Path, tmp_path: Path) -> None:
    roi = np.zeros((30, 40), np.uint8)
    roi[5:15, 20:40] = 255
    write_labels(tmp_path / "clast.tif", roi)
    write_labels(tmp_path / "rest.tif", 255 - roi)
    out = tmp_path / "tables.csv"
    told: list[str] = []
    tables = modes_again(result, masks=[tmp_path / "clast.tif", tmp_path / "rest.tif"], csv=out, tell=told.append)
    assert told == ["Intervals of regions are those of sampling alone: errors of the labels are not in them."]
    assert area_pct(tables["A12: clast"], "components", "chondrule") == pytest.approx(50)
    assert "chondrule" not in set(tables["A12: rest"]["name"])
    assert list(pd.read_csv(out).columns[:3]) == ["section", "region", "layer"]
    assert not (result / "modes.csv").exists()


def test_a_region_of_another_shape_is_refused(result: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "roi.tif", np.ones((40, 30), np.uint8))
    with pytest.raises(ShapeMismatchError, match=r"40 x 30 .* but the labels are 30 x 40"):
        modes_again(result, masks=[tmp_path / "roi.tif"])


def test_a_label_file_alone(result: Path, tmp_path: Path, labels: dict[str, np.ndarray]) -> None:
    table = modes_again(result / LABEL_FILES["phases"])[""]
    assert set(table["layer"]) == {"phases"}
    assert area_pct(table, "phases", "olivine") == pytest.approx(100 * 100 / (30 * 35))
    plain = tmp_path / "mine.tif"
    write_labels(plain, labels["components"])
    with pytest.raises(InputError, match="--layer"):
        modes_again(plain, pixel_size=1.0)
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        modes_again(plain, layer="components")
    assert "chondrule" in set(modes_again(plain, layer="components", pixel_size=1.0)[""]["name"])


def test_a_label_that_the_legend_lacks_is_refused(tmp_path: Path) -> None:
    write_labels(tmp_path / "phases.tif", np.full((4, 5), 77, np.uint8), pixel_size_um=(1.0, 1.0))
    with pytest.raises(UnknownNameError, match="Label 77 is not in the legend"):
        modes_again(tmp_path / "phases.tif")


def test_layers_of_two_shapes_are_refused() -> None:
    planes = {"phases": ArrayPlane(np.ones((3, 4), int)), "components": ArrayPlane(np.ones((4, 3), int))}
    with pytest.raises(ShapeMismatchError, match="differ in size"):
        LabelLayers(planes, {"phases": PHASES, "components": COMPONENTS}, (1.0, 1.0))


def test_one_layer_has_no_cross_table() -> None:
    plane = ArrayPlane(np.ones((3, 4), np.uint8))
    modes, cross = count_modes(LabelLayers({"phases": plane}, {"phases": PHASES}, (1.0, 1.0)))
    assert cross is None
    assert area_pct(modes, "phases", "olivine") == 100


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        modes_again(tmp_path)


def test_classification_of_a_folder_and_of_its_table_agree(result: Path) -> None:
    modes_again(result)
    answers = classify_again(result)
    assert answers.table["section"].tolist() == ["A12"]
    assert answers.found["A12"].class_ == "none"
    assert classify_again(result / "modes.csv").found["modes"].class_ == "none"
    with pytest.raises(InputError, match="does not exist"):
        classify_again(result / "absent.csv")


def test_two_regions_of_one_name_are_refused(result: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_labels(tmp_path / folder / "roi.tif", np.ones((30, 40), np.uint8))
    with pytest.raises(InputError, match=r"two of .* share one"):
        modes_again(result, masks=[tmp_path / "a" / "roi.tif", tmp_path / "b" / "roi.tif"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name,metal,sulfide\nK,7,2,5\n", "as many cells in each row"),
        ("name;metal\nK;7\n", "semicolons between its cells"),
        ("", "is not a table"),
    ],
)
def test_tables_that_would_be_misread_are_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        classify_again(tmp_path / "t.csv")
