"""From deposits to three images of 256 x 256 pixels, kept sparse.

Two detectors:

- ``wires``: three planes of wires at 0, +60 and -60 degrees, 3 mm apart, drift time along the rows (3 mm per row).
  Charge after recombination, diffusion, noise and a threshold; in MeV of a minimum-ionising track.
- ``axes``: the geometry of the public LArCV files: energy in voxels of 5 mm, in units of 10 keV, those under 5 dropped,
  the others cut at 400, summed along z, x and y. No recombination, diffusion or noise.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import argon
import numpy as np
from particles import Deposits
from scipy.special import ndtr, ndtri

from meteoseg.errors import UnknownNameError

FloatArray = np.ndarray

SIDE_PX = 256
#: The vertex is at least this far inside the image.
MARGIN_PX = 8
#: Events whose charge is summed in dense images at once; positions in a pixel that diffusion tells apart.
CHUNK, PHASES = 10, 16
#: Border of those images, for charge of deposits just inside that diffuses out.
BORDER_PX = 4


@dataclass(frozen=True)
class SparseImages:
    """Pixels above 0 of N images of (planes, SIDE_PX, SIDE_PX).

    Attributes
    ----------
    offsets : (N + 1,) int64, image i has the entries offsets[i] to offsets[i + 1]
    places : (M,) int32, flat index into (planes, rows, cols)
    values : (M,) float32
    """

    offsets: np.ndarray
    places: np.ndarray
    values: FloatArray

    def dense(self, number: int) -> FloatArray:
        """One image, (3, SIDE_PX, SIDE_PX)."""
        image = np.zeros(3 * SIDE_PX**2, np.float32)
        part = slice(self.offsets[number], self.offsets[number + 1])
        image[self.places[part]] = self.values[part]
        return image.reshape(3, SIDE_PX, SIDE_PX)


@dataclass(frozen=True)
class Wires:
    """Settings of the wire planes.

    Attributes
    ----------
    pitch_cm : distance of the wires; rows are as long along the drift
    angles_deg : angle of each plane to the vertical
    noise_mev : standard deviation of the noise of a pixel
    threshold_mev : pixels below are 0
    quench : whether recombination is applied
    """

    pitch_cm: float = 0.3
    angles_deg: tuple[float, ...] = (60.0, -60.0, 0.0)
    noise_mev: float = 0.025
    threshold_mev: float = 0.1
    quench: bool = True
    channels: tuple[str, ...] = ("U", "V", "Y")

    def images(self, deposits: Deposits, n_events: int, rng: np.random.Generator) -> SparseImages:
        """Read the deposits of events 0 to `n_events` - 1."""
        detector = argon.constants()["detector"]
        energy = deposits.energy.astype(float)
        if self.quench:
            energy = energy * argon.recombination(deposits.loss) / argon.recombination(np.array(2.1))
        drift = (deposits.place[:, 0] + detector["drift_cm_us"] * deposits.delay_us) / self.pitch_cm
        angles = np.deg2rad(self.angles_deg)
        wires = (deposits.place[:, 2:] * np.cos(angles) + deposits.place[:, 1:2] * np.sin(angles)) / self.pitch_cm
        coordinates = np.concatenate([drift[:, None], wires], axis=1)
        origin = windows(coordinates, deposits.event, energy, n_events, rng)
        coordinates += origin[deposits.event]
        time_us = rng.uniform(0, detector["drift_length_cm"], n_events) / detector["drift_cm_us"]
        widths = [
            np.sqrt(2 * detector[name] * 1e-6 * time_us) / self.pitch_cm
            for name in ("diffusion_long_cm2_s", "diffusion_trans_cm2_s")
        ]
        keys, values = _spread(coordinates, deposits.event, energy, (widths[0], widths[1]), n_events)
        return self._digitised(keys, values, n_events, rng)

    def _digitised(self, keys: np.ndarray, values: FloatArray, n_events: int, rng: np.random.Generator) -> SparseImages:
        """Add noise everywhere, cut at the threshold; `keys` ascend.

        Empty pixels are far too many to draw: the number of those above the threshold is Poisson, their values come
        from the tail of the Gaussian.
        """
        values = values + self.noise_mev * rng.standard_normal(values.size)
        size = 3 * SIDE_PX**2
        tail = ndtr(-self.threshold_mev / self.noise_mev)
        lit = np.sort(rng.integers(0, n_events * size, rng.poisson(n_events * size * tail)))
        lit = lit[np.diff(lit, prepend=-1) > 0]
        known = keys[np.minimum(np.searchsorted(keys, lit), max(keys.size - 1, 0))] if keys.size else lit[:0]
        lit = lit[known != lit] if keys.size else lit
        noise = -self.noise_mev * ndtri(tail * rng.uniform(1e-9, 1, lit.size))
        keys, values = np.concatenate([keys, lit]), np.concatenate([values, noise])
        kept = values >= self.threshold_mev
        return packed(keys[kept], values[kept], n_events)


@dataclass(frozen=True)
class Axes:
    """Settings of the projections along the three axes (those of the public files)."""

    voxel_cm: float = 0.5
    per_mev: float = 100.0
    threshold: float = 5.0
    highest: float = 400.0
    channels: tuple[str, ...] = ("XY", "YZ", "ZX")

    def images(self, deposits: Deposits, n_events: int, rng: np.random.Generator) -> SparseImages:
        """Read the deposits of events 0 to `n_events` - 1."""
        coordinates = deposits.place / self.voxel_cm
        origin = windows(coordinates, deposits.event, deposits.energy, n_events, rng)
        cells = np.floor(coordinates + origin[deposits.event]).astype(np.int64)
        inside = ((cells >= 0) & (cells < SIDE_PX)).all(axis=1)
        x, y, z = cells[inside].T
        keys = ((deposits.event[inside].astype(np.int64) * SIDE_PX + x) * SIDE_PX + y) * SIDE_PX + z
        keys, values = summed(keys, deposits.energy[inside] * self.per_mev)
        kept = values >= self.threshold
        keys, values = keys[kept], np.minimum(values[kept], self.highest)
        rest, z = np.divmod(keys, SIDE_PX)
        rest, y = np.divmod(rest, SIDE_PX)
        event, x = np.divmod(rest, SIDE_PX)
        planes = [
            ((event * 3 + plane) * SIDE_PX + row) * SIDE_PX + col
            for plane, (row, col) in enumerate([(y, x), (z, y), (x, z)])
        ]
        keys, values = summed(np.concatenate(planes), np.tile(values, 3))
        return packed(keys, values, n_events)


READOUTS = {"wires": Wires, "axes": Axes}


def readout_of(name: str) -> Wires | Axes:
    """A detector by its name.

    Raises
    ------
    UnknownNameError : there is none.
    """
    if name not in READOUTS:
        raise UnknownNameError.of("readout", name, READOUTS)
    return READOUTS[name]()


def windows(
    coordinates: FloatArray, event: np.ndarray, energy: FloatArray, n_events: int, rng: np.random.Generator
) -> FloatArray:
    """Where the vertex of each event lies in its images, along each coordinate, in pixels.

    The window holds the vertex, MARGIN_PX from its edges, and as much of the event (its inner 98 % of energy) as
    fits; within that its position is random.

    Returns
    -------
    (n_events, coordinates) float
    """
    out = np.empty((n_events, coordinates.shape[1]))
    for axis in range(coordinates.shape[1]):
        low, high = _extent(coordinates[:, axis], event, energy, n_events)
        free = SIDE_PX - 2.0 * MARGIN_PX
        # vertex + low >= margin and vertex + high <= side - margin; of an event that is too long, any part may be shown
        least = np.clip(MARGIN_PX - low, MARGIN_PX, MARGIN_PX + free)
        most = np.clip(MARGIN_PX + free - high, MARGIN_PX, MARGIN_PX + free)
        out[:, axis] = rng.uniform(np.minimum(least, most), np.maximum(least, most) + 1e-6)
    return out


def _extent(values: FloatArray, event: np.ndarray, energy: FloatArray, n_events: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates between which the inner 98 % of each event's energy lies, the vertex (0) included."""
    reach = 2 * SIDE_PX
    cell = np.clip(np.floor(values), -reach, reach - 1).astype(np.int64) + reach
    profile = np.bincount(event.astype(np.int64) * 2 * reach + cell, energy, n_events * 2 * reach)
    grown = np.cumsum(profile.reshape(n_events, 2 * reach), axis=1)
    total = np.maximum(grown[:, -1:], 1e-9)
    low = (grown <= 0.01 * total).sum(axis=1) - reach
    high = (grown < 0.99 * total).sum(axis=1) + 1 - reach
    return np.minimum(low, 0), np.maximum(high, 0)


