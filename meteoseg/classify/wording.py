"""What speaks for and against each group, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from meteoseg.classify.groups import NONE, Group, ReferenceRow, properties, reference, rules
from meteoseg.classify.measurements import Measured, Measurements
from meteoseg.classify.posterior import seen_as

#: What is compared for `none`, in words.
OTHER_ROCKS = "rocks that are no chondrites"


def reasons(
    group: Group, shares: Mapping[str, float], measurements: Measurements
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what speaks for and what against `group`, the weightiest first.

    Parameters
    ----------
    shares : log-likelihood of each property over the flat background; what changes the odds by less than a factor
        (``rules/classification.toml``) is left out.
    """
    least = math.log(float(rules()["words"]["least_factor"]))
    ranked = sorted(shares, key=lambda name: -abs(shares[name]))
    told = {name: _reason(group, name, shares[name], seen_as(group, name, measurements)) for name in ranked}
    return (
        tuple(told[name] for name in ranked if shares[name] >= least),
        tuple(told[name] for name in ranked if shares[name] <= -least),
    )


def _reason(group: Group, name: str, share: float, measured: Measured) -> str:
    rule = properties()[name]
    found = f"{rule.words} {measured.value:.3g} {rule.unit}"
    span = published_range(group, name)
    if group.name == NONE or not span:
        return _without_range(found, share, group)
    who = group.name
    low, high = span
    printed = f"({low:.3g} to {high:.3g})"
    if share > 0:
        return f"{found} {'fits' if low <= measured.value <= high else 'does not exclude'} {who} {printed}"
    if measured.value > high:
        return f"{found} is more than in {who} {printed}"
    if measured.value < low:
        return f"{found} is less than in {who} {printed}"
    return f"{found} is unusual in {who} {printed}"


def _without_range(found: str, share: float, group: Group) -> str:
    if group.name == NONE:
        return f"{found} {'suits' if share > 0 else 'is unusual in'} {OTHER_ROCKS}"
    return f"{found}, of which no range of {group.name} is published"


def published_range(group: Group, name: str) -> tuple[float, float] | None:
    """Return lowest and highest published value of a property in a group, or None where there is none."""
    rows = rows_of(group, name)
    return (min(row.low for row in rows), max(row.high for row in rows)) if rows else None


def rows_of(group: Group, name: str) -> list[ReferenceRow]:
    """Return the reference rows of the group itself, without its members of type 3 and 6."""
    return [reference()[row, name] for row in group.rows if (row, name) in reference()]


def evidence_line(for_: tuple[str, ...], against: tuple[str, ...]) -> str:
    """Return both lists as one line of text.

    Examples
    --------
    >>> evidence_line(("metal 8 vol% fits H (7 to 9.5)",), ())
    'for: metal 8 vol% fits H (7 to 9.5)'
    """
    parts = [f"{word}: {'; '.join(items)}" for word, items in (("for", for_), ("against", against)) if items]
    return " | ".join(parts) or "nothing measured speaks clearly for or against it"
