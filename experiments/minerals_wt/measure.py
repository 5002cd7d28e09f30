"""Share of synthetic microprobe analyses that ``meteoseg segment`` names rightly, given as maps of wt%."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from analyses import ELEMENTS, KINDS, make_analyses

import meteoseg as ms
from meteoseg.legend import default_legend
from meteoseg.minerals.choose import choose_phase_maker

#: What the maps lack, and how the analyses lie in them.
CASES = {
    "all elements": ((), "shuffled"),
    "without O": (("O",), "shuffled"),
    "without Na, K, P": (("Na", "K", "P", "Cl"), "shuffled"),
    "without O, Na, K, P": (("O", "Na", "K", "P", "Cl"), "shuffled"),
    "only Mg, Al, Si, Ca, Ti, Cr, Fe": (("O", "Na", "K", "P", "Cl", "Mn", "Ni"), "shuffled"),
    "sorted by mineral": ((), "sorted"),
    "ten of a kind in a row": ((), "runs"),
}
SHAPE = (40, 50)


def arrange(kinds: list[str], how: str) -> np.ndarray:
    """Return the order (N,) in which analyses fill the map."""
    by_kind = np.argsort(np.array(kinds), kind="stable")
    if how == "sorted":
        return by_kind
    if how == "runs":
        return np.random.default_rng(5).permutation(by_kind.reshape(-1, 10)).ravel()
    return np.arange(len(kinds))


def write_maps(folder: Path, values: np.ndarray, left_out: tuple[str, ...]) -> None:
    """Write ``<El> Wt%.csv`` maps as Oxford software does, a comma after every number."""
    for element, plane in zip(ELEMENTS, values, strict=True):
        if element not in left_out:
            rows = ["".join(f"{value:g}," for value in row) for row in plane.reshape(SHAPE)]
            (folder / f"{element} Wt%.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def name_of(case: str, seed: int, *, chemistry_only: bool) -> tuple[list[str], list[str]]:
    """Return kinds and found names of all analyses."""
    left_out, how = CASES[case]
    values, kinds = make_analyses(seed)
    order = arrange(kinds, how)
    with tempfile.TemporaryDirectory() as folder:
        write_maps(Path(folder), values[:, order], left_out)
        section = ms.open_section(Path(folder), pixel_size_um=1.0)
        maker = choose_phase_maker(section, None) if chemistry_only else None
        labels = maker.draw(section, section.window) if maker else ms.segment(section).phases
        legend = default_legend("phases")
        found = [legend.name_of(int(label)) for label in labels.ravel()]
    return [kinds[index] for index in order], found


def macro(kinds: list[str], found: list[str]) -> dict[str, float]:
    """Share right per phase name."""
    right: dict[str, list[bool]] = {}
    for kind, name in zip(kinds, found, strict=True):
        right.setdefault(KINDS[kind][0], []).append(name == KINDS[kind][0])
    return {phase: float(np.mean(hits)) for phase, hits in right.items()}


def main() -> None:
    """Measure all cases, and print what is taken for what."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wrong", action="store_true", help="also list what is taken for what")
    parser.add_argument("--chemistry-only", action="store_true", help="without the networks: phases alone, faster")
    given = parser.parse_args()
    for case in given.cases:
        kinds, found = name_of(case, given.seed, chemistry_only=given.chemistry_only)
        shares = macro(kinds, found)
        print(f"{case}: macro {np.mean(list(shares.values())):.3f}  ", end="")
        print(", ".join(f"{phase} {share:.3f}" for phase, share in sorted(shares.items())))
        wrong = Counter((kind, name) for kind, name in zip(kinds, found, strict=True) if name != KINDS[kind][0])
        for (kind, name), count in wrong.most_common(25) if given.wrong else ():
            print(f"    {kind} -> {name}: {count}")


if __name__ == "__main__":
    main()
