"""Tables for the console: modal abundances, group suggestion, chondrule sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from meteoseg.report.chemistry import chemistry_rows
from meteoseg.report.facts import SizeSummary, Suggestion, layer_rows, number, significant

#: Groups less probable than this are summed up in one line.
LEAST_PROBABILITY = 0.01
BAR_CHARS = 20


def format_modes(modes: pd.DataFrame) -> str:
    """Return the modal table as aligned text, one block per layer, largest area first.

    Parameters
    ----------
    modes : the columns of ``modes.csv``; outside and hole have an area but no per cent.

    Examples
    --------
    >>> row = {"layer": "phases", "name": "olivine", "area_px": 10, "area_um2": 40.0, "area_pct": 100.0,
    ...        "ci_low_pct": None, "ci_high_pct": None, "wt_pct": 100.0}
    >>> print(format_modes(pd.DataFrame([row])))
    Phases         area %    95 % interval     wt %
      olivine      100.00                -   100.00
    """
    blocks = [_layer_block(modes, layer) for layer in dict.fromkeys(modes["layer"])]
    return "\n\n".join(blocks)


def _layer_block(modes: pd.DataFrame, layer: str) -> str:
    rows = layer_rows(modes, layer)
    weighed = bool(rows["wt_pct"].notna().any())
    width = max(11, *(len(str(name)) for name in rows["name"])) + 2
    head = f"{layer.capitalize():<{width}}  {'area %':>7}  {'95 % interval':>15}"
    adjusted = "adjusted_pct" in rows and bool(rows["adjusted_pct"].notna().any())
    lines = [head + (f"  {'wt %':>7}" if weighed else "") + ("  adjusted %" if adjusted else "")]
    for row in rows.to_dict("records"):
        if number(row["area_pct"]) is None:
            area_mm2 = significant(float(row["area_um2"]) / 1e6)
            lines.append(f"  {row['name']:<{width - 2}}  {'apart':>7}  {area_mm2 + ' mm2':>15}")
            continue
        line = f"  {row['name']:<{width - 2}}  {_percent(row['area_pct']):>7}  {interval_text(row):>15}"
        line += f"  {_percent(row['wt_pct']):>7}" if weighed else ""
        lines.append(line + (f"  {_percent(row['adjusted_pct']):>10}" if adjusted else ""))
    return "\n".join(lines)


def format_chemistry(chemistry: pd.DataFrame) -> str:
    """Return the compositions of minerals as aligned text.

    Parameters
    ----------
    chemistry : the columns of ``chemistry.csv``.
    """
    lines = [f"{'Mineral chemistry':<34}  {'mean':>7}  {'95 % interval':>15}  {'grains':>6}"]
    for row in chemistry_rows(chemistry):
        name = f"{row['quantity']} of {row['phase']}, {row['where']}"
        lines.append(f"  {name:<40}  {row['mean']:>12}  {row['interval']:>15}  {row['n_grains']:>6}")
    return "\n".join(lines)


def interval_text(row: Mapping[Any, Any]) -> str:
    """Return the interval of a row of the modal table, e.g. ``43.10 - 47.20``, or ``-``."""
    low, high = number(row["ci_low_pct"]), number(row["ci_high_pct"])
    return "-" if low is None or high is None else f"{low:.2f} - {high:.2f}"


def _percent(value: Any) -> str:
    found = number(value)
    return "-" if found is None else f"{found:.2f}"


def format_classification(classification: Mapping[str, Any]) -> str:
    """Return the group suggestion as text: answer, ranked probabilities, evidence, notes.

    Parameters
    ----------
    classification : the dictionary of ``classification.json``.

    Raises
    ------
    InputError : it lacks class or groups.
    """
    suggestion = Suggestion.from_dict(classification)
    chance = "" if suggestion.probability is None else f", probability {suggestion.probability:.2f}"
    # Where no class is named, "none" would read as: no chondrite.
    named = suggestion.class_ != "none" or suggestion.is_none
    lines = [f"Group suggestion: {suggestion.headline}" + (f" (class: {suggestion.class_}{chance})" if named else "")]
    lines += [f"Petrologic type: {suggestion.type}"] if suggestion.type else []
    lines += [f"  {text}" for text in suggestion.type_words]
    lines += [f"Weathering: {suggestion.weathering}"] if suggestion.weathering else []
    lines += _group_lines(suggestion.groups) if suggestion.tells_apart else []
    if suggestion.evidence:
        lines += ["", "Evidence"]
        width = max(len(item.quantity) for item in suggestion.evidence)
        measured = max(len(item.measured) for item in suggestion.evidence)
        for item in suggestion.evidence:
            fits = f"fits {', '.join(item.best_groups)}" if item.best_groups else ""
            remark = "; ".join(part for part in (item.verdict, fits, item.note) if part)
            lines.append(f"  {item.quantity:<{width}}  {item.measured:<{measured}}  {remark}".rstrip())
    lines += _reason_lines(suggestion)
    if suggestion.next_steps:
        lines += ["", "One more measurement", *(f"  {text}" for text in suggestion.next_steps)]
    if suggestion.notes:
        lines += ["", "Notes", *(f"  {note}" for note in suggestion.notes)]
    return "\n".join(lines)


def _reason_lines(suggestion: Suggestion) -> list[str]:
    lines = []
    for reasons in suggestion.reasons:
        lines += ["", f"{reasons.group} ({reasons.probability:.2f})"]
        lines += [f"  + {text}" for text in reasons.for_] + [f"  - {text}" for text in reasons.against]
    return lines


def _group_lines(groups: Sequence[tuple[str, float]]) -> list[str]:
    shown = [pair for pair in groups if pair[1] >= LEAST_PROBABILITY]
    lines = [f"  {name:<6} {p:5.2f}  {'#' * round(p * BAR_CHARS)}".rstrip() for name, p in shown]
    rest = len(groups) - len(shown)
    return [*lines, f"  {rest} others, each under {LEAST_PROBABILITY:g}"] if rest else lines


def format_objects_summary(objects: pd.DataFrame) -> str:
    """Return numbers and diameters of the chondrules as a few lines of text.

    Parameters
    ----------
    objects : the columns of ``chondrules.csv``.
    """
    summary = SizeSummary.of(objects)
    kinds = ", ".join(f"{count} {kind}" for kind, count in objects["kind"].value_counts(sort=True).items())
    first = f"Objects: {summary.n_objects}" + (f" ({kinds})" if kinds else "")
    cut_off = "" if summary.cut_off_um is None else f", counted from {significant(summary.cut_off_um)} um on"
    if summary.mean_um is None or summary.median_um is None:
        return f"{first}\nNo intact chondrule clear of the edges{cut_off}: no mean diameter."
    return (
        f"{first}\nIntact chondrules clear of the edges: {summary.n_intact}; diameter in the section: mean "
        f"{significant(summary.mean_um)} um, median {significant(summary.median_um)} um{cut_off}"
    )
