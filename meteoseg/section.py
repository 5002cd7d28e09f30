"""A section: named channels on one pixel grid, each read lazily by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError, PixelSizeError, ShapeMismatchError
from meteoseg.expressions import Expression, parse_expression
from meteoseg.grid import Window
from meteoseg.sampling import sample_pixels

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: What the numbers of a channel are. ``display``: an 8-bit (or RGB-derived) picture, contrast unknown.
UNITS = ("counts", "wt%", "display", "grey", "unknown")
_MASK_ROWS = 256


class Plane(Protocol):
    """One map in a file: its shape and a windowed read; opening it must not load the pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""

    def read(self, window: Window) -> NDArray[Any]:
        """Return the stored values of `window` as an array (height, width)."""


@dataclass(frozen=True)
class ArrayPlane:
    """A map that is already in memory."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (int(self.values.shape[0]), int(self.values.shape[1]))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.values.dtype

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`."""
        return self.values[window.slices]


@dataclass(frozen=True)
class PlaneView:
    """The part of another plane that lies in `box`, a window of its grid."""

    plane: Plane
    box: Window

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.box.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.plane.dtype

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of `window`, counted from the corner of the box."""
        return self.plane.read(Window(self.box.row + window.row, self.box.col + window.col, *window.shape))


@dataclass(frozen=True)
class Channel:
    """One named map of a section.

    `name` is ``BSE`` or an element symbol; `unit` is one of `UNITS`; `reason` says why the file was taken
    for this channel.
    """

    name: str
    plane: Plane
    unit: str = "unknown"
    path: Path | None = None
    reason: str = "given"


@dataclass(frozen=True)
class Section:
    """Named channels on one grid of square-ish pixels, with a pixel size (if known) and a mask (if any).

    Parameters
    ----------
    name : what the output folder is called.
    channels : by channel name; all planes have the same shape.
    pixel_size_um : (dy, dx) in micrometres, or None where nobody said.
    pixel_size_error_pct : one standard deviation of the pixel size in percent, or None where not stated.
    mask : plane that is non-zero inside the section, or None (the whole grid).
    pixel_size_source : where the pixel size came from (metadata, file name, option, section.toml).
    is_fall : whether the meteorite was seen to fall: it did not weather on the ground.
    notes : problems and remarks that the report repeats.

    Raises
    ------
    ShapeMismatchError : planes or mask of different shapes.
    PixelSizeError : a pixel size that is not a positive finite number.

    Examples
    --------
    >>> section = Section.from_arrays("A12", {"Fe": np.ones((4, 6)), "Mg": np.zeros((4, 6))}, pixel_size_um=2.0)
    >>> section.shape, section.channel_names, section.pixel_size_um
    ((4, 6), ('Fe', 'Mg'), (2.0, 2.0))
    >>> section.read(["Fe"], Window(0, 0, 2, 3)).shape
    (1, 2, 3)
    """

    name: str
    channels: Mapping[str, Channel]
    pixel_size_um: tuple[float, float] | None = None
    pixel_size_error_pct: float | None = None
    pixel_size_source: str = "unknown"
    mask: Plane | None = None
    mask_paths: tuple[Path, ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = field(default=())
    is_fall: bool = False

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError(f"Section '{self.name}' has no channel. Name files with --channels EL=FILE.")
        shapes = {name: channel.plane.shape for name, channel in self.channels.items()}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {rows} x {cols}" for name, (rows, cols) in shapes.items())
            raise ShapeMismatchError(
                f"Maps of '{self.name}' differ in size (rows x cols): {listed}. "
                "Export them on one grid, bring the one that differs onto it with meteoseg register, "
                "or use --crop-to-common to keep the common top-left part."
            )
        if self.mask is not None and self.mask.shape != self.shape:
            raise ShapeMismatchError(
                f"Mask of '{self.name}' is {self.mask.shape[0]} x {self.mask.shape[1]} (rows x cols) but the maps "
                f"are {self.shape[0]} x {self.shape[1]}. Use --crop-to-common to keep the common top-left part, "
                "or --no-mask to ignore the mask."
            )
        if self.pixel_size_um is not None and not all(0 < size < 1e4 for size in self.pixel_size_um):
            raise PixelSizeError(
                f"Pixel size {self.pixel_size_um} um is not possible: give a positive number of micrometres."
            )

    @classmethod
    def from_arrays(
        cls,
        name: str,
        arrays: Mapping[str, NDArray[Any]],
        *,
        pixel_size_um: float | tuple[float, float] | None = None,
        mask: NDArray[Any] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Section:
        """Build a section from maps in memory, each (H, W), keyed by channel name."""
        channels = {
            key: Channel(key, ArrayPlane(np.asarray(value)), (units or {}).get(key, "unknown"), None, "given")
            for key, value in arrays.items()
        }
        size = (pixel_size_um, pixel_size_um) if isinstance(pixel_size_um, int | float) else pixel_size_um
        return cls(
            name,
            channels,
            pixel_size_um=size,
            pixel_size_source="given" if size else "unknown",
            mask=None if mask is None else ArrayPlane(np.asarray(mask)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the grid."""
        return next(iter(self.channels.values())).plane.shape

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, in the order they were found."""
        return tuple(self.channels)

    @property
    def window(self) -> Window:
        """The window that covers the whole grid."""
        return Window.whole(self.shape)

    def part(self, window: Window) -> Section:
        """Return a window of the section as a section, without copying pixels."""
        channels = {
            name: replace(channel, plane=PlaneView(channel.plane, window)) for name, channel in self.channels.items()
        }
        mask = None if self.mask is None else PlaneView(self.mask, window)
        return replace(self, channels=channels, mask=mask)

    def with_pixel_size(self, pixel_size_um: float | tuple[float, float], source: str = "option") -> Section:
        """Return the same section with another pixel size (um; one number for square pixels)."""
        size = pixel_size_um if isinstance(pixel_size_um, tuple) else (float(pixel_size_um), float(pixel_size_um))
        return replace(self, pixel_size_um=size, pixel_size_source=source)

    def require_pixel_size(self) -> tuple[float, float]:
        """Return the pixel size (dy, dx) in um.

        Raises
        ------
        PixelSizeError : nobody stated it.
        """
        if self.pixel_size_um is None:
            raise PixelSizeError(
                f"Pixel size of '{self.name}' is unknown. Give it in micrometres with --pixel-size UM "
                "(or pixel_size_um=... in Python, or in section.toml)."
            )
        return self.pixel_size_um

    def require(self, names: Sequence[str]) -> None:
        """Check that all channels `names` exist.

        Raises
        ------
        ChannelError : one does not; the message lists those that do.
        """
        for name in names:
            if name not in self.channels:
                raise ChannelError(
                    f"Channel '{name}' is missing from '{self.name}' (it has {', '.join(sorted(self.channels))}). "
                    f"Name its file with --channels {name}=FILE."
                )

    def read(self, names: Sequence[str] | None = None, window: Window | None = None) -> FloatArray:
        """Read channels as stored values, float32 (C, H, W); NaN stays NaN, and infinite values become NaN."""
        names = self.channel_names if names is None else tuple(names)
        self.require(names)
        window = window or self.window
        out = np.empty((len(names), *window.shape), np.float32)
        for plane, name in zip(out, names, strict=True):
            values = self.channels[name].plane.read(window)
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, too
                plane[...] = values
            if values.dtype.kind == "f":
                plane[np.isinf(plane)] = np.nan
        return out

    def read_mask(self, window: Window | None = None) -> BoolArray:
        """Read the section mask, bool (H, W); True everywhere where there is no mask.

        Inside is what is over 0; 8-bit masks that reach 128 are cut there (grey edges, noise of compression).
        """
        window = window or self.window
        if self.mask is None:
            return np.ones(window.shape, bool)
        values = self.mask.read(window)
        return np.asarray(values >= 128 if self._has_bright_mask else values > 0)

    @cached_property
    def _has_bright_mask(self) -> bool:
        """Whether the mask is 8 bit and reaches 128 anywhere, so that all its windows are cut alike."""
        if self.mask is None or self.mask.dtype != np.uint8:
            return False
        rows, cols = self.shape
        bands = (Window(row, 0, min(_MASK_ROWS, rows - row), cols) for row in range(0, rows, _MASK_ROWS))
        return any(int(self.mask.read(band).max(initial=0)) >= 128 for band in bands)

    def select(self, expressions: Sequence[str]) -> Stack:
        """Choose or combine channels, e.g. ``["BSE", "Mg / (Mg + Fe)", "log1p(S)", "gaussian(Al, 2)"]``.

        Raises
        ------
        ChannelError : an expression does not parse or names a channel the section lacks.
        """
        parsed = tuple(parse_expression(text) for text in expressions)
        for expression in parsed:
            self.require(expression.channels)
        if any(expression.needs_fit for expression in parsed):
            sample = dict(zip(self.channel_names, sample_pixels(self), strict=True))
            parsed = tuple(expression.fitted(sample) for expression in parsed)
        return Stack(self, parsed)


@dataclass(frozen=True)
class Stack:
    """Channel expressions bound to a section, evaluated window by window.

    Examples
    --------
    >>> section = Section.from_arrays("A", {"Mg": np.full((2, 3), 3.0), "Fe": np.ones((2, 3))})
    >>> stack = section.select(["Mg / (Mg + Fe)", "Fe"])
    >>> stack.names
    ('Mg / (Mg + Fe)', 'Fe')
    >>> stack.read()[:, 0, 0].tolist()
    [0.75, 1.0]
    """

    section: Section
    expressions: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if not self.expressions:
            raise ChannelError("No channel was selected: give at least one name or expression.")
        for expression in self.expressions:
            self.section.require(expression.channels)
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ChannelError(f"Channel expression '{name}' is selected twice: keep one.")

    @property
    def names(self) -> tuple[str, ...]:
        """The expressions as written."""
        return tuple(expression.text for expression in self.expressions)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the grid."""
        return self.section.shape

    def read(self, window: Window | None = None) -> FloatArray:
        """Evaluate all expressions on `window`: float32 (C, H, W), equal to the same part of the whole."""
        window = window or self.section.window
        halo_px = max(expression.halo_px for expression in self.expressions)
        outer = window.padded(halo_px, self.section.shape)
        needed = tuple(dict.fromkeys(name for expression in self.expressions for name in expression.channels))
        values = dict(zip(needed, self.section.read(needed, outer), strict=True))
        planes = [expression.evaluate(values)[window.within(outer)] for expression in self.expressions]
        return np.stack(planes).astype(np.float32, copy=False)
