"""Mineral chemistry of a section: the files, the same in bands, and what the classification takes of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from mineral_painting import CALIBRATION, NAMES, SIDE, one_chondrule_model, painted, painted_counts, section_of

from meteoseg.classify import chemistry_evidence
from meteoseg.errors import InputError
from meteoseg.io.formats import read_maps
from meteoseg.labels.images import LabelImages
from meteoseg.legend import default_legend
from meteoseg.minerals.choose import ChemicalPhases
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.pipeline import segment
from meteoseg.results.mineralmaps import WHY_NOT, write_chemistry
from meteoseg.tables.measure import classify_folder

CHEMISTRY = {"chemistry.csv", "grains.csv"} | {
    f"{name}{end}.ome.tif" for name in ("Fa", "Fs", "Wo", "An", "Ni") for end in ("", "_sd")
}


def written(folder, values, phases, chondrules=None):
    section = section_of(values)
    maker = ChemicalPhases(PhaseClassifier.from_wt_pct(section.read(NAMES), NAMES), "test")
    labels = LabelImages(phases > 0, phases, phases, chondrules)
    folder.mkdir(exist_ok=True)
    return write_chemistry(section, labels, maker, folder)


def test_maps_hold_values_in_their_phase_and_nan_elsewhere(tmp_path):
    values, phases = painted()
    made = written(tmp_path, values, phases)
    assert {path.name for path in tmp_path.iterdir()} == CHEMISTRY
    assert set(made.maps) == {"Fa", "Fs", "Wo", "An", "Ni"}
    olivine = phases == default_legend("phases")["olivine"].id
    fa, sd = (tifffile.imread(tmp_path / f"Fa{end}.ome.tif") for end in ("", "_sd"))
    assert fa.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(fa), olivine)
    np.testing.assert_array_equal(np.isfinite(sd), olivine)
    columns = [np.nanmean(fa[:, col * SIDE : (col + 1) * SIDE]) for col in range(9)]
    np.testing.assert_allclose(columns, np.linspace(10, 30, 9), atol=0.3)
    assert read_maps(tmp_path / "Fa.ome.tif")[0].pixel_size_um == (2.0, 2.0)
    assert np.isnan(tifffile.imread(tmp_path / "An.ome.tif")).all()


def test_bands_make_no_difference(tmp_path, monkeypatch):
    values, phases = painted()
    whole = written(tmp_path / "whole", values, phases)
    monkeypatch.setattr("meteoseg.results.mineralmaps.BAND_PX", 4 * 7 * phases.shape[1])
    parts = written(tmp_path / "parts", values, phases)
    pd.testing.assert_frame_equal(whole.table, parts.table)
    for name in ("Fa", "Ni_sd"):
        maps = [tifffile.imread(tmp_path / folder / f"{name}.ome.tif") for folder in ("whole", "parts")]
        np.testing.assert_array_equal(*maps)


def test_grains_know_their_chondrule_and_only_those_count_for_the_classification(tmp_path):
    values, phases = painted()
    chondrules = np.zeros(phases.shape, np.int32)
    for number in range(7):
        chondrules[: 5 * SIDE, number * SIDE : (number + 1) * SIDE] = number + 1
    made = written(tmp_path, values, phases, chondrules)
    fa = made.table.query("quantity == 'Fa'").set_index("where")
    assert fa["n_grains"].to_dict() == {"all": 36, "chondrules": 28}
    assert fa.loc["chondrules", "n_chondrules"] == 7
    assert set(made.grains.query("phase == 'kamacite'")["chondrule"]) == {0}
    found, notes = chemistry_evidence(pd.read_csv(tmp_path / "chemistry.csv"))
    assert found["Fa_olivine"].value == pytest.approx(17.5, abs=0.3)
    assert found["Fa_pmd"].value == pytest.approx(100 * 30 / 7 / 17.5, rel=0.05)
    assert found["Fa_olivine"].sd > 1
    assert notes == ("Fs_lowCa_pyroxene is not used: it takes 10 grains in 5 chondrules, and there are 7 in 7.",)


def test_a_failure_leaves_no_map(tmp_path, monkeypatch):
    values, phases = painted()
    monkeypatch.setattr("meteoseg.minerals.chemistry.MineralChemistry.gather", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, values, phases)
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_counts_writes_chemistry_and_classifies_with_it(tmp_path):
    counts, _ = painted_counts()
    CALIBRATION.to_json(tmp_path / "calibration.json")
    section = section_of(counts, "counts")
    result = segment(section, one_chondrule_model(), standards=tmp_path / "calibration.json", out=tmp_path / "out")
    assert {path.name for path in result.folder.iterdir()} >= CHEMISTRY
    fa = result.chemistry().query("quantity == 'Fa' and where == 'all'").iloc[0]
    assert fa["mean"] == pytest.approx(20, abs=1)
    assert result.chemistry().query("quantity == 'Fa' and where == 'chondrules'")["n_chondrules"].item() == 1
    assert any(note.endswith("and there are 36 in 1.") for note in result.classify().notes)
    assert "Mineral chemistry" in (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Fa of olivine, whole section" in result.summary()
    assert "mineral chemistry" in result.run["timings_s"]
    stored = json.loads((result.folder / "classification.json").read_text(encoding="utf-8"))
    again = classify_folder(result.folder).to_json_dict()
    assert [row["property"] for row in again["evidence"]] == [row["property"] for row in stored["evidence"]]


def test_sections_without_calibration_say_why_there_is_none(tiny_model, tmp_path):
    values = {name: np.random.default_rng(4).poisson(40, (40, 53)) for name in ("Fe", "Mg", "Si")}
    result = segment(section_of(values, "counts"), tiny_model, out=tmp_path)
    assert WHY_NOT in result.run["notes"]
    assert not CHEMISTRY & {path.name for path in result.folder.iterdir()}
    with pytest.raises(InputError, match="needs counts with standards"):
        result.chemistry()


def test_a_chemistry_table_without_its_columns_is_refused():
    with pytest.raises(InputError, match="lacks the column 'n_grains'"):
        chemistry_evidence(pd.DataFrame({"phase": ["olivine"], "quantity": ["Fa"], "where": ["all"]}))


def test_phases_are_needed(tmp_path: Path):
    values, phases = painted(rows=1, cols=2)
    maker = ChemicalPhases(PhaseClassifier.from_wt_pct(section_of(values).read(NAMES), NAMES), "test")
    with pytest.raises(InputError, match="no phases to measure"):
        write_chemistry(section_of(values), LabelImages(phases > 0), maker, tmp_path)
