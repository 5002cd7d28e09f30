"""Recognise the maps, the mask and the rest of a folder, or of one file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from meteoseg.elements import ATOMIC_NUMBER, BSE
from meteoseg.errors import InputError
from meteoseg.io.formats import CUBES, kind_of, read_maps
from meteoseg.io.names import (
    Recognition,
    is_label_name,
    is_mask_name,
    oxide_to_element_factor,
    pixel_size_from_name,
    recognise,
)
from meteoseg.io.source import MapSource, OxidePlane, PixelSize, stem_of
from meteoseg.io.text import has_cameca_header
from meteoseg.section import Channel, Plane

Skipped = tuple[tuple[Path, str], ...]
_DEPTH = re.compile(r"[_ -]?(?:8|16|32)[_ -]?b(?:i)?t(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """An image of a file and the channel it was taken for."""

    source: MapSource
    found: Recognition


@dataclass(frozen=True)
class Found:
    """What a folder or file holds; becomes a Section together with the options of the caller."""

    channels: dict[str, Channel]
    sources: tuple[MapSource, ...] = ()
    masks: tuple[Path, ...] = ()
    skipped: Skipped = ()
    notes: tuple[str, ...] = field(default=())


def scan_folder(folder: Path, given: Collection[str] = (), given_paths: Collection[Path] = ()) -> Found:
    """Sort the files of a folder into channels, masks and skipped ones, each with its reason.

    `given` are the channels and `given_paths` the files that the caller named; they are left alone.

    Raises
    ------
    InputError : an unreadable map, or two files for one element.
    """
    candidates: list[Candidate] = []
    skipped: list[tuple[Path, str]] = []
    masks: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() in given_paths:
            continue
        reason = _reason_to_skip(path)
        if reason:
            skipped.append((path, reason))
        elif is_mask_name(stem_of(path)):
            masks.append(path)
        else:
            taken, left = _candidates(path, given)
            candidates += taken
            skipped += left
    chosen, twins = _one_per_channel(candidates)
    mask, left_masks, notes = _section_mask(masks)
    return Found(
        {candidate.found.name: channel_of(candidate) for candidate in chosen},
        tuple(candidate.source for candidate in chosen),
        mask,
        tuple(sorted((*skipped, *twins, *left_masks))),
        notes,
    )


def scan_file(path: Path, given: Collection[str] = ()) -> Found:
    """Take the images of one file as channels, by their page names or the name of the file.

    Raises
    ------
    InputError : unreadable file, or no image whose element is known.
    """
    sources = read_maps(path)
    candidates, unnamed = [], []
    for source in sources:
        found = recognise(source.label, where=source.label_from)
        if source.problem and not given:
            raise InputError(f"{path} is {source.problem}: export the single maps in grey or one hue.")
        if found and found.name not in given:
            candidates.append(Candidate(source, found))
        elif not found:
            unnamed.append(source)
    if not candidates and not given:
        raise InputError(_no_names_message(path, sources))
    chosen, twins = _one_per_channel(candidates)
    notes = [
        f"{path.name}: page {source.page} has no element name and is left out" for source in unnamed if source.page
    ]
    return Found(
        {candidate.found.name: channel_of(candidate) for candidate in chosen},
        tuple(candidate.source for candidate in chosen),
        skipped=tuple(twins),
        notes=tuple(notes),
    )


def channel_of(candidate: Candidate, unit: str | None = None) -> Channel:
    """Make the channel of a candidate; `unit` overrides the unit that was recognised.

    Oxide wt% become element wt%; whole-number and 8-bit maps that are named by an oxide stay as they are.
    """
    source, found = candidate.source, candidate.found
    plane: Plane = source.plane
    reason = found.reason
    is_count_of_oxide = found.oxide is not None and source.unit == "counts"
    is_percent = found.unit == "wt%" and source.unit != "display" and not is_count_of_oxide
    if found.oxide and is_percent:
        plane = OxidePlane(plane, found.oxide)
        reason += f"; {found.oxide} wt% x {oxide_to_element_factor(found.oxide):.4f} = {found.name} wt%"
    if source.remark:
        reason += f"; {source.remark}"
    if unit is None:
        unit = "grey" if found.name == BSE else "wt%" if is_percent else source.unit
    return Channel(found.name, plane, unit, source.path, reason)


def pixel_size_of(sources: Iterable[MapSource], extra_name: str) -> tuple[PixelSize | None, str, tuple[str, ...]]:
    """Return (size, source, notes) from metadata, else from a name token.

    The size is None where nothing states it and where files contradict each other.
    """
    sources = tuple(sources)
    stated = {
        source.pixel_size_um: f"{source.pixel_size_source} of {source.path.name}"
        for source in sources
        if source.pixel_size_um
    }
    if not stated:
        for text in (*(stem_of(source.path) for source in sources), extra_name):
            size = pixel_size_from_name(text)
            if size:
                stated[(size, size)] = f"name '{text}'"
    if not stated:
        return None, "unknown", ()
    sizes = list(stated)
    first = sizes[0]
    if any(abs(size[axis] / first[axis] - 1) > 1e-3 for size in sizes for axis in (0, 1)):
        listed = "; ".join(f"{dy:g} x {dx:g} um from the {where}" for (dy, dx), where in stated.items())
        return None, "unknown", (f"pixel size unknown because the files contradict each other: {listed}",)
    return first, stated[first], ()


def _reason_to_skip(path: Path) -> str:
    stem = stem_of(path)
    if path.is_dir():
        return "subfolder, not read"
    kind = kind_of(path)
    if path.suffix.lower() == ".cnd":
        return "JEOL condition file"
    if kind == "cube":
        return f"{CUBES[path.suffix.lower()]} spectrum cube"
    if kind is None:
        return "not a map format"
    if is_mask_name(stem):
        return ""
    if is_label_name(stem):
        return "labels, a table or a picture for the eye, not a map"
    by_name_only = kind == "image" or (kind == "text" and not has_cameca_header(path))
    return "no element in its name" if by_name_only and recognise(stem) is None else ""


def _candidates(path: Path, given: Collection[str]) -> tuple[list[Candidate], list[tuple[Path, str]]]:
    named = recognise(stem_of(path))
    if named and named.name in given:
        return [], [(path, f"{named.name} is given by name in its place")]
    try:
        sources = read_maps(path)
    except InputError as error:
        if named is None and kind_of(path) == "tiff":
            return [], [(path, f"no element in its name, and unreadable ({error})")]
        raise
    taken, left = [], []
    for source in sources:
        page = f"page {source.page}: " if source.page else ""
        found = recognise(source.label, where=source.label_from)
        if source.problem and found:
            left.append((path, page + source.problem))
        elif found is None:
            left.append((path, f"{page}no element in its {source.label_from}"))
        elif found.name in given:
            left.append((path, f"{page}{found.name} is given by name in its place"))
        else:
            taken.append(Candidate(source, found))
    return taken, left


def _one_per_channel(candidates: list[Candidate]) -> tuple[list[Candidate], list[tuple[Path, str]]]:
    order = {name: number for number, name in enumerate((BSE, *ATOMIC_NUMBER))}
    chosen: list[Candidate] = []
    skipped: list[tuple[Path, str]] = []
    for name in sorted(
        {candidate.found.name for candidate in candidates},
        key=lambda name: (order.get(name, len(order)), len(name), name),
    ):
        rivals = [candidate for candidate in candidates if candidate.found.name == name]
        best = rivals[0]
        for rival in rivals[1:]:
            best, loser, reason = _better(best, rival)
            skipped.append((loser.source.path, reason))
        chosen.append(best)
    return chosen, skipped


def _better(first: Candidate, second: Candidate) -> tuple[Candidate, Candidate, str]:
    """Return (kept, left, reason) of two maps of one element.

    Raises
    ------
    InputError : nothing says which of the two is meant.
    """
    for kept, left in ((first, second), (second, first)):
        other = kept.source.path.name
        if left.found.masked and not kept.found.masked:
            return kept, left, f"masked variant of {other}"
        if _is_display_twin(left, kept):
            return kept, left, f"8-bit display twin of {other}"
        if kept.found.xray_line == "K" and left.found.xray_line in ("L", "M"):
            return kept, left, f"{left.found.xray_line} line; the K line of {other} is used"
    a, b = (_where(candidate.source) for candidate in (first, second))
    name = first.found.name
    raise InputError(f"Two maps for {name}: {a} and {b}. Choose one with --channels {name}=FILE, or remove the other.")


def _is_display_twin(left: Candidate, kept: Candidate) -> bool:
    stems = [_DEPTH.sub("", stem_of(candidate.source.path)).lower() for candidate in (left, kept)]
    return stems[0] == stems[1] and left.source.unit == "display" and kept.source.unit != "display"


def _where(source: MapSource) -> str:
    return source.path.name + (f" page {source.page}" if source.page else "")


def _section_mask(masks: list[Path]) -> tuple[tuple[Path, ...], Skipped, tuple[str, ...]]:
    """Choose the section mask: the only one, or the only one called so."""
    called_so = [path for path in masks if stem_of(path).lower() in ("mask", "section_mask", "section-mask")]
    chosen = masks if len(masks) == 1 else called_so if len(called_so) == 1 else []
    left = tuple(
        (
            path,
            f"{chosen[0].name} is the section mask" if chosen else "one of several masks, none of them the section's",
        )
        for path in masks
        if path not in chosen
    )
    if not left or chosen:
        return tuple(chosen), left, ()
    note = f'{len(masks)} mask files found and none used: name the section mask in section.toml (mask = "...")'
    return (), left, (note,)


def _no_names_message(path: Path, sources: tuple[MapSource, ...]) -> str:
    if len(sources) == 1:
        return (
            f"No element is recognised in the {sources[0].label_from} '{sources[0].label}' of {path}: "
            "rename it (..._Fe.tif) or name it with --channels EL=FILE."
        )
    return (
        f"None of the {len(sources)} images in {path} carries an element name: write a section.toml with lines "
        f'such as Fe = {{ file = "{path.name}", page = 1 }}, or give single maps with --channels EL=FILE.'
    )


def renamed(source: MapSource, name: str, reason: str) -> Candidate:
    """Take a source for the channel `name` whatever its label says; an oxide of it is still converted."""
    found = recognise(source.label, where=source.label_from)
    kept = found if found and found.name == name else Recognition(name, reason)
    return Candidate(source, replace(kept, reason=reason))
