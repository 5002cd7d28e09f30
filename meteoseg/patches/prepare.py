"""From an image as measured to the input of a network: channels, normalisation, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.channels import ABSENT, HIGH_QUANTILE, LOW_QUANTILE, Normalisation
from meteoseg.errors import ChannelError, InputError, ShapeMismatchError
from meteoseg.expressions import Expression, parse_expression
from meteoseg.patches.card import PatchCard
from meteoseg.patches.dataset import PatchSet
from meteoseg.patches.images import Image

#: A channel of which more than this share is exactly 0 is sparse: 0 stays 0, and its statistics are of the rest.
SPARSE_SHARE = 0.5
#: Images, and pixels of each, from which the normalisation of a data set is taken.
_SAMPLE_IMAGES, _SAMPLE_PX = 400, 4000


@dataclass(frozen=True)
class Preparation:
    """Bring images with the planes `names` to the input of the network of `card`.

    Raises
    ------
    ChannelError : an image lacks a channel that the network takes.
    """

    card: PatchCard
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.card.canonical:
            if not set(self.names) & set(self.card.channels):
                raise _missing(self.card.channels[0], self.names)
            return
        for expression in self._expressions:
            for name in (expression,) if isinstance(expression, str) else expression.channels:
                if name not in self.names:
                    raise _missing(name, self.names)

    @cached_property
    def _expressions(self) -> list[str | Expression]:
        return channel_readers(self.card.channels, self.names)

    def __call__(self, image: Image, name: str) -> Image:
        """Return (C, patch_px, patch_px) float32 from one image (C, H, W); `name` is for messages.

        Raises
        ------
        ShapeMismatchError : the image has another size than a network with ``fit = "exact"`` takes.
        """
        card = self.card
        check_size(image.shape[1:], card.patch_px, card.fit, name)
        planes = self._select(image)
        if card.canonical:
            absent = planes[:, 0, 0] == ABSENT
            planes[~absent] = _normalised(planes[~absent], card)
            out = to_size(planes, card.patch_px, card.fit)
            out[absent] = ABSENT
        else:
            out = to_size(_normalised(planes, card), card.patch_px, card.fit)
        if card.mask == "plane":
            # A whole image is all object.
            out = np.concatenate([out, np.ones((1, card.patch_px, card.patch_px), np.float32)])
        return out

    def _select(self, image: Image) -> Image:
        """Return the channels of the network as measured; `ABSENT` where a canonical one lacks."""
        values = dict(zip(self.names, image, strict=True))
        if not self.card.canonical:
            return np.stack([value_of(expression, values) for expression in self._expressions])
        lacking = np.full(image.shape[1:], ABSENT, np.float32)
        return np.stack([values.get(name, lacking) for name in self.card.channels])


def _missing(name: str, names: Sequence[str]) -> ChannelError:
    return ChannelError(
        f"Channel '{name}' is missing from the images (they have {', '.join(names)}): give images with it, or name "
        "their planes in channels.txt."
    )


def channel_readers(channels: Sequence[str], names: Sequence[str]) -> list[str | Expression]:
    """Return plain names as they are, and all else as parsed expressions.

    Raises
    ------
    ChannelError : an expression that does not parse, or one that would have to be fitted to a whole section.
    """
    readers: list[str | Expression] = []
    for text in channels:
        if text in names:
            readers.append(text)
            continue
        if text.isidentifier():
            raise _missing(text, names)
        expression = parse_expression(text)
        if expression.needs_fit:
            raise ChannelError(f"Channel '{text}' is fitted to a whole section: it cannot be had of single images.")
        readers.append(expression)
    return readers


def value_of(expression: str | Expression, values: dict[str, Image]) -> Image:
    """Return the plane (H, W) of a name or an expression; what is not finite counts as 0."""
    if isinstance(expression, str):
        finite = np.isfinite(values[expression])
        return values[expression] if finite.all() else np.where(finite, values[expression], np.float32(0))
    return expression.evaluate(values)


def check_size(shape: tuple[int, ...], patch_px: int, fit: str, name: str) -> None:
    """Check that an image can be brought to the input.

    Raises
    ------
    ShapeMismatchError : it cannot; the message says what to do.
    """
    size = f"{shape[0]} x {shape[1]} px (rows x cols)"
    if min(shape) < 1:
        raise ShapeMismatchError(f"Image {name} is {size}: give images of one pixel at least.")
    if fit == "exact" and tuple(shape) != (patch_px, patch_px):
        raise ShapeMismatchError(
            f"Image {name} is {size} but the network takes {patch_px} x {patch_px}: cut the images to that, or train "
            'with fit = "resize" or "pad".'
        )
    if fit == "pad" and max(shape) > patch_px:
        raise ShapeMismatchError(
            f"Image {name} is {size}, larger than the {patch_px} x {patch_px} of the network: cut it, or train with "
            'fit = "resize".'
        )


def to_size(planes: Image, patch_px: int, fit: str) -> Image:
    """Bring planes (C, H, W) to (C, patch_px, patch_px): by area means or linear interpolation, or centred in 0.

    Images that are not square keep their shape in the middle, with 0 beside it.

    Examples
    --------
    >>> to_size(np.ones((1, 2, 4), np.float32), 4, "resize")[0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    rows, cols = planes.shape[1:]
    if (rows, cols) == (patch_px, patch_px):
        return np.asarray(planes, np.float32)
    if fit == "resize":
        scale = patch_px / max(rows, cols)
        rows, cols = max(1, round(rows * scale)), max(1, round(cols * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, (cols, rows), interpolation=how) for plane in planes])
    top, left = (patch_px - rows) // 2, (patch_px - cols) // 2
    out = np.zeros((len(planes), patch_px, patch_px), np.float32)
    out[:, top : top + rows, left : left + cols] = planes
    return out


