"""Suggest a chondrite group, a petrologic type and a weathering grade, with the evidence.

The suggestion is Bayesian: each group has a prior and, for every measured property, a density made from
published low, typical and high values (``meteoseg.classify.groups``). See ``docs/classification.md`` for its limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from meteoseg.classify.groups import Group, groups, log_density, properties, reference, rules
from meteoseg.classify.measurements import EXTRA_UNITS, Measured, Measurements, measurements_from_tables, unit_of
from meteoseg.classify.petrology import original_metal, petrologic_type, weathering_grade
from meteoseg.errors import InputError, UnknownNameError

NO_CLASS = "none"
PRIORS = ("equal", "falls")
_SECTION_COLUMNS = ("section", "name")


@dataclass(frozen=True)
class GroupScore:
    """Posterior of one group.

    `log_likelihood` is natural and relative to the flat background (0: no better than not knowing the group);
    `evidence` gives each property's share of it, positive where the property speaks for the group.
    """

    group: str
    class_: str
    probability: float
    log_likelihood: float
    evidence: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """A measured property, the groups it fits best, and a remark."""

    property: str
    value: float
    sd: float
    unit: str
    best_groups: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Classification:
    """The suggestion: class, ranked groups, type, weathering, evidence and notes.

    `class_` is carbonaceous, ordinary, enstatite, R, K or none; `suggestion` is the answer in words (``H``,
    ``H/L``, ``ordinary, group open`` or ``none``).
    """

    class_: str
    suggestion: str
    groups: tuple[GroupScore, ...]
    class_probabilities: Mapping[str, float]
    type: str
    weathering: str
    evidence: tuple[Evidence, ...]
    prior: str
    notes: tuple[str, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain types for ``classification.json``, floats to six significant digits."""
        scores = [
            {
                "group": score.group,
                "class": score.class_,
                "probability": _rounded(score.probability),
                "log_likelihood": _rounded(score.log_likelihood),
                "evidence": {name: _rounded(value) for name, value in score.evidence.items()},
            }
            for score in self.groups
        ]
        evidence = [
            {
                "property": item.property,
                "value": _rounded(item.value),
                "sd": _rounded(item.sd),
                "unit": item.unit,
                "best_groups": list(item.best_groups),
                "note": item.note,
            }
            for item in self.evidence
        ]
        return {
            "class": self.class_,
            "suggestion": self.suggestion,
            "groups": scores,
            "class_probabilities": {name: _rounded(value) for name, value in self.class_probabilities.items()},
            "type": self.type,
            "weathering": self.weathering,
            "evidence": evidence,
            "prior": self.prior,
            "notes": list(self.notes),
        }


def classify(measurements: Measurements, *, prior: str = "equal") -> Classification:
    """Rank the chondrite groups by their probability given the measurements.

    Parameters
    ----------
    measurements : the evidence; absent properties leave the prior as it is.
    prior : ``equal`` (every group the same) or ``falls`` (by observed falls plus 0.5).

    Raises
    ------
    UnknownNameError : the prior is neither.

    Examples
    --------
    >>> found = classify(Measurements({"metal": Measured(8.0, 0.5), "Fa_olivine": Measured(18.8, 0.3)}))
    >>> found.class_, found.suggestion
    ('ordinary', 'H')
    >>> classify(Measurements({})).suggestion
    'none'
    """
    weights = _prior_weights(prior)
    shares = {name: _group_evidence(group, measurements) for name, group in groups().items()}
    totals = {name: sum(share.values()) for name, share in shares.items()}
    probabilities = _posterior(totals, weights)
    ranked = sorted(groups(), key=lambda name: (-probabilities[name], list(groups()).index(name)))
    scores = tuple(
        GroupScore(name, groups()[name].class_name, probabilities[name], totals[name], shares[name]) for name in ranked
    )
    classes = _by_class(scores)
    class_, suggestion, remarks = _decide(scores, classes, measurements)
    type_, type_notes = petrologic_type(_leading_groups(class_, suggestion), measurements)
    weathering, weathering_notes = weathering_grade(measurements)
    evidence = _evidence(measurements, shares, scores[0].group if class_ != NO_CLASS else None)
    notes = (*measurements.notes, *remarks, *type_notes, *weathering_notes)
    return Classification(class_, suggestion, scores, classes, type_, weathering, evidence, prior, notes)


def _prior_weights(prior: str) -> dict[str, float]:
    if prior not in PRIORS:
        raise UnknownNameError.of("prior", prior, PRIORS)
    return {name: 1.0 if prior == "equal" else group.falls + 0.5 for name, group in groups().items()}


