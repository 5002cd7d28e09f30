"""Options that commands of the command line share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meteoseg.errors import InputError

if TYPE_CHECKING:
    from meteoseg.io.cube import CubeOptions
    from meteoseg.section import Section

F = TypeVar("F", bound=Callable[..., Any])
PathArgument = click.Path(path_type=Path)


def with_options(command: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add arguments and options, shown in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def section_options(command: F) -> F:
    """Add the argument SECTION and the options that say how it is read."""
    return with_options(
        command,
        [
            click.argument("section", type=PathArgument),
            click.option("--pixel-size", type=float, metavar="UM", help="Pixel size; wins over metadata."),
            click.option("--pixel-size-error", type=float, metavar="PCT", help="Its standard error in percent."),
            click.option("--channels", multiple=True, metavar="EL=FILE", help="File of a channel; repeatable."),
            click.option("--crop-to-common", is_flag=True, help="Keep the common part of maps that differ in size."),
            click.option("--no-mask", is_flag=True, help="Ignore section masks."),
            *cube_options(),
        ],
    )


def standards_option(command: F) -> F:
    """Add ``--standards``."""
    text = "Standards, a calibration.json, or the section itself."
    return click.option("--standards", type=PathArgument, metavar="DIR|FILE|self", help=text)(command)


def fall_option(command: F) -> F:
    """Add ``--fall``."""
    return click.option("--fall", is_flag=True, help="Seen to fall: weathering W0.")(command)


def cube_options() -> list[Callable[[F], F]]:
    """Return the options that say how a spectrum cube is read."""
    option = click.option
    elements = "Elements to map from a spectrum cube; repeatable  [default: those found]"
    return [
        option("--elements", multiple=True, metavar="EL", help=elements),
        option("--ev-per-channel", type=click.FloatRange(0, min_open=True), metavar="EV", help="Of a cube's spectra."),
        option("--energy-offset", type=float, metavar="EV", help="Energy of their channel 0."),
        option("--resolution", type=float, metavar="EV", help="FWHM at Mn Ka  [default: from the spectra]"),
    ]


def cube_given(given: dict[str, Any]) -> CubeOptions:
    """Read the options of `cube_options`."""
    from meteoseg.io.cube import CubeOptions

    said = {
        "elements": [name for text in given["elements"] for name in text.replace(",", " ").split()] or None,
        "ev_per_channel": given["ev_per_channel"],
        "offset_ev": given["energy_offset"],
        "resolution_ev": given["resolution"],
    }
    return CubeOptions.from_table({key: value for key, value in said.items() if value is not None}, "The command line")


def open_given(path: Path, given: dict[str, Any], *, name: str | None = None, without: Collection[str] = ()) -> Section:
    """Open SECTION as the options of `section_options` say, but for the channels `without`."""
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
        without=without,
        cube=cube_given(given),
        is_fall=given.get("fall", False),
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


def value_of(text: str) -> int:
    """Read the value of a label.

    Raises
    ------
    InputError : it is no whole number.
    """
    if not text.isdecimal():
        raise InputError(f"--class value '{text}' is no whole number: write VALUE=NAME, e.g. 1=olivine.")
    return int(text)


def cluster_options(command: F) -> F:
    """Add the options of ``meteoseg cluster``."""
    option, whole = click.option, click.IntRange
    methods = click.Choice(["kmeans", "gmm", "nmf", "rules", "forest"])
    use = "Channel or expression to sort by; repeatable  [default: all channels]"
    count = "Number of classes  [default: 8; gmm: 2 to 12 by BIC]"
    return with_options(
        command,
        [
            option("-o", "--out", type=PathArgument, required=True, help="Results go to OUT/<section name>/."),
            option("--method", type=methods, default="kmeans", show_default=True, help="How pixels are sorted."),
            option("--use", multiple=True, metavar="EXPR", help=use),
            option("--classes", type=whole(min=2), metavar="N", help=count),
            option("--rules", type=PathArgument, metavar="TOML", help='NAME = "condition", the first that holds.'),
            option("--scribbles", type=PathArgument, metavar="TIF", help="Drawn classes; 0 and 255 are unlabelled."),
            option("--class", "names", multiple=True, metavar="VALUE=NAME", help="Name of a drawn value; repeatable."),
            option("--seed", type=whole(0, 2**32 - 1), metavar="N", default=1, show_default=True,
                   help="Number that random choices come from; the same gives the same."),
            option("--name", help="Name of the section (default: from the folder or file)."),
            option("--overwrite", is_flag=True, help="Replace OUT/<name>/ where it exists."),
        ],
    )  # fmt: skip


def finetune_options(command: F) -> F:
    """Add the options of ``meteoseg finetune``; those of the training have the defaults of `FineTuneOptions`."""
    return with_options(command, [*_label_options(), *_tuning_options()])


def _label_options() -> list[Callable[[F], F]]:
    option, kinds = click.option, click.Choice(["components", "phases", "objects"])
    return [
        option("--labels", type=PathArgument, required=True, metavar="TIF", help="Label image, as large as the maps."),
        option("--kind", type=kinds, default="components", show_default=True, help="What the labels are."),
        option("--class", "classes", multiple=True, metavar="VALUE=NAME", help="Meaning of a value; repeatable."),
        option("--legend", type=PathArgument, metavar="CSV", help="Meaning of the values: columns id, name."),
        option("--kinds", type=PathArgument, metavar="CSV", help="Kinds of objects: columns label, kind."),
        option(
            "--unlabelled",
            multiple=True,
            type=click.IntRange(min=0),
            metavar="VALUE",
            help="Value that is no label; repeatable  [default: 0 and 255]",
        ),
    ]


def _tuning_options() -> list[Callable[[F], F]]:
    option, whole, real = click.option, click.IntRange, click.FloatRange
    sides = "left, right, top, bottom or auto"
    return [
        option("--model", default="chondrite", show_default=True, help="Start: shipped model, weights file or RUN."),
        option("-o", "--out", type=PathArgument, required=True, metavar="RUN", help="Folder of the new model."),
        option(
            "--steps",
            type=whole(min=1),
            metavar="N",
            default=200,
            show_default=True,
            help="Training steps for each network.",
        ),
        option(
            "--learning-rate",
            type=real(1e-9, 10),
            default=3e-4,
            show_default=True,
            metavar="RATE",
            help="Largest learning rate; higher learns faster and forgets more.",
        ),
        option(
            "--holdout",
            default="auto",
            show_default=True,
            metavar="SIDE",
            help=f"Side of the section kept for scoring: {sides}.",
        ),
        option(
            "--holdout-share",
            type=real(0.05, 0.6),
            default=0.25,
            show_default=True,
            metavar="SHARE",
            help="Share of the labelled pixels kept for scoring, 0.05 to 0.6.",
        ),
        option(
            "--gap",
            "gap_px",
            type=whole(min=1),
            metavar="PX",
            help="Strip left out between the two parts, in map pixels  [default: margin of the network]",
        ),
        option(
            "--replay",
            multiple=True,
            metavar="GLOB",
            help="Training examples shown in between, against forgetting; repeatable.",
        ),
        option(
            "--replay-share",
            type=real(0, 0.9),
            default=0.3,
            show_default=True,
            metavar="SHARE",
            help="Share of the crops taken from --replay, 0 to 0.9.",
        ),
        option("--threads", type=whole(0, 1024), metavar="N", default=0, help="Processor threads  [default: 0, all]"),
        option(
            "--seed",
            metavar="N",
            type=whole(min=0),
            default=1,
            show_default=True,
            help="Number that the random crops come from; the same gives the same.",
        ),
        option("--overwrite", is_flag=True, help="Replace RUN where it exists."),
    ]


def modes_options(command: F) -> F:
    """Add OUT or LABELS.tif and the options of ``meteoseg modes``."""
    option, layers = click.option, click.Choice(["phases", "components"])
    return with_options(
        command,
        [
            click.argument("labels", type=PathArgument, metavar="OUT|LABELS.tif"),
            option("--mask", "masks", type=PathArgument, multiple=True, metavar="ROI", help="Region; repeatable."),
            option("--layer", type=layers, help="Layer of LABELS.tif."),
            option("--pixel-size", type=float, metavar="UM", help="Where LABELS.tif states none."),
            option("--maps", type=PathArgument, metavar="DIR", help="Where the maps of OUT lie, if they moved."),
            option("-o", "--out", type=PathArgument, metavar="CSV", help="Table to write."),
        ],
    )


def evaluate_options(command: F) -> F:
    """Add PRED, TRUTH and the options of ``meteoseg evaluate``."""
    kinds = click.Choice(["phases", "components", "objects"])
    off = "Pixels this close to a drawn boundary are not scored."
    inside = "Image that is 0 off the section: not scored there."
    ignore = "Objects not to score: table with label and kind, or ids like 3,17."
    rare = "Leave rarer classes (area % of TRUTH) out of mean_iou."
    merge = "Score as one what maps cannot tell apart; repeatable."
    option = click.option
    return with_options(
        command,
        [
            click.argument("pred", type=PathArgument),
            click.argument("truth", type=PathArgument),
            option("--kind", type=kinds, default="components", show_default=True,
                   help="Minerals or components pixel by pixel, or chondrules one by one."),
            option("-o", "--out", type=PathArgument, required=True, metavar="CSV", help="Table of scores to write."),
            option("--boundary-px", type=click.IntRange(min=0), default=1, show_default=True, help=off),
            option("--inside", type=PathArgument, metavar="MASK", help=inside),
            option("--ignore", metavar="CSV|IDS", help=ignore),
            option("--ignore-kind", multiple=True, metavar="KIND", help="Kind of that table, e.g. nodule; repeatable."),
            option("--per-object", type=PathArgument, metavar="CSV", help="Also a row per object, the worst first."),
            option("--min-area-pct", type=click.FloatRange(0, 100), default=0.0, show_default=True, help=rare),
            option("--merge", multiple=True, metavar="A,B", help=merge),
        ],
    )  # fmt: skip


def patch_options(command: F) -> F:
    """Add IMAGES or RESULT and the options of ``meteoseg classify-patches``."""
    option = click.option
    least = "Under P (0 to 1) an image is unclassified; 0: never  [default: as the model was calibrated]"
    return with_options(
        command,
        [
            click.argument("path", type=PathArgument, metavar="IMAGES|RESULT"),
            option("--model", default="chondrule-textures", show_default=True, help="Shipped model, file or RUN."),
            option("-o", "--out", type=PathArgument, metavar="OUT", help="Folder of patches.csv, for IMAGES."),
            option("--maps", type=PathArgument, metavar="DIR", help="Where the maps of RESULT lie, if they moved."),
            option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Classes listed for each."),
            option("--min-probability", type=click.FloatRange(0, 1), metavar="P", help=least),
            option("--overwrite", is_flag=True, help="Replace OUT where it exists."),
        ],
    )


def size_mm(text: str) -> tuple[float, float]:
    """Read ``10x5`` (width x height) as (width, height) in mm.

    Raises
    ------
    InputError : it is written in another way.
    """
    try:
        width, height = (float(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise InputError(f"--size-mm '{text}' is not understood: write WIDTHxHEIGHT in mm, like 10x5.") from error
    return width, height
