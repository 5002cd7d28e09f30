"""Classical tools find painted fields, repeat themselves, and say what is wrong with their input."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import nnls

from meteoseg.clusters import classes, fit_clusters, grow_forest, legend_of, read_rules, unlabelled
from meteoseg.clusters import forest as forest_module
from meteoseg.clusters.classes import Features
from meteoseg.errors import ChannelError, InputError, ShapeMismatchError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.legend import default_legend
from meteoseg.section import ArrayPlane, Section

SHAPE = (60, 90)
#: Mean counts of three materials in three maps, and a channel of noise alone.
MEANS = {"Fe": (20, 200, 120), "Mg": (150, 5, 10), "S": (1, 2, 60), "P": (2, 2, 2)}


def painted(seed: int = 3) -> tuple[Section, np.ndarray]:
    """Three materials: a disc of 1 and a band of 2 in 0."""
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = np.where(np.hypot(row - 28, col - 30) < 17, 1, np.where(col > 70, 2, 0))
    rng = np.random.default_rng(seed)
    maps = {name: rng.poisson(np.array(means)[truth]).astype(np.uint16) for name, means in MEANS.items()}
    return Section.from_arrays("A", maps, pixel_size_um=2.0, units=dict.fromkeys(maps, "counts")), truth


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels that are right when each class found is given its commonest true one."""
    right = sum(np.bincount(truth[found == value]).max() for value in np.unique(found))
    return right / truth.size


@pytest.mark.parametrize("method", ["kmeans", "gmm", "nmf"])
def test_painted_materials_are_found_and_the_commonest_comes_first(method):
    section, truth = painted()
    tool = fit_clusters(section, method, classes=3, seed=2)
    found = tool.draw(section.window)
    assert agreement(found, truth) > 0.98
    assert len(np.unique(found)) == 3
    areas = [np.count_nonzero(found == number) for number in (1, 2, 3)]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("method", ["kmeans", "gmm", "nmf"])
def test_windows_equal_the_whole_and_a_seed_repeats(method):
    section, _ = painted()
    tool = fit_clusters(section, method, classes=3, seed=2)
    whole = tool.draw(section.window)
    assert np.array_equal(tool.draw(Window(11, 7, 20, 41)), whole[11:31, 7:48])
    assert np.array_equal(fit_clusters(section, method, classes=3, seed=2).draw(section.window), whole)


def test_unmixing_a_pixel_is_least_squares_whatever_is_unmixed_with_it():
    rng = np.random.default_rng(8)
    components, pixels = rng.random((4, 6)) ** 4, rng.poisson(3, (9000, 6)).astype(np.float32)
    amounts = unlabelled.unmix(pixels, components)
    exact = np.array([nnls(components.T, pixel)[0] for pixel in pixels[:300]])
    np.testing.assert_allclose(amounts[:, :300].T, exact, atol=1e-4)
    parts = [unlabelled.unmix(pixels[start : start + 301], components) for start in range(0, 9000, 301)]
    assert np.array_equal(np.concatenate(parts, axis=1), amounts)


def test_labels_of_nmf_do_not_depend_on_the_bands():
    rng = np.random.default_rng(5)
    spectra = rng.gamma(0.6, 8, (6, 8))
    bright = np.where(np.arange(80) < 40, 1, 30)[:, None, None]
    amounts = rng.dirichlet(np.full(6, 0.5), (80, 130)) * bright
    counts = rng.poisson(amounts @ spectra)
    names = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Fe")
    section = Section.from_arrays("A", dict(zip(names, np.moveaxis(counts, 2, 0), strict=True)))
    tool = fit_clusters(section, "nmf", classes=6)
    bands = [tool.draw(Window(row, 0, 1, 130)) for row in range(80)]
    assert np.array_equal(np.concatenate(bands), tool.draw(section.window))


def test_bic_chooses_the_number_of_materials():
    section, truth = painted()
    tool = fit_clusters(section, "gmm", seed=1)
    assert tool.description == "Gaussian mixture, 3 clusters (lowest BIC of 2 to 12)"
    assert agreement(tool.draw(section.window), truth) > 0.98


def test_a_channel_of_noise_does_not_decide():
    section, truth = painted()
    maps = {name: section.read([name])[0] for name in section.channel_names}
    noise = np.random.default_rng(9).poisson(3, (6, *SHAPE))
    maps |= dict(zip(("K", "Ti", "Cr", "Mn", "Ni", "Na"), noise, strict=True))
    noisy = Section.from_arrays("A", maps, units=dict.fromkeys(maps, "counts"))
    assert agreement(fit_clusters(noisy, "kmeans", classes=3).draw(noisy.window), truth) > 0.98


def test_expressions_are_sorted_by_and_masked_pixels_not_fitted():
    section, truth = painted()
    ratio = section.select(["Mg / (Mg + Fe)", "S"])
    assert agreement(fit_clusters(ratio, classes=3).draw(section.window), truth) > 0.97
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :72] = 1
    maps = {name: section.read([name])[0] for name in section.channel_names}
    part = Section.from_arrays("A", maps, mask=mask, units=dict.fromkeys(maps, "counts"))
    found = fit_clusters(part, classes=2).draw(part.window)
    assert agreement(found[:, :70], truth[:, :70]) > 0.99


