"""Textures of the chondrules of a result folder: labels in its table of objects, counts, types I and II."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg._version import __version__
from meteoseg.chondrules.counts import chondrule_counts, wilson
from meteoseg.chondrules.tables import COUNTS_CSV
from meteoseg.chondrules.types import chondrule_types
from meteoseg.errors import InputError
from meteoseg.io import read_labels
from meteoseg.labels.certainty import mean_shares
from meteoseg.objects import iter_object_windows
from meteoseg.patches.card import UNCLASSIFIED, PatchCard
from meteoseg.patches.dataset import TABLE
from meteoseg.patches.model import PatchModel, label_table, load_patch_model, network_logits
from meteoseg.patches.objects import object_crops
from meteoseg.report.chondrulepart import renew_chondrule_part
from meteoseg.runs.output import whole_file
from meteoseg.runs.provenance import now
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Section
from meteoseg.tables.measure import (
    CHEMISTRY_CSV,
    CHONDRULES_CSV,
    GRAINS_CSV,
    LABEL_FILES,
    REPORT_HTML,
    RUN_JSON,
    TEXTURE_COLUMNS,
    TEXTURES_CSV,
    read_run,
    result_folders,
    write_json,
)

#: Columns of textures.csv.
COUNT_COLUMNS = ("texture", "n", "pct", "ci_low_pct", "ci_high_pct", "n_type_I", "n_type_II")


def classify_results(
    path: Path,
    model: PatchModel,
    *,
    maps: Path | None = None,
    top: int = 3,
    min_probability: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Label the chondrules of a result folder, or of all that a folder holds; see `classify_result`.

    With several, ``textures.csv`` of all sections is written beside them.

    Returns
    -------
    The counts of each section by name.

    Raises
    ------
    InputError : maps that cannot be opened again, no chondrules, or `maps` with several result folders.
    """
    folders = result_folders(path)
    if maps is not None and len(folders) > 1:
        raise InputError("--maps goes with one result folder.")
    options: dict[str, Any] = {"maps": maps, "top": top, "min_probability": min_probability, "progress": progress}
    counts = {folder.name: classify_result(folder, model, **options) for folder in folders}
    if path not in folders:
        parts = [table.assign(section=name) for name, table in counts.items()]
        joined = pd.concat(parts, ignore_index=True)[["section", *COUNT_COLUMNS]]
        joined.to_csv(path / TEXTURES_CSV, index=False)
    return counts


