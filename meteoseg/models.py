"""Networks and the card that travels with them inside one safetensors file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from meteoseg._version import __version__
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.labels.certainty import Calibration
from meteoseg.networks.files import MODEL_FILE as MODEL_FILE
from meteoseg.networks.files import file_sha256, find_model, read_card_text, read_tensors, write_tensors
from meteoseg.networks.files import shipped_models as shipped_models
from meteoseg.networks.fusion import ByModality, SummedEncoders, check_fusion, modality_planes
from meteoseg.networks.unet import FULL_RESOLUTION, FullResolutionEncoder, FullResolutionUnet

LOGGER = logging.getLogger(__name__)

#: What a network may deliver, in the order of its output planes.
NETWORK_LAYERS = ("components", "phases", "distance")
DEFAULT_ENCODER = "tu-mobilenetv3_small_100"
DEFAULT_DECODER_CHANNELS = (128, 64, 48, 32, 16)
#: Task of models whose card names none.
SEGMENT = "segment"
_Card = TypeVar("_Card")
_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class NetworkCard:
    """What one network takes and delivers.

    Parameters
    ----------
    name : unique within its model; prefixes its tensors in the file.
    layers : some of ``components``, ``phases`` (softmax logits) and ``distance`` (one sigmoid logit).
    channels : channel expressions, in the order of the input planes.
    component_classes, phase_classes : names of the legend, in the order of the logits.
    canonical : the channels are plain names and absent ones are filled with ``channels.ABSENT``.
    um_per_px : grid the network runs on, or None for the section's own grid.
    um_per_px_range : pixel sizes (um) it was trained for, or None where not stated.
    pixel_width : planes of the full-resolution branch beside the UNet (5 x 5 px field), 0 for none.
    encoder : of segmentation-models-pytorch, or ``full-resolution`` (`meteoseg.networks.unet`).
    decoder_channels : widths of the decoder, coarsest level first; with ``full-resolution`` also of the encoder.
    fusion : ``early`` (one encoder for all channels) or ``late`` (one for BSE, one for the elements).
    tile_px, margin_px : window of a prediction, and overlap that hides the border effects.
    calibration : how sure it may be of its layers, for several sets of channels (`meteoseg.labels.certainty`).
    """

    name: str
    layers: tuple[str, ...]
    channels: tuple[str, ...]
    component_classes: tuple[str, ...] = ()
    phase_classes: tuple[str, ...] = ()
    canonical: bool = False
    um_per_px: float | None = None
    um_per_px_range: tuple[float, float] | None = None
    encoder: str = DEFAULT_ENCODER
    decoder_channels: tuple[int, ...] = DEFAULT_DECODER_CHANNELS
    pixel_width: int = 0
    fusion: str = "early"
    tile_px: int = 512
    margin_px: int = 64
    calibration: tuple[Calibration, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or "." in self.name:
            raise InputError(f"Network name '{self.name}' is not possible: give one without a full stop.")
        if not self.layers or not self.channels:
            raise InputError(f"Network '{self.name}' needs at least one layer and one channel.")
        for layer in self.layers:
            if layer not in NETWORK_LAYERS:
                raise UnknownNameError.of("network layer", layer, NETWORK_LAYERS)
            if layer != "distance" and len(self.classes(layer)) < 2:
                raise InputError(f"Network '{self.name}' delivers {layer} and needs at least two classes for it.")
        check_fusion(self.fusion, self.channels)

    def classes(self, layer: str) -> tuple[str, ...]:
        """Return the class names of `layer` (``distance`` has the single plane of that name)."""
        return {
            "components": self.component_classes,
            "phases": self.phase_classes,
            "distance": ("distance",),
        }[layer]

    @property
    def widths(self) -> dict[str, int]:
        """Number of logit planes of each layer, in the order of the output."""
        return {layer: len(self.classes(layer)) for layer in self.layers}

    def delivers_like(self, other: NetworkCard) -> bool:
        """Tell whether the probabilities of both may be averaged: same layers, classes and grid."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("layers", "component_classes", "phase_classes", "um_per_px")
        )


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it was trained on and how well it does; written into its file as JSON.

    Examples
    --------
    >>> net = NetworkCard("fine", ("phases",), ("Fe", "Mg"), phase_classes=("olivine", "troilite"))
    >>> ModelCard.from_json(ModelCard("mine", (net,)).to_json()).networks[0].widths
    {'phases': 2}
    """

    name: str
    networks: tuple[NetworkCard, ...]
    training_data: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    created: str = ""
    package_version: str = __version__
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if not names or len(set(names)) != len(names):
            raise InputError(f"Model '{self.name}' needs networks with unique names (got {names}).")

    def to_json(self) -> str:
        """Return the card as JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card back.

        Raises
        ------
        InputError : the text is not a card, or a card of another task or version of the package.
        """
        try:
            data = json.loads(text)
            if data.get("task", SEGMENT) != SEGMENT:
                raise InputError(
                    f"Model '{data.get('name')}' gives one label to an image, not to pixels: use it with "
                    "meteoseg classify-patches."
                )
            networks = tuple(_network_card(network) for network in data.pop("networks"))
            return _from_lists(cls, data | {"networks": networks})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"The model card cannot be read ({error}): the file is damaged or too new.") from error


def _network_card(data: Mapping[str, Any]) -> NetworkCard:
    calibration = tuple(_from_lists(Calibration, entry) for entry in data.get("calibration", ()))
    return _from_lists(NetworkCard, {**data, "calibration": calibration})


def _from_lists(kind: type[_Card], data: Mapping[str, Any]) -> _Card:
    """Build a dataclass from JSON values; lists become tuples."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})


