import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from meteoseg.errors import InputError, PixelSizeError, ShapeMismatchError, UnknownNameError
from meteoseg.io import describe_section, open_section, write_section_toml

SHAPE = (12, 17)


def counts(offset=0):
    return (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) + offset).astype(np.uint32)


def save(path, values=None, **options):
    tifffile.imwrite(path, counts() if values is None else values, **options)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "A12"
    folder.mkdir()
    save(folder / "obj_32bt_Fe.tif")
    save(folder / "obj_32bt_Sul.tif", counts(1000))
    save(folder / "obj_8bt_BSE.tif", counts().astype(np.uint8))
    return folder


def skipped(section):
    return {path.name: reason for path, reason in section.skipped}


def test_folder_of_maps(folder):
    section = open_section(folder)
    assert (section.name, section.shape) == ("A12", SHAPE)
    assert section.channel_names == ("BSE", "S", "Fe")
    assert [channel.unit for channel in section.channels.values()] == ["grey", "counts", "counts"]
    assert section.read(["S", "Fe"])[:, 0, 3].tolist() == [1003, 3]
    assert section.pixel_size_um is None
    assert "'Sul'" in section.channels["S"].reason


def test_mask_labels_tables_and_subfolders(folder):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :5] = 255
    save(folder / "section_mask.tif", mask)
    save(folder / "objects.tif", counts().astype(np.uint16))
    save(folder / "overview.tif")
    (folder / "objects.csv").write_text("label,kind\n1,chondrule\n")
    (folder / "readme.md").write_text("notes")
    (folder / "truth").mkdir()
    (folder / ".hidden_Fe.tif").write_bytes(b"")
    section = open_section(folder)
    assert section.channel_names == ("BSE", "S", "Fe")
    assert [path.name for path in section.mask_paths] == ["section_mask.tif"]
    assert section.read_mask().sum() == 5 * SHAPE[0]
    assert skipped(section) == {
        "objects.csv": "labels, a table or a picture for the eye, not a map",
        "objects.tif": "labels, a table or a picture for the eye, not a map",
        "overview.tif": "no element in its file name",
        "readme.md": "not a map format",
        "truth": "subfolder, not read",
    }


def test_several_masks_are_not_a_section_mask(folder):
    for name in ("FeS_mask.tif", "NiS_mask.tif"):
        save(folder / name, np.ones(SHAPE, np.uint8))
    section = open_section(folder)
    assert section.mask is None
    assert section.notes[0].startswith("2 mask files found and none used")
    save(folder / "mask.tif", np.ones(SHAPE, np.uint8))
    assert [path.name for path in open_section(folder).mask_paths] == ["mask.tif"]


def test_mask_of_another_size_names_both_shapes_and_can_be_cropped_or_ignored(folder):
    save(folder / "mask.tif", np.ones((SHAPE[0] + 3, SHAPE[1]), np.uint8))
    with pytest.raises(ShapeMismatchError, match=r"15 x 17 .* 12 x 17.*--crop-to-common"):
        open_section(folder)
    cropped = open_section(folder, crop_to_common=True)
    assert cropped.shape == SHAPE
    assert cropped.read_mask().shape == SHAPE
    assert "cropped to the common top-left 12 x 17 px" in cropped.notes[-1]
    assert open_section(folder, use_mask=False).notes == ("mask mask.tif ignored on request",)


def test_maps_of_different_shapes(folder):
    save(folder / "obj_32bt_Mg.tif", counts()[:10, :16])
    with pytest.raises(ShapeMismatchError, match=r"Mg 10 x 16.*Fe 12 x 17"):
        open_section(folder)
    section = open_section(folder, crop_to_common=True)
    assert section.shape == (10, 16)
    np.testing.assert_array_equal(section.read(["Fe"])[0], counts()[:10, :16])


def test_two_files_for_one_element(folder):
    save(folder / "other_Fe.tif")
    with pytest.raises(InputError, match=r"Two maps for Fe: obj_32bt_Fe.tif and other_Fe.tif.*--channels Fe=FILE"):
        open_section(folder)
    section = open_section(folder, channels={"Fe": folder / "other_Fe.tif"})
    assert section.channels["Fe"].path == folder / "other_Fe.tif"
    assert skipped(section) == {"obj_32bt_Fe.tif": "Fe is given by name in its place"}