def _normalised(planes: Image, card: PatchCard) -> Image:
    if card.normalisation == "none":
        return planes
    if card.normalisation == "dataset":
        return Normalisation(card.channels, card.zero, card.scale).apply(planes)
    fitted = [zero_and_scale(plane) for plane in planes]
    names = tuple(str(number) for number in range(len(planes)))
    zero, scale = (tuple(part) for part in zip(*fitted, strict=True)) if fitted else ((), ())
    return Normalisation(names, zero, scale).apply(planes)


def zero_and_scale(values: NDArray[Any]) -> tuple[float, float]:
    """Return what becomes 0 and by what is divided: quantiles of the values, without the 0 of a sparse channel.

    Examples
    --------
    >>> sparse = np.zeros(1000)
    >>> sparse[:5] = [1, 2, 3, 4, 5]
    >>> zero_and_scale(np.arange(201.0)), zero_and_scale(sparse)
    ((1.0, 198.0), (0.0, 4.98))
    """
    flat = np.ravel(values)
    empty = flat == 0
    sparse = bool(empty.mean() > SPARSE_SHARE) if flat.size else False
    used = flat[~empty] if sparse else flat
    used = used[np.isfinite(used)]
    if not used.size:
        return 0.0, 0.0
    low, high = (float(edge) for edge in np.quantile(used, (LOW_QUANTILE, HIGH_QUANTILE)))
    low = 0.0 if sparse else low
    return low, max(0.0, (high if high > low else float(used.max())) - low)


def fit_dataset(patches: PatchSet, channels: Sequence[str], *, seed: int) -> tuple[tuple[float, ...], ...]:
    """Return zero and scale of each channel from some pixels of some images; of a sparse channel from all of theirs.

    Raises
    ------
    InputError : no image.
    """
    rng = np.random.default_rng([seed, 11])
    if not len(patches):
        raise InputError("There is no image to take the normalisation from: give some.")
    readers = channel_readers(channels, patches.channels)
    chosen = rng.permutation(len(patches))[:_SAMPLE_IMAGES]
    samples: list[list[NDArray[Any]]] = [[] for _ in channels]
    for index in chosen:
        values = dict(zip(patches.channels, patches.image(int(index)), strict=True))
        for sample, reader in zip(samples, readers, strict=True):
            flat = value_of(reader, values).ravel()
            hits = flat[flat != 0]
            few = flat if flat.size <= _SAMPLE_PX else flat[rng.integers(flat.size, size=_SAMPLE_PX)]
            # Of a channel that is nearly all 0 a few pixels would hold no signal.
            sample.append(np.concatenate([hits, np.zeros(hits.size + 1)]) if hits.size < flat.size / 2 else few)
    fitted = [zero_and_scale(np.concatenate(sample)) for sample in samples]
    return tuple(zip(*fitted, strict=True))
