"""X-ray lines of the elements: families with known relative intensities (rules/xray_lines.csv)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from meteoseg.errors import InputError

#: A family is excited well enough to be measured where the beam is this many times its edge energy.
LEAST_OVERVOLTAGE = 1.1
# An element is measured by an L or M line from this energy (keV) on: softer ones lie on O K, or are too weakly known.
_LOWEST_OTHER_MAIN_KEV = 0.6
_SHELLS = ("K", "L", "M")


@dataclass(frozen=True)
class Line:
    """One X-ray line: Siegbahn name, energy, and its share of the family (0-1)."""

    name: str
    energy_kev: float
    weight: float


@dataclass(frozen=True)
class Family:
    """All lines that fill one shell of an element; their weights sum to 1.

    `edge_kev` is the absorption edge that a beam must exceed to excite them.
    """

    element: str
    shell: str
    edge_kev: float
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        """Element and shell, such as ``Fe K``."""
        return f"{self.element} {self.shell}"

    @property
    def main(self) -> Line:
        """The strongest line."""
        return max(self.lines, key=lambda line: line.weight)


@cache
def line_families() -> dict[tuple[str, str], Family]:
    """Load all families, by (element, shell)."""
    text = resources.files("meteoseg").joinpath("rules/xray_lines.csv").read_text(encoding="utf-8")
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        rows.setdefault((row["element"], row["shell"]), []).append(row)
    return {key: _family(*key, lines) for key, lines in rows.items()}


def _family(element: str, shell: str, rows: list[dict[str, str]]) -> Family:
    total = sum(float(row["weight"]) for row in rows)
    lines = tuple(Line(row["line"], float(row["energy_kev"]), float(row["weight"]) / total) for row in rows)
    return Family(element, shell, float(rows[0]["edge_kev"]), lines)


def families_between(element: str, low_kev: float, high_kev: float, beam_kv: float | None = None) -> tuple[Family, ...]:
    """Return the families of `element` whose main line lies in a range that the beam excites, K before L before M.

    A beam excites what its energy exceeds by a tenth; of an unknown one (None) all is believed.

    Examples
    --------
    >>> [family.name for family in families_between("Fe", 0.4, 10, beam_kv=15)]
    ['Fe K', 'Fe L']
    >>> [family.name for family in families_between("Fe", 0.4, 10, beam_kv=5)]
    ['Fe L']
    """
    table = line_families()
    known = (table[element, shell] for shell in _SHELLS if (element, shell) in table)
    return tuple(
        family
        for family in known
        if low_kev <= family.main.energy_kev <= high_kev
        and (beam_kv is None or family.edge_kev * LEAST_OVERVOLTAGE <= beam_kv)
    )


def is_measurable(families: Sequence[Family]) -> bool:
    """Tell whether the first of an element's families in range can measure it."""
    return bool(families) and (families[0].shell == "K" or families[0].main.energy_kev >= _LOWEST_OTHER_MAIN_KEV)


def main_families(
    elements: Iterable[str], low_kev: float, high_kev: float, beam_kv: float | None = None
) -> tuple[Family, ...]:
    """Return the family to measure each element by: K where it is excited and in range, else L, else M.

    Raises
    ------
    InputError : an element has no line in the range.
    """
    chosen = []
    for element in elements:
        seen = families_between(element, low_kev, high_kev, beam_kv)
        if not is_measurable(seen):
            raise InputError(
                f"{element} has no line between {low_kev:.2f} and {high_kev:.2f} keV that the beam excites: "
                "leave it out of the elements."
            )
        chosen.append(seen[0])
    return tuple(chosen)
