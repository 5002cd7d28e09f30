"""Disk space: what a run needs, whether it is there, and what is said where it runs out."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meteoseg.errors import DiskFullError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_RESERVING = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_BLOCK = bytes(1 << 20)


@dataclass(frozen=True)
class DiskNeed:
    """Disk space that a run takes in its output folder, in bytes.

    Parameters
    ----------
    what : the run, in the middle of a sentence, such as ``segmenting 'A12'``.
    scratch : taken while it runs and given back; exact. results : estimate of the files that stay.
    remedy : what else helps than to free some space.
    """

    what: str
    scratch: int
    results: int
    remedy: str = "choose a folder on another disk with -o"

    @property
    def total(self) -> int:
        """Most that is taken at a time."""
        return self.scratch + self.results

    def __str__(self) -> str:
        """Say what is needed, as a half sentence."""
        only = f", {size_text(self.scratch)} of it only while it runs" if self.scratch else ""
        return f"{self.what} needs about {size_text(self.total)} there{only}"


def size_text(n_bytes: float) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> size_text(12_800_000_000), size_text(34_560_000), size_text(5000)
    ('12.8 GB', '34.6 MB', '5 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"


def free_bytes(folder: Path) -> int:
    """Return the free space of the disk that `folder` lies on, or will lie on where it is still to be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, need: DiskNeed) -> str:
    """Return a warning where `folder` has less space than a run is estimated to need, else an empty text.

    Raises
    ------
    DiskFullError : there is less than the run certainly needs.
    """
    free = free_bytes(folder)
    if free >= need.total:
        return ""
    text = f"{folder} has {size_text(free)} free and {need}"
    if free < need.scratch:
        raise DiskFullError(f"{text}: free some space, or {need.remedy}.")
    return f"{text}: it may run full."


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error says that a disk, or the share of a user in it, is full, or a file too large for it."""
    return isinstance(error, OSError) and error.errno in (*_FULL, errno.EFBIG)


@contextmanager
def disk_full_told(folder: Path, need: DiskNeed | None = None) -> Iterator[None]:
    """Say which disk is full and what to do where what is done inside, mostly in `folder`, finds one full.

    Raises
    ------
    DiskFullError : in the place of the error of the system.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(_full_text(error, folder, need)) from error


def _full_text(error: OSError, folder: Path, need: DiskNeed | None) -> str:
    named = Path(os.fsdecode(error.filename)).parent if isinstance(error.filename, str | bytes) else folder
    place = folder if named.absolute().is_relative_to(folder.absolute()) else named
    remedy = "choose another place with -o" if need is None else need.remedy
    if error.errno == errno.EFBIG:
        return (
            f"{place} takes no files as large as this run writes (its file system, or ulimit -f, forbids it): "
            f"lift that limit, or {remedy}."
        )
    needs = "" if need is None else f"; {need}"
    return f"{place} is full{needs}: free some space and run it again, or {remedy}."


def reserve(path: Path, n_bytes: int) -> None:
    """Make a file of zeros whose blocks are taken on the disk: writing to a memory map of it then cannot fail.

    A program that writes to a memory map whose disk is full is killed by the system, without a word.

    Raises
    ------
    OSError : the disk has too little space.
    """
    try:
        with path.open("wb") as handle:
            if not _reserved(handle.fileno(), n_bytes):
                for start in range(0, n_bytes, len(_BLOCK)):
                    handle.write(_BLOCK[: n_bytes - start])
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _reserved(file: int, n_bytes: int) -> bool:
    """Reserve blocks where system and file system know how; False where they do not."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(file, 0, n_bytes)
    except OSError as error:
        if error.errno in _NO_RESERVING:
            return False
        raise
    return True
