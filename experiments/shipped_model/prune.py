"""Start a narrower UNet from a trained one: keep the planes of each convolution that say most.

    python experiments/shipped_model/prune.py runs/fine_on runs/fine_narrow_start.safetensors 64 64 48 32 24

A plane counts by the scale of its batch normalisation times the norm of the weights that read it (after Liu et al.
2017, arXiv:1708.06519). Widths are those of `decoder_channels`, coarsest level first. The result must be taught on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from meteoseg.models import Network, load_model, save_model
from meteoseg.networks.unet import PresentChannels


def first_convolution(level: nn.Sequential) -> nn.Conv2d:
    """Return the first convolution of a level."""
    return level[0].convolution if isinstance(level[0], PresentChannels) else level[0]


def strongest(norm: nn.BatchNorm2d, readers: list[Tensor], wanted: int) -> Tensor:
    """Return the planes to keep, ascending; `readers` are the weights (out, planes, ...) that read them."""
    read = sum(weights.flatten(2).norm(dim=2).norm(dim=0) for weights in readers)
    return (norm.weight.abs() * read).topk(wanted).indices.sort().values


def narrow(network: Network, widths: tuple[int, ...]) -> Network:
    """Return a network of `widths` (finest first) with the strongest planes of `network`."""
    old = network.unet
    small = Network(replace(network.card, decoder_channels=widths[::-1]))
    new = small.unet
    count = len(widths)
    inner, outer, inner_up, outer_up = {}, {}, {}, {}
    for i, level in enumerate(old.encoder.levels):
        inner[i] = strongest(level[1], [level[3].weight], widths[i])
        readers = []
        if i + 1 < count:
            readers.append(first_convolution(old.encoder.levels[i + 1]).weight)
            readers.append(first_convolution(old.levels[i]).weight[:, : level[4].num_features])
        else:
            readers.append(first_convolution(old.levels[i - 1]).weight[:, -level[4].num_features :])
        outer[i] = strongest(level[4], readers, widths[i])
    for i, level in enumerate(old.levels):
        inner_up[i] = strongest(level[1], [level[3].weight], widths[i])
        reader = old.head.weight if i == 0 else first_convolution(old.levels[i - 1]).weight[:, -level[4].num_features :]
        outer_up[i] = strongest(level[4], [reader], widths[i])
    with torch.no_grad():
        for i in range(count):
            read = torch.arange(first_convolution(old.encoder.levels[0]).in_channels) if i == 0 else outer[i - 1]
            copy_level(old.encoder.levels[i], new.encoder.levels[i], read, inner[i], outer[i])
        for i in range(count - 1):
            coarse = outer[i + 1] if i + 2 == count else outer_up[i + 1]
            read = torch.cat([outer[i], coarse + old.encoder.levels[i][4].num_features])
            copy_level(old.levels[i], new.levels[i], read, inner_up[i], outer_up[i])
        new.head.weight.copy_(old.head.weight[:, outer_up[0]])
        new.head.bias.copy_(old.head.bias)
    return small


def copy_level(old: nn.Sequential, new: nn.Sequential, read: Tensor, inner: Tensor, outer: Tensor) -> None:
    """Copy the planes `inner` and `outer` of a level that reads the planes `read`."""
    if isinstance(old[0], PresentChannels):
        new[0].lacking.weight.copy_(old[0].lacking.weight[inner])
    first_convolution(new).weight.copy_(first_convolution(old).weight[inner][:, read])
    new[3].weight.copy_(old[3].weight[outer][:, inner])
    for place, kept in ((1, inner), (4, outer)):
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new[place], name).copy_(getattr(old[place], name)[kept])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("widths", type=int, nargs="+", metavar="WIDTH")
    options = parser.parse_args()
    model = load_model(options.model, device="cpu")
    (network,) = model.networks.values()
    small = narrow(network, tuple(options.widths[::-1]))
    notes = (*model.card.notes, f"narrowed from {network.card.decoder_channels} to {small.card.decoder_channels}")
    card = replace(model.card, networks=(small.card,), notes=notes)
    save_model(options.out, card, {small.card.name: small.state_dict()})


if __name__ == "__main__":
    main()
