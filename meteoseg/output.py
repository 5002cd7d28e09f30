"""The output folder of a section: refused when in use, complete or absent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meteoseg.errors import InputError, OutputExistsError

_FORBIDDEN = set('/\\:*?"<>|\0')


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
def complete_or_absent(target: Path) -> Iterator[Path]:
    """Give a folder to write into that becomes `target` at the end, replacing what was there.

    On any failure, Ctrl-C included, it is removed, with the parent folders that were made for it.
    """
    made = _make_parents(target.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        partial.chmod(0o755)
        yield partial
        _replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def _make_parents(folder: Path) -> list[Path]:
    """Make `folder`; return the folders that were new, innermost first."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _replace(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    partial.rename(target)
    shutil.rmtree(old)
