"""Sampled compositions of the phases (rules/phases.toml), arranged for likelihoods by matrix products."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError, MeteosegError, UnknownNameError
from meteoseg.legend import HOLE
from meteoseg.legend.edit import NewPhase
from meteoseg.minerals.alpha import ELEMENTS, Array, composition_vector
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas, parse_formula

Ints = NDArray[np.int64]
#: Elements that define no new phase: they are in much else, or are seldom mapped.
_COMMON_ELEMENTS = frozenset("OHC")


@dataclass(frozen=True)
class Templates:
    """Compositions with their spreads, grouped by phase, and the mixtures of two of them.

    Attributes
    ----------
    phases : names, in the order of `phase_of`.
    phase_of : (T,) index into `phases`.
    compositions_wt_pct : (T, E) in the order of `alpha.ELEMENTS`; sums fall below 100 for porous phases.
    rel_sd : (T,) relative sd of the major elements; minor_sd_wt_pct : (T, E) absolute sd.
    log_prior : (T,) natural logarithm.
    mixtures : (M, 2) indices of the templates that mix; fractions : (M,) area of the first; mixture_log_prior : (M,).
    gauges : per phase, the elements whose content is known well enough to check a sensitivity.
    """

    phases: tuple[str, ...]
    phase_of: Ints
    compositions_wt_pct: Array
    rel_sd: Array
    minor_sd_wt_pct: Array
    log_prior: Array
    mixtures: Ints
    fractions: Array
    mixture_log_prior: Array
    gauges: tuple[tuple[str, ...], ...]

    def without_rarity(self) -> Templates:
        """Give all compositions of a phase the log prior of its commonest one."""
        common = np.full(len(self.phases), -np.inf)
        np.maximum.at(common, self.phase_of, self.log_prior)
        return replace(self, log_prior=common[self.phase_of])


@cache
def phase_rules() -> dict[str, Any]:
    """Load rules/phases.toml as plain tables."""
    text = resources.files("meteoseg").joinpath("rules/phases.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def load_templates(
    channels: tuple[str, ...], phases: tuple[str, ...] | None = None, new: tuple[NewPhase, ...] = ()
) -> Templates:
    """Sample the compositions of all phases that `channels` can show.

    Parameters
    ----------
    channels : element symbols of the maps at hand; a phase that needs another map is left out.
    phases : names to keep (default: all of rules/phases.toml, and `new`); `hole` always stays.
    new : phases that a user defines.

    Raises
    ------
    UnknownNameError : a name of `phases` has no composition in rules/phases.toml.
    InputError : a formula of a new phase does not parse, or names an unknown element.

    Examples
    --------
    >>> templates = load_templates(("Mg", "Si", "Fe"), ("olivine", "troilite"))
    >>> templates.phases
    ('olivine', 'troilite', 'hole')
    """
    rules = _chosen_rules(channels, phases, [_rule_of(phase) for phase in new])
    names = tuple(rule["name"] for rule in rules)
    rows: list[Array] = []
    of, rel_sd, minor_sd, log_prior = [], [], [], []
    for index, rule in enumerate(rules):
        for sample in _samples(rule, channels):
            rows.append(_with_minors(sample.composition_wt_pct, sample.minor) * sample.total)
            of.append(index)
            rel_sd.append(rule["rel_sd"])
            minor_sd.append(composition_vector({el: sd for el, (_, sd) in sample.minor.items()}) * sample.total)
            log_prior.append(rule["log_prior"] + sample.rarity)
    compositions, phase_of = np.array(rows), np.array(of)
    pairs, fractions, priors = _mixtures(rules, compositions, phase_of)
    gauges = tuple(tuple(rule.get("gauge", ())) for rule in rules)
    return Templates(
        names, phase_of, compositions, np.array(rel_sd), np.array(minor_sd), np.array(log_prior),
        pairs, fractions, priors, gauges,
    )  # fmt: skip


def _chosen_rules(
    channels: Sequence[str], phases: Sequence[str] | None, new: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    rules = [*phase_rules()["phase"], *new]
    known = [rule["name"] for rule in rules]
    for name in phases or ():
        if name not in known:
            raise UnknownNameError.of("phase with a composition", name, known)
    wanted = set(known if phases is None else phases) | {HOLE}
    return [rule for rule in rules if rule["name"] in wanted and set(rule.get("needs", ())) <= set(channels)]


def _rule_of(phase: NewPhase) -> dict[str, Any]:
    """Write a user's phase as a table of rules/phases.toml; its formulas must parse."""
    try:
        for formula in (*(formula for ends in phase.series for formula in ends), *(el for el, _, _ in phase.minor)):
            parse_formula(formula)
    except MeteosegError as error:
        raise InputError(f"Phase '{phase.name}' of the legend file: {error}") from error
    return {
        "name": phase.name,
        "log_prior": phase.log_prior,
        "rel_sd": phase.rel_sd,
        "minor": {element: (mean, sd) for element, mean, sd in phase.minor},
        "series": [{"ends": ends, "divisions": phase.divisions} for ends in phase.series],
    }


