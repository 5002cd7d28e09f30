"""Numbers that describe a section: grey values, noise, textures, outlines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy import ndimage as ndi
from sections import CHANNELS, PIXEL_UM, Maps
from skimage.measure import regionprops_table

MIN_AREA_PX = 15
SCALES_PX = (3, 7, 15)
_REACH_PX = 40


def statistics(maps: Maps) -> dict[str, float]:
    """Measure everything of a section: name -> number."""
    return (
        areas(maps)
        | outlines(maps)
        | grey_values(maps)
        | correlations(maps)
        | textures(maps)
        | spectra(maps)
        | seams(maps)
    )


def places(maps: Maps) -> dict[str, np.ndarray]:
    """Mark rock pixels in chondrules and between all objects, one pixel away from outlines."""
    core = ndi.minimum_filter(maps.objects, 3) == ndi.maximum_filter(maps.objects, 3)
    core &= ndi.binary_erosion(maps.section, iterations=3)
    return {"in": core & (maps.chondrules > 0), "between": core & (maps.objects == 0)}


def areas(maps: Maps) -> dict[str, float]:
    """Area shares (% of the section)."""
    rock = maps.section.sum()
    nodules = np.isin(maps.objects, maps.nodules) & maps.section
    chondrules = (maps.chondrules > 0) & maps.section
    between = maps.section & (maps.objects == 0)
    return {
        "area chondrules %": 100 * chondrules.sum() / rock,
        "area nodules %": 100 * nodules.sum() / rock,
        "area between %": 100 * between.sum() / rock,
        "nodules of 15 px per 100 mm2": float((np.bincount(maps.objects[nodules])[1:] >= MIN_AREA_PX).sum())
        / (rock * PIXEL_UM**2 * 1e-8),
    }


def outlines(maps: Maps) -> dict[str, float]:
    """Sizes, shapes and gaps of chondrules and fragments of 15 px and more."""
    table = object_table(maps)
    diameter_um = table["equivalent_diameter_area"] * PIXEL_UM
    gap = gaps_px(maps)
    return {
        "objects per 100 mm2": len(diameter_um) / (maps.section.sum() * PIXEL_UM**2 * 1e-8),
        "diameter p10 um": np.percentile(diameter_um, 10),
        "diameter median um": np.median(diameter_um),
        "diameter p90 um": np.percentile(diameter_um, 90),
        "diameter largest um": diameter_um.max(),
        "sd of ln diameter": np.log(diameter_um).std(),
        "solidity p10": np.percentile(table["solidity"], 10),
        "solidity median": np.median(table["solidity"]),
        "axis ratio median": np.median(table["axis_minor_length"] / table["axis_major_length"]),
        "gap to nearest median px": np.median(gap),
        "gap to nearest p90 px": np.percentile(gap, 90),
        "objects with a gap of 2 px or less %": 100 * (gap <= 2).mean(),
    }


def object_table(maps: Maps) -> dict[str, np.ndarray]:
    """Area, equivalent diameter (px), solidity and axes of chondrules and fragments of 15 px and more."""
    names = ("area", "equivalent_diameter_area", "solidity", "axis_minor_length", "axis_major_length")
    table = regionprops_table(maps.chondrules, properties=names)
    large = table["area"] >= MIN_AREA_PX
    return {name: values[large] for name, values in table.items()}


def gaps_px(maps: Maps) -> np.ndarray:
    """Width (px) of the gap between each object and its nearest neighbour, at most 40."""
    gaps = []
    for number, box in enumerate(ndi.find_objects(maps.objects), start=1):
        if box is None or number in maps.ignored:
            continue
        wide = tuple(slice(max(s.start - _REACH_PX, 0), s.stop + _REACH_PX) for s in box)
        part = maps.objects[wide]
        mine, others = part == number, (part > 0) & (part != number)
        if mine.sum() >= MIN_AREA_PX:
            away = ndi.distance_transform_edt(~others)[mine].min() - 1 if others.any() else _REACH_PX
            gaps.append(min(float(away), _REACH_PX))
    return np.array(gaps)


def grey_values(maps: Maps) -> dict[str, float]:
    """Quartiles in and between chondrules, the contrast of the two, saturation; of each channel."""
    where, out = places(maps), {}
    for name, plane in zip(CHANNELS, maps.maps, strict=True):
        inside, between = plane[where["in"]], plane[where["between"]]
        for place, values in (("in", inside), ("between", between)):
            for percent in (10, 50, 90):
                out[f"{name} {place} p{percent}"] = float(np.percentile(values, percent))
        out[f"{name} share of pixel pairs in > between"] = _rank_share(inside, between)
        out[f"{name} at 0 %"] = 100 * float((plane[maps.section] <= 0).mean())
        out[f"{name} at 250 or more %"] = 100 * float((plane[maps.section] >= 250).mean())
        means = ndi.mean(plane, maps.chondrules, np.unique(maps.chondrules)[1:])
        out[f"{name} sd of object means / sd in objects"] = float(np.std(means) / max(inside.std(), 1e-6))
    return out


def _rank_share(first: np.ndarray, second: np.ndarray) -> float:
    """Chance that a value of `first` exceeds one of `second`, ties half (area under the ROC curve)."""
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    return float(below.mean() / 2 / len(second))


def correlations(maps: Maps) -> dict[str, float]:
    """Rank correlation of each pair of channels in and between chondrules."""
    out = {}
    for place, where in places(maps).items():
        ranks = np.argsort(np.argsort(maps.maps[:, where], axis=1), axis=1)
        matrix = np.corrcoef(ranks)
        for i, j in combinations(range(len(CHANNELS)), 2):
            out[f"rank correlation {CHANNELS[i]}-{CHANNELS[j]} {place}"] = float(matrix[i, j])
    return out


def textures(maps: Maps) -> dict[str, float]:
    """Mean local sd at several scales, in units of the channel's sd over the section."""
    where, out = places(maps), {}
    for name, plane in zip(CHANNELS, maps.maps, strict=True):
        unit = plane[maps.section].std()
        for place, mask in where.items():
            for size in SCALES_PX:
                out[f"{name} local sd {size} px {place}"] = _local_sd(plane, mask, size) / unit
    return out


