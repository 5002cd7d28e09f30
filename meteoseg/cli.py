"""The command line: parse, call, exit code.

0 done; 1 some sections of a batch failed; 2 bad input or usage; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from meteoseg._version import __version__
from meteoseg.checkpoints.command import checkpoints
from meteoseg.commands.console import CommandGroup
from meteoseg.commands.cubes import add_cube_commands
from meteoseg.commands.options import (
    PathArgument,
    cluster_options,
    evaluate_options,
    fall_option,
    finetune_options,
    modes_options,
    open_given,
    pairs,
    patch_options,
    section_options,
    size_mm,
    standards_option,
    value_of,
)
from meteoseg.commands.register import register
from meteoseg.errors import InputError
from meteoseg.export.command import export


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="meteoseg")
def main() -> None:
    r"""Minerals, chondrules, modal abundances and a chondrite group from SEM maps of a meteorite section.

    SECTION is a folder of maps (one file per element), one multi-channel file, a spectrum cube, or a section.toml
    that names files, elements and the pixel size.

    \b
    Start with
      meteoseg demo                                   the whole chain on a small sample
      meteoseg inspect maps/                          what is recognised in your folder
      meteoseg segment maps/ -o results --pixel-size 1.0
    """


main.add_command(register)


@main.command()
@section_options
@click.option("-o", "--out", type=PathArgument, metavar="TOML", help="Also write a section.toml to edit.")
def inspect(section: Path, out: Path | None, **given: Any) -> None:
    r"""Show what is recognised: channels, units, sizes, pixel size, mask, problems.

    Nothing is written without -o.

    \b
    Examples
      meteoseg inspect maps/
      meteoseg inspect maps/ --channels Fe=iron.tif -o maps/section.toml
    """
    from meteoseg.io import check_values, describe_section, write_section_toml
    from meteoseg.registration import places_note

    opened = open_given(section, given)
    opened = replace(opened, notes=(*opened.notes, *check_values(opened), *places_note(opened)))
    click.echo(describe_section(opened))
    if out is not None:
        write_section_toml(opened, out)
        click.echo(f"wrote {out}", err=True)


@main.command()
@section_options
@click.option("-o", "--out", type=PathArgument, required=True, help="Results go to OUT/<section name>/.")
@click.option("--model", default="chondrite", show_default=True, help="Shipped model, weights file or RUN.")
@standards_option
@click.option(
    "--phases",
    type=PathArgument,
    metavar="LEGEND",
    help="TOML file that selects, drops, merges or adds phases; or opaques, CAI, silicates, all.",
)
@click.option("--name", help="Name of the section (default: from the folder or file).")
@click.option("--overwrite", is_flag=True, help="Replace OUT/<name>/ where it exists.")
@click.option(
    "--tta/--no-tta",
    default=None,
    help="Average networks over flips and rotations, or none of them (default: those on coarse pixels).",
)
@click.option("--min-probability", type=float, metavar="P", help="Minerals under P (0 to 1) are unclassified.")
@click.option("--probabilities", is_flag=True, help="Also write the probability of each pixel's label, in %.")
@click.option(
    "--chondrule-pixel",
    "chondrule_pixel_um",
    type=float,
    metavar="UM",
    help="Pixel size on which chondrules are sought, about 1/20 of one  [default: 10]",
)
@click.option("--no-textures", is_flag=True, help="Do not name the textures of chondrules.")
@fall_option
def segment(section: Path, out: Path, **given: Any) -> None:
    r"""Segment one section: phases, components, chondrules, modes, group, report.

    \b
    Examples
      meteoseg segment maps/ -o results --pixel-size 1.0
      meteoseg segment maps/ -o results --pixel-size 25 --pixel-size-error 20 --name ps1b
      meteoseg segment maps/ -o results --standards standards/ --crop-to-common
      meteoseg segment maps/ -o results --standards self
    """
    from meteoseg.pipeline import segment as run

    opened = open_given(section, given, name=given["name"])
    keys = ("standards", "overwrite", "tta", "min_probability", "probabilities", "chondrule_pixel_um")
    options = {key: given[key] for key in keys} | ({"textures": None} if given["no_textures"] else {})
    click.echo(run(opened, given["model"], out=out, legend=given["phases"], progress=True, **options).summary())


@main.command()
@click.argument("sections", type=PathArgument, metavar="MANIFEST.csv|DIR")
@click.option("-o", "--out", type=PathArgument, required=True, help="Results go to OUT/<section name>/.")
@click.option("--model", default="chondrite", show_default=True, help="Shipped model, weights file or RUN.")
@standards_option
@click.option("--pixel-size", type=float, metavar="UM", help="Of sections whose row states none; wins over metadata.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Sections at a time.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Run on a dask.distributed cluster.")
@click.option("--resume", is_flag=True, help="Skip sections whose results are complete.")
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
@click.option("--crop-to-common", is_flag=True, help="Keep the common part of maps that differ in size.")
@fall_option
def batch(sections: Path, out: Path, **given: Any) -> int:
    r"""Segment many sections; one that fails does not stop the others.

    MANIFEST.csv has a column section (a path relative to the manifest) and, where wanted, name,
    pixel_size_um, pixel_size_error_pct, standards, crop_to_common, fall and meteorite (its sections are joined in
    meteorites.csv). DIR is a folder of section folders. Exit code 1: some failed.

    \b
    Examples
      meteoseg batch sections.csv -o results --workers 4 --resume
      meteoseg batch campaign/ -o results --pixel-size 2.5
    """
    from meteoseg.batch import batch as run

    options = {key: given[key] for key in ("model", "standards", "workers", "scheduler", "resume", "overwrite")}
    defaults = {"pixel_size_um": given["pixel_size"], "crop_to_common": given["crop_to_common"]}
    defaults["is_fall"] = given["fall"] or None
    click.echo((outcome := run(sections, out, defaults=defaults, **options)).summary())
    return 1 if outcome.failures else 0


@main.command()
@section_options
@click.option("--preset", required=True, help="FeSO, FeMgSCaAl, MgCaAl, BSE, ... or an assignment Fe=red,S=#00ff00.")
@click.option("-o", "--out", type=PathArgument, required=True, metavar="PNG", help="Picture to write.")
def composite(section: Path, preset: str, out: Path, **given: Any) -> None:
    r"""Write a false-colour composite.

    \b
    Examples
      meteoseg composite maps/ --preset FeMgSCaAl -o composite.png
      meteoseg composite maps/ --preset Mg=red,Ca=green,Al=blue -o composite.png
    """
    from meteoseg.channels import composite as paint
    from meteoseg.channels import parse_assignment, save_png

    rgb = paint(open_given(section, given), parse_assignment(preset) if "=" in preset else preset)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_png(rgb, out)
    click.echo(f"wrote {out} ({rgb.shape[0]} x {rgb.shape[1]} px, rows x cols)", err=True)


@main.command()
@click.argument("standards_dir", type=PathArgument)
@click.option("-o", "--out", type=PathArgument, required=True, metavar="FILE.json", help="Calibration to write.")
@click.option("--figure", type=PathArgument, metavar="PNG", help="Figure to write  [default: FILE.png]")
def calibrate(standards_dir: Path, out: Path, figure: Path | None) -> None:
    r"""Turn maps of standards into a calibration: counts per wt%, background, dead time, and a figure of them.

    STANDARDS_DIR holds one map per element, a <formula>_mask.tif per standard and compositions.csv.
    Standards that contradict the others are named and left out.

    \b
    Example
      meteoseg calibrate standards/ -o calibration.json
    """
    from meteoseg.minerals.standards import calibrate as run
    from meteoseg.report.calibrationsheet import calibration_figure, format_calibration

    png = out.with_suffix(".png") if figure is None else figure
    if png.suffix.lower() != ".png":
        raise InputError(f"--figure {png} is no PNG: give a name that ends in .png.")
    if png == out:
        raise InputError(f"{out} cannot be the calibration and its figure: give -o a name that ends in .json.")
    calibration = run(standards_dir)
    for path in (out, png):
        path.parent.mkdir(parents=True, exist_ok=True)
    calibration.to_json(out)
    png.write_bytes(calibration_figure(calibration))
    click.echo(format_calibration(calibration))
    click.echo(f"wrote {out} and {png}", err=True)


@main.command()
@click.argument("config", type=PathArgument, metavar="CONFIG.toml")
@click.option("-o", "--out", type=PathArgument, required=True, metavar="RUN", help="Training folder.")
def train(config: Path, out: Path) -> None:
    r"""Train a model; stopped runs go on where they were.

    The result, RUN/model.safetensors, is used with: meteoseg segment SECTION --model RUN -o OUT
    (with task = "patches": meteoseg classify-patches IMAGES|RESULT --model RUN).

    \b
    Example
      meteoseg train mine.toml -o runs/mine
    """
    from meteoseg.patches.command import train_from

    click.echo(f"wrote {train_from(config, out)}", err=True)


@main.command("classify-patches")
@patch_options
def classify_patches(path: Path, **given: Any) -> None:
    r"""Give each image one label, or each chondrule of a result folder its texture.

    IMAGES is a folder of shards or images, or a table (docs/patches.md); labels go to OUT/patches.csv.
    RESULT is a folder of meteoseg segment; labels go into its chondrules.csv, counts into textures.csv.

    \b
    Examples
      meteoseg classify-patches results/A12 --model runs/textures
      meteoseg classify-patches events/ --model runs/particles -o out
    """
    from meteoseg.patches.command import classify_path

    click.echo(classify_path(path, **given))


@main.command()
@section_options
@finetune_options
def finetune(section: Path, labels: Path, out: Path, **given: Any) -> None:
    r"""Fine-tune a model on your own labels of one section, scribbles included; minutes on a processor.

    A side of the section is held out and scored before and after. RUN is then a complete model:
    meteoseg segment SECTION --model RUN -o OUT

    \b
    Examples
      meteoseg finetune maps/ --labels scribbles.tif --class 1=chondrule 2=matrix -o runs/mine
      meteoseg finetune maps/ --labels minerals.tif --kind phases --legend legend.csv -o runs/mine
      meteoseg finetune maps/ --labels outlines.tif --kind objects --kinds objects.csv -o runs/mine
    """
    from meteoseg.finetuning.tuning import FineTuneOptions
    from meteoseg.finetuning.tuning import finetune as run
    from meteoseg.tables.labeltables import read_kinds, read_meaning

    opened = open_given(section, given)
    layer = "phases" if given["kind"] == "phases" else "components"
    meaning = read_meaning(given["legend"], layer) if given["legend"] else {}
    settings = {entry.name: given[entry.name] for entry in fields(FineTuneOptions)}
    done = run(
        opened,
        labels,
        out=out,
        kind=given["kind"],
        classes=meaning | pairs(given["classes"], "--class", "VALUE=NAME, e.g. 1=chondrule"),
        kinds=read_kinds(given["kinds"]) if given["kinds"] else None,
        unlabelled=given["unlabelled"] or None,
        model=given["model"],
        options=FineTuneOptions(**settings),
        overwrite=given["overwrite"],
        progress=True,
    )
    click.echo(done.summary())


@main.command()
@section_options
@cluster_options
def cluster(section: Path, out: Path, **given: Any) -> None:
    r"""Sort pixels without a network or standards: clusters, unmixing, rules, a forest from scribbles.

    Writes phases.ome.tif, legend.csv and modes.csv into OUT/<section name>/, as segment does.

    \b
    Examples
      meteoseg cluster maps/ -o results --method gmm
      meteoseg cluster maps/ -o results --method kmeans --classes 10 --use Fe "Mg / (Mg + Fe)" S
      meteoseg cluster maps/ -o results --method rules --rules rules.toml
      meteoseg cluster maps/ -o results --method forest --scribbles drawn.tif --class 1=olivine 2=troilite
    """
    from meteoseg.clustering import ClusterOptions
    from meteoseg.clustering import cluster as run

    names = {value_of(key): name for key, name in pairs(given["names"], "--class", "VALUE=NAME").items()}
    keys = ("method", "use", "classes", "rules", "scribbles", "seed")
    options = ClusterOptions(**{key: given[key] for key in keys}, names=names)
    opened = open_given(section, given, name=given["name"])
    done = run(opened, options, out=out, overwrite=given["overwrite"], progress=True)
    click.echo(done.summary())


@main.command()
@modes_options
def modes(labels: Path, masks: tuple[Path, ...], out: Path | None, **given: Any) -> None:
    r"""Make the tables again, after labels were edited by hand, or the modes of each region of interest.

    OUT/<name> (a result folder) without --mask is made again in place: tables, mineral chemistry, group and
    report. Chemistry and pictures of maps need the maps of the run.

    \b
    Examples
      meteoseg modes results/A12
      meteoseg modes results/A12 --maps /mnt/maps/A12
      meteoseg modes results/A12 --mask clast1.png --mask clast2.png -o clasts.csv
      meteoseg modes results/A12/phases.ome.tif
    """
    from meteoseg.report.tables import format_modes
    from meteoseg.results.remaking import modes_again

    def tell(note: str) -> None:
        click.echo(f"meteoseg: {note}", err=True)

    for title, table in modes_again(labels, masks=masks, csv=out, tell=tell, **given).items():
        click.echo(f"{title}\n{format_modes(table)}")


main.command("checkpoints")(checkpoints)
main.command()(export)


@main.command()
@evaluate_options
def evaluate(pred: Path, truth: Path, out: Path, per_object: Path | None, **given: Any) -> None:
    r"""Score a segmentation (PRED) against labels you trust (TRUTH).

    Each is a label image or a folder that holds one. The number to quote is f1 of chondrule for
    objects (share of chondrules found, false ones counted against it), else mean_iou of all.

    \b
    Examples
      meteoseg evaluate results/A12 maps/truth --kind objects -o scores.csv
      meteoseg evaluate results/A12 drawn.tif --kind objects --inside mask.tif
          --ignore drawn.csv --ignore-kind nodule --per-object objects.csv -o scores.csv
      meteoseg evaluate results/A12 maps/truth --kind phases --min-area-pct 0.5
          --merge kamacite,taenite -o scores.csv
    """
    from meteoseg.evaluation.evaluate import evaluate_files, read_ignored
    from meteoseg.runs.output import whole_file

    if per_object is not None and given["kind"] != "objects":
        raise InputError("--per-object lists objects: use it with --kind objects.")
    ignored = read_ignored(given.pop("ignore"), given.pop("ignore_kind"))
    found = evaluate_files(pred, truth, ignored=ignored, **given)
    for path, table in ((out, found.scores), (per_object, found.objects)):
        if path is not None and table is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                table.to_csv(part, index=False)
    click.echo(found.scores.to_string(index=False))
    if per_object is not None and found.objects is not None:
        click.echo(f"\nworst objects\n{found.objects.head(5).to_string(index=False)}")


@main.command()
@click.option("--group", default="LL", show_default=True, help="Group to imitate.")
@click.option("--type", "petrologic_type", type=float, default=3.2, show_default=True)
@click.option("--weathering", default="W1", show_default=True, help="Weathering grade, W0 to W4.")
@click.option("--shock", default="S1", show_default=True, help="Shock stage, S1 to S6.")
@click.option("--size-mm", "size", default="10x5", show_default=True, metavar="WxH", help="Width x height.")
@click.option("--pixel-size", type=float, default=5.0, show_default=True, metavar="UM", help="Pixel size.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same section.")
@click.option("-o", "--out", type=PathArgument, required=True, metavar="DIR", help="Folder to write.")
def simulate(size: str, out: Path, pixel_size: float, **given: Any) -> None:
    r"""Simulate the maps of a section, with the exact truth in DIR/truth.

    \b
    Example
      meteoseg simulate --group CV --size-mm 10x5 --pixel-size 5 --seed 1 -o cv
    """
    from meteoseg.simulate import simulate_section, write_example

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty: give another folder with -o.")
    simulated = simulate_section(given.pop("group"), size_mm=size_mm(size), pixel_size_um=pixel_size, **given)
    write_example(simulated, out)
    click.echo(f"wrote {out}", err=True)


@main.command()
@click.argument("table", type=PathArgument, metavar="OUT|TABLE.csv")
@click.option("-o", "--out", type=PathArgument, metavar="CSV", help="Ranked groups as a table.")
@click.option("--prior", default="equal", show_default=True, help="equal, or falls (their frequency).")
@fall_option
def classify(table: Path, out: Path | None, prior: str, fall: bool) -> None:
    r"""Suggest a chondrite group from modes, sizes and compositions.

    TABLE.csv is like modes.csv, or made by hand: one row per meteorite (docs/classification.md).

    \b
    Examples
      meteoseg classify results/A12
      meteoseg classify published.csv -o groups.csv
    """
    from meteoseg.commands.classifying import classify_path

    click.echo(classify_path(table, out, prior=prior, is_fall=fall))


@main.command()
@click.argument("name")
@click.option("-o", "--out", type=PathArgument, default="data", show_default=True, help="Parent folder.")
def fetch(name: str, out: Path) -> None:
    r"""Download a public data set, checked by SHA-256.

    \b
    Example
      meteoseg fetch semarkona-chm8
    """
    from meteoseg.fetch import fetch as run

    click.echo(f"{name} lies in {run(name, out)}")


@main.command()
@click.option("-o", "--out", type=PathArgument, default="out", show_default=True, help="Parent of demo/.")
def demo(out: Path) -> None:
    """Run the whole chain on the shipped sample section."""
    from meteoseg.io import open_section
    from meteoseg.pipeline import segment as run

    sample = Path(__file__).resolve().parent.parent / "data" / "sample"
    if not sample.is_dir():
        raise InputError(f"{sample} is missing: run the demo from a source checkout, which holds the sample.")
    click.echo(run(open_section(sample, name="demo"), out=out, overwrite=True, progress=True).summary())


add_cube_commands(main)
