"""Normalisation, canonical input and composites; the sample they rest on."""

import json
import os
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from meteoseg.channels import (
    ABSENT,
    Normalisation,
    canonical_input,
    composite,
    composite_colors,
    composite_names,
    fit_normalisation,
    parse_assignment,
    save_png,
)
from meteoseg.elements import ATOMIC_NUMBER, BSE, CANONICAL_CHANNELS
from meteoseg.errors import ChannelError, InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.sampling import sample_pixels, sample_windows
from meteoseg.section import Channel, Section


def counts(shape: tuple[int, int] = (40, 70), mean: float = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, shape).astype(np.uint32)


class RecordingPlane:
    """A map far too large for memory, computed where it is read."""

    shape = (40_000, 40_000)
    dtype = np.dtype(np.uint16)

    def __init__(self) -> None:
        self.pixels_read = 0

    def read(self, window: Window) -> np.ndarray:
        self.pixels_read += window.height * window.width
        rows = np.arange(window.row, window.row_end, dtype=np.uint16)[:, None]
        return np.broadcast_to(rows, window.shape)


def test_a_huge_section_is_sampled_in_bounded_reads():
    plane = RecordingPlane()
    section = Section("big", {"Fe": Channel("Fe", plane)})
    normalisation = fit_normalisation(section)
    assert plane.pixels_read <= 1_000_000
    assert normalisation.zero[0] == pytest.approx(0, abs=2000)
    assert normalisation.scale[0] == pytest.approx(40_000, rel=0.05)


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(1, 300), cols=st.integers(1, 50), max_px=st.integers(1, 20_000))
def test_sample_windows_stay_inside_and_within_the_budget(rows, cols, max_px):
    windows = sample_windows((rows, cols), max_px=max_px)
    assert sum(window.height * cols for window in windows) <= max(max_px, cols)
    assert all(window.row >= 0 and window.row_end <= rows and window.width == cols for window in windows)
    if rows * cols <= max_px:
        assert windows == [Window(0, 0, rows, cols)]


def test_sample_finds_a_small_mask():
    mask = np.zeros((3000, 50), bool)
    mask[2001:2004, 10:20] = True
    values = np.where(mask, 7, 100)
    section = Section.from_arrays("A", {"Fe": values}, mask=mask)
    sample = sample_pixels(section, max_px=2000)
    assert sample.tolist() == [[7.0] * 30]


def test_empty_mosaic_fields_do_not_count():
    iron, magnesium = counts(seed=1) + 10, counts(seed=2) + 10
    plain = fit_normalisation(Section.from_arrays("A", {"Fe": iron, "Mg": magnesium}))
    empty = np.zeros((60, 70), np.uint32)
    mosaic = {"Fe": np.vstack([iron, empty]), "Mg": np.vstack([magnesium, empty])}
    assert fit_normalisation(Section.from_arrays("A", mosaic)) == plain


def test_pixels_outside_the_mask_do_not_count():
    values = counts()
    mask = np.zeros(values.shape, bool)
    mask[5:30, 10:60] = True
    soiled = np.where(mask, values, 60_000)
    inside = Section.from_arrays("A", {"Fe": values[5:30, 10:60]})
    assert fit_normalisation(Section.from_arrays("A", {"Fe": soiled}, mask=mask)) == fit_normalisation(inside)


def test_zero_and_scale_are_the_stated_quantiles():
    values = np.arange(1001).reshape(7, 143) * 2.0 + 30
    fitted = fit_normalisation(Section.from_arrays("A", {"Fe": values}))
    assert fitted.zero == (pytest.approx(40),)
    assert fitted.scale == (pytest.approx(1980),)


def test_counts_with_median_zero_keep_their_signal():
    section = Section.from_arrays("A", {"Ti": counts(mean=0.3), "Si": counts(mean=80)})
    fitted = fit_normalisation(section)
    titanium = fitted.apply(section.read())[0]
    assert fitted.zero[0] == 0
    assert titanium[section.read(["Ti"])[0] == 0].max() == 0
    assert titanium[section.read(["Ti"])[0] > 0].min() > 0.4


