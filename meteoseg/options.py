"""Options that commands of the command line share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meteoseg.errors import InputError

if TYPE_CHECKING:
    from meteoseg.section import Section

F = TypeVar("F", bound=Callable[..., Any])
PathArgument = click.Path(path_type=Path)


def _with(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def section_options(command: F) -> F:
    """Add the argument SECTION and the options that say how it is read."""
    return _with(
        command,
        [
            click.argument("section", type=PathArgument),
            click.option("--pixel-size", type=float, metavar="UM", help="Pixel size; wins over metadata."),
            click.option("--pixel-size-error", type=float, metavar="PCT", help="Its standard error in percent."),
            click.option("--channels", multiple=True, metavar="EL=FILE", help="File of a channel; repeatable."),
            click.option("--crop-to-common", is_flag=True, help="Keep the common part of maps that differ in size."),
            click.option("--no-mask", is_flag=True, help="Ignore section masks."),
        ],
    )


def open_given(path: Path, given: dict[str, Any], *, name: str | None = None) -> Section:
    """Open SECTION as the options of `section_options` say."""
    from meteoseg.io import open_section

    size, error = given["pixel_size"], given["pixel_size_error"]
    if error is not None and not 0 <= error < 100:
        raise InputError(f"--pixel-size-error {error} is not possible: give a percentage from 0 to 100.")
    return open_section(
        path,
        pixel_size_um=size,
        pixel_size_error_pct=error,
        channels=pairs(given["channels"], "--channels", "EL=FILE, e.g. Fe=iron.tif") or None,
        name=name,
        crop_to_common=given["crop_to_common"],
        use_mask=not given["no_mask"],
    )


def pairs(items: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Split items such as EL=FILE; `form` says in a message how they are written.

    Raises
    ------
    InputError : an item that is no pair, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise InputError(f"{option} '{item}' is not understood: write {form}.")
        if key in found:
            raise InputError(f"{option} names '{key}' twice ({found[key]} and {value}): keep one.")
        found[key] = value
    return found


def finetune_options(command: F) -> F:
    """Add the options of ``meteoseg finetune``; those of the training have the defaults of `FineTuneOptions`."""
    kinds = click.Choice(["components", "phases", "objects"])
    sides = "left, right, top, bottom or auto"
    option = click.option
    return _with(
        command,
        [
            option("--labels", type=PathArgument, required=True, metavar="TIF", help="Label image, same grid."),
            option("--kind", type=kinds, default="components", show_default=True, help="What the labels are."),
            option("--class", "classes", multiple=True, metavar="VALUE=NAME", help="Meaning of a value; repeatable."),
            option("--legend", type=PathArgument, metavar="CSV", help="Meaning of the values: columns id, name."),
            option("--kinds", type=PathArgument, metavar="CSV", help="Kinds of objects: columns label, kind."),
            option("--unlabelled", multiple=True, type=int, metavar="VALUE", help="No label  [default: 0 255]"),
            option("--model", default="chondrite", show_default=True, help="Shipped model, weights file or RUN."),
            option("-o", "--out", type=PathArgument, required=True, metavar="RUN", help="Folder of the new model."),
            option("--steps", type=click.IntRange(min=1), default=200, show_default=True, help="Of each network."),
            option("--learning-rate", type=float, default=3e-4, show_default=True),
            option("--holdout", default="auto", show_default=True, metavar="SIDE", help=f"Scored: {sides}."),
            option("--holdout-share", type=float, default=0.25, show_default=True, help="Share of the labels."),
            option("--gap", "gap_px", type=int, metavar="PX", help="Left out between  [default: network's margin]"),
            option("--replay", multiple=True, metavar="GLOB", help="Training examples shown in between; repeatable."),
            option("--replay-share", type=float, default=0.3, show_default=True, help="Share of the crops."),
            option("--threads", type=int, default=0, help="Processor threads  [default: all]"),
            option("--seed", type=int, default=1, show_default=True),
            option("--overwrite", is_flag=True, help="Replace RUN where it exists."),
        ],
    )
