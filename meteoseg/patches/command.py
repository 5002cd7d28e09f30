"""What the command line does with patches: train by task, label images or the objects of results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from meteoseg.errors import InputError, OutputExistsError
from meteoseg.patches.card import TASK
from meteoseg.patches.config import read_patch_config, task_of
from meteoseg.patches.dataset import TABLE, PatchSet, read_patch_set
from meteoseg.patches.model import PatchModel, classify_patches, load_patch_model
from meteoseg.patches.scores import confusion_matrix, f1_scores
from meteoseg.patches.split import class_indices
from meteoseg.patches.textures import classify_results
from meteoseg.patches.training import CONFUSION, train_patches
from meteoseg.runs.output import complete_or_absent
from meteoseg.runs.provenance import Steps, environment, now, sha256_of
from meteoseg.tables.measure import LABEL_FILES, RUN_JSON, write_json
from meteoseg.train import read_config, train


def train_from(config: Path, out: Path) -> Path:
    """Train what a configuration asks for: a network for patches with ``task = "patches"``, else a segmentation."""
    if task_of(config) == TASK:
        return train_patches(read_patch_config(config), out)
    return train(read_config(config), out)


def classify_path(
    path: Path,
    *,
    model: str,
    out: Path | None = None,
    maps: Path | None = None,
    top: int = 3,
    min_probability: float | None = None,
    overwrite: bool = False,
) -> str:
    """Label the objects of result folders in place, or images into a folder; return what to tell the user.

    Raises
    ------
    InputError : neither of them, or options that do not go with what was given.
    """
    steps = Steps(show=True)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a folder of images, a table of them, or a result folder.")
    if is_result(path):
        if out is not None:
            raise InputError(f"{path} is a result folder and gets its labels in place: leave -o out.")
        loaded = load_patch_model(model)
        counts = classify_results(
            path, loaded, maps=maps, top=top, min_probability=min_probability, progress=steps.tiles
        )
        return "\n\n".join(f"{name}\n{_text(table)}" for name, table in counts.items())
    if maps is not None:
        raise InputError("--maps goes with a result folder of meteoseg segment.")
    if out is None:
        raise InputError(f"{path} is no result folder: say with -o OUT where the labels of its images go.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise OutputExistsError(f"{out} exists and is not empty: use --overwrite, or another -o.")
    patches = read_patch_set(path)
    loaded = load_patch_model(model)
    table = classify_patches(loaded, patches, top=top, min_probability=min_probability, progress=steps.tiles)
    with complete_or_absent(out) as folder:
        table.to_csv(folder / TABLE, index=False)
        remarks = _score(table, patches, loaded, folder)
        write_json(folder / RUN_JSON, _provenance(path, loaded, len(table), min_probability))
    counted = table["label"].value_counts().rename_axis("label").reset_index(name="n")
    return "\n".join([_text(counted), *remarks, f"wrote {out / TABLE}"])


def is_result(path: Path) -> bool:
    """Tell whether a folder is a result folder of ``meteoseg segment``, or holds some."""
    if not path.is_dir():
        return False
    folders = [path, *(child for child in path.iterdir() if child.is_dir())]
    return any((folder / LABEL_FILES["chondrules"]).is_file() for folder in folders)


def _score(table: pd.DataFrame, patches: PatchSet, model: PatchModel, folder: Path) -> list[str]:
    """Compare with the labels that the images have, if any; write confusion.csv with a column for unclassified."""
    classes = model.card.classes
    new = sorted({str(label) for label in patches.labels} - {"", *classes})
    remarks = [f"Label '{name}' is none that the model knows: its images are labelled but not scored." for name in new]
    known = pd.Series(patches.labels).isin(classes).to_numpy(bool)
    if not known.any():
        return remarks
    part = patches.subset(known)
    truth = class_indices(part, classes)
    number = {name: index for index, name in enumerate(classes)}
    best = np.array([number[name] for name in table.loc[known, "class_1"]], np.int64)
    confusion = confusion_matrix(truth, best, len(classes))
    pd.crosstab(pd.Series(part.labels, name="truth"), table.loc[known, "label"].to_numpy()).to_csv(folder / CONFUSION)
    f1 = f1_scores(confusion)
    mean = float(f1[f1 == f1].mean())
    accuracy = float((best == truth).mean())
    return [*remarks, f"accuracy {accuracy:.4f}, macro F1 {mean:.4f} of {len(truth)} labelled images"]


def _provenance(path: Path, model: PatchModel, n_images: int, min_probability: float | None) -> dict[str, object]:
    tables = [path] if path.is_file() else [*sorted(path.glob("*.npz")), path / TABLE]
    card = model.card
    return {
        "when": now(),
        "images": str(path),
        "n_images": n_images,
        "inputs": [{"file": str(file), "sha256": sha256_of(file)} for file in tables if file.is_file()],
        "model": {"name": card.name, "file": str(model.file.path), "sha256": model.sha256},
        "temperature": card.temperature,
        "min_probability": card.min_probability if min_probability is None else min_probability,
        "environment": environment(),
    }


def _text(table: pd.DataFrame) -> str:
    return str(table.to_string(index=False, na_rep="-"))
