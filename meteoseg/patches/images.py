"""Images of any number of channels, wherever they lie: dense or sparse arrays, files, parts and joins of these."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.io import open_section

Image = NDArray[np.float32]


class Images(Protocol):
    """A sequence of images (C, H, W) float32; `digest` tells equal ones without unpacking them (empty: all is 0)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image: ...

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's values."""
        ...


@dataclass(frozen=True)
class DenseImages:
    """An array (N, C, H, W)."""

    values: NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Image:
        return np.asarray(self.values[index], np.float32)

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's values."""
        return _hash(self.values[index])


@dataclass(frozen=True)
class SparseImages:
    """Images that are mostly 0: entries of image `i` are `offsets[i]` to `offsets[i + 1]`; see docs/patches.md.

    Examples
    --------
    >>> images = SparseImages((1, 2, 3), np.array([0, 1]), np.array([4]), np.array([7.0]))
    >>> images[0].tolist()
    [[[0.0, 0.0, 0.0], [0.0, 7.0, 0.0]]]
    """

    shape: tuple[int, int, int]
    offsets: NDArray[np.int64]
    places: NDArray[np.int32]
    values: NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Image:
        out = np.zeros(self.shape, np.float32)
        entries = slice(self.offsets[index], self.offsets[index + 1])
        out.reshape(-1)[self.places[entries]] = self.values[entries]
        return out

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's entries."""
        entries = slice(self.offsets[index], self.offsets[index + 1])
        return _hash(self.values[entries], self.places[entries])

    @classmethod
    def pack(cls, images: Sequence[NDArray[Any]]) -> SparseImages:
        """Pack images (C, H, W) of one shape."""
        places = [np.flatnonzero(image) for image in images]
        values = [np.ravel(image)[at].astype(np.float32) for image, at in zip(images, places, strict=True)]
        offsets = np.concatenate([[0], np.cumsum([len(at) for at in places])]).astype(np.int64)
        channels, rows, cols = images[0].shape
        return cls((channels, rows, cols), offsets, np.concatenate(places).astype(np.int32), np.concatenate(values))


@dataclass(frozen=True)
class FileImages:
    """Files of images: ``.npy`` (C, H, W), or anything that `open_section` reads, whose channels have names."""

    paths: tuple[Path, ...]
    channels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image:
        path = self.paths[index]
        image = _read_npy(path) if path.suffix == ".npy" else _read_maps(path, self.channels)
        if len(image) != len(self.channels):
            raise ChannelError(
                f"Image {path} has {len(image)} channels but there are {len(self.channels)} names "
                f"({', '.join(self.channels)}): give images of the same channels, or another channels.txt."
            )
        return image

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's values."""
        return _hash(self[index])


@dataclass(frozen=True)
class JoinedImages:
    """Several sequences one after the other."""

    parts: tuple[Images, ...]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.parts else 0

    def _find(self, index: int) -> tuple[Images, int]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part], index - (int(self._ends[part - 1]) if part else 0)

    def __getitem__(self, index: int) -> Image:
        part, place = self._find(index)
        return part[place]

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's values."""
        part, place = self._find(index)
        return part.digest(place)


@dataclass(frozen=True)
class ChosenImages:
    """Some images of a sequence, by their numbers."""

    images: Images
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Image:
        return self.images[int(self.chosen[index])]

    def digest(self, index: int) -> bytes:
        """Return a hash of an image's values."""
        return self.images.digest(int(self.chosen[index]))


def _hash(values: NDArray[Any], *more: NDArray[Any]) -> bytes:
    """Return a hash; empty where all of the first array is 0."""
    if not values.any():
        return b""
    digest = hashlib.blake2b(digest_size=16)
    for part in (values, *more):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.digest()


def _read_npy(path: Path) -> Image:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"Image {path} cannot be read ({error}): save it with numpy.save.") from error
    if values.ndim != 3 or values.dtype.kind not in "buif":
        raise InputError(f"Image {path} is {values.dtype} of shape {values.shape}: save numbers of shape (C, H, W).")
    return np.asarray(values, np.float32)


def _read_maps(path: Path, channels: Sequence[str]) -> Image:
    return open_section(path).read(channels)
