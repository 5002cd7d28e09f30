"""The settings of a training: a TOML file read into frozen dataclasses, with unknown keys refused."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.models import DEFAULT_DECODER_CHANNELS, DEFAULT_ENCODER, NETWORK_LAYERS, shipped_models
from meteoseg.networks.fusion import check_fusion
from meteoseg.networks.unet import FULL_RESOLUTION, MAX_LEVELS

PRECISIONS = ("auto", "32", "bf16", "16")
#: Ways of holding out that leak, and are refused.
LEAKY_HOLDOUTS = ("random", "pixel", "pixels", "patch", "patches", "crop", "crops", "tile", "tiles")
#: Smallest gap (pixels) between what is trained on and what is held out of one section.
MIN_GAP_PX = 4
_Settings = TypeVar("_Settings")


@dataclass(frozen=True)
class DataConfig:
    """Which training examples to use.

    Parameters
    ----------
    sections : globs of folders of maps with a subfolder ``truth``, relative to the configuration file.
    validation : globs of folders that are held out whole; or else
    holdout, fraction, gap_px : ``block`` holds out one end of every section (`fraction` of its longer side),
        with a gap of `gap_px` pixels between it and the part that is trained on; where `focus` names
        sections, of those alone.
    focus : globs of further folders, few but important (a laboratory's own labels beside simulated sections).
    focus_share : share of the crops that comes from the sections in `focus`.
    """

    sections: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    holdout: str = ""
    fraction: float = 0.2
    gap_px: int = 32
    focus: tuple[str, ...] = ()
    focus_share: float = 0.5

    def __post_init__(self) -> None:
        if not self.sections and not self.focus:
            raise InputError("[data] sections is empty: give at least one glob of training-example folders.")
        if bool(self.validation) == bool(self.holdout):
            raise InputError('[data] needs either validation = ["GLOB"] or holdout = "block", not both.')
        if self.holdout in LEAKY_HOLDOUTS:
            raise InputError(
                f'[data] holdout = "{self.holdout}" is refused: neighbouring pixels and patches of one section are '
                "nearly copies of each other, so the score would say how well they are remembered. "
                'Hold out whole sections (validation = ["GLOB"]) or a block with a gap (holdout = "block").'
            )
        if self.holdout not in ("", "block"):
            raise UnknownNameError.of("holdout", self.holdout, ["block"])
        check_range("data", "fraction", self.fraction, 0.01, 0.9)
        check_range("data", "gap_px", self.gap_px, MIN_GAP_PX, 10_000)
        check_range("data", "focus_share", self.focus_share, 0, 1)


@dataclass(frozen=True)
class NetworkConfig:
    """The network: encoder (a segmentation-models-pytorch name, or ``full-resolution``), decoder widths, class lists.

    The encoder ``full-resolution`` takes `decoder_channels` as the widths of its own levels too (two to six of them).

    An empty class list takes every class that occurs in the truth of the training sections, in legend order.
    `pixel_width` planes see single pixels at full resolution beside the UNet (minerals want them; 0 = none).
    `fusion` is ``early`` (one encoder for all channels) or ``late`` (one for BSE, one for the elements).
    `tile_px` and `margin_px` are those of a prediction and are written to the card.
    `start` names a model (a shipped name, a file or a training folder, relative to the configuration file) whose
    weights the training starts from, and `start_network` which of its networks. What is left at its default is
    then taken over from that network, also the layers, channels and um_per_px; what is given must agree.
    """

    encoder: str = DEFAULT_ENCODER
    decoder_channels: tuple[int, ...] = DEFAULT_DECODER_CHANNELS
    pixel_width: int = 0
    fusion: str = "early"
    pretrained: bool = False
    component_classes: tuple[str, ...] = ()
    phase_classes: tuple[str, ...] = ()
    tile_px: int = 512
    margin_px: int = 64
    start: str = ""
    start_network: str = ""

    def __post_init__(self) -> None:
        if self.start_network and not self.start:
            raise InputError("[network] start_network is given without start: name the model, as in segment --model.")
        if self.start and self.pretrained:
            raise InputError("[network] start and pretrained exclude each other: keep one.")
        if self.encoder == FULL_RESOLUTION:
            if self.pretrained:
                raise InputError(f'[network] encoder = "{FULL_RESOLUTION}" has no pretrained weights: leave them out.')
            check_range("network", "number of decoder_channels", len(self.decoder_channels), 2, MAX_LEVELS)


@dataclass(frozen=True)
class RunConfig:
    """Steps, batches and learning rate (AdamW, one cycle with cosine decay) of any training.

    `threads` is the number of processor threads, 0 = all; `workers` the processes that make batches. Where other
    programs run on the same cores, 1 thread is far quicker than several that wait for each other.
    """

    steps: int = 3000
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    precision: str = "auto"
    workers: int = 0
    threads: int = 0
    validate_every: int = 250
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "checkpoint_every"):
            check_range("optim", name, getattr(self, name), 1, 10**9)
        check_range("optim", "workers", self.workers, 0, 64)
        check_range("optim", "threads", self.threads, 0, 1024)
        check_range("optim", "learning_rate", self.learning_rate, 1e-9, 10.0)
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class OptimConfig(RunConfig):
    """The run of a segmentation: also the side of its crops, and how many held-out crops are scored."""

    tile_px: int = 256
    validation_crops: int = 48

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("optim", "validation_crops", self.validation_crops, 1, 10**9)
        if self.tile_px < 32 or self.tile_px % 32:
            raise InputError(f"[optim] tile_px is {self.tile_px}: give a multiple of 32.")


@dataclass(frozen=True)
class AugmentConfig:
    """How crops are varied; see `meteoseg.train.augment`.

    Parameters
    ----------
    zoom : smallest and largest factor on the pixel size of a crop (log-uniform).
    flips : the eight flips and quarter turns of the square.
    gain, gamma : standard deviation of the contrast factor, and half range of the bend, per channel.
    noise : largest standard deviation of the noise on normalised values, log-uniform per channel.
    blur : probability of a Gaussian blur, sigma up to 1.2 px.
    channel_dropout : probability of each policy, for canonical channels (``all`` takes what is left).
    """

    zoom: tuple[float, ...] = (1.0, 1.0)
    flips: bool = True
    gain: float = 0.15
    gamma: float = 0.25
    noise: float = 0.1
    blur: float = 0.2
    channel_dropout: Mapping[str, float] = field(
        default_factory=lambda: {"bse": 0.1, "no_bse": 0.15, "museum": 0.15, "fe_mg_si": 0.05, "random": 0.2}
    )

    def __post_init__(self) -> None:
        if len(self.zoom) != 2 or not 0.1 <= self.zoom[0] <= self.zoom[1] <= 10:
            raise InputError(f"[augment] zoom is {list(self.zoom)}: give [smallest, largest] between 0.1 and 10.")
        for name, low, high in (("gain", 0, 1), ("gamma", 0, 0.5), ("noise", 0, 1), ("blur", 0, 1)):
            check_range("augment", name, getattr(self, name), low, high)
        for policy in self.channel_dropout:
            if policy not in POLICIES:
                raise UnknownNameError.of("channel_dropout policy", policy, POLICIES)
        shares = [float(share) for share in self.channel_dropout.values()]
        if any(share < 0 for share in shares) or sum(shares) > 1 + 1e-9:
            raise InputError("[augment.channel_dropout] must be probabilities of sum 1 or less.")


#: Channel-dropout policies: which channels of a section a crop keeps (None: decided per crop).
POLICIES: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "bse": ("BSE",),
    "no_bse": None,
    "museum": ("BSE", "Mg", "Ca", "Fe", "Al"),
    "fe_mg_si": ("Fe", "Mg", "Si"),
    "microprobe": ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni"),
    "random": None,
}


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts of the loss, and how far rare classes count more (`losses.class_weights`)."""

    components: float = 1.0
    phases: float = 1.0
    distance: float = 1.0
    dice: float = 0.5
    class_balance: float = 0.5

    def __post_init__(self) -> None:
        check_range("loss", "class_balance", self.class_balance, 0, 1)


@dataclass(frozen=True)
class CardConfig:
    """What a person adds to the card of the model."""

    licence: str = ""
    citation: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainConfig:
    """A whole training.

    Parameters
    ----------
    name : of the network (prefix of its tensors) and of the model.
    layers : some of ``components``, ``phases``, ``distance``; empty = all, or those of the network it starts from.
    channels : channel expressions; empty = the canonical list, where a section may lack channels.
    um_per_px : grid to resample to before training (um), 0 = the grid of each section.
    """

    name: str = "network"
    seed: int = 1
    layers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    um_per_px: float = 0.0
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer not in NETWORK_LAYERS:
                raise UnknownNameError.of("network layer", layer, NETWORK_LAYERS)
        if not self.layers and not self.network.start:
            object.__setattr__(self, "layers", NETWORK_LAYERS)
        check_fusion(self.network.fusion, self.channels or CANONICAL_CHANNELS)
        check_range("top level", "um_per_px", self.um_per_px, 0, 1000)

    @property
    def canonical(self) -> bool:
        """Whether the channels are the canonical list, any of which a section may lack."""
        return not self.channels

    def to_toml(self) -> str:
        """Return the settings as TOML text that `read_config` reads back."""
        return settings_to_toml(asdict(self))


def settings_to_toml(values: Mapping[str, Any]) -> str:
    """Return settings as TOML text: values first, then a table per dictionary, and tables within those."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables]
    for table, entries in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {json.dumps(v)}" for key, v in entries.items() if not isinstance(v, dict)]
        for key, nested in entries.items():
            if isinstance(nested, dict):
                lines += ["", f"[{table}.{key}]", *(f"{k} = {json.dumps(v)}" for k, v in nested.items())]
    return "\n".join(lines) + "\n"


def read_config(path: str | Path) -> TrainConfig:
    """Read a training configuration; globs are taken relative to its folder.

    Raises
    ------
    InputError : no such file, no TOML, or a value of the wrong type.
    UnknownNameError : an unknown key (the message names the closest known one).
    """
    path = Path(path)
    data = read_settings(path)
    config = build_settings(TrainConfig, data, "the configuration")
    folder = path.resolve().parent
    sections, validation, focus = (
        tuple(str(folder / pattern) for pattern in patterns)
        for patterns in (config.data.sections, config.data.validation, config.data.focus)
    )
    globs = replace(config.data, sections=sections, validation=validation, focus=focus)
    return replace(config, data=globs, network=_with_start_path(config.network, folder))


def read_settings(path: Path) -> dict[str, Any]:
    """Read the TOML file of a training as it is.

    Raises
    ------
    InputError : no such file, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Training configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Training configuration {path} is not valid TOML: {error}.") from error


def _with_start_path(network: NetworkConfig, folder: Path) -> NetworkConfig:
    """Take the path of a start model relative to `folder`; names of shipped models stay."""
    start = network.start
    return network if not start or start in shipped_models() else replace(network, start=str(folder / start))


def build_settings(kind: type[_Settings], data: Mapping[str, Any], where: str) -> _Settings:
    """Fill the dataclass `kind` from a TOML table, converting arrays to tuples and tables to dataclasses.

    Raises
    ------
    InputError : a value of the wrong type.
    UnknownNameError : an unknown key; the message names the closest known one.
    """
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise UnknownNameError.of(f"key of {where}", key, known)
        values[key] = _convert(hints[key], value, f"[{key}]" if is_dataclass(hints[key]) else f"{key} of {where}")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check one TOML value against a type annotation."""
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return build_settings(hint, value, where)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_convert(get_args(hint)[0], entry, where) for entry in value)
    if get_origin(hint) is Mapping and isinstance(value, dict):
        return {key: _convert(get_args(hint)[1], entry, where) for key, entry in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = hint.__name__ if isinstance(hint, type) else str(hint)
    raise InputError(f"The value {value!r} of {where} is not possible: give {wanted}.")


def check_range(table: str, name: str, value: float, low: float, high: float) -> None:
    """Check a number of a configuration.

    Raises
    ------
    InputError : it is not between `low` and `high`.
    """
    if not low <= value <= high:
        raise InputError(f"[{table}] {name} is {value}: give a number between {low:g} and {high:g}.")
