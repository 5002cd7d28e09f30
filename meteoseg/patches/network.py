"""One label for a stack of channels: encoders, pooled, and one linear layer; the file that the network lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from meteoseg.errors import InputError
from meteoseg.models import pretrained_or_random, pretrained_weights
from meteoseg.networks.files import file_sha256, find_model, read_card_text, read_tensors, write_tensors
from meteoseg.networks.unet import FULL_RESOLUTION, FullResolutionEncoder
from meteoseg.patches.card import PatchCard

_SMP_DEPTH = 5


class PatchNetwork(nn.Module):
    """Encoders, global average and maximum of their last features, dropout, one linear layer.

    With ``early`` fusion one encoder sees all channels; with ``late`` every branch of channels has an encoder of its
    own; with ``shared`` one encoder sees branch after branch (Bromley et al. 1993's twin networks). Pooled features
    of the branches lie side by side before the head.

    Examples
    --------
    >>> card = PatchCard("n", ("a", "b", "c"), ("U", "V"), patch_px=32, widths=(4, 8), fusion="shared")
    >>> tuple(PatchNetwork(card).eval()(torch.zeros(5, 2, 32, 32)).shape)
    (5, 3)
    """

    def __init__(self, card: PatchCard, *, pretrained: bool = False) -> None:
        super().__init__()
        self.card = card
        self.planes = card.branch_planes()
        made = self.planes[:1] if card.fusion == "shared" else self.planes
        self.encoders = nn.ModuleList(_encoder(card, len(planes), pretrained=pretrained) for planes in made)
        width = sum(2 * _last_width(self._encoder_of(branch)) for branch in range(len(self.planes)))
        self.head = nn.Sequential(nn.Dropout(card.dropout), nn.Linear(width, len(card.classes)))

    def _encoder_of(self, branch: int) -> nn.Module:
        return self.encoders[0 if len(self.encoders) == 1 else branch]

    def features(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) normalised channels to (B, F) pooled features."""
        pooled = []
        for branch, planes in enumerate(self.planes):
            part = image if len(planes) == image.shape[1] else image[:, planes]
            last: Tensor = self._encoder_of(branch)(part)[-1]
            pooled += [last.mean(dim=(2, 3)), last.amax(dim=(2, 3))]
        return torch.cat(pooled, dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) normalised channels to (B, K) logits."""
        logits: Tensor = self.head(self.features(image))
        return logits


def _encoder(card: PatchCard, planes: int, *, pretrained: bool) -> nn.Module:
    if card.encoder == FULL_RESOLUTION:
        return FullResolutionEncoder(planes, card.widths)
    # Loaded only where it is needed: it takes seconds and 150 MB.
    import segmentation_models_pytorch as smp

    weights = pretrained_weights(card.encoder) if pretrained else None
    try:
        found: nn.Module = smp.encoders.get_encoder(card.encoder, in_channels=planes, depth=_SMP_DEPTH, weights=weights)
    except (KeyError, ValueError) as error:
        reason = str(error).strip("'\"").split("\n")[0][:120]
        raise InputError(
            f"Encoder '{card.encoder}' is not possible ({reason}): give {FULL_RESOLUTION}, or a name of "
            "segmentation-models-pytorch such as resnet18."
        ) from error
    return found


def _last_width(encoder: nn.Module) -> int:
    if isinstance(encoder, FullResolutionEncoder):
        return int(encoder.widths[-1])
    channels = cast("Sequence[int]", encoder.out_channels)
    return int(channels[-1])


def build_patch_network(card: PatchCard, *, pretrained: bool = False) -> tuple[PatchNetwork, tuple[str, ...]]:
    """Make a fresh network and notes for its card; see `meteoseg.models.build_network`."""

    def make(wanted: bool) -> PatchNetwork:
        return PatchNetwork(card, pretrained=wanted)

    return pretrained_or_random(make, card.encoder, pretrained=pretrained)


def start_from(network: PatchNetwork, model: PatchFile) -> tuple[str, ...]:
    """Give a network the encoder weights of a model; return the notes for its card.

    Raises
    ------
    InputError : its encoders are others.
    """
    given = model.network.encoders.state_dict()
    wanted = network.encoders.state_dict()
    if {key: value.shape for key, value in given.items()} != {key: value.shape for key, value in wanted.items()}:
        raise InputError(
            f"[network] start: the encoder of '{model.card.name}' ({model.card.encoder}, {model.card.n_planes} planes, "
            f"{model.card.fusion} fusion) is not that of this training: use the same channels, encoder and widths."
        )
    network.encoders.load_state_dict(given)
    return (f"encoder started from model '{model.card.name}' (SHA-256 {model.sha256})",)


@dataclass(frozen=True)
class PatchFile:
    """A network for patches (in eval mode) with its card, and the file that it came from."""

    card: PatchCard
    network: PatchNetwork
    path: Path
    sha256: str


def save_patch_network(path: Path, card: PatchCard, network: PatchNetwork) -> Path:
    """Write a model file: the tensors in half precision, the card as JSON beside them."""
    return write_tensors(path, card.to_json(), network.state_dict())


def load_patch_network(name_or_path: str | Path, device: str | torch.device | None = None) -> PatchFile:
    """Load a model for patches onto `device` (None: CUDA where there is one, else the processor).

    Parameters
    ----------
    name_or_path : a shipped name, a model file, or a folder that a training wrote.

    Raises
    ------
    UnknownNameError : no such model.
    InputError : the file is damaged or is no model for patches.
    """
    path = find_model(name_or_path)
    card = PatchCard.from_json(read_card_text(path))
    network = PatchNetwork(card)
    try:
        network.load_state_dict({key: _single(value) for key, value in read_tensors(path).items()})
    except RuntimeError as error:
        raise InputError(f"Model {path} lacks weights of its network: the file is damaged.") from error
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network.to(target).to(memory_format=torch.channels_last)
    return PatchFile(card, network.eval(), path, file_sha256(path))


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
