"""Run the networks of a model on a section: input channels, the grid of each network, class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meteoseg.certainty import Calibration, lowest_thresholds, nearest_calibration
from meteoseg.channels import ABSENT, Normalisation, fit_normalisation
from meteoseg.errors import ChannelError, PixelSizeError
from meteoseg.expressions import parse_expression
from meteoseg.grid import Window
from meteoseg.models import ModelCard, Network, NetworkCard
from meteoseg.predict import Read, predict_tiles
from meteoseg.resample import Regrid
from meteoseg.section import Section, Stack

FloatArray = NDArray[np.floating[Any]]

#: A section whose shorter side has fewer coarse pixels than this is run on a finer grid.
SMALL_SIDE_PX = 256
#: Largest class maps kept in memory, in values (probabilities of all classes, half precision).
MAX_COARSE_VALUES = 2_000_000_000


@dataclass
class Inputs:
    """The input channels of networks, normalised once per section (and per set of expressions)."""

    source: Section | Stack
    normalisations: dict[tuple[str, ...], Normalisation] = field(default_factory=dict)

    @property
    def section(self) -> Section:
        """The section behind the source."""
        return self.source if isinstance(self.source, Section) else self.source.section

    def check(self, card: ModelCard) -> None:
        """Check that every network of a model can be fed.

        Raises
        ------
        ChannelError : a stack that is not what a network takes, or channels that the section lacks.
        """
        for network in card.networks:
            self._stack(network)
            if network.canonical and not set(network.channels) & set(self.section.channel_names):
                raise ChannelError(
                    f"Model '{card.name}' knows {', '.join(network.channels)}; "
                    f"'{self.section.name}' has {', '.join(self.section.channel_names)}. Name files with --channels."
                )

    def reader(self, network: NetworkCard, grid: Regrid) -> Read:
        """Return the function that gives the normalised input planes (h, w) of a window of `grid`, one by one."""
        stack, fitted = self._stack(network), self.fit(network)
        if stack is None:
            return partial(_canonical_planes, self.section, fitted, network.channels, grid)
        read_stack = stack.read
        return lambda window: grid.read(lambda own: fitted.apply(read_stack(own)), window)

    def fit(self, network: NetworkCard) -> Normalisation:
        """Return the normalisation of the channels that a network takes, fitted to the whole section once."""
        stack = self._stack(network)
        if stack is None:
            return self._fit(self.section, tuple(name for name in network.channels if name in self.section.channels))
        return self._fit(stack, network.channels)

    def _stack(self, network: NetworkCard) -> Stack | None:
        """Return what a network reads; None for the canonical channels."""
        if isinstance(self.source, Stack):
            wanted = tuple(parse_expression(text).text for text in network.channels)
            if self.source.names not in (network.channels, wanted):
                raise ChannelError(
                    f"The stack has the channels {list(self.source.names)} but the model takes "
                    f"{list(network.channels)}: select those, in that order, or hand over the section."
                )
            return self.source
        return None if network.canonical else self.section.select(network.channels)

    def _fit(self, source: Section | Stack, names: tuple[str, ...]) -> Normalisation:
        if names not in self.normalisations:
            chosen = names if isinstance(source, Section) else None
            self.normalisations[names] = fit_normalisation(source, chosen)
        return self.normalisations[names]


def choose_grid(card: NetworkCard, section: Section, um_per_px: float | None = None) -> Regrid:
    """Choose the grid a network runs on.

    A network with `um_per_px` runs on square pixels of that size, or on a coarser section's own pixels; a section
    whose shorter side would have under 256 of them gets finer ones, down to the smallest size the network was
    trained for. Another size can be asked for. A network without `um_per_px` runs on the section's own grid.

    Raises
    ------
    PixelSizeError : the grid would be too large for memory (a pixel size that is far from the truth).
    """
    if card.um_per_px is None:
        return Regrid(section.shape, section.shape, (1.0, 1.0))
    size_um = section.require_pixel_size()
    side_um = min(length * size for length, size in zip(section.shape, size_um, strict=True))
    finest_um = min(card.um_per_px, (card.um_per_px_range or (card.um_per_px,))[0])
    um_per_px = um_per_px or min(card.um_per_px, max(finest_um, side_um / SMALL_SIDE_PX))
    grid = Regrid.at_least(section.shape, size_um, um_per_px)
    if grid.target[0] * grid.target[1] * sum(card.widths.values()) > MAX_COARSE_VALUES:
        raise PixelSizeError(
            f"At {size_um[0]:g} um per pixel '{section.name}' would be {grid.target[0]} x {grid.target[1]} pixels "
            f"of {um_per_px:g} um for the network '{card.name}': check --pixel-size (or --chondrule-pixel)."
        )
    return grid


def describe_grid(card: NetworkCard, section: Section, grid: Regrid, *, asked: bool = False) -> str:
    """Say in a sentence on which pixels a network runs, and, unless `asked` for, that it was trained on others."""
    if card.um_per_px is None:
        return f"Network '{card.name}' ran on the section's own pixels."
    size_um = section.require_pixel_size()
    um_per_px = grid.step[0] * size_um[0]
    if np.allclose(grid.step, 1):
        text = f"Network '{card.name}' ran on the section's own pixels of {um_per_px:.3g} um"
    else:
        text = (
            f"Network '{card.name}' ran on maps averaged from {size_um[0]:g} to {um_per_px:.3g} um per pixel, and back"
        )
    low, high = card.um_per_px_range or (card.um_per_px, card.um_per_px)
    if not asked and not 0.99 * low <= um_per_px <= 1.01 * high:
        text += f" (it was trained on {low:g} to {high:g} um: objects look larger or smaller than it expects)"
    return text + "."


@dataclass(frozen=True)
class Runner:
    """How networks are run: averaging over flips and rotations, and a function told how many tiles are done.

    `tta` None averages the networks that run on coarse pixels of their own (`um_per_px`), where it costs little.
    Pixels under `min_probability` become ``unclassified`` in the phases. None: as the card says; 0: no pixel, whatever
    its lead. `um_per_px` replaces the pixel size of networks that have one of their own.
    """

    inputs: Inputs
    tta: bool | None = None
    progress: Callable[[int, int], None] | None = None
    min_probability: float | None = None
    um_per_px: float | None = None

    def grid(self, card: NetworkCard) -> Regrid:
        """Return the grid a network runs on."""
        return choose_grid(card, self.inputs.section, self.um_per_px)

    def calibration(self, card: NetworkCard, layer: str) -> Calibration | None:
        """Return the calibration of a layer that fits the channels of the section best; None without any."""
        channels = self.inputs.section.channel_names if card.canonical else card.channels
        return nearest_calibration(card.calibration, layer, channels)

    def temperature(self, card: NetworkCard, layer: str) -> float:
        """Return what divides the logits of a layer; 1 for a network that was never calibrated."""
        found = self.calibration(card, layer)
        return 1.0 if found is None else found.temperature

    def thresholds(self, card: NetworkCard, layer: str) -> tuple[float, float]:
        """Return the probability and the lead under which a pixel of `layer` is ``unclassified``."""
        if self.min_probability == 0:
            return 0.0, -np.inf
        channels = self.inputs.section.channel_names if card.canonical else card.channels
        probability, lead = lowest_thresholds(card.calibration, layer, channels)
        return probability if self.min_probability is None else self.min_probability, lead

    def averages(self, card: NetworkCard) -> bool:
        """Whether a network is averaged over the flips and rotations of each window."""
        return card.um_per_px is not None if self.tta is None else self.tta

    def tiles(self, network: Network, grid: Regrid) -> Generator[tuple[Window, dict[str, Tensor]], None, None]:
        """Yield windows of the network's grid with {layer: logits (K, h, w)}, every pixel once, top to bottom."""
        card = network.card
        read = self.inputs.reader(card, grid)
        found = predict_tiles(network, read, grid.target, tta=self.averages(card), progress=self.progress)
        with closing(found) as windows:
            for window, logits in windows:
                yield window, dict(zip(card.widths, torch.split(logits, list(card.widths.values())), strict=True))

    def probabilities(self, network: Network, grid: Regrid) -> dict[str, NDArray[np.float16]]:
        """Return {layer: (K, H, W) calibrated probabilities} of the network's whole grid in half precision."""
        out = {layer: np.zeros((width, *grid.target), np.float16) for layer, width in network.card.widths.items()}
        with closing(self.tiles(network, grid)) as tiles:
            for window, layers in tiles:
                for layer, logits in layers.items():
                    values = logits.float()
                    share = values.sigmoid() if layer == "distance" else self._softmax(network.card, layer, values)
                    out[layer][:, *window.slices] = share.numpy()
        return out

    def best(
        self, network: Network, grid: Regrid, layer: str, *, excluded: Sequence[int] = (), merged: Mapping[int, int]
    ) -> Generator[tuple[Window, NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]], None, None]:
        """Yield windows of the network's grid with the best class of a layer, its probability and its lead, (h, w).

        See `best_of_logits`.
        """
        temperature = self.temperature(network.card, layer)
        with closing(self.tiles(network, grid)) as tiles:
            for window, layers in tiles:
                found = best_of_logits(layers[layer], temperature, excluded=excluded, merged=merged)
                yield window, *found

    def share(
        self, network: Network, grid: Regrid, layer: str, plane: int
    ) -> Generator[tuple[Window, NDArray[np.float32]], None, None]:
        """Yield windows of the network's grid with the probability of one class of a layer (h, W)."""
        with closing(self.tiles(network, grid)) as tiles:
            for window, layers in tiles:
                yield window, self._softmax(network.card, layer, layers[layer].float())[plane].numpy()

    def _softmax(self, card: NetworkCard, layer: str, logits: Tensor) -> Tensor:
        return torch.softmax(logits / self.temperature(card, layer), dim=0)