def test_negative_values_count_as_0_for_nmf_in_the_sample_and_outside_it(monkeypatch):
    section, _ = painted()
    maps = {name: section.read([name])[0].astype(np.float32) for name in section.channel_names}
    clipped = fit_clusters(Section.from_arrays("A", maps), "nmf", classes=2)
    assert clipped.notes == ()
    below = {name: plane.copy() for name, plane in maps.items()}
    below["P"][maps["P"] == 0] = -3
    number = np.count_nonzero(maps["P"] == 0)
    signed = fit_clusters(Section.from_arrays("A", below), "nmf", classes=2)
    assert signed.notes == (f"NMF needs values of 0 or more: {number} negative values count as 0 (P: {number}).",)
    assert np.array_equal(signed.draw(section.window), clipped.draw(section.window))
    monkeypatch.setitem(unlabelled._SAMPLE_PX, "nmf", 900)
    for row in (0, 3):  # in the sample, outside it
        far = {name: plane.copy() for name, plane in maps.items()}
        far["P"][row] = -2.5
        tool = fit_clusters(Section.from_arrays("A", far), "nmf", classes=2)
        assert tool.draw(section.window).min() == 1
        assert "90 negative values count as 0 (P: 90)" in " ".join(tool.notes)


@pytest.mark.parametrize("method", ["kmeans", "gmm", "nmf"])
def test_pixels_that_are_all_alike_are_refused(method):
    section, _ = painted()
    with pytest.raises(InputError, match="nothing to sort by: all pixels have the same values of 'Mg - Mg'"):
        fit_clusters(section.select(["Mg - Mg"]), method)


def test_remarks_that_differ_in_numbers_only_are_told_once():
    row, col = np.mgrid[:30, :40]
    section = Section.from_arrays("A", {"Fe": (row + col) % 2, "Mg": np.ones((30, 40))})
    notes = fit_clusters(section, "gmm").notes
    assert len(notes) == 1
    assert "Number of distinct clusters (2)" in notes[0]


def test_bad_wishes_are_refused():
    section, _ = painted()
    with pytest.raises(UnknownNameError, match="Did you mean 'kmeans'"):
        fit_clusters(section, "kmean")
    with pytest.raises(InputError, match="1 classes are not possible: give 2 to 100"):
        fit_clusters(section, classes=1)
    with pytest.raises(InputError, match="7 components cannot be unmixed from 4 channels"):
        fit_clusters(section, "nmf", classes=7)
    small = section.part(Window(0, 0, 6, 8))
    with pytest.raises(InputError, match="has 48 pixels to fit 8 classes to"):
        fit_clusters(small)


def scribbles(truth: np.ndarray) -> np.ndarray:
    """Some strokes of the values 5, 6, 7 for the materials; the rest 0 or 255."""
    drawn = np.zeros(truth.shape, np.uint8)
    for row in (4, 28, 50):
        drawn[row : row + 2] = truth[row : row + 2] + 5
    drawn[30:34] = 255
    return drawn


def test_a_forest_learns_from_strokes_and_keeps_the_names():
    section, truth = painted()
    meaning = {5: "olivine", 6: "kamacite", 7: "ink"}
    forest = grow_forest(section, scribbles(truth), meaning=meaning, seed=4)
    assert forest.names == ("olivine", "kamacite", "ink")
    whole = forest.draw(section.window)
    assert np.mean(whole == truth + 1) > 0.97
    assert "drawn pixels as drawn" in forest.notes[0]
    assert np.array_equal(forest.draw(Window(9, 13, 17, 50)), whole[9:26, 13:63])
    again = grow_forest(section, scribbles(truth), meaning=meaning, seed=4)
    assert np.array_equal(again.draw(section.window), whole)


def test_scribbles_that_do_not_fit_are_refused():
    section, truth = painted()
    drawn = scribbles(truth)
    with pytest.raises(ShapeMismatchError, match=r"scribbles are 90 x 60 .* maps are 60 x 90"):
        grow_forest(section, drawn.T)
    with pytest.raises(InputError, match="hold 0 classes inside the mask"):
        grow_forest(section, np.full(SHAPE, 255))
    few = np.where(drawn == 7, 0, drawn)
    few[0, 80:83] = 7
    with pytest.raises(InputError, match="Class 7 of the scribbles has 3 px: draw at least 5"):
        grow_forest(section, few)
    with pytest.raises(InputError, match="value 6 without a name: add --class 6=NAME"):
        grow_forest(section, drawn, meaning={5: "a", 7: "b"})
    with pytest.raises(InputError, match="--class 9=x is not drawn: the scribbles hold 5, 6, 7"):
        grow_forest(section, drawn, meaning={5: "a", 6: "b", 7: "c", 9: "x"})
    with pytest.raises(InputError, match="Two values of the scribbles are called 'a'"):
        grow_forest(section, drawn, meaning={5: "a", 6: "a", 7: "c"})


