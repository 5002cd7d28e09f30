"""Score the files of a result against those of a truth: what `meteoseg evaluate` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.evaluation.scores import (
    Rules,
    evaluate_components,
    evaluate_objects,
    evaluate_phases,
    matrix_of,
    object_table,
)
from meteoseg.io import read_labels
from meteoseg.legend import OUTSIDE, default_legend
from meteoseg.tables.labeltables import read_kinds
from meteoseg.tables.measure import LABEL_FILES, PROBABILITY_FILES, read_roi

KINDS = ("phases", "components", "objects")


@dataclass(frozen=True)
class Ignored:
    """Truth objects that count neither way, and the kinds of all (empty where no table was given)."""

    ids: tuple[int, ...] = ()
    kinds: Mapping[int, str] | None = None


def read_ignored(text: str | None, kinds: Sequence[str] = ()) -> Ignored:
    """Understand which truth objects are to be ignored.

    Parameters
    ----------
    text : ids (``3,17``), or a CSV with the columns ``label`` (or ``id``) and ``kind``.
    kinds : kinds of that table that are ignored.

    Raises
    ------
    InputError : a table without kinds to ignore, kinds without a table, a file that is no such table, or labels in
        it that are missing, given twice or no whole numbers.
    UnknownNameError : a kind that the table does not hold.

    Examples
    --------
    >>> read_ignored("3,17").ids
    (3, 17)
    """
    if text is None or all(part.strip().isdecimal() for part in text.split(",")):
        if kinds:
            raise InputError("--ignore-kind needs the kinds of the objects: add --ignore KINDS.csv (label,kind).")
        return Ignored(tuple(int(part) for part in text.split(",")) if text else ())
    path = Path(text)
    if not path.is_file():
        raise InputError(f"--ignore '{text}' is neither a file nor a list of ids: give KINDS.csv, or ids like 3,17.")
    of_object = read_kinds(path)
    known = sorted(set(of_object.values()))
    if not kinds:
        raise InputError(f"--ignore {path.name} alone ignores nothing: add --ignore-kind KIND ({', '.join(known)}).")
    for kind in kinds:
        if kind not in known:
            raise UnknownNameError.of(f"kind of {path.name}", kind, known)
    return Ignored(tuple(number for number, kind in of_object.items() if kind in kinds), of_object)


@dataclass(frozen=True)
class Evaluation:
    """Scores (class, metric, value) and, for objects, the table of `object_table`."""

    scores: pd.DataFrame
    objects: pd.DataFrame | None = None


def evaluate_files(
    pred: Path,
    truth: Path,
    *,
    kind: str,
    ignored: Ignored | None = None,
    boundary_px: int = 1,
    inside: Path | None = None,
    min_area_pct: float = 0.0,
    merge: Sequence[str] = (),
) -> Evaluation:
    """Score label files, or the label files of result and truth folders.

    Parameters
    ----------
    pred, truth : a label file, a result folder, or a training example (its ``truth``). With `kind` ``objects`` the
        matrix is ``matrix`` and ``rim`` of the components beside the predicted objects, else what is in no object; the
        true matrix likewise where both folders hold components.
    kind : ``phases``, ``components`` or ``objects``.
    inside : image that is not 0 in the section. Without it and for objects, the components of a truth folder say
        what is section.
    merge : groups of classes, names separated by commas.

    Raises
    ------
    InputError : a file that is missing, or options that do not go with `kind`.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("kind", kind, KINDS)
    if kind == "objects" and (min_area_pct or merge):
        raise InputError("--min-area-pct and --merge are for classes: use them with --kind phases or components.")
    if kind != "objects" and ignored is not None and ignored.ids:
        raise InputError("--ignore is for objects: use it with --kind objects.")
    section = read_roi(inside) if inside is not None else None
    groups = [[name.strip() for name in group.split(",")] for group in merge]
    ignored = ignored or Ignored()
    rules = Rules(boundary_px, section, min_area_pct, groups, ignored.ids)
    if kind == "objects":
        return _evaluate_object_files(pred, truth, rules, ignored)
    evaluate: Callable[..., pd.DataFrame] = evaluate_phases if kind == "phases" else evaluate_components
    found, known = (read_labels(label_file(path, kind)) for path in (pred, truth))
    probability = _probability(pred, kind)
    return Evaluation(evaluate(found, known, rules=rules, probability=probability))


def _evaluate_object_files(pred: Path, truth: Path, rules: Rules, ignored: Ignored) -> Evaluation:
    found, known = (read_labels(label_file(path, "chondrules")) for path in (pred, truth))
    components, true_components = (_components_beside(path) for path in (pred, truth))
    matrix = None if components is None else matrix_of(components)
    # Without components the prediction's matrix is what lies in no object; the truth's must then be the same.
    true_matrix = None if matrix is None or true_components is None else matrix_of(true_components)
    if rules.inside is None and true_components is not None:
        rules = replace(rules, inside=true_components != default_legend("components")[OUTSIDE].id)
    scores, match = evaluate_objects(found, known, rules=rules, matrix=matrix, true_matrix=true_matrix)
    found, known = (np.where(rules.where(known), labels, 0) for labels in (found, known))
    return Evaluation(scores, object_table(found, known, match, kinds=ignored.kinds))


def _components_beside(path: Path) -> NDArray[Any] | None:
    """Read the components that a folder holds beside its objects; None for a label file or where there are none."""
    if not path.is_dir():
        return None
    file = label_file(path, "chondrules").with_name(LABEL_FILES["components"])
    return read_labels(file) if file.is_file() else None


def _probability(path: Path, layer: str) -> NDArray[np.float64] | None:
    """Read the probabilities that `segment --probabilities` wrote beside the labels of a folder, as 0-1."""
    if not path.is_dir():
        return None
    file = label_file(path, layer).with_name(PROBABILITY_FILES[layer])
    return read_labels(file) / 100.0 if file.is_file() else None


def label_file(path: Path, layer: str) -> Path:
    """Return the label file of `layer` that a file or folder stands for.

    Raises
    ------
    InputError : a folder holds none or several.
    """
    if not path.is_dir():
        return path
    inside = [folder / LABEL_FILES[layer] for folder in (path, path / "truth")]
    inside += [child / LABEL_FILES[layer] for child in sorted(path.iterdir()) if child.is_dir()]
    files = list(dict.fromkeys(file for file in inside if file.is_file()))
    if len(files) != 1:
        state = "no" if not files else f"{len(files)} times a"
        raise InputError(f"{path} holds {state} {LABEL_FILES[layer]}: name the file or its folder.")
    return files[0]
