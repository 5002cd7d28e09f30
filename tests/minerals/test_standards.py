"""Calibration: simulated standards give back what they were made with; the museum's real ones fit."""

import json
import os
import re
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


def test_uncertainties_hold_the_truth_and_survive_json(tmp_path):
    calibration = calibrate_section(*made_standards())
    for name, response in TRUE.channels.items():
        found = calibration.channels[name]
        assert abs(found.sensitivity - response.sensitivity) < 2 * found.relative_sd * found.sensitivity
        assert found.background_sd > 0
        assert found.dead_time_sd > 0
    fe = calibration.channels["Fe"]
    assert abs(fe.dead_time - 3e-4) < 3 * fe.dead_time_sd < 3e-4
    calibration.to_json(tmp_path / "calibration.json")
    written = json.loads((tmp_path / "calibration.json").read_text())["channels"]["Fe"]
    assert written["background_sd"] == fe.background_sd
    assert written["dead_time_sd"] == fe.dead_time_sd


@pytest.mark.parametrize(("true", "claimed"), [("FeS", "FeS2"), ("Fe", "Ni"), ("Ni", "Fe3O4"), ("Mg2SiO4", "Fe")])
def test_a_wrong_composition_is_named(true, claimed):
    section, standards = made_standards()
    told = [
        Standard(one.name, one.inside, formula_wt_pct(claimed) if one.name == true else one.composition_wt_pct)
        for one in standards
    ]
    calibration = calibrate_section(section, told)
    if true == "FeS":  # sulfur has no other standard here, so that iron alone speaks against it
        assert calibration.suspects == ("FeS",)
    assert true in calibration.suspects
    assert any(note.startswith(f"Standard {true} does not fit") for note in calibration.notes)
    assert calibration.channels["Fe"].sensitivity == pytest.approx(3.4, rel=0.05)


def test_swapped_masks_are_named_with_what_they_look_like():
    section, standards = made_standards()
    by_name = {one.name: one for one in standards}
    for name, other in (("FeS", "Mg2SiO4"), ("Mg2SiO4", "FeS")):
        by_name[name] = Standard(name, next(s.inside for s in standards if s.name == other),
                                 by_name[name].composition_wt_pct)  # fmt: skip
    calibration = calibrate_section(section, list(by_name.values()))
    assert set(calibration.suspects) == {"FeS", "Mg2SiO4"}
    assert any(
        "Standard FeS does not fit" in note and "its counts are those of Mg2SiO4" in note for note in calibration.notes
    )


def test_of_two_standards_that_disagree_both_are_named():
    section, standards = made_standards(bad="Mg2SiO4")
    kept = [one for one in standards if one.name in ("Mg2SiO4", "Mg2Si2O6", "FeS", "Fe3O4")]
    mg_only = Section.from_arrays("standards", {name: section.read([name])[0] for name in ("Mg", "Fe")})
    calibration = calibrate_section(mg_only, kept)
    assert calibration.suspects == ()
    assert any(note.startswith("Standards Mg2SiO4 and Mg2Si2O6 disagree in Mg by 6") for note in calibration.notes)
    assert calibration.channels["Mg"].relative_sd > 0.3


def spoiled(change):
    """The standards with `change` (rows, cols in 0 to 1 of the field) applied to the field of Fe."""
    section, standards = made_standards()
    start = FORMULAS.index("Fe") * FIELD[1]
    maps = {name: section.read([name])[0].copy() for name in section.channel_names}
    row, col = (index / length for index, length in zip(np.indices(FIELD), FIELD, strict=True))
    for plane in maps.values():
        plane[:, start : start + FIELD[1]] *= change(row, col)
    return calibrate_section(Section.from_arrays("standards", maps), standards)


def test_a_cracked_standard_is_named_and_measured_where_it_is_sound():
    calibration = spoiled(lambda row, col: np.where((col * 10) % 2 < 0.32, 0.2, 1.0))
    assert any(note.startswith("Standard Fe: ") and "left out (cracks, dirt)" in note for note in calibration.notes)
    assert calibration.channels["Fe"].sensitivity == pytest.approx(3.4, rel=0.03)


