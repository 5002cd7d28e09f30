"""Make meteoseg/rules/xray_lines.csv: line energies and relative intensities of the elements a map may show.

Needs xraydb (MIT licence): ``python -m pip install xraydb``, then ``python experiments/spectra/line_table.py``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import xraydb

from meteoseg.elements import ATOMIC_NUMBER

ELAM = "energies: Elam, Ravel & Sieber (2002) as in xraydb 4.5.8"
K_RATIO = "K beta share: Schreiber & Wims (1982), FROM MEMORY"
SUBSHELLS = "weights: Elam within a subshell, times its electrons and fluorescence yield (no Coster-Kronig)"
ELECTRONS = {"L1": 2, "L2": 2, "L3": 4, "M3": 4, "M4": 4, "M5": 6}
SHELLS = {"L": ("L3", "L2", "L1"), "M": ("M5", "M4", "M3")}
LOWEST_EV, HIGHEST_EV = 180.0, 30_000.0
LEAST_WEIGHT = 0.003


def alpha_share(z: int) -> float:
    """K alpha over all K lines."""
    if z < 11:
        return 1.0
    if z <= 19:
        return 1.052 - 4.39e-4 * z**2
    if z <= 29:
        return 0.896 - 6.575e-4 * z
    return 1.0366 - 6.82e-3 * z + 4.815e-5 * z**2


def k_lines(element: str) -> list[tuple[str, float, float]]:
    lines = xraydb.xray_lines(element, "K")
    share = alpha_share(ATOMIC_NUMBER[element])
    found = []
    for name, total in (("Ka", share), ("Kb", 1 - share)):
        parts = [(line.energy, line.intensity) for key, line in lines.items() if key.startswith(name)]
        if parts and total > 0:
            found.append((name, sum(e * i for e, i in parts) / sum(i for _, i in parts), total))
    return found


def other_lines(element: str, shell: str) -> list[tuple[str, float, float]]:
    edges, found = xraydb.xray_edges(element), []
    for subshell in SHELLS[shell]:
        if subshell not in edges:
            continue
        # The M5 yield of Elam is 0; M4 and M5 have nearly the same.
        filled = "M4" if subshell == "M5" else subshell
        strength = ELECTRONS[subshell] * edges[filled].fyield
        for name, line in xraydb.xray_lines(element, subshell).items():
            if line.initial_level == subshell:
                found.append((name, line.energy, strength * line.intensity))
    total = sum(weight for *_, weight in found)
    kept = [
        (name, energy, weight / total) for name, energy, weight in found if total and weight >= LEAST_WEIGHT * total
    ]
    return merged(kept)


def merged(lines: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Join La1 and La2, Ma and Mb stay apart; weights sum to 1."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for name, energy, weight in lines:
        groups.setdefault("La" if name in ("La1", "La2") else name, []).append((energy, weight))
    total = sum(weight for *_, weight in lines)
    return [
        (name, sum(e * w for e, w in parts) / sum(w for _, w in parts), sum(w for _, w in parts) / total)
        for name, parts in groups.items()
    ]


def main() -> None:
    rows = []
    for element in ATOMIC_NUMBER:
        if element == "H":
            continue
        edges = xraydb.xray_edges(element)
        for shell, edge in (("K", "K"), ("L", "L3"), ("M", "M5")):
            lines = k_lines(element) if shell == "K" else other_lines(element, shell)
            if not lines or edge not in edges or ATOMIC_NUMBER[element] < {"K": 1, "L": 19, "M": 72}[shell]:
                continue
            strongest = max(lines, key=lambda line: line[2])
            if not LOWEST_EV <= strongest[1] <= HIGHEST_EV:
                continue
            source = f"{ELAM}; {K_RATIO if shell == 'K' else SUBSHELLS}"
            edge_kev = f"{edges[edge].energy / 1000:.4f}"
            for name, energy, weight in lines:
                rows.append([element, shell, edge_kev, name, f"{energy / 1000:.4f}", f"{weight:.5f}", source])
    path = Path(__file__).parents[2] / "meteoseg" / "rules" / "xray_lines.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["element", "shell", "edge_kev", "line", "energy_kev", "weight", "source"])
        writer.writerows(rows)
    print(f"wrote {len(rows)} lines to {path.name}")


if __name__ == "__main__":
    main()
