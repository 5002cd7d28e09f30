"""Batches of images for training: drawn by class, varied, repeatable by number; and held-out images in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from meteoseg.channels import ABSENT
from meteoseg.patches.card import PatchCard
from meteoseg.patches.config import PatchAugmentConfig, PatchConfig
from meteoseg.patches.images import Image
from meteoseg.train.augment import augment, drop_channels

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Labelled:
    """Prepared images with their classes: `image(i)` gives (C, P, P) float32; `classes` (N,) hold no -1."""

    image: Callable[[int], Image]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def class_chances(classes: NDArray[np.int64], n_classes: int, balance: float) -> NDArray[np.float64]:
    """Return the chance (N,) of each image to be drawn: classes by their share to the power of 1 - `balance`.

    Examples
    --------
    >>> class_chances(np.array([0, 0, 0, 1]), 2, 1.0).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    counts = np.bincount(classes, minlength=n_classes)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)[classes]
    return np.asarray(weights / weights.sum())


class TrainingBatches(IterableDataset[Batch]):
    """Endless batches of varied images; its number alone decides an image, so that a resumed run makes the same.

    A batch has ``image`` (B, C, P, P) float32 and ``label`` (B,) int64.
    """

    def __init__(self, data: Labelled, card: PatchCard, config: PatchConfig, *, start: int = 0) -> None:
        self.data, self.card, self.config, self.start = data, card, config, start
        balance = config.loss.class_balance if config.loss.balance == "sampler" else 0.0
        self.ends = np.cumsum(class_chances(data.classes, len(card.classes), balance))

    @cached_property
    def variation(self) -> Variation:
        """How images are varied."""
        return Variation(self.config.augment, self.card)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from image number `start` on; workers take turns."""
        size = self.config.optim.batch_size
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self.start + first * size
        while True:
            yield self.batch(range(number, number + size))
            number += step * size

    def batch(self, numbers: range) -> Batch:
        """Make the images of these numbers."""
        side = self.card.patch_px
        images = np.empty((len(numbers), self.card.n_planes, side, side), np.float32)
        labels = np.empty(len(numbers), np.int64)
        for place, number in enumerate(numbers):
            rng = np.random.default_rng([self.config.seed, 5, number])
            index = min(int(np.searchsorted(self.ends, rng.random())), len(self.data) - 1)
            images[place] = self.variation(self.data.image(index), rng)
            labels[place] = self.data.classes[index]
        return {"image": torch.from_numpy(images), "label": torch.from_numpy(labels)}


class OrderedBatches(IterableDataset[Batch]):
    """Each image once, as it is, in order."""

    def __init__(self, data: Labelled, batch_size: int) -> None:
        self.data, self.batch_size = data, batch_size

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches; workers take turns, which keeps the order."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for start in range(first * self.batch_size, len(self.data), step * self.batch_size):
            numbers = range(start, min(start + self.batch_size, len(self.data)))
            images = np.stack([self.data.image(index) for index in numbers])
            yield {
                "image": torch.from_numpy(images),
                "label": torch.from_numpy(self.data.classes[numbers.start : numbers.stop]),
            }


@dataclass(frozen=True)
class Variation:
    """Vary one prepared image (C, P, P): turns, place, size, contrast, noise, absent channels.

    What is 0 in all channels (cut surroundings, empty pixels of a detector) stays 0.
    """

    settings: PatchAugmentConfig
    card: PatchCard

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return a varied copy."""
        absent = image[:, 0, 0] == ABSENT
        planes = np.where(absent[:, None, None], np.float32(0), image) if absent.any() else image
        planes = turned(self._moved(planes, rng), self.settings.symmetry, rng)
        n_channels = len(self.card.channels)
        out = np.concatenate([self._changed(planes[:n_channels], rng), planes[n_channels:]])
        out[:n_channels][~self._kept(~absent[:n_channels], rng)] = ABSENT
        return out

    def _changed(self, values: Image, rng: Generator) -> Image:
        """Change contrast, blur and noise of channels (C, P, P)."""
        settings = self.settings
        if not (settings.gamma or settings.noise or settings.blur):
            # By far the quickest, and what detector images want.
            gain = np.exp(rng.normal(0, settings.gain, len(values))).astype(np.float32)
            return np.asarray(values * gain[:, None, None])
        empty = ~values.any(axis=0)
        tall = np.ascontiguousarray(values.transpose(1, 2, 0))
        no_targets = np.zeros((*tall.shape[:2], 1), np.uint8)
        varied = augment(tall, no_targets, rng, settings.of_values())[0].transpose(2, 0, 1)
        varied[:, empty] = 0
        return varied

    def _kept(self, present: NDArray[np.bool_], rng: Generator) -> NDArray[np.bool_]:
        if self.card.canonical:
            return drop_channels(present, rng, self.settings.channel_dropout)
        kept = present & (rng.random(len(present)) >= self.settings.drop_channel)
        return kept if kept.any() else present

    def _moved(self, planes: Image, rng: Generator) -> Image:
        """Zoom about the centre and shift; what comes in from outside is 0."""
        settings = self.settings
        if not settings.shift_px and settings.zoom == (1.0, 1.0):
            return planes
        factor = float(np.exp(rng.uniform(*np.log(settings.zoom))))
        shift = rng.integers(-settings.shift_px, settings.shift_px, size=2, endpoint=True)
        side = planes.shape[1]
        if factor == 1:
            return _shifted(planes, int(shift[0]), int(shift[1]))
        centre = (side - 1) / 2
        matrix = np.array(
            [[factor, 0, centre * (1 - factor) + shift[1]], [0, factor, centre * (1 - factor) + shift[0]]]
        )
        return np.stack([cv2.warpAffine(plane, matrix, (side, side), flags=cv2.INTER_LINEAR) for plane in planes])


def _shifted(planes: Image, rows: int, cols: int) -> Image:
    """Shift by whole pixels, which leaves the values as they are."""
    side = planes.shape[1]
    out = np.zeros_like(planes)
    to_rows, from_rows = slice(max(0, rows), side + min(0, rows)), slice(max(0, -rows), side - max(0, rows))
    to_cols, from_cols = slice(max(0, cols), side + min(0, cols)), slice(max(0, -cols), side - max(0, cols))
    out[:, to_rows, to_cols] = planes[:, from_rows, from_cols]
    return out


def turned(planes: Image, symmetry: str, rng: Generator) -> Image:
    """Return planes (C, P, P) after a flip or turn drawn from a symmetry, see `config.SYMMETRIES`."""
    draws = rng.integers(2, size=3)
    flip_rows = symmetry in ("square", "mirrors", "mirror-rows") and draws[0]
    flip_cols = symmetry in ("square", "mirrors", "mirror-cols") and draws[1]
    planes = planes[:, ::-1] if flip_rows else planes
    planes = planes[:, :, ::-1] if flip_cols else planes
    return planes.transpose(0, 2, 1) if symmetry == "square" and draws[2] else planes
