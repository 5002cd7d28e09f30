"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that is shared.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests that take more than half a minute")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="takes more than half a minute: run with --run-slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of public maps; the test is skipped where METEOSEG_DATA does not name it."""
    folder = os.environ.get("METEOSEG_DATA")
    if not folder:
        pytest.skip("METEOSEG_DATA does not name a folder of real maps")
    return Path(folder)


TINY = {"encoder": "tu-mobilenetv3_small_100", "decoder_channels": (8, 8, 8, 8, 8)}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with two small networks of random weights: components + distance at 8 um, phases at any scale."""
    import torch

    from meteoseg.elements import CANONICAL_CHANNELS
    from meteoseg.models import ModelCard, Network, NetworkCard, save_model

    components = ("outside", "hole", "chondrule", "matrix")
    phases = ("outside", "olivine", "low-Ca pyroxene", "kamacite", "troilite", "fine-grained matrix", "hole")
    coarse = NetworkCard(
        "coarse",
        ("components", "distance"),
        CANONICAL_CHANNELS,
        component_classes=components,
        canonical=True,
        um_per_px=8.0,
        um_per_px_range=(4.0, 16.0),
        tile_px=64,
        margin_px=16,
        **TINY,
    )
    fine = NetworkCard(
        "fine", ("phases",), CANONICAL_CHANNELS, phase_classes=phases, canonical=True, tile_px=64, margin_px=16, **TINY
    )
    torch.manual_seed(0)
    card = ModelCard("tiny", (coarse, fine), licence="MIT")
    states = {network.name: Network(network).state_dict() for network in card.networks}
    return save_model(tmp_path_factory.mktemp("model") / "tiny.safetensors", card, states)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder of five small maps (48 x 70) in counts, without a pixel size."""
    import numpy as np
    import tifffile

    folder = tmp_path / "A12"
    folder.mkdir()
    rng = np.random.default_rng(7)
    row, col = np.mgrid[:48, :70]
    grain = np.hypot(row - 20, col - 30) < 14
    for name, (inside, outside) in {"Fe": (30, 90), "Mg": (120, 40), "Si": (100, 60), "S": (3, 12)}.items():
        counts = rng.poisson(np.where(grain, inside, outside)).astype(np.uint16)
        tifffile.imwrite(folder / f"A12_{name}.tif", counts)
    return folder
