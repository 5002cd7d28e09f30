"""Training examples in memory, and the batches of random crops made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from meteoseg.channels import ABSENT, input_reader
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io import open_section, read_labels
from meteoseg.legend import Legend, default_legend, read_legend_csv
from meteoseg.resample import Regrid
from meteoseg.section import Section
from meteoseg.train.augment import augment, cut, drop_channels
from meteoseg.train.config import DataConfig, TrainConfig
from meteoseg.train.leakage import check_apart, fingerprint
from meteoseg.train.targets import DISTANCE_STEPS, IGNORE, distance_target, labelled_places, target_plane

__all__ = [
    "DISTANCE_STEPS",
    "IGNORE",
    "Batch",
    "Crops",
    "Example",
    "choose_classes",
    "crop_shares",
    "distance_target",
    "find_examples",
    "load_example",
    "load_split",
    "make_example",
    "split_block",
    "to_class_indices",
]

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
    in_focus : one of the few that get a share of the crops of their own.
    """

    name: str
    image: NDArray[np.float16]
    targets: NDArray[np.uint8]
    present: NDArray[np.bool_]
    pixel_um: float | None
    in_focus: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.image.shape[0], self.image.shape[1])

    def part(self, window: Window) -> Example:
        """Return a window of the example (a view)."""
        return replace(self, image=self.image[window.slices], targets=self.targets[window.slices])


def matches(pattern: str) -> list[Path]:
    """Return the paths that a glob matches, sorted; hidden ones are left out: unfinished folders are."""
    anchor = Path(pattern).anchor
    found = Path(anchor or ".").glob(str(Path(pattern).relative_to(anchor) if anchor else pattern))
    return sorted(path for path in found if not path.name.startswith("."))


def find_examples(patterns: Sequence[str]) -> tuple[Path, ...]:
    """Return the training-example folders that globs match, each once, sorted.

    Raises
    ------
    InputError : a glob matches no folder, or a folder has no ``truth``.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        folders = sorted(match.resolve() for match in matches(pattern) if match.is_dir())
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
    focus_folders = find_examples(data.focus)
    plain_folders = [folder for folder in find_examples(data.sections) if folder not in focus_folders]
    held_folders = find_examples(data.validation)
    for folder in held_folders:
        if folder in plain_folders or folder in focus_folders:
            raise InputError(f"{folder} is both trained on and held out: take it out of one of the globs in [data].")
    _check_leakage(plain_folders, focus_folders, held_folders)
    plain = [load_example(folder, config) for folder in plain_folders]
    focus = [replace(load_example(folder, config), in_focus=True) for folder in focus_folders]
    if data.validation:
        return [*plain, *focus], [load_example(folder, config) for folder in held_folders]
    split, whole = (focus, plain) if focus else (plain, [])
    pairs = [split_block(example, data, seed=config.seed + index) for index, example in enumerate(split)]
    return [*whole, *(pair[0] for pair in pairs)], [pair[1] for pair in pairs]


def _check_leakage(plain: Sequence[Path], focus: Sequence[Path], held_out: Sequence[Path]) -> None:
    """Check that nothing that is held out, whole or in part, is trained on under another name."""
    parted = held_out or focus or plain
    others = [folder for folder in (*plain, *focus) if folder not in parted]
    if len(parted) + len(others) < 2:
        return
    taken = [[fingerprint(open_section(folder), str(folder)) for folder in folders] for folders in (parted, others)]
    check_apart(*taken)


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
        grid = Regrid.at_least(section.shape, section.require_pixel_size(), config.um_per_px)
    truth = _read_truth(folder, section, config.layers)
    example = make_example(section, truth, config, grid=grid, name=folder.name)
    if (example.targets == IGNORE).all():
        raise InputError(f"{folder / 'truth'} has nothing for the layers {', '.join(config.layers)}.")
    return example


def make_example(
    section: Section,
    truth: Mapping[str, NDArray[Any]],
    config: TrainConfig,
    *,
    grid: Regrid,
    window: Window | None = None,
    name: str = "",
) -> Example:
    """Put a section and its labels together.

    Parameters
    ----------
    truth : layer -> (H, W) labels on the section's own grid, as `meteoseg.train.targets.target_plane` takes them.
    grid : from the section's own grid to that of the training.
    window : part of the grid of the training; all of it by default.
    """
    window = window or Window.whole(grid.target)
    image, present = _read_image(section, config, grid, window)
    targets = np.full((*window.shape, len(config.layers)), IGNORE, np.uint8)
    for plane, layer in enumerate(config.layers):
        if layer in truth:
            targets[..., plane] = target_plane(layer, truth[layer], grid)[window.slices]
    return Example(name or section.name, image, targets, present, _pixel_um(section, grid))


def _read_truth(folder: Path, section: Section, layers: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the label images of an example, class labels as ids of the shipped legend."""
    legends = _truth_legends(folder)
    out: dict[str, NDArray[Any]] = {}
    for layer in layers:
        path = folder / "truth" / ("chondrules.ome.tif" if layer == "distance" else f"{layer}.ome.tif")
        if not path.is_file():
            continue
        labels = read_labels(path)
        if labels.shape != section.shape:
            raise InputError(
                f"{path} is {labels.shape} px (rows, cols) but the maps are {section.shape}: use one grid."
            )
        out[layer] = labels if layer == "distance" else _legend_ids(labels, legends.get(layer), layer, path)
    return out


