"""Memory that runs out: how libraries say so, which limit holds, what is said to the user."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meteoseg.errors import MemoryLimitError
from meteoseg.system.diskspace import size_text

#: What libraries write into errors of other types when memory runs out.
_SIGNS = (
    "can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad_alloc",
    "can't start new thread", "could not create a memory", "failed to map segment", "unable to allocate",
)  # fmt: skip
_GENERAL = "give it more memory, or use fewer threads (OMP_NUM_THREADS=1)"
_CGROUPS = Path("/sys/fs/cgroup")


def is_memory_short(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out.

    Examples
    --------
    >>> is_memory_short(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes."))
    True
    >>> is_memory_short(MemoryError()), is_memory_short(RuntimeError("shapes do not match"))
    (True, False)
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError | SystemError) and any(sign in text for sign in _SIGNS)


def memory_text(remedy: str = "") -> str:
    """Say that memory ran out, which limit holds, and what to do; `remedy` names what else helps."""
    limit = memory_limit()
    held = "" if limit is None else f" (this process may use {size_text(limit)})"
    return f"Memory ran out{held}: {_GENERAL}{', or ' if remedy else ''}{remedy}."


@contextmanager
def short_memory_told(remedy: str = "") -> Iterator[None]:
    """Say what to do where what is done inside runs out of memory.

    Raises
    ------
    MemoryLimitError : in the place of the error of a library.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError, SystemError) as error:
        if not is_memory_short(error):
            raise
        raise MemoryLimitError(memory_text(remedy)) from error


def memory_limit() -> int | None:
    """Return the bytes that this process may use, the smallest limit that is set; None where none is known."""
    limits = [limit for limit in (_address_limit(), *_cgroup_limits()) if limit is not None]
    return min(limits, default=None)


def _address_limit() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _cgroup_limits() -> Iterator[int]:
    """Yield the limits of the control groups (version 2) that this process is in, as containers and queues set them."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    inner = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    for folder in (_CGROUPS / inner, *(_CGROUPS / inner).parents):
        if not folder.is_relative_to(_CGROUPS):
            return
        try:
            text = (folder / "memory.max").read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdigit():
            yield int(text)


def give_back() -> None:
    """Give freed memory back to the system, where the C library keeps it (glibc); elsewhere do nothing.

    Networks free many blocks of some MB, which the library keeps for later: hundreds of MiB that count as used.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def available_memory() -> int | None:
    """Return the bytes of memory that are free for this process to take, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return memory_limit()
    free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    limit = memory_limit()
    return min([*free, *([] if limit is None else [limit])], default=None)
