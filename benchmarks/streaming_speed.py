"""Speed of the network path: bare forward passes, meteoseg from files to label files, MONAI's sliding window.

    python benchmarks/streaming_speed.py [--size-px 4096] [--repeats 3] [--model chondrite]

A simulated section (12 maps, tiled and deflated TIFF) is labelled with the mineral network of a model. All in one run,
on the cores that OMP_NUM_THREADS allows: forward passes alone on tiles of the network's size and of 512 px; `meteoseg`
(the steps mask, phases and label images of `segment`: files in, label file out; tables and report apart); the sliding
window of MONAI (where it is installed) on the normalised image in memory, with the same folded network, precision, tile
and overlap, and with its usual setting (512 px, 25 % Gaussian overlap); and the network of the closest peer (two
convolutions that see 5 x 5 px, 12-32-64-8, 0.02 M parameters), under autocast and with its weights in the
precision of the run. Printed are megapixels per second (best and median), ratios, and the share of
labels that differ from those of MONAI.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import nn

import meteoseg as ms
from meteoseg.channels import ABSENT
from meteoseg.inference import Inputs
from meteoseg.models import Model, Network, fast_bfloat16, load_model
from meteoseg.networks.folded import folded
from meteoseg.resample import Regrid
from meteoseg.section import Section
from meteoseg.simulate import simulate_section

CHANNELS = ("BSE", "Na", "Mg", "Al", "Si", "S", "K", "Ca", "Ti", "Cr", "Fe", "Ni")
PIXEL_UM = 2.0
SIMULATED_PX = 1024


def written_section(folder: Path, size_px: int) -> Section:
    """Write the maps of a simulated section, mirrored until they fill the size; open them."""
    side_mm = SIMULATED_PX * PIXEL_UM / 1000
    made = simulate_section("LL", size_mm=(side_mm, side_mm), pixel_size_um=PIXEL_UM, seed=3, channels=CHANNELS).section
    for name in CHANNELS:
        plane = np.clip(made.read([name])[0], 0, 65535).astype(np.uint16)
        pad = size_px - min(size_px, SIMULATED_PX)
        large = np.pad(plane, ((0, pad), (0, pad)), mode="symmetric")[:size_px, :size_px]
        tifffile.imwrite(folder / f"{name}.tif", large, tile=(256, 256), compression="zlib")
    return ms.open_section(folder, pixel_size_um=PIXEL_UM)


def normalised(section: Section, network: Network) -> torch.Tensor:
    """Read the whole normalised input (1, C, H, W)."""
    read = Inputs(section).reader(network.card, Regrid(section.shape, section.shape, (1.0, 1.0)))
    planes = [np.full(section.shape, plane, np.float32) if isinstance(plane, float) else plane
              for plane in read(section.window)]  # fmt: skip
    return torch.from_numpy(np.stack(planes))[None]


def peer() -> nn.Module:
    """Make the network of the closest peer."""
    return nn.Sequential(
        nn.Conv2d(12, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 8, 1)
    ).eval()


class Table:
    """Rows of speeds, printed as they come."""

    def __init__(self, repeats: int) -> None:
        self.repeats, self.best = repeats, {}

    def time(self, name: str, work: Callable[[], float | None], pixels: int) -> None:
        """Time `work`, which may return its own seconds."""
        seconds, cpu = [], []
        for _ in range(self.repeats):
            start, busy = time.perf_counter(), time.process_time()
            own = work()
            seconds.append(time.perf_counter() - start if own is None else own)
            cpu.append(time.process_time() - busy)
        self.best[name] = pixels / 1e6 / min(seconds)
        print(f"{name:52s} {self.best[name]:6.2f} ({pixels / 1e6 / statistics.median(seconds):.2f}) Mpx/s   "
              f"{min(cpu) / pixels * 1e6:.2f} CPU s/Mpx", flush=True)  # fmt: skip

    def ratio(self, one: str, other: str) -> None:
        """Print a ratio of best speeds."""
        if one in self.best and other in self.best:
            print(f"    {one} / {other}: {self.best[one] / self.best[other]:.2f}")


def through_monai(lean: nn.Module, image: torch.Tensor, tile_px: int, overlap: float, mode: str) -> torch.Tensor:
    """Return labels (H, W) of MONAI's sliding window inference."""
    from monai.inferers import sliding_window_inference

    def forward(batch: torch.Tensor) -> torch.Tensor:
        return lean(batch.contiguous(memory_format=torch.channels_last)).float()

    with torch.inference_mode():
        logits = sliding_window_inference(image, (tile_px, tile_px), 1, forward, overlap=overlap, mode=mode)
        return logits[0, 1:].argmax(dim=0) + 1


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-px", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="chondrite")
    options = parser.parse_args()
    model = load_model(options.model)
    network = next(net for net in model.networks.values() if net.card.layers == ("phases",))
    card, table = network.card, Table(options.repeats)
    only = Model(model.card, {card.name: network}, model.path, model.sha256)
    dtype = torch.bfloat16 if fast_bfloat16() else torch.float32
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "maps"
        folder.mkdir()
        section = written_section(folder, options.size_px)
        pixels = options.size_px**2
        print(f"{options.size_px} x {options.size_px} px, {len(CHANNELS)} maps, network '{card.name}' "
              f"{card.decoder_channels}, tile {card.tile_px} px, margin {card.margin_px} px, {dtype}, "
              f"{torch.get_num_threads()} threads")  # fmt: skip
        image = normalised(section, network).to(dtype)
        lean = folded(network, image[0, :, 0, 0] != ABSENT, dtype)
        two = peer().to(dtype).to(memory_format=torch.channels_last)

        def bare(module: nn.Module, planes: int, side: int) -> None:
            tile = image[:, :planes, :side, :side].contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                for _ in range(max(1, 2048**2 // side**2)):
                    module(tile)

        for side in sorted({512, card.tile_px}):
            done = max(1, 2048**2 // side**2) * side**2
            table.time(f"bare forward, {side} px", lambda side=side: bare(lean, len(card.channels), side), done)
        table.time("bare forward of the peer's network", lambda: bare(two, 12, 512), 2048**2)
        as_written = peer().to(memory_format=torch.channels_last)

        def autocast() -> None:
            with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
                bare(as_written, 12, 512)

        table.time("bare forward of the peer's network, autocast", autocast, 2048**2)
        labels: dict[str, object] = {}

        def own() -> float:
            result = ms.segment(section, model=only, out=Path(scratch) / "out", overwrite=True)
            labels["meteoseg"] = result.phases
            steps = result.run["timings_s"]
            return float(steps["mask"] + steps["phases"] + steps["label images"])

        table.time("meteoseg, files to label file", own, pixels)
        try:
            import monai.inferers  # noqa: F401
        except ImportError:
            print("MONAI is not installed: pip install monai to compare with it.")
        else:
            overlap = 2 * card.margin_px / card.tile_px

            def slide(key: str, *setting: Any) -> None:
                labels[key] = through_monai(lean, image, *setting)

            table.time("MONAI, same tile and overlap", lambda: slide("same", card.tile_px, overlap, "constant"), pixels)
            table.time("MONAI, 512 px, 25 % Gaussian overlap", lambda: slide("usual", 512, 0.25, "gaussian"), pixels)
        bare_name = f"bare forward, {card.tile_px} px"
        table.ratio("meteoseg, files to label file", bare_name)
        table.ratio("meteoseg, files to label file", "MONAI, same tile and overlap")
        table.ratio("meteoseg, files to label file", "MONAI, 512 px, 25 % Gaussian overlap")
        table.ratio(bare_name, "bare forward of the peer's network")
        table.ratio(bare_name, "bare forward of the peer's network, autocast")
        compare(labels, card.phase_classes)


def compare(labels: dict[str, object], classes: tuple[str, ...]) -> None:
    """Print the share of pixels that meteoseg and MONAI name otherwise, less unclassified and holes."""
    legend = ms.legend.default_legend("phases")
    ids = np.array([legend[name].id for name in classes], np.uint8)
    own = np.asarray(labels["meteoseg"])
    named = (own != legend["unclassified"].id) & (own != 0) & (own != legend["hole"].id)
    for name in ("same", "usual"):
        if name in labels:
            other = ids[np.asarray(labels[name])]
            print(f"    labels that differ from MONAI, {name} setting: {100 * np.mean((own != other)[named]):.3f} %")


if __name__ == "__main__":
    main()
