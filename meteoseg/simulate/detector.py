"""From a painted section to maps: mixing in the pixel, beam width, counts, dead time, background, display stretch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import BSE
from meteoseg.errors import ChannelError, UnknownNameError
from meteoseg.simulate.materials import response_table
from meteoseg.simulate.noise import smooth_noise
from meteoseg.simulate.recipe import simulation_rules

Rng = np.random.Generator
MODES = ("wds", "eds", "display")


@dataclass(frozen=True)
class Detector:
    """How the maps are measured.

    mode : ``wds`` (microprobe counts), ``eds`` (SDD counts with background) or ``display`` (8-bit pictures of
        EDS maps with unknown contrast).
    dose : counts relative to 40 nA x 15 ms (WDS), or mean counts per pixel of a 20 wt% element (EDS / 20).
    gain_error : relative sd of each element's gain; `shading` relative corner fall-off; `beam_um` blur (1 sd).
    bse_shift_px : offset (row, col) of BSE against the X-ray maps.
    mosaic_px : side of the mosaic fields, 0 for one field; `seams` counts blank lines across all maps.
    drift : relative sd of the beam current, slow from row to row and common to all maps.
    row_jitter_px : sd by which rows are out of place sideways, alike in all maps.
    defocus : fall of the intensity at the field's corners in microprobe maps made by moving the beam, relative; each
        spectrometer keeps its focus along a band of its own direction (Bragg defocusing, Goldstein et al. 2018).
    bse_range : backscatter coefficients shown black and white; `bse_noise` in grey levels.
    """

    mode: str = "wds"
    dose: float = 1.0
    gain_error: float = 0.03
    shading: float = 0.0
    beam_um: float = 0.5
    bse_shift_px: tuple[float, float] = (0.0, 0.0)
    bse_range: tuple[float, float] = (0.06, 0.30)
    bse_noise: float = 5.0
    mosaic_px: int = 0
    seams: int = 0
    drift: float = 0.0
    row_jitter_px: float = 0.0
    defocus: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownNameError.of("detector mode", self.mode, MODES)


def draw_detector(rng: Rng) -> Detector:
    """Draw a detector at random, as laboratories differ: mode, dose, contrast, noise, offsets, mosaic."""
    mode = str(rng.choice(MODES, p=[0.35, 0.35, 0.3]))
    # Display images are mostly reduced from larger maps, which averages the noise.
    median, spread = {"wds": (1.0, 0.5), "eds": (1.5, 0.8), "display": (10.0, 1.0)}[mode]
    dose = rng.lognormal(np.log(median), spread)
    return Detector(
        mode,
        float(dose),
        gain_error=float(rng.uniform(0.01, 0.05)),
        shading=float(rng.uniform(0, 0.12)) if rng.random() < 0.4 else 0.0,
        beam_um=float(rng.uniform(0.3, 1.0)),
        bse_shift_px=tuple(float(v) for v in (rng.normal(0, 1.2, 2) if rng.random() < 0.35 else (0, 0))),  # type: ignore[arg-type]
        bse_range=(float(rng.uniform(0.0, 0.10)), float(rng.uniform(0.17, 0.32))),
        bse_noise=float(rng.uniform(2, 16)),
        mosaic_px=int(rng.integers(96, 400)) if rng.random() < 0.35 else 0,
        seams=int(rng.integers(1, 4)) if rng.random() < 0.15 else 0,
    )


def draw_artefacts(rng: Rng, detector: Detector) -> Detector:
    """Draw what goes wrong in some sessions: drift of the beam, rows out of place, defocus of spectrometers."""
    defocused = detector.mode == "wds" and rng.random() < 0.15
    return replace(
        detector,
        drift=float(rng.uniform(0.01, 0.06)) if rng.random() < 0.25 else 0.0,
        row_jitter_px=float(rng.uniform(0.2, 0.8)) if rng.random() < 0.1 else 0.0,
        defocus=float(rng.uniform(0.1, 0.6)) if defocused else 0.0,
    )


def _pixel_means(
    material: NDArray[np.uint8], iron: NDArray[np.uint8], channels: Sequence[str], ss: int
) -> NDArray[np.float32]:
    """Average each channel's response over the ss x ss sub-pixels of each map pixel: (C, H, W)."""
    table = response_table(channels)
    code = material.astype(np.int32) * table.shape[1] + iron
    flat = np.ascontiguousarray(table.reshape(-1, len(channels)).T)
    rows, cols = material.shape[0] // ss, material.shape[1] // ss
    out = np.empty((len(channels), rows, cols), np.float32)
    for plane, lut in zip(out, flat, strict=True):
        plane[...] = cv2.resize(lut[code], (cols, rows), interpolation=cv2.INTER_AREA)
    return out


