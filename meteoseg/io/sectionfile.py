"""section.toml: files, elements, pixel size and mask of a section, named explicitly."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meteoseg.errors import InputError, PixelSizeError, UnknownNameError
from meteoseg.io.cube import CubeOptions
from meteoseg.io.folder import Candidate, Found, channel_of
from meteoseg.io.formats import is_readable_cube, read_maps
from meteoseg.io.names import OXIDES, Recognition, check_channel_name
from meteoseg.io.registered import entry_of, warped, write_displacements
from meteoseg.io.shifted import ShiftedPlane, shifted
from meteoseg.io.source import MapSource, OxidePlane, PixelSize
from meteoseg.io.tiffplane import TiffPlane
from meteoseg.io.warped import WarpedPlane
from meteoseg.section import UNITS, Channel, Plane, PlaneView, Section

_KEYS = ("name", "pixel_size_um", "pixel_size_error_pct", "mask", "fall", "channels", "cube")
_CHANNEL_KEYS = ("file", "page", "unit", "oxide", "cube", "register", "shift_px")


@dataclass(frozen=True)
class SectionFile:
    """The content of a section.toml."""

    found: Found
    name: str | None
    pixel_size_um: PixelSize | None
    pixel_size_error_pct: float | None
    is_fall: bool


def read_section_toml(path: Path, without: Collection[str] = (), cube: CubeOptions = CubeOptions()) -> SectionFile:  # noqa: B008 - frozen
    """Read a section.toml; file names are relative to it, and the channels `without` are left out.

    `cube` goes before what its table [cube] says.

    Raises
    ------
    InputError : not valid TOML, unknown keys, values of a wrong kind, or files that cannot be read.
    UnknownNameError : a channel that is neither BSE nor an element, an unknown unit or oxide.
    """
    data = _parse(path)
    _refuse_unknown(data, _KEYS, path)
    is_fall = data.get("fall", False)
    if not isinstance(is_fall, bool):
        raise InputError(f"{path}: fall must be true or false, got {is_fall!r}.")
    name, mask, table = data.get("name"), data.get("mask"), data.get("channels", {} if "cube" in data else None)
    for key, value in (("name", name), ("mask", mask)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}: {key} must be a text in quotes, got {value!r}.")
    if not isinstance(table, dict) or not (table or "cube" in data):
        raise InputError(f'{path} names no channels: add a table [channels] with lines such as Fe = "Fe.tif".')
    made = {check_channel_name(key): _channel(key, value, path) for key, value in table.items() if key not in without}
    spectra = _cube(data, path, cube)
    found = Found(
        {name: channel for name, channel in spectra.channels.items() if name not in without}
        | {key: channel for key, (channel, _) in made.items()},
        (
            *spectra.sources,
            *(source for channel, source in made.values() if not isinstance(channel.plane, WarpedPlane)),
        ),
        (path.parent / mask,) if mask is not None else (),
        notes=spectra.notes,
    )
    return SectionFile(found, name, _pixel_size(data, path), _number(data, "pixel_size_error_pct", path), is_fall)


def _cube(data: dict[str, Any], path: Path, given: CubeOptions) -> Found:
    """Open the cube of the table [cube], if there is one."""
    table = data.get("cube")
    if table is None:
        if not given.is_empty:
            raise InputError(f"{path} names no cube: leave out --elements, --ev-per-channel and --energy-offset.")
        return Found({})
    if not isinstance(table, dict) or not isinstance(table.get("file"), str):
        raise InputError(f'{path}: [cube] needs a line such as file = "A12.bcf".')
    options = CubeOptions.from_table({key: value for key, value in table.items() if key != "file"}, f"{path} [cube]")
    return _open_cube(path.parent / table["file"], given.over(options))


def _open_cube(file: Path, options: CubeOptions) -> Found:
    from meteoseg.io.cubemaps import cube_channels

    if not is_readable_cube(file):
        raise InputError(f"{file} is no spectrum cube that can be read: name one, such as a .bcf or .rpl file.")
    return cube_channels(file, options)


def name_in_section_toml(path: Path) -> str | None:
    """Return the name that a section.toml states; None where it states none or cannot be read (opening it says why)."""
    try:
        name = _parse(path).get("name")
    except InputError:
        return None
    return name if isinstance(name, str) else None


def write_section_toml(section: Section, path: str | Path) -> None:
    """Write what was recognised as a section.toml that reads back to the same section (the cropping aside).

    Raises
    ------
    InputError : a channel that is only in memory.
    """
    path = Path(path)
    lines = [f"name = {_quoted(section.name)}"]
    if section.pixel_size_um is not None:
        lines.append(f"pixel_size_um = [{section.pixel_size_um[0]!r}, {section.pixel_size_um[1]!r}]")
    else:
        lines.append("# pixel_size_um = 1.0   (unknown: fill in)")
    if section.pixel_size_error_pct is not None:
        lines.append(f"pixel_size_error_pct = {section.pixel_size_error_pct!r}")
    if section.is_fall:
        lines.append("fall = true")
    if section.mask_paths:
        lines.append(f"mask = {_relative(section.mask_paths[0], path)}")
    spectra = [channel for channel in section.channels.values() if cube_options_of(channel) is not None]
    if spectra:
        lines += _cube_lines(spectra[0], path)
    others = [channel for channel in section.channels.values() if channel not in spectra]
    if others:
        lines += ["", "[channels]"]
        lines += [f"{channel.name} = {_channel_line(channel, path)}" for channel in others]
    _write_grids(section, path)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not valid TOML: {error}. Mend that line, or write the file again with meteoseg inspect -o."
        ) from error


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], path: Path) -> None:
    for key in table:
        if key not in known:
            raise InputError(f"{path} has the unknown key '{key}': known are {', '.join(known)}.")


def _channel(name: str, value: Any, path: Path) -> tuple[Channel, MapSource]:
    entry = {"file": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise InputError(f'{path}: {name} must be "FILE" or {{ file = "FILE", page = N, unit = "counts" }}.')
    _refuse_unknown(entry, _CHANNEL_KEYS, path)
    if "cube" in entry:
        return _of_cube(name, entry, path)
    unit, oxide = entry.get("unit"), entry.get("oxide")
    if unit is not None and unit not in UNITS:
        raise UnknownNameError.of("unit", str(unit), UNITS)
    if oxide is not None and (oxide not in OXIDES or OXIDES[oxide][0] != name):
        raise UnknownNameError.of(f"oxide of {name}", str(oxide), [key for key in OXIDES if OXIDES[key][0] == name])
    source = _image(read_maps(path.parent / entry["file"]), entry.get("page"), path)
    found = Recognition(name, f"named in {path.name}")
    channel = channel_of(Candidate(source, found), unit)
    if oxide is not None:
        channel = Channel(name, OxidePlane(source.plane, oxide), "wt%", source.path, f"{oxide} named in {path.name}")
    if "shift_px" in entry and "register" in entry:
        raise InputError(f"{path}: {name} has both shift_px and register: keep one.")
    if "shift_px" in entry:
        channel = replace(channel, plane=shifted(channel.plane, entry["shift_px"], path))
    if "register" in entry:
        plane = warped(channel.plane, entry["register"], path)
        channel = replace(channel, plane=plane, reason=f"{channel.reason}; registered to the grid of the maps")
    return channel, source


def _of_cube(name: str, entry: dict[str, Any], path: Path) -> tuple[Channel, MapSource]:
    """Open the map that a run made from a cube; its entry names the elements and the energy axis."""
    options = CubeOptions.from_table(entry["cube"], str(path))
    found = _open_cube(path.parent / entry["file"], options)
    if name not in found.channels:
        raise InputError(f"{entry['file']} gives no {name}, only {', '.join(found.channels)}: name another channel.")
    return found.channels[name], found.sources[0]


def _image(sources: tuple[MapSource, ...], page: Any, path: Path) -> MapSource:
    file = sources[0].path.name
    if page is None and len(sources) > 1:
        raise InputError(f"{path}: {file} holds {len(sources)} images; add page = 1 to {len(sources)}.")
    if page is not None and (type(page) is not int or not 1 <= page <= len(sources)):
        raise InputError(f"{path}: page {page!r} of {file} does not exist; it has pages 1 to {len(sources)}.")
    source = sources[(page or 1) - 1]
    if source.problem:
        raise InputError(f"{source.path} is {source.problem}: export the single maps in grey or one hue.")
    return source


def _pixel_size(data: dict[str, Any], path: Path) -> PixelSize | None:
    value = data.get("pixel_size_um")
    if value is None:
        return None
    sizes = value if isinstance(value, list) else [value, value]
    if len(sizes) != 2 or not all(type(size) in (int, float) and size > 0 for size in sizes):
        raise PixelSizeError(f"{path}: pixel_size_um must be a positive number or [dy, dx] in um, got {value!r}.")
    return float(sizes[0]), float(sizes[1])


def _number(data: dict[str, Any], key: str, path: Path) -> float | None:
    value = data.get(key)
    if value is not None and (type(value) not in (int, float) or value < 0):
        raise InputError(f"{path}: {key} must be a number of 0 or more, got {value!r}.")
    return None if value is None else float(value)


def stored_as(channel: Channel) -> dict[str, Any]:
    """Return what says where a map lies: its `file` as it was named.

    `page`, `oxide`, `shift_px`, `register` and `cube` stand beside it where there are such.

    Raises
    ------
    InputError : a channel that is only in memory.
    """
    if channel.path is None:
        raise InputError(f"Channel '{channel.name}' is only in memory: write it to a file first.")
    plane: Plane = channel.plane.plane if isinstance(channel.plane, PlaneView) else channel.plane
    found: dict[str, Any] = {"file": str(channel.path)}
    options = cube_options_of(channel)
    if options is not None:
        return found | {"cube": options.stated()}
    if isinstance(plane, WarpedPlane):
        found["register"] = entry_of(plane)
        plane = plane.plane
    if isinstance(plane, ShiftedPlane):
        found["shift_px"] = list(plane.shift_px)
        plane = plane.plane
    if isinstance(plane, OxidePlane):
        found["oxide"] = plane.formula
        plane = plane.plane
    if isinstance(plane, TiffPlane) and plane.page is not None:
        found["page"] = plane.page
    return found


def cube_options_of(channel: Channel) -> CubeOptions | None:
    """Return what makes a channel again from its spectrum cube, the elements among it; None for other channels."""
    plane: Plane = channel.plane.plane if isinstance(channel.plane, PlaneView) else channel.plane
    maps = getattr(plane, "maps", None)
    return None if maps is None else replace(maps.options, elements=maps.elements)


def open_stored(name: str, entry: Mapping[str, Any], listed_in: Path) -> Channel:
    """Open the map that `stored_as` (and `unit`) describe; relative files lie beside `listed_in`.

    Raises
    ------
    InputError : a file that cannot be read, or has no such page.
    """
    return _channel(name, dict(entry), listed_in)[0]


def _channel_line(channel: Channel, toml: Path) -> str:
    where = stored_as(channel)
    parts = [f"file = {_relative(Path(where['file']), toml)}"]
    if "page" in where:
        parts.append(f"page = {where['page']}")
    parts.append(f"unit = {_quoted(channel.unit)}")
    if "oxide" in where:
        parts.append(f"oxide = {_quoted(where['oxide'])}")
    if "shift_px" in where:
        parts.append(f"shift_px = {where['shift_px']}")
    if "register" in where:
        parts.append(f"register = {_register_table(where['register'], _displacement_file(channel, toml))}")
    return "{ " + ", ".join(parts) + " }"


def _displacement_file(channel: Channel, toml: Path) -> Path:
    return toml.with_name(f"{toml.stem}_{channel.name}_displacement.csv")


def _register_table(entry: Mapping[str, Any], grid_file: Path) -> str:
    parts = [f"{key} = {json.dumps(entry[key])}" for key in ("shape", "matrix", "offset")]
    if "grid" in entry:
        parts.append(f"grid = {_quoted(grid_file.name)}")
    return "{ " + ", ".join(parts) + " }"


def _write_grids(section: Section, toml: Path) -> None:
    """Write the tables of local displacements that the section.toml names."""
    for channel in section.channels.values():
        plane = channel.plane.plane if isinstance(channel.plane, PlaneView) else channel.plane
        if isinstance(plane, WarpedPlane) and plane.transform.grid is not None:
            write_displacements(plane.transform.grid, _displacement_file(channel, toml))


def _cube_lines(channel: Channel, toml: Path) -> list[str]:
    where = stored_as(channel)
    stated = {key: json.dumps(value, ensure_ascii=False) for key, value in where["cube"].items()}
    return ["", "[cube]", f"file = {_relative(Path(where['file']), toml)}", *(f"{k} = {v}" for k, v in stated.items())]


def _relative(path: Path, toml: Path) -> str:
    return _quoted(Path(os.path.relpath(path.resolve(), toml.resolve().parent)).as_posix())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