def new_phase_notes(channels: Sequence[str], new: Sequence[NewPhase], names: Sequence[str] | None) -> tuple[str, ...]:
    """Return a note on each new phase of which some elements are not mapped; O, H and C define none.

    Parameters
    ----------
    channels : elements that are compared; names : phases that are (None: all).

    Raises
    ------
    InputError : none of the elements of a new phase is mapped, or a formula of one does not parse.

    Examples
    --------
    >>> new_phase_notes(("Fe", "S", "Mg"), [NewPhase("djerfisherite", "#aa8800", (("K6Fe24S26Cl",),))], None)
    ("New phase 'djerfisherite' is told without its elements Cl, K, which are not mapped or not calibrated.",)
    """
    notes = []
    for phase in new:
        if names is not None and phase.name not in names:
            continue
        _rule_of(phase)
        elements = {element for ends in phase.series for formula in ends for element in parse_formula(formula)}
        defining = elements - _COMMON_ELEMENTS or elements
        unseen = sorted(defining - set(channels))
        if len(unseen) == len(defining):
            raise InputError(
                f"New phase '{phase.name}' cannot be told: none of {', '.join(unseen)} is mapped and calibrated. "
                "Give such a map, or leave the phase out of the legend file."
            )
        if unseen:
            notes.append(
                f"New phase '{phase.name}' is told without its elements {', '.join(unseen)}, which are not mapped "
                "or not calibrated."
            )
    return tuple(notes)


@dataclass(frozen=True)
class _Sample:
    """A composition (E,) of sum 100, the share of a full total, its minor elements, and how rare it is (log)."""

    composition_wt_pct: Array
    total: float
    minor: Mapping[str, Sequence[float]]
    rarity: float


def _samples(rule: Mapping[str, Any], channels: Sequence[str]) -> Iterator[_Sample]:
    """Yield the compositions of a phase; series that `channels` cannot show are left out."""
    for series in rule["series"]:
        if set(series.get("needs", ())) <= set(channels):
            whole: dict[str, Any] = {"totals": [1.0], "minor": {}, **rule, "log_prior": 0.0, **series}
            for vector, total in product(_series(series), whole["totals"]):
                yield _Sample(vector, total, whole["minor"], whole["log_prior"])


def _composition(end: str | Mapping[str, float]) -> Array:
    if isinstance(end, str):
        return composition_vector(formula_wt_pct(end))
    vector = composition_vector(dict(end))
    return np.asarray(100 * vector / vector.sum())


def _series(series: Mapping[str, Any]) -> Iterator[Array]:
    """Yield compositions (E,) in wt%, sum 100, along one line between end members."""
    ends, divisions = series["ends"], series.get("divisions", 0)
    if len(ends) == 1:
        yield _composition(ends[0])
        return
    added = series.get("added", ())
    extras = list(product(*(extra["fractions"] for extra in added)))
    low, high = series.get("range", (0.0, 1.0))
    for last, extra in product(np.linspace(low, high, divisions + 1), extras):
        if isinstance(ends[0], str):
            rest = 1 - sum(extra)
            formulas = [*ends, *(one["formula"] for one in added)]
            yield composition_vector(mix_formulas(formulas, [(1 - last) * rest, last * rest, *extra]))
        else:
            yield (1 - last) * _composition(ends[0]) + last * _composition(ends[1])


def _with_minors(vector: Array, minors: Mapping[str, Sequence[float]]) -> Array:
    means = composition_vector({element: values[0] for element, values in minors.items()})
    return np.asarray(vector * (1 - means.sum() / 100) + means)


def _mixtures(rules: Sequence[Mapping[str, Any]], compositions: Array, phase_of: Ints) -> tuple[Ints, Array, Array]:
    index_of = {rule["name"]: index for index, rule in enumerate(rules)}
    anchors = {
        rule["name"]: [_nearest(_composition(end), compositions, phase_of == index_of[rule["name"]]) for end in ends]
        for rule in rules
        if (ends := rule.get("anchors"))
    }
    anchors[HOLE] = [int(np.flatnonzero(phase_of == index_of[HOLE])[0])]
    pairs, fractions, priors = [], [], []
    for mixed in phase_rules()["mixed"]:
        for first, second, fraction in product(mixed["first"], mixed["second"], mixed["fractions"]):
            for pair in product(anchors.get(first, ()), anchors.get(second, ())):
                pairs.append(pair)
                fractions.append(fraction)
                priors.append(mixed["log_prior"])
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(fractions), np.array(priors)


def _nearest(composition: Array, compositions: Array, allowed: NDArray[np.bool_]) -> int:
    distance = np.abs(compositions - composition).sum(axis=1)
    return int(np.argmin(np.where(allowed, distance, np.inf)))


__all__ = ["ELEMENTS", "Templates", "load_templates", "phase_rules"]
