"""The commands of spectrum cubes: maps and components as files, mean spectra of a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meteoseg.commands.options import PathArgument, cube_given, cube_options, with_options
from meteoseg.errors import InputError


def add_cube_commands(group: click.Group) -> None:
    """Add ``maps`` and ``spectra`` to the command line."""
    group.command()(maps)
    group.command()(spectra)


def _with_cube(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(command, cube_options())


@click.argument("cube", type=PathArgument)
@_with_cube
@click.option("-o", "--out", type=PathArgument, required=True, metavar="DIR", help="Folder to write.")
@click.option("--components", type=click.IntRange(0, 99), default=0, show_default=True, metavar="N",
              help="Component images to add as channels.")  # fmt: skip
@click.option(
    "--method", type=click.Choice(["pca", "nmf"]), default="pca", show_default=True, help="How they are made."
)
@click.option("--name", help="Name of the section (default: from the file).")
@click.option("--overwrite", is_flag=True, help="Replace DIR where it exists.")
def maps(cube: Path, out: Path, **given: Any) -> None:
    r"""Write element maps (and component images) of a spectrum cube as a folder that is a section.

    A cube is a section itself (meteoseg segment A12.bcf); files spare a large one from being read in each run.

    \b
    Examples
      meteoseg maps A12.bcf -o maps/A12
      meteoseg maps A12.rpl --ev-per-channel 10 --elements Mg Si Fe S -o maps/A12
      meteoseg maps A12.bcf --components 6 --method nmf -o maps/A12
    """
    from meteoseg.cubes.mapfiles import write_cube_maps

    keys = ("components", "method", "name", "overwrite")
    for note in write_cube_maps(cube, out, cube_given(given), **{key: given[key] for key in keys}):
        click.echo(note)
    click.echo(f"wrote {out}", err=True)


@click.argument("result", type=PathArgument, metavar="OUT")
@click.option("--cube", type=PathArgument, required=True, metavar="FILE", help="Cube that the result was made from.")
@click.option("--least-px", type=click.IntRange(min=1), default=15, show_default=True, help="Fewer pixels: left out.")
@_with_cube
@click.option("--overwrite", is_flag=True, help="Replace OUT/spectra/ where it exists.")
def spectra(result: Path, cube: Path, **given: Any) -> None:
    r"""Write the mean spectrum of each phase and chondrule of a result folder as EMSA (.msa), into OUT/spectra/.

    \b
    Example
      meteoseg spectra results/A12 --cube A12.bcf
    """
    from meteoseg.cubes.means import write_mean_spectra

    if given["elements"]:
        raise InputError("--elements has no meaning for mean spectra: leave it out.")
    options = cube_given(given)
    out = write_mean_spectra(result, cube, options, least_px=given["least_px"], overwrite=given["overwrite"])
    click.echo(f"wrote {out}", err=True)
