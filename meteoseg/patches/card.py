"""What a model for patches takes and delivers: its card, written into its file as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from meteoseg._version import __version__
from meteoseg.errors import InputError, UnknownNameError

TASK = "patches"
#: Label of an image that the network is not sure of.
UNCLASSIFIED = "unclassified"
#: How an image comes to the size of the input.
FITS = ("exact", "resize", "pad")
#: What values are divided by: quantiles of the training images, of each image, of the whole section, or nothing.
NORMALISATIONS = ("dataset", "image", "section", "none")
#: What is done with the surroundings of an object: kept, set to 0, or kept with the object as one more plane.
MASKS = ("none", "cut", "plane")
#: Where channels meet: in the first convolution, or before the head, from an encoder each or one for all.
FUSIONS = ("early", "late", "shared")
FULL_RESOLUTION_WIDTHS = (16, 32, 64, 96)


#: Turns and flips that leave the label as it is.
SYMMETRIES = ("none", "square", "mirrors", "mirror-rows", "mirror-cols")


@dataclass(frozen=True)
class CropPlan:
    """How objects are cropped; see `PatchCard` for what the fields mean."""

    channels: tuple[str, ...]
    canonical: bool = False
    patch_px: int = 96
    mask: str = "none"
    margin: float = 0.1
    min_diameter_px: float = 0.0

    @property
    def n_planes(self) -> int:
        """Number of planes of a crop: the channels and, with the mask as a plane, that of the object."""
        return len(self.channels) + (self.mask == "plane")


@dataclass(frozen=True)
class PatchCard:
    """What a model for patches is, what it was trained on and how well it does.

    Parameters
    ----------
    classes : names, in the order of the logits.
    channels : channel expressions, in the order of the input planes.
    canonical : the channels are plain names and absent ones are filled with ``channels.ABSENT``.
    patch_px : side of the input; `fit`, `normalisation`, `mask` : see `FITS`, `NORMALISATIONS`, `MASKS`.
    zero, scale : per channel, of the normalisation ``dataset``.
    margin : of objects, what a crop shows around them, as a share of their longer side.
    min_diameter_px : objects smaller than this (equivalent diameter on the maps) stay unclassified.
    encoder, widths, fusion, branches, dropout : see `meteoseg.patches.network`.
    views : flips and turns of each image whose logits are averaged, one of `SYMMETRIES`.
    temperature : divides the logits before the softmax.
    min_probability : under it an image is unclassified.
    """

    name: str
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    canonical: bool = False
    patch_px: int = 96
    fit: str = "resize"
    normalisation: str = "section"
    zero: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    mask: str = "none"
    margin: float = 0.1
    min_diameter_px: float = 0.0
    encoder: str = "full-resolution"
    widths: tuple[int, ...] = FULL_RESOLUTION_WIDTHS
    fusion: str = "early"
    branches: tuple[tuple[str, ...], ...] = ()
    dropout: float = 0.2
    views: str = "none"
    temperature: float = 1.0
    min_probability: float = 0.0
    training_data: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    created: str = ""
    package_version: str = __version__
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.classes)) < 2 or len(set(self.classes)) < len(self.classes):
            raise InputError(f"Model '{self.name}' needs two different classes or more (got {list(self.classes)}).")
        if UNCLASSIFIED in self.classes:
            raise InputError(f"'{UNCLASSIFIED}' is what the network is not sure of, no class: leave such labels empty.")
        if not self.channels:
            raise InputError(f"Model '{self.name}' needs a channel.")
        for what, value, known in (
            ("fit", self.fit, FITS),
            ("normalisation", self.normalisation, NORMALISATIONS),
            ("mask", self.mask, MASKS),
            ("fusion", self.fusion, FUSIONS),
            ("views", self.views, SYMMETRIES),
        ):
            if value not in known:
                raise UnknownNameError.of(what, value, known)
        self.branch_planes()

    @property
    def crops(self) -> CropPlan:
        """How objects are cropped for this network."""
        return CropPlan(self.channels, self.canonical, self.patch_px, self.mask, self.margin, self.min_diameter_px)

    @property
    def n_planes(self) -> int:
        """Number of input planes."""
        return self.crops.n_planes

    def branch_planes(self) -> list[list[int]]:
        """Return the input planes of each encoder; that of the object goes to all.

        Raises
        ------
        InputError : branches that do not part the channels, or that share an encoder and differ in size.

        Examples
        --------
        >>> PatchCard("n", ("a", "b"), ("U", "V", "W"), fusion="late", branches=(("U", "W"), ("V",))).branch_planes()
        [[0, 2], [1]]
        """
        if self.fusion == "early":
            return [list(range(self.n_planes))]
        branches = self.branches or tuple((name,) for name in self.channels)
        named = [name for branch in branches for name in branch]
        if sorted(named) != sorted(self.channels):
            raise InputError(
                f"[network] branches hold {named} but the channels are {list(self.channels)}: name each channel once."
            )
        if self.fusion == "shared" and len({len(branch) for branch in branches}) > 1:
            raise InputError('fusion = "shared" needs branches of as many channels each: change branches, or "late".')
        extra = [len(self.channels)] if self.mask == "plane" else []
        return [[self.channels.index(name) for name in branch] + extra for branch in branches]

    def to_json(self) -> str:
        """Return the card as JSON text."""
        return json.dumps({"task": TASK, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> PatchCard:
        """Read a card back.

        Raises
        ------
        InputError : the text is no card of a model for patches, or one of another version of the package.

        Examples
        --------
        >>> card = PatchCard("mine", ("a", "b"), ("U", "V"), fusion="shared")
        >>> PatchCard.from_json(card.to_json()) == card
        True
        """
        try:
            data = json.loads(text)
            if data.pop("task", "") != TASK:
                raise InputError(
                    f"Model '{data.get('name')}' labels pixels, not whole images: use it with meteoseg segment, or "
                    'train one with task = "patches".'
                )
            return cls(**{key: _tuples(value) for key, value in data.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"The model card cannot be read ({error}): the file is damaged or too new.") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
