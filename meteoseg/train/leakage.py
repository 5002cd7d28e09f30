"""Find sections that share pixels, so that none is trained on and held out under two names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.section import Section

Hashes = NDArray[np.uint64]

#: Channels that are compared, the first three that a section has.
_COMPARED = ("BSE", "Mg", "Fe", "Si", "Ca", "Al", "S", *CANONICAL_CHANNELS)
_N_COMPARED = 3
#: Blocks of 2 rows x 12 pixels are compared, one in so many, chosen by the values of their first two pixels.
_ROWS, _COLS, _ONE_IN = 2, 12, 128
#: A block counts where so many of its values differ: flat areas and low counts agree by chance.
_MIN_VALUES = 8
#: Sections share pixels when so many blocks agree, and so large a part of the smaller set.
_MIN_BLOCKS, _MIN_SHARE = 12, 0.02
_BAND_ROWS = 512
_MIX = np.random.default_rng(2024).integers(1, 2**63, _ROWS * _COLS, dtype=np.uint64) | np.uint64(1)


@dataclass(frozen=True)
class Fingerprint:
    """Hashes (N,) of small blocks of raw pixels of a section, chosen by their content, not by their place."""

    name: str
    hashes: Hashes


def fingerprint(section: Section, name: str = "") -> Fingerprint:
    """Take the fingerprint of the raw values of a section.

    A copy under another name, in another integer type or file format, or a crop, has the same hashes. A copy that
    was turned, rescaled or stretched in contrast has not.

    Examples
    --------
    >>> values = np.random.default_rng(0).integers(0, 250, (90, 90))
    >>> whole, crop = (fingerprint(Section.from_arrays("s", {"Fe": v})) for v in (values, values[20:, 7:60]))
    >>> np.isin(crop.hashes, whole.hashes).mean()
    np.float64(1.0)
    """
    known = list(dict.fromkeys(channel for channel in _COMPARED if channel in section.channels))[:_N_COMPARED]
    rows, cols = section.shape
    parts = [
        _block_hashes(section.read([channel], Window(row, 0, min(_BAND_ROWS, rows - row), cols))[0])
        for channel in known
        for row in range(0, rows, _BAND_ROWS)
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
