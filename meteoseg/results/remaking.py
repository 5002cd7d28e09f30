"""A result folder made again from its label images: every table, the group suggestion, the report, run.json."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meteoseg._version import __version__
from meteoseg.chondrules.sizes import SizeTables
from meteoseg.errors import InputError, ShapeMismatchError
from meteoseg.grid import row_bands
from meteoseg.io import open_labels
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.report.figures import phase_map_figure
from meteoseg.results.illustrate import percent_by_name
from meteoseg.results.remeasuring import STALE, Basis, remeasure_chemistry, remeasure_means
from meteoseg.results.reporting import ResultTables, write_section_report
from meteoseg.runs.output import all_or_nothing, whole_file
from meteoseg.runs.provenance import now
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Plane, Section
from meteoseg.system.diskspace import check_space
from meteoseg.system.footprint import remake_need
from meteoseg.tables.labelcounts import LabelLayers, count_labels, count_modes, label_trust
from meteoseg.tables.measure import (
    CHONDRULES_CSV,
    CLASSIFICATION_JSON,
    LABEL_FILES,
    MEANS_CSV,
    MODES_CSV,
    NO_WEIGHTS,
    PHASES_PNG,
    RUN_JSON,
    SUMMARY_CSV,
    TEXTURES_CSV,
    classify_tables,
    has_textures,
    join_by_name,
    keep_textures,
    known_kinds,
    label_hashes,
    listed,
    open_label_file,
    open_result,
    read_roi,
    read_run,
    result_folders,
    texture_tables,
    weight_notes,
    write_json,
    write_tables,
)

_CHONDRULE = "chondrule"


def modes_again(
    path: Path | str,
    *,
    masks: Sequence[Path] = (),
    layer: str | None = None,
    pixel_size: float | None = None,
    csv: Path | None = None,
    maps: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Make tables again from label images, e.g. after an edit by hand or per lithology.

    Parameters
    ----------
    path : a result folder (all of it is made again where no mask is given, see `remake`), a folder of such, or a
        label file.
    masks : regions of interest; each gives a modal table of its own, and nothing else is written.
    layer : ``phases`` or ``components``, for a label file whose name does not say.
    pixel_size : um; wins over what run.json and the files state.
    csv : file for the modal tables, with columns `section` and `region` first where there are several.
    maps : folder in which the section's maps lie now; None: where they were when the run was made.
    tell : takes the remarks, a line each.

    Returns
    -------
    Modal tables by title.
    """
    path = Path(path)
    sources = (
        {"": open_label_file(path, layer, pixel_size)}
        if path.is_file()
        else {folder.name: open_result(folder, pixel_size_um=pixel_size) for folder in result_folders(path)}
    )
    if maps is not None and not maps.is_dir():
        raise InputError(f"--maps {maps} is no folder: give the folder that holds the section's maps.")
    if maps is not None and (masks or path.is_file() or len(sources) > 1):
        raise InputError("--maps goes with one result folder, without --mask.")
    rois = {mask.stem: read_roi(mask) for mask in masks}
    if len(rois) != len(masks):
        raise InputError(f"Regions are told apart by file name, and two of {listed(masks)} share one: rename it.")
    tables: dict[tuple[str, str], pd.DataFrame] = {}
    for name, labels in sources.items():
        for region, roi in rois.items():
            tables[name, region] = count_modes(labels, roi)[0]
        if not rois:
            tables[name, ""] = _whole_table(path, name, labels)
    if not rois and path.is_dir():
        for note in _remake_all(result_folders(path), list(sources.values()), maps):
            if tell is not None:
                tell(note)
    if rois and tell is not None:
        tell("Intervals of regions are those of sampling alone: errors of the labels are not in them.")
    if csv is not None:
        csv.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(csv) as part:
            join_by_name(tables).to_csv(part, index=False)
    return {": ".join(part for part in key if part): table for key, table in tables.items()}


def _whole_table(path: Path, name: str, labels: LabelLayers) -> pd.DataFrame:
    """Return the modal table of a label file, or of the result folder `name` with what is known of its errors."""
    if path.is_file():
        return count_modes(labels)[0]
    folder = next(folder for folder in result_folders(path) if folder.name == name)
    trust = label_trust(folder, labels.legends, read_run(folder).get("certainty", {}), labels.shape)
    return count_labels(labels, trust=trust).modes


def _remake_all(folders: Sequence[Path], labels: Sequence[LabelLayers], maps: Path | None) -> Iterator[str]:
    """Make result folders again; yield their remarks, and which tables of a batch are now older than they."""
    for folder, layers in zip(folders, labels, strict=True):
        yield from remake(folder, layers, maps=maps)
    for parent in dict.fromkeys(folder.resolve().parent for folder in folders):
        if (parent / SUMMARY_CSV).is_file():
            yield (
                f"{MODES_CSV} and {SUMMARY_CSV} in {parent} join all sections of a batch and are older now: run "
                "meteoseg batch with --resume, which makes them again."
            )


