import pickle

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.tiff import read_tiff

SHAPE = (37, 53)


def pattern(dtype=np.uint16):
    rows, cols = np.indices(SHAPE)
    return (rows * 100 + cols).astype(dtype)


def only(path):
    (source,) = read_tiff(path)
    return source


LAYOUTS = {
    "strips": {"rowsperstrip": 5},
    "one strip": {"rowsperstrip": SHAPE[0]},
    "zlib strips": {"rowsperstrip": 5, "compression": "zlib"},
    "lzw": {"compression": "lzw", "rowsperstrip": 7},
    "predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "zlib tiles": {"tile": (16, 32), "compression": "zlib"},
    "zstd tiles": {"tile": (32, 16), "compression": "zstd"},
    "big endian": {"byteorder": ">", "rowsperstrip": 4},
    "big endian zlib": {"byteorder": ">", "rowsperstrip": 4, "compression": "zlib"},
    "bigtiff": {"bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
def test_windows_equal_the_array_written(tmp_path, layout, dtype):
    if dtype == np.float32 and "predictor" in layout:
        layout = {**layout, "predictor": 3}
    tifffile.imwrite(tmp_path / "Fe.tif", pattern(dtype), **layout)
    plane = only(tmp_path / "Fe.tif").plane
    assert (plane.shape, plane.dtype) == (SHAPE, np.dtype(dtype))
    for window in (Window.whole(SHAPE), Window(3, 20, 9, 31), Window(36, 52, 1, 1), Window(15, 15, 2, 2)):
        values = plane.read(window)
        assert values.dtype.isnative
        np.testing.assert_array_equal(values, pattern(dtype)[window.slices])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 36), st.integers(0, 52), st.integers(1, 37), st.integers(1, 53))
def test_any_window_of_a_tiled_file(tmp_path_factory, row, col, height, width):
    path = tmp_path_factory.getbasetemp() / "tiled.tif"
    if not path.exists():
        tifffile.imwrite(path, pattern(), tile=(16, 16), compression="zlib")
    window = Window(row, col, min(height, SHAPE[0] - row), min(width, SHAPE[1] - col))
    np.testing.assert_array_equal(only(path).plane.read(window), pattern()[window.slices])


def test_a_window_decodes_only_the_tiles_it_touches(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "Fe.tif", pattern(), tile=(16, 16), compression="zlib")
    plane = only(tmp_path / "Fe.tif").plane
    touched = []
    original = np.zeros((16, 16, 1), np.uint16)
    monkeypatch.setattr(
        "meteoseg.io.tiffplane._decoded", lambda layout, index, handle: touched.append(index) or original
    )
    plane.read(Window(17, 17, 10, 20))
    assert touched == [5, 6]


def test_a_rewritten_file_is_not_read_from_the_cache(tmp_path):
    path = tmp_path / "Fe.tif"
    tifffile.imwrite(path, pattern(), compression="zlib")
    assert only(path).plane.read(Window(0, 0, 1, 2)).tolist() == [[0, 1]]
    tifffile.imwrite(path, pattern() + 7, compression="zlib", rowsperstrip=3)
    assert only(path).plane.read(Window(0, 0, 1, 2)).tolist() == [[7, 8]]


def test_planes_travel_to_other_processes(tmp_path):
    tifffile.imwrite(tmp_path / "Fe.tif", pattern(), compression="zlib")
    plane = pickle.loads(pickle.dumps(only(tmp_path / "Fe.tif").plane))
    assert plane.read(Window(2, 3, 1, 1)).item() == 203


def test_single_hue_rgb_is_read_by_its_maximum(tmp_path):
    grey = (pattern(np.uint32) % 256).astype(np.uint8)
    rgb = (grey[..., None] * np.array([0.4, 1.0, 0.0])).astype(np.uint8)
    tifffile.imwrite(tmp_path / "Fe.tif", rgb, photometric="rgb", compression="zlib")
    source = only(tmp_path / "Fe.tif")
    np.testing.assert_array_equal(source.plane.read(Window.whole(SHAPE)), grey)
    assert source.unit == "display"
    assert source.problem == ""
    assert "maximum" in source.remark


def test_separate_samples_of_counts_are_maps_and_not_colours(tmp_path):
    stack = np.stack([pattern(), pattern() + 1, pattern() + 2])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate", compression="zlib")
    sources = read_tiff(tmp_path / "a.tif")
    assert [source.plane.read(Window(1, 1, 1, 1)).item() for source in sources] == [101, 102, 103]
    assert [source.unit for source in sources] == ["counts"] * 3


def test_several_hues_are_no_map(tmp_path):
    rgb = np.zeros((*SHAPE, 3), np.uint8)
    rgb[:, :20, 0], rgb[:, 20:, 2] = 200, 200
    tifffile.imwrite(tmp_path / "Fe.tif", rgb, photometric="rgb")
    assert only(tmp_path / "Fe.tif").problem == "a colour picture of several hues, not one map"


def test_white_is_zero_is_inverted(tmp_path):
    tifffile.imwrite(tmp_path / "mask.tif", np.full(SHAPE, 250, np.uint8), photometric="miniswhite")
    assert only(tmp_path / "mask.tif").plane.read(Window(0, 0, 1, 1)).item() == 5


