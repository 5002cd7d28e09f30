"""What a result was made from: input hashes, versions, machine, timings, peak memory."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from meteoseg._version import __version__
from meteoseg.io import stored_as
from meteoseg.io.stored import Stamp, opened, stamp_of
from meteoseg.section import Channel, Section

_PACKAGES = ("numpy", "scipy", "scikit-image", "pandas", "torch", "segmentation-models-pytorch", "tifffile")


@dataclass
class Steps:
    """Times the steps of a run and tells the user about them on stderr."""

    show: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the step `name` and tell about it."""
        self._say(f"{name} ...")
        try:
            with self.quietly(name):
                yield
        except BaseException:
            self._say("")  # on a terminal, what went wrong stands on a line of its own
            raise
        self._say(f"{name}: {self.seconds[name]:.1f} s\n")

    @contextmanager
    def quietly(self, name: str) -> Iterator[None]:
        """Time the step `name`."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)

    def tell(self, text: str) -> None:
        """Tell about something else, on a line of its own."""
        self._say(f"{text}\n")

    def tiles(self, done: int, total: int) -> None:
        """Show how many tiles of a network are done."""
        self._say(f"  {100 * done // total} %")

    def _say(self, text: str) -> None:
        if self.show:
            line = f"meteoseg: {text}" if text else ""
            print(f"\r\033[K{line}" if sys.stderr.isatty() else self._plain(text), end="", file=sys.stderr)
            sys.stderr.flush()

    @staticmethod
    def _plain(text: str) -> str:
        """Without a terminal only finished steps are told, a line each."""
        return f"meteoseg: {text}" if text.endswith("\n") else ""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def input_stamps(section: Section) -> dict[Path, Stamp]:
    """Return the files of a section and what tells later whether they are still the same.

    Raises
    ------
    InputError : one is gone.
    """
    paths = [channel.path for channel in section.channels.values()]
    files = dict.fromkeys(path for path in (*paths, *section.mask_paths) if path is not None)
    return {path: stamp_of(path) for path in files}


def input_hashes(stamps: Mapping[Path, Stamp]) -> list[dict[str, Any]]:
    """List the files of `input_stamps` with their bytes and SHA-256.

    Raises
    ------
    InputError : one changed since, or is gone.
    """
    return [{"file": str(path), "bytes": stamp[1], "sha256": _sha256_of_same(path, stamp)}
            for path, stamp in stamps.items()]  # fmt: skip


def _sha256_of_same(path: Path, stamp: Stamp) -> str:
    with opened(path, stamp) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()  # type: ignore[arg-type]


def section_facts(section: Section) -> dict[str, Any]:
    """Return name, grid, pixel size and channels as plain values.

    Files of maps are named as they were given; relative names count from the folder `files_from`.
    """
    return {
        "name": section.name,
        "shape": list(section.shape),
        "pixel_size_um": None if section.pixel_size_um is None else list(section.pixel_size_um),
        "pixel_size_source": section.pixel_size_source,
        "pixel_size_error_pct": section.pixel_size_error_pct,
        "fall": section.is_fall,
        "channels": [_channel_facts(channel) for channel in section.channels.values()],
        "masks": [path.name for path in section.mask_paths],
        "mask_files": [str(path) for path in section.mask_paths],
        "files_from": str(Path.cwd()),
        "skipped": [{"file": path.name, "reason": reason} for path, reason in section.skipped],
    }


def _channel_facts(channel: Channel) -> dict[str, Any]:
    """Return a channel as plain values; `map` says how `reopening` finds it (None: it is only in memory)."""
    return {
        "name": channel.name,
        "unit": channel.unit,
        "file": channel.path.name if channel.path else "",
        "reason": channel.reason,
        "map": None if channel.path is None else stored_as(channel),
    }


def environment() -> dict[str, Any]:
    """Return version numbers of the package, Python, the libraries and the system."""
    found = {"meteoseg": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _PACKAGES} | {"system": platform.platform()}


def now() -> str:
    """Return the time as ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory_mb() -> float | None:
    """Return the largest memory of this process so far in MB, or None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
