"""Coarser levels of large images, read back with tifffile and ome-types."""

import numpy as np
import pytest
import tifffile

from meteoseg.grid import Window
from meteoseg.io import BandWriter, open_labels, open_section, write_labels
from meteoseg.io.bandwriter import ChannelLook
from meteoseg.io.pyramid import halved, level_shapes

SHAPE = (2301, 1157)


def labels():
    return np.random.default_rng(3).integers(0, 90_000, SHAPE).astype(np.uint32)


def levels_of(path):
    with tifffile.TiffFile(path) as tif:
        assert len(tif.series) == 1
        return [level.asarray() for level in tif.series[0].levels]


def test_levels_of_labels_are_samples_of_them(tmp_path):
    path = tmp_path / "chondrules.ome.tif"
    write_labels(path, labels(), pixel_size_um=(2.0, 3.0))
    levels = levels_of(path)
    assert [level.shape for level in levels] == [(2301, 1157), (1151, 579), (576, 290)]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level, labels()[:: 2**number, :: 2**number])


def test_our_readers_see_the_full_image_only(tmp_path):
    path = tmp_path / "chondrules.ome.tif"
    write_labels(path, labels(), pixel_size_um=(2.0, 3.0))
    plane, size = open_labels(path)
    assert (plane.shape, size) == (SHAPE, (2.0, 3.0))
    for window in (Window(0, 0, 7, 1157), Window(500, 500, 30, 40), Window(2290, 1100, 11, 57)):
        np.testing.assert_array_equal(plane.read(window), labels()[window.slices])


def test_maps_with_levels_open_as_channels(tmp_path):
    values = np.random.default_rng(4).poisson(40, (2, 1500, 1100)).astype(np.uint16)
    path = tmp_path / "A12.ome.tif"
    with BandWriter(path, (1500, 1100), np.uint16, channels=(ChannelLook("Fe"), ChannelLook("Mg"))) as writer:
        writer.write(values.reshape(-1, 1100))
    section = open_section(path)
    assert sorted(section.channel_names) == ["Fe", "Mg"]
    np.testing.assert_array_equal(section.read(["Mg"])[0], values[1])


def test_small_images_have_one_level(tmp_path):
    write_labels(tmp_path / "a.ome.tif", labels()[:1024, :1024])
    assert [level.shape for level in levels_of(tmp_path / "a.ome.tif")] == [(1024, 1024)]


def test_levels_of_values_are_means_without_nan(tmp_path):
    values = np.random.default_rng(5).normal(size=(1400, 1030)).astype(np.float32)
    values[10:12, 20:22], values[13, 30] = np.nan, np.nan
    with BandWriter(tmp_path / "Fa.ome.tif", values.shape, np.float32) as writer:
        for row in range(0, 1400, 330):
            writer.write(values[row : row + 330])
    coarse = levels_of(tmp_path / "Fa.ome.tif")[1]
    assert np.isnan(coarse[5, 10])
    assert coarse[6, 15] == pytest.approx(np.nanmean(values[12:14, 30:32]))
    blocks = values.reshape(700, 2, 515, 2)
    expected = blocks.mean(axis=(1, 3))
    good = np.isfinite(expected)
    np.testing.assert_allclose(coarse[good], expected[good], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_means_of_counts_are_rounded_not_cut(dtype):
    assert halved(np.array([[254, 255], [255, 255]], dtype), average=True).tolist() == [[255]]


def test_channels_keep_names_colours_and_pixel_size(tmp_path):
    ome_types = pytest.importorskip("ome_types")
    values = np.random.default_rng(6).normal(size=(3, 1300, 600)).astype(np.float32)
    looks = [ChannelLook("BSE", "#ffffff"), ChannelLook("Fe", "#ff0000"), ChannelLook("S", "#0080ff")]
    path = tmp_path / "maps.ome.tif"
    with BandWriter(path, (1300, 600), np.float32, pixel_size_um=(2.5, 4.0), name="A & B", channels=looks) as writer:
        for plane in values:
            writer.write(plane)
    levels = levels_of(path)
    np.testing.assert_array_equal(levels[0], values)
    assert levels[1].shape == (3, 650, 300)
    image = ome_types.from_tiff(path).images[0]
    assert (image.name, image.pixels.size_c) == ("A & B", 3)
    assert (image.pixels.physical_size_y, image.pixels.physical_size_x) == (2.5, 4.0)
    assert image.pixels.physical_size_x_unit.value == "µm"
    assert [channel.name for channel in image.pixels.channels] == ["BSE", "Fe", "S"]
    assert [channel.color.as_hex("long") for channel in image.pixels.channels] == ["#ffffff", "#ff0000", "#0080ff"]


def test_pictures_keep_their_colours_at_all_levels(tmp_path):
    rgb = np.random.default_rng(7).integers(0, 256, (1200, 1300, 3)).astype(np.uint8)
    with BandWriter(tmp_path / "a.ome.tif", (1200, 1300), np.uint8, rgb=True) as writer:
        for row in range(0, 1200, 500):
            writer.write(rgb[row : row + 500])
    levels = levels_of(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(levels[0], rgb)
    np.testing.assert_array_equal(levels[1], rgb[::2, ::2])


def test_levels_state_their_own_pixel_size(tmp_path):
    write_labels(tmp_path / "a.ome.tif", labels(), pixel_size_um=(2.0, 4.0))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        page = tif.pages[0].pages[0]
        across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
    assert (1e4 * down[1] / down[0], 1e4 * across[1] / across[0]) == pytest.approx((4.0, 8.0))


def test_failure_in_a_coarser_level_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"old")
    write = tifffile.TiffWriter.write

    def fail(self, tiles, **options):
        if "subfiletype" in options:
            raise OSError(28, "No space left on device")
        return write(self, tiles, **options)

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(OSError, match="No space left"):
        write_labels(path, labels())
    assert [file.name for file in tmp_path.iterdir()] == ["a.ome.tif"]
    assert path.read_bytes() == b"old"


def test_largest_sections_have_few_levels():
    assert level_shapes((40000, 30000))[-1] == (625, 469)
