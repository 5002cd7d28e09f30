"""Open a section from a folder, a file or a section.toml."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from meteoseg.errors import InputError, PixelSizeError
from meteoseg.grid import Window
from meteoseg.io.cube import CubeOptions
from meteoseg.io.folder import Found, channel_of, pixel_size_of, renamed, scan_file, scan_folder
from meteoseg.io.formats import CLOSED_CUBES, CLOSED_REMEDY, CUBE_REMEDY, is_readable_cube, kind_of, read_maps
from meteoseg.io.names import check_channel_name
from meteoseg.io.sectionfile import name_in_section_toml, read_section_toml
from meteoseg.io.shifted import where_all_reach
from meteoseg.io.source import MapSource, PixelSize, stem_of
from meteoseg.section import Channel, Plane, PlaneView, Section

TOML_NAME = "section.toml"


def section_name(path: Path) -> str:
    """Return what `open_section` calls the section at `path`, without opening its maps.

    A section.toml that cannot be read, or a path that does not exist, gives the name of the folder or file.
    """
    toml = path / TOML_NAME if path.is_dir() else path
    if toml.suffix.lower() != ".toml":
        return stem_of(path)
    stated = name_in_section_toml(toml) if toml.is_file() else None
    return stated or toml.resolve().parent.name


@dataclass(frozen=True)
class _Opened:
    """What was found before the options of the caller are applied."""

    found: Found
    name: str
    pixel_size_um: PixelSize | None = None
    pixel_size_source: str = "unknown"
    pixel_size_error_pct: float | None = None
    is_fall: bool = False


def open_section(
    path: str | Path,
    *,
    pixel_size_um: float | tuple[float, float] | None = None,
    pixel_size_error_pct: float | None = None,
    channels: Mapping[str, str | Path] | None = None,
    name: str | None = None,
    crop_to_common: bool = False,
    use_mask: bool = True,
    without: Collection[str] = (),
    cube: CubeOptions | None = None,
    is_fall: bool = False,
) -> Section:
    """Open the maps of a section without reading their pixels (text and JPEG/PNG files are decoded once).

    Of a spectrum cube the spectra are added once, to find its elements; maps are made when they are first read.

    Parameters
    ----------
    path : a folder of single maps, one file, a spectrum cube, or a section.toml (a folder that contains one is read
        through it).
    pixel_size_um : micrometres per pixel, one number or (dy, dx); wins over what the files say.
    pixel_size_error_pct : one standard deviation of the pixel size in percent.
    channels : channel name -> file; wins over the recognition for these channels.
    name : name of the section; else that of section.toml, the folder or the file.
    crop_to_common : keep the common top-left part of maps and mask that differ in size.
    use_mask : False ignores the section mask.
    without : channels that are left out, whatever their files look like.
    cube : elements and energy axis of a spectrum cube, where they are not left to the file and its spectra.
    is_fall : the meteorite was seen to fall; so does section.toml say with ``fall = true``.

    Raises
    ------
    InputError : nothing there, no recognisable channel, two files for one element, a damaged file.
    ShapeMismatchError : maps or mask of different sizes, without `crop_to_common`.
    PixelSizeError : a pixel size that is not positive.
    UnknownNameError : a name in `channels` that is neither BSE nor an element.
    """
    path = Path(path)
    given = {check_channel_name(key): Path(value) for key, value in (channels or {}).items()}
    opened = _open(path, given, without, cube or CubeOptions())
    overrides = [(key, *_given_channel(key, file)) for key, file in given.items()]
    merged = dict(opened.found.channels) | {key: channel for key, channel, _ in overrides}
    sources = (*opened.found.sources, *(source for _, _, source in overrides))
    if not merged:
        raise InputError(_nothing_found(path, opened.found))
    size, size_source, notes = _resolve_pixel_size(opened, sources, pixel_size_um)
    mask, mask_paths, mask_notes = _open_mask(opened.found.masks, use_mask=use_mask)
    planes, mask, crop_notes = _common_part(merged, mask) if crop_to_common else (merged, mask, ())
    return Section(
        name or opened.name,
        planes,
        pixel_size_um=size,
        pixel_size_error_pct=opened.pixel_size_error_pct if pixel_size_error_pct is None else pixel_size_error_pct,
        pixel_size_source=size_source,
        mask=where_all_reach((channel.plane for channel in planes.values()), mask),
        mask_paths=mask_paths,
        skipped=opened.found.skipped,
        notes=(*opened.found.notes, *_remarks(planes, sources), *notes, *mask_notes, *crop_notes),
        is_fall=is_fall or opened.is_fall,
    )


def _open(path: Path, given: Mapping[str, Path], without: Collection[str], cube: CubeOptions) -> _Opened:
    if not path.exists():
        raise InputError(f"{path} does not exist: give a folder of maps, one map file, a cube or a section.toml.")
    toml = path / TOML_NAME if path.is_dir() else path
    if toml.suffix.lower() == ".toml" and toml.is_file():
        described = read_section_toml(toml, without, cube)
        return _Opened(
            described.found,
            described.name or toml.resolve().parent.name,
            described.pixel_size_um,
            toml.name if described.pixel_size_um else "unknown",
            described.pixel_size_error_pct,
            described.is_fall,
        )
    if path.is_file() and is_readable_cube(path):
        from meteoseg.io.cubemaps import cube_channels

        return _Opened(cube_channels(path, cube), stem_of(path))
    if not cube.is_empty:
        raise InputError(f"{path} is no spectrum cube: leave out --elements, --ev-per-channel and --energy-offset.")
    if path.is_dir():
        taken = {file.resolve() for file in given.values()}
        return _Opened(scan_folder(path, {*given, *without}, taken), path.resolve().name)
    return _Opened(scan_file(path, {*given, *without}), stem_of(path))


def _given_channel(name: str, file: Path) -> tuple[Channel, MapSource]:
    sources = read_maps(file)
    if len(sources) > 1:
        raise InputError(
            f"{file} holds {len(sources)} images, so {name} is not clear: write a section.toml with "
            f'{name} = {{ file = "{file.name}", page = N }}.'
        )
    source = sources[0]
    if source.problem:
        raise InputError(f"{file} is {source.problem}: export {name} in grey or one hue.")
    return channel_of(renamed(source, name, "given by name")), source


def _nothing_found(path: Path, found: Found) -> str:
    seen = [f"{file.name} ({reason})" for file, reason in found.skipped] + [
        f"{mask.name} (mask)" for mask in found.masks
    ]
    cubes = [file for file, _ in found.skipped if file.is_file() and kind_of(file) == "cube"]
    if cubes:
        remedy = CLOSED_REMEDY if cubes[0].suffix.lower() in CLOSED_CUBES else CUBE_REMEDY
        names = ", ".join(file.name for file in cubes[:3])
        return f"No recognisable channel in {path}, only spectrum cubes ({names}): {remedy}."
    listed = "; ".join(seen[:6]) + (f"; and {len(seen) - 6} more" if len(seen) > 6 else "")
    return (
        f"No recognisable channel in {path}: it has {listed or 'no files'}. "
        "Put the element into each file name (..._Fe.tif) or name files with --channels EL=FILE."
    )


def _resolve_pixel_size(
    opened: _Opened, sources: tuple[MapSource, ...], option: float | tuple[float, float] | None
) -> tuple[PixelSize | None, str, tuple[str, ...]]:
    if opened.pixel_size_um:
        size, source, notes = opened.pixel_size_um, opened.pixel_size_source, ()
    else:
        size, source, notes = pixel_size_of(sources, opened.name)  # type: ignore[assignment]
    if option is None:
        return size, source, notes
    chosen = (float(option), float(option)) if isinstance(option, int | float) else (float(option[0]), float(option[1]))
    if not all(0 < value < 1e4 for value in chosen):
        raise PixelSizeError(f"Pixel size {option} um is not possible: give a positive number of micrometres.")
    if size and any(abs(a / b - 1) > 1e-3 for a, b in zip(chosen, size, strict=True)):
        return (
            chosen,
            "option",
            (f"pixel size {chosen[0]:g} um given by option in place of {size[0]:g} um ({source})",),
        )
    return chosen, "option", ()


def _open_mask(masks: tuple[Path, ...], *, use_mask: bool) -> tuple[Plane | None, tuple[Path, ...], tuple[str, ...]]:
    if not masks:
        return None, (), ()
    if not use_mask:
        return None, (), (f"mask {masks[0].name} ignored on request",)
    return read_maps(masks[0])[0].plane, masks, ()


def _common_part(
    channels: dict[str, Channel], mask: Plane | None
) -> tuple[dict[str, Channel], Plane | None, tuple[str, ...]]:
    shapes = [channel.plane.shape for channel in channels.values()] + ([mask.shape] if mask else [])
    shape = (min(rows for rows, _ in shapes), min(cols for _, cols in shapes))
    if set(shapes) == {shape}:
        return channels, mask, ()
    cropped = {key: replace(channel, plane=_cropped(channel.plane, shape)) for key, channel in channels.items()}
    sizes = ", ".join(f"{rows} x {cols}" for rows, cols in sorted(set(shapes)))
    note = f"maps and mask of {sizes} px (rows x cols) cropped to the common top-left {shape[0]} x {shape[1]} px"
    return cropped, _cropped(mask, shape) if mask else None, (note,)


def _cropped(plane: Plane, shape: tuple[int, int]) -> Plane:
    return plane if plane.shape == shape else PlaneView(plane, Window.whole(shape))


def _remarks(channels: Mapping[str, Channel], sources: tuple[MapSource, ...]) -> tuple[str, ...]:
    """One note for all channels that were converted in the same way."""
    used = {channel.path for channel in channels.values()}
    remarks = dict.fromkeys(source.remark for source in sources if source.remark and source.path in used)
    notes = []
    for remark in remarks:
        names = [key for key, channel in channels.items() if remark in channel.reason]
        notes.append(f"{', '.join(names)}: {remark}")
    oxides = [key for key, channel in channels.items() if "wt% x" in channel.reason]
    if oxides:
        notes.append(f"{', '.join(oxides)}: oxide wt% converted to element wt%")
    return tuple(notes)
