"""Training examples in memory, and the batches of random crops made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from meteoseg.channels import ABSENT, canonical_input, fit_normalisation
from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io import open_section, read_labels
from meteoseg.legend import Legend, default_legend, read_legend_csv
from meteoseg.resample import Read, Regrid
from meteoseg.section import Section
from meteoseg.train.augment import augment, cut, drop_channels
from meteoseg.train.config import DataConfig, TrainConfig

#: Value of a target pixel that is not known and takes no part in loss or score.
IGNORE = 255
#: Distance targets are kept as whole numbers of this many steps from 0 (edge) to 1 (centre).
DISTANCE_STEPS = 254
_BAND_ROWS = 512


@dataclass(frozen=True)
class Example:
    """A section with its truth, ready to be cropped.

    Parameters
    ----------
    image : (H, W, C) float16, normalised; absent channels hold ``channels.ABSENT``.
    targets : (H, W, L) uint8, one plane per layer of the configuration: class indices, or distance in steps
        of 1 / `DISTANCE_STEPS`; 255 = unknown.
    present : (C,) bool, which channels the section has.
    pixel_um : pixel size (um) on this grid, or None where unknown.
    """

    name: str
    image: NDArray[np.float16]
    targets: NDArray[np.uint8]
    present: NDArray[np.bool_]
    pixel_um: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.image.shape[0], self.image.shape[1])

    def part(self, window: Window) -> Example:
        """Return a window of the example (a view)."""
        return replace(self, image=self.image[window.slices], targets=self.targets[window.slices])


def find_examples(patterns: Sequence[str]) -> tuple[Path, ...]:
    """Return the training-example folders that globs match, each once, sorted.

    Raises
    ------
    InputError : a glob matches no folder, or a folder has no ``truth``.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        anchor = Path(pattern).anchor
        matches = Path(anchor or ".").glob(str(Path(pattern).relative_to(anchor) if anchor else pattern))
        folders = sorted(match.resolve() for match in matches)
        folders = [folder for folder in folders if folder.is_dir()]
        if not folders:
            raise InputError(f"'{pattern}' matches no folder: give a glob of training-example folders.")
        found.update(dict.fromkeys(folders))
    for folder in found:
        if not (folder / "truth").is_dir():
            raise InputError(f"{folder} has no subfolder 'truth': it is no training example.")
    return tuple(found)


def load_split(config: TrainConfig) -> tuple[list[Example], list[Example]]:
    """Load the training and the held-out examples; classes are still ids of the legend.

    Raises
    ------
    InputError : a held-out section is also trained on, or a section is too small for the block split.
    """
    data = config.data
    train_folders = find_examples(data.sections)
    if not data.validation:
        pairs = [
            split_block(load_example(folder, config), data, seed=config.seed + index)
            for index, folder in enumerate(train_folders)
        ]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    held_out = find_examples(data.validation)
    for folder in held_out:
        if folder in train_folders:
            raise InputError(f"{folder} is both trained on and held out: take it out of one of the globs in [data].")
    return [load_example(f, config) for f in train_folders], [load_example(f, config) for f in held_out]


def split_block(example: Example, data: DataConfig, *, seed: int) -> tuple[Example, Example]:
    """Part an example into the piece to train on and the end that is held out, with a gap between.

    Raises
    ------
    InputError : a piece would be narrower than 32 pixels.
    """
    rows, cols = example.shape
    length = max(rows, cols)
    held = round(length * data.fraction)
    kept = length - held - data.gap_px
    if min(held, kept) < 32:
        raise InputError(
            f"Section '{example.name}' is too small ({rows} x {cols} px) to hold out a block of {held} px "
            f"with a gap of {data.gap_px} px: lower [data] gap_px, or name whole sections in validation."
        )
    at_start = bool(np.random.default_rng(seed).integers(2))
    spans = [(held + data.gap_px, kept), (0, held)] if at_start else [(0, kept), (length - held, held)]
    windows = [Window(start, 0, size, cols) if rows >= cols else Window(0, start, rows, size) for start, size in spans]
    return example.part(windows[0]), example.part(windows[1])


