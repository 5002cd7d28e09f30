"""From a section to its result folder: label images, tables, group suggestion, report."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.classify import Classification
from meteoseg.elements import BSE
from meteoseg.errors import InputError, PixelSizeError
from meteoseg.grid import row_bands
from meteoseg.illustrate import chemistry_pictures, pictures
from meteoseg.inference import Inputs, Runner
from meteoseg.io import BandWriter, check_values, open_section, read_labels
from meteoseg.legend import NO_MINERALS, Legend, default_legend, write_legend_csv
from meteoseg.legendedit import NO_EDIT, LegendEdit
from meteoseg.measure import (
    CHEMISTRY_CSV,
    CHONDRULES_CSV,
    CLASSIFICATION_JSON,
    LABEL_FILES,
    LEGEND_CSV,
    MIXTURES_FILE,
    MODES_CSV,
    PROBABILITY_FILES,
    RUN_JSON,
    LabelLayers,
    classify_folder,
    classify_tables,
    write_json,
    write_tables,
)
from meteoseg.mineralmaps import WHY_NOT, ChemistryFiles, write_chemistry
from meteoseg.minerals.choose import ChemicalPhases, choose_phase_maker
from meteoseg.models import Model, load_model
from meteoseg.objects import COLUMNS
from meteoseg.output import complete_or_absent, output_folder
from meteoseg.provenance import Steps, environment, input_hashes, now, peak_memory_mb, section_facts
from meteoseg.report.page import ChannelFact, ReportContent, SectionFacts, write_report
from meteoseg.report.tables import format_chemistry, format_classification, format_modes, format_objects_summary
from meteoseg.section import ArrayPlane, Section, Stack
from meteoseg.segmenting import LabelImages, PhaseMaker, Scratch, Segmenter

DEFAULT_MODEL = "chondrite"
REPORT_HTML = "report.html"
NO_WEIGHTS = (
    "Weight percent are left empty: phases without a density take over 2 % of the area. Give them density_g_cm3 in the "
    "legend file."
)


@dataclass(frozen=True)
class Result:
    """The results of one section, in its folder.

    Label images are read when asked for: (H, W) integers, see `meteoseg.legend` for their meaning.
    """

    folder: Path

    @property
    def phases(self) -> NDArray[Any]:
        """Phase ids (H, W)."""
        return self._labels("phases")

    @property
    def components(self) -> NDArray[Any]:
        """Component ids (H, W)."""
        return self._labels("components")

    @property
    def chondrule_labels(self) -> NDArray[Any]:
        """Object ids (H, W), 0 where there is no chondrule."""
        return self._labels("chondrules")

    def _labels(self, layer: str) -> NDArray[Any]:
        path = self.folder / LABEL_FILES[layer]
        if not path.is_file():
            raise InputError(f"The model delivered no {layer}: use one that does.")
        return read_labels(path)

    @property
    def run(self) -> dict[str, Any]:
        """Provenance, the content of run.json."""
        return dict(json.loads((self.folder / RUN_JSON).read_text(encoding="utf-8")))

    def modes(self) -> pd.DataFrame:
        """Return the modal table, the content of modes.csv."""
        return pd.read_csv(self.folder / MODES_CSV)

    def chondrules(self) -> pd.DataFrame:
        """Return one row per object, the content of chondrules.csv."""
        if not (self.folder / CHONDRULES_CSV).is_file():
            raise InputError("The model delivered no components: there are no chondrules to list.")
        return pd.read_csv(self.folder / CHONDRULES_CSV)

    def chemistry(self) -> pd.DataFrame:
        """Return the compositions of minerals, the content of chemistry.csv."""
        if not (self.folder / CHEMISTRY_CSV).is_file():
            raise InputError(WHY_NOT)
        return pd.read_csv(self.folder / CHEMISTRY_CSV)

    def classify(self, *, prior: str = "equal") -> Classification:
        """Suggest a chondrite group from the tables."""
        return classify_folder(self.folder, prior=prior)

    def save(self, out: Path | str, *, name: str | None = None, overwrite: bool = False) -> Path:
        """Copy the result to ``out/name`` (default: the section's name) and return that folder.

        Raises
        ------
        OutputExistsError : that folder is not empty and `overwrite` is not set.
        """
        target = output_folder(Path(out), name or self.folder.name, overwrite=overwrite)
        with complete_or_absent(target) as partial:
            shutil.copytree(self.folder, partial, dirs_exist_ok=True)
        return target

    def summary(self) -> str:
        """Return the modal table, the chondrules, the suggestion and where the report lies, as text."""
        parts = [format_modes(self.modes())]
        if (self.folder / CHEMISTRY_CSV).is_file():
            parts.append(format_chemistry(self.chemistry()))
        if (self.folder / CHONDRULES_CSV).is_file():
            parts.append(format_objects_summary(self.chondrules()))
        answer = json.loads((self.folder / CLASSIFICATION_JSON).read_text(encoding="utf-8"))
        parts += [format_classification(answer), f"Report: {self.folder / REPORT_HTML}"]
        return "\n\n".join(parts)


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
    progress : tell about the steps on stderr.

    Raises
    ------
    MeteosegError : bad input (nothing is written then): pixel size unknown, channels that do not fit the
        model, unknown model or phase, output folder in use.
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
        }
        plan = _check(opened, model, standards, legend, options=options, steps=steps)
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
    section = replace(section, notes=(*section.notes, *check_values(section)))
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
    return _Plan(section, inputs, loaded, phase_maker, legends, edit, phase_table, parameters, runner, keep, steps)


def _legend_edit(legend: Path | str | LegendEdit | None) -> LegendEdit:
    if legend is None:
        return NO_EDIT
    return legend if isinstance(legend, LegendEdit) else LegendEdit.read(Path(legend))


def _make(plan: _Plan, target: Path) -> Path:
    """Run a plan and write everything of the result folder."""
    started = now()
    with complete_or_absent(target) as folder:
        scratch = Scratch(folder / "scratch", plan.section.shape)
        labels = Segmenter(
            plan.section, plan.model, plan.runner, scratch, plan.steps, plan.phase_maker, plan.probabilities
        ).run()
        chemistry = _measure_chemistry(plan, labels, folder)
        with plan.steps("label images"):
            _write_labels(plan, labels, folder)
        with plan.steps("tables"):
            modes = _write_tables(plan, labels, folder)
            labels.notes.extend(_weight_notes(modes))
        with plan.steps("classification"):
            answer = _classify(plan, labels, modes, folder, chemistry)
        with plan.steps("report"):
            notes = list(dict.fromkeys([*plan.section.notes, *labels.notes]))
            run = _provenance(plan, notes, started)
            run["certainty"] = {layer: sure.facts() for layer, sure in labels.certainty.items()}
            _write_report(plan, labels, folder, modes=modes, answer=answer, run=run, chemistry=chemistry)
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
        return write_chemistry(plan.section, labels, plan.phase_maker, folder)


def _images(labels: LabelImages) -> dict[str, NDArray[Any]]:
    found = {"phases": labels.phases, "components": labels.components, "chondrules": labels.chondrules}
    return {layer: image for layer, image in found.items() if image is not None}


def _write_labels(plan: _Plan, labels: LabelImages, folder: Path) -> None:
    """Apply the user's phase legend and write the label images, and the probabilities where they were kept."""
    if labels.phases is not None:
        area_px = np.zeros(len(plan.phase_table), np.int64)
        for window in row_bands(plan.section.shape):
            band = labels.phases[window.slices]
            area_px += np.bincount(band.ravel(), minlength=len(area_px))
            labels.phases[window.slices] = plan.phase_table[band]
        plan.legends["phases"] = plan.edit.with_mean_densities(default_legend("phases"), area_px)
    for layer, image in _images(labels).items():
        dtype = np.dtype(np.uint32 if layer == "chondrules" else np.uint8)
        _write_image(plan, folder / LABEL_FILES[layer], image, dtype=dtype)
    for layer, image in labels.probabilities.items():
        _write_image(plan, folder / PROBABILITY_FILES[layer], image, dtype=np.dtype(np.uint8))
    if labels.mixtures is not None:
        _write_image(plan, folder / MIXTURES_FILE, labels.mixtures, dtype=np.dtype(np.uint8))
    write_legend_csv(folder / LEGEND_CSV, *(plan.legends[layer] for layer in _layers(labels)))


def _write_image(plan: _Plan, path: Path, image: NDArray[Any], *, dtype: np.dtype[Any]) -> None:
    """Write an image of the section's shape, band by band."""
    shape, name = plan.section.shape, path.name.partition(".")[0]
    writer = BandWriter(path, shape, dtype, pixel_size_um=plan.section.pixel_size_um, name=name)
    try:
        for window in row_bands(shape):
            writer.write(np.asarray(image[window.slices]).astype(dtype))
    except BaseException:
        writer.abort()
        raise
    writer.close()


def _layers(labels: LabelImages) -> list[str]:
    return [layer for layer in _images(labels) if layer != "chondrules"]


def _write_tables(plan: _Plan, labels: LabelImages, folder: Path) -> pd.DataFrame:
    images = _images(labels)
    planes = {layer: ArrayPlane(images[layer]) for layer in _layers(labels)}
    layers = LabelLayers(planes, plan.legends, plan.section.require_pixel_size())
    return write_tables(folder, layers, labels.chondrules, labels.inside)


def _weight_notes(modes: pd.DataFrame) -> tuple[str, ...]:
    phases = modes[(modes["layer"] == "phases") & modes["area_pct"].notna() & ~modes["name"].isin(NO_MINERALS)]
    if phases.empty or phases["wt_pct"].notna().any():
        return ()
    return (NO_WEIGHTS,)


def _facts(plan: _Plan) -> dict[str, Any]:
    # Quantified maps tell magnetite from rust by their totals; counts with standards alone do not do so safely.
    elements = [channel for channel in plan.section.channels.values() if channel.name != BSE]
    quantified = bool(elements) and all(channel.unit == "wt%" for channel in elements)
    return section_facts(plan.section) | {"calibrated": quantified}


def _classify(
    plan: _Plan, labels: LabelImages, modes: pd.DataFrame, folder: Path, chemistry: ChemistryFiles | None
) -> dict[str, Any]:
    chondrules = pd.read_csv(folder / CHONDRULES_CSV) if labels.chondrules is not None else None
    compositions = None if chemistry is None else chemistry.table
    answer = classify_tables(modes, chondrules, _facts(plan), chemistry=compositions).to_json_dict()
    write_json(folder / CLASSIFICATION_JSON, answer)
    return answer


def _provenance(plan: _Plan, notes: list[str], started: str) -> dict[str, Any]:
    card = plan.model.card
    return {
        "section": _facts(plan),
        "inputs": input_hashes(plan.section),
        "model": {"name": card.name, "file": plan.model.path.name, "sha256": plan.model.sha256},
        "phases_from": "networks" if plan.phase_maker is None else plan.phase_maker.description,
        "parameters": plan.parameters,
        "normalisation": [entry.to_dict() for entry in plan.inputs.normalisations.values()],
        "versions": environment(),
        "started": started,
        "timings_s": plan.steps.seconds,
        "notes": notes,
    }


def _write_report(
    plan: _Plan,
    labels: LabelImages,
    folder: Path,
    *,
    modes: pd.DataFrame,
    answer: dict[str, Any],
    run: dict[str, Any],
    chemistry: ChemistryFiles | None,
) -> None:
    section = plan.section
    has_objects = labels.chondrules is not None
    chondrules = pd.read_csv(folder / CHONDRULES_CSV) if has_objects else None
    made = pictures(section, labels, plan.legends, modes=modes, chondrules=chondrules, classification=answer)
    if chemistry is not None:
        made += chemistry_pictures(section, labels, chemistry.maps)
    facts = SectionFacts(
        section.name,
        section.shape,
        section.require_pixel_size(),
        section.pixel_size_source,
        tuple(ChannelFact(c["name"], c["unit"], c["file"], c["reason"]) for c in run["section"]["channels"]),
        section.pixel_size_error_pct,
        ", ".join(path.name for path in section.mask_paths),
    )
    content = ReportContent(
        section.name,
        facts,
        modes,
        pd.DataFrame(columns=list(COLUMNS)) if chondrules is None else chondrules,
        answer,
        made,
        {key: value for key, value in run.items() if key not in ("notes", "timings_s", "section")},
        run["notes"],
        dict(plan.steps.seconds),
        plan.legends,
        pd.DataFrame() if chemistry is None else chemistry.table,
    )
    write_report(folder / REPORT_HTML, content)
