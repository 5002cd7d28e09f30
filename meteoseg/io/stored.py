"""Files of maps that are read while a run goes on: they must stay what they were when they were opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import Window

#: Time of the last change (ns) and size (bytes), which tell a rewritten file from the one opened.
Stamp = tuple[int, int]
#: Rows of a window are read whole where it takes at least this share of them, else piece by piece.
_WHOLE_ROWS = 0.25
_SHORT = "it ends early"


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file.

    Raises
    ------
    InputError : the file is gone, or its disk does not answer.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise _gone(path, error) from error
    return stat.st_mtime_ns, stat.st_size


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """Check that a file is the one that was opened.

    Raises
    ------
    InputError : it is gone or was written to.
    """
    now = stamp_of(path)
    if now == stamp:
        return
    how = f"is {now[1]} bytes long instead of {stamp[1]}" if now[1] != stamp[1] else "was written to"
    raise InputError(
        f"{path} changed while it was in use (it {how}): copy it again if it is damaged, leave it alone during a run, "
        "and run again."
    )


@contextmanager
def opened(path: Path, stamp: Stamp) -> Iterator[BinaryIO]:
    """Open a file to read parts of it, and check before and after that it is the one of `stamp`.

    Raises
    ------
    InputError : it is gone, was written to, or cannot be read.
    """
    check_unchanged(path, stamp)
    try:
        with path.open("rb") as handle:
            yield handle
    except OSError as error:
        check_unchanged(path, stamp)
        raise _gone(path, error) from error
    check_unchanged(path, stamp)


def _gone(path: Path, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    return InputError(
        f"{path} cannot be read any more ({reason}): put it back or connect its disk again, and run again."
    )


def read_piece(handle: BinaryIO, at: int, n_bytes: int) -> bytes:
    """Return `n_bytes` bytes of an opened file from position `at` on.

    Raises
    ------
    OSError : the file ends before.
    """
    handle.seek(at)
    piece = handle.read(n_bytes)
    if len(piece) < n_bytes:
        raise OSError(None, _SHORT)
    return piece


def _fill(handle: BinaryIO, out: NDArray[np.uint8], at: int) -> None:
    """Fill `out` (N,) with the bytes of an opened file from position `at` on.

    Raises
    ------
    OSError : the file ends before.
    """
    handle.seek(at)
    done, view = 0, memoryview(out.data)
    while done < len(view):
        count = handle.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise OSError(None, _SHORT)
        done += count


def read_grid(
    handle: BinaryIO, stored: np.dtype[np.generic], at: int, shape: tuple[int, int, int], window: Window
) -> NDArray[np.generic]:
    """Read a window of a grid that lies in an opened file uncompressed, row after row.

    Not by a memory map: a file that becomes shorter would end the program without a word.

    Parameters
    ----------
    handle : of `opened`. stored : type of the values. at : position of the first one.
    shape : (rows, cols, samples) of the grid.

    Returns
    -------
    (height, width, samples) values as stored.

    Raises
    ------
    OSError : the file ends before.
    """
    _, cols, samples = shape
    pixel = samples * stored.itemsize
    whole = window.width >= _WHOLE_ROWS * cols
    width, col = (cols, 0) if whole else (window.width, window.col)
    out = np.empty((window.height, width * pixel), np.uint8)
    if whole:
        _fill(handle, out.reshape(-1), at + window.row * cols * pixel)
    else:
        for number, line in enumerate(out):
            _fill(handle, line, at + ((window.row + number) * cols + col) * pixel)
    values = out.view(stored).reshape(window.height, width, samples)
    return values[:, window.col - col : window.col - col + window.width]
