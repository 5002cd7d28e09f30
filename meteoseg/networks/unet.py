"""A plain UNet whose first level keeps the full resolution, so that seams one pixel wide between grains survive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from meteoseg.channels import ABSENT

#: Name that asks for this UNet where an encoder is named.
FULL_RESOLUTION = "full-resolution"
#: Levels that inputs of a multiple of 32 pixels allow.
MAX_LEVELS = 6


class PresentChannels(nn.Module):
    """A 3 x 3 convolution of the channels that a section has; those it lacks (`channels.ABSENT`) count for nothing.

    Convolved as they are, absent channels would shift every output plane by a constant of their number, larger than
    what the image says, and batch normalisation over sections of different channels would take it for contrast.
    What is there is scaled by the square root of 1 / share, which keeps the variance; what lacks adds a constant.

    Parameters
    ----------
    planes, width : input and output planes.

    Examples
    --------
    >>> layer = PresentChannels(2, 4)
    >>> image = torch.full((1, 2, 8, 8), ABSENT)
    >>> bool((layer(image) == 0).all())
    True
    """

    def __init__(self, planes: int, width: int) -> None:
        super().__init__()
        self.convolution = _convolution(planes, width)
        self.lacking = nn.Linear(planes, width, bias=False)
        nn.init.zeros_(self.lacking.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width, H, W)."""
        present = image[:, :, 0, 0] != ABSENT
        share = present.float().mean(dim=1, keepdim=True).clamp(min=1 / present.shape[1])
        values = image * (present / share.sqrt()).to(image.dtype)[:, :, None, None]
        planes: Tensor = self.convolution(values) + self.lacking((~present).to(image.dtype))[:, :, None, None]
        return planes


class FullResolutionEncoder(nn.Module):
    """Two 3 x 3 convolutions per level, halved between the levels; the first level has every pixel.

    Encoders made for the classification of photographs halve the resolution in their first convolution.

    Parameters
    ----------
    planes : input planes.
    widths : planes of each level, finest first.

    Examples
    --------
    >>> [tuple(level.shape) for level in FullResolutionEncoder(3, (8, 16))(torch.zeros(1, 3, 32, 64))]
    [(1, 8, 32, 64), (1, 16, 16, 32)]
    """

    def __init__(self, planes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        first = PresentChannels(planes, widths[0])
        coarser = (_convolution(wide, width) for wide, width in pairwise(widths))
        self.levels = nn.ModuleList(
            _level(layer, width) for layer, width in zip((first, *coarser), widths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to one (B, width, H / 2^i, W / 2^i) per level i."""
        features: list[Tensor] = []
        for level in self.levels:
            features.append(level(functional.max_pool2d(features[-1], 2) if features else image))
        return features


class FullResolutionUnet(nn.Module):
    """A UNet in the shape of Ronneberger et al. (2015, arXiv:1505.04597), with normalised and padded convolutions.

    Parameters
    ----------
    encoder : maps the image to features of `widths`, finest first; a `FullResolutionEncoder` or several, summed.
    widths : planes of each level, finest first.
    classes : planes of the output.

    Examples
    --------
    >>> unet = FullResolutionUnet(FullResolutionEncoder(3, (8, 16)), (8, 16), classes=4)
    >>> tuple(unet.eval()(torch.zeros(1, 3, 64, 32)).shape)
    (1, 4, 64, 32)
    """

    def __init__(self, encoder: nn.Module, widths: Sequence[int], *, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.levels = nn.ModuleList(
            _level(_convolution(fine + coarse, fine), fine) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) normalised channels to (B, K, H, W) logits; H and W divisible by 2 per level but one."""
        *features, coarse = self.encoder(image)
        for fine, level in zip(reversed(features), reversed(self.levels), strict=True):
            coarse = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
            coarse = level(torch.cat([fine, coarse], dim=1))
        logits: Tensor = self.head(coarse)
        return logits


def _convolution(planes: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(planes, width, 3, padding=1, bias=False)


def _level(first: nn.Module, width: int) -> nn.Sequential:
    """Normalise and cut off what `first` makes, and convolve once more."""
    return nn.Sequential(
        first,
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        _convolution(width, width),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
