"""From a section to its result folder: label images, tables, group suggestion, report."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.chondrules.sizes import SizeTables
from meteoseg.elements import BSE
from meteoseg.errors import InputError, PixelSizeError
from meteoseg.grid import row_bands
from meteoseg.inference import Inputs, Runner
from meteoseg.io import BandWriter, check_values, open_section
from meteoseg.io.stored import Stamp
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.legend import Legend, default_legend, write_legend_csv
from meteoseg.legend.edit import NO_EDIT, LegendEdit
from meteoseg.minerals.choose import ChemicalPhases, choose_phase_maker
from meteoseg.minerals.responsefile import write_response
from meteoseg.models import Model, load_model
from meteoseg.patches.model import PatchModel
from meteoseg.patches.textures import load_texture_model, write_textures
from meteoseg.registration import places_note
from meteoseg.results.mineralmaps import WHY_NOT, ChemistryFiles, chemistry_of, write_chemistry
from meteoseg.results.reporting import ResultTables, write_section_report
from meteoseg.results.result import Result
from meteoseg.runs.output import complete_or_absent, output_folder
from meteoseg.runs.provenance import (
    Steps,
    environment,
    input_hashes,
    input_stamps,
    now,
    peak_memory_mb,
    section_facts,
)
from meteoseg.section import ArrayPlane, Section, Stack
from meteoseg.segmenting import PhaseMaker, Segmenter
from meteoseg.system.diskspace import DiskNeed, check_space
from meteoseg.system.footprint import segment_need
from meteoseg.system.memory import short_memory_told
from meteoseg.tables.labelcounts import LabelLayers, label_trust
from meteoseg.tables.measure import (
    CALIBRATION_JSON,
    CHONDRULES_CSV,
    CLASSIFICATION_JSON,
    LABEL_FILES,
    LEGEND_CSV,
    MIXTURES_FILE,
    PROBABILITY_FILES,
    RUN_JSON,
    UNJOINED_FILE,
    classify_tables,
    label_hashes,
    texture_tables,
    weight_notes,
    write_json,
    write_tables,
)

__all__ = ["DEFAULT_MODEL", "Result", "segment"]

DEFAULT_MODEL, DEFAULT_TEXTURES = "chondrite", "chondrule-textures"
#: What else helps where memory runs out.
_LESS_MEMORY = "a larger --chondrule-pixel"


@dataclass(frozen=True)
class _Plan:
    """A run whose inputs were all checked; nothing is written yet."""

    section: Section
    inputs: Inputs
    model: Model
    phase_maker: PhaseMaker | None
    legends: dict[str, Legend]
    edit: LegendEdit
    phase_table: NDArray[np.uint8]
    parameters: dict[str, Any]
    runner: Runner
    probabilities: bool
    steps: Steps
    need: DiskNeed
    files: dict[Path, Stamp]
    textures: PatchModel | None


def segment(
    source: Section | Stack | Path | str,
    model: str | Path | Model = DEFAULT_MODEL,
    *,
    standards: Path | str | None = None,
    legend: Path | str | LegendEdit | None = None,
    out: Path | str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    tta: bool | None = None,
    min_probability: float | None = None,
    probabilities: bool = False,
    chondrule_pixel_um: float | None = None,
    textures: str | Path | None = DEFAULT_TEXTURES,
    progress: bool = False,
) -> Result:
    """Segment a section and write its result folder ``out/name``.

    Parameters
    ----------
    source : section, stack of channel expressions (those of the model's card), or a path to open.
    model : shipped name, weights file, training folder, or a loaded model.
    standards : folder of maps of standards, a calibration file, or ``self`` (calibrate the section from its own
        minerals; refused where that is a guess): phases then come from the chemistry.
    legend : TOML file (or `LegendEdit`) that selects, drops, merges or adds phases, or the name of a preset
        (opaques, CAI, silicates, all).
    out : parent folder; None keeps the result in a temporary folder until `Result.save`.
    name : of the result folder; default: the section's name.
    overwrite : replace a result folder that is not empty.
    tta : average the networks over flips and rotations (eight times the work); None: only those that run on coarse
        pixels of their own, where it costs little.
    min_probability : phases that a network is less sure of become ``unclassified``; 0: none; None: the thresholds
        of the model's card.
    probabilities : also write how sure each pixel's label is, in percent, and, for phases from the chemistry, which
        pixels are mixtures of two phases.
    chondrule_pixel_um : pixel size (um) on which chondrules are sought, about 1/20 of their diameter; None: that of
        the model's card. Sections of larger pixels keep their own.
    textures : model that names the texture of each chondrule; None: no textures.
    progress : tell about the steps on stderr.

    Raises
    ------
    MeteosegError : bad input (nothing is written then): pixel size unknown, channels that do not fit the
        model, unknown model or phase, output folder in use, a disk with too little space.
    DiskFullError, MemoryLimitError : disk or memory ran out during the run.
    InputError : a file of the section is gone or was written to during the run. In these cases, and on Ctrl-C,
        nothing of the run is left.
    """
    steps = Steps(progress)
    with steps.quietly("read"):
        opened = _open(source, name)
        section = opened if isinstance(opened, Section) else opened.section
        target = None if out is None else output_folder(Path(out), section.name, overwrite=overwrite)
        options = {
            "tta": tta,
            "min_probability": min_probability,
            "probabilities": probabilities,
            "chondrule_pixel_um": chondrule_pixel_um,
            "textures": None if textures is None else str(textures),
        }
        parent = Path(tempfile.gettempdir()) if out is None else Path(out)
        with short_memory_told(_LESS_MEMORY):
            plan = _check(opened, model, standards, legend, options=options, steps=steps, out=parent)
    if target is not None:
        return Result(_make(plan, target))
    parent = Path(tempfile.mkdtemp(prefix="meteoseg-"))
    result = Result(output_folder(parent, section.name, overwrite=False))
    weakref.finalize(result, shutil.rmtree, parent, ignore_errors=True)
    _make(plan, result.folder)
    return result


def _open(source: Section | Stack | Path | str, name: str | None) -> Section | Stack:
    """Open a path; give the section its name."""
    opened = open_section(source) if isinstance(source, Path | str) else source
    if isinstance(opened, Stack):
        return replace(opened, section=replace(opened.section, name=name or opened.section.name))
    return replace(opened, name=name or opened.name)


def _check(
    opened: Section | Stack,
    model: str | Path | Model,
    standards: Path | str | None,
    legend: Path | str | LegendEdit | None,
    *,
    options: dict[str, Any],
    steps: Steps,
    out: Path,
) -> _Plan:
    """Check everything that a run needs, the quick checks first."""
    section = opened if isinstance(opened, Section) else opened.section
    section.require_pixel_size()
    least = options["min_probability"]
    if least is not None and not 0 <= least < 1:
        raise InputError(f"A least probability of {least} is not possible: give 0 (off) or more, and less than 1.")
    grid_um = options["chondrule_pixel_um"]
    if grid_um is not None and not 0 < grid_um < np.inf:
        raise PixelSizeError(f"Chondrules cannot be sought on pixels of {grid_um} um: give a positive size.")
    edit = _legend_edit(legend)
    phases, phase_table = edit.apply(default_legend("phases"))
    loaded = model if isinstance(model, Model) else load_model(model)
    Inputs(opened).check(loaded.card)
    need, files = _disk_need(section, loaded, standards, options), input_stamps(section)
    if warning := check_space(out, need):
        steps.tell(warning)
    section = replace(section, notes=(*section.notes, *check_values(section), *places_note(section)))
    phase_maker = choose_phase_maker(section, standards, edit)
    inputs = Inputs(section if isinstance(opened, Section) else replace(opened, section=section))
    parameters = {
        "standards": None if standards is None else str(standards),
        "legend": str(legend) if isinstance(legend, Path | str) else None,
        **options,
    }
    legends = {"phases": phases, "components": default_legend("components")}
    runner = Runner(inputs, options["tta"], steps.tiles, least, grid_um)
    keep = options["probabilities"]
    textures = None if options["textures"] is None else load_texture_model(options["textures"])
    return _Plan(section, inputs, loaded, phase_maker, legends, edit, phase_table, parameters, runner, keep, steps,
                 need, files, textures)  # fmt: skip


def _disk_need(section: Section, model: Model, standards: Path | str | None, options: dict[str, Any]) -> DiskNeed:
    layers = {layer for network in model.card.networks for layer in network.layers}
    chemistry = standards is not None or any(channel.unit == "wt%" for channel in section.channels.values())
    return segment_need(
        section.name, section.shape, layers, probabilities=options["probabilities"], chemistry=chemistry
    )


def _legend_edit(legend: Path | str | LegendEdit | None) -> LegendEdit:
    if legend is None:
        return NO_EDIT
    return legend if isinstance(legend, LegendEdit) else LegendEdit.read(Path(legend))


def _make(plan: _Plan, target: Path) -> Path:
    """Run a plan and write everything of the result folder."""
    started = now()
    with short_memory_told(_LESS_MEMORY), complete_or_absent(target, plan.need) as folder:
        scratch = Scratch(folder / "scratch", plan.section.shape)
        labels = Segmenter(
            plan.section, plan.model, plan.runner, scratch, plan.steps, plan.phase_maker, plan.probabilities
        ).run()
        chemistry = _measure_chemistry(plan, labels, folder)
        with plan.steps("label images"):
            joined = _write_labels(plan, labels, folder)
        with plan.steps("tables"):
            modes = _write_tables(plan, labels, folder, chemistry)
            labels.notes.extend(weight_notes(modes))
        textures = _name_textures(plan, labels, folder)
        with plan.steps("classification"):
            answer = _classify(plan, labels, modes, folder, chemistry)
        with plan.steps("report"):
            notes = list(dict.fromkeys([*plan.section.notes, *labels.notes]))
            run = _provenance(plan, notes, started)
            run["labels"] = label_hashes(folder)
            if isinstance(plan.phase_maker, ChemicalPhases):
                run["chemistry"] = {"elements": list(plan.phase_maker.classifier.channels), "joined": joined}
            run |= textures
            run["certainty"] = {layer: sure.facts() for layer, sure in labels.certainty.items()}
            sizes = SizeTables.read(folder)
            tables = ResultTables(modes, _chondrules(labels, folder), answer, chemistry, sizes=sizes)
            write_section_report(folder, run, labels, plan.legends, tables=tables, section=plan.section)
        run |= {"timings_s": plan.steps.seconds, "peak_memory_mb": peak_memory_mb(), "finished": now()}
        del labels
        shutil.rmtree(scratch.folder)
        write_json(folder / RUN_JSON, run | {"complete": True})
    return target


def _measure_chemistry(plan: _Plan, labels: LabelImages, folder: Path) -> ChemistryFiles | None:
    """Measure the minerals, before a user's legend renames them, where their phases come from the chemistry."""
    if not isinstance(plan.phase_maker, ChemicalPhases):
        labels.notes.append(WHY_NOT)
        return None
    with plan.steps("mineral chemistry"):
        write_response(folder / CALIBRATION_JSON, plan.phase_maker.classifier.response)
        return write_chemistry(plan.section, labels, plan.phase_maker, folder)


def _write_labels(plan: _Plan, labels: LabelImages, folder: Path) -> dict[str, str]:
    """Apply the user's phase legend and write the label images, and the probabilities where they were kept.

    Return the new names of the phases that occur and that the legend renames or joins.
    """
    joined = {} if labels.phases is None else _apply_legend(plan, labels.phases, folder)
    for layer, image in labels.images.items():
        dtype = np.dtype(np.uint32 if layer == "chondrules" else np.uint8)
        _write_image(plan, folder / LABEL_FILES[layer], image, dtype=dtype)
    for layer, image in labels.probabilities.items():
        _write_image(plan, folder / PROBABILITY_FILES[layer], image, dtype=np.dtype(np.uint8))
    if labels.mixtures is not None:
        _write_image(plan, folder / MIXTURES_FILE, labels.mixtures, dtype=np.dtype(np.uint8))
    write_legend_csv(folder / LEGEND_CSV, *(plan.legends[layer] for layer in labels.layers))
    return joined


def _apply_legend(plan: _Plan, phases: NDArray[np.uint8], folder: Path) -> dict[str, str]:
    """Give `phases` (H, W) the ids of the user's legend; keep them as they were where compositions need it."""
    area_px = np.zeros(len(plan.phase_table), np.int64)
    for window in row_bands(plan.section.shape):
        area_px += np.bincount(phases[window.slices].ravel(), minlength=len(area_px))
    plan.legends["phases"] = after = plan.edit.with_mean_densities(default_legend("phases"), area_px)
    before = plan.edit.extended(default_legend("phases"))
    new_names = {label.name: after.name_of(int(plan.phase_table[label.id])) for label in before.labels
                 if area_px[label.id]}  # fmt: skip
    joined = {name: new for name, new in new_names.items() if new != name}
    if isinstance(plan.phase_maker, ChemicalPhases) and set(joined) & chemistry_of(plan.phase_maker).phases:
        _write_image(plan, folder / UNJOINED_FILE, phases, dtype=np.dtype(np.uint8))
    for window in row_bands(plan.section.shape):
        phases[window.slices] = plan.phase_table[phases[window.slices]]
    return joined


def _write_image(plan: _Plan, path: Path, image: NDArray[Any], *, dtype: np.dtype[Any]) -> None:
    """Write an image of the section's shape, band by band."""
    shape, name = plan.section.shape, path.name.partition(".")[0]
    with BandWriter(path, shape, dtype, pixel_size_um=plan.section.pixel_size_um, name=name) as writer:
        for window in row_bands(shape):
            writer.write(np.asarray(image[window.slices]).astype(dtype))


def _write_tables(plan: _Plan, labels: LabelImages, folder: Path, chemistry: ChemistryFiles | None) -> pd.DataFrame:
    planes = {layer: ArrayPlane(labels.images[layer]) for layer in labels.layers}
    layers = LabelLayers(planes, plan.legends, plan.section.require_pixel_size())
    measured = None if chemistry is None else chemistry.compositions
    certainty = {layer: sure.facts() for layer, sure in labels.certainty.items()}
    trust = label_trust(folder, plan.legends, certainty, plan.section.shape)
    return write_tables(folder, layers, labels.chondrules, labels.inside, compositions=measured, trust=trust)


def _name_textures(plan: _Plan, labels: LabelImages, folder: Path) -> dict[str, Any]:
    """Write the texture of each chondrule into the tables; return what run.json says of it."""
    if plan.textures is None or labels.chondrules is None:
        return {}
    with plan.steps("textures"):
        _, facts = write_textures(folder, plan.section, labels.chondrules, plan.textures)
    labels.notes.extend(f"Textures of chondrules: {note}" for note in plan.textures.card.notes[:1])
    return {"textures": facts}


def _facts(plan: _Plan) -> dict[str, Any]:
    # Quantified maps tell magnetite from rust by their totals; counts with standards alone do not do so safely.
    elements = [channel for channel in plan.section.channels.values() if channel.name != BSE]
    quantified = bool(elements) and all(channel.unit == "wt%" for channel in elements)
    return section_facts(plan.section) | {"calibrated": quantified}


def _classify(
    plan: _Plan, labels: LabelImages, modes: pd.DataFrame, folder: Path, chemistry: ChemistryFiles | None
) -> dict[str, Any]:
    chondrules = _chondrules(labels, folder)
    compositions = None if chemistry is None else chemistry.table
    answer = classify_tables(
        modes, chondrules, _facts(plan), chemistry=compositions, textures=texture_tables(folder)
    ).to_json_dict()
    write_json(folder / CLASSIFICATION_JSON, answer)
    return answer


def _chondrules(labels: LabelImages, folder: Path) -> pd.DataFrame | None:
    return None if labels.chondrules is None else pd.read_csv(folder / CHONDRULES_CSV)


def _provenance(plan: _Plan, notes: list[str], started: str) -> dict[str, Any]:
    card = plan.model.card
    return {
        "section": _facts(plan),
        "inputs": input_hashes(plan.files),
        "model": {"name": card.name, "file": plan.model.path.name, "sha256": plan.model.sha256},
        "phases_from": "networks" if plan.phase_maker is None else plan.phase_maker.description,
        "parameters": plan.parameters,
        "normalisation": [entry.to_dict() for entry in plan.inputs.normalisations.values()],
        "versions": environment(),
        "started": started,
        "timings_s": plan.steps.seconds,
        "notes": notes,
    }