def _gain_field(rng: Rng, shape: tuple[int, ...], detector: Detector) -> NDArray[np.float32]:
    """Gain over the map: a constant error, steps between mosaic fields, shading inside each."""
    gain = np.full(shape, 1 + detector.gain_error * rng.standard_normal(), np.float32)
    tile = detector.mosaic_px
    if tile:
        steps = 1 + 0.5 * detector.gain_error * rng.standard_normal((shape[0] // tile + 1, shape[1] // tile + 1))
        blocks = np.kron(steps, np.ones((tile, tile)))[: shape[0], : shape[1]]
        gain = np.asarray(gain * blocks, np.float32)
    if detector.shading:
        period = (tile or shape[0], tile or shape[1])
        rows = np.mod(np.arange(shape[0]), period[0]) / period[0] - 0.5
        cols = np.mod(np.arange(shape[1]), period[1]) / period[1] - 0.5
        gain *= (1 - detector.shading * 2 * (rows[:, None] ** 2 + cols[None, :] ** 2)).astype(np.float32)
    return gain


def _beam_current(rng: Rng, n_rows: int, drift: float) -> NDArray[np.float32]:
    """Beam current of each row (H, 1), relative: it wanders over a third of the map."""
    return np.asarray(1 + drift * smooth_noise(rng, (1, n_rows), n_rows / 3).T, np.float32)


def _spectrometer_of(element: str) -> int:
    """Return which spectrometer measures an element; elements of one crystal share it."""
    crystals = (("Na", "Mg", "Al"), ("Si", "P", "S"), ("K", "Ca", "Ti"), ("Cr", "Mn", "Fe", "Ni"))
    return next((number for number, elements in enumerate(crystals) if element in elements), len(crystals))


def _focus(shape: tuple[int, ...], element: str, defocus: float, turn: float) -> NDArray[np.float32]:
    """Intensity (H, W) of a defocused spectrometer: 1 along a band through the centre, 1 - `defocus` at a corner."""
    angle = turn + _spectrometer_of(element) * 2 * np.pi / 5
    rows, cols = (np.linspace(-1, 1, n) for n in shape)
    across = (np.sin(angle) * rows[:, None] + np.cos(angle) * cols[None, :]) / np.sqrt(2)
    return np.asarray((1 - defocus) ** (across**2), np.float32)


def _displace_rows(plane: NDArray[np.float32], offsets_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move every row sideways."""
    rows, cols = plane.shape
    at = np.arange(cols, dtype=np.float32)[None, :] - offsets_px[:, None]
    row = np.repeat(np.arange(rows, dtype=np.float32)[:, None], cols, axis=1)
    return np.asarray(cv2.remap(plane, at, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _blur(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    return image if sigma_px < 0.25 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def _wds_counts(
    rng: Rng, k: NDArray[np.float32], z: NDArray[np.float32], element: str, dose: float
) -> NDArray[np.uint16]:
    rules = simulation_rules()["wds"]
    intercept, slope = rules["background"][element]
    rate = dose * (100 * rules["sensitivity"][element] * k + np.maximum(intercept + slope * z, 0.02))
    # Non-paralysable dead time; the loss also narrows the noise (variance / mean = (1 - n tau)^2).
    busy = rules["dead_time_us"] / (rules["dwell_ms"] * 1000)
    seen = rate / (1 + rate * busy)
    narrow = 1 / (1 + rate * busy)
    counts = np.round(seen + (rng.poisson(rate) - rate) * narrow).clip(0)
    if element in rules["censored"]:
        counts[counts == 1] = 0
    return np.asarray(counts, np.uint16)


def _eds_counts(
    rng: Rng, k: NDArray[np.float32], z: NDArray[np.float32], element: str, dose: float
) -> NDArray[np.uint16]:
    rules = simulation_rules()["eds"]
    per_wt = dose * rules["sensitivity"][element]
    rate = per_wt * (100 * k + rules["background_wt_pct"] * z / 12)
    return np.asarray(rng.poisson(rate), np.uint16)


def _display(rng: Rng, counts: NDArray[np.uint16], z: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch counts to an 8-bit picture as mapping programs do: smoothed, clipped at percentiles, bent, compressed."""
    image = _blur(counts.astype(np.float32), float(rng.uniform(0.0, 0.9)))
    inside = image[z > 7] if (z > 7).any() else image
    low = np.percentile(inside, rng.uniform(0, 8)) * rng.uniform(0, 1)
    clipped_pct = 0.0 if rng.random() < 0.4 else np.exp(rng.uniform(np.log(0.01), np.log(2.5)))
    high = max(np.percentile(inside, 100 - clipped_pct), low + 1)
    share = ((image - low) / (high - low)).clip(0, 1) ** np.exp(rng.normal(0, 0.25))
    picture = np.asarray(255 * share, np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_GRAYSCALE), np.uint8)
    return picture


def _seam(rng: Rng, maps: Mapping[str, NDArray[Any]]) -> None:
    """Blank a line of one or two pixels across all maps, where two mosaics meet."""
    shape = next(iter(maps.values())).shape
    axis = int(rng.integers(2))
    place, width = int(rng.integers(shape[axis])), int(rng.integers(1, 3))
    for plane in maps.values():
        np.moveaxis(plane, axis, 0)[place : place + width] = 0


def _bse(rng: Rng, eta: NDArray[np.float32], detector: Detector) -> NDArray[np.uint8]:
    low, high = detector.bse_range
    grey: NDArray[np.float32] = 255 * (eta - low) / (high - low) * _gain_field(rng, eta.shape, detector)
    grey += detector.bse_noise * rng.standard_normal(eta.shape).astype(np.float32)
    grey += 0.3 * detector.bse_noise * rng.standard_normal((eta.shape[0], 1)).astype(np.float32)
    if any(detector.bse_shift_px):
        dy, dx = detector.bse_shift_px
        moved = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        size = (eta.shape[1], eta.shape[0])
        grey = np.asarray(cv2.warpAffine(grey, moved, size, borderMode=cv2.BORDER_REFLECT), np.float32)
    return np.asarray(grey.clip(0, 255), np.uint8)


def measure(
    rng: Rng,
    material: NDArray[np.uint8],
    iron: NDArray[np.uint8],
    channels: Sequence[str],
    detector: Detector,
    *,
    supersampling: int,
    pixel_um: float,
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Measure a painted section.

    Parameters
    ----------
    material, iron : (H * ss, W * ss) sub-pixel paint.
    channels : ``BSE`` and element symbols that the rules know.

    Returns
    -------
    maps {channel: (H, W) uint8 or uint16}, units {channel: ``counts`` | ``display`` | ``grey``}.

    Raises
    ------
    ChannelError : a channel the detector rules do not list.
    """
    sensitivity: Mapping[str, float] = simulation_rules()["wds"]["sensitivity"]
    for name in channels:
        if name != BSE and name not in sensitivity:
            raise ChannelError(f"Channel '{name}' cannot be simulated. Choose from BSE, {', '.join(sensitivity)}.")
    means = _pixel_means(material, iron, [*channels, "Z"], supersampling)
    z = means[-1]
    maps: dict[str, NDArray[Any]] = {}
    units: dict[str, str] = {}
    current = _beam_current(rng, len(z), detector.drift) if detector.drift else np.float32(1)
    offsets = (
        (detector.row_jitter_px * rng.standard_normal(len(z))).astype(np.float32) if detector.row_jitter_px else None
    )
    turn = rng.uniform(0, 2 * np.pi) if detector.defocus else 0.0
    count = _wds_counts if detector.mode == "wds" else _eds_counts
    for name, plane in zip(channels, means, strict=False):
        sharp = _blur(plane, detector.beam_um / pixel_um) * current
        if offsets is not None:
            sharp = _displace_rows(sharp, offsets)
        if name == BSE:
            maps[name], units[name] = _bse(rng, sharp, detector), "grey"
            continue
        gained = sharp * _gain_field(rng, z.shape, detector)
        if detector.defocus:
            gained *= _focus(z.shape, name, detector.defocus, turn)
        counts = count(rng, gained, z, name, detector.dose)
        shown = detector.mode == "display"
        maps[name] = _display(rng, counts, z) if shown else counts
        units[name] = "display" if shown else "counts"
    for _ in range(detector.seams):
        _seam(rng, maps)
    return maps, units