def remake(folder: Path, labels: LabelLayers, *, maps: Path | None = None) -> tuple[str, ...]:
    """Make all of a result folder again from its label images, or leave it as it is where something fails.

    Rewritten are modes.csv, phases_by_component.csv, the tables of chondrules, the compositions of minerals or the
    channel means of classes, classification.json, report.html, and in run.json what was done (`remade`). A folder
    without run.json gets its tables only.

    Parameters
    ----------
    labels : of the folder. maps : folder of the section's maps, where they moved.

    Returns
    -------
    Remarks: what could not be made again and what to do, and where label images contradict each other.

    Raises
    ------
    ShapeMismatchError : the chondrules differ in size from the other labels.
    DiskFullError : the disk is full.
    """
    run = read_run(folder)
    edited = _edited(folder, run)
    need = remake_need(folder.name, labels.shape, _layers(folder, labels), chemistry=bool(run.get("chemistry")))
    check_space(folder, need)
    with all_or_nothing(folder, need, last=RUN_JSON) as renewed:
        out = renewed.folder
        scratch = Scratch(out / "scratch", labels.shape)
        images = _read_images(folder, labels, scratch)
        section, why_not = _section_of(run, labels, maps)
        basis = Basis(folder, run, images, labels.legends, section, why_not, edited != [])
        chemistry, means = remeasure_chemistry(basis, scratch, out), remeasure_means(basis)
        modes = write_tables(
            out,
            labels,
            images.chondrules,
            images.inside,
            kinds=known_kinds(folder / CHONDRULES_CSV),
            compositions=None if chemistry.content is None else chemistry.content.compositions,
            trust=label_trust(folder, labels.legends, run.get("certainty", {}), labels.shape),
        )
        texture_notes = _textures_again(folder, out, edited)
        found = _read(out / CHONDRULES_CSV)
        tables = ResultTables(modes, found, None, chemistry.content, means.content, SizeTables.read(out))
        tables = _write_rest(out, basis, tables, labels.pixel_size_um)
        notes = [*chemistry.notes, *means.notes, *texture_notes, *_contradictions(labels, images)]
        if run:
            states = {"chemistry": chemistry.state, "channel means": means.state}
            run = _run_again(basis, edited, states, notes=notes, pixel_size_um=labels.pixel_size_um)
            shown = [*notes, _what_happened(run, section, why_not), *_run_notes(run, modes)]
            write_section_report(out, run, images, labels.legends, tables=tables, section=section, notes=shown)
            write_json(out / RUN_JSON, run)
        shutil.rmtree(scratch.folder)
        renewed.renamed += [(folder / name, folder / (STALE + name)) for name in (*chemistry.stale, *means.stale)]
        renewed.removed += [folder / name for name in (*chemistry.gone, *means.gone)]
    return tuple(notes)


def _layers(folder: Path, labels: LabelLayers) -> list[str]:
    """Names of the label images of a folder."""
    return [*labels.planes, *(["chondrules"] if (folder / LABEL_FILES["chondrules"]).is_file() else [])]


def _edited(folder: Path, run: dict[str, Any]) -> list[str] | None:
    """Return the label images that changed since they were measured; None where run.json does not tell."""
    if "labels" not in run:
        return None
    found = label_hashes(folder)
    return sorted(name for name in {*found, *run["labels"]} if found.get(name) != run["labels"].get(name))


def _section_of(run: dict[str, Any], labels: LabelLayers, maps: Path | None) -> tuple[Section | None, str]:
    """Return the maps of the run on the grid of the labels, or None and why there are none."""
    if not run:
        return None, "there is no run.json"
    shape = tuple(run["section"]["shape"])
    if shape != labels.shape:
        return None, f"the labels are {labels.shape[0]} x {labels.shape[1]} now, the maps {shape[0]} x {shape[1]}"
    try:
        section = reopen_section(run, maps)
    except InputError as error:
        return None, str(error)
    return replace(section, pixel_size_um=labels.pixel_size_um), ""


def _textures_again(folder: Path, out: Path, edited: list[str] | None) -> list[str]:
    """Keep the textures of chondrules whose outlines are what they were; else say that they are gone."""
    if not has_textures(folder):
        return []
    if edited is not None and LABEL_FILES["chondrules"] not in edited:
        keep_textures(folder / CHONDRULES_CSV, out / CHONDRULES_CSV)
        return []
    if (folder / TEXTURES_CSV).is_file():
        (folder / TEXTURES_CSV).replace(folder / (STALE + TEXTURES_CSV))
    return [
        f"Textures are left out of {CHONDRULES_CSV}, since {LABEL_FILES['chondrules']} was edited after them: run "
        "meteoseg classify-patches again."
    ]


def _read_images(folder: Path, labels: LabelLayers, scratch: Scratch) -> LabelImages:
    """Copy the label images of a folder to arrays on disk."""
    file = folder / LABEL_FILES["chondrules"]
    planes: dict[str, Plane] = dict(labels.planes) | ({"chondrules": open_labels(file)[0]} if file.is_file() else {})
    for layer, plane in planes.items():
        if plane.shape != labels.shape:
            raise ShapeMismatchError(
                f"{LABEL_FILES[layer]} is {plane.shape[0]} x {plane.shape[1]} (rows x cols) and the other labels are "
                f"{labels.shape[0]} x {labels.shape[1]}: edit them on one grid."
            )
    images = {layer: scratch.array(layer, np.int32 if layer == "chondrules" else np.uint8) for layer in planes}
    inside = scratch.array("inside", np.bool_)
    decides = "components" if "components" in planes else "phases"
    for window in row_bands(labels.shape):
        for layer, plane in planes.items():
            images[layer][window.slices] = plane.read(window)
        inside[window.slices] = images[decides][window.slices] != 0
    return LabelImages(inside, images.get("phases"), images.get("components"), images.get("chondrules"))


