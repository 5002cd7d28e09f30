"""Suggest a chondrite group, a petrologic type and a weathering grade, with the evidence.

The suggestion is Bayesian: each group has a prior and, for every measured property, a density made from
published low, typical and high values (``meteoseg.classify.groups``). See ``docs/classification.md`` for its limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meteoseg.classify.groups import NONE, Group, groups, properties, rules
from meteoseg.classify.measurements import EXTRA_UNITS, Measurements, unit_of
from meteoseg.classify.nextstep import NextStep, next_steps
from meteoseg.classify.petrology import TypeEvidence, petrologic_type, type_evidence, weathering_grade
from meteoseg.classify.posterior import GroupEvidence, group_evidence, posterior, prior_weights
from meteoseg.classify.wording import published_range, reasons

NO_CLASS = NONE
#: Suggestions that name no group: nothing was measured, or what was measured leaves the group open.
NOT_ENOUGH, OPEN = "not enough evidence", "group open"


@dataclass(frozen=True)
class GroupScore:
    """Posterior of one group.

    `log_likelihood` is natural and relative to the flat background (0: no better than not knowing the group);
    `evidence` gives each property's share of it, positive where the property speaks for the group; `for_` and
    `against` say the same in words. Without evidence the numbers are NaN.
    """

    group: str
    class_: str
    probability: float
    log_likelihood: float
    evidence: Mapping[str, float]
    for_: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


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
    """The suggestion: class, ranked groups, type, weathering, evidence, what to measure next, and notes.

    `class_` is carbonaceous, ordinary, enstatite, R, K or none; `suggestion` is the answer in words (``H``,
    ``H/L``, ``ordinary, group open``, ``group open``, ``none``: none of these groups, or ``not enough evidence``).
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
    next_steps: tuple[NextStep, ...] = ()
    type_evidence: tuple[TypeEvidence, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether nothing was measured that speaks for or against a group."""
        return self.suggestion == NOT_ENOUGH

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain types for ``classification.json``, floats to six significant digits, null where NaN."""
        return {
            "class": self.class_,
            "suggestion": self.suggestion,
            "groups": [_score_dict(score) for score in self.groups],
            "class_probabilities": {name: _rounded(value) for name, value in self.class_probabilities.items()},
            "type": self.type,
            "weathering": self.weathering,
            "type_evidence": [_type_dict(item) for item in self.type_evidence],
            "evidence": [_evidence_dict(item) for item in self.evidence],
            "next_measurement": [_step_dict(step) for step in self.next_steps],
            "prior": self.prior,
            "notes": list(self.notes),
        }


def _score_dict(score: GroupScore) -> dict[str, Any]:
    return {
        "group": score.group,
        "class": score.class_,
        "probability": _rounded(score.probability),
        "log_likelihood": _rounded(score.log_likelihood),
        "evidence": {name: _rounded(value) for name, value in score.evidence.items()},
        "for": list(score.for_),
        "against": list(score.against),
    }


def _evidence_dict(item: Evidence) -> dict[str, Any]:
    return {
        "property": item.property,
        "value": _rounded(item.value),
        "sd": _rounded(item.sd),
        "unit": item.unit,
        "best_groups": list(item.best_groups),
        "note": item.note,
    }


def _type_dict(item: TypeEvidence) -> dict[str, Any]:
    return {"property": item.name, "for": list(item.types), "against": list(item.excluded), "text": item.words}


def _step_dict(step: NextStep) -> dict[str, Any]:
    return {
        "property": step.name,
        "expected_bits": _rounded(step.bits),
        "open_bits": _rounded(step.open_bits),
        "between": list(step.between),
        "text": step.text,
    }


def classify(measurements: Measurements, *, prior: str = "equal") -> Classification:
    """Rank the chondrite groups, and ``none`` of them, by their probability given the measurements.

    Parameters
    ----------
    measurements : the evidence; absent properties leave the prior as it is.
    prior : ``equal`` (every group the same, ``none`` too) or ``falls`` (by observed falls plus 0.5).

    Raises
    ------
    UnknownNameError : the prior is neither.

    Examples
    --------
    >>> from meteoseg.classify.measurements import Measured
    >>> found = classify(Measurements({"metal": Measured(8.0, 0.5), "Fa_olivine": Measured(18.8, 0.3)}))
    >>> found.class_, found.suggestion
    ('ordinary', 'H')
    >>> classify(Measurements({})).suggestion
    'not enough evidence'
    """
    weights = prior_weights(prior)
    if measurements.is_empty:
        return _without_evidence(measurements, prior)
    weighed = {name: group_evidence(group, measurements) for name, group in groups().items()}
    chances = posterior([found.log_likelihood for found in weighed.values()], [weights[name] for name in weighed])
    probabilities = dict(zip(weighed, chances, strict=True))
    ranked = sorted(weighed, key=lambda name: (-probabilities[name], list(weighed).index(name)))
    scores = tuple(_score(groups()[name], probabilities[name], weighed[name], measurements) for name in ranked)
    classes = _by_class(scores)
    class_, suggestion, remarks = _decide(scores, classes)
    leading = _leading_groups(class_, suggestion)
    type_, type_notes = petrologic_type(leading, measurements)
    weathering, weathering_notes = weathering_grade(measurements)
    evidence = _evidence(measurements, weighed, scores[0].group if class_ != NO_CLASS else None)
    steps = next_steps(probabilities, {name: found.members for name, found in weighed.items()}, measurements)
    notes = (*measurements.notes, *remarks, *type_notes, *weathering_notes)
    return Classification(class_, suggestion, scores, classes, type_, weathering, evidence, prior, notes, steps,
                          type_evidence(leading, measurements))  # fmt: skip


def _score(group: Group, probability: float, found: GroupEvidence, measurements: Measurements) -> GroupScore:
    for_, against = reasons(group, found.shares, measurements)
    return GroupScore(
        group.name, group.class_name, probability, found.log_likelihood, found.shares, for_=for_, against=against
    )


def _without_evidence(measurements: Measurements, prior: str) -> Classification:
    """Answer that there is not enough evidence: groups without numbers, in the order of the table."""
    scores = tuple(GroupScore(name, group.class_name, math.nan, math.nan, {}) for name, group in groups().items())
    weathering, remarks = weathering_grade(measurements)
    evidence = tuple(_item(name, measurements, (), "used for type or weathering only") for name in measurements.values)
    notes = (*measurements.notes, "Nothing was measured that speaks for or against a group.", *remarks)
    return Classification(NO_CLASS, NOT_ENOUGH, scores, {}, "unknown", weathering, evidence, prior, notes)


def _by_class(scores: Sequence[GroupScore]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for score in scores:
        totals[score.class_] = totals.get(score.class_, 0.0) + score.probability
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _decide(scores: Sequence[GroupScore], classes: Mapping[str, float]) -> tuple[str, str, list[str]]:
    """Return class, suggestion and remarks."""
    decision = rules()["decision"]
    best = scores[0]
    class_, share = next(iter(classes.items()))
    pair = _pair(scores)
    if pair:
        return best.class_, pair, [f"{pair}: the measurements do not part these two."]
    if best.probability >= decision["group_probability"]:
        return best.class_, best.group, [_NONE_NOTE] if best.group == NONE else []
    if share >= decision["class_probability"]:
        remark = f"No {class_} group reaches {decision['group_probability']:.0%}."
        return class_, f"{class_}, group open", [remark]
    remark = f"Ambiguous: the best group, {best.group}, has only {best.probability:.0%}; see the ranked list."
    return NO_CLASS, OPEN, [remark]


_NONE_NOTE = "None of the chondrite groups fits: perhaps no chondrite, or one unlike the groups."


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
    measurements: Measurements, weighed: Mapping[str, GroupEvidence], best: str | None
) -> tuple[Evidence, ...]:
    items = []
    for name in measurements.values:
        near: tuple[str, ...] = ()
        note = "" if name not in EXTRA_UNITS else "used for type or weathering only"
        if name in properties():
            by_group = {group: found.shares[name] for group, found in weighed.items()}
            near = _near_best(by_group)
            if best is not None and by_group[best] < 0:
                note = f"unusual for {best}{_published(best, name)}"
        items.append(_item(name, measurements, near, note))
    return tuple(items)


def _item(name: str, measurements: Measurements, near: tuple[str, ...], note: str) -> Evidence:
    measured = measurements.values[name]
    return Evidence(name, measured.value, measured.sd, unit_of(name), near, note)


def _near_best(by_group: Mapping[str, float]) -> tuple[str, ...]:
    highest = max(by_group.values())
    if highest <= 0:
        return ()
    cut = highest - math.log(rules()["decision"]["near_factor"])
    near = [group for group, value in by_group.items() if value > max(cut, 0.0)]
    return tuple(sorted(near, key=lambda group: -by_group[group]))


def _published(group: str, name: str) -> str:
    span = published_range(groups()[group], name)
    return f" ({span[0]:.3g} to {span[1]:.3g} {unit_of(name)})" if span else " (no published value)"


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")
