"""Late fusion: one encoder for BSE, one for the element channels, joined level by level before one decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meteoseg.elements import BSE
from meteoseg.errors import ChannelError, UnknownNameError
from meteoseg.expressions import parse_expression
from meteoseg.networks.unet import FullResolutionEncoder

#: Where the modalities meet: in the first convolution, or between the encoders and the decoder.
FUSIONS = ("early", "late")


def modality_planes(channels: Sequence[str]) -> dict[str, list[int]]:
    """Return which input planes go to the encoder of each modality.

    Expressions of BSE alone are ``bse``; all others, mixed ones too, are ``elements``.

    Raises
    ------
    ChannelError : one of the two modalities has no channel.

    Examples
    --------
    >>> modality_planes(["Mg", "BSE", "Fe / Mg", "gaussian(BSE, 2)"])
    {'bse': [1, 3], 'elements': [0, 2]}
    """
    of_bse = [set(parse_expression(text).channels) == {BSE} for text in channels]
    planes = {
        "bse": [at for at, is_bse in enumerate(of_bse) if is_bse],
        "elements": [at for at, is_bse in enumerate(of_bse) if not is_bse],
    }
    if not all(planes.values()):
        raise ChannelError(
            f"Late fusion needs BSE and at least one element, got the channels {', '.join(channels)}: "
            'add what lacks, or take fusion = "early".'
        )
    return planes


def check_fusion(fusion: str, channels: Sequence[str]) -> None:
    """Check that channels can be joined in this way.

    Raises
    ------
    UnknownNameError : neither ``early`` nor ``late``.
    ChannelError : ``late`` without BSE or without an element.
    """
    if fusion not in FUSIONS:
        raise UnknownNameError.of("fusion", fusion, FUSIONS)
    if fusion == "late":
        modality_planes(channels)


class ByModality(nn.Module):
    """The same kind of module for each modality; `parts` hands every one its own planes of the image.

    Parameters
    ----------
    planes : modality -> planes of the image, as `modality_planes` returns them.
    make : builds a module for a number of input planes.
    """

    def __init__(self, planes: Mapping[str, list[int]], make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({name: make(len(at)) for name, at in planes.items()})
        for name, at in planes.items():
            self.register_buffer(f"at_{name}", torch.tensor(at), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Add the outputs of the branches."""
        return torch.stack(self.parts(image)).sum(dim=0)

    def parts(self, image: Tensor) -> list[Any]:
        """Return the output of every branch for (B, C, H, W)."""
        return [branch(image.index_select(1, self.get_buffer(f"at_{name}"))) for name, branch in self.branches.items()]


class SummedEncoders(nn.Module):
    """One `FullResolutionEncoder` per modality; their feature maps add at each level.

    Sums (as in FuseNet, Hazirbas et al. 2016, doi:10.1007/978-3-319-54181-5_14) need no parameter and leave decoder
    and head those of the UNet with early fusion, so that the second encoder is all that differs; concatenation
    with a 1 x 1 convolution would add two thirds of another encoder, nearly all at the coarsest level.

    Parameters
    ----------
    planes : modality -> planes of the image, as `modality_planes` returns them.
    widths : planes of each level, finest first.
    """

    def __init__(self, planes: Mapping[str, list[int]], widths: Sequence[int]) -> None:
        super().__init__()
        self.encoders = ByModality(planes, lambda n_planes: FullResolutionEncoder(n_planes, widths))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to the summed features of each level, finest first."""
        return [torch.stack(level).sum(dim=0) for level in zip(*self.encoders.parts(image), strict=True)]
