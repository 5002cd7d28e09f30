"""Register an image to the maps of a section: from files to a section that reads it on its own grid."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from meteoseg.elements import BSE
from meteoseg.errors import InputError, PixelSizeError
from meteoseg.io import stored_as, write_section_toml
from meteoseg.io.folder import channel_of, renamed
from meteoseg.io.formats import read_maps
from meteoseg.io.names import check_channel_name, pixel_size_from_name, recognise
from meteoseg.io.source import MapSource, PixelSize, stem_of
from meteoseg.io.warped import Transform, WarpedPlane
from meteoseg.registration.checkerboard import checkerboard_png
from meteoseg.registration.estimate import estimate
from meteoseg.registration.levels import check_level, read_level
from meteoseg.registration.quality import Motion, Quality, objection, quality_of
from meteoseg.registration.reference import element_names
from meteoseg.runs.output import whole_file
from meteoseg.runs.provenance import sha256_of
from meteoseg.section import Channel, Section


@dataclass(frozen=True)
class Registration:
    """An image on the grid of the maps.

    Parameters
    ----------
    section : the section with the image as channel `channel`, read through `transform` window by window.
    motion : the transform told apart: shift, rotation, stretch. quality : how well it fits.
    picture : PNG, the checkerboard of maps and image before and after.
    """

    section: Section
    channel: str
    transform: Transform
    motion: Motion
    quality: Quality
    picture: bytes

    def summary(self) -> str:
        """Return lines that tell the transform and its quality."""
        motion, quality = self.motion, self.quality
        (row, col), (row_error, col_error) = motion.shift_px, quality.error_px
        grid = self.transform.grid
        facts = [
            ("shift", f"{row:.2f} +- {row_error:.2f} rows, {col:.2f} +- {col_error:.2f} columns (map pixels, in the "
                      "middle of the maps; positive: found further down, further right)"),
            ("rotation", f"{motion.rotation_deg:.3f} degrees"),
            ("stretch", f"{motion.stretch_pct[0]:.2f} % (rows) x {motion.stretch_pct[1]:.2f} % (columns), "
                        f"shear {motion.shear_pct:.2f} %"),
            ("local", "none" if grid is None else f"{len(grid.rows)} x {len(grid.cols)} nodes, "
                      f"up to {np.abs(grid.shift_px).max():.2f} px"),
            ("blocks", f"{quality.n_agree} of {quality.n_blocks} agree, median distance {quality.residual_px[0]:.2f} "
                       f"rows, {quality.residual_px[1]:.2f} columns"),
            ("likeness", f"correlation {quality.correlation:.2f}, normalised mutual information {quality.nmi:.2f}"),
            ("covered", f"{100 * quality.covered_share:.1f} % of the maps"),
        ]  # fmt: skip
        lines = [f"{self.channel} registered to {self.section.name}", ""]
        return "\n".join([*lines, *(f"{key:<10}{value}" for key, value in facts)])

    def facts(self) -> dict[str, Any]:
        """Return transform, quality and the hash of the image as plain values."""
        channel = self.section.channels[self.channel]
        where = stored_as(channel)
        return {
            "channel": self.channel,
            "file": where["file"],
            "sha256": sha256_of(Path(where["file"])),
            "register": where["register"],
            "motion": asdict(self.motion),
            "quality": {key: _plain(value) for key, value in self.quality.as_dict().items()},
        }

    def write(self, toml: str | Path) -> list[Path]:
        """Write the section.toml, and beside it the picture, the quality and, where local, the displacements.

        Raises
        ------
        InputError : a channel of the section is only in memory.
        """
        toml = Path(toml)
        picture, quality = (
            toml.with_name(f"{toml.stem}_{self.channel}_{end}") for end in ("checkerboard.png", "registration.json")
        )
        text = json.dumps(self.facts(), indent=2) + "\n"
        toml.parent.mkdir(parents=True, exist_ok=True)
        write_section_toml(self.section, toml)
        for path, content in ((picture, self.picture), (quality, text.encode())):
            with whole_file(path) as part:
                part.write_bytes(content)
        return [toml, picture, quality]


def register(
    section: Section,
    image: str | Path,
    *,
    channel: str = BSE,
    pixel_size_um: float | tuple[float, float] | None = None,
    local: bool = False,
) -> Registration:
    """Find where an image lies on the element maps of a section, and read it on their grid from then on.

    The pixel sizes give the scale, the grey levels the rest: a search over rotations (to 5 degrees), scales (to 6 %)
    and shifts by the multiple correlation with all maps; then blocks of the image that the maps predict are sought in
    it.
    Maps and image are read by windows; what is held in memory does not grow with them.

    Parameters
    ----------
    section : with one element map at least. image : the file.
    channel : what the image becomes; BSE or an element. One of that name in the section is replaced.
    pixel_size_um : of the image, one number or (dy, dx); wins over what the file says.
    local : also follow local distortion, by a coarse grid of displacements.

    Raises
    ------
    InputError : an image that cannot be read, is blank, or does not fit (another area, mirrored, too little overlap).
    PixelSizeError : the pixel size of maps or image is unknown, and they differ in size.
    UnknownNameError : `channel` is neither BSE nor an element.
    """
    image = Path(image)
    names = element_names(section, check_channel_name(channel))
    source = _one_image(image, channel)
    map_px, image_px, notes = _pixel_sizes(section, source, pixel_size_um)
    nominal = Transform.scaling((map_px[0] / image_px[0], map_px[1] / image_px[1]))
    level = read_level(section, names, source.plane, map_px, image_px)
    check_level(level, section, image.name)
    found = estimate(section, names, source.plane, level, local=local)
    quality, motion = quality_of(found, level, section.shape), Motion.of(found.transform, nominal, section.shape)
    reason = objection(quality, motion)
    if reason is not None:
        raise InputError(
            f"{image.name} does not fit the maps of '{section.name}': {reason}. It may show another area, be "
            "mirrored or turned, or overlap too little; check its pixel size as well (--image-pixel-size UM)."
        )
    registered = _with_channel(section, source, channel, found.transform, notes)
    return Registration(registered, channel, found.transform, motion, quality, checkerboard_png(found, nominal, level))


def _one_image(image: Path, channel: str) -> MapSource:
    sources = read_maps(image)
    if len(sources) > 1:
        named = [source for source in sources if (found := recognise(source.label)) and found.name == channel]
        if len(named) != 1:
            raise InputError(
                f"{image} holds {len(sources)} images, and which is {channel} is not clear: save it alone."
            )
        sources = tuple(named)
    if sources[0].problem:
        raise InputError(f"{image} is {sources[0].problem}: export {channel} in grey or one hue.")
    return sources[0]


def _pixel_sizes(
    section: Section, source: MapSource, option: float | tuple[float, float] | None
) -> tuple[PixelSize, PixelSize, tuple[str, ...]]:
    """Return the pixel sizes of maps and image in one unit, and what was assumed."""
    stated = source.pixel_size_um
    named = pixel_size_from_name(stem_of(source.path))
    if stated is None and named is not None:
        stated = (named, named)
    if option is not None:
        stated = (float(option), float(option)) if isinstance(option, int | float) else option
    if stated is not None:
        if not all(0 < size < 1e4 for size in stated):
            raise PixelSizeError(
                f"Pixel size {stated} um of {source.path.name} is not possible: give a positive number."
            )
        return section.require_pixel_size(), stated, ()
    shape = source.plane.shape
    if shape != section.shape:
        raise PixelSizeError(
            f"Pixel size of {source.path.name} is unknown, and it is {shape[0]} x {shape[1]} px where the maps are "
            f"{section.shape[0]} x {section.shape[1]} px: give it in micrometres with --image-pixel-size UM (or "
            "pixel_size_um=... in Python)."
        )
    size = section.pixel_size_um or (1.0, 1.0)
    return size, size, (f"{source.path.name} states no pixel size; that of the maps, which are as large, was taken",)


def _with_channel(
    section: Section, source: MapSource, channel: str, transform: Transform, notes: tuple[str, ...]
) -> Section:
    made: Channel = channel_of(renamed(source, channel, "given by name"))
    plane = WarpedPlane(made.plane, section.shape, transform)
    made = replace(made, plane=plane, reason=f"{made.reason}; registered to the grid of the maps")
    others = {name: other for name, other in section.channels.items() if name != channel}
    channels = {channel: made, **others} if channel == BSE else {**others, channel: made}
    return replace(section, channels=channels, notes=(*section.notes, *notes))


def _plain(value: Any) -> Any:
    """Return a value that JSON knows: NaN becomes None."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
