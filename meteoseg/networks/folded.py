"""The form in which a network runs: normalisation folded into the convolutions, activations fused with them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from meteoseg.networks.unet import PresentChannels

#: Convolution and activation in one pass of oneDNN; a private operation of torch, used where it exists.
_FUSED = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)


def folded(network: nn.Module, present: Tensor, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a trained network for inference, the same function at less work.

    Batch normalisation becomes part of the convolution before it, a rectifier after it is applied in the same pass,
    and the rule for absent channels (`unet.PresentChannels`), which are the same in all of a section, becomes part of
    the first weights. Other modules stay as they are.

    Parameters
    ----------
    network : in eval mode; not changed.
    present : (C,) bool, which input channels the section has.
    dtype : of weights, and of the images that it will be given (torch.bfloat16 or torch.float32).

    Examples
    --------
    >>> plain = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU()).eval()
    >>> [type(module).__name__ for module in folded(plain, torch.ones(2, dtype=torch.bool), torch.float32)]
    ['Convolution']
    """
    fused = _fold(copy.deepcopy(network).eval(), present).to(dtype)
    return fused.to(memory_format=torch.channels_last)


class Convolution(nn.Module):
    """A convolution with the rectifier behind it, where there is one."""

    def __init__(self, plain: nn.Conv2d, *, rectified: bool) -> None:
        super().__init__()
        self.plain, self.rectified = plain, rectified

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, K, H, W)."""
        plain = self.plain
        if not self.rectified:
            out: Tensor = plain(image)
            return out
        if _FUSED is not None and image.device.type == "cpu" and plain.padding_mode == "zeros":
            fused: Tensor = _FUSED(
                image, plain.weight, plain.bias, plain.padding, plain.stride, plain.dilation, plain.groups,
                "relu", [], "",
            )  # fmt: skip
            return fused
        return functional.relu_(plain(image))


def _fold(module: nn.Module, present: Tensor) -> nn.Module:
    """Fold the modules inside, in place; return what takes the place of the module itself."""
    if isinstance(module, PresentChannels):
        return _of_present(module, present) if len(present) == module.convolution.in_channels else module
    for name, child in list(module.named_children()):
        setattr(module, name, _fold(child, present))
    return _chained(module) if type(module) is nn.Sequential else module


def _chained(chain: nn.Sequential) -> nn.Sequential:
    """Join each convolution of a chain with the normalisation and the rectifier that follow it."""
    out: list[nn.Module] = []
    for module in chain:
        last = out[-1] if out else None
        if isinstance(module, nn.Conv2d):
            out.append(Convolution(module, rectified=False))
        elif not isinstance(last, Convolution) or last.rectified:
            out.append(module)
        elif isinstance(module, nn.BatchNorm2d):
            out[-1] = Convolution(fuse_conv_bn_eval(last.plain, module), rectified=False)
        elif isinstance(module, nn.ReLU):
            out[-1] = Convolution(last.plain, rectified=True)
        else:
            out.append(module)
    return nn.Sequential(*out)


def _of_present(layer: PresentChannels, present: Tensor) -> nn.Conv2d:
    """Return the convolution that the layer is for images that lack the same channels everywhere."""
    plain, weights = layer.convolution, layer.convolution.weight
    out = nn.Conv2d(plain.in_channels, plain.out_channels, 3, padding=1).eval()
    constant = layer.lacking((~present).to(weights)[None])[0]
    share = present.to(weights).mean().clamp(min=1 / len(present))
    with torch.no_grad():
        out.weight.copy_(weights * (present.to(weights) / share.sqrt())[None, :, None, None])
    out.bias = nn.Parameter(constant.detach())
    return out
