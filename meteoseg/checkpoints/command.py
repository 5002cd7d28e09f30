"""The command ``meteoseg checkpoints``: draw points of a result folder to label, or read the labelled list back."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.argument("folder", type=_PATH, metavar="OUT")
@click.option("-n", "n", type=click.IntRange(min=2), default=300, show_default=True, help="Points to draw.")
@click.option("--layer", type=click.Choice(["phases", "components"]), help="Layer  [default: phases, if OUT has them]")
@click.option(
    "--min-per-class", type=click.IntRange(min=2), default=10, show_default=True, help="Points of each class."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The same gives the same points."
)
@click.option("--maps", type=_PATH, metavar="DIR", help="Where the maps of OUT lie, if they moved.")
@click.option("--read", "labelled", type=_PATH, metavar="CSV", help="Read the labelled list back.")
@click.option("--overwrite", is_flag=True, help="Replace a list that was drawn before.")
def checkpoints(
    folder: Path,
    n: int,
    layer: str | None,
    min_per_class: int,
    seed: int,
    maps: Path | None,
    labelled: Path | None,
    overwrite: bool,
) -> None:
    r"""Draw random points of a result folder to label by eye; read them back for error-adjusted modes.

    Writes OUT/checkpoints_<layer>.csv: fill its column label with names of legend.csv, without looking at the
    result; what cannot be named is left empty. Pictures around the points lie beside it as PNG.

    \b
    Examples
      meteoseg checkpoints results/A12 -n 300
      meteoseg checkpoints results/A12 --read results/A12/checkpoints_phases.csv
    """
    from meteoseg.checkpoints.folder import draw_into, read_back

    if labelled is not None:
        click.echo(read_back(folder, labelled, maps=maps))
    else:
        options = {"n": n, "least": min_per_class, "seed": seed}
        click.echo(draw_into(folder, layer, options=options, maps=maps, overwrite=overwrite))