def classify_result(
    folder: Path,
    model: PatchModel,
    *,
    maps: Path | None = None,
    top: int = 3,
    min_probability: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Label the chondrules of one result folder.

    Written are the columns of `TEXTURE_COLUMNS` into chondrules.csv, the best classes of each object into patches.csv,
    their counts into textures.csv, and the model into run.json.

    Parameters
    ----------
    maps : folder in which the maps lie now; None: where they were.

    Returns
    -------
    The counts, see `count_textures`.

    Raises
    ------
    InputError : maps that cannot be opened again, or no chondrules.
    """
    chondrules, labels = folder / CHONDRULES_CSV, folder / LABEL_FILES["chondrules"]
    for needed in (chondrules, labels, folder / RUN_JSON):
        if not needed.is_file():
            raise InputError(f"{needed} does not exist: give a result folder that meteoseg segment wrote.")
    run = read_run(folder)
    try:
        section = reopen_section(run, maps)
    except InputError as error:
        raise InputError(
            f"Textures need the maps of {folder}, and {error}: say where they lie with --maps DIR, or segment again."
        ) from error
    counts, facts = write_textures(
        folder, section, read_labels(labels), model, top=top, min_probability=min_probability, progress=progress
    )
    if (folder / REPORT_HTML).is_file():
        chemistry = folder / CHEMISTRY_CSV
        known = pd.read_csv(chemistry) if chemistry.is_file() else pd.DataFrame()
        renew_chondrule_part(folder / REPORT_HTML, pd.read_csv(chondrules), known)
    write_json(folder / RUN_JSON, run | {"textures": facts})
    return counts


def write_textures(
    folder: Path,
    section: Section,
    labels: NDArray[Any],
    model: PatchModel,
    *,
    top: int = 3,
    min_probability: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Label the objects (H, W) of a folder with chondrules.csv, and write its tables of textures.

    Returns
    -------
    The counts, see `count_textures`, and what run.json says of the model.
    """
    found = classify_objects(section, labels, model, top=top, min_probability=min_probability, progress=progress)
    table = with_textures(pd.read_csv(folder / CHONDRULES_CSV), found, types_of(folder))
    counts = count_textures(table, model.card.classes)
    _replace(found.rename(columns={"label": "texture"}), folder / TABLE)
    _replace(counts, folder / TEXTURES_CSV)
    _replace(chondrule_counts(table), folder / COUNTS_CSV)
    _replace(table, folder / CHONDRULES_CSV)
    return counts, _facts(model, min_probability)


def classify_objects(
    section: Section,
    labels: NDArray[Any],
    model: PatchModel,
    *,
    top: int = 3,
    min_probability: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Label every object of a label image (H, W).

    Returns
    -------
    A row per object by rising id: `id`, then the columns of `model.label_table`. Objects that are too small for the
    network are unclassified, without a probability.
    """
    _check_for_objects(model.card)
    numbers, crop = object_crops(section, labels, model.card.crops)
    size, network = model.batch_size, model.file.network
    logits = network_logits(network, crop, len(numbers), batch_size=size, progress=progress)
    every = np.array([number for number, _ in iter_object_windows(labels)], np.int64)
    shares = np.full((len(every), len(model.card.classes)), np.nan, np.float32)
    shares[np.searchsorted(every, numbers)] = mean_shares([logits], model.card.temperature)
    table = label_table(shares, model.card, top=top, min_probability=min_probability)
    table.insert(0, "id", every)
    return table


def load_texture_model(name_or_path: str | Path) -> PatchModel:
    """Load a model that labels the objects of sections.

    Raises
    ------
    UnknownNameError : no such model.
    InputError : a damaged file, or a model of whole images.
    """
    model = load_patch_model(name_or_path)
    _check_for_objects(model.card)
    return model


def _check_for_objects(card: PatchCard) -> None:
    if card.normalisation != "section":
        raise InputError(
            f"Model '{card.name}' was trained on whole images, not on objects of sections: train one with "
            "[data] sections."
        )


def with_textures(table: pd.DataFrame, found: pd.DataFrame, types: Mapping[int, str] | None) -> pd.DataFrame:
    """Return chondrules.csv with the columns `TEXTURE_COLUMNS` and `type`, in place of earlier ones.

    Parameters
    ----------
    found : as `classify_objects` returns it; types : I or II by object id, None without mineral chemistry.
    """
    table = table.drop(columns=[name for name in TEXTURE_COLUMNS if name in table])
    table["type"] = [(types or {}).get(int(number), "") for number in table["id"]]
    by_id = found.set_index("id")
    label = table["id"].map(by_id["label"]).fillna(UNCLASSIFIED)
    return table.assign(texture=label, texture_probability=table["id"].map(by_id["probability"]))


def types_of(folder: Path) -> dict[int, str] | None:
    """Return type I or II of the chondrules of a result folder; None where none are told, see `chondrule_types`."""
    tables = [pd.read_csv(folder / name) if (folder / name).is_file() else None for name in (GRAINS_CSV, CHEMISTRY_CSV)]
    return chondrule_types(*tables)


def count_textures(chondrules: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Count chondrules by texture.

    Returns
    -------
    Columns `COUNT_COLUMNS`, a row per class, most frequent first, and one of the unclassified. `pct` is of those with a
    class, its 95 % interval after Wilson (1927, doi 10.1080/01621459.1927.10502953). Where no type is told, none is
    counted.

    Examples
    --------
    >>> table = pd.DataFrame({"texture": ["a", "a", "b", "unclassified"], "type": ["I", "II", "", ""]})
    >>> count_textures(table, ["a", "b"])[["texture", "n", "pct", "n_type_I"]].values.tolist()
    [['a', 2, 66.67, 1], ['b', 1, 33.33, 0], ['unclassified', 1, nan, 0]]
    """
    n_classified = int((chondrules["texture"] != UNCLASSIFIED).sum())
    told = chondrules["type"].isin(["I", "II"]).any()
    rows = []
    for name in [*classes, UNCLASSIFIED]:
        own = chondrules[chondrules["texture"] == name]
        low, high = wilson(len(own), n_classified) if name != UNCLASSIFIED else (np.nan, np.nan)
        pct = 100 * len(own) / n_classified if n_classified and name != UNCLASSIFIED else np.nan
        n_types = [int((own["type"] == kind).sum()) if told else pd.NA for kind in ("I", "II")]
        rows.append((name, len(own), round(pct, 2), round(low, 2), round(high, 2), *n_types))
    table = pd.DataFrame(rows, columns=list(COUNT_COLUMNS))
    known, rest = table.iloc[:-1], table.iloc[-1:]
    return pd.concat([known.sort_values("n", ascending=False, kind="stable"), rest], ignore_index=True)


def _replace(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as part:
        table.to_csv(part, index=False)


def _facts(model: PatchModel, min_probability: float | None) -> dict[str, Any]:
    card = model.card
    return {
        "when": now(),
        "meteoseg": __version__,
        "model": card.name,
        "model_sha256": model.sha256,
        "temperature": card.temperature,
        "min_probability": card.min_probability if min_probability is None else min_probability,
        "min_diameter_px": card.min_diameter_px,
        "device": str(next(model.file.network.parameters()).device),
    }
