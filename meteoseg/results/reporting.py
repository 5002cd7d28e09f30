"""The report of a result folder, from its tables, its label images, run.json and, where they are at hand, the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meteoseg.chondrules.sizes import SizeTables
from meteoseg.labels.images import LabelImages
from meteoseg.legend import Legend
from meteoseg.objects import COLUMNS
from meteoseg.report.page import ChannelFact, ReportContent, SectionFacts, write_report
from meteoseg.results.illustrate import chemistry_pictures, pictures, pictures_of_labels
from meteoseg.results.mineralmaps import ChemistryFiles
from meteoseg.section import Section
from meteoseg.tables.measure import ACCURACY_CSV, REPORT_HTML, REPRESENTATIVE_CSV

#: Parts of run.json that the page shows elsewhere, or that only a program reads.
_SHOWN_APART = ("notes", "timings_s", "section", "chemistry", "labels", "complete")


@dataclass(frozen=True)
class ResultTables:
    """What the report tells in numbers.

    Parameters
    ----------
    modes, chondrules : as modes.csv and chondrules.csv; None where no chondrules were sought.
    classification : as classification.json; None where pixels were only sorted into classes.
    chemistry : compositions of minerals and their maps, or None.
    class_means : as channel_means.csv, or None.
    sizes : as sizes.csv and size_distribution.csv, or None.
    """

    modes: pd.DataFrame
    chondrules: pd.DataFrame | None = None
    classification: Mapping[str, Any] | None = None
    chemistry: ChemistryFiles | None = None
    class_means: pd.DataFrame | None = None
    sizes: SizeTables | None = None


def write_section_report(
    folder: Path,
    run: Mapping[str, Any],
    labels: LabelImages,
    legends: Mapping[str, Legend],
    *,
    tables: ResultTables,
    section: Section | None,
    notes: Sequence[str] | None = None,
) -> None:
    """Write report.html into `folder`, with what the tables there say of representativeness and labelled points.

    Parameters
    ----------
    run : content of run.json; its `section` gives name, grid, pixel size and channels.
    section : the maps, for the pictures of them; None: pictures of the label images only.
    notes : remarks at the top of the page; None: those of `run`.
    """
    facts = section_facts_of(run)
    modes, chondrules, answer = tables.modes, tables.chondrules, tables.classification
    if section is None:
        made = pictures_of_labels(
            labels,
            legends,
            facts.pixel_size_um,
            modes=modes,
            chondrules=chondrules,
            classification=answer,
            sizes=tables.sizes,
        )
    else:
        made = pictures(
            section,
            labels,
            legends,
            modes=modes,
            chondrules=chondrules,
            classification=answer,
            sizes=tables.sizes,
        )
    if tables.chemistry is not None:
        made += chemistry_pictures(labels, tables.chemistry.maps, facts.pixel_size_um)
    content = ReportContent(
        facts.name,
        facts,
        modes,
        pd.DataFrame(columns=list(COLUMNS)) if chondrules is None else chondrules,
        answer,
        made,
        {key: value for key, value in run.items() if key not in _SHOWN_APART},
        run["notes"] if notes is None else notes,
        run["timings_s"],
        legends,
        pd.DataFrame() if tables.chemistry is None else tables.chemistry.table,
        pd.DataFrame() if tables.class_means is None else tables.class_means,
        pd.DataFrame() if tables.sizes is None else tables.sizes.sizes,
        _table(folder / REPRESENTATIVE_CSV),
        _table(folder / ACCURACY_CSV),
    )
    write_report(folder / REPORT_HTML, content)


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def section_facts_of(run: Mapping[str, Any]) -> SectionFacts:
    """Return what run.json says of the maps, as the page shows it."""
    facts = run["section"]
    return SectionFacts(
        facts["name"],
        (int(facts["shape"][0]), int(facts["shape"][1])),
        (float(facts["pixel_size_um"][0]), float(facts["pixel_size_um"][1])),
        facts["pixel_size_source"],
        tuple(ChannelFact(c["name"], c["unit"], c["file"], c["reason"]) for c in facts["channels"]),
        facts["pixel_size_error_pct"],
        ", ".join(facts["masks"]),
    )
