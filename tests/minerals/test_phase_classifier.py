"""Phases from counts and wt%: painted minerals come back; gains, holes, misfits and bad input."""

from dataclasses import replace

import numpy as np
import pytest

from meteoseg.errors import ChannelError, InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.legend import default_legend
from meteoseg.legend.edit import NewPhase
from meteoseg.mineraldata import minerals
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.choose import ChemicalPhases
from meteoseg.minerals.classifier import ClassifierSettings, PhaseClassifier
from meteoseg.minerals.fitted import refine_gains
from meteoseg.minerals.selfcalibration import self_calibrate
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.minerals.templates import load_templates, phase_rules
from meteoseg.section import Section

NAMES = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
CALIBRATION = Calibration({name: ChannelResponse(WDS_SENSITIVITY[name], 0.2, 0.02, relative_sd=0.03) for name in NAMES})
LEGEND = default_legend("phases")
PAINTED = (
    "olivine Fa10", "olivine Fa29", "low-Ca pyroxene Fs16.5", "diopside", "anorthite",
    "mesostasis type I (Ca,Al-rich glass)", "kamacite (Ni 5, Co 0.5)", "taenite (Ni 30)", "troilite", "pentlandite",
    "magnetite", "chromite (OC)", "spinel", "melilite Ak20", "chlorapatite", "silica (quartz/cristobalite/tridymite)",
)  # fmt: skip


def painted(minerals_shown=PAINTED, *, calibration=CALIBRATION, seed=1, size=(12, 17)):
    """Side by side fields of Poisson counts of each mineral, with the true labels."""
    rng = np.random.default_rng(seed)
    fields, truth = [], []
    for name in minerals_shown:
        mineral = minerals()[name]
        counts = calibration.predict_counts(mineral.composition_wt_pct)
        fields.append(np.stack([rng.poisson(counts[element], size) for element in NAMES]))
        truth.append(np.full(size, LEGEND[mineral.phase].id))
    return np.concatenate(fields, axis=2).astype(np.float32), np.concatenate(truth, axis=1)


def test_every_phase_rule_is_in_the_legend_and_has_a_source():
    rules = phase_rules()["phase"]
    assert {rule["name"] for rule in rules} <= set(LEGEND.names)
    assert all(rule["source"] for rule in rules)
    missing = set(LEGEND.names) - {rule["name"] for rule in rules}
    assert missing == {"outside", "unclassified"}


def test_templates_are_within_totals_and_leave_out_what_cannot_be_seen():
    templates = load_templates(NAMES)
    totals = templates.compositions_wt_pct.sum(axis=1)
    assert totals.max() == pytest.approx(100)
    assert "iron carbide" not in templates.phases
    assert "iron carbide" in load_templates((*NAMES, "C")).phases


def test_painted_minerals_come_back():
    values, truth = painted()
    labels, confidence = PhaseClassifier.from_calibration(CALIBRATION, NAMES).classify(values, NAMES)
    assert labels.shape == truth.shape
    assert np.mean(labels == truth) > 0.98
    for label in np.unique(truth):
        assert np.mean(labels[truth == label] == label) > 0.9, LEGEND.name_of(label)
    assert confidence.min() >= 0
    assert confidence.mean() > 0.9


def test_labels_do_not_depend_on_the_order_of_channels_or_on_extra_maps():
    values, _ = painted()
    classifier = PhaseClassifier.from_calibration(CALIBRATION, NAMES)
    with_extra = np.concatenate([values[::-1], np.full_like(values[:1], 7)])
    shuffled, _ = classifier.classify(with_extra, (*NAMES[::-1], "BSE"))
    assert np.array_equal(shuffled, classifier.classify(values, NAMES)[0])


def test_a_window_with_halo_equals_the_same_part_of_the_whole():
    values, _ = painted()
    classifier = PhaseClassifier.from_calibration(CALIBRATION, NAMES)
    whole, _ = classifier.classify(values, NAMES)
    part, _ = classifier.classify(values[:, 2:9, 20:60], NAMES)
    assert np.array_equal(part[1:-1, 1:-1], whole[3:8, 21:59])


def test_hole_at_low_totals_and_unclassified_where_nothing_fits():
    classifier = PhaseClassifier.from_calibration(CALIBRATION, NAMES)
    empty = np.zeros((len(NAMES), 5, 7), np.float32)
    assert np.all(classifier.classify(empty, NAMES)[0] == LEGEND["hole"].id)
    titanium = empty.copy()
    titanium[NAMES.index("Ti")] = 1600
    labels, confidence = classifier.classify(titanium, NAMES)
    assert np.all(labels == LEGEND["unclassified"].id)
    assert np.all(confidence == 0)


def test_mixed_pixels_take_the_name_of_the_larger_part():
    metal = CALIBRATION.predict_counts({"Fe": 94.5, "Ni": 5.0, "Co": 0.5})
    olivine = CALIBRATION.predict_counts(minerals()["olivine Fa1"].composition_wt_pct)
    classifier = PhaseClassifier.from_calibration(CALIBRATION, NAMES)
    for share, phase in ((0.75, "kamacite"), (0.25, "olivine")):
        mixed = [share * metal[name] + (1 - share) * olivine[name] for name in NAMES]
        values = np.tile(np.array(mixed, np.float32)[:, None, None], (1, 3, 4))
        assert np.all(classifier.classify(values, NAMES)[0] == LEGEND[phase].id)


@pytest.mark.parametrize("name", ["tochilinite", "cronstedtite"])
def test_hydrated_minerals_of_carbonaceous_chondrites_are_phyllosilicates(name):
    values, truth = painted((name,))
    labels, _ = PhaseClassifier.from_calibration(CALIBRATION, NAMES).classify(values, NAMES)
    assert np.mean(labels == truth) > 0.8


@pytest.mark.parametrize("window", [Window(0, 0, 30, 51), Window(7, 0, 9, 51)])
def test_only_what_the_mask_leaves_is_looked_at(window):
    values, truth = painted(PAINTED[:3], size=(30, 17))
    mask = np.zeros(truth.shape, bool)
    mask[9:14, 20:45] = True
    section = Section.from_arrays("A", dict(zip(NAMES, values, strict=True)), mask=mask)
    seen = []

    class Spy(PhaseClassifier):
        def identify(self, values, channel_names, **options):
            seen.append(values.shape[1:])
            return super().identify(values, channel_names, **options)

    classifier = Spy.from_calibration(CALIBRATION, NAMES)
    whole = classifier.classify(values, NAMES)[0]
    maker = ChemicalPhases(classifier, "test")
    found = maker.draw(section, window)
    inside = mask[window.slices]
    assert np.array_equal(found[inside], whole[window.slices][inside])
    assert np.mean(found[inside] == truth[window.slices][inside]) > 0.95
    assert seen[-1] == (7, 27)  # the 5 x 25 px of the mask and a pixel around
    assert not maker.draw(section, Window(20, 0, 10, 51)).any()
    assert len(seen) == 2


def test_smoothing_removes_speckle_and_keeps_edges():
    kinds = ("anorthite", "mesostasis type I (Ca,Al-rich glass)")
    dim = Calibration({k: replace(v, sensitivity=v.sensitivity / 12) for k, v in CALIBRATION.channels.items()})
    values, truth = painted(kinds, calibration=dim, size=(40, 30), seed=2)
    classifier = PhaseClassifier.from_calibration(dim, NAMES)
    rough, _ = classifier.with_settings(ClassifierSettings(coupling=0.0)).classify(values, NAMES)
    smooth, _ = classifier.classify(values, NAMES)
    assert np.mean(smooth == truth) > np.mean(rough == truth)


