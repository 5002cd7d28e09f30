"""Spectrum cubes as sections: read by bands, described in section.toml, refused where they are bad."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from cube_files import AXIS, FORSTERITE, TROILITE, two_minerals, write_ripple

from meteoseg.cli import main
from meteoseg.errors import InputError, MemoryLimitError, OutputExistsError, ShapeMismatchError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.io import check_values, cubereaders, open_section, open_stored, ripple, stored_as, write_section_toml
from meteoseg.io import cube as cube_module
from meteoseg.io.cube import CubeOptions
from meteoseg.io.cubemaps import open_cube, open_cube_maps
from meteoseg.io.labels import write_labels
from meteoseg.io.msa import write_msa

pytest.importorskip("rsciio", reason="RosettaSciIO is not installed")
STATED = {"ev_per_chan": 10.0, "width_scale": 2.0, "width_units": "um", "height_scale": 2.5, "height_units": "um"}
DATA = os.environ.get("METEOSEG_DATA")
real_data = pytest.mark.skipif(not DATA, reason="METEOSEG_DATA does not name a folder of real maps")


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """A ripple cube of 9 x 14 pixels: forsterite left, troilite right."""
    return write_ripple(tmp_path, two_minerals(), **STATED)


def test_a_cube_is_a_section(cube):
    section = open_section(cube)
    assert section.channel_names == ("O", "Mg", "Si", "S", "Fe")
    assert (section.shape, section.pixel_size_um, section.name) == ((9, 14), (2.5, 2.0), "cube")
    assert {channel.unit for channel in section.channels.values()} == {"counts"}
    halves = section.read()[:, :, :7].mean(axis=(1, 2)), section.read()[:, :, 7:].mean(axis=(1, 2))
    for measured, true in zip(halves, (FORSTERITE, TROILITE), strict=True):
        expected = [true.get(name, 0.0) for name in section.channel_names]
        np.testing.assert_allclose(measured, expected, atol=25)
    assert not any("negative" in note for note in check_values(section))


def test_windows_and_bands_equal_the_whole(cube, monkeypatch):
    whole = open_section(cube).read(["Mg"])[0]
    monkeypatch.setattr(cube_module, "_BAND_BYTES", 1)
    monkeypatch.setattr(ripple, "_BLOCK_BYTES", 40_000)
    maps = open_cube_maps(cube, CubeOptions(elements=("Mg", "S")))
    assert max(spectra.shape[0] for _, spectra in maps.cube.bands()) == 1
    banded = open_section(cube, cube=CubeOptions(resolution_ev=130.0)).read(["Mg"])[0]
    np.testing.assert_allclose(banded, whole, atol=4)
    window = Window(2, 3, 5, 4)
    section = open_section(cube)
    np.testing.assert_array_equal(section.read(["Mg"], window)[0], section.read(["Mg"])[0][window.slices])


def test_a_cube_stored_by_image_reads_the_same(tmp_path, cube):
    other = write_ripple(tmp_path, two_minerals(), "planes", by_image=True, **STATED)
    np.testing.assert_array_equal(open_section(other).read(), open_section(cube.with_suffix(".raw")).read())


def test_a_cube_is_analysed_once_for_all_channels(cube):
    section = open_section(cube)
    entries = {name: stored_as(channel) for name, channel in section.channels.items()}
    json.dumps(entries)
    again = {name: open_stored(name, entry, cube) for name, entry in entries.items()}
    assert len({id(channel.plane.maps) for channel in again.values()}) == 1
    np.testing.assert_array_equal(again["Fe"].plane.read(section.window), section.read(["Fe"])[0])
    with pytest.raises(InputError, match="gives no Ti, only O, Mg"):
        open_stored("Ti", entries["Fe"], cube)


def test_section_toml_names_the_cube(cube, tmp_path):
    section = open_section(cube, cube=CubeOptions(elements=("Fe", "Mg")))
    write_section_toml(section, tmp_path / "section.toml")
    text = (tmp_path / "section.toml").read_text()
    assert '[cube]\nfile = "cube.raw"\nelements = ["Fe", "Mg"]\n' in text
    again = open_section(tmp_path)
    assert again.channel_names == ("Fe", "Mg")
    assert any("stripped and not mapped: O, Si, S" in note for note in again.notes)
    np.testing.assert_array_equal(again.read(), section.read())
    assert open_section(tmp_path, cube=CubeOptions(elements=("Si",))).channel_names == ("Si",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("elements = 3\n", "elements must be a list"),
        ('elements = ["Mg", "Mg"]', "element Mg twice"),
        ("ev_per_channel = true", "must be a number of eV"),
        ("resolution_ev = 5", "give 40 to 400 eV"),
        ("kv = 5", "unknown key 'kv'"),
        ("ev_per_channel = 900", "900 eV per channel is not believable"),
    ],
)
def test_bad_tables_are_refused(cube, line, message):
    toml = cube.with_name("section.toml")
    toml.write_text(f'[cube]\nfile = "cube.rpl"\n{line}')
    with pytest.raises(InputError, match=message):
        open_section(toml)


def test_elements_and_axis_from_the_command_line(tmp_path):
    cube = write_ripple(tmp_path, two_minerals())
    runner = CliRunner()
    bare = runner.invoke(main, ["inspect", str(cube)])
    assert bare.exit_code == 2
    assert "states no energy per channel: give it with --ev-per-channel EV" in bare.stderr
    done = runner.invoke(main, ["inspect", str(cube), "--ev-per-channel", "10", "--elements", "Mg", "S", "P"])
    assert done.exit_code == 0, done.stderr
    assert "P        counts" in done.output
    assert "P: no peak in the sum spectrum beyond doubt" in done.output
    wrong = runner.invoke(main, ["inspect", str(tmp_path), "--elements", "Mg"])
    assert (wrong.exit_code, "is no spectrum cube" in wrong.stderr) == (2, True)


def test_bad_cubes_are_one_clear_line(cube, tmp_path):
    short = write_ripple(tmp_path, two_minerals()[..., :400], "short", **STATED)
    with pytest.raises(InputError, match=r"short.raw: Ti has no line between 0.26 and 3.99 keV .* leave it out"):
        open_section(short, cube=CubeOptions(elements=("Mg", "Ti")))
    with pytest.raises(UnknownNameError, match=r"Unknown element 'fe'. Did you mean 'Fe'"):
        CubeOptions.from_table({"elements": ["fe"]}, "here")
    empty = write_ripple(tmp_path, np.zeros((3, 4, 1000), "<u2"), "empty", **STATED)
    with pytest.raises(InputError, match=r"empty.raw holds no counts"):
        open_section(empty)
    raw = cube.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"cube.raw is cut short: cube.rpl announces 252000 bytes and it has 251990"):
        open_section(cube)
    raw.unlink()
    with pytest.raises(InputError, match=r"cube.raw is missing: a ripple cube needs its counts"):
        open_section(cube)


def test_a_cube_that_changes_is_noticed(cube):
    section = open_section(cube)
    raw = cube.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes() + b"x")
    with pytest.raises(InputError, match="changed while it was in use"):
        section.read()


def test_pieces_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "one.msa"
    write_msa(path, two_minerals()[0, 0].astype(float), AXIS, title="one")
    opened = open_cube(path)
    monkeypatch.setattr(cubereaders, "available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match=r"decoded in pieces .* export the cube as ripple"):
        opened.sum_spectrum()


def test_without_the_library_the_line_says_how_to_install_it(cube, monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(cubereaders.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"needs RosettaSciIO .* python -m pip install 'meteoseg\[cubes\]'"):
        open_cube(cube)


def test_maps_and_components_are_written_as_a_section(cube, tmp_path):
    runner, out = CliRunner(), tmp_path / "out"
    command = ["maps", str(cube), "-o", str(out), "--components", "2", "--method"]
    assert runner.invoke(main, [*command, "nmf"]).exit_code == 0
    section = open_section(out)
    assert section.channel_names == ("O", "Mg", "Si", "S", "Fe", "NMF1", "NMF2")
    assert section.pixel_size_um == (2.5, 2.0)
    np.testing.assert_array_equal(section.read(["S"]), open_section(cube).read(["S"]))
    images = section.read(["NMF1", "NMF2"])
    contrast = images[:, :, :7].mean(axis=(1, 2)) - images[:, :, 7:].mean(axis=(1, 2))
    assert contrast[0] * contrast[1] < 0
    assert pd.read_csv(out / "elements.csv")["element"].tolist() == ["O", "Mg", "Si", "S", "Fe"]
    assert section.select(["NMF1 / (NMF1 + NMF2)"]).read().shape == (1, 9, 14)
    again = runner.invoke(main, [*command, "pca"])
    assert (again.exit_code, "use --overwrite" in again.stderr) == (2, True)
    assert runner.invoke(main, [*command, "pca", "--overwrite"]).exit_code == 0
    first = open_section(out).read(["PCA1"])[0]
    assert abs(first[:, :7].mean() - first[:, 7:].mean()) > 5 * first[:, :7].std()


def test_mean_spectra_of_phases_and_chondrules(cube, tmp_path):
    result = tmp_path / "result"
    result.mkdir()
    labels = np.where(np.arange(14) < 7, 1, 8).astype(np.uint8) * np.ones((9, 1), np.uint8)
    write_labels(result / "phases.ome.tif", labels)
    objects = np.zeros((9, 14), np.uint32)
    objects[1:5, 1:5], objects[0, 13] = 70000, 3
    write_labels(result / "chondrules.ome.tif", objects)
    (result / "legend.csv").write_text(
        "layer,id,name,color,density_g_cm3\nphases,1,olivine,#00ff00,3.3\nphases,8,troilite,#ffff00,4.8\n"
    )
    runner = CliRunner()
    done = runner.invoke(main, ["spectra", str(result), "--cube", str(cube)])
    assert done.exit_code == 0, done.stderr
    table = pd.read_csv(result / "spectra" / "spectra.csv")
    assert table["file"].tolist() == ["phase-olivine.msa", "phase-troilite.msa", "chondrule-70000.msa"]
    assert table["area_px"].tolist() == [63, 63, 16]
    counts = two_minerals()
    spectrum = open_cube(result / "spectra" / "phase-olivine.msa")
    np.testing.assert_allclose(spectrum.sum_spectrum(), counts[:, :7].mean(axis=(0, 1)), atol=1e-5)
    assert spectrum.ev_per_channel == pytest.approx(10, abs=0.02)
    assert table.loc[2, "counts"] == counts[1:5, 1:5].sum()
    again = runner.invoke(main, ["spectra", str(result), "--cube", str(cube)])
    assert (again.exit_code, "use --overwrite" in again.stderr) == (2, True)


def test_mean_spectra_of_another_grid_are_refused(cube, tmp_path):
    from meteoseg.cubes.means import write_mean_spectra

    write_labels(tmp_path / "phases.ome.tif", np.ones((8, 14), np.uint8))
    with pytest.raises(ShapeMismatchError, match=r"9 x 14 pixels .* 8 x 14: give the cube"):
        write_mean_spectra(tmp_path, cube, CubeOptions())


def test_maps_refuse_a_folder_in_use(cube, tmp_path):
    from meteoseg.cubes.mapfiles import write_cube_maps

    with pytest.raises(OutputExistsError, match="not empty: use --overwrite"):
        write_cube_maps(cube, tmp_path, CubeOptions())


@real_data
@pytest.mark.parametrize(
    ("name", "elements", "phase"),
    [
        ("albite", {"O", "Na", "Al", "Si"}, "plagioclase"),
        ("apatite", {"O", "F", "P", "Ca", "Cl"}, "phosphate"),
        ("enstatite", {"O", "Mg", "Si"}, "low-Ca pyroxene"),
        ("spinel", {"O", "Mg", "Al", "Fe"}, "spinel"),
    ],
)
def test_reference_spectra_give_elements_and_minerals(name, elements, phase):
    from meteoseg.cubes.quantify import fit_sensitivities, identify_spectrum, spectrum_counts
    from meteoseg.minerals import formula_wt_pct

    formulas = {"albite": "NaAlSi3O8", "apatite": "Ca5P3O12F", "enstatite": "MgSiO3", "spinel": "MgAl2O4"}
    counts = {key: spectrum_counts(Path(DATA) / "spectra" / f"{key}.msa") for key in formulas}
    assert elements <= set(counts[name])
    weak = [key for key in counts[name] if key not in elements | {"C"}]
    assert all(counts[name][key] < 0.05 * max(counts[name].values()) for key in weak)
    others = [(counts[key], formula_wt_pct(formula)) for key, formula in formulas.items() if key != name]
    found = identify_spectrum(counts[name], fit_sensitivities(others))
    assert (found.phase, found.probability > 0.9) == (phase, True)


@real_data
def test_p45_maps_agree_within_counting_noise():
    names = ("O", "Na", "Al", "Si", "K")
    results = []
    for file in ("P45_the_default_job.bcf", "P45_12bit_packed_8bit_compressed.bcf"):
        maps = open_cube_maps(Path(DATA) / "cubes" / file, CubeOptions(elements=names))
        used = maps.analysis.check.axis.centres_kev > 0.3
        spectra = np.concatenate([part for _, part in maps.cube.bands()])
        fit = maps.analysis.fit
        results.append((fit.counts(spectra), fit.variances(spectra), spectra[..., used].sum(axis=(1, 2))))
    (a, va, dose_a), (b, vb, dose_b) = results
    ratio = (dose_a / dose_b)[:, None, None]
    spread = ((a - ratio * b) ** 2).sum(axis=(0, 1)) / (va + ratio**2 * vb).sum(axis=(0, 1))
    np.testing.assert_allclose(spread[: len(names)], 1, atol=0.08)


@real_data
def test_bcf_and_its_ripple_twin_agree_and_cut_files_are_refused(tmp_path):
    folder = Path(DATA) / "cubes"
    spectra = [open_cube(folder / name).sum_spectrum() for name in ("4on3_full.bcf", "4on3_full.rpl")]
    np.testing.assert_array_equal(*spectra)
    section = open_section(folder / "P45_job_hyperspy.bcf")
    assert (section.shape, section.channels["BSE"].unit) == ((75, 100), "grey")
    assert section.pixel_size_um == pytest.approx((8.7368, 8.7368), abs=1e-4)
    whole = (folder / "P45_job_hyperspy.bcf").read_bytes()
    for share in (0.001, 0.1, 0.5, 0.9):
        cut = tmp_path / "cut.bcf"
        cut.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="cut short"):
            open_section(cut)
