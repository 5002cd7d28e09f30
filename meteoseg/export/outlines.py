"""Outlines of objects along the edges of their pixels: polygons whose area is the number of pixels, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: A closed line: (row, col) of its corners in pixels, the first not repeated at the end.
Ring = list[tuple[int, int]]

#: Steps along the four directions right, down, left, up: the inside of an object lies to the right of each.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


@dataclass
class Outline:
    """One part of an object, whose pixels share edges: its outer ring and those of its holes."""

    outer: Ring = field(default_factory=list)
    holes: list[Ring] = field(default_factory=list)


def outlines(inside: NDArray[np.bool_], corner_px: tuple[int, int] = (0, 0)) -> list[Outline]:
    """Trace a mask along its pixel edges.

    Pixels that meet at a corner only are parts of their own, so that every part is a valid polygon: rings do not cross
    themselves, and touch themselves or each other nowhere but at single corners of different rings.

    Parameters
    ----------
    inside : (H, W), True in the object.
    corner_px : (row, col) of its first pixel on the grid of the section.

    Returns
    -------
    One outline per part; the outer edge of pixel (row, col) runs from ``row`` to ``row + 1``.

    Examples
    --------
    >>> [part.outer for part in outlines(np.array([[True, False], [False, True]]))]
    [[(0, 0), (0, 1), (1, 1), (1, 0)], [(1, 1), (1, 2), (2, 2), (2, 1)]]
    """
    parts, n_parts = ndimage.label(inside)
    found = [Outline() for _ in range(n_parts)]
    starts, directions, owners = _edges(parts)
    stride = inside.shape[1] + 1
    follows = _following(starts, directions, stride)
    for walk in _walks(follows):
        part = found[owners[walk[0]] - 1]
        corners = [edge for before, edge in zip(walk[-1:] + walk[:-1], walk, strict=True)
                   if directions[before] != directions[edge]]  # fmt: skip
        vertices = [divmod(int(starts[edge]), stride) for edge in corners]
        for ring in _simple_rings(vertices):
            moved = [(row + corner_px[0], col + corner_px[1]) for row, col in ring]
            if area(ring) > 0:
                part.outer = moved
            else:
                part.holes.append(moved)
    return found


def area(ring: Ring) -> float:
    """Return the area that a ring encloses in pixels: positive for outer rings, negative for holes.

    Examples
    --------
    >>> area([(0, 0), (0, 3), (2, 3), (2, 0)])
    6.0
    """
    corners = np.array(ring, np.int64)
    following = np.roll(corners, -1, axis=0)
    return float((corners[:, 1] * following[:, 0] - following[:, 1] * corners[:, 0]).sum()) / 2


def _edges(parts: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return start vertex, direction (of `_STEPS`) and part of each pixel edge between a part and what is not of it."""
    padded = np.pad(parts, 1)
    centre, stride = padded[1:-1, 1:-1], parts.shape[1] + 1
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    #: Of a pixel, the vertex at which its upper, right, lower and left edge begins.
    begins = ((0, 0), (0, 1), (1, 1), (1, 0))
    starts, directions, owners = [], [], []
    for direction, (neighbour, (down, right)) in enumerate(zip(neighbours, begins, strict=True)):
        rows, cols = np.nonzero((centre > 0) & (neighbour != centre))
        starts.append((rows + down) * stride + cols + right)
        directions.append(np.full(rows.size, direction, np.int64))
        owners.append(centre[rows, cols])
    return np.concatenate(starts), np.concatenate(directions), np.concatenate(owners)


def _following(starts: NDArray[np.int64], directions: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    """Return the edge that comes after each one: where two objects meet at a corner, the one of the same pixel."""
    keys = starts * 4 + directions
    order = np.argsort(keys)
    in_order = keys[order]
    steps = np.array([down * stride + right for down, right in _STEPS], np.int64)
    ends = starts + steps[directions]
    follows = np.full(keys.size, -1, np.int64)
    for turn in (1, 0, 3):  # right, straight on, left
        wanted = ends * 4 + (directions + turn) % 4
        place = np.minimum(np.searchsorted(in_order, wanted), max(0, keys.size - 1))
        hit = (follows < 0) & (in_order[place] == wanted)
        follows[hit] = order[place[hit]]
    return follows


def _walks(follows: NDArray[np.int64]) -> list[list[int]]:
    """Return the closed walks over all edges."""
    after = follows.tolist()
    seen = bytearray(len(after))
    walks = []
    for first in range(len(after)):
        if seen[first]:
            continue
        walk, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            walk.append(edge)
            edge = after[edge]
        walks.append(walk)
    return walks


def _simple_rings(vertices: Ring) -> list[Ring]:
    """Split a closed walk at the vertices that it passes twice.

    Examples
    --------
    >>> _simple_rings([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1), (1, 0)])
    [[(1, 1), (1, 2), (2, 2), (2, 1)], [(0, 0), (0, 1), (1, 1), (1, 0)]]
    """
    rings: list[Ring] = []
    path: Ring = []
    place: dict[tuple[int, int], int] = {}
    for vertex in vertices:
        if vertex in place:
            at = place[vertex]
            rings.append(path[at:])
            for passed in path[at + 1 :]:
                del place[passed]
            del path[at + 1 :]
        else:
            place[vertex] = len(path)
            path.append(vertex)
    return [*rings, path]