def test_negative_scribbles_are_named():
    section, truth = painted()
    with pytest.raises(InputError, match=r"hold 0 classes .* values, of which there are -3, -2, -1: draw with"):
        grow_forest(section, truth.astype(np.int16) - 3)
    with pytest.raises(InputError, match=r"hold 0 classes inside the mask: draw 2 to 100 \(0 and 255 are unlabelled\)"):
        grow_forest(section, np.zeros(SHAPE, np.int16))


def test_scribbles_are_read_in_bands_which_change_nothing(monkeypatch):
    section, truth = painted()
    drawn = scribbles(truth)
    monkeypatch.setattr(forest_module, "_MOST_PER_CLASS", 60)
    whole = grow_forest(section, drawn, seed=4)
    monkeypatch.setattr(classes, "_BAND_PX", 5 * SHAPE[1])
    heights = []

    class Watched(ArrayPlane):
        def read(self, window):
            heights.append(window.height)
            return super().read(window)

    banded = grow_forest(section, Watched(drawn), seed=4)
    assert max(heights) == 5
    assert banded.notes == whole.notes
    assert "of its 180 drawn pixels" in whole.notes[0]
    assert np.array_equal(banded.draw(section.window), whole.draw(section.window))


def test_a_forest_takes_little_memory_beside_the_features_of_a_band():
    rng = np.random.default_rng(1)
    shape = (3000, 2000)
    section = Section.from_arrays("A", {"Fe": rng.integers(0, 200, shape, np.uint8)})
    drawn = np.ones(shape, np.uint8)
    drawn[:, ::2] = 2
    tracemalloc.start()
    grow_forest(section, drawn, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * drawn.size


def test_features_of_a_window_equal_those_of_the_whole():
    section, _ = painted()
    features = Features(section.select(section.channel_names), (0.0, 1.0, 3.0))
    whole = features.read(section.window)
    assert whole.shape == (12, *SHAPE)
    assert whole[0] == pytest.approx(np.sqrt(section.read(["Fe"])[0]))
    assert features.read(Window(20, 30, 11, 17)) == pytest.approx(whole[:, 20:31, 30:47], abs=1e-4)


RULES = """
[rules]
kamacite = "Fe > 160 and S < 20"
sulfide = "S > 30"
olivine = "Mg / (Mg + Fe) > 0.5"

[colors]
sulfide = "#ff8800"
"""


def test_the_first_rule_that_holds_names_the_pixel(tmp_path):
    section, truth = painted()
    (tmp_path / "rules.toml").write_text(RULES)
    rules = read_rules(tmp_path / "rules.toml", section)
    assert rules.names == ("kamacite", "sulfide", "olivine")
    found = rules.draw(section.window)
    assert np.mean(found == np.array([3, 1, 2])[truth]) > 0.99
    maps = {name: np.zeros((3, 4)) for name in section.channel_names}
    assert not read_rules(tmp_path / "rules.toml", Section.from_arrays("B", maps)).draw(Window(0, 0, 3, 4)).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'under .rules. write NAME = "condition"'),
        ("[rule]\na = 1", "under .rules. write"),
        ("[rules", "are not valid TOML"),
        ("[rules]\na = 3", "'a' is 3, not a condition"),
        ("[rules]\na = 'Fe'", "rules.toml, a: Condition 'Fe': 'Fe' is compared with nothing"),
        ("[rules]\na = 'Fe > 2'\n[colors]\na = 'red'", "#rrggbb"),
        ("[rules]\na = 'Fe > 2'\n[colors]\nb = '#ffffff'", r"\[colors\] names 'b', for which there is no rule"),
    ],
)
def test_bad_rules_are_named(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_rules(path, painted()[0])


def test_rules_of_channels_that_are_not_there_are_named(tmp_path):
    section, _ = painted()
    path = tmp_path / "rules.toml"
    path.write_text("[rules]\na = 'Ca > 2'")
    with pytest.raises(ChannelError, match=r"rules.toml: Channel 'Ca' is missing from 'A'"):
        read_rules(path, section)
    with pytest.raises(InputError, match="do not exist: name a TOML file with --rules"):
        read_rules(tmp_path / "none.toml", section)


def test_known_names_keep_their_id_colour_and_density():
    legend, table = legend_of(["olivine", "ink"], {"ink": "#010203"})
    shipped = default_legend("phases")
    assert legend["olivine"].id == shipped["olivine"].id
    assert legend["olivine"].density_g_cm3 == shipped["olivine"].density_g_cm3
    assert legend["ink"].id > max(shipped.ids)
    assert legend["ink"].color == "#010203"
    assert table.tolist() == [shipped["unclassified"].id, shipped["olivine"].id, legend["ink"].id]
    many, _ = legend_of([f"cluster {number}" for number in range(1, 41)])
    assert len({label.color for label in many.labels}) == 42
    with pytest.raises(InputError, match="cannot be called 'outside'"):
        legend_of(["outside", "a"])
    with pytest.raises(InputError, match="101 classes are too many"):
        legend_of([str(number) for number in range(101)])