def _canonical_planes(
    section: Section, fitted: Normalisation, names: Sequence[str], grid: Regrid, window: Window
) -> Iterator[NDArray[np.float32] | float]:
    """Give the normalised channels `names` of a window of `grid` one by one; a number for those that are absent."""
    for name in names:
        if name in section.channels:
            yield grid.read(partial(_normalised, section, fitted.only([name])), window)[0]
        else:
            yield ABSENT


def _normalised(section: Section, fitted: Normalisation, window: Window) -> NDArray[np.float32]:
    return fitted.apply(section.read(fitted.names, window))


def best_of_logits(
    logits: Tensor, temperature: float, *, excluded: Sequence[int] = (), merged: Mapping[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return the most probable class, its probability and its lead, (H, W) each, from logits (K, H, W).

    Classes in `excluded` take no part. `merged` {to: from} first gives `to` the logit of `from` where that is the
    largest of all. The lead is the best logit less the mean of all.

    Examples
    --------
    >>> logits = torch.tensor([[8.0], [1.0], [3.0]]).log()[:, :, None]
    >>> best, top, lead = best_of_logits(logits, 1.0, excluded=[0])
    >>> best.tolist(), top.round(2).tolist(), lead.round(2).astype(str).tolist()
    ([[2]], [[0.75]], [['0.55']])
    """
    values = logits.movedim(0, -1).float().contiguous()
    for to, source in (merged or {}).items():
        largest = values[..., source] >= values.amax(dim=-1)
        values[..., to] = torch.where(largest, values[..., source], values[..., to])
    if excluded:
        values = values[..., [plane for plane in range(values.shape[-1]) if plane not in excluded]]
    highest, place = values.max(dim=-1)
    lead = highest - values.mean(dim=-1)
    top = 1 / values.sub_(highest[..., None]).div_(temperature).exp_().sum(dim=-1)
    chosen = np.delete(np.arange(logits.shape[0], dtype=np.uint8), list(excluded))
    return chosen[place.numpy()], top.numpy(), lead.numpy()
