"""A trained model for patches at work: probabilities of images, and the table of their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meteoseg.channels import ABSENT
from meteoseg.errors import InputError
from meteoseg.labels.certainty import mean_shares
from meteoseg.models import fast_bfloat16
from meteoseg.networks.folded import folded
from meteoseg.networks.unet import FULL_RESOLUTION
from meteoseg.patches.card import UNCLASSIFIED, PatchCard
from meteoseg.patches.dataset import PatchSet
from meteoseg.patches.images import Image
from meteoseg.patches.network import PatchFile, PatchNetwork, load_patch_network
from meteoseg.patches.prepare import Preparation
from meteoseg.system.memory import give_back

BATCH = 64
#: Axes of (B, C, rows, cols) that the views of a symmetry flip; those of the square are transposed as well.
_FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror-rows": ((), (2,)),
    "mirror-cols": ((), (3,)),
    "mirrors": ((), (2,), (3,), (2, 3)),
    "square": ((), (2,), (3,), (2, 3)),
}


@dataclass(frozen=True)
class PatchModel:
    """A model for patches.

    Examples
    --------
    ``load_patch_model("runs/particles").probabilities(read_patch_set("events"))``
    """

    file: PatchFile
    batch_size: int = BATCH

    @property
    def card(self) -> PatchCard:
        """What the model takes and delivers."""
        return self.file.card

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file."""
        return self.file.sha256

    def logits(self, patches: PatchSet, *, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
        """Return the logits (N, K) of images, uncalibrated.

        Raises
        ------
        ChannelError : a channel is missing.
        ShapeMismatchError : an image of a size that the network does not take.
        """
        prepare = Preparation(self.card, patches.channels)

        def image(index: int) -> Image:
            return prepare(patches.image(index), str(patches.ids[index]))

        return network_logits(self.file.network, image, len(patches), batch_size=self.batch_size, progress=progress)

    def probabilities(
        self, patches: PatchSet, *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """Return calibrated probabilities (N, K) of images, in the order of `card.classes`; see `logits`."""
        return mean_shares([self.logits(patches, progress=progress)], self.card.temperature)


def load_patch_model(name_or_path: str | Path, device: str | torch.device | None = None) -> PatchModel:
    """Load a model for patches; see `meteoseg.patches.network.load_patch_network`."""
    return PatchModel(load_patch_network(name_or_path, device))


def network_logits(
    network: PatchNetwork,
    image: Callable[[int], Image],
    count: int,
    *,
    batch_size: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the logits (count, K) float32 of prepared images, on the device that the network lies on."""
    device = next(network.parameters()).device
    forward = _forward(network.eval())
    out = np.empty((count, len(network.card.classes)), np.float32)
    with torch.inference_mode():
        for start in range(0, count, batch_size):
            stop = min(start + batch_size, count)
            batch = torch.from_numpy(np.stack([image(index) for index in range(start, stop)]))
            seen = [forward(view.to(device)) for view in views_of(batch, network.card.views)]
            out[start:stop] = torch.stack(seen).mean(dim=0).cpu().numpy()
            give_back()
            if progress is not None:
                progress(stop, count)
    return out


def _forward(network: PatchNetwork) -> Callable[[Tensor], Tensor]:
    """Return what maps images (B, C, P, P) to logits (B, K) float32, in the quickest form for the device."""
    device = next(network.parameters()).device
    if device.type == "cpu" and network.card.encoder == FULL_RESOLUTION:
        return _Folded(network, torch.bfloat16 if fast_bfloat16() else torch.float32)

    def plain(batch: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=batch.is_cuda):
            logits: Tensor = network(batch.contiguous(memory_format=torch.channels_last))
        return logits.float()

    return plain


class _Folded:
    """A network in its folded form, made once for each set of channels that images lack."""

    def __init__(self, network: PatchNetwork, dtype: torch.dtype) -> None:
        self.network, self.dtype = network, dtype
        self.made: dict[tuple[bool, ...], nn.Module] = {}

    def __call__(self, batch: Tensor) -> Tensor:
        """Map (B, C, P, P) to logits (B, K) float32."""
        out = batch.new_empty((len(batch), len(self.network.card.classes)))
        images = batch.to(self.dtype)
        kinds = images[:, :, 0, 0] != ABSENT
        for present in torch.unique(kinds, dim=0):
            chosen = (kinds == present).all(dim=1)
            part = images[chosen].contiguous(memory_format=torch.channels_last)
            out[chosen] = self._lean(present)(part).float()
        return out

    def _lean(self, present: Tensor) -> nn.Module:
        key = tuple(present.tolist())
        if key not in self.made:
            self.made[key] = folded(self.network, present, self.dtype)
        return self.made[key]


def views_of(images: Tensor, symmetry: str) -> Iterator[Tensor]:
    """Yield images (B, C, P, P) as they are, and as flips and turns of a symmetry show them.

    Examples
    --------
    >>> [len(list(views_of(torch.zeros(1, 1, 2, 2), name))) for name in ("none", "mirrors", "square")]
    [1, 4, 8]
    """
    for axes in _FLIPS[symmetry]:
        view = images.flip(axes)
        yield view
        if symmetry == "square":
            yield view.transpose(2, 3)


def classify_patches(
    model: PatchModel,
    patches: PatchSet,
    *,
    top: int = 3,
    min_probability: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Label images.

    Parameters
    ----------
    top : so many classes are listed, the most probable first.
    min_probability : under it the label is ``unclassified``; None: as the card says, 0: never.

    Returns
    -------
    Columns `id`, `group`, `label`, `probability` (of the most probable class, also where unclassified), then
    `class_1`, `probability_1`, `class_2`, ...

    Raises
    ------
    ChannelError, ShapeMismatchError : images that the network does not take.
    InputError : `top` or `min_probability` is not possible.
    """
    shares = model.probabilities(patches, progress=progress)
    table = label_table(shares, model.card, top=top, min_probability=min_probability)
    table.insert(0, "group", patches.groups.astype(object))
    table.insert(0, "id", patches.ids.astype(object))
    return table


def label_table(
    shares: NDArray[np.float32], card: PatchCard, *, top: int = 3, min_probability: float | None = None
) -> pd.DataFrame:
    """Return the labels of probabilities (N, K), as in `classify_patches`; rows of NaN are unclassified."""
    least = card.min_probability if min_probability is None else min_probability
    if not 0 <= least <= 1:
        raise InputError(f"--min-probability {least} is not possible: give a number from 0 to 1.")
    if top < 1:
        raise InputError(f"--top {top} is not possible: give 1 or more.")
    known = np.isfinite(shares).all(axis=1)
    order = np.argsort(-np.nan_to_num(shares), axis=1, kind="stable")[:, : min(top, shares.shape[1])]
    names = np.array([*card.classes, ""], dtype=object)
    best = np.take_along_axis(shares, order[:, :1], axis=1)[:, 0]
    label = np.where(known & (best >= least), names[order[:, 0]], UNCLASSIFIED)
    columns: dict[str, object] = {"label": label, "probability": best.round(4)}
    for place in range(order.shape[1]):
        chosen = np.take_along_axis(shares, order[:, place : place + 1], axis=1)[:, 0]
        columns[f"class_{place + 1}"] = np.where(known, names[order[:, place]], "")
        columns[f"probability_{place + 1}"] = chosen.round(4)
    return pd.DataFrame(columns)
