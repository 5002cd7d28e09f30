"""Self-calibration finds what kind of detector made the maps, and refuses where the maps do not say enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from meteoseg.errors import ChannelError, InputError
from meteoseg.legend import default_legend
from meteoseg.minerals import judge_self_calibration, self_calibrate
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.choose import choose_phase_maker
from meteoseg.minerals.sensitivities import eds_sensitivity, families
from meteoseg.section import Section
from meteoseg.simulate import simulate_section

ELEMENTS = ("Na", "Mg", "Al", "Si", "P", "S", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Ni")
PHASES = default_legend("phases")


@pytest.fixture(scope="module", params=["wds", "eds"])
def simulated(request):
    """A small section of an LL chondrite, in counts of a microprobe or of an energy-dispersive detector."""
    return request.param, simulate_section(
        "LL", size_mm=(0.5, 0.4), pixel_size_um=4.0, seed=5, channels=ELEMENTS, mode=request.param
    )


def test_the_kind_of_detector_and_the_minerals_are_found(simulated):
    mode, made = simulated
    found = judge_self_calibration(made.section)
    assert found.family.startswith(mode.upper())
    assert found.doubts() == ()
    assert found.alike > 0.9
    labels, _ = found.fitted.classifier.classify(made.section.read(), made.section.channel_names)
    scored = ~np.isin(made.phases, (255, 0, PHASES["fine-grained matrix"].id))
    assert np.mean(labels[scored] == made.phases[scored]) > 0.75


def test_runs_say_that_they_are_self_calibrated(simulated):
    mode, made = simulated
    maker = choose_phase_maker(made.section, "self")
    assert maker is not None
    assert maker.description.startswith(f"self-calibration ({mode.upper()}")
    assert any("self-calibrated" in note for note in maker.notes)
    assert any("fit closely; other starts name" in note for note in maker.notes)
    response = maker.classifier.response
    assert isinstance(response, Calibration)
    assert response.kind == "self-calibrated"


def test_maps_under_wrong_names_are_refused(simulated):
    _, made = simulated
    names = np.roll(ELEMENTS, 4)
    maps = dict(zip(names.tolist(), made.section.read(ELEMENTS), strict=True))
    with pytest.raises(InputError, match=r"cannot be calibrated from itself \(.*Give --standards"):
        self_calibrate(Section.from_arrays("A", maps))


def test_stretched_pictures_saved_as_counts_are_refused(simulated):
    _, made = simulated
    maps = {}
    for name, plane in zip(ELEMENTS, made.section.read(ELEMENTS), strict=True):
        high = max(float(np.percentile(plane, 99.5)), 1.0)
        maps[name] = np.round(255 * np.clip(plane / high, 0, 1) ** 0.8)
    with pytest.raises(InputError, match="cannot be calibrated from itself"):
        self_calibrate(Section.from_arrays("A", maps))


def test_three_maps_do_not_tell_the_detector(simulated):
    _, made = simulated
    few = replace(made.section, channels={name: made.section.channels[name] for name in ("Mg", "Si", "Fe")})
    with pytest.raises(InputError, match="WDS and EDS sensitivities fit alike"):
        self_calibrate(few)
    with pytest.raises(ChannelError, match="needs three element maps"):
        self_calibrate(replace(few, channels={"Mg": few.channels["Mg"]}))


def test_the_evidence_is_told_in_words(simulated):
    _, made = simulated
    found = judge_self_calibration(made.section)
    weak = replace(found, mineral=0.1, consistent=0.3, alike=0.4, lead=0.0)
    assert [doubt.split()[0] for doubt in weak.doubts()] == ["only", "30", "another", "WDS"]


def test_harder_lines_need_a_stronger_beam():
    assert eds_sensitivity("Ni", 8.0) == 0
    ratios = [eds_sensitivity("Fe", kv) / eds_sensitivity("Si", kv) for kv in (10, 15, 20, 30)]
    assert ratios == sorted(ratios)
    assert {family.kind for family in families()} == {"WDS", "EDS"}
