"""Sparse shards of a data set of images, as docs/patches.md describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from readout import SIDE_PX, SparseImages

from meteoseg.errors import InputError

FloatArray = np.ndarray


@dataclass(frozen=True)
class Shard:
    """Events of one file.

    Attributes
    ----------
    images : their pixels above 0
    labels, ids : class and name of each
    channels : names of the three planes
    kinetic_mev : (N,) kinetic energy of the particle, NaN where it is not known
    """

    images: SparseImages
    labels: Sequence[str]
    ids: Sequence[str]
    channels: Sequence[str]
    kinetic_mev: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


def save_shard(path: Path, shard: Shard) -> None:
    """Write a shard; each event is a group of its own, for events do not depend on each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        shape=np.array([3, SIDE_PX, SIDE_PX]),
        offsets=shard.images.offsets,
        places=shard.images.places,
        values=shard.images.values.astype(np.float16),
        labels=np.array(shard.labels, dtype=str),
        groups=np.array(shard.ids, dtype=str),
        ids=np.array(shard.ids, dtype=str),
        channels=np.array(shard.channels, dtype=str),
        kinetic_mev=shard.kinetic_mev.astype(np.float32),
    )


def load_shards(folder: Path) -> list[Shard]:
    """Read all shards of a folder, in the order of their names.

    Raises
    ------
    InputError : there are none.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise InputError(f"{folder} holds no shards (*.npz). Make them with generate.py or larcv.py.")
    shards = []
    for path in paths:
        with np.load(path) as file:
            images = SparseImages(file["offsets"], file["places"], file["values"].astype(np.float32))
            text = [[str(item) for item in file[key]] for key in ("labels", "ids", "channels")]
            shards.append(Shard(images, text[0], text[1], text[2], file["kinetic_mev"]))
    return shards
