import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from painted_scene import COLS, MARGIN, PHASES, ROWS, painted_image, painted_maps, scene

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io import open_section
from meteoseg.io.shifted import ShiftedPlane
from meteoseg.registration import align_maps, places_note
from meteoseg.runs.provenance import input_stamps, section_facts
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Section

#: (counts of the four phases of the painted scene) of more elements.
MORE = {"Si": (40, 45, 1, 1), "Ca": (2, 12, 1, 0.5), "Ni": (0.5, 1, 4, 30)}


def maps_of_passes(seed: int, places: dict[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """Return counts of six elements; each map lies `places` map pixels (halves allowed) down and right."""
    rng = np.random.default_rng(seed + 300)
    fine = scene(seed)
    counts = {name: PHASES[:, number] for number, name in enumerate(("Fe", "Mg", "S"))} | MORE
    maps = {}
    for name, of_phase in counts.items():
        down, right = (round(2 * value) for value in places.get(name, (0, 0)))
        top, left = 2 * MARGIN - down, 2 * MARGIN - right
        part = np.asarray(of_phase, float)[fine[top : top + 2 * ROWS, left : left + 2 * COLS]]
        maps[name] = rng.poisson(part.reshape(ROWS, 2, COLS, 2).mean(axis=(1, 3))).astype(np.uint16)
    return maps


def passes_of(found) -> dict[str, tuple[float, float]]:
    return {name: one.place_px for one in found.passes for name in one.names}


@pytest.mark.parametrize("place", [(1.0, 0.0), (-0.5, 2.5), (13.0, -6.0)])
def test_the_maps_of_a_second_pass_and_its_place_are_found(place):
    section = Section.from_arrays("P", maps_of_passes(2, dict.fromkeys(("Mg", "Ca"), place)))
    found = align_maps(section)
    assert {one.names for one in found.passes} == {("Fe", "S", "Si", "Ni"), ("Mg", "Ca")}
    np.testing.assert_allclose(passes_of(found)["Mg"], place, atol=0.15)
    assert found.passes[0].names == ("Fe", "S", "Si", "Ni")
    assert max(found.passes[1].error_px) < 0.1
    np.testing.assert_allclose(found.passes[1].moved_px, place, atol=0.51)


def test_three_passes_are_told_apart():
    places = {"Mg": (2, 0), "Ca": (2, 0), "S": (0, -3)}
    found = align_maps(Section.from_arrays("P", maps_of_passes(3, places)))
    assert {one.names: one.moved_px for one in found.passes} == {
        ("Fe", "Si", "Ni"): (0, 0), ("Mg", "Ca"): (2, 0), ("S",): (0, -3),
    }  # fmt: skip


def test_aligned_counts_are_those_of_the_file_and_the_mask_ends_where_a_map_does():
    maps = maps_of_passes(2, {"Mg": (2, -1), "Ca": (2, -1)})
    mask = np.ones((ROWS, COLS), np.uint8)
    mask[:, :5] = 0
    found = align_maps(Section.from_arrays("P", maps, mask=mask))
    np.testing.assert_array_equal(found.section.read(["Mg"])[0, :-2, 1:], maps["Mg"][2:, :-1])
    np.testing.assert_array_equal(found.section.read(["Fe"])[0], maps["Fe"])
    expected = mask.astype(bool)
    expected[-2:] = False
    np.testing.assert_array_equal(found.section.read_mask(), expected)
    window = Window(140, 0, 10, 7)
    np.testing.assert_array_equal(found.section.read_mask(window), expected[window.slices])
    np.testing.assert_array_equal(found.section.read(["Mg"], window), found.section.read(["Mg"])[:, *window.slices])


def test_maps_in_place_are_left_alone_and_not_warned_of():
    section = Section.from_arrays("P", maps_of_passes(4, {}))
    found = align_maps(section)
    assert found.is_in_place
    assert [one.names for one in found.passes] == [section.channel_names]
    assert found.section.mask is None
    assert places_note(section) == ()


def test_a_quarter_of_a_pixel_moves_nothing():
    rng = np.random.default_rng(5)
    fine = scene(5).repeat(2, 0).repeat(2, 1)  # a quarter of a map pixel each
    maps = {}
    for number, name in enumerate(("Fe", "Mg", "S")):
        off = 1 if name == "Mg" else 0
        part = PHASES[fine, number][100 - off : 100 - off + 4 * ROWS, 100 : 100 + 4 * COLS]
        maps[name] = rng.poisson(part.reshape(ROWS, 4, COLS, 4).mean(axis=(1, 3)))
    assert align_maps(Section.from_arrays("P", maps)).is_in_place
    assert places_note(Section.from_arrays("P", maps)) == ()


def test_the_note_names_the_maps_and_the_remedy():
    section = Section.from_arrays("P", maps_of_passes(2, dict.fromkeys(("Mg", "Ca"), (1, 0))))
    (note,) = places_note(section)
    assert note.startswith("maps lie out of place: Mg, Ca about 1.0 rows, ")
    assert note.endswith("meteoseg register SECTION --maps -o section.toml")
    assert places_note(align_maps(section).section) == ()


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_maps_are_refused(seed):
    maps = {name: painted_maps(20 + 3 * seed + number)["Fe"] for number, name in enumerate(("Fe", "Mg", "S"))}
    section = Section.from_arrays("U", maps)
    assert places_note(section) == ()
    with pytest.raises(InputError, match=r"cannot be aligned.*leave out --maps"):
        align_maps(section)


def test_flat_maps_and_noise_get_no_shift():
    rng = np.random.default_rng(1)
    noise = {name: rng.poisson(20, (ROWS, COLS)) for name in ("Fe", "Mg", "S")}
    assert places_note(Section.from_arrays("N", noise)) == ()
    assert places_note(Section.from_arrays("F", {name: np.full((ROWS, COLS), 3) for name in noise})) == ()
    with pytest.raises(InputError, match="cannot be aligned"):
        align_maps(Section.from_arrays("N", noise))


def test_a_map_without_contrast_is_left_as_it_is():
    maps = maps_of_passes(2, dict.fromkeys(("Mg", "Ca"), (2, 1))) | {"Cr": np.full((ROWS, COLS), 2, np.uint16)}
    found = align_maps(Section.from_arrays("P", maps))
    assert found.unplaced == ("Cr",)
    assert "Cr: too little in common" in found.summary()
    assert found.passes[1].moved_px == (2, 1)


def test_empty_fields_of_a_mosaic_do_not_fix_the_maps():
    maps = maps_of_passes(2, dict.fromkeys(("Mg", "Ca"), (1, 0)))
    for plane in maps.values():  # the field ends where it ends in all maps, in place or not
        plane[:70, :90] = 0
    found = align_maps(Section.from_arrays("P", maps))
    assert found.passes[1].moved_px == (1, 0)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"Fe": np.ones((80, 90))}, "two of them at least"),
        ({"Fe": np.ones((40, 90)), "Mg": np.ones((40, 90))}, "they are 40 px wide"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused_with_the_reason(maps, message):
    section = Section.from_arrays("P", maps)
    with pytest.raises(InputError, match=message):
        align_maps(section)
    assert places_note(section) == ()


@pytest.fixture
def folder(tmp_path):
    """Maps of two passes, Mg and Ca 2 rows down and 1 column left, and a BSE image twice as fine."""
    path = tmp_path / "P1"
    path.mkdir()
    for name, values in maps_of_passes(1, dict.fromkeys(("Mg", "Ca"), (2, -1))).items():
        tifffile.imwrite(path / f"P1_{name}.tif", values)
    tifffile.imwrite(tmp_path / "bse.tif", painted_image(1, shift=(3.3, -4.6), step=2.0))
    return path


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def test_the_command_writes_a_section_that_reads_the_maps_in_place(folder, tmp_path):
    toml = tmp_path / "section.toml"
    done = run("register", folder, "--pixel-size", 2, "--maps", "-o", toml)
    assert done.exit_code == 0, done.output
    assert "Mg, Ca: read 2 rows and -1 columns further on" in done.output
    text = toml.read_text()
    assert text.count("shift_px = [2, -1]") == 2
    facts = json.loads((tmp_path / "section_maps.json").read_text())
    assert [one["moved_px"] for one in facts["passes"]] == [[0, 0], [2, -1]]
    opened = open_section(toml)
    stored = tifffile.imread(folder / "P1_Mg.tif")
    np.testing.assert_array_equal(opened.read(["Mg"])[0, :-2, 1:], stored[2:, :-1])
    assert "where all maps reach: rows 0 to 147, columns 1 to 209" in run("inspect", toml).output
    assert "out of place" not in run("inspect", toml).output
    assert "maps lie out of place: Mg, Ca about 2.0 rows, -1.0 columns" in run("inspect", folder).output


def test_an_aligned_section_is_found_again_by_its_run(folder, tmp_path):
    toml = tmp_path / "section.toml"
    run("register", folder, "--pixel-size", 2, "--maps", "-o", toml)
    opened = open_section(toml)
    inputs = [{"file": str(path), "sha256": sha256(path)} for path in input_stamps(opened)]
    again = reopen_section({"section": json.loads(json.dumps(section_facts(opened))), "inputs": inputs})
    np.testing.assert_array_equal(again.read(), opened.read())
    np.testing.assert_array_equal(again.read_mask(), opened.read_mask())
    assert isinstance(again.channels["Mg"].plane, ShiftedPlane)


def sha256(path):
    from meteoseg.runs.provenance import sha256_of

    return sha256_of(path)


def test_maps_and_image_are_registered_together(folder, tmp_path):
    toml = tmp_path / "section.toml"
    done = run("register", folder, "--pixel-size", 2, "--maps", "--image", f"BSE={tmp_path / 'bse.tif'}",
               "--image-pixel-size", 1, "-o", toml)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} >= {
        "section_maps.json", "section_BSE_registration.json", "section_BSE_checkerboard.png",
    }  # fmt: skip
    found = json.loads((tmp_path / "section_BSE_registration.json").read_text())
    np.testing.assert_allclose(found["motion"]["shift_px"], (3.3, -4.6), atol=0.15)
    assert open_section(toml).channel_names[0] == "BSE"


