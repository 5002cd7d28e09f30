"""A section sorted by a classical tool, into the same label image and tables as those of a segmentation."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.clusters import METHODS, PixelClasses, fit_clusters, grow_forest, legend_of, read_rules
from meteoseg.clusters.classes import bands
from meteoseg.clusters.forest import UNLABELLED
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.io import BandWriter, check_values, open_labels, open_section, read_labels
from meteoseg.labels.components import mapped_pixels
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.legend import Legend, write_legend_csv
from meteoseg.registration import places_note
from meteoseg.report.figures import phase_map_figure
from meteoseg.report.tables import format_modes
from meteoseg.results.illustrate import percent_by_name
from meteoseg.results.reporting import ResultTables, write_section_report
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
from meteoseg.system.diskspace import check_space
from meteoseg.system.footprint import cluster_need
from meteoseg.system.memory import short_memory_told
from meteoseg.tables.channelmeans import channel_means
from meteoseg.tables.labelcounts import LabelLayers
from meteoseg.tables.measure import (
    LABEL_FILES,
    LEGEND_CSV,
    MEANS_CSV,
    MODES_CSV,
    PHASES_PNG,
    REPORT_HTML,
    RUN_JSON,
    label_hashes,
    write_json,
    write_tables,
)

#: All methods of `cluster`.
ALL_METHODS = (*METHODS, "rules", "forest")


@dataclass(frozen=True)
class ClusterResult:
    """What `cluster` wrote, in its folder."""

    folder: Path

    @property
    def phases(self) -> NDArray[Any]:
        """Class ids (H, W), see legend.csv; 0 is outside."""
        return read_labels(self.folder / LABEL_FILES["phases"])

    @property
    def run(self) -> dict[str, Any]:
        """Provenance, the content of run.json."""
        return dict(json.loads((self.folder / RUN_JSON).read_text(encoding="utf-8")))

    def modes(self) -> pd.DataFrame:
        """Return the modal table, the content of modes.csv."""
        return pd.read_csv(self.folder / MODES_CSV)

    def channel_means(self) -> pd.DataFrame:
        """Return the mean of every channel in each class, the content of channel_means.csv."""
        return pd.read_csv(self.folder / MEANS_CSV)

    def summary(self) -> str:
        """Return the modal table, the channel means and where the results lie, as text."""
        means = self.channel_means().to_string(index=False, float_format=lambda value: f"{value:.4g}")
        notes = "\n".join(self.run["notes"])
        return "\n\n".join(
            part for part in (format_modes(self.modes()), means, notes, f"Report: {self.folder / REPORT_HTML}") if part
        )


@dataclass(frozen=True)
class ClusterOptions:
    """How pixels are sorted.

    method : ``kmeans``, ``gmm``, ``nmf``, ``rules`` or ``forest``.
    use : channels, or expressions of them, that are sorted by; none: all (rules name their own).
    classes : number of classes of ``kmeans``, ``gmm`` and ``nmf``.
    rules : TOML file of ``rules``.
    scribbles : label image of ``forest``, a file or (H, W) integers; names : what its values mean; unlabelled : values
        that are no label.
    seed : the same seed gives the same classes.
    """

    method: str = "kmeans"
    use: tuple[str, ...] = ()
    classes: int | None = None
    rules: Path | None = None
    scribbles: Path | NDArray[np.integer[Any]] | None = None
    names: Mapping[int, str] | None = None
    unlabelled: Sequence[int] = UNLABELLED
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in ALL_METHODS:
            raise UnknownNameError.of("method", self.method, ALL_METHODS)
        for option, given, methods in (
            ("--classes", self.classes is not None, METHODS),
            ("--rules", self.rules is not None, ("rules",)),
            ("--scribbles", self.scribbles is not None, ("forest",)),
            ("--class", bool(self.names), ("forest",)),
            ("--use", bool(self.use), (*METHODS, "forest")),
        ):
            if given and self.method not in methods:
                raise InputError(f"{option} goes with --method {' or '.join(methods)}, not with {self.method}.")
        if self.method == "rules" and self.rules is None:
            raise InputError("--method rules needs a TOML file: add --rules FILE.")
        if self.method == "forest" and self.scribbles is None:
            raise InputError(
                "--method forest needs a label image with a few pixels of each class: add --scribbles TIF."
            )


def cluster(
    source: Section | Stack | Path | str,
    options: ClusterOptions | None = None,
    *,
    out: Path | str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> ClusterResult:
    """Sort the pixels of a section by a classical tool and write ``out/name``.

    The folder holds phases.ome.tif, legend.csv, modes.csv and run.json as those of `segment`, the mean of each
    channel in each class (channel_means.csv), a picture (phases.png) and all of it on a page (report.html). ``meteoseg
    modes`` and ``meteoseg evaluate`` take it.

    Parameters
    ----------
    source : section, stack of channel expressions, or a path to open.
    options : method and what it needs; default: k-means, 8 clusters.
    out : parent folder; None: a temporary folder, which goes with the result.
    name : of the result folder; default: the section's name.
    overwrite : replace a result folder that is not empty.
    progress : tell about the steps on stderr.

    Raises
    ------
    MeteosegError : bad input, a disk that is full, memory that ran out; nothing is left then.
    """
    options = options or ClusterOptions()
    steps, started = Steps(progress), now()
    with short_memory_told():
        opened = open_section(source) if isinstance(source, Path | str) else source
        section = opened if isinstance(opened, Section) else opened.section
        section.require_pixel_size()
        section = replace(section, name=name or section.name)
        parent = Path(tempfile.mkdtemp(prefix="meteoseg-")) if out is None else Path(out)
        result = ClusterResult(output_folder(parent, section.name, overwrite=overwrite))
        if out is None:
            weakref.finalize(result, shutil.rmtree, parent, ignore_errors=True)
        need, files = cluster_need(section.name, section.shape), input_stamps(section)
        if warning := check_space(parent, need):
            steps.tell(warning)
        section = replace(section, notes=(*section.notes, *check_values(section), *places_note(section)))
        with steps("fit"):
            tool = _fit(section if isinstance(opened, Section) else replace(opened, section=section), options)
        with complete_or_absent(result.folder, need) as folder:
            run = {"inputs": files, "started": started}
            _make(section, tool, options, run=run, steps=steps, folder=folder)
    return result


def _make(
    section: Section,
    tool: PixelClasses,
    options: ClusterOptions,
    *,
    run: dict[str, Any],
    steps: Steps,
    folder: Path,
) -> None:
    """Sort the pixels and write everything of the result folder; `run` says when it began and from which files."""
    legend, table = legend_of(tool.names, dict(getattr(tool, "colors", {})))
    scratch = Scratch(folder / "scratch", section.shape)
    labels = LabelImages(scratch.array("inside", np.bool_), scratch.array("phases", np.uint8))
    with steps("classes"):
        notes = _draw(section, tool, table, labels)
        if options.method in METHODS:
            names, more = _by_area(tool.names, labels)
            legend, notes = legend_of(names)[0], notes + more
    run = _provenance(section, tool.description, notes, options) | run | {"inputs": input_hashes(run["inputs"])}
    with steps("tables"):
        tables = _write_tables(section, legend, labels, folder)
        run["labels"] = label_hashes(folder)
    with steps("report"):
        run["timings_s"] = steps.seconds
        write_section_report(folder, run, labels, {"phases": legend}, tables=tables, section=section)
    del labels
    shutil.rmtree(scratch.folder)
    run |= {"timings_s": steps.seconds, "peak_memory_mb": peak_memory_mb(), "finished": now()}
    write_json(folder / RUN_JSON, run | {"complete": True})


def _fit(source: Section | Stack, options: ClusterOptions) -> PixelClasses:
    section = source if isinstance(source, Section) else source.section
    if options.rules is not None:
        return read_rules(Path(options.rules), section)
    chosen = section.select(options.use) if options.use else source
    if options.scribbles is None:
        return fit_clusters(chosen, options.method, classes=options.classes, seed=options.seed)
    given = options.scribbles
    drawn = open_labels(given)[0] if isinstance(given, Path | str) else np.asarray(given)
    return grow_forest(chosen, drawn, meaning=options.names, unlabelled=options.unlabelled, seed=options.seed)


def _draw(section: Section, tool: PixelClasses, table: NDArray[np.uint8], labels: LabelImages) -> tuple[str, ...]:
    """Fill `labels` with ids, band by band; return the notes of the tool."""
    phases = labels.images["phases"]
    any_inside = False
    for window in bands(section.shape):
        inside, _ = mapped_pixels(section, window)
        if inside.any():
            any_inside = True
            labels.inside[window.slices] = inside
            phases[window.slices] = np.where(inside, table[tool.draw(window)], 0)
    if not any_inside:
        raise InputError(f"'{section.name}' has no pixel with values inside its mask: there is nothing to sort.")
    return tool.notes


def _by_area(names: Sequence[str], labels: LabelImages) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Number clusters anew by their area in the section, also in `labels`; leave out those without a pixel.

    The tool knows the areas in its sample only. Return the names and a note where clusters are left out.
    """
    phases = labels.images["phases"]
    area_px = np.zeros(256, np.int64)
    for window in bands(phases.shape):
        area_px += np.bincount(phases[window.slices].ravel(), minlength=area_px.size)
    area_px = area_px[1 : len(names) + 1]
    order = 1 + np.argsort(-area_px, kind="stable")
    order = order[area_px[order - 1] > 0]
    table = np.zeros(256, np.uint8)
    table[order] = 1 + np.arange(order.size)
    for window in bands(phases.shape):
        phases[window.slices] = table[phases[window.slices]]
    empty = len(names) - order.size
    note = f"{empty} of {len(names)} clusters hold no pixel of the section and are left out."
    return tuple(names[: order.size]), (note,) if empty else ()


