"""Memory that runs out is told on one line, whichever library noticed."""

from __future__ import annotations

import errno

import pytest

from meteoseg.errors import MemoryLimitError
from meteoseg.system import memory
from meteoseg.system.memory import memory_limit, short_memory_told

TORCH = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes. Error code 12 (Cannot allocate memory)"  # noqa: E501


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 GiB for an array"),
        RuntimeError(TORCH),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_libraries_say_becomes_a_remedy(monkeypatch, error):
    monkeypatch.setattr(memory, "memory_limit", lambda: 3_000_000_000)
    words = (
        r"this process may use 3.0 GB\): give it more memory, or use fewer threads .*, or a larger --chondrule-pixel\."
    )
    with pytest.raises(MemoryLimitError, match=words), short_memory_told("a larger --chondrule-pixel"):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), OSError(errno.ENOENT, "No such file")])
def test_other_errors_pass(error):
    with pytest.raises(type(error), match=r"shapes|No such file"), short_memory_told():
        raise error


def test_the_smallest_limit_counts(monkeypatch):
    monkeypatch.setattr(memory, "_address_limit", lambda: 5_000)
    monkeypatch.setattr(memory, "_cgroup_limits", lambda: iter([9_000, 4_000]))
    assert memory_limit() == 4_000


def test_without_a_limit_none_is_named(monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: None)
    assert memory.memory_text().startswith("Memory ran out: give it more memory")