def _spread(
    coordinates: FloatArray, event: np.ndarray, energy: FloatArray, widths: tuple[FloatArray, FloatArray], n_events: int
) -> tuple[np.ndarray, FloatArray]:
    """Share each deposit among the 5 x 5 pixels about it, by the Gaussian of its event's diffusion.

    Parameters
    ----------
    coordinates : (n, 1 + planes) pixels: along the drift, then along each plane
    widths : of each event along the drift and along the wires, pixels

    Returns
    -------
    Flat keys over (events, planes, rows, cols), ascending, and the charge of each.
    """
    tables = [_shares(width) for width in widths]
    order = np.argsort(event, kind="stable")
    ends = np.searchsorted(event[order], np.arange(0, n_events + CHUNK, CHUNK))
    keys, values = [], []
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        part = order[start:stop]
        image = _charge(coordinates[part], event[part], energy[part], tables, number * CHUNK)
        lit = np.flatnonzero(image)
        keys.append(lit + number * CHUNK * image[0].size)
        values.append(image.reshape(-1)[lit])
    return np.concatenate(keys), np.concatenate(values)


def _shares(width: FloatArray) -> FloatArray:
    """Shares of a charge in its pixel and two on either side, (events, PHASES positions in the pixel, 5)."""
    phase = (np.arange(PHASES) + 0.5) / PHASES
    edges = np.arange(-2, 4) - phase[:, None]
    return np.diff(ndtr(edges / np.maximum(width, 0.02)[:, None, None]), axis=-1).astype(np.float32)


