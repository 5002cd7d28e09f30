"""Reference points in a result folder: drawn into it, read back, and everything made again with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from meteoseg.checkpoints.draw import draw_points
from meteoseg.checkpoints.sheet import contact_sheets
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.estimation.pointfiles import (
    POINTS_COLUMNS,
    key_csv,
    labelled_points,
    points_csv,
    read_table,
    strata_csv,
)
from meteoseg.estimation.reference import ReferencePoints, accuracy_table
from meteoseg.results.remaking import remake
from meteoseg.runs.output import all_or_nothing
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Section
from meteoseg.tables.labelcounts import LabelLayers
from meteoseg.tables.measure import open_result, read_run, result_folders


def draw_into(
    folder: Path, layer: str | None, *, options: Mapping[str, int], maps: Path | None, overwrite: bool
) -> str:
    """Write a list of points, its key, the areas and contact sheets into a result folder; return what to tell.

    Parameters
    ----------
    layer : ``phases`` or ``components``; None: phases where there are any.
    options : n, least and seed of `draw_points`. maps : folder of the section's maps, where they moved.

    Raises
    ------
    InputError : no result folder of one section, no such layer, or too few points for its classes.
    OutputExistsError : a list lies there and `overwrite` is not set.
    """
    folder, labels = _one_result(folder)
    layer = layer or next(iter(labels.planes))
    if layer not in labels.planes:
        raise InputError(f"{folder} holds no {layer}: give --layer {next(iter(labels.planes))}.")
    if (folder / points_csv(layer)).is_file() and not overwrite:
        raise OutputExistsError(
            f"{folder / points_csv(layer)} exists and may hold labels: read it back with --read, or use --overwrite."
        )
    drawn = draw_points(labels.planes[layer], labels.legends[layer], labels.pixel_size_um, **options)
    section, why_not = _maps_of(folder, labels, maps)
    sheets = [] if section is None else contact_sheets(section, drawn.points)
    with all_or_nothing(folder) as renewed:
        stem = points_csv(layer).removesuffix(".csv")
        renewed.removed += [old for old in folder.glob(f"{stem}_sheet*.png")]
        for name, table in ((points_csv(layer), drawn.points), (key_csv(layer), drawn.key),
                            (strata_csv(layer), drawn.strata)):  # fmt: skip
            table.to_csv(renewed.folder / name, index=False)
        for number, png in enumerate(sheets, start=1):
            (renewed.folder / f"{stem}_sheet{number:02d}.png").write_bytes(png)
    shown = f"{len(sheets)} sheets of pictures" if sheets else f"no pictures ({why_not})"
    return (
        f"wrote {folder / points_csv(layer)}: {len(drawn.points)} points of {len(drawn.strata)} classes, {shown}.\n"
        f"Fill its column label with names of legend.csv, without looking at the result; then run meteoseg checkpoints "
        f"{folder} --read {folder / points_csv(layer)}"
    )


def read_back(folder: Path, path: Path, *, maps: Path | None) -> str:
    """Read a labelled list, keep it in the result folder and make all of that again; return what to tell.

    Raises
    ------
    InputError : a table that is not the list of this folder, or too few labels; nothing is changed then.
    UnknownNameError : a label that is no class of the legend.
    """
    folder, labels = _one_result(folder)
    table = read_table(path, POINTS_COLUMNS)
    layers = list(dict.fromkeys(table["layer"]))
    unknown = [layer for layer in layers if layer not in labels.planes]
    if unknown:
        raise InputError(
            f"{path} has the layer '{unknown[0]}', {folder} has {', '.join(labels.planes)}: give its list."
        )
    found: dict[str, ReferencePoints] = {}
    for layer in layers:
        names = labels.legends[layer].names
        points = labelled_points(table, folder, layer, names, labels.shape, source=path)
        if points is not None:
            found[layer] = points
    if not found:
        raise InputError(f"{path} has no label yet: fill its column label with names of legend.csv.")
    before = {layer: _content(folder / points_csv(layer)) for layer in found}
    try:
        for layer in found:
            kept = table.loc[table["layer"] == layer, list(POINTS_COLUMNS)]
            kept.to_csv(folder / points_csv(layer), index=False)
        remarks = remake(folder, labels, maps=maps)
    except BaseException:
        for layer, content in before.items():
            _restore(folder / points_csv(layer), content)
        raise
    return "\n\n".join([*(_accuracy_text(points) for points in found.values()), *remarks])


def _one_result(folder: Path) -> tuple[Path, LabelLayers]:
    folders = result_folders(folder)
    if len(folders) > 1:
        raise InputError(f"{folder} holds {len(folders)} results: give the folder of one, such as {folders[0]}.")
    return folders[0], open_result(folders[0])


def _maps_of(folder: Path, labels: LabelLayers, maps: Path | None) -> tuple[Section | None, str]:
    run = read_run(folder)
    if not run:
        return None, "there is no run.json"
    try:
        section = reopen_section(run, maps)
    except InputError as error:
        return None, str(error)
    return (section, "") if section.shape == labels.shape else (None, "the labels are no longer as large as the maps")


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


def _accuracy_text(points: ReferencePoints) -> str:
    """Return the accuracies as text."""
    table: pd.DataFrame = accuracy_table(points).round(1).drop(columns="layer")
    text = table.to_string(index=False, na_rep="-")
    return f"{points.layer}: {sum(points.points.values())} labelled points\n{text}"
