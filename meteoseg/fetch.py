"""Public data sets, downloaded from their public homes and checked by SHA-256."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from meteoseg.errors import InputError, UnknownNameError

_PACKAGED = "package:"


@dataclass(frozen=True)
class PublicFile:
    """One file of a public data set: its home, size in bytes, SHA-256, licence and how to cite it."""

    name: str
    file: str
    bytes: int
    sha256: str
    url: str
    license: str
    cite: str


def registry() -> dict[str, list[PublicFile]]:
    """Return the known public data sets: name -> files.

    Examples
    --------
    >>> len(registry()["semarkona-chm8"])
    11
    """
    text = resources.files("meteoseg").joinpath("rules/registry.csv").read_text(encoding="utf-8")
    sets: dict[str, list[PublicFile]] = {}
    for row in csv.DictReader(text.splitlines()):
        entry = PublicFile(**{**row, "bytes": int(row["bytes"])})  # type: ignore[arg-type]
        sets.setdefault(entry.name, []).append(entry)
    return sets


def fetch(name: str, out: Path | str = "data") -> Path:
    """Download the public data set `name` into ``out/name`` and return that folder.

    Files that are there with the right checksum are kept.

    Raises
    ------
    UnknownNameError : `name` is not in the registry.
    InputError : a file cannot be downloaded, its checksum is wrong, or `out` is a file.
    """
    known = registry()
    if name not in known:
        raise UnknownNameError.of("data set", name, known)
    if Path(out).is_file():
        raise InputError(f"{out} is a file: give another folder with -o.")
    folder = Path(out) / name
    for entry in known[name]:
        _fetch_file(entry, folder)
    return folder


def _fetch_file(entry: PublicFile, folder: Path) -> None:
    if entry.url.startswith(_PACKAGED):
        folder.mkdir(parents=True, exist_ok=True)
        source = resources.files("meteoseg").joinpath(entry.url.removeprefix(_PACKAGED))
        with resources.as_file(source) as path:
            shutil.copyfile(path, folder / entry.file)
        return
    import pooch
    from requests.exceptions import RequestException

    try:
        pooch.retrieve(entry.url, known_hash=f"sha256:{entry.sha256}", fname=entry.file, path=folder)
    except (RequestException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"Could not fetch {entry.file} of '{entry.name}' from {entry.url} ({reason}). "
            "Check the network and run it again."
        ) from error
