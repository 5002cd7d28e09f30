"""Tables from label images: after a run, after labels were edited by hand, or for a region of interest."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.chondrules.counts import chondrule_counts
from meteoseg.chondrules.delineation import DELINEATION_CSV, delineation_table
from meteoseg.chondrules.sizes import SIZES_CSV
from meteoseg.chondrules.tables import CHONDRULES_CSV as CHONDRULES_CSV
from meteoseg.chondrules.tables import COUNTS_CSV, Compositions, ObjectLabels, write_object_tables
from meteoseg.classify import (
    Classification,
    Measured,
    chemistry_evidence,
    classification_table,
    classify,
    classify_table,
    delineation_evidence,
    feldspar_evidence,
    looks_handmade,
    measurements_from_tables,
    ranked_table,
    read_hand_table,
)
from meteoseg.errors import InputError, PixelSizeError
from meteoseg.estimation.pointfiles import ACCURACY_CSV as ACCURACY_CSV
from meteoseg.estimation.pointfiles import CONFUSION_CSV
from meteoseg.estimation.reference import accuracy_table, confusion_table
from meteoseg.estimation.representative import diameter_row
from meteoseg.io import open_labels, read_labels
from meteoseg.legend import LAYERS, NO_MINERALS, Legend, default_legend, read_legend_csv
from meteoseg.minerals.feldspar import FELDSPAR_CSV, PLAGIOCLASE, feldspar_table
from meteoseg.modes import COLUMNS as MODES_COLUMNS
from meteoseg.modes import LabelTrust
from meteoseg.runs.provenance import sha256_of
from meteoseg.tables.labelcounts import LabelLayers, count_labels

#: File of each label image in a result folder.
LABEL_FILES = {
    "phases": "phases.ome.tif",
    "components": "components.ome.tif",
    "chondrules": "chondrules.ome.tif",
}
#: File of the probability of each pixel's label in a layer, in percent (written where asked for).
PROBABILITY_FILES = {layer: f"{layer}_probability.ome.tif" for layer in LAYERS}
#: File that marks (1) what chemistry explains best as a mixture of two phases (written with probabilities).
MIXTURES_FILE = "mixtures.ome.tif"
MODES_CSV, LEGEND_CSV = "modes.csv", "legend.csv"
CROSS_CSV, CLASSIFICATION_JSON, RUN_JSON = "phases_by_component.csv", "classification.json", "run.json"
CHEMISTRY_CSV, GRAINS_CSV, CALIBRATION_JSON = "chemistry.csv", "grains.csv", "calibration.json"
#: Textures of chondrules, where they were asked for: their counts, and their columns of chondrules.csv.
TEXTURES_CSV = "textures.csv"
TEXTURE_COLUMNS = ("texture", "texture_probability")
#: Phases before a user's legend joined some (ids of the shipped legend), where compositions of those were measured.
UNJOINED_FILE = "phases_unjoined.ome.tif"
REPORT_HTML = "report.html"
#: How representative the mapped area is, quantity by quantity.
REPRESENTATIVE_CSV = "representativeness.csv"
#: Table of a batch: a row per section.
SUMMARY_CSV = "summary.csv"
#: Sections of a batch joined by meteorite: modal tables, and the group suggestions.
METEORITES_CSV, METEORITES_GROUPS_CSV = "meteorites.csv", "meteorites_classification.csv"
#: Of classes sorted by a classical tool: the mean of each channel, and a picture.
MEANS_CSV, PHASES_PNG = "channel_means.csv", "phases.png"
NO_WEIGHTS = (
    "Weight percent are left empty: phases without a density take over 2 % of the area. Give them density_g_cm3 in the "
    "legend file."
)


def write_tables(
    folder: Path,
    labels: LabelLayers,
    objects: NDArray[Any] | None,
    inside: NDArray[np.bool_] | None,
    *,
    kinds: Mapping[int, str] | None = None,
    compositions: Compositions | None = None,
    trust: Mapping[str, LabelTrust] | None = None,
) -> pd.DataFrame:
    """Write the tables of label images into `folder`; return the modal table.

    They are modes.csv, phases_by_component.csv, the tables of chondrules, representativeness.csv, feldspar.csv and
    delineation.csv, and with reference points their confusion and accuracies.

    Parameters
    ----------
    objects : (H, W) object ids, or None where there are none.
    inside : (H, W) the section, for objects that its edge cuts.
    kinds : kinds of objects by id, as `known_kinds` reads them.
    compositions : of minerals; None where they were not measured.
    trust : what is known of the classification error, by layer.
    """
    counted = count_labels(labels, trust=trust)
    modes, representative = counted.modes, counted.representative
    modes.to_csv(folder / MODES_CSV, index=False)
    if counted.cross is not None:
        counted.cross.to_csv(folder / CROSS_CSV, index=False)
    if "phases" in labels.planes:
        size_um = labels.pixel_size_um
        if PLAGIOCLASE in labels.legends["phases"]:  # else nobody looked for feldspar
            grains = feldspar_table(labels.planes, labels.legends, size_um)
            grains.to_csv(folder / FELDSPAR_CSV, index=False, float_format="%.6g")
        if objects is not None and "components" in labels.planes:
            across = delineation_table(objects, labels.planes, labels.legends, size_um)
            across.to_csv(folder / DELINEATION_CSV, index=False, float_format="%.6g")
    if objects is not None:
        parts = ObjectLabels(objects, inside, labels.planes, labels.legends, labels.pixel_size_um)
        write_object_tables(folder, parts, compositions or Compositions(), kinds=kinds)
        mapped_mm2 = float(representative["mapped_mm2"].max())
        diameter = diameter_row(*_mean_diameter(folder), mapped_mm2)
        representative = pd.concat([representative, diameter], ignore_index=True)
    representative.to_csv(folder / REPRESENTATIVE_CSV, index=False, float_format="%.6g")
    points = [known.points for known in (trust or {}).values() if known.points is not None]
    for name, make in ((CONFUSION_CSV, confusion_table), (ACCURACY_CSV, accuracy_table)):
        if points:
            pd.concat([make(entry) for entry in points]).to_csv(folder / name, index=False, float_format="%.6g")
    return modes


def _mean_diameter(folder: Path) -> tuple[float, float, int]:
    """Return the mean chondrule diameter of sizes.csv (um), its standard error and number of chondrules."""
    sizes = _read_csv(folder / SIZES_CSV)
    row = sizes[
        (sizes["dimension"] == 2)
        & (sizes["weighting"] == "number")
        & (sizes["edge_rule"] == "weighted")
        & (sizes["quantity"] == "mean_diameter")
    ].iloc[0]
    return float(row["value"]), float(row["standard_error"]), int(row["n"])


def weight_notes(modes: pd.DataFrame) -> tuple[str, ...]:
    """Return the remark that weight percent are missing, where they are; see `modes.modal_table`."""
    phases = modes[(modes["layer"] == "phases") & modes["area_pct"].notna() & ~modes["name"].isin(NO_MINERALS)]
    return () if phases.empty or phases["wt_pct"].notna().any() else (NO_WEIGHTS,)


def label_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the label images of a result folder by file name: it tells later whether one was edited."""
    return {name: sha256_of(folder / name) for name in LABEL_FILES.values() if (folder / name).is_file()}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file of a result folder (indented, UTF-8)."""
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def known_kinds(path: Path) -> dict[int, str] | None:
    """Return the kinds of an earlier chondrules.csv by id."""
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    return {int(number): str(kind) for number, kind in zip(table["id"], table["kind"], strict=True)}


def keep_textures(before: Path, after: Path) -> None:
    """Copy the columns of textures from an earlier chondrules.csv into one that was made again, by id."""
    old, new = pd.read_csv(before), pd.read_csv(after)
    columns = ["id", *(name for name in TEXTURE_COLUMNS if name in old)]
    table = new.merge(old[columns], on="id", how="left")
    table.to_csv(after, index=False)
    chondrule_counts(table).to_csv(after.with_name(COUNTS_CSV), index=False)


def has_textures(folder: Path) -> bool:
    """Tell whether chondrules.csv of a result folder holds textures."""
    path = folder / CHONDRULES_CSV
    return path.is_file() and TEXTURE_COLUMNS[0] in pd.read_csv(path, nrows=0)


def result_folders(path: Path) -> list[Path]:
    """Return `path` if it is the result folder of a section, else those result folders that it holds.

    Raises
    ------
    InputError : no folder, or none of its folders holds label images or a modal table.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}: give the result folder, OUT/<name>, that meteoseg segment wrote.")
    folders = [path, *sorted(child for child in path.iterdir() if child.is_dir() and child.name[0] != ".")]
    names = (*LABEL_FILES.values(), RUN_JSON)
    found = [folder for folder in folders if any((folder / name).is_file() for name in names)]
    if not found:
        raise InputError(
            f"{path} holds no results of meteoseg segment (such as {LABEL_FILES['phases']}): give the folder "
            "OUT/<name> that it wrote, or OUT."
        )
    return [path] if path in found else found


