"""``meteoseg register``: an image of another grid becomes a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from meteoseg.commands.console import CommandGroup
from meteoseg.commands.options import PathArgument, open_given, pairs, section_options
from meteoseg.errors import InputError


@click.command(cls=CommandGroup.command_class)
@section_options
@click.option("--image", required=True, metavar="BSE=FILE", help="The image, and the channel that it becomes.")
@click.option("--image-pixel-size", type=float, metavar="UM", help="Its pixel size; wins over metadata.")
@click.option("--local", is_flag=True, help="Follow local distortion, as between the fields of a mosaic.")
@click.option("-o", "--out", type=PathArgument, required=True, metavar="TOML", help="The section.toml to write.")
def register(section: Path, image: str, image_pixel_size: float | None, local: bool, out: Path, **given: Any) -> None:
    r"""Bring a BSE image of another size, pixel size, offset and rotation onto the grid of the element maps.

    Writes a section.toml that reads the image through the transform, a picture to check it by
    (..._checkerboard.png) and its quality (..._registration.json). An image of another area is refused.

    \b
    Examples
      meteoseg register maps/ --image BSE=bse.tif -o section.toml
      meteoseg register maps/ --pixel-size 2 --image BSE=bse.tif --image-pixel-size 0.5 -o section.toml
      meteoseg segment section.toml -o results
    """
    from meteoseg.io.names import check_channel_name
    from meteoseg.registration import register as run

    if out.suffix.lower() != ".toml":
        raise InputError(f"-o {out} is no TOML file: give a name that ends in .toml.")
    [(name, file)] = pairs([image], "--image", "CHANNEL=FILE, e.g. BSE=bse.tif").items()
    opened = open_given(section, given, without=(check_channel_name(name),))
    done = run(opened, file, channel=name, pixel_size_um=image_pixel_size, local=local)
    click.echo(done.summary())
    for path in done.write(out):
        click.echo(f"wrote {path}", err=True)