def _write_tables(section: Section, legend: Legend, labels: LabelImages, folder: Path) -> ResultTables:
    """Write label image, legend, tables and the picture of classes."""
    size, phases = section.require_pixel_size(), labels.images["phases"]
    with BandWriter(
        folder / LABEL_FILES["phases"], section.shape, np.uint8, pixel_size_um=size, name="phases"
    ) as writer:
        for window in bands(section.shape):
            writer.write(np.asarray(phases[window.slices]))
    write_legend_csv(folder / LEGEND_CSV, legend)
    modes = write_tables(folder, LabelLayers({"phases": ArrayPlane(phases)}, {"phases": legend}, size), None, None)
    means = channel_means(section, phases, legend)
    means.to_csv(folder / MEANS_CSV, index=False)
    png = phase_map_figure(phases, legend, size, area_pct=percent_by_name(modes, "phases"))
    (folder / PHASES_PNG).write_bytes(png)
    return ResultTables(modes, class_means=means)


def _provenance(section: Section, description: str, notes: Sequence[str], options: ClusterOptions) -> dict[str, Any]:
    parameters = {
        "method": options.method,
        "use": list(options.use),
        "classes": options.classes,
        "rules": None if options.rules is None else str(options.rules),
        "scribbles": str(options.scribbles) if isinstance(options.scribbles, Path) else None,
        "names": {str(value): text for value, text in (options.names or {}).items()},
        "seed": options.seed,
    }
    return {
        "section": section_facts(section) | {"calibrated": False},
        "phases_from": description,
        "parameters": parameters,
        "versions": environment(),
        "notes": list(dict.fromkeys([*section.notes, *notes])),
    }