class Network(nn.Module):
    """A UNet with one output plane per class of each of its layers, and beside it a branch at full resolution.

    With most encoders the UNet halves the resolution in its first layer, so it sees textures better than seams one
    pixel wide or the chemistry of a pixel; the encoder ``full-resolution`` (`meteoseg.networks.unet`) does not. The
    branch (two 3 x 3 convolutions) sees a pixel and its neighbours only; the logits of both add, as a
    log-prior from the surroundings and a log-likelihood from the pixel do. With late fusion UNet and branch have
    an encoder each for BSE and for the elements (`meteoseg.networks.fusion`).

    Examples
    --------
    >>> card = NetworkCard("n", ("phases", "distance"), ("Fe", "Mg"), phase_classes=("olivine", "troilite"))
    >>> network = Network(card).eval()
    >>> {layer: tuple(t.shape) for layer, t in network.split(network(torch.zeros(1, 2, 64, 32))).items()}
    {'phases': (1, 2, 64, 32), 'distance': (1, 1, 64, 32)}
    """

    #: Height and width of the input must be multiples of this.
    multiple_px = 32

    def __init__(self, card: NetworkCard, *, pretrained: bool = False) -> None:
        super().__init__()
        self.card = card
        self.unet = _unet(card, pretrained_weights(card.encoder) if pretrained else None)
        self.pixel = _pixel_branch(card) if card.pixel_width else None

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) normalised channels to (B, K, H, W) logits; H and W multiples of 32."""
        logits: Tensor = self.unet(image)
        return logits if self.pixel is None else logits + self.pixel(image)

    def split(self, logits: Tensor) -> dict[str, Tensor]:
        """Part (B, K, H, W) logits into the layers, (B, k, H, W) each."""
        parts = torch.split(logits, list(self.card.widths.values()), dim=1)
        return dict(zip(self.card.widths, parts, strict=True))


def _unet(card: NetworkCard, weights: str | bool | None) -> nn.Module:
    classes = sum(card.widths.values())
    planes = modality_planes(card.channels) if card.fusion == "late" else None
    if card.encoder == FULL_RESOLUTION:
        widths = card.decoder_channels[::-1]
        encoder = SummedEncoders(planes, widths) if planes else FullResolutionEncoder(len(card.channels), widths)
        return FullResolutionUnet(encoder, widths, classes=classes)
    from meteoseg.networks import smpunets

    if planes:
        return smpunets.TwoEncoderUnet(planes, card.encoder, card.decoder_channels, classes=classes, weights=weights)
    n_planes = len(card.channels)
    return smpunets.unet(card.encoder, card.decoder_channels, planes=n_planes, classes=classes, weights=weights)


def _pixel_branch(card: NetworkCard) -> nn.Module:
    width, classes = card.pixel_width, sum(card.widths.values())

    def make(n_planes: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(n_planes, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, classes, 1),
        )

    return ByModality(modality_planes(card.channels), make) if card.fusion == "late" else make(len(card.channels))


def pretrained_weights(encoder: str) -> str | bool:
    """Return what smp wants to hear: timm encoders (``tu-``) name their weights themselves."""
    return True if encoder.startswith("tu-") else "imagenet"


def build_network(card: NetworkCard, *, pretrained: bool = False) -> tuple[Network, tuple[str, ...]]:
    """Make a fresh network, with pretrained encoder weights where asked for and obtainable.

    Returns
    -------
    The network, and notes for the card: where the weights cannot be fetched the encoder starts at
    random, which is logged as a warning and noted.
    """
    return pretrained_or_random(lambda wanted: Network(card, pretrained=wanted), card.encoder, pretrained=pretrained)


def pretrained_or_random(
    make: Callable[[bool], _Module], encoder: str, *, pretrained: bool
) -> tuple[_Module, tuple[str, ...]]:
    """Call `make` with True, or with False where no weights are asked for or can be fetched; see `build_network`."""
    if not pretrained:
        return make(False), ()
    try:
        return make(True), (f"encoder {encoder} started from pretrained weights",)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        note = f"pretrained weights of {encoder} could not be fetched ({reason}); encoder started at random"
        LOGGER.warning("%s.", note)
        return make(False), (note,)


@dataclass(frozen=True)
class Model:
    """A loaded model: its card, its networks by name (in eval mode), and the file it came from."""

    card: ModelCard
    networks: Mapping[str, Network]
    path: Path
    sha256: str


def save_model(path: Path, card: ModelCard, states: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Write a model file: the tensors of each network in half precision, the card as JSON beside them.

    A tensor whose values leave the range of half precision is kept in single precision.

    Raises
    ------
    InputError : the networks of the card and of `states` differ.
    """
    wanted = {network.name for network in card.networks}
    if wanted != set(states):
        raise InputError(f"Card '{card.name}' names the networks {sorted(wanted)} but {sorted(states)} were given.")
    tensors = {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}
    return write_tensors(path, card.to_json(), tensors)


