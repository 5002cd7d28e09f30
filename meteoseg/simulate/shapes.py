"""Outlines of objects: lumpy ellipses, and fragments broken along straight faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meteoseg.grid import Window

Rng = np.random.Generator
FloatField = NDArray[np.float32]


@dataclass(frozen=True)
class Outline:
    """A closed outline around a centre, given by its radius in every direction.

    `harmonics` rows are (order, relative amplitude, phase); `faces` rows are (direction, relative distance) of
    straight cuts.
    """

    radius: float
    aspect: float
    tilt: float
    harmonics: NDArray[np.float64]
    faces: NDArray[np.float64]

    def reach(self, row: FloatField, col: FloatField) -> FloatField:
        """Return the distance from the centre in units of the outline's own radius there: < 1 is inside.

        `row`, `col` are offsets from the centre in the unit of `radius`.
        """
        along = np.cos(self.tilt) * col + np.sin(self.tilt) * row
        across = -np.sin(self.tilt) * col + np.cos(self.tilt) * row
        root = np.sqrt(self.aspect)
        distance = np.hypot(along / root, across * root) / self.radius
        angle = np.arctan2(across * self.aspect, along)
        lumps = np.ones_like(distance)
        for order, amplitude, phase in self.harmonics:
            lumps += amplitude * np.cos(order * angle + phase)
        reach = distance / np.maximum(lumps, 0.3)
        for direction, depth in self.faces:
            flat = (np.cos(direction) * along + np.sin(direction) * across) / (self.radius * depth)
            reach = np.maximum(reach, flat)
        return np.asarray(reach, np.float32)


def draw_outline(rng: Rng, radius: float, *, roughness: float, fragment: bool) -> Outline:
    """Draw an outline: aspect ratio 1.0 to 2.3, lumps of relative size `roughness`, cut faces for fragments."""
    orders = np.arange(2, 9)
    amplitude = roughness * rng.normal(0, 1, orders.size) / orders
    harmonics = np.column_stack([orders, amplitude, rng.uniform(0, 2 * np.pi, orders.size)])
    n_faces = int(rng.integers(1, 3)) if fragment else 0
    faces = np.column_stack([rng.uniform(0, 2 * np.pi, n_faces), rng.uniform(0.25, 0.8, n_faces)])
    aspect = 1 + min(abs(rng.normal(0.14, 0.16)), 0.9) + (0.4 * rng.random() if fragment else 0)
    return Outline(radius, aspect, rng.uniform(0, np.pi), harmonics, faces)


def local_frame(
    centre_um: NDArray[np.float64], reach_um: float, px_um: float, shape: tuple[int, int]
) -> tuple[Window, FloatField, FloatField] | None:
    """Return the window around an object and the (row, col) offsets from its centre in um, or None if outside."""
    low = np.floor((centre_um - reach_um) / px_um).astype(int)
    high = np.ceil((centre_um + reach_um) / px_um).astype(int) + 1
    row, col = (int(max(0, v)) for v in low)
    row_end, col_end = int(min(shape[0], high[0])), int(min(shape[1], high[1]))
    if row >= row_end or col >= col_end:
        return None
    rows = (np.arange(row, row_end) + 0.5) * px_um - centre_um[0]
    cols = (np.arange(col, col_end) + 0.5) * px_um - centre_um[1]
    grid = np.meshgrid(rows, cols, indexing="ij")
    return (
        Window(row, col, row_end - row, col_end - col),
        grid[0].astype(np.float32),
        grid[1].astype(np.float32),
    )
