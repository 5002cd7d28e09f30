"""Data sets of labelled images: folders of shards or a table of files, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.io import open_section
from meteoseg.patches.images import ChosenImages, DenseImages, FileImages, Image, Images, JoinedImages, SparseImages

Texts = NDArray[np.str_]
TABLE, CHANNELS = "patches.csv", "channels.txt"
_SPARSE_KEYS = ("shape", "offsets", "places", "values")
_KNOWN_KEYS = ("images", *_SPARSE_KEYS, "labels", "groups", "channels", "ids")
#: Suffixes of files that are taken for images where a folder has no table.
_SUFFIXES = (".npy", ".tif", ".tiff", ".png", ".jpg", ".bmp")


@dataclass(frozen=True)
class PatchSet:
    """Images of the same channels with a label and a group each.

    Parameters
    ----------
    images : as measured, (C, H, W) each.
    labels : (N,) text, empty where not known.
    groups : (N,) text: section, event or run; what must not be on both sides of a split.
    ids : (N,) text, names of the images.
    channels : names of the planes.
    extra : further columns, (N,) each.
    """

    images: Images
    labels: Texts
    groups: Texts
    ids: Texts
    channels: tuple[str, ...]
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {"images": len(self.images), "labels": len(self.labels), "groups": len(self.groups)}
        if len({*sizes.values(), len(self.ids)}) > 1:
            raise InputError(f"A data set needs a label, a group and an id for each image (got {sizes}).")

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image:
        """Return an image (C, H, W) float32."""
        return self.images[index]

    def subset(self, chosen: NDArray[Any]) -> PatchSet:
        """Return the images of these numbers, or where `chosen` (N,) is True."""
        at = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.asarray(chosen, np.int64)
        extra = {key: values[at] for key, values in self.extra.items()}
        images = ChosenImages(self.images, at)
        return PatchSet(images, self.labels[at], self.groups[at], self.ids[at], self.channels, extra)

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[Any],
        channels: Sequence[str],
        *,
        labels: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
    ) -> PatchSet:
        """Build a data set from images in memory, (N, C, H, W).

        Examples
        --------
        >>> len(PatchSet.from_arrays(np.zeros((3, 2, 8, 9)), ["U", "V"], labels=["a", "b", "a"]))
        3
        """
        n = len(images)
        names = [str(number) for number in range(n)] if ids is None else ids
        return cls(
            DenseImages(np.asarray(images)),
            np.array([""] * n if labels is None else labels, np.str_),
            np.array(names if groups is None else groups, np.str_),
            np.array(names, np.str_),
            tuple(channels),
        )


class _Texts(NamedTuple):
    """Labels, groups and ids (N,)."""

    labels: Texts
    groups: Texts
    ids: Texts

    def label(self, images: Images, channels: tuple[str, ...], extra: Mapping[str, NDArray[Any]]) -> PatchSet:
        """Put images with these texts together."""
        return PatchSet(images, self.labels, self.groups, self.ids, channels, extra)


def join(parts: Sequence[PatchSet]) -> PatchSet:
    """Join data sets of the same channels; of further columns those that all have.

    Raises
    ------
    ChannelError : channels differ.
    InputError : nothing to join.
    """
    if not parts:
        raise InputError("There is no image: give a folder with *.npz shards or patches.csv.")
    for part in parts:
        if part.channels != parts[0].channels:
            raise ChannelError(
                f"Image {part.ids[0]} has the channels {', '.join(part.channels)} and {parts[0].ids[0]} has "
                f"{', '.join(parts[0].channels)}: give all the same, in the same order."
            )
    if len(parts) == 1:
        return parts[0]
    shared = [key for key in parts[0].extra if all(key in part.extra for part in parts)]
    texts = _Texts(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "groups", "ids")))
    extra = {key: np.concatenate([part.extra[key] for part in parts]) for key in shared}
    return texts.label(JoinedImages(tuple(part.images for part in parts)), parts[0].channels, extra)


def read_patch_set(path: str | Path) -> PatchSet:
    """Read a data set: a folder of shards, one shard, a table, a folder with ``patches.csv``, or a folder of images.

    Raises
    ------
    InputError : there is nothing of that kind, or a file is damaged.
    ChannelError : images of different channels.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".npz":
        return _read_shard(path)
    if path.is_file() and path.suffix == ".csv":
        return _read_table(path)
    if not path.is_dir():
        what = "is no set of images" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}: give a folder of images, a table patches.csv or a shard *.npz.")
    shards = sorted(path.glob("*.npz"))
    if shards:
        return join([_read_shard(shard) for shard in shards])
    return _read_table(path / TABLE) if (path / TABLE).is_file() else _read_folder(path)