def _pixel_um(section: Section, grid: Regrid) -> float | None:
    """Pixel size (um) on `grid`, the geometric mean of both directions; None where unknown."""
    size_um = section.pixel_size_um
    return None if size_um is None else float(np.sqrt(np.prod(size_um) * np.prod(grid.step)))


def _read_image(
    section: Section, config: TrainConfig, grid: Regrid, window: Window
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Read normalised channels (H, W, C) of `window` on `grid`, band by band, and which the section has."""
    read, names = input_reader(section, config.channels)
    image = np.empty((*window.shape, len(names)), np.float16)
    for row in range(window.row, window.row_end, _BAND_ROWS):
        outer = Window(row, window.col, min(_BAND_ROWS, window.row_end - row), window.width)
        band = read(outer) if grid.source == grid.target else grid.read(read, outer)
        image[outer.row - window.row : outer.row_end - window.row] = band.transpose(1, 2, 0)
    present = np.array([not config.canonical or name in section.channels for name in names])
    return image, present


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


def crop_shares(examples: Sequence[Example], focus_share: float) -> NDArray[np.float64]:
    """Return the share of crops (N,) of each example: by area, those in focus together `focus_share`."""
    areas = np.array([example.shape[0] * example.shape[1] for example in examples], float)
    in_focus = np.array([example.in_focus for example in examples])
    if in_focus.any() and not in_focus.all():
        for group, share in ((in_focus, focus_share), (~in_focus, 1 - focus_share)):
            areas[group] *= share / areas[group].sum()
    return np.asarray(areas / areas.sum())


Batch = dict[str, Tensor]


class Crops(IterableDataset[Batch]):
    """Batches of crops; its number alone decides a crop, so that any worker or resumed run makes the same.

    Crops of a sparsely labelled example are put where labels are, on each of its classes equally often.

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
        self.shares = crop_shares(examples, config.data.focus_share)
        self.places = [labelled_places(example.targets, config.layers) for example in examples]

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
        index = int(rng.choice(len(self.examples), p=self.shares))
        zoom = float(np.exp(rng.uniform(*np.log(settings.zoom)))) if self.augmented else 1.0
        tile_px = self.config.optim.tile_px
        example = self._near_labels(index, rng, size_px=round(tile_px * zoom))
        image, targets = cut(example.image, example.targets, rng, tile_px=tile_px, zoom=zoom)
        if self.augmented:
            image, targets = augment(image, targets, rng, settings)
        keep = example.present
        if self.dropout:
            keep = drop_channels(keep, rng, settings.channel_dropout)
        image[..., ~keep] = ABSENT
        return image, targets

    def _near_labels(self, index: int, rng: np.random.Generator, *, size_px: int) -> Example:
        """Return the square of a sparse example around one of its labels; another example whole."""
        example, places = self.examples[index], self.places[index]
        if places is None:
            return example
        group = places[rng.integers(len(places))]
        place = np.unravel_index(group[rng.integers(len(group))], example.shape)
        starts = [
            int(np.clip(at - rng.integers(size_px), 0, max(0, length - size_px)))
            for at, length in zip(place, example.shape, strict=True)
        ]
        spans = [min(size_px, length) for length in example.shape]
        return example.part(Window(starts[0], starts[1], spans[0], spans[1]))

    def _collate(self, numbers: range) -> Batch:
        tile_px, channels = self.config.optim.tile_px, self.examples[0].image.shape[2]
        images = np.empty((len(numbers), tile_px, tile_px, channels), np.float32)
        targets = np.empty((len(self.config.layers), len(numbers), tile_px, tile_px), np.uint8)
        for place, number in enumerate(numbers):
            images[place], labels = self.crop(number)
            targets[:, place] = labels.transpose(2, 0, 1)
        layers = dict(zip(self.config.layers, torch.from_numpy(targets), strict=True))
        return {"image": torch.from_numpy(images).permute(0, 3, 1, 2), **layers}