def test_an_element_in_a_few_grains_only_is_scaled_to_its_largest_value():
    sparse = np.zeros((40, 70))
    sparse[3, 4:8] = 25
    fitted = fit_normalisation(Section.from_arrays("A", {"P": sparse, "Si": counts()}), ["P"])
    assert (fitted.names, fitted.zero, fitted.scale) == (("P",), (0.0,), (25.0,))


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan])
def test_a_channel_without_contrast_gives_zero(value):
    section = Section.from_arrays("A", {"Al": np.full((4, 6), value), "Fe": counts((4, 6))})
    fitted = fit_normalisation(section)
    assert fitted.scale[0] == 0
    assert (fitted.apply(section.read())[0] == 0).all()


@settings(max_examples=60, deadline=None)
@given(gain=st.floats(0.01, 1000), offset=st.floats(-50, 50))
def test_normalisation_forgets_gain_and_offset(gain, offset):
    values = counts().astype(np.float64)
    there = Section.from_arrays("A", {"Fe": values * gain + offset * gain})
    here = Section.from_arrays("A", {"Fe": values})
    np.testing.assert_allclose(
        fit_normalisation(there).apply(there.read()), fit_normalisation(here).apply(here.read()), atol=5e-3
    )


@settings(max_examples=60, deadline=None)
@given(values=arrays(np.float32, (2, 3, 4)), zero=st.floats(-1e6, 1e6), scale=st.floats(0, 1e6))
def test_normalised_values_lie_between_zero_and_root_two(values, zero, scale):
    result = Normalisation(("Fe", "Mg"), (zero, 0.0), (scale, 1.0)).apply(values)
    assert result.dtype == np.float32
    assert ((result >= 0) & (result <= np.float32(np.sqrt(2)))).all()
    assert (result[np.isnan(values)] == 0).all()


def test_apply_reads_integers_and_leaves_its_input_alone():
    values = np.array([[[0, 25, 100, 400]]], np.uint32)
    normalisation = Normalisation(("Fe",), (0.0,), (100.0,))
    np.testing.assert_allclose(normalisation.apply(values), [[[0, 0.5, 1, np.sqrt(2)]]], rtol=1e-6)
    assert values.tolist() == [[[0, 25, 100, 400]]]


def test_normalisation_survives_json():
    fitted = fit_normalisation(Section.from_arrays("A", {"Fe": counts(), "Mg": counts(seed=5)}))
    assert Normalisation.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"names": ["Fe"], "zero": [0]}, "needs names, zero and scale"),
        ({"names": ["Fe"], "zero": [0], "scale": ["x"]}, "is damaged"),
        ({"names": ["Fe"], "zero": [0, 1], "scale": [1]}, "1, 2 and 1 names"),
        ({"names": ["Fe"], "zero": [0], "scale": [float("nan")]}, "not finite"),
    ],
)
def test_damaged_normalisation_is_refused(record, message):
    with pytest.raises(ChannelError, match=message):
        Normalisation.from_dict(record)


def test_normalisation_of_another_number_of_channels_is_refused():
    with pytest.raises(ChannelError, match=r"shape \(2, 1, 1\) given, needed is \(C, H, W\) with C = 1"):
        Normalisation(("Fe",), (0.0,), (1.0,)).apply(np.ones((2, 1, 1)))


def test_a_stack_is_normalised_by_its_expressions():
    section = Section.from_arrays("A", {"Mg": counts(), "Fe": counts(seed=1)})
    stack = section.select(["Mg / (Mg + Fe)", "Fe"])
    fitted = fit_normalisation(stack)
    ratio = stack.read()[0]
    assert fitted.names == ("Mg / (Mg + Fe)", "Fe")
    assert fitted.zero[0] == pytest.approx(np.quantile(ratio, 0.005))
    assert fitted.scale[0] == pytest.approx(np.quantile(ratio, 0.995) - np.quantile(ratio, 0.005))
    with pytest.raises(ChannelError, match="A stack is normalised whole"):
        fit_normalisation(stack, ["Fe"])