def write_shard(
    path: str | Path,
    images: Sequence[NDArray[Any]] | NDArray[Any],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    channels: Sequence[str],
    ids: Sequence[str] | None = None,
    sparse: bool = False,
    **extra: NDArray[Any],
) -> Path:
    """Write a shard, see docs/patches.md.

    Parameters
    ----------
    images : (C, H, W) each, of one shape, as measured.
    sparse : keep only what is not 0.
    extra : further columns, (N,) each, such as ``energy_mev``.

    Raises
    ------
    InputError : numbers that do not agree, or images of different shapes.
    """
    path = Path(path)
    counts = {"images": len(images), "labels": len(labels), "groups": len(groups)}
    counts |= {key: len(values) for key, values in extra.items()} | ({} if ids is None else {"ids": len(ids)})
    shapes = {np.shape(image) for image in images}
    if len(set(counts.values())) > 1 or len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InputError(f"Shard {path}: give as many of each ({counts}) and images of one shape (C, H, W).")
    if next(iter(shapes))[0] != len(channels):
        raise InputError(f"Shard {path}: the images have {next(iter(shapes))[0]} planes but {len(channels)} names.")
    for key in extra:
        if key in _KNOWN_KEYS:
            raise InputError(f"Shard {path}: '{key}' has a meaning of its own, give the column another name.")
    stored: dict[str, NDArray[Any]] = {"images": np.asarray(images)}
    if sparse:
        packed = SparseImages.pack(list(images))
        stored = {key: np.asarray(getattr(packed, key)) for key in _SPARSE_KEYS}
    texts = {"labels": labels, "groups": groups, "channels": channels} | ({} if ids is None else {"ids": ids})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part.npz")
    text_arrays = {key: np.array(list(values), np.str_) for key, values in texts.items()}
    np.savez_compressed(temporary, **stored, **text_arrays, **extra)  # type: ignore[arg-type]
    return temporary.replace(path)


def _read_shard(path: Path) -> PatchSet:
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"Shard {path} cannot be read ({error}): write it again with write_shard.") from error
    missing = [key for key in ("labels", "groups", "channels") if key not in data]
    if "images" not in data:
        missing += [key for key in _SPARSE_KEYS if key not in data]
    if missing:
        raise InputError(f"Shard {path} lacks {', '.join(missing)}: write it with write_shard, see docs/patches.md.")
    images: Images
    if "images" in data:
        images = DenseImages(data["images"])
        shape = data["images"].shape[1:]
    else:
        shape = tuple(int(length) for length in data["shape"])
        images = SparseImages((shape[0], shape[1], shape[2]), data["offsets"], data["places"], data["values"])
    if len(shape) != 3 or shape[0] != len(data["channels"]):
        raise InputError(f"Shard {path} has images of shape {shape} but {len(data['channels'])} channel names.")
    n = len(images)
    ids = data.get("ids", np.array([f"{path.stem}-{number}" for number in range(n)], np.str_))
    extra = {key: values for key, values in data.items() if key not in _KNOWN_KEYS and values.shape == (n,)}
    texts = _Texts(*(np.asarray(values).astype(np.str_) for values in (data["labels"], data["groups"], ids)))
    return texts.label(images, tuple(str(name) for name in data["channels"]), extra)


def _read_table(path: Path) -> PatchSet:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a table ({str(error).strip()}): give a CSV with the column file.") from error
    if "file" not in table or table.empty:
        raise InputError(f"{path} has the columns {', '.join(table.columns)}: it needs file, and for training label.")
    files = tuple(path.parent / name for name in table["file"])
    for file in files:
        if not file.exists():
            raise InputError(f"Image {file} of {path} does not exist: correct the column file.")
    ids = table["id"] if "id" in table else table["file"]
    labels = table["label"] if "label" in table else pd.Series([""] * len(table))
    groups = table.get("group", ids)
    texts = _Texts(*(np.asarray(column.to_numpy(np.str_)) for column in (labels, groups, ids)))
    extra = {
        str(name): table[name].to_numpy(np.str_)
        for name in table
        if name not in ("file", "label", "group", "id")
    }  # fmt: skip
    channels = _channel_names(path.parent, files[0])
    return texts.label(FileImages(files, channels), channels, extra)


def _read_folder(path: Path) -> PatchSet:
    """Take every image file of a folder, or every folder of maps in it, for an image without a label."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    files = tuple(entry for entry in entries if entry.is_file() and entry.suffix.lower() in _SUFFIXES)
    files = files or tuple(entry for entry in entries if entry.is_dir())
    if not files:
        raise InputError(f"{path} holds no image: give a folder with *.npz, patches.csv or image files.")
    names = np.array([file.name for file in files], np.str_)
    channels = _channel_names(path, files[0])
    return PatchSet(FileImages(files, channels), np.full(len(files), "", np.str_), names, names, channels)


def _channel_names(folder: Path, first: Path) -> tuple[str, ...]:
    """Return the names of the planes: those of ``channels.txt``, else those that the first image states."""
    listed = folder / CHANNELS
    if listed.is_file():
        return tuple(listed.read_text(encoding="utf-8").split())
    if first.suffix == ".npy":
        raise InputError(
            f"{folder} does not name the planes of its .npy files: write them into {CHANNELS}, one a line."
        )
    return open_section(first).channel_names
