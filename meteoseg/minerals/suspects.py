"""Which of the standards is wrong: in its composition, under its mask, or beneath its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.alpha import Array

#: Content above which an element says something of the sensitivity, and below which of the background, in wt%.
MAJOR_WT_PCT, ABSENT_WT_PCT = 1.0, 0.05
#: The matrix correction is no better.
RELATIVE_FLOOR = 0.03
SUSPECT_SD = 4.0
_FOREIGN_SD_WT_PCT = 0.75  # traces, overlaps of lines and slopes of the background stay below
_SAME_SD = 2.0


@dataclass(frozen=True)
class Net:
    """Net counts of standards in mapped elements, (S, C) arrays.

    per_wt : net counts per wt% after division by the matrix factor (only where `wt_pct` > 0); per_wt_sd : relative
    counting error; net_per_factor : net counts over the matrix factor, also where the element is absent; factors :
    the matrix factors.
    """

    wt_pct: Array
    per_wt: Array
    per_wt_sd: Array
    net_per_factor: Array
    factors: Array

    @property
    def major(self) -> NDArray[np.bool_]:
        """Where the element is a major one (S, C)."""
        return self.wt_pct > MAJOR_WT_PCT

    def misfits(self, used: Sequence[int]) -> Array:
        """Misfit of every standard against the others of `used`, in standard deviations (S, C); 0 where unchecked.

        A major element is compared with the median sensitivity of the others; an element that should be absent with
        nothing; an element that no other standard holds only for being there at all.
        """
        result = np.zeros(self.wt_pct.shape)
        for row, column in np.ndindex(*result.shape):
            others = [other for other in used if other != row and self.major[other, column]]
            level = float(np.median(self.per_wt[others, column])) if others else 0.0
            if self.major[row, column] and level > 0:
                share: float = max(float(self.per_wt[row, column]), 1e-3 * level) / level
                sd = np.hypot(RELATIVE_FLOOR * np.sqrt(1 + 1 / len(others)), self.per_wt_sd[row, column])
                result[row, column] = np.log(share) / sd
            elif self.major[row, column] and self.net_per_factor[row, column] <= 0:
                result[row, column] = -10 * SUSPECT_SD
            elif self.wt_pct[row, column] < ABSENT_WT_PCT and level > 0:
                foreign_wt_pct = float(self.net_per_factor[row, column]) / level
                result[row, column] = max(0.0, foreign_wt_pct) / _FOREIGN_SD_WT_PCT
        return result


def find_suspects(net: Net) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Name the standards that contradict the others, and pairs of which one must be wrong.

    Takes out, one by one, the standard without which the others agree best, until all misfits are below
    `SUSPECT_SD`. Where two candidates are as good, nobody can tell which is wrong: they are a pair.

    Returns
    -------
    rows of the suspects; (row, row, column) of pairs that disagree in the element `column`.
    """
    used = list(range(len(net.wt_pct)))
    pairs: list[tuple[int, int, int]] = []
    settled: set[int] = set()
    while True:
        misfits = net.misfits(used)
        misfits[:, sorted(settled)] = 0
        candidates = [row for row in used if np.abs(misfits[row]).max(initial=0) > SUSPECT_SD]
        if not candidates:
            return sorted(set(range(len(net.wt_pct))) - set(used)), pairs
        left = {row: _left_over(net, [other for other in used if other != row], settled) for row in candidates}
        first, *rest = sorted(candidates, key=lambda row: left[row])
        column = int(np.abs(misfits[first]).argmax())
        rival = next((row for row in rest if left[row] < 1.3 * left[first] + SUSPECT_SD**2), None)
        if rival is not None and _is_pair(misfits, first, rival, column):
            pairs.append((min(first, rival), max(first, rival), column))
            settled.add(column)
        else:
            used.remove(first)


def _left_over(net: Net, used: Sequence[int], settled: set[int]) -> float:
    misfits = net.misfits(used)[list(used)]
    misfits[:, sorted(settled)] = 0
    return float((misfits**2).sum())


def _is_pair(misfits: Array, first: int, rival: int, column: int) -> bool:
    """Whether two standards disagree in one element and nothing else speaks against either."""
    against = np.abs(misfits[[first, rival]])
    return bool((against[:, column] > SUSPECT_SD).all() and np.delete(against, column, axis=1).max() <= SUSPECT_SD)


def looks_like(net: Net, row: int, sensitivity: Array) -> int | None:
    """Return the standard whose composition the counts of standard `row` would fit, or None.

    `sensitivity` (C,) counts per wt%, 0 where unknown.
    """
    known = sensitivity > 0
    for other in range(len(net.wt_pct)):
        found = (net.net_per_factor[row] * net.factors[row] / net.factors[other])[known] / sensitivity[known]
        expected = net.wt_pct[other, known]
        sd = 0.1 * expected + _FOREIGN_SD_WT_PCT
        if other != row and expected.max(initial=0) > 5 and np.all(np.abs(found - expected) < _SAME_SD * sd):
            return other
    return None
