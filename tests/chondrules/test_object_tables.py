"""The tables of chondrules: minerals, compositions, types, rims, counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from meteoseg.chondrules.counts import chondrule_counts
from meteoseg.chondrules.rims import rim_columns
from meteoseg.chondrules.tables import Compositions, ObjectLabels, write_object_tables
from meteoseg.chondrules.types import chondrule_types, type_remark
from meteoseg.legend import default_legend
from meteoseg.objects import COLUMNS
from meteoseg.section import ArrayPlane

PHASES, COMPONENTS = default_legend("phases"), default_legend("components")
LEGENDS = {"phases": PHASES, "components": COMPONENTS}


def painted():
    """70 x 90 px: object 1 half olivine, a quarter kamacite, a rim 2 px wide; object 5 of pyroxene beside a hole."""
    objects = np.zeros((70, 90), np.uint32)
    phases = np.full(objects.shape, PHASES["fine-grained matrix"].id, np.uint8)
    components = np.full(objects.shape, COMPONENTS["matrix"].id, np.uint8)
    components[8:32, 8:32] = COMPONENTS["rim"].id
    objects[10:30, 10:30] = 1
    objects[40:60, 50:70] = 5
    phases[10:20, 10:30] = PHASES["olivine"].id
    phases[20:30, 10:20] = PHASES["kamacite"].id
    phases[20:30, 20:30] = PHASES["troilite"].id
    phases[40:60, 50:70] = PHASES["low-Ca pyroxene"].id
    phases[40:42, 50:60] = PHASES["hole"].id
    components[objects > 0] = COMPONENTS["chondrule"].id
    return objects, {"phases": ArrayPlane(phases), "components": ArrayPlane(components)}


def grains_of(*rows):
    columns = ["chondrule", "phase", "quantity", "value", "n_px"]
    return pd.DataFrame(rows, columns=columns).assign(sd_counting=0.5)


def scatter(pct, n_chondrules=8):
    row = {"phase": "olivine", "quantity": "Fa_pmd", "where": "chondrules", "mean": pct, "n_chondrules": n_chondrules}
    return pd.DataFrame([row])


@pytest.fixture
def written(tmp_path):
    objects, planes = painted()
    grains = grains_of((1, "olivine", "Fa", 2.0, 30), (1, "olivine", "Fa", 6.0, 10), (0, "olivine", "Fa", 50.0, 9))
    labels = ObjectLabels(objects, None, planes, LEGENDS, (2.0, 1.0))
    write_object_tables(tmp_path, labels, Compositions(grains, scatter(60.0)), kinds={5: "fragment"})
    return tmp_path


def test_minerals_of_each_chondrule_sum_to_its_solid_area(written, monkeypatch):
    table = pd.read_csv(written / "phases_by_chondrule.csv").set_index(["id", "phase"])
    assert table.loc[(1, "olivine"), ["area_px", "area_um2", "pct_of_chondrule"]].tolist() == [200, 400, 50]
    assert table.loc[(5, "low-Ca pyroxene"), "pct_of_chondrule"] == 100
    assert np.isnan(table.loc[(5, "hole"), "pct_of_chondrule"])
    assert table["pct_of_chondrule"].groupby("id").sum().tolist() == pytest.approx([100, 100])
    monkeypatch.setattr("meteoseg.chondrules.minerals._BAND_PX", 90 * 7)
    objects, planes = painted()
    write_object_tables(written, ObjectLabels(objects, None, planes, LEGENDS, (2.0, 1.0)), Compositions())
    pd.testing.assert_frame_equal(pd.read_csv(written / "phases_by_chondrule.csv").set_index(["id", "phase"]), table)


def test_columns_of_chondrules_follow_those_of_before(written):
    table = pd.read_csv(written / "chondrules.csv").set_index("id")
    assert list(table)[: len(COLUMNS) - 1] == list(COLUMNS)[1:]
    assert table.loc[1, ["dominant_mineral", "olivine_pct", "metal_pct", "sulfide_pct"]].tolist() == [
        "olivine", 50, 25, 25,
    ]  # fmt: skip
    assert table.loc[5, ["olivine_pct", "pyroxene_pct", "metal_pct"]].tolist() == [0, 100, 0]
    assert table.loc[1, ["mean_Fa_mol_pct", "n_Fa_grains", "type"]].tolist() == [3, 2, "I"]
    # Weights 3/4 and 1/4, deviations -1 and 3: sqrt(2 (0.5625 + 0.5625)).
    assert table.loc[1, "mean_Fa_se_mol_pct"] == pytest.approx(1.5)
    assert table.loc[5, ["n_Fa_grains"]].tolist() == [0]
    assert np.isnan(table.loc[5, "mean_Fa_mol_pct"])
    assert pd.isna(table.loc[5, "type"])


def test_rims_belong_to_the_object_they_touch(written):
    table = pd.read_csv(written / "chondrules.csv").set_index("id")
    assert table.loc[1, "rim_area_um2"] == (24 * 24 - 400) * 2
    radius = np.sqrt(np.array([400.0, 576.0]) * 2 / np.pi)
    assert table.loc[1, "rim_thickness_um"] == pytest.approx(radius[1] - radius[0])
    assert table.loc[5, "rim_area_um2"] == 0


def test_no_rim_in_the_section_leaves_the_rims_open():
    objects, _ = painted()
    none = ArrayPlane(np.full(objects.shape, COMPONENTS["matrix"].id, np.uint8))
    assert rim_columns(objects, none, COMPONENTS["rim"].id, (1.0, 1.0))["rim_area_um2"].isna().all()


def test_a_rim_between_two_objects_is_shared_by_nearness():
    objects = np.zeros((20, 60), np.uint32)
    objects[5:15, 5:15], objects[5:15, 25:35] = 1, 2
    components = np.full(objects.shape, COMPONENTS["matrix"].id, np.uint8)
    components[5:15, 15:25] = COMPONENTS["rim"].id
    components[5:15, 45:50] = COMPONENTS["rim"].id  # apart from both
    found = rim_columns(objects, ArrayPlane(components), COMPONENTS["rim"].id, (1.0, 1.0))
    assert found["rim_area_um2"].tolist() == [50, 50]


def test_types_of_equilibrated_sections_are_left_blank():
    grains = grains_of((1, "olivine", "Fa", 4.0, 100), (2, "olivine", "Fa", 18.0, 10))
    assert chondrule_types(grains, scatter(45.0)) == {1: "I", 2: "II"}
    assert chondrule_types(grains, scatter(19.9)) is None
    assert chondrule_types(grains, scatter(2.0, n_chondrules=4)) == {1: "I", 2: "II"}  # a few even ones tell nothing
    assert "not known" in type_remark(scatter(2.0, n_chondrules=4))
    assert chondrule_types(grains, None) == {1: "I", 2: "II"}
    assert "equilibrated" in type_remark(scatter(3.0))
    assert "left blank" not in type_remark(scatter(45.0))
    assert "need the composition" in type_remark(None)


def test_without_phases_minerals_are_empty(tmp_path):
    objects, planes = painted()
    labels = ObjectLabels(objects, None, {"components": planes["components"]}, LEGENDS, (1.0, 1.0))
    write_object_tables(tmp_path, labels, Compositions())
    table = pd.read_csv(tmp_path / "chondrules.csv")
    assert table[["dominant_mineral", "metal_pct", "mean_Fa_mol_pct", "type", "n_Fa_grains"]].isna().all(axis=None)
    assert not (tmp_path / "phases_by_chondrule.csv").exists()


def test_counts_add_up_by_kind_type_and_texture():
    table = pd.DataFrame(
        {"kind": ["chondrule"] * 6 + ["fragment"], "type": ["I", "I", "II", "", None, "I", "II"],
         "texture": ["porphyritic"] * 4 + ["barred"] * 3, "touches_edge": [True] + [False] * 6, "area_px": 400,
         "area_um2": 400.0, "equivalent_diameter_um": [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]}
    )  # fmt: skip
    counts = chondrule_counts(table)
    by_type = counts[(counts["kind"] == "all") & (counts["texture"] == "all") & (counts["type"] != "all")]
    assert dict(zip(by_type["type"], by_type["n"], strict=True)) == {"I": 3, "II": 2, "unknown": 2}
    first = counts.iloc[0]
    assert (first["kind"], first["n"], first["n_whole"], first["mean_diameter_um"]) == ("all", 7, 6, 55)
    assert np.isnan(by_type["mean_diameter_um"]).all()  # under five each
    together = counts[(counts[["kind", "type", "texture"]] != "all").all(axis=1)]
    assert together["n"].sum() == 7
    assert chondrule_counts(table.iloc[:0]).empty
    untyped = chondrule_counts(table.assign(type=np.nan, texture=np.nan))
    assert untyped[["type", "texture"]].drop_duplicates().values.tolist() == [["all", "all"]]


@pytest.mark.parametrize("case", ["none", "one", "cut", "outside"])
def test_too_little_gives_words_and_no_numbers(tmp_path, case):
    objects = np.zeros((60, 80), np.uint32)
    inside = np.ones(objects.shape, bool)
    if case == "one":
        objects[20:40, 20:40] = 1
    if case == "cut":
        objects[:20, :20], objects[:20, 40:60], objects[40:, 10:30] = 1, 2, 3
    if case == "outside":
        inside[:] = False
    phases = np.where(inside, PHASES["olivine"].id, 0).astype(np.uint8)
    labels = ObjectLabels(objects, inside, {"phases": ArrayPlane(phases)}, LEGENDS, (1.0, 1.0))
    table = write_object_tables(tmp_path, labels, Compositions())
    assert len(table) == {"none": 0, "one": 1, "cut": 3, "outside": 0}[case]
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert sizes[["value", "standard_error", "ci_low", "ci_high"]].isna().all(axis=None)
    assert sizes["note"].str.startswith("not enough").all()
    assert len(sizes) == 20
    assert pd.read_csv(tmp_path / "size_distribution.csv").empty
