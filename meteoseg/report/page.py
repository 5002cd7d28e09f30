"""The report of a section: one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from PIL import Image

from meteoseg.elements import is_channel_name
from meteoseg.legend import LAYERS, UNCLASSIFIED, Legend, default_legend
from meteoseg.report.chemistry import chemistry_rows
from meteoseg.report.chondrulepart import chondrule_part, size_gaps, size_rows
from meteoseg.report.classmeans import MeanTable, mean_table
from meteoseg.report.facts import SizeSummary, Suggestion, layer_rows, mapped_area_mm2, number, significant
from meteoseg.report.trust import accuracy_rows, percent_text, range_text, representative_rows
from meteoseg.stereology.planar import MIN_OBJECTS

#: Bytes that all pictures of a page may take before they are written as text (a third more).
PICTURE_BUDGET = 5_000_000
UNKNOWN_COLOR = "#8b9099"

CLASS_WORDS = {
    "carbonaceous": "carbonaceous chondrite",
    "ordinary": "ordinary chondrite",
    "enstatite": "enstatite chondrite",
    "R": "Rumuruti chondrite",
    "K": "Kakangari-type chondrite",
    "none": "",
}


@dataclass(frozen=True)
class ChannelFact:
    """A map that was read: its channel, unit, file name and why the file was taken for this channel."""

    name: str
    unit: str = ""
    file: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SectionFacts:
    """What was mapped: shape (rows, cols), pixel size (dy, dx) in um and where it came from, channels."""

    name: str
    shape: tuple[int, int]
    pixel_size_um: tuple[float, float]
    pixel_size_source: str
    channels: tuple[ChannelFact, ...] = ()
    pixel_size_error_pct: float | None = None
    mask: str = ""

    @property
    def pixel_size_text(self) -> str:
        """Pixel size with its source, e.g. ``1 µm (file name)``."""
        dy, dx = self.pixel_size_um
        size = f"{dy:g} µm" if dy == dx else f"{dy:g} × {dx:g} µm (rows × columns)"
        error = "" if self.pixel_size_error_pct is None else f" ± {self.pixel_size_error_pct:g} %"
        return f"{size}{error}, from {self.pixel_size_source}"

    @property
    def extent_text(self) -> str:
        """Pixels and millimetres, rows first."""
        (rows, cols), (dy, dx) = self.shape, self.pixel_size_um
        size_mm = f"{significant(rows * dy / 1000)} × {significant(cols * dx / 1000)} mm"
        return f"{rows} × {cols} px, {size_mm}"


@dataclass(frozen=True)
class Picture:
    """A picture of the page: a heading, PNG bytes, a caption, and whether it is a chart (shown smaller)."""

    name: str
    png: bytes
    caption: str = ""
    chart: bool = False

    @property
    def data_uri(self) -> str:
        """The picture as a data URI."""
        kind = "jpeg" if self.png.startswith(b"\xff\xd8") else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.png).decode('ascii')}"


@dataclass(frozen=True)
class ReportContent:
    """Everything the page says.

    Parameters
    ----------
    modes, chondrules : tables in the formats of ``modes.csv`` and ``chondrules.csv``.
    classification : the dictionary of ``classification.json``; None where pixels were only sorted into classes.
    run : provenance as in ``run.json``; nested dictionaries and lists are allowed.
    notes : problems and remarks, repeated at the top of the page.
    timings_s : seconds per step.
    legends : colours by layer; the shipped ones where a layer is missing.
    chemistry : table in the format of ``chemistry.csv``; empty where there is none.
    class_means : table in the format of ``channel_means.csv``; empty where there is none.
    sizes : table in the format of ``sizes.csv``; empty where there is none.
    representative, accuracy : as ``representativeness.csv`` and ``checkpoints_accuracy.csv``, or empty.
    """

    title: str
    section: SectionFacts
    modes: pd.DataFrame
    chondrules: pd.DataFrame
    classification: Mapping[str, Any] | None
    pictures: Sequence[Picture] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    legends: Mapping[str, Legend] = field(default_factory=dict)
    chemistry: pd.DataFrame = field(default_factory=pd.DataFrame)
    class_means: pd.DataFrame = field(default_factory=pd.DataFrame)
    sizes: pd.DataFrame = field(default_factory=pd.DataFrame)
    representative: pd.DataFrame = field(default_factory=pd.DataFrame)
    accuracy: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class ModeRow:
    """A line of the modal table, in words; `bar_pct` is None for hole and outside."""

    name: str
    color: str
    area_mm2: str
    area_pct: str
    interval: str
    wt_pct: str
    bar_pct: float | None
    section: str = ""
    with_holes: str = ""
    adjusted: str = ""
    adjusted_interval: str = ""


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page; it replaces `path` only when complete.

    Raises
    ------
    InputError : the classification lacks its class or groups.
    """
    text = render_report(content)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def render_report(content: ReportContent) -> str:
    """Return the page as HTML; every text in it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("meteoseg").joinpath("report/page.html").read_text(encoding="utf-8")
    suggestion = None if content.classification is None else Suggestion.from_dict(content.classification)
    said = () if suggestion is None else suggestion.notes
    pictures = fit_pictures(content.pictures, PICTURE_BUDGET)
    return environment.from_string(source).render(
        content=content,
        suggestion=suggestion,
        class_words="" if suggestion is None else CLASS_WORDS.get(suggestion.class_, suggestion.class_),
        sorted_by=str(content.run.get("phases_from", "")),
        notes=merge_notes([note for note in content.notes if note not in said]),
        key_numbers=list(_key_numbers(content)),
        layers=[(layer, _mode_rows(content, layer)) for layer in _layers(content.modes)],
        maps=[picture for picture in pictures if not picture.chart],
        charts=[picture for picture in pictures if picture.chart],
        chemistry=chemistry_rows(content.chemistry),
        class_means=_class_means(content),
        chondrules=chondrule_part(content.chondrules, content.chemistry),
        sizes=size_rows(content.sizes),
        size_gaps=size_gaps(content.sizes),
        representative=representative_rows(content.representative),
        accuracy=accuracy_rows(content.accuracy),
        provenance=list(_flat(content.run)),
    )


def _class_means(content: ReportContent) -> MeanTable | None:
    legend = content.legends.get("phases") or default_legend("phases")
    return mean_table(content.class_means, legend, {channel.name: channel.unit for channel in content.section.channels})


def merge_notes(notes: Sequence[str]) -> list[str]:
    """Say once what several channels share: ``Fe: all-zero map`` and ``S: all-zero map`` become one line.

    Examples
    --------
    >>> merge_notes(["Fe: all-zero map", "No mask.", "S: all-zero map", "No mask."])
    ['Fe, S: all-zero map', 'No mask.']
    """
    subjects: dict[str, list[str]] = {}
    for note in dict.fromkeys(notes):
        subject, colon, remark = note.partition(": ")
        is_channel = bool(colon) and is_channel_name(subject)
        subjects.setdefault(remark if is_channel else note, []).extend([subject] if is_channel else [])
    return [f"{', '.join(names)}: {text}" if names else text for text, names in subjects.items()]


def _layers(modes: pd.DataFrame) -> list[str]:
    """Components first: they carry the answer."""
    known = [layer for layer in reversed(LAYERS) if (modes["layer"] == layer).any()]
    return known + [layer for layer in dict.fromkeys(modes["layer"]) if layer not in known]


def _key_numbers(content: ReportContent) -> Iterator[tuple[str, str]]:
    """Yield the figures of the first screen as (number, what it is)."""
    yield f"{significant(mapped_area_mm2(content.modes))} mm²", "of rock mapped, without holes"
    if content.classification is None:
        classes = content.modes[content.modes["area_pct"].notna() & (content.modes["name"] != UNCLASSIFIED)]
        yield str(len(classes)), "class of pixels" if len(classes) == 1 else "classes of pixels"
        return
    sizes = SizeSummary.of(content.chondrules)
    yield (
        str(sizes.n_objects),
        f"{'chondrule or fragment' if sizes.n_objects == 1 else 'chondrules and fragments'} outlined",
    )
    if sizes.mean_um is not None and sizes.cut_off_um is not None and sizes.n_intact >= MIN_OBJECTS:
        yield (
            f"{significant(sizes.mean_um)} µm",
            f"mean diameter in the section, of {sizes.n_intact} intact and uncut from "
            f"{significant(sizes.cut_off_um)} µm on",
        )
    components = content.modes[content.modes["layer"] == "components"].set_index("name")["area_pct"]
    for name in ("chondrule", "matrix"):
        pct = number(components.get(name))
        if pct is not None:
            yield f"{pct:.1f} %", f"of the area is {name}"


def _mode_rows(content: ReportContent, layer: str) -> list[ModeRow]:
    legend = content.legends.get(layer) or default_legend(layer)
    rows = layer_rows(content.modes, layer).to_dict("records")
    widest = max((number(row["area_pct"]) or 0.0 for row in rows), default=0.0) or 1.0
    return [_mode_row(row, legend, widest) for row in rows]


def _mode_row(row: Mapping[Any, Any], legend: Legend, widest: float) -> ModeRow:
    name, pct, wt_pct = str(row["name"]), number(row["area_pct"]), number(row["wt_pct"])
    low, high = number(row["ci_low_pct"]), number(row["ci_high_pct"])
    return ModeRow(
        name,
        legend[name].color if name in legend else UNKNOWN_COLOR,
        significant(float(row["area_um2"]) / 1e6),
        "" if pct is None else f"{pct:.2f}",
        "" if low is None or high is None else f"{low:.2f} – {high:.2f}",
        "" if wt_pct is None else f"{wt_pct:.2f}",
        None if pct is None else 100 * pct / widest,
        range_text(row, "section_ci_low_pct", "section_ci_high_pct"),
        percent_text(row, "area_pct_with_holes"),
        percent_text(row, "adjusted_pct"),
        range_text(row, "adjusted_ci_low_pct", "adjusted_ci_high_pct"),
    )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested dictionaries and lists as (dotted name, text)."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flat(entry, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(entry, Mapping | list | tuple) for entry in value):
        for place, entry in enumerate(value, start=1):
            yield from _flat(entry, f"{prefix}[{place}]")
    elif isinstance(value, list | tuple):
        yield prefix, ", ".join(str(entry) for entry in value)
    else:
        yield prefix, "" if value is None else str(value)


def fit_pictures(pictures: Sequence[Picture], budget_bytes: int) -> list[Picture]:
    """Return the pictures so that together they stay within `budget_bytes`.

    Small ones are left as they are; what remains is shared by the large ones, which become JPEG of falling
    quality and then of falling size.
    """
    fitted: dict[int, Picture] = {}
    left = budget_bytes
    by_size = sorted(range(len(pictures)), key=lambda place: len(pictures[place].png))
    for done, place in enumerate(by_size):
        fitted[place] = _fit(pictures[place], left // (len(pictures) - done))
        left -= len(fitted[place].png)
    return [fitted[place] for place in range(len(pictures))]


def _fit(picture: Picture, budget_bytes: int) -> Picture:
    if len(picture.png) <= budget_bytes:
        return picture
    image = Image.open(io.BytesIO(picture.png)).convert("RGB")
    quality, data = 94, picture.png
    while len(data) > budget_bytes and min(image.size) > 64:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
        data = buffer.getvalue()
        if quality > 80:
            quality -= 7
        else:
            image = image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)
    return replace(picture, png=data)