def load_model(name_or_path: str | Path, device: str | torch.device | None = None) -> Model:
    """Load a model onto `device` (None: CUDA where there is one, else the processor).

    Parameters
    ----------
    name_or_path : a shipped name (see `shipped_models`), a model file, or a folder that a training wrote.

    Raises
    ------
    UnknownNameError : no such model.
    InputError : the file is damaged or is no model of this package.
    """
    path = find_model(name_or_path)
    card, states = _read(path)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    networks = {}
    for network_card in card.networks:
        network = Network(network_card)
        try:
            network.load_state_dict({key: value.float() for key, value in states[network_card.name].items()})
        except (RuntimeError, KeyError) as error:
            raise InputError(
                f"Model {path} lacks weights of its network '{network_card.name}': damaged file."
            ) from error
        network.to(target).to(memory_format=torch.channels_last)
        networks[network_card.name] = network.eval()
    return Model(card, networks, path, file_sha256(path))


def read_card(name_or_path: str | Path) -> ModelCard:
    """Read only the card of a model."""
    path = find_model(name_or_path)
    return _read_card(path)


def _read_card(path: Path) -> ModelCard:
    return ModelCard.from_json(read_card_text(path))


def _read(path: Path) -> tuple[ModelCard, dict[str, dict[str, Tensor]]]:
    card = _read_card(path)
    states: dict[str, dict[str, Tensor]] = {network.name: {} for network in card.networks}
    for full_name, tensor in read_tensors(path).items():
        name, _, key = full_name.partition(".")
        if name in states:
            states[name][key] = tensor
    return card, states


def combine_models(path: Path, name: str, parts: Sequence[str | Path], **changes: Any) -> Path:
    """Join the networks of several model files into one family and write it.

    Parameters
    ----------
    path, name : file to write and name of the new model.
    parts : models (names, files or training folders) whose networks have different names.
    changes : fields of `ModelCard` to set, such as ``licence`` and ``citation``.

    Raises
    ------
    InputError : two parts have a network of the same name, or there is no part.
    """
    known = {entry.name for entry in fields(ModelCard)}
    for key in changes:
        if key not in known:
            raise UnknownNameError.of("field of a model card", key, known)
    read = [_read(find_model(part)) for part in parts]
    cards = [card for card, _ in read]
    scores = {f"{card.name}.{key}": value for card in cards for key, value in card.scores.items()}
    card = ModelCard(
        name,
        tuple(network for part in cards for network in part.networks),
        training_data=tuple(dict.fromkeys(entry for part in cards for entry in part.training_data)),
        scores=scores,
        created=max((part.created for part in cards), default=""),
        notes=tuple(dict.fromkeys(note for part in cards for note in part.notes)),
    )
    states = {key: state for _, part in read for key, state in part.items()}
    return save_model(path, replace(card, **changes), states)


def fast_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 in hardware (AMX or AVX512-BF16)."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags
