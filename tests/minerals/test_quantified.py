"""Quantified maps: tables of point analyses, fractions, phases that a user defines."""

from pathlib import Path

import numpy as np
import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.io import open_section
from meteoseg.legend import default_legend
from meteoseg.legend.edit import NO_EDIT, LegendEdit, NewPhase
from meteoseg.mineraldata import minerals
from meteoseg.minerals.choose import choose_phase_maker
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.formula import formula_wt_pct
from meteoseg.minerals.quantified import neighbours_are_related
from meteoseg.section import Section

LEGEND = default_legend("phases")
ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "P", "S", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Ni")
#: Formula of an analysis and the name that a mineralogist gives it.
NAMED = {
    "Mg1.6Fe0.4SiO4": "olivine", "Mg0.2Fe1.76Mn0.04SiO4": "olivine", "Mg1.78Ni0.01Ca0.03Fe0.18SiO4": "olivine",
    "Mg1.6Fe0.34Ca0.06Si2O6": "low-Ca pyroxene", "Mg1.65Fe0.15Al0.3Ca0.05Si1.85O6": "low-Ca pyroxene",
    "Mg0.4Fe1.5Ca0.1Si2O6": "low-Ca pyroxene", "Mg0.9Fe0.8Ca0.3Si2O6": "low-Ca pyroxene",
    "Mg0.9Fe0.6Ca0.5Si2O6": "high-Ca pyroxene", "Mg0.85Fe0.2Ca0.85Al0.15Na0.05Si1.9O6": "high-Ca pyroxene",
    "Fe1.1Mg0.2Ca0.7Si2O6": "high-Ca pyroxene", "CaMg0.6Al0.6Ti0.1Si1.6O6": "high-Ca pyroxene",
    "Na0.85K0.05Ca0.1Al1.1Si2.9O8": "plagioclase", "Na0.45Ca0.55Al1.55Si2.45O8": "plagioclase",
    "Na0.06Ca0.94Al1.94Si2.06O8": "plagioclase", "CaAl2Si2O8": "anorthite",
    "Fe0.85Mg0.15Cr1.6Al0.3Ti0.05Fe0.05O4": "chromite", "Mg0.5Fe0.6Cr1.1Al0.7Fe0.1O4": "chromite",
    "Mg0.75Fe0.25Al1.5Cr0.5O4": "spinel", "MgAl2O4": "spinel", "Fe0.8Mg0.2Al1.9Cr0.1O4": "spinel",
    "Fe3O3.2": "magnetite", "Fe2.45Ti0.4Al0.1Mg0.05O3.4": "magnetite", "Fe2TiO4": "magnetite",
    "Ca4.9Fe0.1P3O12F0.7Cl0.3": "phosphate", "Ca9NaMgP7O28": "phosphate", "Si0.98Al0.02O2": "silica",
}  # fmt: skip


def analyses(*, of_each=12, rng, elements=ELEMENTS):
    """Point analyses in random order, (C, rows, 13) wt% with errors of 1 % and totals of 97 to 101.5, and names."""
    columns, names = [], []
    for formula, name in NAMED.items():
        true = np.array([formula_wt_pct(formula).get(element, 0.0) for element in elements])
        for _ in range(of_each):
            columns.append(rng.normal(true * rng.uniform(0.97, 1.015), 0.03 + 0.01 * true).clip(0))
            names.append(name)
    order = rng.permutation(len(names))
    values = np.array(columns).T[:, order].reshape(len(elements), -1, 13)
    return values.astype(np.float32), np.array(names)[order].reshape(-1, 13)


def named(section, edit=NO_EDIT):
    maker = choose_phase_maker(section, None, edit)
    assert maker is not None
    legend = edit.extended(LEGEND)
    return np.vectorize(legend.name_of, otypes=[object])(maker.draw(section, section.window)), maker


@pytest.mark.parametrize("left_out", [(), ("O",), ("O", "Na", "K"), ("Mn", "Ni", "S")])
def test_point_analyses_without_standards_are_named(tmp_path: Path, left_out):
    elements = tuple(element for element in ELEMENTS if element not in left_out)
    values, truth = analyses(rng=np.random.default_rng(1), elements=elements)
    for element, plane in zip(elements, values, strict=True):
        text = "\n".join("".join(f"{value:.3f}," for value in row) for row in plane)
        (tmp_path / f"{element} Wt%.csv").write_text(text + "\n", encoding="utf-8")
    found, maker = named(open_section(tmp_path, pixel_size_um=1.0))
    assert found.shape == truth.shape
    assert any("unrelated, as in a table of point analyses" in note for note in maker.notes)
    shares = {name: np.mean(found[truth == name] == name) for name in np.unique(truth)}
    assert np.mean(list(shares.values())) > 0.97, shares
    assert min(shares.values()) > 0.8, shares


def test_point_analyses_do_not_depend_on_their_neighbours():
    values, _ = analyses(rng=np.random.default_rng(2))
    classifier = PhaseClassifier.from_wt_pct(values, ELEMENTS)
    whole = classifier.classify(values, ELEMENTS)[0]
    turned = classifier.classify(values[:, ::-1, ::-1], ELEMENTS)[0]
    assert np.array_equal(turned[::-1, ::-1], whole)
    assert np.array_equal(classifier.classify(values[:, 3:4, 5:6], ELEMENTS)[0], whole[3:4, 5:6])