def test_unmeasured_section_and_unknown_channel_are_refused():
    dark = Section.from_arrays("A", {"Fe": np.zeros((3, 4)), "Mg": np.zeros((3, 4))})
    with pytest.raises(ChannelError, match="'A' has no measured pixel"):
        fit_normalisation(dark)
    masked_out = Section.from_arrays("A", {"Fe": np.ones((3, 4))}, mask=np.zeros((3, 4), bool))
    with pytest.raises(ChannelError, match="no measured pixel"):
        fit_normalisation(masked_out)
    with pytest.raises(ChannelError, match="Channel 'Ni' is missing"):
        fit_normalisation(Section.from_arrays("A", {"Fe": counts()}), ["Ni"])


def test_canonical_input_orders_channels_and_marks_absent_ones():
    section = Section.from_arrays("A", {"Fe": counts(), "Mg": counts(seed=1)})
    fitted = fit_normalisation(section)
    window = Window(3, 5, 7, 11)
    planes = canonical_input(section, fitted, window, CANONICAL_CHANNELS)
    assert planes.shape == (len(CANONICAL_CHANNELS), 7, 11)
    expected = dict(zip(fitted.names, fitted.apply(section.read(window=window)), strict=True))
    for name, plane in zip(CANONICAL_CHANNELS, planes, strict=True):
        np.testing.assert_array_equal(plane, expected.get(name, np.full((7, 11), ABSENT)))


def test_canonical_input_without_channels_or_fit_is_refused():
    section = Section.from_arrays("A", {"Cu": counts(), "Fe": counts()})
    fitted = fit_normalisation(section, ["Cu"])
    with pytest.raises(ChannelError, match=r"none of the channels Mg, S \(it has Cu, Fe\)"):
        canonical_input(section, fitted, section.window, ["Mg", "S"])
    with pytest.raises(ChannelError, match="'Fe' has no normalisation"):
        canonical_input(section, fitted, section.window, ["Mg", "Fe"])


def test_presets_are_those_of_the_field():
    assert {"FeSO", "FeMgSCaAl", "MgCaAl", "BSE"} <= set(composite_names())
    assert composite_colors("FeSO") == {"Fe": (255, 0, 0), "S": (0, 255, 0), "O": (0, 0, 255)}
    assert composite_colors("FeMgSCaAl") == {
        "Fe": (255, 0, 0),
        "Mg": (0, 255, 0),
        "S": (255, 255, 0),
        "Ca": (255, 0, 255),
        "Al": (0, 255, 255),
    }


def test_every_preset_has_a_source_and_known_channels():
    text = resources.files("meteoseg").joinpath("rules/composites.toml").read_text(encoding="utf-8")
    for name, table in tomllib.loads(text).items():
        assert table["source"], name
        assert set(composite_colors(name)) <= {BSE, *ATOMIC_NUMBER}


def test_preset_paints_each_element_in_its_colour():
    blocks = {name: np.zeros((20, 30)) for name in ("Fe", "Mg", "S", "Ca", "Al")}
    for index, plane in enumerate(blocks.values()):
        plane[:, 6 * index : 6 * index + 6] = 10 * (index + 1)
    picture = composite(Section.from_arrays("A", blocks), "FeMgSCaAl")
    colors = [tuple(int(value) for value in picture[10, 6 * index + 3]) for index in range(5)]
    assert colors == [(255, 0, 0), (0, 255, 0), (255, 255, 0), (255, 0, 255), (0, 255, 255)]


def test_colours_add_and_are_cut():
    section = Section.from_arrays("A", {"Fe": np.array([[0, 1]]), "S": np.array([[0, 1]]), "O": np.array([[1, 0]])})
    assert composite(section, "Fe=red,S=yellow,O=#000080").tolist() == [[[0, 0, 128], [255, 255, 0]]]


def test_stretch_ignores_hot_pixels_and_what_lies_outside_the_mask():
    ramp = np.tile(np.arange(100.0), (50, 1))
    ramp[0, 0] = 1e6
    mask = np.ones(ramp.shape, bool)
    mask[10:20] = False
    ramp[10:20] = 1e6
    picture = composite(Section.from_arrays("A", {"BSE": ramp}, mask=mask), "BSE")
    assert (picture[10:20] == 0).all()
    assert picture[30, 98, 0] >= 250
    assert abs(int(picture[30, 49, 0]) - 127) <= 3


