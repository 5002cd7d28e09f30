"""Phases from counts with a calibration: label, probability and mixture layers of a result folder."""

import json

import numpy as np
import pytest
from mineral_painting import one_chondrule_model

import meteoseg as ms
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.mineraldata import minerals
from meteoseg.minerals import Calibration
from meteoseg.section import Section
from meteoseg.tables.measure import MIXTURES_FILE, PROBABILITY_FILES

SENSITIVITY = {"Mg": 14.3, "Al": 15.1, "Si": 15.9, "S": 2.36, "Ca": 4.87, "Fe": 3.44, "Ni": 3.29}
LEGEND = default_legend("phases")


@pytest.fixture
def calibration_file(tmp_path):
    path = tmp_path / "calibration.json"
    channels = {name: {"sensitivity": value, "relative_sd": 0.03} for name, value in SENSITIVITY.items()}
    path.write_text(json.dumps({"channels": channels}), encoding="utf-8")
    return path


@pytest.fixture
def section(calibration_file):
    """Olivine left, kamacite right, a seam of both at column 30; a mask leaves 4 rows on top out."""
    calibration = Calibration.from_json(calibration_file)
    rng = np.random.default_rng(11)
    share = np.where(np.arange(66) < 30, 0.0, 1.0)
    share[30] = 0.4
    names = ("olivine Fa10", "kamacite (Ni 5, Co 0.5)")
    olivine, metal = (calibration.predict_counts(minerals()[name].composition_wt_pct) for name in names)
    maps = {
        name: rng.poisson(np.tile((1 - share) * olivine[name] + share * metal[name], (48, 1))) for name in SENSITIVITY
    }
    mask = np.tile(np.arange(48) >= 4, (66, 1)).T
    return Section.from_arrays("A12", maps, pixel_size_um=4.0, mask=mask, units=dict.fromkeys(maps, "counts"))


def test_probabilities_and_mixtures_are_written_where_asked_for(section, calibration_file, tiny_model):
    result = ms.segment(section, model=tiny_model, standards=calibration_file, probabilities=True)
    probability, mixed = (read_labels(result.folder / name) for name in (PROBABILITY_FILES["phases"], MIXTURES_FILE))
    assert probability.shape == mixed.shape == (48, 66)
    assert (probability[:4] == 0).all()
    assert (mixed[:4] == 0).all()
    named = ~np.isin(result.phases, [0, LEGEND["unclassified"].id])
    assert named[4:].mean() > 0.9
    assert probability[named].min() > 0
    assert np.median(probability[named]) >= 95
    assert set(np.unique(mixed)) == {0, 1}
    assert mixed[4:, 30].mean() > 0.9
    assert np.delete(mixed, 30, axis=1).mean() < 0.05
    mean = result.run["certainty"]["phases"]["mean_probability"]
    counted = probability[probability > 0] / 100
    assert mean == pytest.approx(counted.mean(), abs=0.01)


def test_neither_is_written_without(section, calibration_file, tiny_model):
    result = ms.segment(section, model=tiny_model, standards=calibration_file)
    assert not (result.folder / PROBABILITY_FILES["phases"]).exists()
    assert not (result.folder / MIXTURES_FILE).exists()
    assert LEGEND["kamacite"].id in result.phases


def test_networks_know_no_mixtures(section, tiny_model):
    result = ms.segment(section, model=tiny_model, probabilities=True)
    assert (result.folder / PROBABILITY_FILES["phases"]).exists()
    assert not (result.folder / MIXTURES_FILE).exists()


def test_a_network_of_minerals_has_its_say_on_matrix(section, calibration_file, tiny_model):
    result = ms.segment(section, model=tiny_model, standards=calibration_file)
    assert any("composition and its texture" in note for note in result.run["notes"])


@pytest.mark.parametrize("wrong", [np.inf, -np.inf])
def test_infinite_counts_do_not_stop_a_run_and_are_told_once(section, calibration_file, wrong):
    maps = dict(zip(section.channel_names, section.read(), strict=True))
    maps["Fe"][20, 40:43] = wrong
    damaged = Section.from_arrays("A12", maps, pixel_size_um=4.0, units=dict.fromkeys(maps, "counts"))
    result = ms.segment(damaged, model=one_chondrule_model(), standards=calibration_file)
    told = [note for note in result.run["notes"] if "not finite" in note]
    assert told == ["Fe: 3 of 3168 values are not finite (0.0947 %), read as NaN"]
    assert (result.phases[21:, 40:43] == LEGEND["kamacite"].id).mean() > 0.9


@pytest.mark.parametrize(("lacking", "is_nodule"), [(("S",), False), ((), True)])
def test_opaque_objects_are_nodules_where_the_maps_show_metal_and_sulfide(
    section, calibration_file, lacking, is_nodule
):
    maps = dict(zip(section.channel_names, section.read(), strict=True))
    maps = {name: values for name, values in maps.items() if name not in lacking}
    seen = Section.from_arrays("A12", maps, pixel_size_um=4.0, units=dict.fromkeys(maps, "counts"))
    result = ms.segment(seen, model=one_chondrule_model(), standards=calibration_file, textures=None)
    assert (result.phases == LEGEND["kamacite"].id).mean() > 0.5
    assert bool((read_labels(result.folder / "chondrules.ome.tif") == 0).all()) is is_nodule
    assert any("metal-sulfide nodules" in note for note in result.run["notes"]) is is_nodule