def load_example(folder: Path, config: TrainConfig) -> Example:
    """Read one training example onto the grid of the configuration.

    Raises
    ------
    InputError : a truth image does not fit its maps, or there is none of a wanted layer.
    """
    section = open_section(folder)
    grid = Regrid(section.shape, section.shape, (1.0, 1.0))
    if config.um_per_px:
        grid = Regrid.onto(section.shape, section.require_pixel_size(), config.um_per_px)
    image, present = _read_image(section, config, grid)
    targets = np.full((*grid.target, len(config.layers)), IGNORE, np.uint8)
    legends = _truth_legends(folder)
    for plane, layer in enumerate(config.layers):
        name = "chondrules" if layer == "distance" else layer
        path = folder / "truth" / f"{name}.ome.tif"
        if not path.is_file():
            continue
        labels = read_labels(path)
        if labels.shape != section.shape:
            raise InputError(
                f"{path} is {labels.shape} px (rows, cols) but the maps are {section.shape}: use one grid."
            )
        labels = grid.nearest(labels, Window.whole(grid.target))
        targets[..., plane] = (
            distance_target(labels) if layer == "distance" else _legend_ids(labels, legends.get(layer), layer, path)
        )
    if (targets == IGNORE).all():
        raise InputError(f"{folder / 'truth'} has nothing for the layers {', '.join(config.layers)}.")
    return Example(folder.name, image, targets, present, config.um_per_px or _pixel_um(section))


def _pixel_um(section: Section) -> float | None:
    return None if section.pixel_size_um is None else float(np.sqrt(np.prod(section.pixel_size_um)))


def _read_image(section: Section, config: TrainConfig, grid: Regrid) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Read normalised channels (H, W, C) on `grid`, band by band, and which of them the section has."""
    read, names = _reader(section, config)
    rows, cols = grid.target
    image = np.empty((rows, cols, len(names)), np.float16)
    for row in range(0, rows, _BAND_ROWS):
        window = Window(row, 0, min(_BAND_ROWS, rows - row), cols)
        band = read(window) if grid.source == grid.target else grid.read(read, window)
        image[window.slices] = band.transpose(1, 2, 0)
    present = np.array([not config.canonical or name in section.channels for name in names])
    return image, present


def _reader(section: Section, config: TrainConfig) -> tuple[Read, tuple[str, ...]]:
    """Return the function that reads normalised input on the section's own grid, and the input planes."""
    if config.canonical:
        known = [name for name in CANONICAL_CHANNELS if name in section.channels]
        fitted = fit_normalisation(section, known)
        return (lambda window: canonical_input(section, fitted, window, CANONICAL_CHANNELS)), CANONICAL_CHANNELS
    stack = section.select(config.channels)
    fitted = fit_normalisation(stack)
    return (lambda window: fitted.apply(stack.read(window))), stack.names


def _truth_legends(folder: Path) -> dict[str, Legend]:
    path = folder / "truth" / "legend.csv"
    return read_legend_csv(path) if path.is_file() else {}


def _legend_ids(labels: NDArray[Any], own: Legend | None, layer: str, path: Path) -> NDArray[np.uint8]:
    """Turn label ids of a truth image into ids of the shipped legend, 255 kept."""
    legend = default_legend(layer)
    ids = [int(value) for value in np.unique(labels) if value != IGNORE]
    if ids and not 0 <= ids[0] <= ids[-1] < IGNORE:
        raise InputError(f"{path} holds the labels {ids[0]} to {ids[-1]}: classes are 0 to 254, 255 = unlabelled.")
    table = np.full(256, IGNORE, np.uint8)
    for value in ids:
        table[value] = legend[(own or legend).name_of(value)].id
    return table[labels.astype(np.uint8)]


