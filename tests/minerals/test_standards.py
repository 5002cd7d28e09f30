"""Calibration: simulated standards give back what they were made with; the museum's real ones fit."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.formula import formula_wt_pct
from meteoseg.minerals.standards import Standard, calibrate, calibrate_section, read_compositions, uncensored_mean
from meteoseg.section import Section

TRUE = Calibration(
    {
        "Mg": ChannelResponse(14.0, 0.1, 0.005),
        "Si": ChannelResponse(15.0, 0.5, 0.0),
        "S": ChannelResponse(2.4, 0.1, 0.0, ones_missing=True),
        "Fe": ChannelResponse(3.4, -0.2, 0.06, dead_time=3e-4, ones_missing=True),
        "Ni": ChannelResponse(3.2, -0.2, 0.07, ones_missing=True),
    }
)
FORMULAS = ("FeS", "Fe", "Fe3O4", "Ni", "Mg2SiO4", "Mg2Si2O6")
FIELD = (40, 50)


def made_standards(bad: str | None = None):
    """A strip of fields, one per formula; the field of `bad` really holds half-strength material."""
    rng = np.random.default_rng(5)
    maps = {name: np.zeros((FIELD[0], FIELD[1] * len(FORMULAS)), np.float32) for name in TRUE.channels}
    standards = []
    for index, formula in enumerate(FORMULAS):
        inside = np.zeros(maps["Fe"].shape, bool)
        inside[3:-3, FIELD[1] * index + 3 : FIELD[1] * (index + 1) - 3] = True
        composition = formula_wt_pct(formula)
        scale = 0.5 if formula == bad else 1.0
        for name, response in TRUE.channels.items():
            plain = Calibration({name: ChannelResponse(**{**vars(response), "ones_missing": False})})
            mean = plain.predict_counts(composition)[name] * scale
            thin = max(1e-3, 1 - mean * response.dead_time) ** 2
            drawn = mean + (rng.poisson(mean, FIELD) - mean) * np.sqrt(thin) if thin < 1 else rng.poisson(mean, FIELD)
            drawn = np.round(drawn)
            if response.ones_missing:
                drawn[drawn == 1] = 0
            maps[name][:, FIELD[1] * index : FIELD[1] * (index + 1)] = drawn
        standards.append(Standard(formula, inside, composition))
    return Section.from_arrays("standards", maps), standards


def test_simulated_standards_give_back_sensitivity_background_and_dead_time():
    calibration = calibrate_section(*made_standards())
    for name, response in TRUE.channels.items():
        assert calibration.channels[name].sensitivity == pytest.approx(response.sensitivity, rel=0.03)
        assert calibration.channels[name].ones_missing == response.ones_missing
    assert calibration.channels["Fe"].dead_time == pytest.approx(3e-4, rel=0.25)
    assert calibration.channels["Ni"].background_per_z == pytest.approx(0.07, abs=0.02)
    assert calibration.notes == ()


def test_a_bad_standard_is_named():
    calibration = calibrate_section(*made_standards(bad="Fe3O4"))
    assert any(note.startswith("Standard Fe3O4 does not fit: Fe gives") for note in calibration.notes)
    assert calibration.channels["Fe"].sensitivity == pytest.approx(3.4, rel=0.05)


def test_uncensored_mean_undoes_the_loss_of_ones():
    true = np.array([0.3, 1.0, 3.5, 8.0])
    assert uncensored_mean(true * (1 - np.exp(-true))) == pytest.approx(true, rel=1e-6)


def test_mask_of_two_materials_is_refused():
    section, standards = made_standards()
    both = Standard("Fe", standards[0].inside | standards[1].inside, {"Fe": 100.0})
    with pytest.raises(InputError, match=r"Fe is not one material: only \d+ of \d+ px"):
        calibrate_section(section, [both])


def test_empty_and_overlapping_masks_are_refused():
    section, standards = made_standards()
    nothing = Standard("empty", np.zeros(section.shape, bool), {"Fe": 100.0})
    with pytest.raises(InputError, match="empty covers 0 px"):
        calibrate_section(section, [nothing])
    with pytest.raises(InputError, match="FeS and again overlap"):
        calibrate_section(section, [standards[0], Standard("again", standards[0].inside, {"Fe": 100.0})])


def test_standards_of_other_elements_are_refused():
    section, standards = made_standards()
    maps_of_calcium = Section.from_arrays("standards", {"Ca": np.zeros(section.shape, np.float32)})
    with pytest.raises(InputError, match=r"standards hold .*Fe.* maps show Ca: none in common"):
        calibrate_section(maps_of_calcium, standards)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a_mask.tif,wt_pct,Fe:0.63 S:0.37", r"sum to 1: give weight percent \(0-100\), not fractions"),
        ("a_mask.tif,wt_pct,Fe=63", "is not like 'Si:19.08 Fe:7.42'"),
        ("a_mask.tif,wt_pct,Qq:63", "'Qq' of a_mask.tif is no element symbol"),
        ("a_mask.tif,atoms,FeS", "kind 'atoms' of a_mask.tif is not known"),
    ],
)
def test_bad_compositions_are_refused(tmp_path, row, message):
    path = tmp_path / "compositions.csv"
    path.write_text(f"mask,kind,formula_or_element_wt_pct\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_compositions(path)


def write_folder(folder: Path, *, mask_shape=None, rows="FeS_mask.tif,formula,FeS\n"):
    section, standards = made_standards()
    for name in section.channel_names:
        tifffile.imwrite(folder / f"std_32bt_{name}.tif", section.read([name])[0].astype(np.uint32))
    inside = standards[0].inside.astype(np.uint8) * 255
    tifffile.imwrite(folder / "FeS_mask.tif", inside if mask_shape is None else np.zeros(mask_shape, np.uint8))
    (folder / "compositions.csv").write_text("mask,kind,formula_or_element_wt_pct\n" + rows)


def test_folder_is_read_and_calibration_survives_json(tmp_path):
    write_folder(tmp_path)
    calibration = calibrate(tmp_path)
    assert calibration.channels["S"].sensitivity == pytest.approx(2.4, rel=0.03)
    assert calibration.channels["Ni"].source == "interpolated"
    calibration.to_json(tmp_path / "calibration.json")
    assert Calibration.from_json(tmp_path / "calibration.json") == calibration


def test_folder_problems_are_named(tmp_path):
    with pytest.raises(InputError, match=r"has no compositions.csv"):
        calibrate(tmp_path)
    write_folder(tmp_path, rows="Fe_mask.tif,formula,Fe\n")
    with pytest.raises(InputError, match=r"Standard FeS_mask.tif has no composition"):
        calibrate(tmp_path)
    write_folder(tmp_path, mask_shape=(41, 300))
    with pytest.raises(ShapeMismatchError, match=r"\(41, 300\), the standards' maps are \(40, 300\)"):
        calibrate(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "needs"),
        ('{"channels": {"Fe": {"sensitivity": -1}}}', "sensitivity of Fe is -1"),
        ('{"channels": {"Fe": {"k": 1}}}', "unknown or missing key"),
        ('{"channels": {"iron": {"sensitivity": 3}}}', "names 'iron'"),
    ],
)
def test_bad_calibration_files_are_refused(tmp_path, text, message):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Calibration.from_json(path)


def test_hand_written_factors_are_accepted(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text('{"channels": {"Fe": {"sensitivity": 3.3}}}')
    assert Calibration.from_json(path).predict_counts({"Fe": 100.0})["Fe"] == pytest.approx(330, rel=1e-3)


@pytest.mark.skipif("METEOSEG_DATA" not in os.environ, reason="METEOSEG_DATA is not set: no real standards")
def test_museum_standards_agree_within_five_percent():
    calibration = calibrate(Path(os.environ["METEOSEG_DATA"]) / "standards")
    majors = [check for check in calibration.checks if check.counts > 50]
    assert len(majors) >= 12
    for check in majors:
        assert check.fitted_counts == pytest.approx(check.counts, rel=0.05)
    assert calibration.channels["Fe"].sensitivity == pytest.approx(3.4, abs=0.15)
    assert calibration.channels["Ti"].background_per_z == pytest.approx(0.168, abs=0.02)
    assert not calibration.channels["Mg"].ones_missing
    assert calibration.channels["Ti"].ones_missing
