import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from painted_scene import COLS, ROWS, painted_image, painted_maps

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.errors import InputError, PixelSizeError
from meteoseg.grid import Window
from meteoseg.io import open_section
from meteoseg.io.warped import WarpedPlane
from meteoseg.registration.quality import Motion
from meteoseg.runs.provenance import input_stamps, section_facts
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Section


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the maps of scene 1 as TIFF."""
    folder = tmp_path_factory.mktemp("painted") / "P1"
    folder.mkdir()
    for name, values in painted_maps(1).items():
        tifffile.imwrite(folder / f"P1_{name}.tif", values)
    return folder


@pytest.fixture(scope="session")
def section() -> Section:
    """The maps of scene 1 in memory, 2 um per pixel."""
    return Section.from_arrays("P1", painted_maps(1), pixel_size_um=2.0)


def saved(folder: Path, image: np.ndarray, name: str = "bse.tif") -> Path:
    tifffile.imwrite(folder / name, image)
    return folder / name


def run(*args):
    return CliRunner().invoke(main, ["register", *map(str, args)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("shift", "degrees", "scale", "step"),
    [
        ((0.0, 0.0), 0.0, 1.0, 1.0),
        ((-1.7, 2.5), 0.0, 1.0, 1.0),
        ((21.4, -33.3), 1.6, 0.985, 2.0),
        ((-8.0, 12.6), -2.0, 1.02, 0.5),
    ],
)
def test_the_true_shift_rotation_and_scale_are_found(section, tmp_path, shift, degrees, scale, step):
    image = saved(tmp_path, painted_image(1, shift=shift, degrees=degrees, scale=scale, step=step))
    found = ms.register(section, image, pixel_size_um=2.0 / step)
    np.testing.assert_allclose(found.motion.shift_px, shift, atol=0.15)
    assert found.motion.rotation_deg == pytest.approx(degrees, abs=0.1)
    np.testing.assert_allclose(found.motion.stretch_pct, 100 * (scale - 1), atol=0.15)
    assert found.quality.agreement > 0.8
    assert max(found.quality.error_px) < 0.15


def test_pixel_sizes_alone_give_the_scale(section, tmp_path):
    found = ms.register(section, saved(tmp_path, painted_image(1, step=2.0), "bse_1umppx.tif"))
    np.testing.assert_allclose(found.transform.matrix, 2 * np.eye(2), atol=0.01)


def test_motion_of_pixel_sizes_alone_is_none():
    from meteoseg.io.warped import Transform

    nominal = Transform.scaling((2.5, 2.0))
    assert Motion.of(nominal, nominal, (31, 47)) == Motion((0.0, 0.0), (0.0, 0.0), 0.0, (0.0, 0.0), 0.0)


def test_the_image_becomes_a_channel_that_resembles_the_unmoved_one(section, tmp_path):
    moved = saved(tmp_path, painted_image(1, shift=(5.3, -7.6), degrees=1.0))
    found = ms.register(section, moved)
    assert found.section.channel_names == ("BSE", "Fe", "Mg", "S")
    inner = Window(20, 20, ROWS - 40, COLS - 40)
    read = found.section.read(["BSE"], inner)[0]
    assert np.corrcoef(read.ravel(), painted_image(1)[inner.slices].ravel())[0, 1] > 0.97
    assert np.isnan(found.section.read(["BSE"])).any()


WRONG = {
    "another section": lambda: painted_image(2),
    "mirrored": lambda: painted_image(1)[:, ::-1],
    "upside down": lambda: painted_image(1)[::-1, ::-1],
    "noise": lambda: np.random.default_rng(3).integers(0, 255, (ROWS, COLS)).astype(np.uint8),
    "a ramp": lambda: np.tile(np.arange(COLS, dtype=np.uint8), (ROWS, 1)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_image_of_something_else_is_refused(section, tmp_path, kind):
    image = saved(tmp_path, np.ascontiguousarray(WRONG[kind]()))
    with pytest.raises(InputError, match=r"bse.tif does not fit the maps of 'P1': .* blocks"):
        ms.register(section, image)


def test_tiny_overlap_is_refused(section, tmp_path):
    image = saved(tmp_path, painted_image(1)[:, -20:])
    with pytest.raises(InputError, match="does not fit"):
        ms.register(section, image, pixel_size_um=2.0)


def test_a_blank_image_is_refused(section, tmp_path):
    image = saved(tmp_path, np.full((ROWS, COLS), 17, np.uint8))
    with pytest.raises(InputError, match="is blank"):
        ms.register(section, image)


def test_small_maps_are_refused(tmp_path):
    small = Section.from_arrays("small", {name: plane[:20, :20] for name, plane in painted_maps(1).items()})
    image = saved(tmp_path, painted_image(1)[:20, :20])
    with pytest.raises(InputError, match="too few to find them"):
        ms.register(small, image)


def test_an_unknown_pixel_size_is_asked_for(section, tmp_path):
    image = saved(tmp_path, painted_image(1, step=2.0))
    with pytest.raises(PixelSizeError, match="give it in micrometres with --image-pixel-size"):
        ms.register(section, image)


def test_equal_sizes_need_no_pixel_size_and_a_note_says_so(tmp_path):
    found = ms.register(Section.from_arrays("P1", painted_maps(1)), saved(tmp_path, painted_image(1)))
    assert "states no pixel size" in found.section.notes[-1]


def test_a_section_without_element_maps_is_refused(tmp_path):
    alone = Section.from_arrays("alone", {"BSE": painted_image(1)})
    with pytest.raises(InputError, match="no element map"):
        ms.register(alone, saved(tmp_path, painted_image(1)))


def steps(at_maps: np.ndarray) -> np.ndarray:
    """Displacement of an image whose right half lies 1.5 px lower and 2 px further left."""
    right = at_maps[1] > COLS / 2
    return np.stack([1.5 * right, -2.0 * right])


def test_local_distortion_is_followed(section, tmp_path):
    image = saved(tmp_path, painted_image(1, moved=steps))
    found = ms.register(section, image, local=True)
    points = np.array([[75.0, 30.0], [75.0, 180.0]])
    np.testing.assert_allclose(found.transform.apply(points) - points, [[0, 0], [1.5, -2.0]], atol=0.35)


def test_command_writes_a_section_that_reads_the_same(painted, tmp_path):
    image = saved(tmp_path, painted_image(1, shift=(4.4, -6.1), step=2.0))
    out = tmp_path / "made" / "section.toml"
    result = run(painted, "--pixel-size", 2, "--image", f"BSE={image}", "--image-pixel-size", 1, "-o", out)
    assert result.exit_code == 0, result.output
    assert re.search(r"shift +4\.[34]\d \+- 0\.0\d rows, -6\.[01]\d", result.output)
    opened = open_section(out)
    assert opened.channel_names == ("BSE", "Mg", "S", "Fe")
    assert (opened.pixel_size_um, opened.shape) == ((2.0, 2.0), (ROWS, COLS))
    direct = ms.register(open_section(painted, pixel_size_um=2.0), image, pixel_size_um=1.0)
    np.testing.assert_array_equal(opened.read(["BSE"]), direct.section.read(["BSE"]))
    facts = json.loads((out.parent / "section_BSE_registration.json").read_text())
    assert facts["motion"]["shift_px"] == pytest.approx([4.4, -6.1], abs=0.15)
    assert (out.parent / "section_BSE_checkerboard.png").read_bytes().startswith(b"\x89PNG")
    assert CliRunner().invoke(main, ["inspect", str(out)]).exit_code == 0


def test_displacements_survive_the_files_and_the_record_of_a_run(painted, tmp_path):
    image = saved(tmp_path, painted_image(1, moved=steps))
    found = ms.register(open_section(painted), image, local=True)
    found.write(tmp_path / "section.toml")
    opened = open_section(tmp_path / "section.toml")
    assert (tmp_path / "section_BSE_displacement.csv").is_file()
    np.testing.assert_array_equal(opened.read(["BSE"]), found.section.read(["BSE"]))
    inputs = [{"file": str(path), "sha256": ms_sha(path)} for path in input_stamps(opened)]
    again = reopen_section(json.loads(json.dumps({"section": section_facts(opened), "inputs": inputs})))
    np.testing.assert_array_equal(again.read(["BSE"]), opened.read(["BSE"]))


def ms_sha(path: Path) -> str:
    from meteoseg.runs.provenance import sha256_of

    return sha256_of(path)


def test_a_bse_of_the_folder_that_differs_in_size_is_replaced(painted, tmp_path):
    folder = tmp_path / "P1"
    folder.mkdir()
    for path in painted.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    image = saved(folder, painted_image(1, step=2.0), "P1_BSE.tif")
    with pytest.raises(InputError, match="meteoseg register"):
        open_section(folder)
    sizes = ("--pixel-size", 2, "--image-pixel-size", 1)
    result = run(folder, *sizes, "--image", f"BSE={image}", "-o", folder / "section.toml")
    assert result.exit_code == 0, result.output
    assert open_section(folder).channel_names == ("BSE", "Mg", "S", "Fe")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--image", "BSE=gone.tif", "-o", "s.toml"), "gone.tif does not exist"),
        (("--image", "Xx=gone.tif", "-o", "s.toml"), "Unknown channel 'Xx'"),
        (("--image", "gone.tif", "-o", "s.toml"), "write CHANNEL=FILE"),
        (("--image", "BSE=gone.tif", "-o", "s.txt"), "ends in .toml"),
    ],
)
def test_wrong_use_is_one_line(painted, args, message):
    result = run(painted, *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


BAD = {
    "matrix = [[1, 0], [0, 0]]": "cannot be inverted",
    'matrix = "no"': "matrix of register must be 2 x 2 numbers",
    "matrix = [[1, 0], [0, 1]], turn = 3": "must have the keys",
    'matrix = [[1, 0], [0, 1]], grid = "gone.csv"': "no table of displacements",
}


@pytest.mark.parametrize("written", BAD)
def test_a_damaged_transform_is_refused(tmp_path, written):
    saved(tmp_path, painted_image(1))
    toml = tmp_path / "section.toml"
    toml.write_text(
        f'[channels]\nBSE = {{ file = "bse.tif", register = {{ shape = [9, 9], offset = [0, 0], {written} }} }}\n'
    )
    with pytest.raises(InputError, match=BAD[written]):
        open_section(toml)


def test_large_maps_are_found_on_their_own_pixels_after_a_reduced_level(section, tmp_path, monkeypatch):
    monkeypatch.setattr("meteoseg.registration.levels.LEVEL_SIDE_PX", 110)
    found = ms.register(section, saved(tmp_path, painted_image(1, shift=(6.3, -4.2), degrees=0.7)))
    np.testing.assert_allclose(found.motion.shift_px, (6.3, -4.2), atol=0.15)
    plane = found.section.channels["BSE"].plane
    assert isinstance(plane, WarpedPlane)


def test_chm1_agrees_with_the_centroids_of_its_metal_grains(real_data):
    folder = real_data / "semarkona-chm1"
    section = open_section(folder, use_mask=False, without=["BSE"])
    found = ms.register(section, folder / "obj1_8bt_BSE.tif")
    bse, iron = tifffile.imread(folder / "obj1_8bt_BSE.tif"), tifffile.imread(folder / "obj1_32bt_Fe.tif")
    grains = [(145, 185), (120, 307), (340, 168), (424, 235), (170, 448)]
    apart = [np.argwhere(bse[w] > 127).mean(0) - np.argwhere(iron[w] > 90).mean(0) for w in map(around, grains)]
    np.testing.assert_allclose(found.motion.shift_px, np.median(apart, axis=0), atol=0.5)
    assert found.quality.n_agree >= 24


def around(place: tuple[int, int]) -> tuple[slice, slice]:
    return slice(place[0] - 12, place[0] + 12), slice(place[1] - 12, place[1] + 12)


def test_chm1_refuses_the_bse_of_another_section(real_data):
    section = open_section(real_data / "semarkona-chm1", use_mask=False, without=["BSE"], pixel_size_um=1.0)
    with pytest.raises(InputError, match="does not fit"):
        ms.register(section, real_data / "semarkona-ps1b-west" / "Semarkona-ps1b_BSE.tif", pixel_size_um=1.0)
