"""``meteoseg register``: maps of several passes are brought into place, an image of another grid becomes a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meteoseg.console import CommandGroup
from meteoseg.errors import InputError
from meteoseg.options import PathArgument, open_given, pairs, section_options


@click.command(cls=CommandGroup.command_class)
@section_options
@click.option("--image", metavar="BSE=FILE", help="An image of another grid, and the channel that it becomes.")
@click.option("--image-pixel-size", type=float, metavar="UM", help="Its pixel size; wins over metadata.")
@click.option("--local", is_flag=True, help="Follow its local distortion, as between the fields of a mosaic.")
@click.option("--maps", is_flag=True, help="Bring the element maps into place among themselves, by whole pixels.")
@click.option("-o", "--out", type=PathArgument, required=True, metavar="TOML", help="The section.toml to write.")
def register(section: Path, image: str | None, maps: bool, out: Path, **given: Any) -> None:
    r"""Bring element maps of several passes into place (--maps), or a BSE image of another grid onto theirs (--image).

    Writes a section.toml that reads maps and image in place. --maps measures how far they lie apart (..._maps.json)
    and moves those that are half a pixel off or more. --image finds size, offset and rotation, with a picture to
    check them by (..._checkerboard.png) and their quality (..._registration.json); another area is refused.

    \b
    Examples
      meteoseg register maps/ --maps -o section.toml
      meteoseg register maps/ --image BSE=bse.tif -o section.toml
      meteoseg register maps/ --maps --pixel-size 2 --image BSE=bse.tif --image-pixel-size 0.5 -o section.toml
      meteoseg segment section.toml -o results
    """
    for path in _register(section, _image(image, maps=maps, given=given), maps, _toml(out), given):
        click.echo(f"wrote {path}", err=True)


def _toml(out: Path) -> Path:
    if out.suffix.lower() != ".toml":
        raise InputError(f"-o {out} is no TOML file: give a name that ends in .toml.")
    return out


def _image(image: str | None, *, maps: bool, given: dict[str, Any]) -> tuple[str, str] | None:
    """Return channel and file of --image."""
    from meteoseg.io.names import check_channel_name

    if image is None:
        if not maps:
            raise InputError("Nothing to register: add --maps, or an image with --image BSE=FILE.")
        if given["local"] or given["image_pixel_size"] is not None:
            raise InputError("--local and --image-pixel-size are about an image: name it with --image BSE=FILE.")
        return None
    [(name, file)] = pairs([image], "--image", "CHANNEL=FILE, e.g. BSE=bse.tif").items()
    return check_channel_name(name), file


def _register(section: Path, image: tuple[str, str] | None, maps: bool, out: Path, given: dict[str, Any]) -> list[Path]:
    from meteoseg.registration import align_maps
    from meteoseg.registration import register as run

    opened = open_given(section, given, without=() if image is None else image[:1])
    written = []
    if maps:
        aligned = align_maps(opened)
        click.echo(aligned.summary())
        opened = aligned.section
        if image is None:
            return aligned.write(out)
    assert image is not None
    done = run(opened, image[1], channel=image[0], pixel_size_um=given["image_pixel_size"], local=given["local"])
    click.echo(done.summary())
    written = done.write(out)
    return [*written, aligned.write_facts(out)] if maps else written