def test_gains_of_the_day_are_found():
    drifted = CALIBRATION.with_gains({"Si": (0.93, 0.03), "Fe": (1.06, 0.03), "S": (0.9, 0.03)})
    values, _ = painted(calibration=drifted, size=(20, 23))
    fitted = refine_gains(PhaseClassifier.from_calibration(CALIBRATION, NAMES), values, NAMES)
    assert fitted.gains["Si"] == pytest.approx(0.93, abs=0.03)
    assert fitted.gains["Fe"] == pytest.approx(1.06, abs=0.03)
    assert fitted.gains["S"] == pytest.approx(0.9, abs=0.03)
    assert fitted.explained > 0.97


def test_self_calibration_finds_scale_and_minerals():
    scale = 0.3
    dim = Calibration({k: replace(v, sensitivity=v.sensitivity * scale) for k, v in CALIBRATION.channels.items()})
    values, truth = painted(calibration=dim, size=(20, 23))
    fitted = self_calibrate(Section.from_arrays("A", dict(zip(NAMES, values, strict=True))))
    response = fitted.classifier.response
    assert isinstance(response, Calibration)
    assert response.kind == "self-calibrated"
    assert any("self-calibrated" in note for note in fitted.classifier.notes)
    assert response.channels["Fe"].sensitivity == pytest.approx(scale * WDS_SENSITIVITY["Fe"], rel=0.12)
    labels, _ = fitted.classifier.classify(values, NAMES)
    assert np.mean(labels == truth) > 0.85


def test_self_calibration_refuses_display_images_and_empty_maps():
    planes = {name: np.full((6, 9), 10, np.uint8) for name in NAMES}
    shown = Section.from_arrays("A", planes, units=dict.fromkeys(NAMES, "display"))
    with pytest.raises(InputError, match="holds display values and self-calibration needs counts"):
        self_calibrate(shown)
    with pytest.raises(InputError, match="All maps are empty"):
        self_calibrate(Section.from_arrays("A", {name: np.zeros((6, 9)) for name in NAMES}))


def test_quantified_maps_need_no_calibration():
    names = ("O", *NAMES)
    rng = np.random.default_rng(4)
    fields, truth = [], []
    for name in PAINTED:
        composition = minerals()[name].composition_wt_pct
        mean = np.array([composition.get(element, 0.0) for element in names])[:, None, None]
        fields.append(rng.normal(mean, 0.3 + 0.02 * mean, (len(names), 12, 17)))
        truth.append(np.full((12, 17), LEGEND[minerals()[name].phase].id))
    values, truth = np.concatenate(fields, axis=2).astype(np.float32), np.concatenate(truth, axis=1)
    classifier = PhaseClassifier.from_wt_pct(values, names)
    assert np.mean(classifier.classify(values, names)[0] == truth) > 0.97
    with pytest.raises(InputError, match="weight percent maps need none"):
        refine_gains(classifier, values, names)


def test_bad_input_is_refused():
    with pytest.raises(ChannelError, match=r"section has Fe, BSE: at least 3 elements"):
        PhaseClassifier.from_calibration(CALIBRATION, ("Fe", "BSE"))
    with pytest.raises(UnknownNameError, match="Did you mean 'olivine'"):
        PhaseClassifier.from_calibration(CALIBRATION, NAMES, phases=("olivin",))
    values, _ = painted(PAINTED[:2])
    with pytest.raises(ChannelError, match="Channel 'Mg' is missing for the minerals"):
        PhaseClassifier.from_calibration(CALIBRATION, NAMES).classify(values[1:], NAMES[1:])


def test_a_new_phase_needs_calibrated_elements():
    new = (NewPhase("villiaumite", "#aa8800", (("NaF",),)),)
    with pytest.raises(InputError, match="'villiaumite' cannot be told: none of F, Na is mapped and calibrated"):
        PhaseClassifier.from_calibration(CALIBRATION, ("Mg", "Si", "Fe"), new=new)
    half = (NewPhase("halite", "#aa8800", (("MgCl2",),)),)
    notes = PhaseClassifier.from_calibration(CALIBRATION, ("Mg", "Si", "Fe"), new=half).notes
    assert any("'halite' is told without its elements Cl," in note for note in notes)