def blocks(rng, noise):
    """A map of 5 x 7 px grains of random minerals, (C, 40, 63) wt%."""
    names = ["olivine Fa18.5", "low-Ca pyroxene Fs16.5", "troilite", "albitic plagioclase An11Or5"]
    table = np.array([[minerals()[name].composition_wt_pct.get(el, 0.0) for el in ELEMENTS] for name in names])
    grains = rng.integers(0, len(names), (8, 9)).repeat(5, axis=0).repeat(7, axis=1)
    return np.moveaxis(rng.normal(table[grains], noise), 2, 0).clip(0).astype(np.float32)


@pytest.mark.parametrize("noise", [0.2, 4.0])
def test_neighbours_in_maps_are_related_even_in_noise(noise):
    assert neighbours_are_related(blocks(np.random.default_rng(3), noise))


def test_neighbours_along_rows_only_are_those_of_a_table():
    values = blocks(np.random.default_rng(4), 0.2)
    rows = np.random.default_rng(5).permuted(values.transpose(1, 0, 2), axis=0).transpose(1, 0, 2)
    assert not neighbours_are_related(rows[:, :, np.random.default_rng(6).permutation(rows.shape[2])])


def test_empty_pixels_that_fill_up_a_table_relate_nothing():
    values, _ = analyses(rng=np.random.default_rng(7))
    padded = np.concatenate([values, np.zeros_like(values), np.full_like(values, np.nan)], axis=1)
    assert not neighbours_are_related(padded)


def test_a_line_is_judged_along_itself_and_few_pixels_not_at_all():
    line = blocks(np.random.default_rng(8), 0.2)[:, :1]
    assert neighbours_are_related(line)
    assert not neighbours_are_related(line[..., np.random.default_rng(9).permutation(line.shape[2])])
    assert neighbours_are_related(np.random.default_rng(10).random((3, 3, 4)).astype(np.float32))


def quantified(values, elements=ELEMENTS):
    planes = dict(zip(elements, values, strict=True))
    return Section.from_arrays("A12", planes, units=dict.fromkeys(elements, "wt%"), pixel_size_um=1.0)


def test_fractions_instead_of_percent_are_refused():
    values = blocks(np.random.default_rng(11), 0.2)
    with pytest.raises(InputError, match=r"'A12' add up to about 1.*look like fractions. Multiply them by 100"):
        choose_phase_maker(quantified(values / 100), None)


def test_a_phase_of_the_users_is_found_under_an_id_of_its_own():
    values = blocks(np.random.default_rng(12), 0.2)
    wt = formula_wt_pct("K6Fe24S26Cl")
    values[:, 10:20, 20:35] = np.array([wt.get(element, 0.0) for element in ELEMENTS])[:, None, None]
    new = NewPhase("djerfisherite", "#aa8800", (("K6Fe24S26Cl", "K6Fe20Cu4S26Cl"),), 3.7, minor=(("Ni", 0.5, 0.5),))
    found, maker = named(quantified(values), LegendEdit(new=(new,)))
    assert np.all(found[11:19, 21:34] == "djerfisherite")
    assert "djerfisherite" not in found[:9]
    assert maker.classifier.legend["djerfisherite"].id == max(LEGEND.ids) + 1


def test_a_dropped_phase_is_not_compared():
    _, maker = named(quantified(blocks(np.random.default_rng(13), 0.2)), LegendEdit(drop=("olivine",)))
    assert "olivine" not in maker.classifier.templates.phases


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("K6(Fe24S26Cl", InputError, r"Phase 'X' of the legend file: 'K6\(Fe24S26Cl' is not a chemical formula"),
        ("K6Fx24S26Cl", InputError, "Phase 'X' of the legend file: Unknown element 'Fx'"),
    ],
)
def test_a_formula_that_does_not_parse_names_its_phase(formula, error, message):
    edit = LegendEdit(new=(NewPhase("X", "#aa8800", ((formula,),)),))
    with pytest.raises(error, match=message):
        choose_phase_maker(quantified(blocks(np.random.default_rng(14), 0.2)), None, edit)


def test_a_new_phase_needs_chemistry():
    section = Section.from_arrays("A12", {"Fe": np.ones((4, 6)), "Mg": np.ones((4, 6))})
    with pytest.raises(InputError, match="'X' of the legend is defined by formulas, and 'A12' has no calibrated"):
        choose_phase_maker(section, None, LegendEdit(new=(NewPhase("X", "#aa8800", (("FeS",),)),)))


def test_unknown_phases_are_named():
    values = blocks(np.random.default_rng(15), 0.2)
    with pytest.raises(UnknownNameError, match="Did you mean 'olivine'"):
        PhaseClassifier.from_wt_pct(values, ELEMENTS, phases=("olivin",))


@pytest.mark.parametrize(
    ("formula", "mapped", "unseen"),
    [("NaF", ("F",), "Na"), ("NaF", ("Na", "F"), None), ("NaF", (), "F, Na"), ("H2O", (), "H, O"), ("SiO2", (), None)],
)
def test_a_new_phase_needs_maps_of_its_elements(formula, mapped, unseen):
    channels = ("Mg", "Si", "Fe", *mapped)
    values = np.random.default_rng(11).normal(20, 0.2, (len(channels), 12, 15)).astype(np.float32)
    new = (NewPhase("villiaumite", "#aa8800", ((formula,),)),)
    if unseen is not None and not mapped:
        with pytest.raises(InputError, match=rf"'villiaumite' cannot be told: none of {unseen} is mapped .* leave"):
            PhaseClassifier.from_wt_pct(values, channels, new=new)
        PhaseClassifier.from_wt_pct(values, channels, new=new, phases=("olivine",))
        return
    notes = [note for note in PhaseClassifier.from_wt_pct(values, channels, new=new).notes if "villiaumite" in note]
    assert len(notes) == (unseen is not None)
    assert all(f"without its elements {unseen}," in note for note in notes)