def _posterior(log_likelihoods: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    highest = max(log_likelihoods.values())
    raw = {name: weights[name] * math.exp(value - highest) for name, value in log_likelihoods.items()}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


def _group_evidence(group: Group, measurements: Measurements) -> dict[str, float]:
    """Return the log-likelihood of each property over the background; subgroups of a group are averaged."""
    shares = [_row_evidence(row, group, measurements) for row in group.rows]
    if len(shares) == 1:
        return shares[0]
    mixed = _posterior({str(i): sum(share.values()) for i, share in enumerate(shares)}, dict.fromkeys("01", 1.0))
    mean = math.log(sum(math.exp(sum(share.values())) for share in shares) / len(shares))
    blend = {name: sum(mixed[str(i)] * s[name] for i, s in enumerate(shares)) for name in shares[0]}
    return _scaled_to(blend, mean)


def _scaled_to(shares: dict[str, float], total: float) -> dict[str, float]:
    """Spread what the shares lack to `total` evenly, so that they add up to it."""
    lack = total - sum(shares.values())
    return {name: value + lack / len(shares) for name, value in shares.items()} if shares else {}


def _row_evidence(row_name: str, group: Group, measurements: Measurements) -> dict[str, float]:
    used = [name for name in properties() if name in measurements.values]
    families = [properties()[name].family for name in used]
    evidence = {}
    for name, family in zip(used, families, strict=True):
        measured = _seen_as(group, name, measurements)
        row = reference().get((row_name, name))
        trust = _trust(group, name, measurements)
        own = log_density(row, measured.value, measured.sd, name=name, trust=trust)
        evidence[name] = (own - math.log(properties()[name].background_density)) / families.count(family)
    return evidence


def _seen_as(group: Group, name: str, measurements: Measurements) -> Measured:
    """Return the measurement as it bears on `group`: the metal of ordinary chondrites before it rusted."""
    if name == "metal" and group.name in rules()["ordinary"]["groups"]:
        return original_metal(measurements)
    return measurements.values[name]


def _trust(group: Group, name: str, measurements: Measurements) -> float:
    """Return the share of a row's own density; Fa and Fs of ordinary chondrites need homogeneous olivine."""
    trust = float(rules()["decision"]["trust"])
    ordinary = rules()["ordinary"]
    if group.name not in ordinary["groups"] or properties()[name].family != "ferrous iron":
        return trust
    if "Fa_pmd" not in measurements.values:
        return float(ordinary["trust_without_pmd"])
    return 0.0 if measurements.values["Fa_pmd"].value > ordinary["fa_pmd_max_pct"] else trust


def _by_class(scores: Sequence[GroupScore]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for score in scores:
        totals[score.class_] = totals.get(score.class_, 0.0) + score.probability
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _decide(
    scores: Sequence[GroupScore], classes: Mapping[str, float], measurements: Measurements
) -> tuple[str, str, list[str]]:
    """Return class, suggestion and remarks."""
    decision = rules()["decision"]
    best = scores[0]
    class_, share = next(iter(classes.items()))
    if measurements.is_empty:
        return NO_CLASS, NO_CLASS, ["Nothing was measured that speaks for or against a group."]
    if max(score.log_likelihood for score in scores) < 0:
        return (
            NO_CLASS,
            NO_CLASS,
            ["No group fits better than a flat background does: perhaps no chondrite, or not understood."],
        )
    pair = _pair(scores)
    if pair:
        return best.class_, pair, [f"{pair}: the measurements do not part these two."]
    if best.probability >= decision["group_probability"]:
        return best.class_, best.group, []
    if share >= decision["class_probability"]:
        return (
            class_,
            f"{class_}, group open",
            [f"No {class_} group reaches {decision['group_probability']:.0%}."],
        )
    return (
        NO_CLASS,
        NO_CLASS,
        [f"Ambiguous: the best group, {best.group}, has only {best.probability:.0%}; see the ranked list."],
    )


def _pair(scores: Sequence[GroupScore]) -> str | None:
    decision = rules()["decision"]
    first, second = scores[:2]
    together = first.probability + second.probability
    if first.probability > decision["pair_single"] or together <= decision["pair_share"]:
        return None
    for pair in decision["pairs"]:
        if set(pair) == {first.group, second.group}:
            return "/".join(pair)
    return None


def _leading_groups(class_: str, suggestion: str) -> tuple[Group, ...]:
    """Return the groups the suggestion speaks of."""
    if class_ == NO_CLASS:
        return ()
    named = [groups()[name] for name in suggestion.split("/") if name in groups()]
    return tuple(named) or tuple(group for group in groups().values() if group.class_name == class_)


def _evidence(
    measurements: Measurements, shares: Mapping[str, Mapping[str, float]], best: str | None
) -> tuple[Evidence, ...]:
    items = []
    for name, measured in measurements.values.items():
        near: tuple[str, ...] = ()
        note = "" if name not in EXTRA_UNITS else "used for type or weathering only"
        if name in properties():
            by_group = {group: share[name] for group, share in shares.items()}
            near = _near_best(by_group)
            if best is not None and by_group[best] < 0:
                note = f"unusual for {best}{_published(best, name)}"
        items.append(Evidence(name, measured.value, measured.sd, unit_of(name), near, note))
    return tuple(items)


def _near_best(by_group: Mapping[str, float]) -> tuple[str, ...]:
    highest = max(by_group.values())
    if highest <= 0:
        return ()
    cut = highest - math.log(rules()["decision"]["near_factor"])
    near = [group for group, value in by_group.items() if value > max(cut, 0.0)]
    return tuple(sorted(near, key=lambda group: -by_group[group]))


def _published(group: str, name: str) -> str:
    rows = [reference()[row, name] for row in groups()[group].rows if (row, name) in reference()]
    if not rows:
        return " (no published value)"
    return f" ({min(r.low for r in rows):.3g} to {max(r.high for r in rows):.3g} {rows[0].unit})"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def classify_table(
    table: pd.DataFrame,
    chondrules: pd.DataFrame | None = None,
    *,
    prior: str = "equal",
    channels: Sequence[str] | None = None,
    calibrated: bool = False,
    chemistry: Mapping[str, Measured] | None = None,
) -> dict[str, Classification]:
    """Classify every section of a table.

    Parameters
    ----------
    table : like ``modes.csv`` (with or without a ``section`` column), or one row per section with property
        columns (``chondrules, matrix, metal, chondrule_mean_diameter, Fa_olivine, Fa_pmd, rust`` ...), each
        with an optional ``_sd`` column.
    chondrules : like ``chondrules.csv``, with a ``section`` column where `table` has one.
    channels, calibrated, chemistry : see `measurements_from_tables`; for tables like ``modes.csv`` only.

    Returns
    -------
    Classifications by section name; the name of a table without names is empty, or the row number.

    Raises
    ------
    InputError : the table is in neither form, or a cell is not a number.
    UnknownNameError : unknown prior.

    Examples
    --------
    >>> table = pd.DataFrame({"section": ["A"], "metal": [20.0], "chondrule_mean_diameter": [0.04]})
    >>> classify_table(table)["A"].suggestion
    'CH'
    """
    if not {"layer", "name", "area_pct"} <= set(table.columns):
        return _classify_rows(table, prior)
    found = {}
    for name, modes in _sections(table):
        objects = None if chondrules is None else dict(_sections(chondrules)).get(name, chondrules.iloc[:0])
        measured = measurements_from_tables(
            modes, objects, channels=channels, calibrated=calibrated, chemistry=chemistry
        )
        found[name] = classify(measured, prior=prior)
    return found


def _sections(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if "section" not in table.columns:
        return [("", table)]
    return [(str(name), part) for name, part in table.groupby("section", sort=False)]


def _classify_rows(table: pd.DataFrame, prior: str) -> dict[str, Classification]:
    known = [*properties(), *EXTRA_UNITS]
    names = [name for name in known if name in table.columns]
    if not names:
        raise InputError(
            f"The table has no column that can be classified (it has {', '.join(map(str, table.columns))}): "
            f"give modes.csv columns (layer,name,area_pct) or properties ({', '.join(known)})."
        )
    used = {*names, *(f"{name}_sd" for name in names), *_SECTION_COLUMNS}
    ignored = [str(column) for column in table.columns if column not in used]
    notes = (f"Columns not used: {', '.join(ignored)}.",) if ignored else ()
    found = {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        label = next((str(row[column]) for column in _SECTION_COLUMNS if column in row), str(number))
        if label in found:
            raise InputError(f"Section '{label}' is in the table twice: give each row its own name.")
        cells = {str(key): value for key, value in row.items()}
        values = {name: Measured(_number(cells, name), _number(cells, f"{name}_sd", 0.0)) for name in names}
        stated = {name: measured for name, measured in values.items() if not math.isnan(measured.value)}
        found[label] = classify(Measurements(stated, notes=notes), prior=prior)
    return found


def _number(row: Mapping[str, Any], column: str, default: float = math.nan) -> float:
    try:
        value = float(row.get(column, default))
    except (TypeError, ValueError) as error:
        raise InputError(f"Column '{column}' holds {row[column]!r}: give a number or leave the cell empty.") from error
    return default if math.isnan(value) else value


def classification_table(found: Mapping[str, Classification]) -> pd.DataFrame:
    """Return one row per section: class, suggestion, type, weathering, a ``p_`` column per group, notes."""
    rows = []
    for name, result in found.items():
        row: dict[str, Any] = {
            "section": name,
            "class": result.class_,
            "suggestion": result.suggestion,
            "best_group": result.groups[0].group,
            "probability": result.groups[0].probability,
            "type": result.type,
            "weathering": result.weathering,
        }
        by_name = {score.group: score.probability for score in result.groups}
        rows.append(row | {f"p_{group}": by_name[group] for group in groups()} | {"notes": " ".join(result.notes)})
    return pd.DataFrame(rows)