def test_twins_that_are_told_apart(folder):
    save(folder / "obj_32bt_Fe_masked.tif")
    save(folder / "obj_8bt_Sul.tif", counts().astype(np.uint8))
    Image.fromarray(counts().astype(np.uint8)).save(folder / "obj_32bt_Fe.png")
    save(folder / "obj_Fe-LA.tif", counts(5))
    with pytest.raises(InputError, match=r"Two maps for Fe: obj_32bt_Fe\.tif and obj_Fe-LA\.tif"):
        open_section(folder)
    (folder / "obj_Fe-LA.tif").unlink()
    assert skipped(open_section(folder)) == {
        "obj_32bt_Fe.png": "8-bit display twin of obj_32bt_Fe.tif",
        "obj_32bt_Fe_masked.tif": "masked variant of obj_32bt_Fe.tif",
        "obj_8bt_Sul.tif": "8-bit display twin of obj_32bt_Sul.tif",
    }


def test_k_line_is_preferred_to_l_line(tmp_path):
    for name in ("Fe Kα1.png", "Fe Lα1_2.png"):
        Image.fromarray(counts().astype(np.uint8)).save(tmp_path / name)
    section = open_section(tmp_path)
    assert section.channels["Fe"].path.name == "Fe Kα1.png"
    assert skipped(section) == {"Fe Lα1_2.png": "L line; the K line of Fe Kα1.png is used"}


def test_override_takes_any_file_for_a_channel(folder):
    save(folder / "scan.tif", counts(7))
    section = open_section(folder, channels={"Ni": folder / "scan.tif"})
    assert section.read(["Ni"])[0, 0, 0] == 7
    assert section.channels["Ni"].reason == "given by name"


def test_override_with_an_unknown_channel(folder):
    with pytest.raises(UnknownNameError, match="Unknown channel 'Iron'"):
        open_section(folder, channels={"Iron": folder / "obj_32bt_Fe.tif"})


def test_override_with_a_missing_file(folder):
    with pytest.raises(InputError, match=r"nothing.tif does not exist"):
        open_section(folder, channels={"Fe": folder / "nothing.tif"})


def test_oxides_become_element_percent(tmp_path):
    (tmp_path / "SiO2.csv").write_text("40.5,50.25\n0,60\n")
    (tmp_path / "Fe Wt%.csv").write_text("1.5,2.5,\n-0.5,4,\n")
    section = open_section(tmp_path)
    assert [channel.unit for channel in section.channels.values()] == ["wt%", "wt%"]
    assert section.read(["Si"])[0, 0].tolist() == pytest.approx([40.5 * 0.46744, 50.25 * 0.46744], rel=1e-4)
    assert section.read(["Fe"])[0, 1, 0] == pytest.approx(-0.5)
    assert "SiO2 wt% x 0.4674 = Si wt%" in section.channels["Si"].reason
    assert "Si: oxide wt% converted to element wt%" in section.notes


def test_whole_numbers_named_by_an_oxide_stay_counts(tmp_path):
    (tmp_path / "SiO2.csv").write_text("40,50\n0,60\n")
    channel = open_section(tmp_path).channels["Si"]
    assert channel.unit == "counts"


