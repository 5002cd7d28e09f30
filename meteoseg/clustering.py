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
from meteoseg.labelling import mapped_pixels
from meteoseg.legend import Legend, write_legend_csv
from meteoseg.measure import LABEL_FILES, LEGEND_CSV, MODES_CSV, RUN_JSON, LabelLayers, write_json, write_tables
from meteoseg.output import complete_or_absent, output_folder
from meteoseg.provenance import Steps, environment, input_hashes, now, peak_memory_mb, section_facts
from meteoseg.report.figures import phase_map_figure
from meteoseg.report.tables import format_modes
from meteoseg.section import ArrayPlane, Section, Stack

#: All methods of `cluster`.
ALL_METHODS = (*METHODS, "rules", "forest")
MEANS_CSV, PHASES_PNG = "channel_means.csv", "phases.png"


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
            part for part in (format_modes(self.modes()), means, notes, f"Results: {self.folder}") if part
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
    channel in each class (channel_means.csv) and a picture (phases.png). ``meteoseg modes`` and ``meteoseg evaluate``
    take it.

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
    MeteosegError : bad input; nothing is written then.
    """
    options = options or ClusterOptions()
    steps, started = Steps(progress), now()
    opened = open_section(source) if isinstance(source, Path | str) else source
    section = opened if isinstance(opened, Section) else opened.section
    section = replace(section, name=name or section.name, notes=(*section.notes, *check_values(section)))
    section.require_pixel_size()
    parent = Path(tempfile.mkdtemp(prefix="meteoseg-")) if out is None else Path(out)
    target = output_folder(parent, section.name, overwrite=overwrite)
    with steps("fit"):
        tool = _fit(section if isinstance(opened, Section) else replace(opened, section=section), options)
        legend, table = legend_of(tool.names, dict(getattr(tool, "colors", {})))
    with complete_or_absent(target) as folder:
        labels = np.memmap(folder / "labels.raw", np.uint8, "w+", shape=section.shape)
        with steps("classes"):
            tally, names, notes = _draw(section, tool, table, labels), tool.names, tool.notes
            if options.method in METHODS:
                tally, names, more = _by_area(tally, names, labels)
                legend, notes = legend_of(names)[0], notes + more
        with steps("tables"):
            _write(section, legend, labels, tally.means(section.channel_names, names), folder=folder)
        del labels
        (folder / "labels.raw").unlink()
        run = _provenance(section, tool.description, notes, options, started)
        run |= {"timings_s": steps.seconds, "peak_memory_mb": peak_memory_mb(), "finished": now()}
        write_json(folder / RUN_JSON, run | {"complete": True})
    result = ClusterResult(target)
    if out is None:
        weakref.finalize(result, shutil.rmtree, parent, ignore_errors=True)
    return result


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


@dataclass(frozen=True)
class _Tally:
    """What `_draw` counts in each class, 0 being the unclassified.

    pixels : (K,). sums, finite : (C, K) sum and number of the finite values of each channel.
    """

    pixels: NDArray[np.int64]
    sums: NDArray[np.float64]
    finite: NDArray[np.int64]

    def means(self, channels: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        """Return the mean of each channel in each class that has pixels; NaN where no value is finite."""
        rows = [index for index in (*range(1, len(self.pixels)), 0) if self.pixels[index]]
        finite = self.finite[:, rows]
        mean = np.divide(self.sums[:, rows], finite, out=np.full(finite.shape, np.nan), where=finite > 0)
        table = pd.DataFrame(mean.T, columns=list(channels))
        table.insert(0, "area_px", self.pixels[rows])
        table.insert(0, "name", [("unclassified", *names)[index] for index in rows])
        return table


def _draw(section: Section, tool: PixelClasses, table: NDArray[np.uint8], labels: NDArray[np.uint8]) -> _Tally:
    """Fill `labels` (H, W) with ids, band by band; count pixels and values of each class."""
    kinds = len(table)
    shape = (len(section.channel_names), kinds)
    tally = _Tally(np.zeros(kinds, np.int64), np.zeros(shape), np.zeros(shape, np.int64))
    for window in bands(section.shape):
        inside, _ = mapped_pixels(section, window)
        if not inside.any():
            continue
        found = tool.draw(window)
        labels[window.slices] = np.where(inside, table[found], 0)
        tally.pixels[:] += np.bincount(found[inside], minlength=kinds)
        for channel, plane in enumerate(section.read(window=window)):
            known = inside & np.isfinite(plane)
            tally.sums[channel] += np.bincount(found[known], weights=plane[known], minlength=kinds)
            tally.finite[channel] += np.bincount(found[known], minlength=kinds)
    if not tally.pixels.any():
        raise InputError(f"'{section.name}' has no pixel with values inside its mask: there is nothing to sort.")
    return tally


def _by_area(
    tally: _Tally, names: Sequence[str], labels: NDArray[np.uint8]
) -> tuple[_Tally, tuple[str, ...], tuple[str, ...]]:
    """Number clusters anew by their area in the section, also in `labels` (H, W); leave out those without a pixel.

    The tool knows the areas in its sample only. Return the tally, the names and a note where clusters are left out.
    """
    order = 1 + np.argsort(-tally.pixels[1:], kind="stable")
    order = order[tally.pixels[order] > 0]
    table = np.zeros(256, np.uint8)
    table[order] = 1 + np.arange(order.size)
    for window in bands(labels.shape):
        labels[window.slices] = table[labels[window.slices]]
    kept = [0, *order]
    tally = _Tally(tally.pixels[kept], tally.sums[:, kept], tally.finite[:, kept])
    empty = len(names) - order.size
    note = f"{empty} of {len(names)} clusters hold no pixel of the section and are left out."
    return tally, tuple(names[: order.size]), (note,) if empty else ()


def _write(section: Section, legend: Legend, labels: NDArray[np.uint8], means: pd.DataFrame, *, folder: Path) -> None:
    size = section.require_pixel_size()
    with BandWriter(
        folder / LABEL_FILES["phases"], section.shape, np.uint8, pixel_size_um=size, name="phases"
    ) as writer:
        for window in bands(section.shape):
            writer.write(np.asarray(labels[window.slices]))
    write_legend_csv(folder / LEGEND_CSV, legend)
    layers = LabelLayers({"phases": ArrayPlane(labels)}, {"phases": legend}, size)
    modes = write_tables(folder, layers, None, None)
    means.to_csv(folder / MEANS_CSV, index=False)
    shown = modes.dropna(subset=["area_pct"])
    percent = {str(name): float(pct) for name, pct in zip(shown["name"], shown["area_pct"], strict=True)}
    (folder / PHASES_PNG).write_bytes(phase_map_figure(labels, legend, size, area_pct=percent))


def _provenance(
    section: Section, description: str, notes: Sequence[str], options: ClusterOptions, started: str
) -> dict[str, Any]:
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
        "inputs": input_hashes(section),
        "phases_from": description,
        "parameters": parameters,
        "versions": environment(),
        "started": started,
        "notes": list(dict.fromkeys([*section.notes, *notes])),
    }
