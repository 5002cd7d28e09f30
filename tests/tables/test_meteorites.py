"""Sections of one meteorite joined: areas add, errors combine, one group suggestion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mineral_painting import CALIBRATION, one_chondrule_model, painted_counts

from meteoseg.batch import batch
from meteoseg.errors import InputError
from meteoseg.estimation.joined import join_shares, joined_bounds
from meteoseg.pipeline import segment
from meteoseg.section import Section
from meteoseg.tables.meteorites import COLUMNS, SectionTables, _chemistry, _classify, meteorite_modes, write_meteorites


def test_agreeing_sections_are_as_good_as_their_area():
    one = join_shares([10.0], [0.2], [0.04], [36])
    four = join_shares([10.0] * 4, [0.2] * 4, [0.04] * 4, [36] * 4)
    assert four.error == pytest.approx(one.error / 2)
    assert (one.degrees, four.degrees) == (17.5, pytest.approx(70))
    assert four.between == 0
    assert np.isnan(one.between)


def test_sections_that_differ_widen_the_error():
    joined = join_shares([10.0, 10.0, 10.0], [0.1, 0.2, 0.3], [0.01] * 3, [36] * 3)
    assert joined.share == pytest.approx(0.2)
    assert joined.between == pytest.approx(np.sqrt(0.01 - 0.0001), rel=1e-6)
    assert joined.error == pytest.approx(0.1 / np.sqrt(3), rel=1e-6)
    assert joined.degrees == pytest.approx(2, rel=0.05)


def test_interval_of_joined_sections_covers_the_rock():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        shares = 0.3 + 0.03 * rng.standard_normal(4) + 0.02 * rng.standard_normal(4)
        joined = join_shares([5.0, 8.0, 10.0, 12.0], shares, [0.02] * 4, [25] * 4)
        centre, truth = np.log(joined.share / (1 - joined.share)), np.log(0.3 / 0.7)
        held.append(abs(centre - truth) <= joined.half_width)
    assert 0.88 <= np.mean(held) <= 0.99


def test_bounds_of_one_network_do_not_shrink_with_sections():
    shares, lows = [0.3, 0.5], [0.25, 0.44]
    common = joined_bounds([1.0, 1.0], shares, lows, independent=False)
    apart = joined_bounds([1.0, 1.0], shares, lows, independent=True)
    assert 0.33 < common < 0.36 < apart < 0.4


def test_a_manifest_joins_sections_of_one_meteorite(maps: Path, tiny_model: Path, tmp_path: Path) -> None:
    for name in ("B1", "B2", "B3"):
        shutil.copytree(maps, tmp_path / "campaign" / name)
    manifest = tmp_path / "campaign" / "sections.csv"
    manifest.write_text("section,pixel_size_um,meteorite\nB1,8,Rock\nB2,8,Rock\nB3,8,\n", encoding="utf-8")
    out = tmp_path / "out"
    assert batch(manifest, out, model=str(tiny_model)).done == ("B1", "B2", "B3")
    joined = pd.read_csv(out / "meteorites.csv")
    assert list(joined.columns) == list(COLUMNS)
    assert joined["meteorite"].unique().tolist() == ["Rock"]
    assert (joined["n_sections"] == 2).all()
    one = pd.read_csv(out / "B1" / "modes.csv")
    assert joined["area_um2"].sum() == pytest.approx(2 * one["area_um2"].sum())
    assert pd.read_csv(out / "meteorites_classification.csv")["meteorite"].tolist() == ["Rock"]


def test_the_same_section_twice_has_its_modes_with_less_error(tmp_path: Path) -> None:
    counts, _ = painted_counts()
    section = Section.from_arrays("A", {name: plane.astype(np.float32) for name, plane in counts.items()},
                                  pixel_size_um=2.0)  # fmt: skip
    CALIBRATION.to_json(tmp_path / "calibration.json")
    folder = segment(
        section, one_chondrule_model(), standards=tmp_path / "calibration.json", out=tmp_path / "out"
    ).folder
    shutil.copytree(folder, tmp_path / "out" / "B")
    write_meteorites(tmp_path / "out", {"Rock": ["A", "B"]})
    one = pd.read_csv(folder / "modes.csv").set_index(["layer", "name"])
    both = pd.read_csv(tmp_path / "out" / "meteorites.csv").set_index(["layer", "name"]).loc[one.index]
    assert both["area_um2"].to_numpy() == pytest.approx(2 * one["area_um2"].to_numpy())
    for column in ("area_pct", "wt_pct", "area_pct_with_holes"):
        assert np.allclose(both[column], one[column], equal_nan=True), column
    solid = both.dropna(subset=["ci_low_pct"])
    assert len(solid) > 3
    width = one["ci_high_pct"] - one["ci_low_pct"]
    assert (solid["ci_high_pct"] - solid["ci_low_pct"] <= 1.001 * width[solid.index]).all()


def test_sections_without_sampling_errors_are_named(tmp_path: Path) -> None:
    (tmp_path / "modes.csv").write_text("layer,name,area_px\n", encoding="utf-8")
    with pytest.raises(InputError, match="representativeness\\.csv is missing: run meteoseg modes"):
        SectionTables.read(tmp_path)


def section_of(folder: Path, classes: dict[str, float], **columns: float) -> SectionTables:
    """Return the tables of a section of 0.01 mm2; `columns` are the same in all rows."""
    rows = [
        ("phases", phase, 100.0 * pct, float(pct), pct - 5.0, min(100.0, pct + 5.0), float(pct))
        for phase, pct in classes.items()
    ]
    names = ["layer", "name", "area_um2", "area_pct", "section_ci_low_pct", "section_ci_high_pct", "wt_pct"]
    modes = pd.DataFrame(rows, columns=names).assign(**({"adjusted_pct": np.nan} | columns))
    errors = {("phases", phase): (0.02, 36) for phase in classes}
    return SectionTables(folder, modes.set_index(["layer", "name"]), errors, {"phases": 1e4},
                         {"olivine": 3.3, "troilite": 4.8})  # fmt: skip


def test_a_class_that_one_section_lacks_counts_as_zero_there(tmp_path: Path) -> None:
    parts = [section_of(tmp_path, {"olivine": 60, "troilite": 40}), section_of(tmp_path, {"olivine": 100})]
    table = meteorite_modes("Rock", parts).set_index("name")
    assert table.loc["troilite", "area_pct"] == pytest.approx(20)
    assert table.loc["troilite", "wt_pct"] == pytest.approx(100 * 40 * 4.8 / (160 * 3.3 + 40 * 4.8))
    assert table.loc["troilite", "between_sections_sd_pct"] > 20
    assert np.isnan(table.loc["troilite", "adjusted_pct"])


def test_adjusted_shares_of_sections_add_up_where_one_lacks_a_class(tmp_path: Path) -> None:
    parts = [section_of(tmp_path, classes) for classes in ({"olivine": 60, "troilite": 40}, {"olivine": 100})]
    for part in parts:
        part.modes["adjusted_pct"] = part.modes["area_pct"]
        for side in ("low", "high"):
            part.modes[f"adjusted_section_ci_{side}_pct"] = part.modes[f"section_ci_{side}_pct"]
    table = meteorite_modes("Rock", parts).set_index("name")
    assert table.loc[["olivine", "troilite"], "adjusted_pct"].tolist() == pytest.approx([80, 20])
    assert table.loc["troilite", "adjusted_ci_low_pct"] < 15 < 25 < table.loc["troilite", "adjusted_ci_high_pct"]


def test_a_section_without_inclusions_leaves_the_interval_of_the_others(tmp_path: Path) -> None:
    """representativeness.csv of a section without any has a row of 0 without an error."""
    for name, pct in (("a", 2.0), ("b", 0.0)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "modes.csv").write_text(
            "layer,name,area_px,area_um2,area_pct,section_ci_low_pct,section_ci_high_pct,adjusted_pct,wt_pct\n"
            f"components,matrix,1,{100 - pct},{100 - pct},,,,\n"
            + (f"components,inclusion,1,{pct},{pct},,,,\n" if pct else ""),
            encoding="utf-8",
        )
        relative = "25" if pct else ""
        (folder / "representativeness.csv").write_text(
            "layer,name,value,unit,relative_error_pct,n_blocks\n"
            f"components,matrix,{100 - pct},area %,1,25\n"
            f"components,inclusion,{pct},area %,{relative},{25 if pct else 0}\n",
            encoding="utf-8",
        )
    parts = [SectionTables.read(tmp_path / name) for name in ("a", "b")]
    row = meteorite_modes("Rock", parts).set_index("name").loc["inclusion"]
    assert row["area_pct"] == pytest.approx(1)
    assert 0 < row["ci_low_pct"] < 1 < row["ci_high_pct"] < 100


def test_a_bound_of_a_section_without_the_class_counts_in_full():
    bound = joined_bounds([1.0, 1.0], [0.02, 0.0], [0.02, 0.04], independent=True)
    assert bound == pytest.approx(0.05, abs=0.025)
    assert bound > 0.025


def test_compositions_of_sections_count_by_their_grains(tmp_path: Path) -> None:
    parts = []
    for name, (n, mean, error) in {"a": (30, 18.0, 0.3), "b": (10, 22.0, 0.9)}.items():
        row = {"phase": "olivine", "quantity": "Fa", "where": "chondrules", "n_grains": n, "n_chondrules": 6,
               "n_px": 99, "mean": mean, "standard_error": error, "systematic_error": 0.4}  # fmt: skip
        (tmp_path / name).mkdir()
        pd.DataFrame([row | {"ci_low": 0.0, "ci_high": 0.0}]).to_csv(tmp_path / name / "chemistry.csv", index=False)
        parts.append(section_of(tmp_path / name, {"olivine": 100}))
    joined = _chemistry(parts)
    assert joined is not None
    row = joined.iloc[0]
    assert row[["n_grains", "n_chondrules", "mean", "systematic_error"]].tolist() == [40, 12, pytest.approx(19), 0.4]
    assert row["standard_error"] == pytest.approx(np.hypot(0.75 * 0.3, 0.25 * 0.9))


def test_channels_that_one_section_lacks_show_nothing_of_the_meteorite(tmp_path: Path) -> None:
    parts = []
    for name, channels in {"a": ("Fe", "S"), "b": ("Fe",)}.items():
        (tmp_path / name).mkdir()
        facts = {"section": {"channels": [{"name": channel} for channel in channels]}}
        (tmp_path / name / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        parts.append(section_of(tmp_path / name, {"olivine": 90, "troilite": 10}))
    table = meteorite_modes("Rock", parts).assign(area_um2=5e7)
    notes = " ".join(_classify(table, parts).notes)
    assert "metal is not used: it needs Fe and S" in notes
    assert "metal is not used" not in " ".join(_classify(table, parts[:1]).notes)
