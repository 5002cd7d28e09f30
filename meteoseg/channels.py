"""Channels for the network and for the eye: normalisation, the canonical input, false-colour composites."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import ChannelError, InputError, UnknownNameError
from meteoseg.expressions.syntax import canonical_channel
from meteoseg.grid import Window
from meteoseg.runs.output import whole_file
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section, Stack

FloatArray = NDArray[np.float32]
Color = tuple[int, int, int]
#: A preset's name, an assignment as text (``Fe=red,S=#00ff00``), or one that is parsed already.
Assignment = str | Mapping[str, Color]

#: Value of every pixel of a channel that a section lacks; present channels are never negative.
ABSENT = -1.0
#: Quantiles of a channel that become 0 and 1.
LOW_QUANTILE, HIGH_QUANTILE = 0.005, 0.995
#: Multiples of the upper quantile beyond which values are cut.
MAX_SCALED = 2.0

#: Percentiles of a channel that become black and full colour in a composite.
STRETCH_PERCENTILES = (1.0, 99.7)
COLORS: dict[str, Color] = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
    "magenta": (255, 0, 255), "cyan": (0, 255, 255), "white": (255, 255, 255), "orange": (255, 128, 0),
    "purple": (128, 0, 255),
}  # fmt: skip
_BAND_PX = 4_000_000


@dataclass(frozen=True)
class Normalisation:
    """What makes counts, display images and quantified maps comparable, channel by channel.

    ``y = sqrt(clip((x - zero) / scale, 0, 2))``: the square root gives Poisson counts an even noise (Bartlett
    1936, doi:10.2307/2983678). y runs from 0 to 1.41; NaN and a channel whose scale is 0 give 0.

    Parameters
    ----------
    names : channels, or expressions of a stack.
    zero, scale : per channel, in the unit of its map.

    Raises
    ------
    ChannelError : `names`, `zero` and `scale` differ in length, or hold numbers that are not finite.

    Examples
    --------
    >>> normalisation = Normalisation(("Fe",), (10.0,), (100.0,))
    >>> normalisation.apply(np.array([[[10.0, 35.0, 110.0, np.nan, 9999.0]]])).round(2)
    array([[[0.  , 0.5 , 1.  , 0.  , 1.41]]], dtype=float32)
    """

    names: tuple[str, ...]
    zero: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.zero) == len(self.scale):
            lengths = f"{len(self.names)}, {len(self.zero)} and {len(self.scale)}"
            raise ChannelError(f"Normalisation with {lengths} names, zeros and scales: give as many of each.")
        if not np.isfinite(self.zero + self.scale).all() or any(scale < 0 for scale in self.scale):
            raise ChannelError("Normalisation holds a number that is not finite or a negative scale: fit it anew.")

    def apply(self, values: NDArray[Any]) -> FloatArray:
        """Normalise stored values (C, H, W), in the order of `names`; returns a new float32 (C, H, W).

        Raises
        ------
        ChannelError : another number of channels.
        """
        if values.ndim != 3 or len(values) != len(self.names):
            raise ChannelError(f"Array of shape {values.shape} given, needed is (C, H, W) with C = {len(self.names)}.")
        out = np.empty(values.shape, np.float32)
        for plane, source, zero, scale in zip(out, values, self.zero, self.scale, strict=True):
            _normalise(source, zero, scale, out=plane)
        return out

    def only(self, names: Sequence[str]) -> Normalisation:
        """Return the part for `names`, in their order.

        Raises
        ------
        ChannelError : a name was not fitted.
        """
        for name in names:
            if name not in self.names:
                raise ChannelError(f"Channel '{name}' has no normalisation (fitted: {', '.join(self.names)}).")
        at = [self.names.index(name) for name in names]
        return Normalisation(tuple(names), tuple(self.zero[i] for i in at), tuple(self.scale[i] for i in at))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return plain lists for JSON: names, zero, scale."""
        return {"names": list(self.names), "zero": list(self.zero), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Normalisation:
        """Build from what `to_dict` returned.

        Raises
        ------
        ChannelError : a key is missing or a value is no number.
        """
        try:
            zero, scale = (tuple(float(value) for value in data[key]) for key in ("zero", "scale"))
            return cls(tuple(data["names"]), zero, scale)
        except (KeyError, TypeError, ValueError) as error:
            raise ChannelError(f"Normalisation record is damaged ({error}): it needs names, zero and scale.") from error


def _normalise(source: NDArray[Any], zero: float, scale: float, *, out: FloatArray) -> None:
    if np.float32(scale) == 0:
        out[...] = 0
        return
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = source
        np.subtract(out, np.float32(zero), out=out)
        np.divide(out, np.float32(scale), out=out)
        # fmax, unlike maximum, takes the number where the other is NaN.
        np.fmax(out, np.float32(0), out=out)
    np.minimum(out, np.float32(MAX_SCALED), out=out)
    np.sqrt(out, out=out)


def fit_normalisation(source: Section | Stack, names: Sequence[str] | None = None) -> Normalisation:
    """Fit zero (0.5 % quantile) and scale (99.5 % quantile - zero) of each channel.

    The statistics are of at most about 1 M measured pixels inside the mask, in bands of rows spread over the
    section; pixels that are exactly 0 in all of several channels are empty mosaic fields and left out. Where
    both quantiles are equal (an element in a few grains only) the largest value takes the place of the upper
    one; a constant channel, and one without a finite value, gets the scale 0.

    Parameters
    ----------
    source : a section, or a stack (its expressions are the channels).
    names : channels of a section, default all; not for a stack.

    Raises
    ------
    ChannelError : `names` with a stack, a channel the section lacks, or no measured pixel inside the mask.

    Examples
    --------
    >>> section = Section.from_arrays("A", {"Fe": np.arange(201).reshape(3, 67) + 5})
    >>> fit_normalisation(section)
    Normalisation(names=('Fe',), zero=(6.0,), scale=(198.0,))
    """
    if isinstance(source, Stack) and names is not None:
        raise ChannelError("A stack is normalised whole: select other expressions instead of giving names.")
    section = source if isinstance(source, Section) else source.section
    section.require(names or ())
    sample = sample_pixels(section, None if isinstance(source, Section) else source.read)
    if not sample.size:
        raise ChannelError(f"'{section.name}' has no measured pixel: all channels are 0 inside its mask. Check both.")
    fitted = [_zero_and_scale(channel) for channel in sample]
    known = section.channel_names if isinstance(source, Section) else source.names
    whole = Normalisation(known, *(tuple(part) for part in zip(*fitted, strict=True)))
    return whole if names is None else whole.only(names)


def _zero_and_scale(values: FloatArray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = (float(edge) for edge in np.quantile(finite, (LOW_QUANTILE, HIGH_QUANTILE)))
    return low, (high if high > low else float(finite.max())) - low


def canonical_input(
    section: Section, normalisation: Normalisation, window: Window, channel_names: Sequence[str]
) -> FloatArray:
    """Read normalised channels in a fixed order: float32 (C, H, W), `ABSENT` where one is lacking.

    Parameters
    ----------
    normalisation : fitted to this section; needed for those of `channel_names` that the section has.
    channel_names : the input planes of a network.

    Raises
    ------
    ChannelError : the section has none of the channels, or has one that was not fitted.

    Examples
    --------
    >>> section = Section.from_arrays("A", {"Fe": np.array([[0, 1, 4]])})
    >>> normalisation = Normalisation(("Fe",), (0.0,), (4.0,))
    >>> canonical_input(section, normalisation, section.window, ["Mg", "Fe"]).tolist()
    [[[-1.0, -1.0, -1.0]], [[0.0, 0.5, 1.0]]]
    """
    present = [name for name in channel_names if name in section.channels]
    if not present:
        has = ", ".join(section.channel_names)
        raise ChannelError(f"'{section.name}' has none of the channels {', '.join(channel_names)} (it has {has}).")
    out = np.full((len(channel_names), *window.shape), ABSENT, np.float32)
    at = [name in section.channels for name in channel_names]
    out[at] = normalisation.only(present).apply(section.read(present, window))
    return out


@cache
def _presets() -> dict[str, dict[str, Color]]:
    text = resources.files("meteoseg").joinpath("rules/composites.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text).items()
    return {name: {key: _color(color) for key, color in table["colors"].items()} for name, table in tables}


def input_reader(section: Section, channels: Sequence[str]) -> tuple[Callable[[Window], FloatArray], tuple[str, ...]]:
    """Return the function that reads normalised input on the section's own grid, and the input planes.

    Parameters
    ----------
    channels : channel expressions; none: the canonical list, `ABSENT` where the section lacks one.
    """
    if not channels:
        known = [name for name in CANONICAL_CHANNELS if name in section.channels]
        fitted = fit_normalisation(section, known)
        return (lambda window: canonical_input(section, fitted, window, CANONICAL_CHANNELS)), CANONICAL_CHANNELS
    stack = section.select(channels)
    fitted = fit_normalisation(stack)
    return (lambda window: fitted.apply(stack.read(window))), stack.names


def composite_names() -> tuple[str, ...]:
    """Return the names of the composite presets."""
    return tuple(_presets())


def parse_assignment(text: str) -> dict[str, Color]:
    """Parse ``Fe=red,S=#00ff00`` into channel -> (red, green, blue), 0-255 each.

    Raises
    ------
    ChannelError : a part without ``=``, a name that is no channel, or a channel named twice.
    UnknownNameError : a colour that is neither in `COLORS` nor ``#rrggbb``.

    Examples
    --------
    >>> parse_assignment("Fe=red, Sul=#00ff00")
    {'Fe': (255, 0, 0), 'S': (0, 255, 0)}
    """
    colors: dict[str, Color] = {}
    for part in text.split(","):
        name, equals, color = (piece.strip() for piece in part.partition("="))
        channel = canonical_channel(name)
        if not equals or channel is None:
            raise ChannelError(
                f"Colour assignment '{text}': '{part.strip()}' is not CHANNEL=COLOUR with BSE or an "
                "element symbol. Write it like Fe=red,S=#00ff00."
            )
        if channel in colors:
            raise ChannelError(f"Colour assignment '{text}' names channel '{channel}' twice: keep one colour.")
        colors[channel] = _color(color)
    return colors


def _color(text: str) -> Color:
    if text.lower() in COLORS:
        return COLORS[text.lower()]
    digits = text.removeprefix("#")
    if not text.startswith("#") or len(digits) != 6 or set(digits.lower()) - set("0123456789abcdef"):
        raise UnknownNameError.of("colour", text, [*COLORS, "#rrggbb"])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def composite_colors(preset_or_assignment: Assignment) -> dict[str, Color]:
    """Return the colours of a preset (``FeSO``) or of an assignment (``Fe=red,S=#00ff00``) by channel.

    An assignment that is parsed already is returned as it is.

    Raises
    ------
    UnknownNameError : no preset of this name.
    ChannelError : an assignment that cannot be read.
    """
    if not isinstance(preset_or_assignment, str):
        return dict(preset_or_assignment)
    if "=" in preset_or_assignment:
        return parse_assignment(preset_or_assignment)
    if preset_or_assignment not in _presets():
        raise UnknownNameError.of("preset", preset_or_assignment, composite_names())
    return dict(_presets()[preset_or_assignment])


def composite(section: Section, preset_or_assignment: Assignment, *, max_px: int = 4000) -> NDArray[np.uint8]:
    """Mix channels into a false-colour picture: uint8 (h, w, 3).

    Each channel is stretched between its 1 and 99.7 percentile inside the mask and added in its colour; the
    sum is cut at 255. Outside the mask, and where nothing was measured, the picture is black. A section with
    a side longer than `max_px` is averaged over square blocks of pixels first.

    Parameters
    ----------
    preset_or_assignment : one of `composite_names`, or an assignment such as ``Fe=red,S=#00ff00``,
        as text or as `parse_assignment` returns it.

    Raises
    ------
    UnknownNameError : an unknown preset or colour.
    ChannelError : the section lacks a channel of the composite, or `max_px` is below 1.

    Examples
    --------
    >>> section = Section.from_arrays("A", {"Fe": np.array([[0, 5, 10]]), "Mg": np.array([[8, 4, 0]])})
    >>> composite(section, "Fe=red,Mg=blue").tolist()
    [[[0, 0, 255], [127, 0, 127], [255, 0, 0]]]
    """
    colors = composite_colors(preset_or_assignment)
    if max_px < 1:
        raise ChannelError(f"The longest side of a composite must be at least 1 px, got {max_px}.")
    missing = [name for name in colors if name not in section.channels]
    if missing:
        title = preset_or_assignment if isinstance(preset_or_assignment, str) else ",".join(colors)
        raise ChannelError(
            f"Composite '{title}' needs {', '.join(missing)}, missing from '{section.name}' "
            f"(it has {', '.join(section.channel_names)}). Take another preset or give Fe=red,Mg=green."
        )
    factor = -(-max(section.shape) // max_px)
    bands = [_block_means(section, tuple(colors), band, factor) for band in _bands(section.shape, factor)]
    return _mix(np.concatenate(bands, axis=1), list(colors.values()))


def _bands(shape: tuple[int, int], factor: int) -> Iterator[Window]:
    rows = max(1, _BAND_PX // (shape[1] * factor)) * factor
    return (Window(row, 0, min(rows, shape[0] - row), shape[1]) for row in range(0, shape[0], rows))


def _block_means(section: Section, names: tuple[str, ...], window: Window, factor: int) -> FloatArray:
    """Average `factor` x `factor` blocks over finite pixels inside the mask: (C, h, w), NaN without any."""
    inside = section.read_mask(window)
    shape = (-(-window.height // factor), -(-window.width // factor))
    means = np.full((len(names), *shape), np.nan, np.float32)
    for mean, name in zip(means, names, strict=True):
        values = section.read([name], window)[0]
        valid = inside & np.isfinite(values)
        values[~valid] = 0
        share = _shrunk(valid.astype(np.float32), factor)
        np.divide(_shrunk(values, factor), share, out=mean, where=share > 0)
    return means


def _shrunk(values: FloatArray, factor: int) -> FloatArray:
    """Mean over square blocks, those at the right and lower border filled up with zeros."""
    spare = [(0, -length % factor) for length in values.shape]
    filled = np.pad(values, spare) if any(after for _, after in spare) else values
    size = (filled.shape[1] // factor, filled.shape[0] // factor)
    return np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), np.float32)


def _mix(planes: FloatArray, colors: Sequence[Color]) -> NDArray[np.uint8]:
    """Stretch planes (C, h, w) and add them in their colours; NaN is black."""
    measured = (planes != 0).any(axis=0) if len(planes) > 1 else np.ones(planes.shape[1:], bool)
    picture = np.zeros((*planes.shape[1:], 3), np.float32)
    for plane, color in zip(planes, colors, strict=True):
        finite = plane[measured & np.isfinite(plane)]
        if not finite.size:
            continue
        low, high = (float(edge) for edge in np.percentile(finite, STRETCH_PERCENTILES))
        high = high if high > low else float(finite.max())
        if high > low:
            stretched = np.nan_to_num(np.clip((plane - low) / (high - low), 0, 1), copy=False)
            for primary, strength in enumerate(color):
                picture[..., primary] += strength * stretched
    picture[~measured] = 0
    return (np.minimum(picture, 255) + 0.5).astype(np.uint8)


def save_png(rgb: NDArray[np.uint8], path: Path) -> None:
    """Write a picture (h, w, 3) as PNG; it replaces `path` only when complete.

    Raises
    ------
    DiskFullError : the disk is full.
    InputError : the folder does not exist or cannot be written to, or the name is not that of a PNG.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"Cannot write the picture {path}: it becomes a PNG, so give a name that ends in .png.")
    try:
        with whole_file(path) as part:
            Image.fromarray(rgb).save(part, format="PNG")
    except OSError as error:
        raise InputError(f"Cannot write the picture {path}: {error.strerror or error}.") from error
