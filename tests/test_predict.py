import threading

import numpy as np
import pytest
import torch
from torch import nn

from meteoseg import predict
from meteoseg.channels import ABSENT
from meteoseg.errors import InputError
from meteoseg.models import Network, NetworkCard
from meteoseg.predict import predict_tiles, predict_windows
from meteoseg.tiles import plan_tiles


def card(**changes):
    values = {
        "layers": ("phases", "distance"),
        "channels": ("Fe", "Mg"),
        "phase_classes": ("olivine", "troilite"),
        "decoder_channels": (16, 8, 8, 8, 8),
        "tile_px": 64,
        "margin_px": 16,
    }
    return NetworkCard("n", **(values | changes))


#: Of the images that a pointwise network saw.
SHAPES = []


class Pointwise(Network):
    """Three fixed combinations of two channels, pixel by pixel."""

    def __init__(self):
        nn.Module.__init__(self)
        self.card = card()
        self.mix = nn.Conv2d(2, 3, 1, bias=False)
        self.mix.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])[:, :, None, None]

    def forward(self, image):
        SHAPES.append(tuple(image.shape))
        return self.mix(image)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(predict, "fast_bfloat16", lambda: False)


def whole(tiles, shape, planes=3):
    """Put tiles together; every pixel must come once."""
    out, times = np.zeros((planes, *shape), np.float32), np.zeros(shape, int)
    for window, logits in tiles:
        out[:, *window.slices] = logits.float().numpy()
        times[window.slices] += 1
    assert (times == 1).all()
    return out


def as_they_are(logits):
    return logits


def reading(image):
    """Give the planes of windows of an image."""
    return lambda window: image[:, *window.slices]


@pytest.mark.parametrize("shape", [(150, 97), (20, 200), (5, 7), (64, 64), (33, 65)])
@pytest.mark.parametrize("tta", [False, True])
def test_pointwise_network_returns_its_combination_on_any_shape(shape, tta):
    image = np.random.default_rng(4).normal(size=(2, *shape)).astype(np.float32)
    SHAPES.clear()
    out = whole(predict_tiles(Pointwise(), reading(image), shape, as_they_are, tta=tta), shape)
    np.testing.assert_allclose(out[:2], image, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out[2], image[0] - image[1], rtol=1e-4, atol=1e-5)
    assert all(height % 32 == width % 32 == 0 for *_, height, width in SHAPES)


