"""Tiny training examples: a bright disc (chondrule, olivine) in a dark matrix."""

import numpy as np
import tifffile

from meteoseg.train.config import read_config

SHAPE = (72, 104)


def disc_labels(shape=SHAPE):
    rows, cols = np.indices(shape)
    return ((rows - 36) ** 2 + (cols - 40) ** 2 < 20**2).astype(np.uint8)


def write_example(folder, *, seed=0, names=("BSE", "Mg", "Fe"), legend=None, components=None):
    rng = np.random.default_rng(seed)
    disc = disc_labels()
    (folder / "truth").mkdir(parents=True)
    for name in names:
        counts = rng.poisson(np.where(disc, 60 if name == "Mg" else 20, 30)).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", counts)
    lines = ["pixel_size_um = 2.0", "[channels]", *(f'{name} = "{name}.tif"' for name in names)]
    (folder / "section.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tifffile.imwrite(folder / "truth" / "phases.ome.tif", np.where(disc, 1, 8).astype(np.uint8))
    wanted = np.where(disc, 2, 7).astype(np.uint8) if components is None else components
    tifffile.imwrite(folder / "truth" / "components.ome.tif", wanted)
    tifffile.imwrite(folder / "truth" / "chondrules.ome.tif", disc.astype(np.uint32))
    if legend:
        (folder / "truth" / "legend.csv").write_text(legend, encoding="utf-8")
    return folder


def make_config(folder, *, top="", data='sections = ["a"]\nvalidation = ["b"]', optim="", rest=""):
    text = f"""{top}
[data]
{data}
[network]
decoder_channels = [16, 8, 8, 8, 8]
[optim]
batch_size = 2
tile_px = 32
threads = 1
precision = "32"
validation_crops = 4
{optim}
{rest}
"""
    (folder / "c.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "c.toml")
