"""Small data sets: stripes that run along rows or columns, in one of two planes; a section with four objects."""

import numpy as np
import pandas as pd
import tifffile

from meteoseg.patches import read_patch_config, write_shard

SIDE = 24


def stripes(rng, along_rows, shape=(SIDE, SIDE)):
    """Two planes (2, H, W): stripes of 4 px, and noise."""
    rows, cols = np.indices(shape)
    wave = ((rows if along_rows else cols) // 2 % 2).astype(np.float32)
    return np.stack([100 * wave + rng.normal(0, 10, shape), rng.normal(50, 10, shape)]).astype(np.float32)


def write_stripes(folder, *, n_groups=6, per_group=4, seed=0, sparse=False, labels=("rows", "cols")):
    rng = np.random.default_rng(seed)
    names = [labels[number % 2] for number in range(per_group)] * n_groups
    images = [stripes(rng, name == labels[0]) for name in names]
    groups = [f"g{number}" for number in range(n_groups) for _ in range(per_group)]
    energy = np.arange(len(names), dtype=float)
    write_shard(folder / "a.npz", images, names, groups, channels=["U", "V"], sparse=sparse, energy=energy)
    return folder


TINY = """
[network]
widths = [4, 8, 8]
dropout = 0.0
{network}
[optim]
steps = {steps}
batch_size = 8
learning_rate = 1e-2
threads = 1
precision = "32"
validate_every = 20
checkpoint_every = 5
"""


def make_config(folder, *, top="", data='patches = ["set"]', network="", steps=40, rest=""):
    text = f'task = "patches"\nname = "stripes"\npatch_px = {SIDE}\n{top}\n[data]\n{data}\n'
    text += TINY.format(steps=steps, network=network) + rest
    (folder / "c.toml").write_text(text, encoding="utf-8")
    return read_patch_config(folder / "c.toml")


def write_section(folder, *, seed=0, names=("BSE", "Mg")):
    """A section (60 x 90) of four discs with stripes, two of each direction, and their truth."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((60, 90))
    objects = np.zeros(rows.shape, np.uint32)
    field = np.full(rows.shape, 20.0)
    table = []
    for number, (row, col) in enumerate([(15, 20), (15, 65), (44, 22), (44, 67)], start=1):
        inside = np.hypot(rows - row, cols - col) < 12
        along_rows = bool(rng.integers(2)) if number > 2 else number == 1
        objects[inside] = number
        field[inside] = (100.0 * ((rows if along_rows else cols) // 3 % 2))[inside]
        table.append((number, "rows" if along_rows else "cols"))
    (folder / "truth").mkdir(parents=True)
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", rng.poisson(field + 5).astype(np.uint16))
    lines = ["pixel_size_um = 2.0", "[channels]", *(f'{name} = "{name}.tif"' for name in names)]
    (folder / "section.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tifffile.imwrite(folder / "truth" / "chondrules.ome.tif", objects)
    pd.DataFrame(table, columns=["id", "texture"]).to_csv(folder / "truth" / "chondrules.csv", index=False)
    return folder
