"""What the networks are unsure of becomes unclassified, and a section that is new to them is noted."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

import meteoseg as ms
from meteoseg.errors import InputError
from meteoseg.io import read_labels
from meteoseg.labels.certainty import Calibration
from meteoseg.legend import default_legend
from meteoseg.models import Model, load_model
from meteoseg.tables.measure import PROBABILITY_FILES

UNCLASSIFIED = default_legend("phases")["unclassified"].id


def calibrated(model: Model, **changes: float) -> Model:
    """Give every network of a model a calibration of its softmax layers."""
    for network in model.networks.values():
        layers = [layer for layer in network.card.layers if layer != "distance"]
        entries = tuple(Calibration(layer, ("Fe", "Mg", "Si", "S"), **changes) for layer in layers)
        network.card = replace(network.card, calibration=entries)
    return model


@pytest.fixture
def section(maps):
    """A section whose mask, not the random network, says what is outside: 6 columns on the left."""
    tifffile.imwrite(maps / "mask.tif", np.tile(np.where(np.arange(70) < 6, 0, 255), (48, 1)).astype(np.uint8))
    return ms.open_section(maps, pixel_size_um=4.0)


def test_without_a_calibration_nothing_is_unclassified(section, tiny_model):
    result = ms.segment(section, model=tiny_model)
    assert not (result.phases == UNCLASSIFIED).any()
    assert result.run["certainty"]["phases"]["usual_probability"] is None


def test_threshold_of_the_user_decides_and_is_recorded(section, tiny_model, tmp_path):
    plain = ms.segment(section, model=tiny_model, probabilities=True)
    top = read_labels(plain.folder / PROBABILITY_FILES["phases"]) / 100
    least = float(np.median(top))
    result = ms.segment(section, model=tiny_model, min_probability=least)
    unsure, section_px = result.phases == UNCLASSIFIED, plain.phases != 0
    assert 0.2 < unsure.mean() < 0.8
    clear = (np.abs(top - least) > 0.006) & section_px
    assert clear.mean() > 0.3
    assert (unsure == (top < least))[clear].all()
    assert (result.phases == plain.phases)[~unsure].all()
    assert result.run["parameters"]["min_probability"] == least
    assert "unclassified" in set(result.modes()["name"])


def test_thresholds_of_the_card_are_used_and_zero_turns_them_off(section, tiny_model):
    by_probability = calibrated(load_model(tiny_model), min_probability=0.999, min_lead=-99.0)
    assert set(np.unique(ms.segment(section, model=by_probability).phases)) == {0, UNCLASSIFIED}
    by_lead = calibrated(load_model(tiny_model), min_lead=1e6)
    assert set(np.unique(ms.segment(section, model=by_lead).phases)) == {0, UNCLASSIFIED}
    assert not (ms.segment(section, model=by_lead, min_probability=0).phases == UNCLASSIFIED).any()


def test_temperature_makes_less_sure_but_changes_no_mineral(section, tiny_model):
    plain = ms.segment(section, model=tiny_model)
    hot = ms.segment(section, model=calibrated(load_model(tiny_model), temperature=5.0, min_lead=-99.0))
    both = (hot.phases != 0) & (plain.phases != 0)
    assert both.mean() > 0.3
    assert (hot.phases == plain.phases)[both].all()
    for layer in ("phases", "components"):
        means = [result.run["certainty"][layer]["mean_probability"] for result in (plain, hot)]
        assert means[1] < means[0]


def test_section_that_is_new_is_noted_in_the_report(section, tiny_model):
    known = {"usual_probability": 0.99, "lowest_probability": 0.98, "min_lead": -99.0}
    result = ms.segment(section, model=calibrated(load_model(tiny_model), **known))
    notes = [note for note in result.run["notes"] if "much less sure" in note]
    assert len(notes) == 2
    assert "much less sure of the" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_impossible_threshold_is_refused(section, tiny_model):
    with pytest.raises(InputError, match="is not possible: give 0"):
        ms.segment(section, model=tiny_model, min_probability=1.5)
