"""Run the networks of a model on a section: input channels, the grid of each network, class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.certainty import Calibration, lowest_thresholds, nearest_calibration
from meteoseg.channels import Normalisation, canonical_input, fit_normalisation
from meteoseg.errors import ChannelError, PixelSizeError
from meteoseg.expressions import parse_expression
from meteoseg.grid import Window
from meteoseg.models import ModelCard, Network, NetworkCard
from meteoseg.predict import predict_bands
from meteoseg.resample import Regrid
from meteoseg.section import Section, Stack

FloatArray = NDArray[np.floating[Any]]
Read = Callable[[Window], NDArray[np.float32]]

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

    def reader(self, network: NetworkCard) -> Read:
        """Return the function that reads normalised input (C, H, W) of a window of the section's own grid."""
        stack = self._stack(network)
        if stack is None:
            present = tuple(name for name in network.channels if name in self.section.channels)
            normalisation = self._fit(self.section, present)
            return lambda window: canonical_input(self.section, normalisation, window, network.channels)
        fitted, read_stack = self._fit(stack, network.channels), stack.read
        return lambda window: fitted.apply(read_stack(window))

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

    def bands(self, network: Network, grid: Regrid) -> Iterator[tuple[int, dict[str, FloatArray]]]:
        """Yield (first row, {layer: logits (K, h, W)}) of the network's grid, top to bottom."""
        read_own = self.inputs.reader(network.card)
        own_grid = grid.step == (1.0, 1.0)
        read: Read = read_own if own_grid else (lambda window: grid.read(read_own, window))
        yield from predict_bands(network, read, grid.target, tta=self.averages(network.card), progress=self.progress)

    def probabilities(self, network: Network, grid: Regrid) -> dict[str, NDArray[np.float16]]:
        """Return {layer: (K, H, W) calibrated probabilities} of the network's whole grid in half precision."""
        out = {layer: np.zeros((width, *grid.target), np.float16) for layer, width in network.card.widths.items()}
        for row, logits in self.bands(network, grid):
            for layer, values in logits.items():
                temperature = self.temperature(network.card, layer)
                share = sigmoid(values) if layer == "distance" else softmax(values / np.float32(temperature))
                out[layer][:, row : row + values.shape[1]] = share
        return out


def softmax(logits: FloatArray) -> NDArray[np.float32]:
    """Turn logits (K, ...) into probabilities that sum to 1 over the first axis.

    Examples
    --------
    >>> softmax(np.log(np.array([1.0, 3.0]))).tolist()
    [0.25, 0.75]
    """
    shifted = np.exp(logits - logits.max(axis=0), dtype=np.float32)
    return np.asarray(shifted / shifted.sum(axis=0), np.float32)


def sigmoid(logits: FloatArray) -> NDArray[np.float32]:
    """Turn logits into probabilities.

    Examples
    --------
    >>> sigmoid(np.array([0.0, -200.0])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
