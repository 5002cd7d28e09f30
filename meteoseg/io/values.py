"""Scan the values of a section once, window by window, and report what is odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import is_component
from meteoseg.errors import InputError
from meteoseg.grid import row_bands
from meteoseg.io.sectionfile import cube_options_of
from meteoseg.section import Channel, Section

#: An 8-bit map with more of its pixels at 255 than this has lost its bright end.
SATURATED_SHARE = 0.05
_BAND_PX = 4_000_000


@dataclass
class _Tally:
    """Counts of one channel, gathered band by band."""

    pixels: int = 0
    nan: int = 0
    infinite: int = 0
    negative: int = 0
    nonzero: int = 0
    saturated: int = 0
    zeros: int = 0
    ones: int = 0
    twos: int = 0

    def add(self, values: NDArray[Any]) -> None:
        self.pixels += values.size
        self.nan += int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
        self.infinite += _count_infinite(values) if values.dtype.kind == "f" else 0
        self.negative += int(((values < 0) & np.isfinite(values)).sum()) if values.dtype.kind in "if" else 0
        self.nonzero += int(np.count_nonzero(values))
        self.saturated += int((values == 255).sum()) if values.dtype == np.uint8 else 0
        self.zeros += int((values == 0).sum())
        self.ones += int((values == 1).sum())
        self.twos += int((values == 2).sum())

    @property
    def is_all_zero(self) -> bool:
        return self.nonzero - self.nan - self.infinite <= 0


def _count_infinite(values: NDArray[Any]) -> int:
    """Count what `Section.read` takes for NaN: infinite values, and those that float32 cannot hold."""
    with np.errstate(over="ignore"):
        return int(np.isinf(values.astype(np.float32, copy=False)).sum())


def check_values(section: Section) -> tuple[str, ...]:
    """Count NaN, infinite, negative, saturated and censored values of each channel.

    All are kept as they are, but for infinite ones, which `Section.read` takes for NaN.

    Negative net counts of a spectrum cube are not: they belong to it. Also reported: a channel that is zero
    everywhere, 8-bit maps with over 5 % of their pixels at 255, and count maps in which 1 never occurs while 0 and 2 do
    (counts of one were stored as 0).

    Raises
    ------
    InputError : every channel is zero everywhere, or the mask leaves no pixel.

    Examples
    --------
    >>> maps = {"Fe": np.array([[1.0, np.nan, -2.0]]), "Mg": np.zeros((1, 3)), "Si": np.array([[1.0, np.inf, 2.0]])}
    >>> for line in check_values(Section.from_arrays("A12", maps)):
    ...     print(line)
    Fe: 1 of 3 pixels is NaN (33.3 %), kept
    Fe: 1 of 3 pixels is negative (33.3 %), kept
    Mg: all-zero map
    Si: 1 of 3 values is not finite (33.3 %), read as NaN
    """
    tallies = {name: _tally(channel) for name, channel in section.channels.items()}
    if all(tally.is_all_zero for tally in tallies.values()):
        raise InputError(f"All maps of '{section.name}' are zero everywhere: check the export.")
    if not any(section.read_mask(window).any() for window in row_bands(section.shape, _BAND_PX)):
        raise InputError(f"The mask of '{section.name}' leaves no pixel: mend it, or use --no-mask to ignore it.")
    return tuple(line for name, tally in tallies.items() for line in _report(section.channels[name], tally))


def _tally(channel: Channel) -> _Tally:
    tally = _Tally()
    for window in row_bands(channel.plane.shape, _BAND_PX):
        tally.add(channel.plane.read(window))
    return tally


def _report(channel: Channel, tally: _Tally) -> list[str]:
    name = channel.name
    # Net counts scatter around 0 where an element is absent; components have both signs.
    is_net = is_component(name) or cube_options_of(channel) is not None
    if tally.is_all_zero and not tally.nan and not tally.infinite:
        return [f"{name}: all-zero map"]
    lines = [
        f"{name}: {count} of {tally.pixels} pixels {'is' if count == 1 else 'are'} {what}"
        f" ({_percent(count, tally)}), kept"
        for count, what in ((tally.nan, "NaN"), (0 if is_net else tally.negative, "negative"))
        if count
    ]
    if tally.infinite:
        verb = "is" if tally.infinite == 1 else "are"
        share = f"{tally.infinite} of {tally.pixels} values {verb} not finite ({_percent(tally.infinite, tally)})"
        lines.append(f"{name}: {share}, read as NaN")
    if tally.saturated > SATURATED_SHARE * tally.pixels:
        lines.append(f"{name}: {_percent(tally.saturated, tally)} of the pixels are saturated (255)")
    if channel.unit == "counts" and tally.zeros and tally.twos and not tally.ones:
        lines.append(f"{name}: a count of 1 never occurs though 0 and 2 do: counts of one were stored as 0")
    return lines


def _percent(count: int, tally: _Tally) -> str:
    return f"{100 * count / tally.pixels:.3g} %"