def test_gaps_are_black_and_do_not_blacken_their_block():
    values = np.full((4, 6), 8.0)
    values[:, 3:] = 2
    values[0, 0] = np.nan
    values[:2, 4:] = np.nan
    picture = composite(Section.from_arrays("A", {"BSE": values}), "BSE", max_px=3)
    assert picture[..., 0].tolist() == [[255, 125, 0], [255, 125, 0]]


@pytest.mark.parametrize("shape", [(40, 70), (41, 67), (7, 3)])
def test_large_sections_are_averaged_over_blocks(shape):
    section = Section.from_arrays("A", {"Fe": counts(shape)})
    picture = composite(section, "Fe=white", max_px=20)
    factor = -(-max(shape) // 20)
    assert picture.shape == (-(-shape[0] // factor), -(-shape[1] // factor), 3)
    assert max(picture.shape) <= 20


def test_composite_does_not_depend_on_the_bands(monkeypatch):
    section = Section.from_arrays("A", {"Fe": counts(), "Mg": counts(seed=1)})
    whole = composite(section, "Fe=red,Mg=green", max_px=30)
    monkeypatch.setattr("meteoseg.channels._BAND_PX", 500)
    np.testing.assert_array_equal(composite(section, "Fe=red,Mg=green", max_px=30), whole)


def test_missing_channels_of_a_composite_are_named():
    section = Section.from_arrays("A12", {"Fe": counts(), "S": counts()})
    with pytest.raises(ChannelError, match=r"'FeSO' needs O, missing from 'A12' \(it has Fe, S\)"):
        composite(section, "FeSO")
    with pytest.raises(ChannelError, match=r"'Fe,Ni' needs Ni"):
        composite(section, parse_assignment("Fe=red,Ni=green"))


def test_an_assignment_may_be_parsed_already():
    section = Section.from_arrays("A", {"Fe": counts(), "Mg": counts(seed=1)})
    text = "Fe=orange,Mg=blue"
    np.testing.assert_array_equal(composite(section, parse_assignment(text)), composite(section, text))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("FeSo", UnknownNameError, "Unknown preset 'FeSo'. Did you mean 'FeSO'"),
        ("Fe=reed", UnknownNameError, "Unknown colour 'reed'. Did you mean 'red'"),
        ("Fe=#12345", UnknownNameError, "Unknown colour '#12345'"),
        ("Fe=#12345g", UnknownNameError, "Unknown colour '#12345g'"),
        ("Fe=red,S", ChannelError, "'S' is not CHANNEL=COLOUR"),
        ("Fe=red,", ChannelError, "'' is not CHANNEL=COLOUR"),
        ("Qq=red", ChannelError, "'Qq=red' is not CHANNEL=COLOUR"),
        ("S=red,Sul=blue", ChannelError, "names channel 'S' twice"),
    ],
)
def test_bad_assignments_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        composite_colors(text)


def test_assignment_takes_names_and_hexadecimal_colours():
    assert parse_assignment("Fe=Red, Pho = #0a0B0c") == {"Fe": (255, 0, 0), "P": (10, 11, 12)}


def test_png_holds_the_picture(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    save_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), picture)
    with pytest.raises(InputError, match=r"Cannot write the picture .*No such file or directory"):
        save_png(picture, tmp_path / "none" / "a.png")


@pytest.mark.skipif("METEOSEG_DATA" not in os.environ, reason="METEOSEG_DATA is not set: no real maps")
def test_real_counts_are_spread_over_the_unit_range():
    from tifffile import imread

    folder = Path(os.environ["METEOSEG_DATA"]) / "semarkona-chm8"
    files = {name: next(folder.glob(f"*_{name}.tif")) for name in ("Mg", "S", "Fe")}
    section = Section.from_arrays("chm8", {name: imread(path) for name, path in files.items()})
    normalised = fit_normalisation(section).apply(section.read())
    measured = section.read().any(axis=0)
    for plane in normalised:
        assert 0.05 < plane[measured].mean() < 0.95
        assert 0.99 < np.quantile(plane[measured], 0.995) < 1.01


def test_a_picture_is_a_png_by_name(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.png"):
        save_png(np.zeros((2, 3, 3), np.uint8), tmp_path / "picture.jpg")
    assert not (tmp_path / "picture.jpg").exists()
