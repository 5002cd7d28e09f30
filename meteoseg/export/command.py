"""The command ``meteoseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)
#: The formats, written out: the module that knows them loads numpy, which --help must not.
_FORMATS = ("qupath", "imagej", "ome-tiff", "ome-zarr", "all")


@click.argument("result", type=_PATH, metavar="OUT")
@click.option(
    "--to",
    multiple=True,
    type=click.Choice(_FORMATS),
    default=("all",),
    help="Program or format; repeatable  [default: all]",
)
@click.option("-o", "--out", type=_PATH, metavar="DIR", help="Folder to write  [default: OUT/export]")
@click.option("--maps", type=_PATH, metavar="DIR", help="Where the maps of OUT lie, if they moved.")
@click.option("--overwrite", is_flag=True, help="Replace exports that exist.")
def export(result: Path, **given: Any) -> None:
    r"""Write results for other programs: QuPath, ImageJ and Fiji, napari.

    qupath: outlines and measurements of chondrules (GeoJSON). imagej: regions of interest (zip).
    ome-tiff: minerals and components in colours, and the maps as channels. ome-zarr: maps and labels.

    \b
    Examples
      meteoseg export results/A12
      meteoseg export results/A12 --to qupath imagej
      meteoseg export results/A12 --to ome-zarr --maps /mnt/maps/A12 -o A12_napari
    """
    from meteoseg.export.exporting import export_results

    def tell(note: str) -> None:
        click.echo(f"meteoseg: {note}", err=True)

    for path in export_results(result, tell=tell, **given):
        click.echo(f"wrote {path}", err=True)
