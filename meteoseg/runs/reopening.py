"""The maps of a finished run, opened again: only where they are what they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io import open_stored
from meteoseg.io.formats import read_maps
from meteoseg.io.shifted import where_all_reach
from meteoseg.runs.provenance import sha256_of
from meteoseg.section import Channel, Plane, PlaneView, Section

#: Where entries of run.json are named in messages.
_RUN = Path("run.json")


def reopen_section(run: Mapping[str, Any], maps: Path | None = None) -> Section:
    """Open the section that a run was made from, channels, mask and cropping as they were then.

    Parameters
    ----------
    run : content of run.json.
    maps : folder in which its files lie now; None: where they were.

    Raises
    ------
    InputError : a file is missing or has another SHA-256, or the maps were only in memory. The message is the reason in
        half a sentence, without a remedy, which the caller knows.
    """
    facts = run["section"]
    if "files_from" not in facts:
        raise InputError("run.json was written by a version that did not note where the maps lie")
    known = {entry["file"]: entry["sha256"] for entry in run["inputs"]}
    shape = (int(facts["shape"][0]), int(facts["shape"][1]))

    @cache
    def same(file: str) -> Path:
        return _unchanged(Path(file), known.get(file), maps, Path(facts["files_from"]))

    channels = {entry["name"]: _channel(entry, same, shape) for entry in facts["channels"]}
    masks = tuple(same(file) for file in facts["mask_files"])
    mask = _cut(read_maps(masks[0])[0].plane, shape) if masks else None
    size = facts["pixel_size_um"]
    return Section(
        facts["name"],
        channels,
        pixel_size_um=None if size is None else (float(size[0]), float(size[1])),
        pixel_size_error_pct=facts["pixel_size_error_pct"],
        pixel_size_source=facts["pixel_size_source"],
        mask=where_all_reach((channel.plane for channel in channels.values()), mask),
        mask_paths=masks,
        is_fall=bool(facts.get("fall", False)),
    )


def _unchanged(file: Path, sha256: str | None, maps: Path | None, files_from: Path) -> Path:
    """Return where a file of the run lies, after a look at its content."""
    path = files_from / file if maps is None else maps / file.name
    if not path.is_file():
        raise InputError(f"{path} is not there")
    if sha256_of(path) != sha256:
        raise InputError(f"{path} is not the file of the run: its SHA-256 differs")
    return path


def _channel(entry: Mapping[str, Any], same: Callable[[str], Path], shape: tuple[int, int]) -> Channel:
    if entry["map"] is None:
        raise InputError("the maps were given in memory")
    where = dict(entry["map"])
    channel = open_stored(entry["name"], where | {"file": str(same(where["file"])), "unit": entry["unit"]}, _RUN)
    return replace(channel, plane=_cut(channel.plane, shape), reason=entry["reason"])


def _cut(plane: Plane, shape: tuple[int, int]) -> Plane:
    """Return the top left part, as `open_section` crops to the common part."""
    return plane if plane.shape == shape else PlaneView(plane, Window.whole(shape))