def distance_target(objects: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the distance to the edge of its object for each pixel, over the largest of that object.

    Parameters
    ----------
    objects : (H, W) integer object ids, 0 = none.

    Returns
    -------
    (H, W) uint8 in steps of 1 / `DISTANCE_STEPS`: 0 outside, 254 at the innermost pixel. A neighbouring
    object counts as outside; the border of the map does not, since objects go on beyond it.

    Examples
    --------
    >>> distance_target(np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0]]))[1]
    array([  0, 254, 254, 254, 254, 254], dtype=uint8)
    """
    out = np.zeros(objects.shape, np.uint8)
    ids = objects.astype(np.int64)
    for label, box in enumerate(find_objects(ids), start=1):
        if box is None:
            continue
        grown = tuple(slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, ids.shape, strict=True))
        inside = ids[grown] == label
        distance = np.ones(inside.shape) if inside.all() else distance_transform_edt(inside)
        steps = np.maximum(np.rint(distance * (DISTANCE_STEPS / distance.max())), 1)
        out[grown][inside] = steps[inside].astype(np.uint8)
    return out


def choose_classes(examples: Sequence[Example], config: TrainConfig) -> dict[str, tuple[str, ...]]:
    """Return the class names of each softmax layer: those configured, else those that occur.

    Raises
    ------
    InputError : fewer than two classes occur.
    UnknownNameError : a configured class is not in the legend.
    """
    chosen = {"components": config.network.component_classes, "phases": config.network.phase_classes}
    out: dict[str, tuple[str, ...]] = {}
    for plane, layer in enumerate(config.layers):
        if layer == "distance":
            continue
        legend = default_legend(layer)
        counts = sum(np.bincount(e.targets[..., plane].ravel(), minlength=256) for e in examples)
        names = chosen[layer] or tuple(label.name for label in legend.labels if np.asarray(counts)[label.id])
        if len({legend[name].id for name in names}) < 2:
            raise InputError(f"The truth of layer '{layer}' holds fewer than two classes: add sections or drop it.")
        out[layer] = names
    return out


def to_class_indices(examples: Sequence[Example], config: TrainConfig, classes: dict[str, tuple[str, ...]]) -> None:
    """Replace, in place, legend ids by positions in the class lists; other ids become unknown (255)."""
    for plane, layer in enumerate(config.layers):
        if layer not in classes:
            continue
        table = np.full(256, IGNORE, np.uint8)
        for index, name in enumerate(classes[layer]):
            table[default_legend(layer)[name].id] = index
        for example in examples:
            example.targets[..., plane] = table[example.targets[..., plane]]


Batch = dict[str, Tensor]


class Crops(IterableDataset[Batch]):
    """Batches of crops; its number alone decides a crop, so that any worker or resumed run makes the same.

    A batch has ``image`` (B, C, tile, tile) float32 in channels-last order and one (B, tile, tile) uint8
    tensor per layer. With `count` it ends after that many crops (validation), else it never does.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        config: TrainConfig,
        *,
        start: int = 0,
        count: int | None = None,
        augmented: bool = True,
        dropout: bool = True,
    ) -> None:
        self.examples, self.config, self.start, self.count = examples, config, start, count
        self.augmented, self.dropout = augmented, dropout and config.canonical
        areas = np.array([example.shape[0] * example.shape[1] for example in examples], float)
        self.shares = areas / areas.sum()

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from crop number `start` on; workers take turns."""
        size = self.config.optim.batch_size
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self.start + first * size
        while self.count is None or number < self.count:
            last = number + size if self.count is None else min(number + size, self.count)
            yield self._collate(range(number, last))
            number += step * size

    def crop(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Make crop `number`: image (tile, tile, C) and targets (tile, tile, L)."""
        settings = self.config.augment
        rng = np.random.default_rng([self.config.seed, int(self.augmented), number])
        example = self.examples[rng.choice(len(self.examples), p=self.shares)]
        zoom = float(np.exp(rng.uniform(*np.log(settings.zoom)))) if self.augmented else 1.0
        image, targets = cut(example.image, example.targets, rng, tile_px=self.config.optim.tile_px, zoom=zoom)
        if self.augmented:
            image, targets = augment(image, targets, rng, settings)
        keep = example.present
        if self.dropout:
            keep = drop_channels(keep, rng, settings.channel_dropout)
        image[..., ~keep] = ABSENT
        return image, targets

    def _collate(self, numbers: range) -> Batch:
        tile_px, channels = self.config.optim.tile_px, self.examples[0].image.shape[2]
        images = np.empty((len(numbers), tile_px, tile_px, channels), np.float32)
        targets = np.empty((len(self.config.layers), len(numbers), tile_px, tile_px), np.uint8)
        for place, number in enumerate(numbers):
            images[place], labels = self.crop(number)
            targets[:, place] = labels.transpose(2, 0, 1)
        layers = dict(zip(self.config.layers, torch.from_numpy(targets), strict=True))
        return {"image": torch.from_numpy(images).permute(0, 3, 1, 2), **layers}
