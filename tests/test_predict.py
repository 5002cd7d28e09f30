import numpy as np
import pytest
import torch
from torch import nn

from meteoseg import predict
from meteoseg.models import Network, NetworkCard
from meteoseg.predict import predict_bands, predict_windows


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


class Pointwise(Network):
    """Three fixed combinations of two channels, pixel by pixel."""

    def __init__(self):
        nn.Module.__init__(self)
        self.card = card()
        self.mix = nn.Conv2d(2, 3, 1, bias=False)
        self.mix.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])[:, :, None, None]
        self.shapes = []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        return self.mix(image)


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch):
    monkeypatch.setattr(predict, "fast_bfloat16", lambda: False)


def whole(bands):
    parts = list(bands)
    assert parts[0][0] == 0
    return {layer: np.concatenate([part[layer] for _, part in parts], axis=1) for layer in parts[0][1]}


@pytest.mark.parametrize("shape", [(150, 97), (20, 200), (5, 7), (64, 64)])
@pytest.mark.parametrize("tta", [False, True])
def test_pointwise_network_returns_its_combination_on_any_shape(shape, tta):
    image = np.random.default_rng(4).normal(size=(2, *shape)).astype(np.float32)
    network = Pointwise()
    out = whole(predict_bands(network, lambda w: image[(slice(None), *w.slices)], shape, tta=tta))
    np.testing.assert_allclose(out["phases"], image, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out["distance"][0], image[0] - image[1], rtol=1e-4, atol=1e-5)
    assert all(height % 32 == width % 32 == 0 for *_, height, width in network.shapes)


def test_batches_and_progress_are_as_asked():
    image = np.zeros((2, 64, 200), np.float32)
    network, seen = Pointwise(), []
    bands = predict_bands(
        network, lambda w: image[(slice(None), *w.slices)], (64, 200), overlap_px=0, batch_size=3,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    whole(bands)
    assert seen == [(3, 4), (4, 4)]
    assert [shape[0] for shape in network.shapes] == [3, 1]


def test_bands_come_before_the_last_tile_is_read():
    image = np.zeros((2, 400, 64), np.float32)
    rows_read = []

    def read(window):
        rows_read.append(window.row_end)
        return image[(slice(None), *window.slices)]

    first, _ = next(predict_bands(Pointwise(), read, (400, 64), overlap_px=8))
    assert first == 0
    assert max(rows_read) == 64


def test_real_network_is_nearly_the_same_tiled_and_whole():
    torch.manual_seed(3)
    network = Network(card(tile_px=256, margin_px=64)).eval()
    image = np.random.default_rng(5).random((2, 256, 352)).astype(np.float32)
    direct = predict_windows(network, [image])[0]
    tiled = whole(predict_bands(network, lambda w: image[(slice(None), *w.slices)], (256, 352)))["phases"]
    assert np.abs(tiled - direct[:2]).mean() < 0.2 * direct[:2].std()


def test_averaging_over_turns_makes_the_prediction_turn_with_the_map():
    torch.manual_seed(3)
    network = Network(card()).eval()
    image = np.random.default_rng(6).random((2, 64, 64)).astype(np.float32)
    straight = predict_windows(network, [image], tta=True)[0]
    turned = predict_windows(network, [np.ascontiguousarray(np.rot90(image, 1, (1, 2)))], tta=True)[0]
    np.testing.assert_allclose(turned, np.rot90(straight, 1, (1, 2)), rtol=1e-3, atol=1e-4)
    plain = predict_windows(network, [image])[0]
    assert np.abs(plain - straight).max() > 1e-3