def test_aligning_again_adds_to_the_shift_that_is_there(folder, tmp_path):
    toml = tmp_path / "section.toml"
    toml.write_text("\n".join(["[channels]", *(
        f'{name} = {{ file = "P1/P1_{name}.tif"{", shift_px = [1, 0]" if name == "Mg" else ""} }}'
        for name in ("Fe", "S", "Si", "Ni", "Mg", "Ca"))]))  # fmt: skip
    found = align_maps(open_section(toml))
    planes = {name: channel.plane for name, channel in found.section.channels.items()}
    assert planes["Mg"].shift_px == planes["Ca"].shift_px == (2, -1)


@pytest.mark.parametrize("shift", ["1", "[1]", "[0.5, 1]", "[1, 2, 3]", '["a", 1]', "[150, 0]"])
def test_a_shift_that_is_not_two_whole_numbers_is_refused(folder, tmp_path, shift):
    toml = tmp_path / "section.toml"
    toml.write_text(f'[channels]\nFe = {{ file = "P1/P1_Fe.tif", shift_px = {shift} }}\n')
    with pytest.raises(InputError, match=r"shift_px must be two whole numbers, \[rows, columns\]"):
        open_section(toml)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Nothing to register: add --maps, or an image with --image BSE=FILE"),
        (["--maps", "--local"], "name it with --image BSE=FILE"),
        (["--maps", "--image-pixel-size", "1"], "name it with --image BSE=FILE"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, tmp_path, args, message):
    done = run("register", folder, *args, "-o", tmp_path / "section.toml")
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "section.toml").exists()