def test_progress_counts_tiles():
    image, seen = np.zeros((2, 64, 200), np.float32), []
    tiles = predict_tiles(
        Pointwise(),
        reading(image),
        (64, 200),
        as_they_are,
        margin_px=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    whole(tiles, (64, 200))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_rows_are_read_once_and_a_few_bands_ahead():
    image, read = np.random.default_rng(1).random((2, 1000, 64)).astype(np.float32), []

    def spy(window):
        read.append((window.row, window.row_end, window.width))
        return image[:, *window.slices]

    tiles = predict_tiles(Pointwise(), spy, (1000, 64), as_they_are, margin_px=8)
    next(tiles)
    assert read[-1][1] <= 64 + (predict.MAX_WORKERS + 1) * 48
    list(tiles)
    assert [row for row, _, _ in read] == [0, *(end for _, end, _ in read[:-1])]
    assert read[-1][1] == 1000
    assert {width for *_, width in read} == {64}


def test_what_the_reader_raises_reaches_the_caller():
    def read(window):
        if window.row > 0:
            raise InputError("The map vanished.")
        return np.zeros((2, *window.shape), np.float32)

    with pytest.raises(InputError, match="vanished"):
        list(predict_tiles(Pointwise(), read, (400, 64), as_they_are))


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_the_reader_ends_with_what_is_raised_while_a_tile_is_computed(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "_logits", interrupt)
    image = np.zeros((2, 400, 64), np.float32)
    with pytest.raises(KeyboardInterrupt) as caught:
        list(predict_tiles(Pointwise(), reading(image), (400, 64), as_they_are))
    assert caught.value.__traceback__ is not None  # it holds the frames, and the reader has ended nevertheless
    assert not readers()


def test_a_reader_that_is_stopped_reads_one_more_plane_at_most():
    planes, go_on = [], threading.Event()

    def read(window):
        for number in range(12):
            if window.row > 0:
                planes.append(number)
                go_on.wait(10)
            yield np.zeros(window.shape, np.float32)

    bands = predict._bands(read, plan_tiles((400, 64), 64, 16), 12, 64, torch.float32)
    next(bands)
    threading.Timer(0.2, go_on.set).start()
    bands.close()
    assert len(planes) <= 2
    assert not readers()


def test_absent_channels_may_come_as_a_number():
    torch.manual_seed(3)
    network = Network(card(encoder="full-resolution", decoder_channels=(8, 4))).eval()
    plane = np.random.default_rng(2).random((64, 64)).astype(np.float32)
    absent = np.full_like(plane, ABSENT)
    one, other = (
        whole(predict_tiles(network, lambda _, p=planes: p, (64, 64), as_they_are), (64, 64))
        for planes in ([plane, ABSENT], [plane, absent])
    )
    np.testing.assert_array_equal(one, other)


def test_wide_sections_have_lower_tiles_and_the_same_result(monkeypatch):
    torch.manual_seed(3)
    network = Network(card(encoder="full-resolution", decoder_channels=(8, 4), tile_px=256)).eval()
    image = np.random.default_rng(5).random((2, 300, 352)).astype(np.float32)
    usual = whole(predict_tiles(network, reading(image), (300, 352), as_they_are), (300, 352))
    monkeypatch.setattr(predict, "BAND_BYTES", 1)
    monkeypatch.setattr(predict, "_LEAST_TILE_ROWS", 96)
    heights = []
    lower = whole(
        predict_tiles(network, lambda w: (heights.append(w.height), image[:, *w.slices])[1], (300, 352), as_they_are),
        (300, 352),
    )
    assert max(heights) == 96
    np.testing.assert_allclose(lower, usual, atol=1e-5)


@pytest.mark.parametrize(("tile_px", "margin_px"), [(96, 32), (128, 32), (160, 48)])
def test_tiles_do_not_show_where_the_margin_covers_the_reach_of_the_network(tile_px, margin_px):
    torch.manual_seed(3)
    network = Network(card(encoder="full-resolution", decoder_channels=(12, 8, 4))).eval()
    image = np.random.default_rng(5).random((2, 250, 301)).astype(np.float32)
    tiled = whole(
        predict_tiles(network, reading(image), (250, 301), as_they_are, tile_px=tile_px, margin_px=margin_px),
        (250, 301),
    )
    np.testing.assert_allclose(tiled, predict_windows(network, [image])[0], atol=1e-5)


def test_real_network_is_nearly_the_same_tiled_and_whole():
    torch.manual_seed(3)
    network = Network(card(tile_px=256, margin_px=64)).eval()
    image = np.random.default_rng(5).random((2, 256, 352)).astype(np.float32)
    direct = predict_windows(network, [image])[0]
    tiled = whole(predict_tiles(network, reading(image), (256, 352), as_they_are), (256, 352))
    assert np.abs(tiled - direct).mean() < 0.2 * direct.std()


def test_averaging_over_turns_makes_the_prediction_turn_with_the_map():
    torch.manual_seed(3)
    network = Network(card()).eval()
    image = np.random.default_rng(6).random((2, 64, 64)).astype(np.float32)
    straight = predict_windows(network, [image], tta=True)[0]
    turned = predict_windows(network, [np.ascontiguousarray(np.rot90(image, 1, (1, 2)))], tta=True)[0]
    np.testing.assert_allclose(turned, np.rot90(straight, 1, (1, 2)), rtol=1e-3, atol=1e-4)
    plain = predict_windows(network, [image])[0]
    assert np.abs(plain - straight).max() > 1e-3
