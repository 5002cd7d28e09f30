"""Bring element maps that come from several passes of the beam into place among themselves, by whole pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import BSE, is_component
from meteoseg.errors import InputError
from meteoseg.io import write_section_toml
from meteoseg.io.sectionfile import cube_options_of
from meteoseg.io.shifted import BoxedMask, ShiftedPlane, shift_of, where_all_reach
from meteoseg.io.warped import WarpedPlane
from meteoseg.output import whole_file
from meteoseg.registration.mapblocks import read_blocks
from meteoseg.registration.mapplaces import find_passes
from meteoseg.registration.mapshifts import information_at, pair_shift
from meteoseg.section import Channel, Plane, PlaneView, Section

Points = NDArray[np.float64]

#: Pixels that are looked at, and with how many others each map is compared (None: all), to align and to warn.
_ALIGN_PX, _WARN_PX = 1_000_000, 200_000
_WARN_PARTNERS = 3
#: Smaller maps say nothing.
LEAST_SIDE_PX = 48
_OF_ERRORS = 2.0


@dataclass(frozen=True)
class MapPass:
    """Element maps that were measured together.

    Parameters
    ----------
    names : the maps. place_px : how far down and right of the first pass they lie (row, col), with its standard error
        `error_px`. moved_px : whole pixels by which they are read elsewhere than before.
    """

    names: tuple[str, ...]
    place_px: tuple[float, float]
    error_px: tuple[float, float]
    moved_px: tuple[int, int] = (0, 0)

    @property
    def rest_px(self) -> tuple[float, float]:
        """How far they still lie from the first pass, where that pass was not moved."""
        return self.place_px[0] - self.moved_px[0], self.place_px[1] - self.moved_px[1]


@dataclass(frozen=True)
class Alignment:
    """Element maps in place.

    Parameters
    ----------
    section : the section with the moved maps. passes : that of the most maps first; the others lie relative to it.
    unplaced : maps that have too little in common with the others; they were left as they were.
    """

    section: Section
    passes: tuple[MapPass, ...]
    unplaced: tuple[str, ...]

    def summary(self) -> str:
        """Return lines that tell the passes, their places and what is left of them."""
        lines = [f"{_listed(first.names)}: one place" for first in self.passes[:1]]
        for later in self.passes[1:]:
            (row, col), (row_error, col_error) = later.place_px, later.error_px
            lines.append(
                f"{_listed(later.names)}: {row:.2f} +- {row_error:.2f} rows, {col:.2f} +- {col_error:.2f} columns off "
                "(positive: further down, further right)"
            )
        for one in self.passes:
            if any(one.moved_px):
                row, col = one.moved_px
                lines.append(f"{_listed(one.names)}: read {row} rows and {col} columns further on")
        rest = self._rest()
        lines.append(f"left: up to {abs(rest[0]):.2f} rows and {abs(rest[1]):.2f} columns between passes")
        if self.unplaced:
            lines.append(f"{_listed(self.unplaced)}: too little in common with the others to tell; left as it is")
        return "\n".join(lines)

    def _rest(self) -> Points:
        """Return the largest distance (row, col) that is left between two passes."""
        rest = np.array([one.rest_px for one in self.passes])
        return np.asarray(np.ptp(rest, axis=0), np.float64)

    @property
    def is_in_place(self) -> bool:
        """Whether no map was moved."""
        return not any(any(one.moved_px) for one in self.passes)

    def facts(self) -> dict[str, Any]:
        """Return passes, places and errors as plain values."""
        return {
            "passes": [asdict(one) | {"rest_px": one.rest_px} for one in self.passes],
            "largest_rest_px": self._rest().tolist(),
            "not_placed": list(self.unplaced),
        }

    def write(self, toml: str | Path) -> list[Path]:
        """Write the section.toml, and beside it the measured places (.._maps.json)."""
        toml = Path(toml)
        toml.parent.mkdir(parents=True, exist_ok=True)
        write_section_toml(self.section, toml)
        return [toml, self.write_facts(toml)]

    def write_facts(self, toml: Path) -> Path:
        """Write the measured places beside a section.toml."""
        path = toml.with_name(f"{toml.stem}_maps.json")
        with whole_file(path) as part:
            part.write_bytes((json.dumps(self.facts(), indent=2) + "\n").encode())
        return path


def align_maps(section: Section) -> Alignment:
    """Find element maps that lie out of place among themselves, and read them in place by whole pixels.

    Each pair of maps is compared at all shifts by mutual information (Maes et al., 1997, doi:10.1109/42.563664), the
    places of all maps follow from the pairs, and maps that lie alike are taken as one pass with one place. Counts stay
    counts: nothing is interpolated, and up to half a pixel is left. Blocks of the maps are read; what is held in memory
    does not grow with them. BSE is not moved.

    Raises
    ------
    InputError : fewer than two element maps, maps of a spectrum cube, maps too small, or maps that have too little in
        common or contradict each other.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rocks = (rng.random((18, 18)) > 0.5).repeat(10, 0).repeat(10, 1)[:150, :170]
    >>> maps = {"Fe": rng.poisson(9 + 90 * rocks), "S": rng.poisson(3 + 40 * rocks)}
    >>> maps["Mg"] = rng.poisson(60 - 50 * np.roll(rocks, (2, -1), (0, 1)))
    >>> found = align_maps(Section.from_arrays("A", maps))
    >>> [(one.names, one.moved_px) for one in found.passes]
    [(('Fe', 'S'), (0, 0)), (('Mg',), (2, -1))]
    """
    names = _names(section)
    passes = _measured(section, names, _ALIGN_PX, None)
    if not passes:
        raise InputError(
            f"The element maps of '{section.name}' cannot be aligned: no half of them has enough in common to tell "
            "where they lie, or their shifts contradict each other. Check that they show one area; leave out --maps."
        )
    placed = {name for one in passes for name in one.names}
    unplaced = tuple(name for name in names if name not in placed)
    passes = _with_moves(passes)
    return Alignment(_moved(section, passes), passes, unplaced)


def places_note(section: Section) -> tuple[str, ...]:
    """Say in one line which maps lie out of place by more than half a pixel, from a sample; empty: none is seen to.

    Maps that cannot be compared (one map, a spectrum cube, small ones) are passed over.
    """
    if _objection(section, names := _element_maps(section)):
        return ()
    passes = _with_moves(_measured(section, names, _WARN_PX, _WARN_PARTNERS))
    lines = []
    for one in passes:
        off, error = np.abs(one.place_px), np.array(one.error_px)
        if any(one.moved_px) and (off - _OF_ERRORS * error > 0.5).any():
            row, col = one.place_px
            lines.append(
                f"{_listed(one.names)} about {row:.1f} rows, {col:.1f} columns from {_listed(passes[0].names)}"
            )
    if not lines:
        return ()
    return (f"maps lie out of place: {'; '.join(lines)}: bring them into place with "
            "meteoseg register SECTION --maps -o section.toml",)  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _element_maps(section: Section) -> tuple[str, ...]:
    return tuple(name for name in section.channel_names if name != BSE and not is_component(name))


def _names(section: Section) -> tuple[str, ...]:
    names = _element_maps(section)
    if reason := _objection(section, names):
        raise InputError(f"The element maps of '{section.name}' cannot be aligned: {reason}")
    return names


def _objection(section: Section, names: tuple[str, ...]) -> str:
    """Say why the maps cannot be compared, with the remedy; empty: they can."""
    if len(names) < 2:
        return "there must be two of them at least. Add maps, or leave out --maps."
    if any(cube_options_of(section.channels[name]) is not None for name in names):
        return "those of a spectrum cube were measured together and lie alike. Leave out --maps."
    if min(section.shape) < LEAST_SIDE_PX:
        return f"they are {min(section.shape)} px wide, and at least {LEAST_SIDE_PX} are needed. Leave out --maps."
    return ""


def _measured(section: Section, names: tuple[str, ...], most_px: int, partners: int | None) -> tuple[MapPass, ...]:
    fine, coarse = read_blocks(section, names, most_px=most_px)
    pairs = list(combinations(range(len(names)), 2))
    if partners is not None and len(names) > partners + 1:
        information = {pair: information_at(fine, *pair) for pair in pairs}
        pairs = _best(information, len(names), partners)
    passes = find_passes(len(names), [pair_shift(fine, coarse, *pair) for pair in pairs])
    if 2 * sum(len(one.maps) for one in passes) < len(names):
        return ()
    return tuple(MapPass(tuple(names[number] for number in one.maps), one.place_px, one.error_px) for one in passes)


def _best(information: dict[tuple[int, int], float], n_maps: int, partners: int) -> list[tuple[int, int]]:
    """Return the pairs that are among the best `partners` of one of their two maps."""
    kept = set()
    for number in range(n_maps):
        own = sorted((pair for pair in information if number in pair), key=lambda pair: -information[pair])
        kept.update(own[:partners])
    return sorted(kept)


def _with_moves(passes: tuple[MapPass, ...]) -> tuple[MapPass, ...]:
    """Return the passes with the whole pixels that leave least between maps of two passes; the first is not moved."""
    places = np.array([one.place_px for one in passes]).reshape(-1, 2)
    count = np.array([len(one.names) for one in passes], np.float64)
    moves = np.zeros(places.shape, int)
    for axis in (0, 1):
        best = np.inf
        for start in sorted(np.arange(-0.45, 0.5, 0.05), key=abs):
            tried = np.round(places[:, axis] + start).astype(int) if len(passes) else np.zeros(0, int)
            rest = places[:, axis] - tried
            left = float(np.average((rest - np.average(rest, weights=count)) ** 2, weights=count)) if count.size else 0
            if left < best - 1e-9:
                best, moves[:, axis] = left, tried - tried[:1]
    return tuple(replace(one, moved_px=(int(row), int(col))) for one, (row, col) in zip(passes, moves, strict=True))


def _moved(section: Section, passes: Sequence[MapPass]) -> Section:
    channels = dict(section.channels)
    for one in passes:
        if any(one.moved_px):
            for name in one.names:
                channels[name] = _shifted(channels[name], one.moved_px)
    mask = section.mask.mask if isinstance(section.mask, BoxedMask) else section.mask
    mask = where_all_reach((channel.plane for channel in channels.values()), mask)
    return replace(section, channels=channels, mask=mask)


def _shifted(channel: Channel, by_px: tuple[int, int]) -> Channel:
    reason = f"{channel.reason}; read {by_px[0]} rows, {by_px[1]} columns further on"
    return replace(channel, plane=_further_on(channel.plane, by_px), reason=reason)


def _further_on(plane: Plane, by_px: tuple[int, int]) -> Plane:
    if isinstance(plane, PlaneView):
        return replace(plane, plane=_further_on(plane.plane, by_px))
    if isinstance(plane, WarpedPlane):
        offset = plane.transform.matrix @ np.array(by_px, np.float64) + plane.transform.offset
        return replace(plane, transform=replace(plane.transform, offset=offset))
    row, col = shift_of(plane)
    return ShiftedPlane(plane.plane if isinstance(plane, ShiftedPlane) else plane, (row + by_px[0], col + by_px[1]))
