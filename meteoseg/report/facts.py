"""The few facts that tables, figures and the page all state, read once from the contract's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from meteoseg.errors import InputError
from meteoseg.legend import HOLE, OUTSIDE
from meteoseg.objects import size_summary

CHONDRULE_KIND = "chondrule"


@dataclass(frozen=True)
class Evidence:
    """One measured quantity that went into the group suggestion; numbers are None where not known.

    `log_weight` is its share of the natural log-likelihood of the first group, relative to not knowing it.
    """

    quantity: str
    value: float | None
    sd: float | None
    unit: str
    best_groups: tuple[str, ...]
    note: str
    log_weight: float | None = None

    @property
    def verdict(self) -> str:
        """How much it speaks for the first group: strongly from a likelihood ratio of 10, neutral under 2."""
        if self.log_weight is None:
            return ""
        strength = "strongly " if abs(self.log_weight) >= math.log(10) else ""
        if abs(self.log_weight) < math.log(2):
            return "neutral"
        return f"{strength}{'for' if self.log_weight > 0 else 'against'}"

    @property
    def measured(self) -> str:
        """Value, standard deviation and unit in words, e.g. ``63.0 ± 4.0 vol%``."""
        if self.value is None:
            return "not measured"
        if not self.sd:
            return f"{significant(self.value)} {self.unit}".rstrip()
        decimals = max(0, 1 - math.floor(math.log10(self.sd)))
        return f"{self.value:.{decimals}f} ± {self.sd:.{decimals}f} {self.unit}".rstrip()


@dataclass(frozen=True)
class Reasons:
    """What speaks for and against one group, in words, the weightiest first."""

    group: str
    probability: float
    for_: tuple[str, ...]
    against: tuple[str, ...]


#: Of how many groups the reasons are shown, and from which probability on.
REASONS_SHOWN, REASONS_FROM = 3, 0.05
NO_GROUP = "none"
_OPEN_ANSWERS = ("not enough evidence",)


@dataclass(frozen=True)
class Suggestion:
    """A chondrite group suggestion as read from ``classification.json``; `groups` best first.

    Examples
    --------
    >>> groups = [{"group": "L", "probability": 0.2}, {"group": "LL", "probability": 0.8}]
    >>> suggestion = Suggestion.from_dict({"class": "ordinary", "groups": groups})
    >>> suggestion.headline, suggestion.best
    ('LL', ('LL', 0.8))
    """

    class_: str
    groups: tuple[tuple[str, float], ...]
    class_probabilities: tuple[tuple[str, float], ...]
    suggestion: str
    type: str
    weathering: str
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    reasons: tuple[Reasons, ...] = ()
    next_steps: tuple[str, ...] = ()
    type_words: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, classification: Mapping[str, Any]) -> Suggestion:
        """Read the dictionary of ``classification.json``.

        Raises
        ------
        InputError : the keys ``class`` and ``groups`` are not both there.
        """
        if not {"class", "groups"} <= set(classification):
            raise InputError(
                f"A classification needs the keys class and groups, this one has {sorted(classification)}: "
                "make it again with meteoseg classify."
            )
        rows = [row for row in classification["groups"] if number(row["probability"]) is not None]
        groups = [(str(row["group"]), float(row["probability"])) for row in rows]
        classes = classification.get("class_probabilities", {})
        return cls(
            str(classification["class"]),
            tuple(sorted(groups, key=lambda pair: -pair[1])),
            tuple((str(name), float(p)) for name, p in classes.items()),
            _text(classification.get("suggestion")),
            _text(classification.get("type")),
            _text(classification.get("weathering")),
            _ranked_evidence(classification),
            tuple(str(note) for note in classification.get("notes", ())),
            tuple(_reasons(rows)),
            tuple(str(step["text"]) for step in classification.get("next_measurement", ())),
            tuple(str(item["text"]) for item in classification.get("type_evidence", ())),
        )

    @property
    def best(self) -> tuple[str, float] | None:
        """The most probable group and its probability, or None where no group was compared."""
        return self.groups[0] if self.groups else None

    @property
    def tells_apart(self) -> bool:
        """Whether the groups differ in probability by more than their prior does: something was measured."""
        return bool(self.groups) and any(item.value is not None for item in self.evidence)

    @property
    def headline(self) -> str:
        """The answer in a few words: a group, a pair of neighbours, that none fits, or that it is open."""
        if self.suggestion in _OPEN_ANSWERS:
            return self.suggestion
        if self.is_none:
            return "none of these groups"
        if self.class_ == "none" or self.best is None:
            return "no group suggested"
        return self.suggestion or self.best[0]

    @property
    def is_none(self) -> bool:
        """Whether the answer is that none of the chondrite groups fits."""
        return self.suggestion == NO_GROUP and self.best is not None and self.best[0] == NO_GROUP

    @property
    def named_groups(self) -> tuple[str, ...]:
        """The groups that the suggestion names: one, or two neighbours."""
        if self.is_none:
            return (NO_GROUP,)
        known = {name for name, _ in self.groups}
        return tuple(part for part in self.headline.split("/") if part in known)

    @property
    def probability(self) -> float | None:
        """Probability of what the headline says: of the named groups together, or else of the class, if any."""
        if self.named_groups:
            return sum(p for name, p in self.groups if name in self.named_groups)
        return None if self.class_ == "none" else dict(self.class_probabilities).get(self.class_)


@dataclass(frozen=True)
class SizeSummary:
    """Number of objects, and in-plane diameters (um) of intact, uncut chondrules above a cut-off."""

    n_objects: int
    diameters_um: tuple[float, ...]
    cut_off_um: float | None
    mean_um: float | None
    median_um: float | None

    @classmethod
    def of(cls, objects: pd.DataFrame) -> SizeSummary:
        """Summarise a table in the format of ``chondrules.csv`` (see `meteoseg.objects.size_summary`)."""
        numbers = size_summary(objects)
        whole = (objects["kind"] == CHONDRULE_KIND) & ~objects["touches_edge"].astype(bool)
        diameters = np.sort(objects.loc[whole, "equivalent_diameter_um"].to_numpy(float))[::-1]
        kept = tuple(float(d) for d in diameters[: int(numbers["n_intact_uncut"] or 0)])
        return cls(len(objects), kept, numbers["cut_off_um"], numbers["mean_um"], numbers["median_um"])

    @property
    def n_intact(self) -> int:
        """How many chondrules the mean is of."""
        return len(self.diameters_um)


def mapped_area_mm2(modes: pd.DataFrame) -> float:
    """Return the solid area of the section (mm2, without holes) from a table like ``modes.csv``.

    The layer with the larger one counts, as in the group suggestion.
    """
    solid = modes[~modes["name"].isin([HOLE, OUTSIDE])]
    return float(solid.groupby("layer")["area_um2"].sum().max()) / 1e6 if len(solid) else 0.0


def layer_rows(modes: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the rows of one layer: classes by falling area, then hole and outside (no per cent)."""
    rows = modes[modes["layer"] == layer]
    apart = rows["name"].isin([HOLE, OUTSIDE])
    ranked = rows[~apart].sort_values("area_pct", ascending=False, kind="stable")
    return pd.concat([ranked, rows[apart & (rows["area_px"] > 0)].sort_values("name")])