def _local_sd(plane: np.ndarray, mask: np.ndarray, size: int) -> float:
    """Mean over `mask` of the sd in windows of `size` px, pixels outside the mask left out."""
    values = np.where(mask, plane - plane[mask].mean(), 0).astype(np.float64)
    share, first, second = (ndi.uniform_filter(part, size) for part in (mask.astype(float), values, values**2))
    filled = mask & (share > 0.6)
    mean = first[filled] / share[filled]
    return float(np.sqrt((second[filled] / share[filled] - mean**2).clip(0)).mean())


def _power(plane: np.ndarray, section: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequency (cycles per px) and power of the rock, tapered towards the edges of rock and map."""
    taper = np.outer(np.hanning(plane.shape[0]), np.hanning(plane.shape[1]))
    taper *= ndi.gaussian_filter(section.astype(float), 2)
    mean = (plane * taper).sum() / taper.sum()
    frequency = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.fftfreq(plane.shape[1])[None, :])
    return frequency, np.abs(np.fft.fft2((plane - mean) * taper)) ** 2


def spectrum(plane: np.ndarray, section: np.ndarray, n_bins: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Radially averaged power of the rock: frequency (cycles per px), power (mean over all frequencies 1)."""
    frequency, power = _power(plane, section)
    edges = np.geomspace(0.008, 0.5, n_bins + 1)
    index = np.digitize(frequency, edges).ravel()
    n = np.bincount(index, minlength=n_bins + 2)
    mean = np.bincount(index, power.ravel(), n_bins + 2) / np.maximum(n, 1)
    return np.sqrt(edges[:-1] * edges[1:]), mean[1:-1] / power.mean()


def spectra(maps: Maps) -> dict[str, float]:
    """Share of the variance in three bands of wavelength, of each channel."""
    out = {}
    for name, plane in zip(CHANNELS, maps.maps, strict=True):
        frequency, power = _power(plane, maps.section)
        for label, low, high in (("over 20 px", 0, 0.05), ("5-20 px", 0.05, 0.2), ("2-5 px", 0.2, 0.75)):
            band = (frequency >= low) & (frequency < high)
            out[f"{name} variance at {label} %"] = 100 * float(power[band].sum() / power.sum())
    return out


def seams(maps: Maps) -> dict[str, float]:
    """Grey of the seam where two objects meet minus that of both sides, in units of the channel's sd.

    A seam is a pixel between objects, or at their contact, within 1.5 px of two chondrules; its sides are
    chondrule pixels 2 to 4 px away from it. Near 0, touching objects cannot be told apart.
    """
    nearest, second = _two_nearest_px(maps)
    seam = maps.section & (maps.chondrules == 0) & (nearest <= 1.5) & (second <= 1.5)
    away = ndi.distance_transform_edt(~seam)
    sides = (maps.chondrules > 0) & (away >= 2) & (away <= 4)
    out = {"seam pixels % of rock": 100 * float(seam.sum() / maps.section.sum())}
    for name, plane in zip(CHANNELS, maps.maps, strict=True):
        unit = plane[maps.section].std()
        out[f"{name} seam minus sides"] = float((plane[seam].mean() - plane[sides].mean()) / unit)
    return out


def _two_nearest_px(maps: Maps, reach: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Distances (px) to the nearest and to the second nearest chondrule, as far as `reach`."""
    nearest = np.full(maps.section.shape, np.inf)
    second = nearest.copy()
    for number, box in enumerate(ndi.find_objects(maps.chondrules), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)
        away = ndi.distance_transform_edt(maps.chondrules[wide] != number)
        first = nearest[wide]
        second[wide] = np.minimum(np.maximum(away, first), second[wide])
        nearest[wide] = np.minimum(away, first)
    return nearest, second
