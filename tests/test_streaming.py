"""How a section is cut for the work (tiles, bands, threads) shows in none of its results."""

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

import meteoseg as ms
from meteoseg import grid, predict, resample
from meteoseg.channels import ABSENT
from meteoseg.io import read_labels
from meteoseg.labels import images as labelimages
from meteoseg.models import ModelCard, Network, NetworkCard, save_model
from meteoseg.tables.measure import LABEL_FILES

CHANNELS = ("BSE", "Mg", "Si", "Fe")
SHAPE = (330, 410)
#: A network of two levels sees less than this far.
MARGIN_PX = 32


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Networks of random weights whose margin covers what they see."""
    tiny = {"encoder": "full-resolution", "decoder_channels": (8, 6), "canonical": True, "margin_px": MARGIN_PX}
    coarse = NetworkCard(
        "coarse", ("components", "distance"), CHANNELS, component_classes=("outside", "hole", "chondrule", "matrix"),
        um_per_px=4.0, um_per_px_range=(2.0, 8.0), tile_px=128, **tiny,
    )  # fmt: skip
    phases = ("outside", "olivine", "low-Ca pyroxene", "kamacite", "fine-grained matrix", "hole")
    fine = NetworkCard("fine", ("phases",), CHANNELS, phase_classes=phases, tile_px=160, **tiny)
    torch.manual_seed(5)
    states = {card.name: evened(Network(card)) for card in (coarse, fine)}
    for name, unwanted in (("coarse", [0, 1]), ("fine", [0])):
        states[name]["unet.head.bias"][unwanted] -= 4
    for key in ("unet.head.weight", "unet.head.bias"):
        states["coarse"][key] *= 5
    states["coarse"]["unet.head.bias"][4] += 1
    return save_model(
        tmp_path_factory.mktemp("model") / "m.safetensors", ModelCard("m", (coarse, fine), licence="MIT"), states
    )


def evened(network):
    """Weights with a head under which no class leads everywhere."""
    waves = torch.sin(torch.arange(128) / 17)[:, None] * torch.cos(torch.arange(96) / 23)
    image = torch.stack([0.6 + 0.4 * waves * (-1) ** number for number in range(len(CHANNELS))])[None]
    with torch.inference_mode():
        logits = network.eval()(image)[0].flatten(1)
    head = network.unet.head
    head.weight.data /= logits.std(dim=1)[:, None, None, None]
    head.bias.data = (head.bias.data - logits.mean(dim=1)) / logits.std(dim=1)
    return network.state_dict()


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Maps with grains and an empty field, in small compressed tiles."""
    folder = tmp_path_factory.mktemp("A12")
    rng = np.random.default_rng(3)
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = np.sin(row / 17) * np.cos(col / 23)
    for number, name in enumerate(CHANNELS):
        counts = rng.poisson(40 + 30 * waves * (-1) ** number).astype(np.uint16)
        counts[-40:, :90] = 0
        tifffile.imwrite(folder / f"A12_{name}.tif", counts, tile=(64, 64), compression="zlib")
    return folder


def results(maps, model, **options):
    """Segment; return label images and tables by name."""
    result = ms.segment(ms.open_section(maps, pixel_size_um=2.0), model=model, **options)
    images = {layer: read_labels(result.folder / name) for layer, name in LABEL_FILES.items()}
    tables = {file.name: pd.read_csv(file) for file in sorted(result.folder.glob("*.csv"))}
    return images, tables


def in_low_bands(monkeypatch):
    monkeypatch.setattr(grid.row_bands, "__defaults__", (3000,))
    monkeypatch.setattr("meteoseg.segmenting.BAND_PX", 9000)
    monkeypatch.setattr("meteoseg.segmenting._FILE_TILE_PX", 16)
    monkeypatch.setattr("meteoseg.labels.components.BAND_PX", 9000)
    monkeypatch.setattr("meteoseg.objects._BAND_PX", 7000)
    monkeypatch.setattr("meteoseg.tables.labelcounts._BAND_PX", 5000)
    monkeypatch.setattr(labelimages, "LET_GO_BYTES", 1)


def in_low_tiles(monkeypatch):
    monkeypatch.setattr(predict, "BAND_BYTES", 1)
    monkeypatch.setattr(predict, "_LEAST_TILE_ROWS", 96)
    monkeypatch.setattr(resample, "SOURCE_PX", 5000)


def on_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("cut", [in_low_bands, in_low_tiles, on_one_thread])
def test_labels_objects_and_tables_do_not_depend_on_how_the_section_is_cut(maps, model, monkeypatch, cut):
    monkeypatch.setattr(predict, "fast_bfloat16", lambda: False)
    images, tables = results(maps, model)
    assert set(np.unique(images["phases"])) > {0, 1}
    assert images["chondrules"].max() >= 3
    assert (images["phases"][-35:, :85] == 0).all()
    cut(monkeypatch)
    again, tables_again = results(maps, model)
    for layer, image in images.items():
        assert np.array_equal(again[layer], image), layer
    assert tables.keys() == tables_again.keys()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(tables_again[name], table)


def test_arrays_on_disk_keep_what_was_written_when_their_pages_are_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(labelimages, "LET_GO_BYTES", 100)
    array = labelimages.Scratch(tmp_path, (50, 40)).array("a", np.int32)
    expected = np.random.default_rng(1).integers(0, 9, (50, 40))
    for row in range(0, 50, 7):
        array[row : row + 7] = expected[row : row + 7]
        part = array[row : row + 7]
        part[part == 3] = 11
    expected[expected == 3] = 11
    assert np.array_equal(array[5:45, 3:], expected[5:45, 3:])
    assert np.array_equal(array, expected)
    assert ABSENT not in array