def open_result(folder: Path, *, pixel_size_um: float | None = None) -> LabelLayers:
    """Open the label images of a result folder.

    Raises
    ------
    InputError : there are none.
    PixelSizeError : neither run.json, the files nor `pixel_size_um` state a pixel size.
    """
    files = {layer: folder / LABEL_FILES[layer] for layer in LAYERS if (folder / LABEL_FILES[layer]).is_file()}
    if not files:
        raise InputError(f"{folder} holds neither {LABEL_FILES['phases']} nor {LABEL_FILES['components']}.")
    legends = {layer: default_legend(layer) for layer in LAYERS}
    if (folder / LEGEND_CSV).is_file():
        legends |= read_legend_csv(folder / LEGEND_CSV)
    noted = read_run(folder).get("section", {}).get("pixel_size_um")
    return _open(files, legends, pixel_size_um, noted)


def read_run(folder: Path) -> dict[str, Any]:
    """Return the content of run.json of a result folder; empty where there is none.

    Raises
    ------
    InputError : it is no JSON.
    """
    path = folder / RUN_JSON
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}): put it back as meteoseg segment wrote it.") from error


def _open(
    files: Mapping[str, Path],
    legends: Mapping[str, Legend],
    pixel_size_um: float | None,
    noted_um: Sequence[float] | None = None,
) -> LabelLayers:
    """Open label images; `noted_um` wins over what they state: programs that edit pictures write sizes of their own."""
    opened = {layer: open_labels(path) for layer, path in files.items()}
    stated = next((size for _, size in opened.values() if size is not None), None)
    if noted_um is not None:
        stated = (float(noted_um[0]), float(noted_um[1]))
    size = (pixel_size_um, pixel_size_um) if pixel_size_um is not None else stated
    if size is None:
        raise PixelSizeError(
            f"Pixel size of {listed(files.values())} is unknown: give it in micrometres with --pixel-size UM."
        )
    return LabelLayers({layer: plane for layer, (plane, _) in opened.items()}, legends, size)