def test_units_follow_from_the_stored_type(tmp_path):
    maps = {
        "display": pattern(np.uint8),
        "counts": pattern(np.uint32),
        "unknown": pattern(np.float32) + 0.25,
    }
    for unit, values in maps.items():
        tifffile.imwrite(tmp_path / "a.tif", values)
        assert only(tmp_path / "a.tif").unit == unit
    tifffile.imwrite(tmp_path / "a.tif", pattern(np.float32))
    assert only(tmp_path / "a.tif").unit == "counts"


def test_ome_names_and_pixel_size(tmp_path):
    metadata = {
        "axes": "CYX", "Channel": {"Name": ["Fe", "Mg", "BSE"]},
        "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 2.0, "PhysicalSizeYUnit": "µm",
    }  # fmt: skip
    stack = np.stack([pattern(), pattern() + 1, pattern() + 2])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata, tile=(16, 16), compression="zlib")
    sources = read_tiff(tmp_path / "a.ome.tif")
    assert [source.label for source in sources] == ["Fe", "Mg", "BSE"]
    assert sources[0].pixel_size_um == pytest.approx((2.0, 0.5))
    assert [source.plane.read(Window(0, 4, 1, 1)).item() for source in sources] == [4, 5, 6]
    assert [source.page for source in sources] == [1, 2, 3]


def test_imagej_labels_and_pixel_size(tmp_path):
    stack = np.stack([pattern(), pattern() * 2])
    metadata = {"Labels": ["obj_Fe.tif", "obj_Mg.tif"], "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(1 / 3, 1 / 4), metadata=metadata, byteorder=">"
    )
    sources = read_tiff(tmp_path / "a.tif")
    assert [source.label for source in sources] == ["obj_Fe.tif", "obj_Mg.tif"]
    assert sources[0].pixel_size_um == pytest.approx((4.0, 3.0))
    assert sources[1].plane.read(Window(1, 2, 1, 1)).item() == 204


def test_page_descriptions_name_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for name in ("Fe", "Si"):
            writer.write(pattern(), description=name, metadata=None)
        writer.write(pattern()[:5, :5], description="Ni", metadata=None)
    assert [(s.label, s.label_from) for s in read_tiff(tmp_path / "a.tif")] == [
        ("Fe", "ImageDescription"),
        ("Si", "ImageDescription"),
    ]


@pytest.mark.parametrize(
    ("unit", "per_unit", "size_um"),
    [("CENTIMETER", 1e4 / 2.5, 2.5), ("CENTIMETER", 28.35, None), ("INCH", 96, None), ("INCH", 25400, None)],
)
def test_only_physical_resolutions_are_trusted(tmp_path, unit, per_unit, size_um):
    tifffile.imwrite(tmp_path / "a.tif", pattern(), resolution=(per_unit, per_unit), resolutionunit=unit)
    size = only(tmp_path / "a.tif").pixel_size_um
    assert size == (None if size_um is None else pytest.approx((size_um, size_um)))


@pytest.mark.parametrize("layout", ["strips", "zlib strips", "zlib tiles", "bigtiff"])
def test_every_truncation_is_found_at_open(tmp_path, layout):
    tifffile.imwrite(tmp_path / "whole.tif", np.stack([pattern()] * 2), **LAYOUTS[layout])
    data = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "cut.tif"
    for size in range(1, len(data) - 1, max(1, len(data) // 60)):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"truncated|not a TIFF|no image"):
            read_tiff(path)


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"not an image at all", "not a TIFF")])
def test_other_files_are_no_tiff(tmp_path, data, message):
    (tmp_path / "Fe.tif").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_tiff(tmp_path / "Fe.tif")


def test_damaged_strip_is_an_input_error(tmp_path):
    path = tmp_path / "Fe.tif"
    tifffile.imwrite(path, pattern(), compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages.first.dataoffsets[0], tif.pages.first.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + count] = b"\0" * count
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or unsupported strip"):
        read_tiff(path)


def test_bilevel_images_of_tifffile_keep_their_sense(tmp_path):
    inside = pattern() > 2000
    tifffile.imwrite(tmp_path / "mask.tif", inside)
    plane = only(tmp_path / "mask.tif").plane
    np.testing.assert_array_equal(plane.read(Window.whole(SHAPE)), inside)


def test_complex_numbers_are_no_map(tmp_path):
    tifffile.imwrite(tmp_path / "Fe.tif", pattern(np.complex64))
    with pytest.raises(InputError, match="no two-dimensional map of numbers"):
        read_tiff(tmp_path / "Fe.tif")


def test_broken_ome_metadata_is_reported(tmp_path):
    path = tmp_path / "Fe.ome.tif"
    tifffile.imwrite(path, pattern(), ome=True, metadata={"axes": "YX"})
    path.write_bytes(path.read_bytes().replace(b"<Pixels ", b"<Pixels<"))
    with pytest.raises(InputError, match="not a readable TIFF"):
        read_tiff(path)