def test_multichannel_file(tmp_path):
    path = tmp_path / "A12.ome.tif"
    stack = np.stack([counts(), counts(50), counts(90)])
    metadata = {"axes": "CYX", "Channel": {"Name": ["Fe", "Mg", "Spare"]}, "PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(path, stack.astype(np.uint16), metadata=metadata)
    section = open_section(path)
    assert (section.name, section.channel_names) == ("A12", ("Mg", "Fe"))
    assert section.read(["Mg"])[0, 0, 0] == 50
    assert section.pixel_size_um == (2.0, 2.0)
    assert "OME metadata" in section.pixel_size_source
    assert section.notes == ("A12.ome.tif: page 3 has no element name and is left out",)


def test_multipage_file_without_names(tmp_path):
    save(tmp_path / "stack.tif", np.stack([counts()] * 4), photometric="minisblack")
    with pytest.raises(InputError, match=r"None of the 4 images .*Fe = \{ file = \"stack.tif\", page = 1 \}"):
        open_section(tmp_path / "stack.tif")


def test_one_file_named_by_its_element(tmp_path):
    save(tmp_path / "x_Fe.tif")
    assert open_section(tmp_path / "x_Fe.tif").channel_names == ("Fe",)
    save(tmp_path / "scan.tif")
    with pytest.raises(InputError, match="No element is recognised in the file name 'scan'"):
        open_section(tmp_path / "scan.tif")
    assert open_section(tmp_path / "scan.tif", channels={"Mg": tmp_path / "scan.tif"}).channel_names == ("Mg",)


def test_nothing_to_open(tmp_path):
    with pytest.raises(InputError, match=r"gone does not exist"):
        open_section(tmp_path / "gone")
    with pytest.raises(InputError, match=r"No recognisable channel in .* it has no files"):
        open_section(tmp_path)
    save(tmp_path / "scan.tif")
    with pytest.raises(InputError, match=r"it has scan.tif \(no element in its file name\).*--channels EL=FILE"):
        open_section(tmp_path)


@pytest.mark.parametrize("suffix", [".bcf", ".rpl", ".pts", ".elid", ".emd", ".h5oina", ".spd"])
def test_spectrum_cubes_in_a_folder_are_named_with_the_remedy(tmp_path, suffix):
    (tmp_path / f"map{suffix}").write_bytes(b"x")
    remedy = "export its element maps" if suffix == ".h5oina" else "give the cube itself as the section"
    with pytest.raises(InputError, match=rf"only spectrum cubes \(map{suffix}\): {remedy}"):
        open_section(tmp_path)


def test_cubes_that_no_library_reads_are_refused(tmp_path):
    (tmp_path / "map.h5oina").write_bytes(b"x")
    with pytest.raises(InputError, match="Oxford spectrum cube: export its element maps"):
        open_section(tmp_path / "map.h5oina")


def test_broken_map_is_an_error_not_a_gap(folder):
    (folder / "obj_32bt_Mg.tif").write_bytes((folder / "obj_32bt_Fe.tif").read_bytes()[:-200])
    with pytest.raises(InputError, match=r"obj_32bt_Mg.tif is truncated"):
        open_section(folder)


def test_colour_picture_is_listed(folder):
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    rgb[:6, :, 0], rgb[6:, :, 1] = 255, 255
    Image.fromarray(rgb).save(folder / "phasemap_Mg.png")
    section = open_section(folder)
    assert "Mg" not in section.channels
    assert skipped(section)["phasemap_Mg.png"] == "a colour picture of several hues, not one map"


def test_pixel_size_from_name_option_and_contradiction(folder):
    save(folder / "a-2p5umppx_Mg.tif")
    section = open_section(folder)
    assert (section.pixel_size_um, section.pixel_size_source) == ((2.5, 2.5), "name 'a-2p5umppx_Mg'")
    chosen = open_section(folder, pixel_size_um=(1, 2), pixel_size_error_pct=5)
    assert (chosen.pixel_size_um, chosen.pixel_size_source) == ((1.0, 2.0), "option")
    assert chosen.pixel_size_error_pct == 5
    assert "given by option in place of 2.5 um" in chosen.notes[0]
    save(folder / "b-3umppx_Al.tif")
    contradicting = open_section(folder)
    assert contradicting.pixel_size_um is None
    assert "contradict each other" in contradicting.notes[0]


@pytest.mark.parametrize("size", [0, -1.0, float("nan"), (1.0, 0.0)])
def test_impossible_pixel_size(folder, size):
    with pytest.raises(PixelSizeError, match="not possible"):
        open_section(folder, pixel_size_um=size)


def test_section_toml_round_trip(folder, tmp_path):
    save(folder / "mask.tif", np.ones(SHAPE, np.uint8))
    (folder / "SiO2.csv").write_text("\n".join(",".join(["1.5"] * SHAPE[1]) for _ in range(SHAPE[0])))
    metadata = {"axes": "CYX", "Channel": {"Name": ["Mg", "Al"]}}
    tifffile.imwrite(folder / "pair.ome.tif", np.stack([counts(3), counts(4)]), metadata=metadata)
    first = open_section(folder, pixel_size_um=(1.5, 2.0), pixel_size_error_pct=3.0, name='A "12"', is_fall=True)
    write_section_toml(first, tmp_path / "section.toml")
    again = open_section(tmp_path / "section.toml")
    assert (again.name, again.pixel_size_um, again.pixel_size_error_pct) == ('A "12"', (1.5, 2.0), 3.0)
    assert again.is_fall
    assert again.channel_names == first.channel_names
    assert [c.unit for c in again.channels.values()] == [c.unit for c in first.channels.values()]
    np.testing.assert_array_equal(again.read(), first.read())
    assert again.mask_paths[0].resolve() == (folder / "mask.tif").resolve()


def test_fall_of_a_section_toml_is_true_or_false(folder):
    (folder / "section.toml").write_text('fall = "yes"\n[channels]\nNi = "obj_32bt_Fe.tif"\n')
    with pytest.raises(InputError, match="fall must be true or false, got 'yes'"):
        open_section(folder)


def test_folder_with_section_toml_is_read_through_it(folder):
    (folder / "section.toml").write_text('pixel_size_um = 4\n[channels]\nNi = "obj_32bt_Fe.tif"\n')
    section = open_section(folder)
    assert (section.name, section.channel_names) == ("A12", ("Ni",))
    assert (section.pixel_size_um, section.pixel_size_source) == ((4.0, 4.0), "section.toml")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("pixelsize = 1\n[channels]\nFe = 'a.tif'", InputError, "unknown key 'pixelsize'"),
        ("[channels]\nFe = { file = 'obj_32bt_Fe.tif', pages = 1 }", InputError, "unknown key 'pages'"),
        ("name = 'x'", InputError, "names no channels"),
        ("[channels\n", InputError, "not valid TOML"),
        ("[channels]\nXx = 'obj_32bt_Fe.tif'", UnknownNameError, "Unknown channel 'Xx'"),
        ("[channels]\nFe = 'gone.tif'", InputError, "gone.tif does not exist"),
        ("[channels]\nFe = { file = 'obj_32bt_Fe.tif', unit = 'cps' }", UnknownNameError, "Unknown unit 'cps'"),
        ("[channels]\nFe = { file = 'obj_32bt_Fe.tif', page = 2 }", InputError, "page 2 of obj_32bt_Fe.tif"),
        ("pixel_size_um = -1\n[channels]\nFe = 'obj_32bt_Fe.tif'", PixelSizeError, "positive number"),
        ("mask = 3\n[channels]\nFe = 'obj_32bt_Fe.tif'", InputError, "mask must be a text"),
    ],
)
def test_bad_section_toml(folder, text, error, message):
    (folder / "section.toml").write_text(text)
    with pytest.raises(error, match=message):
        open_section(folder)