def listed(paths: Iterable[Path]) -> str:
    """Return paths in words, for messages."""
    return ", ".join(str(path) for path in paths)


def open_label_file(path: Path, layer: str | None, pixel_size_um: float | None) -> LabelLayers:
    """Open one label file with the legend beside it, or the shipped one."""
    beside = path.parent / LEGEND_CSV
    legends = read_legend_csv(beside) if beside.is_file() else {name: default_legend(name) for name in LAYERS}
    chosen = layer or next((name for name in LAYERS if name.rstrip("s") in path.name.lower()), None)
    if chosen is None and len(legends) == 1:
        chosen = next(iter(legends))
    if chosen is None or chosen not in legends:
        raise InputError(f"{path} does not say what it shows: add --layer phases or --layer components.")
    return _open({chosen: path}, legends, pixel_size_um)


def join_by_name(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Join tables by (section, region), with a column for each of the two where there are several tables."""
    if len(tables) == 1:
        return next(iter(tables.values()))
    return pd.concat([labelled(table, key) for key, table in tables.items()], ignore_index=True)


def labelled(table: pd.DataFrame, key: tuple[str, str]) -> pd.DataFrame:
    """Return a table with the columns `section` and `region` first, as far as `key` names them."""
    section, region = key
    table = table.copy()
    if region:
        table.insert(0, "region", region)
    if section:
        table.insert(0, "section", section)
    return table


def read_roi(path: Path) -> NDArray[np.bool_]:
    """Read a region of interest: an image that is not 0 inside."""
    return np.asarray(read_labels(path) != 0)


@dataclass(frozen=True)
class Answers:
    """Classifications by name, the groups that a table made by hand states, and whether it was one."""

    found: Mapping[str, Classification]
    stated: Mapping[str, str]
    handmade: bool

    @property
    def table(self) -> pd.DataFrame:
        """One row per section, or for a table made by hand a row per meteorite and group."""
        return ranked_table(self.found) if self.handmade else classification_table(self.found)


def classify_again(path: Path, *, prior: str = "equal", is_fall: bool = False) -> Answers:
    """Classify result folders or a table again.

    Raises
    ------
    InputError, UnknownNameError : see `meteoseg.classify.classify_table`.
    """
    if path.is_dir():
        folders = result_folders(path)
        return Answers({f.name: classify_folder(f, prior=prior, is_fall=is_fall) for f in folders}, {}, False)
    table = _read_csv(path)
    handmade = looks_handmade(table)
    stated = {name: row.stated_group for name, row in read_hand_table(table).items()} if handmade else {}
    found = classify_table(table, prior=prior, is_fall=is_fall)
    return Answers({name or path.stem: answer for name, answer in found.items()}, stated, handmade)


def classify_folder(folder: Path, *, prior: str = "equal", is_fall: bool = False) -> Classification:
    """Classify a result folder from its tables and what run.json says about its channels."""
    modes = _read_csv(folder / MODES_CSV)
    chondrules = _read_csv(folder / CHONDRULES_CSV) if (folder / CHONDRULES_CSV).is_file() else None
    chemistry = _read_csv(folder / CHEMISTRY_CSV) if (folder / CHEMISTRY_CSV).is_file() else None
    facts = read_run(folder).get("section", {})
    return classify_tables(
        modes, chondrules, facts, chemistry=chemistry, textures=texture_tables(folder), prior=prior, is_fall=is_fall
    )


def texture_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return those of feldspar.csv and delineation.csv that a result folder holds, by file name."""
    return {name: _read_csv(folder / name) for name in (FELDSPAR_CSV, DELINEATION_CSV) if (folder / name).is_file()}


def classify_tables(
    modes: pd.DataFrame,
    chondrules: pd.DataFrame | None,
    facts: Mapping[str, Any],
    *,
    chemistry: pd.DataFrame | None = None,
    textures: Mapping[str, pd.DataFrame] | None = None,
    prior: str = "equal",
    is_fall: bool = False,
) -> Classification:
    """Classify a section from its tables and the facts of its maps (``section`` of run.json).

    `chemistry` is in the format of ``chemistry.csv``; None where the maps gave no compositions. `textures` are what
    `texture_tables` returns. Facts that say ``fall`` are as good as `is_fall`.
    """
    channels = facts.get("channels")
    names = None if channels is None else [channel["name"] for channel in channels]
    compositions, notes = ({}, ()) if chemistry is None else chemistry_evidence(chemistry)
    of_type, type_notes = _type_evidence(textures or {}, names)
    measured = measurements_from_tables(
        modes,
        chondrules,
        chemistry={**compositions, **of_type},
        pixel_size_error_pct=facts.get("pixel_size_error_pct"),
        channels=names,
        calibrated=bool(facts.get("calibrated", False)),
        is_fall=is_fall or bool(facts.get("fall", False)),
    )
    return classify(replace(measured, notes=(*measured.notes, *notes, *type_notes)), prior=prior)


def _type_evidence(
    tables: Mapping[str, pd.DataFrame], channels: Sequence[str] | None
) -> tuple[dict[str, Measured], list[str]]:
    found: dict[str, Measured] = {}
    notes: list[str] = []
    if FELDSPAR_CSV in tables:
        found, remarks = feldspar_evidence(tables[FELDSPAR_CSV], channels)
        notes += remarks
    if DELINEATION_CSV in tables:
        more, remarks = delineation_evidence(tables[DELINEATION_CSV])
        found, notes = found | more, [*notes, *remarks]
    return found, notes


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a result folder or a table.")
    wrong = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, pd.errors.ParserWarning)
    try:
        with warnings.catch_warnings():
            # Without index_col a row with a cell too many would be read one column off.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False)
    except wrong as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{path} is not a table ({reason}): save it as CSV, with one line of headers and as many cells in each row."
        ) from error
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        raise InputError(f"{path} has semicolons between its cells: save it as CSV with commas.")
    return table


def join_tables(folders: Iterable[tuple[str, Path]]) -> pd.DataFrame:
    """Join the modal tables of sections, with a `section` column first."""
    parts = [labelled(_read_csv(folder / MODES_CSV), (name, "")) for name, folder in folders]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["section", *MODES_COLUMNS])
