"""Classify tables, and write the answers as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from meteoseg.classify.groups import groups
from meteoseg.classify.handtable import looks_handmade, read_hand_table
from meteoseg.classify.measurements import Measured, measurements_from_tables
from meteoseg.classify.suggestion import NOT_ENOUGH, Classification, classify
from meteoseg.classify.wording import evidence_line

RANKED_COLUMNS = (
    *("name", "rank", "group", "probability", "evidence"),
    *("class", "suggestion", "type", "weathering", "next"),
)
_KEYS = ("meteorite", "section", "region")
#: A partner is tied where it is second with at least this probability.
TIED_PROBABILITY = 0.2


def classify_table(
    table: pd.DataFrame,
    chondrules: pd.DataFrame | None = None,
    *,
    prior: str = "equal",
    channels: Sequence[str] | None = None,
    calibrated: bool = False,
    chemistry: Mapping[str, Measured] | None = None,
    is_fall: bool = False,
) -> dict[str, Classification]:
    """Classify every section of a table.

    Parameters
    ----------
    table : like ``modes.csv`` (with or without the columns ``meteorite``, ``section`` and ``region``), or made by hand
        with one row per meteorite (see `meteoseg.classify.handtable.read_hand_table`).
    chondrules : like ``chondrules.csv``, with those columns where `table` has them.
    channels, calibrated, chemistry : see `measurements_from_tables`; for tables like ``modes.csv`` only.
    is_fall : all of them were seen to fall.

    Returns
    -------
    Classifications by section name; the name of a table without names is empty, or the row number.

    Raises
    ------
    InputError : the table is in neither form, or what a cell holds cannot be.
    UnknownNameError : unknown prior, column or group.

    Examples
    --------
    >>> table = pd.DataFrame({"name": ["A"], "metal_vol_pct": [20.0], "chondrule_mean_diameter_mm": [0.04]})
    >>> classify_table(table)["A"].suggestion
    'CH'
    """
    if looks_handmade(table):
        rows = read_hand_table(table, is_fall=is_fall)
        return {name: classify(row.measurements, prior=prior) for name, row in rows.items()}
    found = {}
    # Chondrules that are not told apart as the modes are (by region) say nothing of a part.
    is_told = chondrules is not None and _keys(chondrules) == _keys(table)
    by_part = dict(_sections(chondrules)) if chondrules is not None and is_told else None
    for name, modes in _sections(table):
        objects = None if by_part is None or chondrules is None else by_part.get(name, chondrules.iloc[:0])
        measured = measurements_from_tables(
            modes, objects, channels=channels, calibrated=calibrated, chemistry=chemistry, is_fall=is_fall
        )
        found[name] = classify(measured, prior=prior)
    return found


def _sections(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the parts of a table by what tells them apart: meteorite, section, region."""
    keys = _keys(table)
    if not keys:
        return [("", table)]
    return [(" ".join(map(str, name)), part) for name, part in table.groupby(keys, sort=False, dropna=False)]


def _keys(table: pd.DataFrame) -> list[str]:
    return [key for key in _KEYS if key in table.columns]


def classification_table(found: Mapping[str, Classification]) -> pd.DataFrame:
    """Return one row per section: class, suggestion, type, weathering, a ``p_`` column per group, notes."""
    rows = []
    for name, result in found.items():
        best = result.groups[0]
        row: dict[str, Any] = {
            "section": name,
            "class": result.class_,
            "suggestion": result.suggestion,
            "best_group": "" if result.is_open else best.group,
            "probability": best.probability,
            "type": result.type,
            "weathering": result.weathering,
        }
        by_name = {score.group: score.probability for score in result.groups}
        rows.append(row | {f"p_{group}": by_name[group] for group in groups()} | {"notes": " ".join(result.notes)})
    return pd.DataFrame(rows)


def ranked_table(found: Mapping[str, Classification]) -> pd.DataFrame:
    """Return a row per meteorite and group, the most probable first; one without numbers where nothing was measured.

    Columns: name, rank (from 1), group (``none``: none of these), probability, evidence (for and against in words),
    and of the whole answer class, suggestion, type, weathering and what to measure next.
    """
    rows = []
    for name, result in found.items():
        whole = {"class": result.class_, "suggestion": result.suggestion, "type": result.type}
        whole |= {"weathering": result.weathering, "next": " ".join(step.text for step in result.next_steps[:1])}
        if result.is_open:
            row = {"name": name, "rank": pd.NA, "group": NOT_ENOUGH, "probability": math.nan}
            rows.append(row | {"evidence": " ".join(result.notes)} | whole)
            continue
        for rank, score in enumerate(result.groups, start=1):
            told = evidence_line(score.for_, score.against)
            row = {"name": name, "rank": rank, "group": score.group, "probability": score.probability}
            rows.append(row | {"evidence": told} | whole)
    return pd.DataFrame(rows, columns=list(RANKED_COLUMNS)).astype({"rank": "Int64"})


def agreement(stated: Mapping[str, str], found: Mapping[str, Classification]) -> dict[str, float]:
    """Compare answers with stated groups.

    Returns
    -------
    ``n``; ``top_1`` and ``top_2``: shares whose stated group is first, or among the first two; ``top_1_or_tied``: is
    first, or second with a probability of at least 0.2; ``log_loss``: mean of -ln of that of the stated group.
    """
    judged = {name: group for name, group in stated.items() if group and not found[name].is_open}
    if not judged:
        return {"n": 0}
    places = [[score.group for score in found[name].groups].index(group) for name, group in judged.items()]
    chances = [found[name].groups[place].probability for name, place in zip(judged, places, strict=True)]
    tied = [place == 1 and chance >= TIED_PROBABILITY for place, chance in zip(places, chances, strict=True)]
    n = len(judged)
    return {
        "n": n,
        "top_1": places.count(0) / n,
        "top_2": sum(place <= 1 for place in places) / n,
        "top_1_or_tied": (places.count(0) + sum(tied)) / n,
        "log_loss": -sum(math.log(max(chance, 1e-12)) for chance in chances) / n,
    }