def _charge(
    coordinates: FloatArray, event: np.ndarray, energy: FloatArray, tables: list[FloatArray], first_event: int
) -> FloatArray:
    """Dense images of CHUNK events from `first_event` on, (CHUNK, planes, SIDE_PX, SIDE_PX)."""
    planes, wide = coordinates.shape[1] - 1, SIDE_PX + 2 * BORDER_PX
    whole = np.floor(coordinates).astype(np.int64)
    phase = ((coordinates - whole) * PHASES).astype(np.int64)
    near = (whole >= -2) & (whole < SIDE_PX + 2)
    reach = np.arange(-2, 3)
    offsets = (reach[:, None] * wide + reach).ravel()
    total = np.zeros(CHUNK * planes * wide**2)
    for plane in range(planes):
        kept = near[:, 0] & near[:, plane + 1]
        row_share = tables[0][event[kept], phase[kept, 0]] * energy[kept, None].astype(np.float32)
        col_share = tables[1][event[kept], phase[kept, plane + 1]]
        place = ((event[kept] - first_event) * planes + plane) * wide + whole[kept, 0] + BORDER_PX
        place = place * wide + whole[kept, plane + 1] + BORDER_PX
        shared = (row_share[:, :, None] * col_share[:, None, :]).reshape(-1)
        total += np.bincount((place[:, None] + offsets).reshape(-1), shared, total.size)
    total[total < 1e-4] = 0
    inner = slice(BORDER_PX, -BORDER_PX)
    return np.ascontiguousarray(total.reshape(CHUNK, planes, wide, wide)[:, :, inner, inner])


def summed(keys: np.ndarray, values: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Add the values of equal keys; keys come back sorted."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    if not first.size:
        return keys, values
    return keys[first], np.add.reduceat(values[order].astype(float), first)


def packed(keys: np.ndarray, values: FloatArray, n_events: int) -> SparseImages:
    """Sort pixels (flat keys over events, planes, rows, cols) into one image per event."""
    order = np.argsort(keys)
    event, places = np.divmod(keys[order], 3 * SIDE_PX**2)
    offsets = np.searchsorted(event, np.arange(n_events + 1)).astype(np.int64)
    return SparseImages(offsets, places.astype(np.int32), values[order].astype(np.float32))
