"""Where each element map lies, from the shifts of its pairs, and which maps share a place: one pass of the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.registration.mapshifts import PairShift

Points = NDArray[np.float64]
Numbers = NDArray[np.int64]

#: A pair whose shift is off by this many errors counts half (Cauchy weights).
_DOUBT = 2.5
_ROUNDS = 20
#: Places closer than this are one pass; up to `_FARTHEST_PX` they are if their errors allow it.
_SAME_PX, _FARTHEST_PX = 0.2, 0.5
_SAME_ERRORS = 3.0
#: Places are not known better than this (px, 1 sd).
LARGEST_ERROR_PX = 0.35
#: More than this share of pairs that contradict the rest by a pixel, and nothing is believed.
_CONTRADICTING = 0.25


@dataclass(frozen=True)
class Pass:
    """Maps that lie alike.

    Parameters
    ----------
    maps : their numbers. place_px : how far down and right of the first pass they lie (row, col), and
        `error_px`, its standard error; both 0 for the first pass.
    """

    maps: tuple[int, ...]
    place_px: tuple[float, float]
    error_px: tuple[float, float]


def find_passes(n_maps: int, pairs: Sequence[PairShift]) -> list[Pass]:
    """Return the passes, that of the most maps first; maps that no believed pair joins to it are in none.

    An empty list: nothing can be said, because no pair is believed or too many contradict each other.
    """
    believed = [pair for pair in pairs if pair.is_believed]
    joined = _largest_component(n_maps, believed)
    used = [pair for pair in believed if pair.first in joined and pair.second in joined]
    if not used:
        return []
    numbers = np.full(n_maps, -1)
    numbers[joined] = np.arange(len(joined))
    places, errors = _solve(numbers, used)
    if _contradict(places[numbers], used):
        return []
    groups = _grouped(places, errors)
    order = _in_order(groups, joined, used)
    group_of = np.full(n_maps, -1)
    for number, members in enumerate(order):
        group_of[members] = number
    if len(order) == 1:
        return [Pass(tuple(order[0]), (0.0, 0.0), (0.0, 0.0))]
    places, errors = _solve(group_of, used)
    return [
        Pass(tuple(members), (float(place[0]), float(place[1])), (float(error[0]), float(error[1])))
        for members, place, error in zip(order, places, errors, strict=True)
        if (error <= LARGEST_ERROR_PX).all()
    ]


def _largest_component(n_maps: int, pairs: Sequence[PairShift]) -> list[int]:
    """Return the maps of the largest set that pairs join."""
    label = np.arange(n_maps)
    for pair in pairs:
        label[label == label[pair.second]] = label[pair.first]
    return np.flatnonzero(label == np.bincount(label).argmax()).tolist()


def _solve(numbers: Numbers, pairs: Sequence[PairShift]) -> tuple[Points, Points]:
    """Return places and errors (G, 2) of the groups that `numbers` (N,) puts the maps into; group 0 lies at 0.

    Weighted least squares over all pairs; those that disagree with the others lose weight.
    """
    count = int(numbers.max()) + 1
    across = [pair for pair in pairs if numbers[pair.first] != numbers[pair.second]]
    design = np.zeros((len(across), count))
    for row, pair in zip(design, across, strict=True):
        row[numbers[pair.first]], row[numbers[pair.second]] = -1, 1
    places, errors = np.zeros((count, 2)), np.zeros((count, 2))
    for axis in (0, 1):
        shift = np.array([pair.shift_px[axis] for pair in across])
        error = np.array([pair.error_px[axis] for pair in across])
        places[1:, axis], errors[1:, axis] = _robust(design[:, 1:], shift, error)
    return places, errors


def _robust(design: Points, shift: Points, error: Points) -> tuple[Points, Points]:
    weight = 1 / error**2
    for _ in range(_ROUNDS):
        normal = design.T @ (design * weight[:, None])
        solution = np.linalg.solve(normal, design.T @ (weight * shift))
        off = (shift - design @ solution) / error
        weight = 1 / error**2 / (1 + (off / _DOUBT) ** 2)
    freedom = max(1, len(shift) - len(solution))
    scatter = max(1.0, float((weight * error**2 * off**2).sum()) / freedom)
    error = np.sqrt(np.diag(np.linalg.inv(normal)) * scatter)
    return np.asarray(solution, np.float64), np.asarray(error, np.float64)


def _contradict(places: Points, pairs: Sequence[PairShift]) -> bool:
    """Tell whether many pairs lie a pixel or more off the places; `places` (N, 2) of all maps."""
    off = [np.abs(pair.shift_px - places[pair.second] + places[pair.first]).max() > 1 for pair in pairs]
    return float(np.mean(off)) > _CONTRADICTING


def _grouped(places: Points, errors: Points) -> list[list[int]]:
    """Join the closest places until those left differ."""
    groups = [[number] for number in range(len(places))]
    while len(groups) > 1:
        weights = [1 / np.maximum(errors[group], 0.05) ** 2 for group in groups]
        means = [np.average(places[group], axis=0, weights=weight)
                 for group, weight in zip(groups, weights, strict=True)]  # fmt: skip
        spread = [np.sqrt(1 / weight.sum(axis=0)) for weight in weights]
        near = [(_apart(means[b] - means[a], np.hypot(spread[a], spread[b])), a, b)
                for a in range(len(groups)) for b in range(a + 1, len(groups))]  # fmt: skip
        distance, a, b = min(near)
        if distance > 1:
            break
        groups[a] += groups.pop(b)
    return [sorted(group) for group in groups]


def _apart(difference: Points, error: Points) -> float:
    """Return how far two places are from being one: up to 1 they are."""
    length = float(np.linalg.norm(difference))
    allowed = np.clip(_SAME_ERRORS * float(np.linalg.norm(error)) / 2**0.5, _SAME_PX, _FARTHEST_PX)
    return length / float(allowed)


def _in_order(groups: list[list[int]], joined: Sequence[int], pairs: Sequence[PairShift]) -> list[list[int]]:
    """Return the groups as numbers of maps: the largest first, of equal ones that which tells more about the others."""
    information = np.zeros(max(joined) + 1)
    for pair in pairs:
        information[[pair.first, pair.second]] += pair.information
    members = [[joined[number] for number in group] for group in groups]
    return sorted(members, key=lambda group: (-len(group), -float(information[group].sum())))
