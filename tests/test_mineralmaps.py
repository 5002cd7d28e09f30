"""Mineral chemistry of a section: the files, the same in bands, and what the classification takes of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from torch import nn

from meteoseg.classify import chemistry_evidence
from meteoseg.errors import InputError
from meteoseg.io.formats import read_maps
from meteoseg.labelimages import LabelImages
from meteoseg.legend import default_legend
from meteoseg.measure import classify_folder
from meteoseg.mineralmaps import WHY_NOT, write_chemistry
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.choose import ChemicalPhases
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.models import Model, ModelCard, NetworkCard
from meteoseg.pipeline import segment
from meteoseg.section import Section

NAMES = ("Mg", "Si", "Ca", "Fe", "Ni", "S", "Al")
CALIBRATION = Calibration({name: ChannelResponse(WDS_SENSITIVITY[name], 0.2, 0.02, relative_sd=0.02) for name in NAMES})
SIDE = 16
CHEMISTRY = {"chemistry.csv", "grains.csv"} | {
    f"{name}{end}.ome.tif" for name in ("Fa", "Fs", "Wo", "An", "Ni") for end in ("", "_sd")
}


def painted(rows=6, cols=9, seed=1):
    """wt% maps and phases of square grains of olivine (Fa 10 to 30 by column), pyroxene and kamacite, 2 px apart."""
    compositions = [mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - fa, fa]) for fa in np.linspace(0.1, 0.3, cols)]
    phases = np.zeros((rows * SIDE, cols * SIDE), np.uint8)
    values = {name: np.zeros(phases.shape) for name in NAMES}
    rng = np.random.default_rng(seed)
    legend = default_legend("phases")
    for row in range(rows):
        kind = {4: "low-Ca pyroxene", 5: "kamacite"}.get(row, "olivine")
        for col in range(cols):
            known = {"low-Ca pyroxene": formula_wt_pct("Mg1.6Fe0.36Ca0.04Si2O6"), "kamacite": {"Fe": 94.5, "Ni": 5.5}}
            wt = known.get(kind, compositions[col])
            box = np.s_[row * SIDE : (row + 1) * SIDE - 2, col * SIDE : (col + 1) * SIDE - 2]
            phases[box] = legend[kind].id
            for name in NAMES:
                values[name][box] = wt.get(name, 0.0)
    noisy = {name: plane + rng.normal(0, 0.3, plane.shape) * (phases > 0) for name, plane in values.items()}
    return noisy, phases


def section_of(values, units="wt%"):
    return Section.from_arrays("A", values, pixel_size_um=2.0, units=dict.fromkeys(values, units))


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
    monkeypatch.setattr("meteoseg.mineralmaps.BAND_PX", 4 * 7 * phases.shape[1])
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


class OneChondrule(nn.Module):
    """Stands for a network that sees nothing but chondrule."""

    multiple_px = 32

    def __init__(self):
        super().__init__()
        self.card = NetworkCard("one", ("components",), ("Fe",), component_classes=("matrix", "chondrule"), tile_px=64)
        self.level = nn.Parameter(torch.tensor([0.0, 9.0]).reshape(1, 2, 1, 1))

    def forward(self, image):
        return self.level.expand(len(image), 2, *image.shape[2:])

    def split(self, logits):
        return {"components": logits}


def test_a_run_on_counts_writes_chemistry_and_classifies_with_it(tmp_path):
    wt, phases = painted()
    rng = np.random.default_rng(3)
    legend = default_legend("phases")
    counts = {name: np.zeros(phases.shape) for name in NAMES}
    for phase in np.unique(phases[phases > 0]):
        for col in range(9):
            box = np.zeros(phases.shape, bool)
            box[:, col * SIDE : (col + 1) * SIDE] = True
            box &= phases == phase
            composition = {name: max(0.0, float(wt[name][box].mean())) for name in NAMES} | {"O": 40.0}
            if legend.name_of(int(phase)) == "kamacite":
                composition["O"] = 0.0
            for name, mean in CALIBRATION.predict_counts(composition).items():
                counts[name][box] = rng.poisson(mean, int(box.sum()))
    CALIBRATION.to_json(tmp_path / "calibration.json")
    section = section_of(counts, "counts")
    network = OneChondrule()
    model = Model(ModelCard("one", (network.card,)), {"one": network}, Path("one.safetensors"), "0" * 64)
    result = segment(section, model, standards=tmp_path / "calibration.json", out=tmp_path / "out")
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
