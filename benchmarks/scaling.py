"""Time and peak memory of `meteoseg segment` against pixels, channels and classes, as a table and a figure.

    python benchmarks/scaling.py OUT [--sides 1024 2048 4096 8192 16384] [--model chondrite]

Each point is a fresh process that labels a section made of a simulated one, mirrored until it has the size (12 maps of
16 bit, tiles of 256 px, deflated, 2 um per pixel). Channels vary at 2048 px; so do classes, with a network of random
weights and the shape of the shipped one. Peak memory is the largest resident set of the process. Points that lie in
OUT/scaling.csv already are not measured again. Draws OUT/scaling.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from meteoseg.models import ModelCard, Network, load_model, save_model
from meteoseg.simulate import simulate_section

CHANNELS = ("BSE", "Na", "Mg", "Al", "Si", "S", "K", "Ca", "Ti", "Cr", "Fe", "Ni", "P", "Mn", "O")
PIXEL_UM = 2.0
SIMULATED_PX = 2048
OTHER_SIDE = 2048


def base_maps(scratch: Path) -> np.ndarray:
    """Return the maps (C, H, W) of the simulated section, made once."""
    file = scratch / "base.npy"
    if not file.is_file():
        side_mm = SIMULATED_PX * PIXEL_UM / 1000
        made = simulate_section("LL", size_mm=(side_mm, side_mm), pixel_size_um=PIXEL_UM, seed=3, channels=CHANNELS)
        np.save(file, np.clip(made.section.read(CHANNELS), 0, 65535).astype(np.uint16))
    return np.load(file, mmap_mode="r")


def write_section(folder: Path, base: np.ndarray, side_px: int, channels: int) -> Path:
    """Write the maps of a section of `side_px` on a side."""
    folder.mkdir(parents=True)
    for name, plane in zip(CHANNELS[:channels], base, strict=False):
        mirrored = np.block([[plane, plane[:, ::-1]], [plane[::-1], plane[::-1, ::-1]]])
        times = -(-side_px // len(mirrored))
        large = np.tile(mirrored, (times, times))[:side_px, :side_px]
        tifffile.imwrite(
            folder / f"{name}.tif", large, tile=(256, 256), compression="zlib", compressionargs={"level": 1}
        )
    return folder


def model_of(scratch: Path, classes: int, shipped: str) -> str:
    """Write a model whose mineral network has random weights and so many classes."""
    card = next(
        net.card for net in load_model(shipped, device="cpu").networks.values() if net.card.layers == ("phases",)
    )
    card = replace(card, phase_classes=card.phase_classes[:classes], calibration=())
    file = scratch / f"classes_{classes}.safetensors"
    save_model(file, ModelCard("random", (card,), licence="MIT"), {card.name: Network(card).state_dict()})
    return str(file)


def measured(maps: Path, model: str, out: Path) -> dict[str, float]:
    """Segment in a process of its own; return seconds in all and of the steps, and the peak memory."""
    code = "import sys; from meteoseg.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "segment", str(maps), "-o", str(out), "--pixel-size", str(PIXEL_UM),
               "--model", model, "--overwrite", "--name", "run"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    run = json.loads((out / "run" / "run.json").read_text(encoding="utf-8"))
    steps = run["timings_s"]
    network = sum(steps[name] for name in ("mask", "phases", "label images"))
    return {"seconds": sum(steps.values()), "network_path_s": network, "peak_mb": run["peak_memory_mb"]} | {
        f"{name}_s": value for name, value in steps.items()
    }


def draw(table: pd.DataFrame, file: Path) -> None:
    """Draw time and memory against each quantity."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6), constrained_layout=True)
    for column, kind in enumerate(("pixels", "channels", "classes")):
        part = table[table["kind"] == kind].sort_values("value")
        at = part["value"] / 1e6 if kind == "pixels" else part["value"]
        for name, label in (("seconds", "all steps"), ("network_path_s", "network path")):
            axes[0, column].plot(at, part[name], "o-", label=label)
        axes[1, column].plot(at, part["peak_mb"] / 1024, "o-", color="tab:red")
        axes[1, column].axhline(2, color="0.6", linestyle=":")
        axes[1, column].set(ylim=(0, 2.4), xlabel="Mpx" if kind == "pixels" else kind)
        axes[0, column].set_ylim(bottom=0)
        if kind == "pixels":
            axes[0, column].set(xscale="log", yscale="log")
            axes[0, column].set_ylim(0.5, None)
            axes[1, column].set_xscale("log")
    axes[0, 0].legend(frameon=False)
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, GiB")
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure what is missing and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--model", default="chondrite")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table_file = options.out / "scaling.csv"
    rows = pd.read_csv(table_file).to_dict("records") if table_file.is_file() else []
    known = {(row["kind"], int(row["value"])) for row in rows}
    wanted = [("pixels", side * side, side, 12, None) for side in options.sides]
    wanted += [("channels", count, OTHER_SIDE, count, None) for count in (3, 6, 9, 12, 15)]
    wanted += [("classes", count, OTHER_SIDE, 12, count) for count in (4, 8, 16, 30)]
    with tempfile.TemporaryDirectory(dir=options.out) as temporary:
        scratch = Path(temporary)
        for kind, value, side, channels, classes in wanted:
            if (kind, value) in known:
                continue
            maps = write_section(scratch / f"{kind}_{value}", base_maps(scratch), side, channels)
            model = options.model if classes is None else model_of(scratch, classes, options.model)
            rows.append({"kind": kind, "value": value} | measured(maps, model, scratch / "out"))
            pd.DataFrame(rows).to_csv(table_file, index=False, float_format="%.4g")
            print(rows[-1], flush=True)
    draw(pd.DataFrame(rows), options.out / "scaling.png")


if __name__ == "__main__":
    main()
