import pickle

import numpy as np
import pytest
from PIL import Image

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.image import read_image


def grey():
    return np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4


def test_grey_png_by_window(tmp_path):
    Image.fromarray(grey()).save(tmp_path / "Fe.png")
    (source,) = read_image(tmp_path / "Fe.png")
    np.testing.assert_array_equal(source.plane.read(Window(3, 4, 5, 6)), grey()[3:8, 4:10])
    assert (source.unit, source.plane.shape) == ("display", (20, 30))


def test_sixteen_bit_png_keeps_its_counts(tmp_path):
    values = grey().astype(np.uint16) * 100
    Image.fromarray(values).save(tmp_path / "Fe.png")
    (source,) = read_image(tmp_path / "Fe.png")
    np.testing.assert_array_equal(source.plane.read(Window(0, 0, 20, 30)), values)
    assert source.unit == "counts"


def test_coloured_map_is_read_by_its_maximum(tmp_path):
    rgb = (grey()[..., None] * np.array([0.0, 0.5, 1.0])).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "Fe.png")
    (source,) = read_image(tmp_path / "Fe.png")
    np.testing.assert_array_equal(source.plane.read(Window(0, 0, 20, 30)), grey())
    assert "maximum" in source.remark


def test_jpeg_of_one_hue_survives_its_compression_noise(tmp_path):
    rgb = (np.kron(grey(), np.ones((4, 4)))[..., None] * np.array([1.0, 0.2, 0.0])).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "1-Si.jpg", quality=85)
    (source,) = read_image(tmp_path / "1-Si.jpg")
    assert source.problem == ""


def test_photograph_is_no_map(tmp_path):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / "Fe.png")
    assert "several hues" in read_image(tmp_path / "Fe.png")[0].problem


def test_palette_indices_are_kept_for_labels(tmp_path):
    image = Image.fromarray(grey() // 40, mode=None).convert("L").convert("P")
    image.putpalette([index for k in range(256) for index in (k * 7 % 256, k * 13 % 256, 255 - k)])
    image.save(tmp_path / "labels.png")
    (source,) = read_image(tmp_path / "labels.png", as_index=True)
    np.testing.assert_array_equal(source.plane.read(Window(0, 0, 20, 30)), grey() // 40)


@pytest.mark.parametrize("keep", [0, 30, 200])
def test_truncated_picture_is_refused(tmp_path, keep):
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 255, (20, 30), dtype=np.uint8)).save(tmp_path / "Fe.png")
    data = (tmp_path / "Fe.png").read_bytes()
    (tmp_path / "Fe.png").write_bytes(data[:keep])
    with pytest.raises(InputError, match="empty, truncated or not a readable picture"):
        read_image(tmp_path / "Fe.png")


def test_decoded_pixels_do_not_travel(tmp_path):
    Image.fromarray(grey()).save(tmp_path / "Fe.png")
    plane = read_image(tmp_path / "Fe.png")[0].plane
    before = len(pickle.dumps(plane))
    plane.read(Window(0, 0, 1, 1))
    assert len(pickle.dumps(plane)) == before
    assert pickle.loads(pickle.dumps(plane)).read(Window(2, 3, 1, 1)).item() == 20