def test_description_lists_everything(folder):
    save(folder / "objects.tif", counts().astype(np.uint16))
    lines = describe_section(open_section(folder, pixel_size_um=2)).splitlines()
    assert lines[0] == "Section A12"
    row = next(line for line in lines if line.startswith("Fe"))
    assert row.split()[:4] == ["Fe", "counts", "uint32", "obj_32bt_Fe.tif"]
    assert "pixel size  2 um, from option" in lines
    assert "skipped     objects.tif: labels, a table or a picture for the eye, not a map" in lines


DATA = os.environ.get("METEOSEG_DATA")
real_data = pytest.mark.skipif(DATA is None, reason="METEOSEG_DATA is not set")
TEN_ELEMENTS = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")


@real_data
@pytest.mark.parametrize(
    ("name", "channels", "shape", "pixel_size_um", "has_mask"),
    [
        ("semarkona-chm8", TEN_ELEMENTS, (908, 978), (1.0, 1.0), True),
        ("semarkona-ps1b-west", ("BSE", "Mg", "Al", "Ca", "Fe"), (327, 400), None, True),
        ("standards", TEN_ELEMENTS, (256, 640), None, False),
        ("oxford-csv", ("C", "O", "Na", "Mg", "Al", "Si", "Ca", "Ti", "Cr", "Fe"), (134, 179), None, False),
        ("jeol", ("Si",), (1000, 920), (4.0, 4.0), False),
    ],
)
def test_real_folders(name, channels, shape, pixel_size_um, has_mask):
    section = open_section(Path(DATA) / name)
    assert (section.channel_names, section.shape) == (channels, shape)
    assert section.pixel_size_um == pixel_size_um
    assert (section.mask is not None) == has_mask


@real_data
def test_real_mask_with_three_rows_too_many():
    with pytest.raises(ShapeMismatchError, match=r"515 x 512 .*512 x 512"):
        open_section(Path(DATA) / "semarkona-chm1")
    section = open_section(Path(DATA) / "semarkona-chm1", crop_to_common=True)
    assert section.channel_names == ("BSE", *TEN_ELEMENTS)
    assert section.shape == section.read_mask().shape == (512, 512)


@real_data
def test_real_values():
    jeol = open_section(Path(DATA) / "jeol").read(["Si"])
    assert (jeol.max(), round(float(jeol.mean()))) == (1005, 183)
    oxford = open_section(Path(DATA) / "oxford-csv").read(["Al"])
    assert oxford[0, 0, :3].tolist() == [2886, 2750, 2724]
