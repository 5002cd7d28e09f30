"""What a run writes is complete or absent: the folder of a section, files that replace others, single files."""

from __future__ import annotations

import glob
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from meteoseg.system.diskspace import DiskNeed, disk_full_told
from meteoseg.errors import InputError, OutputExistsError

_FORBIDDEN = set('/\\:*?"<>|\0')
#: Locked by the process that writes into an unfinished folder; the system frees it when that process ends in any way.
_LOCK = ".in-use"


def output_folder(out: Path, name: str, *, overwrite: bool) -> Path:
    """Return ``out/name`` after checking that it may be written.

    Raises
    ------
    InputError : `name` is no folder name, or `out` is a file.
    OutputExistsError : the folder is not empty and `overwrite` is not set.

    Examples
    --------
    >>> output_folder(Path("results"), "A12", overwrite=False).as_posix()
    'results/A12'
    """
    if not name or name.startswith(".") or name != name.strip() or set(name) & _FORBIDDEN:
        raise InputError(f"Section name '{name}' cannot be a folder name: choose another with --name.")
    target = out / name
    for path in (out, target):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file: give another folder with -o.")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise OutputExistsError(f"{target} exists and is not empty: use --overwrite, or another --name or -o.")
    return target


@contextmanager
def complete_or_absent(target: Path, need: DiskNeed | None = None) -> Iterator[Path]:
    """Give a folder to write into that becomes `target` at the end, replacing what was there.

    On any failure, Ctrl-C included, it is removed, with the parent folders that were made for it. What a killed run
    left behind is removed as well. `need` is told where the disk runs full.

    Raises
    ------
    DiskFullError : the disk ran full inside.
    """
    made = _make_parents(target.parent)
    try:
        with (
            disk_full_told(target.parent, need),
            _unfinished(target.parent, _prefix(target)) as partial,
        ):
            yield partial
            (partial / _LOCK).unlink(missing_ok=True)
            _replace(partial, target)
    except BaseException:
        with uninterrupted():
            for folder in made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
        raise


def remove_abandoned(target: Path) -> None:
    """Remove what runs that were killed have left of `target`."""
    _remove_abandoned(target.parent, _prefix(target))


@dataclass
class Renewed:
    """Files of a folder that are to be replaced together.

    Parameters
    ----------
    folder : empty; what is written here replaces the files of the same name.
    renamed : files, and what they are called from then on. removed : files that go.
    """

    folder: Path
    renamed: list[tuple[Path, Path]] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)


@contextmanager
def all_or_nothing(folder: Path, need: DiskNeed | None = None, *, last: str = "") -> Iterator[Renewed]:
    """Give an empty folder whose content replaces that of `folder` at the end; on a failure it goes and that stays.

    `last` names the file that is replaced after all others. `need` is told where the disk runs full.

    Raises
    ------
    DiskFullError : the disk ran full inside.
    """
    with disk_full_told(folder, need), _unfinished(folder, ".unfinished-") as partial:
        renewed = Renewed(partial)
        yield renewed
        (partial / _LOCK).unlink(missing_ok=True)
        with uninterrupted():
            for old, new in renewed.renamed:
                old.replace(new)
            for path in renewed.removed:
                path.unlink()
            for path in sorted(partial.iterdir(), key=lambda path: path.name == last):
                path.replace(folder / path.name)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes `path` at the end; on a failure it goes and `path` stays as it was.

    Something that is no file, such as a pipe, is written to directly.

    Raises
    ------
    DiskFullError : the disk ran full inside.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with disk_full_told(path.parent):
            yield path
        return
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with disk_full_told(path.parent):
            yield partial
            partial.replace(path)
    except BaseException:
        with uninterrupted():
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and termination back until what is done inside has ended (renaming, cleaning up)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if held:
            signal.raise_signal(held[0])


def _make_parents(folder: Path) -> list[Path]:
    """Make `folder`; return the folders that were new, innermost first."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    with disk_full_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return made


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for left in parent.glob(glob.escape(prefix) + "*"):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _unfinished(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a new folder in `parent` that is removed at the end, unless it was renamed; remove those of dead runs."""
    _remove_abandoned(parent, prefix)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = None
    try:
        partial.chmod(0o755)
        lock = _locked(partial)
        yield partial
    finally:
        with uninterrupted():
            if lock is not None:
                lock.close()
            shutil.rmtree(partial, ignore_errors=True)


def _locked(folder: Path) -> IO[str] | None:
    """Lock `folder` for as long as this process lives; None where the system or the disk has no locks."""
    new = folder / f"{_LOCK}.new"
    handle = new.open("w", encoding="utf-8")
    if not _lock(handle):
        handle.close()
        new.unlink()
        return None
    new.replace(folder / _LOCK)
    return handle


def _is_abandoned(folder: Path) -> bool:
    """Whether the process that made `folder` has ended; False where nobody can tell."""
    with suppress(OSError), (folder / _LOCK).open("r+", encoding="utf-8") as handle:
        return _lock(handle)
    return False


def _lock(handle: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _replace(partial: Path, target: Path) -> None:
    """Give `partial` the name `target`; what had it goes, or keeps it where that fails."""
    if not target.exists():
        partial.rename(target)
        return
    with uninterrupted():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        target.rename(old / target.name)
        try:
            partial.rename(target)
        except OSError:
            (old / target.name).rename(target)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