def _read(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path) if path.is_file() else None


def _write_rest(out: Path, basis: Basis, tables: ResultTables, pixel_size_um: tuple[float, float]) -> ResultTables:
    """Write what follows from the tables: the group suggestion, the channel means, the picture of classes."""
    folder = basis.folder
    if tables.class_means is not None:
        tables.class_means.to_csv(out / MEANS_CSV, index=False)
    phases = basis.labels.phases
    if (folder / PHASES_PNG).is_file() and phases is not None:
        percent = percent_by_name(tables.modes, "phases")
        png = phase_map_figure(phases, basis.legends["phases"], pixel_size_um, area_pct=percent)
        (out / PHASES_PNG).write_bytes(png)
    if not (folder / CLASSIFICATION_JSON).is_file():
        return tables
    compositions = None if tables.chemistry is None else tables.chemistry.table
    facts = basis.run.get("section", {})
    answer = classify_tables(
        tables.modes, tables.chondrules, facts, chemistry=compositions, textures=texture_tables(out)
    ).to_json_dict()
    write_json(out / CLASSIFICATION_JSON, answer)
    return replace(tables, classification=answer)


def _contradictions(labels: LabelLayers, images: LabelImages) -> list[str]:
    """Say where label images cannot all be right: one was edited, and another should have been too."""
    if images.components is None:
        return []
    chondrule = labels.legends["components"][_CHONDRULE].id if _CHONDRULE in labels.legends["components"] else -1
    in_one = np.zeros(2, np.int64)
    n_outside = 0
    for window in row_bands(labels.shape):
        component = images.components[window.slices]
        if images.chondrules is not None and chondrule >= 0:
            is_object, is_chondrule = images.chondrules[window.slices] > 0, component == chondrule
            in_one += np.count_nonzero(is_chondrule & ~is_object), np.count_nonzero(is_object & ~is_chondrule)
        if images.phases is not None:
            n_outside += int(np.count_nonzero((images.phases[window.slices] == 0) != (component == 0)))
    notes = []
    if in_one.any():
        notes.append(
            f"Label images contradict each other: {in_one[0]} pixels are chondrule in {LABEL_FILES['components']} but "
            f"no object of {LABEL_FILES['chondrules']}, {in_one[1]} the other way. Edit both, and run meteoseg modes "
            "again."
        )
    if n_outside:
        notes.append(
            f"Label images contradict each other: {n_outside} pixels are outside in {LABEL_FILES['phases']} or "
            f"{LABEL_FILES['components']}, not in both. Edit both, and run meteoseg modes again."
        )
    return notes


def _run_again(
    basis: Basis,
    edited: list[str] | None,
    states: dict[str, str],
    *,
    notes: list[str],
    pixel_size_um: tuple[float, float],
) -> dict[str, Any]:
    """Return run.json with an entry more in `remade`; the notes of the run stay those of the run."""
    facts = dict(basis.run["section"])
    entry: dict[str, Any] = {
        "when": now(),
        "meteoseg": __version__,
        "edited": "not known" if edited is None else edited,
        "maps": "those of the run" if basis.section is not None else basis.why_not,
        **states,
        "notes": notes,
    }
    if list(pixel_size_um) != facts["pixel_size_um"]:
        entry["pixel_size_um_before"] = facts["pixel_size_um"]
        facts |= {"pixel_size_um": list(pixel_size_um), "pixel_size_source": "option"}
    remade = [*basis.run.get("remade", []), entry]
    return dict(basis.run) | {"section": facts, "labels": label_hashes(basis.folder), "remade": remade}


def _what_happened(run: dict[str, Any], section: Section | None, why_not: str) -> str:
    """Say in the report what was made again, and what still tells of the run."""
    entries = run["remade"]
    known = [entry["edited"] for entry in entries if isinstance(entry["edited"], list)]
    names = sorted({name for edited in known for name in edited})
    which = f"edited since the run: {', '.join(names)}" if names else "not edited since the run"
    if len(known) < len(entries):
        which = "perhaps edited since the run"
    text = (
        f"Tables and this page were made again on {entries[-1]['when']} from the label images ({which}). Notes below "
        "this one, times and probabilities are those of the run."
    )
    return text if section is not None else f"{text} Pictures of the maps are left out: {why_not}."


def _run_notes(run: dict[str, Any], modes: pd.DataFrame) -> list[str]:
    """Return the notes of the run; that on missing weights anew."""
    anew = weight_notes(modes) if "model" in run else ()
    return [*anew, *(note for note in run["notes"] if note != NO_WEIGHTS)]
