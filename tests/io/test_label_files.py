import numpy as np
import pytest
import tifffile
from PIL import Image

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io import BandWriter, open_labels, read_labels, write_labels

SHAPE = (1100, 700)


def labels(dtype=np.uint32):
    return np.random.default_rng(3).integers(0, 200, SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_round_trip_with_pixel_size(tmp_path, dtype):
    path = tmp_path / "phases.ome.tif"
    write_labels(path, labels(dtype), pixel_size_um=(2.5, 4.0), name="phases")
    read = read_labels(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels(dtype))
    plane, size = open_labels(path)
    assert size == pytest.approx((2.5, 4.0))
    np.testing.assert_array_equal(plane.read(Window(500, 500, 30, 40)), labels(dtype)[500:530, 500:540])


def test_file_is_a_tiled_compressed_ome_tiff(tmp_path):
    path = tmp_path / "phases.ome.tif"
    write_labels(path, labels(), pixel_size_um=(1.0, 2.0), name="phases of A12")
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert (tif.is_ome, page.tile, page.compression.name) == (True, (512, 512), "ADOBE_DEFLATE")
        assert 'Name="phases of A12"' in tif.ome_metadata
        assert 'PhysicalSizeY="1.0"' in tif.ome_metadata
        np.testing.assert_array_equal(tif.asarray(), labels())


@pytest.mark.parametrize("bands", [[1100], [512, 512, 76], [1, 700, 399], [100] * 11])
def test_bands_of_any_height(tmp_path, bands):
    path = tmp_path / "a.ome.tif"
    with BandWriter(path, SHAPE, np.uint32, pixel_size_um=None, name="a") as writer:
        row = 0
        for count in bands:
            writer.write(labels()[row : row + count])
            row += count
    np.testing.assert_array_equal(read_labels(path), labels())
    assert open_labels(path)[1] is None


def test_abort_leaves_nothing(tmp_path):
    writer = BandWriter(tmp_path / "a.ome.tif", SHAPE, np.uint8)
    writer.write(labels(np.uint8)[:600])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_exception_inside_the_block_leaves_nothing(tmp_path):
    def fail():
        with BandWriter(tmp_path / "a.ome.tif", SHAPE, np.uint8) as writer:
            writer.write(labels(np.uint8)[:600])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError("no memory"), RuntimeError("no thread")], ids=repr
)
def test_what_stops_the_writing_is_raised_and_the_old_file_stays(tmp_path, monkeypatch, error):
    write_labels(tmp_path / "a.ome.tif", labels(np.uint8))
    write = tifffile.TiffWriter.write

    def fail(self, tiles, **options):
        write(self, (next(tiles) if number else _raise(error) for number in (1, 0)), **options)

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(type(error), match="no"):
        write_labels(tmp_path / "a.ome.tif", 1 + labels(np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.ome.tif"), labels(np.uint8))


def _raise(error):
    raise error


def test_too_few_rows_are_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_labels(path, labels(np.uint8))
    writer = BandWriter(path, SHAPE, np.uint8)
    writer.write(labels(np.uint8)[:600])
    with pytest.raises(InputError, match="Only 600 of 1100 rows"):
        writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tif"]
    np.testing.assert_array_equal(read_labels(path), labels(np.uint8))


def test_rows_that_do_not_fit(tmp_path):
    with BandWriter(tmp_path / "a.ome.tif", (2, 3), np.uint8) as writer:
        with pytest.raises(InputError, match="do not fit an image 3 pixels wide"):
            writer.write(np.zeros((1, 4), np.uint8))
        with pytest.raises(InputError, match="Labels 0 to 256 do not fit the type uint8"):
            writer.write(np.array([[0, 256, 1]]))
        writer.write(np.zeros((2, 3), np.uint8))
        with pytest.raises(InputError, match="More than the announced 2 rows"):
            writer.write(np.zeros((1, 3), np.uint8))


def test_values_are_written_in_bands_with_nan(tmp_path):
    values = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    values[3:700, 40:60] = np.nan
    with BandWriter(tmp_path / "Fa.ome.tif", SHAPE, np.float32, pixel_size_um=(2.0, 1.0)) as writer:
        for row in range(0, SHAPE[0], 300):
            writer.write(values[row : row + 300])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "Fa.ome.tif"), values)
    with pytest.raises(InputError, match="Cannot write labels of type float64"):
        BandWriter(tmp_path / "b.ome.tif", SHAPE, np.float64)


def test_unwritable_folder_is_an_os_error_not_a_hang(tmp_path):
    writer = BandWriter(tmp_path / "gone" / "a.ome.tif", SHAPE, np.uint8)
    with pytest.raises(OSError, match="No such file"), writer:
        writer.write(labels(np.uint8))


def test_wide_integers_take_the_smallest_type_that_fits(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_labels(path, np.array([[0, 70000, 5]]))
    assert read_labels(path).dtype == np.uint32
    write_labels(path, np.array([[True, False]]))
    assert read_labels(path).tolist() == [[1, 0]]


def test_labels_must_be_integers(tmp_path):
    with pytest.raises(InputError, match="Labels must be whole numbers"):
        write_labels(tmp_path / "a.tif", np.zeros((2, 3)))
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 6), np.float32))
    with pytest.raises(InputError, match="no label image"):
        read_labels(tmp_path / "b.tif")


def test_plain_files_are_read_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", labels(np.uint16))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels(np.uint16))
    Image.fromarray(labels(np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels(np.uint8))


def test_colour_pictures_are_no_labels(tmp_path):
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[:2, :, 0], rgb[2:, :, 1] = 255, 255
    Image.fromarray(rgb).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="in colours"):
        read_labels(tmp_path / "a.png")


def test_missing_label_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "gone.ome.tif")
