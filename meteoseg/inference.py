"""Run the networks of a model on a section: input channels, the grid of each network, class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meteoseg.channels import ABSENT, Normalisation, fit_normalisation
from meteoseg.errors import ChannelError, PixelSizeError
from meteoseg.expressions import parse_expression
from meteoseg.grid import Window
from meteoseg.labels.certainty import Calibration, lowest_thresholds, nearest_calibration
from meteoseg.models import ModelCard, Network, NetworkCard
from meteoseg.predict import Read, predict_tiles
from meteoseg.resample import Regrid
from meteoseg.section import Section, Stack

FloatArray = NDArray[np.floating[Any]]
Finished = TypeVar("Finished")

#: A section whose shorter side has fewer coarse pixels than this is run on a finer grid.
SMALL_SIDE_PX = 256
#: Rows of logits worked on at a time, so that they stay in the cache of a processor.
_ROWS_AT_ONCE = 16
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

    def tiles(
        self, network: Network, grid: Regrid, finish: Callable[[dict[str, Tensor]], Finished]
    ) -> Iterator[tuple[Window, Finished]]:
        """Yield windows of the network's grid, every pixel once, top to bottom, with what `finish` makes of them.

        `finish` is called with {layer: logits (K, h, w)}, several calls at a time.
        """
        card, widths = network.card, list(network.card.widths.values())
        return predict_tiles(
            network,
            self.inputs.reader(card, grid),
            grid.target,
            lambda logits: finish(dict(zip(card.widths, torch.split(logits, widths), strict=True))),
            tta=self.averages(card),
            progress=self.progress,
        )

    def probabilities(self, network: Network, grid: Regrid) -> dict[str, NDArray[np.float16]]:
        """Return {layer: (K, H, W) calibrated probabilities} of the network's whole grid in half precision."""

        def shares(layers: dict[str, Tensor]) -> dict[str, NDArray[np.float16]]:
            made = {}
            for layer, logits in layers.items():
                values = logits.float()
                share = values.sigmoid() if layer == "distance" else self._softmax(network.card, layer, values)
                made[layer] = share.half().numpy()
            return made

        out = {layer: np.zeros((width, *grid.target), np.float16) for layer, width in network.card.widths.items()}
        for window, found in self.tiles(network, grid, shares):
            for layer, share in found.items():
                out[layer][:, *window.slices] = share
        return out

    def best(
        self, network: Network, grid: Regrid, layer: str, *, excluded: Sequence[int] = (), merged: Mapping[int, int]
    ) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]]:
        """Yield windows of the network's grid with the best class of a layer, its probability and its lead, (h, w).

        See `best_of_logits`.
        """
        temperature = self.temperature(network.card, layer)

        def finish(layers: dict[str, Tensor]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
            return best_of_logits(layers[layer], temperature, excluded=excluded, merged=merged)

        for window, found in self.tiles(network, grid, finish):
            yield window, *found

    def share(
        self, network: Network, grid: Regrid, layer: str, plane: int
    ) -> Iterator[tuple[Window, NDArray[np.float32]]]:
        """Yield windows of the network's grid with the probability of one class of a layer (h, W)."""

        def finish(layers: dict[str, Tensor]) -> NDArray[np.float32]:
            share = self._softmax(network.card, layer, layers[layer].float())[plane]
            return np.asarray(share.numpy(), np.float32)

        return self.tiles(network, grid, finish)

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
    n_kept = len(logits) - len(excluded)
    rank = torch.arange(len(logits), 0, -1, dtype=torch.uint8)[:, None, None]
    shape = logits.shape[1:]
    best, top, lead = np.empty(shape, np.uint8), np.empty(shape, np.float32), np.empty(shape, np.float32)
    for row in range(0, shape[0], _ROWS_AT_ONCE):
        part = slice(row, row + _ROWS_AT_ONCE)
        # Plane after plane in memory: what runs over the classes is then done for many pixels at a time.
        values = logits[:, part].contiguous().to(torch.float32, copy=True)
        for to, source in (merged or {}).items():
            values[to] = torch.where(values[source] >= values.amax(dim=0), values[source], values[to])
        mean = (values.sum(dim=0) - values[list(excluded)].sum(dim=0)) / n_kept
        values[list(excluded)] = -torch.inf
        highest = values.amax(dim=0)
        best[part] = len(logits) - ((values == highest).to(torch.uint8) * rank).amax(dim=0).numpy()
        lead[part] = (highest - mean).numpy()
        top[part] = values.sub_(highest).div_(temperature).exp_().sum(dim=0).reciprocal_().numpy()
    return best, top, lead