def test_a_drifting_standard_is_named():
    calibration = spoiled(lambda row, col: 1 - 0.12 * row)
    assert any(note.startswith("Standard Fe drifts: Fe falls by 8") and "top to bottom" in note
               for note in calibration.notes)  # fmt: skip


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
        ("a_mask.tif,wt_pct,Si:0.1908 Fe:7.42 Mg:0.298", r"92 wt% of a_mask.tif would be oxygen, by difference"),
        ("a_mask.tif,wt_pct,Si:nan Fe:7.42", "sum to nan: give weight percent"),
        ("a_mask.tif,wt_pct,Fe:0.63 S:0.37", r"sum to 1: give weight percent \(0-100\), not fractions"),
        ("a_mask.tif,wt_pct,Fe=63", "is not like 'Si:19.08 Fe:7.42'"),
        ("a_mask.tif,wt_pct,Qq:63", "'Qq' of a_mask.tif is no element symbol"),
        ("a_mask.tif,atoms,FeS", "kind 'atoms' of a_mask.tif is not known"),
        ("a_mask.tif,formula,Fe(S", r"composition of a_mask.tif: 'Fe\(S' is not a chemical formula"),
        ("a_mask.tif,formula,FeXx", "composition of a_mask.tif: Unknown element 'Xx'"),
        ("a_mask.tif,formula", "row 1 is not complete: fill mask, kind"),
        ("a_mask.tif,formula,FeS\na_mask.tif,formula,Fe", "lists a_mask.tif twice"),
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
        ('{"channels": {"Fe": 3.3}}', r'Fe is 3.3, write {"sensitivity": 3.3}'),
        ('{"channels": {"Fe": {"background": 1}}}', "no 'sensitivity'"),
        ('{"channels": {"Fe": {"sensitivity": 3, "dead_time": -1}}}', "dead_time of Fe is -1, not 0 or more"),
        ('{"channels": {"Fe": {"sensitivity": 3, "ones_missing": 1}}}', "ones_missing of Fe is 1, not a bool"),
        ('{"channel": {}, "channels": {"Fe": {"sensitivity": 3}}}', "unknown key 'channel'"),
        ('{"k_factors": {"Fe": 1.2}}', "counts_per_wt_pct"),
        ('{"k_factors": {"Fe": 0}, "counts_per_wt_pct": 10}', "all above 0"),
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


def test_the_examples_of_the_documentation_are_read(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "minerals.md").read_text(encoding="utf-8")
    examples = [block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert len(examples) == 2
    path = tmp_path / "calibration.json"
    for example in examples:
        path.write_text(example)
        counts = Calibration.from_json(path).predict_counts({"Mg": 34.55, "Si": 19.96, "O": 45.49})
        assert counts["Si"] == pytest.approx(219, rel=0.05)
        assert counts["Mg"] > counts["Si"]


def test_masks_of_small_values_and_pictures_are_told(tmp_path):
    write_folder(tmp_path)
    mask = tifffile.imread(tmp_path / "FeS_mask.tif")
    tifffile.imwrite(tmp_path / "FeS_mask.tif", (mask // 255 * 2).astype(np.uint8))
    assert "Fe" in calibrate(tmp_path).channels
    tifffile.imwrite(tmp_path / "FeS_mask.tif", mask / 255.0)
    with pytest.raises(InputError, match="holds float64 values: save whole numbers"):
        calibrate(tmp_path)


def test_display_images_of_standards_are_refused():
    section, standards = made_standards()
    shown = Section.from_arrays("standards", {"Fe": section.read(["Fe"])[0].astype(np.uint8)}, units={"Fe": "display"})
    with pytest.raises(InputError, match="Map 'Fe' of the standards holds display values"):
        calibrate_section(shown, standards)


@pytest.mark.skipif("METEOSEG_DATA" not in os.environ, reason="METEOSEG_DATA is not set: no real standards")
def test_museum_standards_agree_within_five_percent():
    calibration = calibrate(Path(os.environ["METEOSEG_DATA"]) / "standards")
    majors = [check for check in calibration.checks if check.counts > 50]
    assert len(majors) >= 12
    for check in majors:
        assert check.fitted_counts == pytest.approx(check.counts, rel=0.05)
    assert calibration.channels["Fe"].sensitivity == pytest.approx(3.4, abs=0.15)
    assert calibration.channels["Ti"].background_per_z == pytest.approx(0.168, abs=0.02)
    assert calibration.suspects == ()
    assert not calibration.channels["Mg"].ones_missing
    assert calibration.channels["Ti"].ones_missing
