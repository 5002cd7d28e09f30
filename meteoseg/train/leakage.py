"""Find sections that share pixels, so that none is trained on and held out: now, or by the start model before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.section import Section

Hashes = NDArray[np.uint64]

#: Blocks of 2 rows x 12 pixels are compared, one in so many, chosen by the values of their first two pixels.
_ROWS, _COLS, _ONE_IN = 2, 12, 128
#: A block counts where so many of its values differ: flat areas and low counts agree by chance.
_MIN_VALUES = 8
#: Sections share pixels when so many blocks agree, and so large a part of the smaller set.
_MIN_BLOCKS, _MIN_SHARE = 12, 0.02
_BAND_ROWS = 512
#: A record keeps so many hashes, of so many bits; a section shares pixels with it when so many are found again, and
#: is the section itself when this share is.
_N_KEPT, _KEPT_BITS, _MIN_FOUND, _SAME_SHARE = 48, 40, 3, 0.5
_RECORD = re.compile(
    r"(?P<name>.*): rows (\d+)-(\d+), columns (\d+)-(\d+) of (\d+) x (\d+) px, blocks (?P<hashes>[0-9a-f]*)"
)
_MIX = np.random.default_rng(2024).integers(1, 2**63, _ROWS * _COLS, dtype=np.uint64) | np.uint64(1)


@dataclass(frozen=True)
class Fingerprint:
    """Hashes (N,) of small blocks of raw pixels of a section, chosen by their content, not by their place."""

    name: str
    hashes: Hashes


def fingerprint(section: Section, name: str = "", *, window: Window | None = None) -> Fingerprint:
    """Take the fingerprint of the raw values of all channels of a section, or of a window of it.

    A copy under another name, in another number type or file format, or a crop, has the same hashes, whatever its
    channels are called. A copy that was turned, rescaled or stretched in contrast has not. Maps of low counts (fewer
    than 8 different values in 24 pixels) have no hashes at all.

    Examples
    --------
    >>> values = np.random.default_rng(0).integers(0, 250, (90, 90))
    >>> whole, crop = (fingerprint(Section.from_arrays("s", {"Fe": v})) for v in (values, values[20:, 7:60]))
    >>> np.isin(crop.hashes, whole.hashes).mean()
    np.float64(1.0)
    """
    area = window or Window.whole(section.shape)
    parts = [
        _block_hashes(
            section.read([channel], Window(row, area.col, min(_BAND_ROWS, area.row_end - row), area.width))[0]
        )
        for channel in section.channels
        for row in range(area.row, area.row_end, _BAND_ROWS)
    ]
    return Fingerprint(name or section.name, np.unique(np.concatenate([np.zeros(0, np.uint64), *parts])))


def _block_hashes(values: NDArray[np.float32]) -> Hashes:
    """Hash the chosen blocks of one map (H, W)."""
    # + 0 makes a negative zero positive: it equals the positive one and must hash like it.
    bits = np.ascontiguousarray(values + np.float32(0)).view(np.uint32).astype(np.uint64)
    rows, cols = bits.shape[0] - _ROWS + 1, bits.shape[1] - _COLS + 1
    if rows < 1 or cols < 1:
        return np.zeros(0, np.uint64)
    first = bits[:rows, :cols] * _MIX[0] + bits[:rows, 1 : cols + 1] * _MIX[1]
    row, col = np.nonzero((first >> np.uint64(40)) % np.uint64(_ONE_IN) == 0)
    offsets = np.mgrid[:_ROWS, :_COLS].reshape(2, -1)
    blocks = bits[row[:, None] + offsets[0], col[:, None] + offsets[1]]
    ordered = np.sort(blocks, axis=1)
    varied = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) + 1 >= _MIN_VALUES
    mixed = (blocks[varied] * _MIX).sum(axis=1, dtype=np.uint64)
    return np.asarray(mixed ^ (mixed >> np.uint64(29)))


def check_apart(held_out: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> None:
    """Check that no held-out section shares pixels with one of `others`, or with another held-out one.

    Raises
    ------
    InputError : two do; the message names them.
    """
    pair = shared_pair([*held_out, *others])
    if pair is not None:
        first, second = pair
        raise InputError(
            f"'{first}' and '{second}' show the same pixels (one is a copy or a crop of the other), so what is held "
            "out of one is trained on in the other and the score would mean nothing: keep one of them."
        )


def shared_pair(prints: Sequence[Fingerprint]) -> tuple[str, str] | None:
    """Return the names of two of `prints` that share pixels, or None."""
    owners = np.repeat(np.arange(len(prints)), [entry.hashes.size for entry in prints])
    hashes = np.concatenate([np.zeros(0, np.uint64), *(entry.hashes for entry in prints)])
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    counts = Counter(zip(owners[same].tolist(), owners[same + 1].tolist(), strict=True))
    for (first, second), count in counts.most_common():
        smaller = min(prints[first].hashes.size, prints[second].hashes.size)
        if count >= max(_MIN_BLOCKS, _MIN_SHARE * smaller):
            return prints[first].name, prints[second].name
    return None


@dataclass(frozen=True)
class Record:
    """What a model was trained on, as its card tells: a window of a section, and the smallest hashes (N,) of it.

    Examples
    --------
    >>> maps = {"Fe": np.random.default_rng(0).integers(0, 250, (90, 90))}
    >>> text = record(Section.from_arrays("A12", maps), Window(0, 10, 90, 40))
    >>> text[:61]
    'A12: rows 0-89, columns 10-49 of 90 x 90 px, blocks 05e2406e8'
    >>> Record.from_text(text).window, Record.from_text("A12") is None
    (Window(row=0, col=10, height=90, width=40), True)
    """

    name: str
    window: Window
    shape: tuple[int, int]
    hashes: Hashes

    @classmethod
    def from_text(cls, text: str) -> Record | None:
        """Read a record back; None where the text is only a name."""
        found = _RECORD.fullmatch(text)
        if found is None:
            return None
        row, last_row, col, last_col, height, width = (int(number) for number in found.groups()[1:7])
        digits, size = found["hashes"], _KEPT_BITS // 4
        hashes = [int(digits[start : start + size], 16) for start in range(0, len(digits), size)]
        window = Window(row, col, last_row - row + 1, last_col - col + 1)
        return cls(found["name"], window, (height, width), np.array(hashes, np.uint64))

    def shows(self, held: _Held) -> bool:
        """Tell whether what is held out shares pixels with what was trained on.

        The pixels decide where both have hashes; else name, size and place.
        """
        is_overlapping = self.shape == held.shape and self.window.intersect(held.window) is not None
        if min(self.hashes.size, held.whole.size) < _MIN_BLOCKS:
            return self.name == held.name and is_overlapping
        if self.shape == held.shape and np.isin(self.hashes, held.whole).mean() >= _SAME_SHARE:
            return is_overlapping
        return int(np.isin(self.hashes, held.part).sum()) >= _MIN_FOUND


@dataclass(frozen=True)
class _Held:
    """What is held out of a section: a window, and the hashes of the whole and of that part."""

    name: str
    shape: tuple[int, int]
    window: Window
    whole: Hashes
    part: Hashes


def _kept(hashes: Hashes) -> Hashes:
    return np.unique(hashes >> np.uint64(64 - _KEPT_BITS))


def record(section: Section, window: Window | None = None, *, name: str = "") -> str:
    """Write for the card of a model which window of a section it is trained on, with samples of its pixels."""
    area = window or Window.whole(section.shape)
    hashes = _kept(fingerprint(section, window=area).hashes)[:_N_KEPT]
    return (
        f"{name or section.name}: {_place(area)} of {section.shape[0]} x {section.shape[1]} px, "
        f"blocks {''.join(f'{value:0{_KEPT_BITS // 4}x}' for value in hashes.tolist())}"
    )


def _place(window: Window) -> str:
    return f"rows {window.row}-{window.row_end - 1}, columns {window.col}-{window.col_end - 1}"


def check_unseen(
    training_data: Sequence[str], section: Section, window: Window | None = None, *, model: str, remedy: str
) -> None:
    """Check that a model was not trained on what is held out now.

    Parameters
    ----------
    training_data : of the model's card: names of sections, or texts of `record`.
    window : what is held out; the whole section by default.
    model, remedy : for the message: its name, and what to do.

    Raises
    ------
    InputError : it was trained on it, or on a section of that name of which the card does not say what it looks like.
    """
    area = window or Window.whole(section.shape)
    records = {text: Record.from_text(text) for text in training_data}
    held = _held(section, area) if any(records.values()) else None
    for text, known in records.items():
        if text == section.name if known is None or held is None else known.shows(held):
            what = f"'{text}'" if known is None else f"{_place(known.window)} of '{known.name}'"
            raise InputError(
                f"Model '{model}' was trained on {what}, so it knows what would be held out now ({_place(area)} of "
                f"'{section.name}') and the score would flatter: {remedy}."
            )


def _held(section: Section, area: Window) -> _Held:
    whole = _kept(fingerprint(section).hashes)
    part = whole if area == Window.whole(section.shape) else _kept(fingerprint(section, window=area).hashes)
    return _Held(section.name, section.shape, area, whole, part)