def test_the_name_is_public():
    assert ms.align_maps is align_maps


def test_a_registered_section_is_segmented_as_one_resampled_beforehand(folder, tmp_path, tiny_model):
    toml = tmp_path / "section.toml"
    run("register", folder, "--pixel-size", 2, "--maps", "--image", f"BSE={tmp_path / 'bse.tif'}",
        "--image-pixel-size", 1, "-o", toml)  # fmt: skip
    opened = open_section(toml)
    before = Section.from_arrays(
        opened.name,
        dict(zip(opened.channel_names, opened.read(), strict=True)),
        pixel_size_um=2.0,
        mask=opened.read_mask(),
        units={name: channel.unit for name, channel in opened.channels.items()},
    )
    results = [ms.segment(section, model=tiny_model, out=tmp_path / str(number))
               for number, section in enumerate((opened, before))]  # fmt: skip
    for layer in ("phases", "components"):
        np.testing.assert_array_equal(*(getattr(result, layer) for result in results))
    pd.testing.assert_frame_equal(*(result.modes() for result in results))
    assert results[0].components[-2:].max() == 0  # below the last row of Mg
    assert set(results[0].run["section"]["channels"][0]["map"]) >= {"file", "register"}
    assert not any("out of place" in note for note in results[0].run["notes"])


def test_segment_warns_of_maps_out_of_place(tiny_model):
    maps = maps_of_passes(2, dict.fromkeys(("Mg", "Ca"), (1, 0)))
    section = Section.from_arrays("P", maps | {"BSE": maps["Fe"]}, pixel_size_um=2.0)
    result = ms.segment(section, model=tiny_model)
    assert any("maps lie out of place: Mg, Ca" in note for note in result.run["notes"])


@pytest.mark.parametrize(("name", "moved"), [("semarkona-chm1", (1, 0)), ("semarkona-chm8", (0, 0))])
def test_the_two_passes_of_semarkona_are_found(real_data, name, moved):
    found = align_maps(open_section(real_data / name, use_mask=False, without=("BSE",)))
    assert {frozenset(one.names) for one in found.passes} == {
        frozenset(["Si", "P", "S", "Cr", "Fe"]), frozenset(["Mg", "Al", "Ca", "Ti", "Ni"]),
    }  # fmt: skip
    assert found.passes[1].moved_px == moved
