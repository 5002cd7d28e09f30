"""The settings of a training of a network for patches: a TOML file read into frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.networks.files import shipped_models
from meteoseg.networks.unet import FULL_RESOLUTION
from meteoseg.patches.card import FITS, FULL_RESOLUTION_WIDTHS, FUSIONS, MASKS, NORMALISATIONS, SYMMETRIES, TASK
from meteoseg.train.config import (
    LEAKY_HOLDOUTS,
    AugmentConfig,
    CardConfig,
    RunConfig,
    build_settings,
    check_range,
    read_settings,
    settings_to_toml,
)

BALANCES = ("sampler", "loss", "none")
#: More widths than this halve an image to nothing.
_MAX_LEVELS = 7


@dataclass(frozen=True)
class PatchDataConfig:
    """Which images to learn from.

    Parameters
    ----------
    patches : folders of data sets (globs), or else
    sections : globs of sections with ``truth/chondrules.ome.tif`` and ``truth/chondrules.csv``; a section is a group.
    label : column of ``truth/chondrules.csv``.
    validation : data sets or sections that are held out whole; or else
    holdout, folds : share of the groups that is held out, or number of folds of a cross-validation by group.
    labels_per_class : at most so many training images of each class, 0 = all.
    """

    patches: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    label: str = "texture"
    validation: tuple[str, ...] = ()
    holdout: float = 0.2
    folds: int = 0
    labels_per_class: int = 0

    def __post_init__(self) -> None:
        if bool(self.patches) == bool(self.sections):
            raise InputError('[data] needs either patches = ["FOLDER"] or sections = ["GLOB"], not both.')
        check_range("data", "holdout", self.holdout, 0.02, 0.5)
        check_range("data", "folds", self.folds, 0, 50)
        check_range("data", "labels_per_class", self.labels_per_class, 0, 10**9)
        if self.folds == 1 or (self.folds and self.validation):
            raise InputError("[data] folds is 2 or more and goes without validation: every group is held out once.")


@dataclass(frozen=True)
class PatchNetworkConfig:
    """The network, see `meteoseg.patches.network`.

    `start` names a model for patches whose encoder weights are taken; `freeze` then trains the head alone.
    `average_views` takes the mean over the flips and turns of [augment] symmetry when images are labelled.
    """

    encoder: str = FULL_RESOLUTION
    widths: tuple[int, ...] = FULL_RESOLUTION_WIDTHS
    fusion: str = "early"
    branches: tuple[tuple[str, ...], ...] = ()
    dropout: float = 0.2
    pretrained: bool = False
    start: str = ""
    freeze: bool = False
    average_views: bool = False

    def __post_init__(self) -> None:
        check_range("network", "dropout", self.dropout, 0, 0.95)
        check_range("network", "number of widths", len(self.widths), 1, _MAX_LEVELS)
        if self.fusion not in FUSIONS:
            raise UnknownNameError.of("fusion", self.fusion, FUSIONS)
        if self.pretrained and (self.start or self.encoder == FULL_RESOLUTION):
            what = "start and pretrained exclude each other" if self.start else f'"{FULL_RESOLUTION}" has no weights'
            raise InputError(f"[network] {what}: leave pretrained out.")
        if self.freeze and not self.start:
            raise InputError("[network] freeze needs start: name the model whose encoder is kept.")


@dataclass(frozen=True)
class ObjectConfig:
    """How objects of sections are cropped.

    Parameters
    ----------
    margin : what is shown around an object, as a share of its longer side.
    mask : ``none`` keeps its surroundings, ``cut`` sets them to 0, ``plane`` keeps them and adds a plane of the object.
    min_diameter_px : smaller objects (equivalent diameter) are not trained on, and stay unclassified.
    """

    margin: float = 0.1
    mask: str = "cut"
    min_diameter_px: float = 12.0

    def __post_init__(self) -> None:
        check_range("objects", "margin", self.margin, 0, 5)
        check_range("objects", "min_diameter_px", self.min_diameter_px, 0, 10_000)
        if self.mask not in MASKS:
            raise UnknownNameError.of("mask", self.mask, MASKS)


@dataclass(frozen=True)
class PatchRunConfig(RunConfig):
    """Steps, batches and learning rate, see `RunConfig`."""

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class PatchAugmentConfig:
    """How images are varied.

    Parameters
    ----------
    symmetry : one of `SYMMETRIES`; ``mirrors`` flips rows, columns or both.
    shift_px : largest shift in each direction, filled with 0.
    zoom : smallest and largest factor on the size of what is shown (log-uniform).
    gain, gamma, noise, blur : see `meteoseg.train.augment`.
    drop_channel : chance of each channel to be absent; one always stays. Not for the canonical list, which has
    channel_dropout : see `meteoseg.train.config.AugmentConfig`.
    """

    symmetry: str = "none"
    shift_px: int = 0
    zoom: tuple[float, ...] = (1.0, 1.0)
    gain: float = 0.1
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    drop_channel: float = 0.0
    channel_dropout: Mapping[str, float] = field(default_factory=lambda: dict(AugmentConfig().channel_dropout))

    def __post_init__(self) -> None:
        if self.symmetry not in SYMMETRIES:
            raise UnknownNameError.of("symmetry", self.symmetry, SYMMETRIES)
        if len(self.zoom) != 2 or not 0.1 <= self.zoom[0] <= self.zoom[1] <= 10:
            raise InputError(f"[augment] zoom is {list(self.zoom)}: give [smallest, largest] between 0.1 and 10.")
        check_range("augment", "shift_px", self.shift_px, 0, 10_000)
        for name, high in (("gain", 1), ("gamma", 0.5), ("noise", 1), ("blur", 1), ("drop_channel", 0.9)):
            check_range("augment", name, getattr(self, name), 0, high)
        self.of_values()

    def of_values(self) -> AugmentConfig:
        """Return the part that changes values, as `meteoseg.train.augment.augment` takes it."""
        return AugmentConfig(
            flips=False,
            gain=self.gain,
            gamma=self.gamma,
            noise=self.noise,
            blur=self.blur,
            channel_dropout=self.channel_dropout,
        )


@dataclass(frozen=True)
class PatchLossConfig:
    """Cross-entropy, and what is done about rare classes and wrong labels.

    Parameters
    ----------
    balance : ``sampler`` draws rare classes more often, ``loss`` weights them, ``none`` takes them as they occur.
    class_balance : power of the inverse share, 1: all classes alike, 0: as they occur.
    label_smoothing : probability that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567).
    """

    balance: str = "sampler"
    class_balance: float = 0.5
    label_smoothing: float = 0.05

    def __post_init__(self) -> None:
        if self.balance not in BALANCES:
            raise UnknownNameError.of("balance", self.balance, BALANCES)
        check_range("loss", "class_balance", self.class_balance, 0, 1)
        check_range("loss", "label_smoothing", self.label_smoothing, 0, 0.5)


@dataclass(frozen=True)
class PatchConfig:
    """A whole training.

    Parameters
    ----------
    classes : names; empty = all labels that occur, sorted.
    channels : channel expressions; empty = those of the data set, or of sections the canonical list.
    patch_px, fit, normalisation : see `meteoseg.patches.card.PatchCard`; `normalisation` empty = ``dataset``, or for
        sections ``section``.
    """

    task: str = TASK
    name: str = "patches"
    seed: int = 1
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    patch_px: int = 96
    fit: str = "resize"
    normalisation: str = ""
    data: PatchDataConfig = field(default_factory=PatchDataConfig)
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    network: PatchNetworkConfig = field(default_factory=PatchNetworkConfig)
    optim: PatchRunConfig = field(default_factory=PatchRunConfig)
    augment: PatchAugmentConfig = field(default_factory=PatchAugmentConfig)
    loss: PatchLossConfig = field(default_factory=PatchLossConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        if self.task != TASK:
            raise UnknownNameError.of("task", self.task, [TASK])
        by_object = bool(self.data.sections)
        if not self.normalisation:
            object.__setattr__(self, "normalisation", "section" if by_object else "dataset")
        if self.normalisation not in NORMALISATIONS:
            raise UnknownNameError.of("normalisation", self.normalisation, NORMALISATIONS)
        if by_object != (self.normalisation == "section"):
            wanted = '"section"' if by_object else '"dataset", "image" or "none"'
            raise InputError(f'normalisation = "{self.normalisation}" does not fit these data: give {wanted}.')
        if self.fit not in FITS:
            raise UnknownNameError.of("fit", self.fit, FITS)
        check_range("top level", "patch_px", self.patch_px, 8, 4096)
        if self.network.encoder == FULL_RESOLUTION and self.patch_px < 2 ** (len(self.network.widths) - 1):
            raise InputError(f"patch_px = {self.patch_px} is too small for {len(self.network.widths)} widths.")

    def to_toml(self) -> str:
        """Return the settings as TOML text that `read_patch_config` reads back."""
        return settings_to_toml(asdict(self))


def task_of(path: str | Path) -> str:
    """Return the task that a configuration names; empty where it is a segmentation's."""
    return str(read_settings(Path(path)).get("task", ""))


def read_patch_config(path: str | Path) -> PatchConfig:
    """Read a configuration; globs are taken relative to its folder.

    Raises
    ------
    InputError : no such file, no TOML, or a value of the wrong type.
    UnknownNameError : an unknown key (the message names the closest known one).
    """
    path = Path(path)
    settings = read_settings(path)
    data: Any = settings.get("data", {})
    if isinstance(data, dict) and data.get("holdout") in LEAKY_HOLDOUTS:
        how = data["holdout"]
        raise InputError(f'[data] holdout = "{how}" is refused: images of one group are alike. Give a share of groups.')
    config = build_settings(PatchConfig, settings, "the configuration")
    folder = path.resolve().parent
    patches, sections, validation = (
        tuple(str(folder / pattern) for pattern in patterns)
        for patterns in (config.data.patches, config.data.sections, config.data.validation)
    )
    start = config.network.start
    network = config.network
    if start and start not in shipped_models():
        network = replace(network, start=str(folder / start))
    globs = replace(config.data, patches=patches, sections=sections, validation=validation)
    return replace(config, data=globs, network=network)