def number(value: Any) -> float | None:
    """Return a finite float, or None for what is empty, NaN or infinite.

    Examples
    --------
    >>> number(3), number(float("nan")), number(None)
    (3.0, None, None)
    """
    if value is None or value is pd.NA or value == "":
        return None
    result = float(value)
    return result if math.isfinite(result) else None


def significant(value: float, digits: int = 3) -> str:
    """Format to `digits` significant figures without exponents.

    Examples
    --------
    >>> significant(0.045678), significant(63.04), significant(1234.5)
    ('0.0457', '63.0', '1234')
    """
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def length_text(length_um: float) -> str:
    """Format a length with the unit that suits it.

    Examples
    --------
    >>> length_text(500), length_text(2000), length_text(0.5)
    ('500 µm', '2 mm', '0.5 µm')
    """
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"


def _text(value: Any) -> str:
    """Read an optional answer: a word, or a mapping whose entries are joined."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {entry}" for key, entry in value.items() if entry not in (None, ""))
    return str(value)


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[Reasons]:
    ranked = sorted(rows, key=lambda row: -float(row["probability"]))[:REASONS_SHOWN]
    found = [
        Reasons(str(row["group"]), float(row["probability"]), tuple(row.get("for", ())), tuple(row.get("against", ())))
        for row in ranked
        if float(row["probability"]) >= REASONS_FROM
    ]
    return [item for item in found if item.for_ or item.against]


def _ranked_evidence(classification: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """Read the evidence, what weighs most for or against the first group first."""
    groups = sorted(classification["groups"], key=lambda row: -(number(row["probability"]) or 0.0))
    weights = groups[0].get("evidence", {}) if groups else {}
    items = [_evidence(row, number(weights.get(row["property"]))) for row in classification.get("evidence", ())]
    return tuple(sorted(items, key=lambda item: (item.value is None, -abs(item.log_weight or 0.0))))


def _evidence(row: Mapping[str, Any], log_weight: float | None) -> Evidence:
    return Evidence(
        str(row["property"]),
        number(row.get("value")),
        number(row.get("sd")),
        str(row.get("unit") or ""),
        tuple(str(name) for name in row.get("best_groups", ())),
        str(row.get("note") or ""),
        log_weight,
    )
