"""Random forest on multi-scale features, distance transform and watershed: what an interactive tool does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi
from sections import Maps
from skimage.morphology import h_maxima
from skimage.segmentation import watershed
from sklearn.ensemble import RandomForestClassifier

from meteoseg.metrics import boundary_band, match_objects

SIGMAS_PX = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Settings:
    """Fixed on the real section, the same for every section.

    n_trees, n_pixels : trees, and pixels drawn to train them (nodules and Al-rich objects left out).
    threshold : of the chondrule probability, smoothed with `smooth_px`.
    distance_px : sigma that smooths the distance transform; depth_px : how far a peak rises above the saddle.
    min_area_px : smaller objects are dropped.
    """

    n_trees: int = 100
    n_pixels: int = 8_000
    threshold: float = 0.5
    smooth_px: float = 0.7
    distance_px: float = 1.0
    depth_px: float = 0.5
    min_area_px: int = 15


def features(maps: np.ndarray) -> np.ndarray:
    """Compute seven features per channel and scale: (H, W, 7 x scales x channels) float32.

    Gaussian, its gradient magnitude, its Laplacian, the two eigenvalues of its Hessian and of the structure
    tensor (integrated over the same sigma).
    """
    planes = []
    for plane in maps:
        for sigma in SIGMAS_PX:
            planes += _at_scale(plane, sigma)
    return np.stack(planes, axis=-1)


def _at_scale(plane: np.ndarray, sigma: float) -> list[np.ndarray]:
    def derive(row_order: int, col_order: int) -> np.ndarray:
        return ndi.gaussian_filter(plane, sigma, order=(row_order, col_order), mode="reflect", truncate=3.0)

    dy, dx, dyy, dxy, dxx = derive(1, 0), derive(0, 1), derive(2, 0), derive(1, 1), derive(0, 2)
    tensor = (ndi.gaussian_filter(part, sigma, truncate=3.0) for part in (dy * dy, dy * dx, dx * dx))
    return [derive(0, 0), np.hypot(dy, dx), dyy + dxx, *_eigenvalues(dyy, dxy, dxx), *_eigenvalues(*tensor)]


def _eigenvalues(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, spread = (a + c) / 2, np.hypot((a - c) / 2, b)
    return mean + spread, mean - spread


def train(maps: Maps, values: np.ndarray, settings: Settings, *, seed: int = 0) -> RandomForestClassifier:
    """Train a forest on the labels of a section (or part); `values` are its features."""
    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(maps.section & ~np.isin(maps.objects, maps.ignored))
    chosen = rng.permutation(len(rows))[: settings.n_pixels]
    inside = (maps.chondrules > 0)[rows[chosen], cols[chosen]]
    forest = RandomForestClassifier(settings.n_trees, min_samples_leaf=2, n_jobs=1, random_state=seed)
    return forest.fit(values[rows[chosen], cols[chosen]], inside)


def probability(forest: RandomForestClassifier, maps: Maps, values: np.ndarray) -> np.ndarray:
    """Chondrule probability, (H, W), 0 outside the section."""
    out = np.zeros(maps.section.shape, np.float32)
    out[maps.section] = forest.predict_proba(values[maps.section])[:, 1]
    return out


def part_objects(chance: np.ndarray, settings: Settings) -> np.ndarray:
    """Threshold, distance transform, watershed from its peaks: (H, W) ids."""
    inside = ndi.gaussian_filter(chance, settings.smooth_px) >= settings.threshold
    distance = np.where(inside, ndi.gaussian_filter(ndi.distance_transform_edt(inside), settings.distance_px), 0)
    peaks, _ = ndi.label(h_maxima(distance, settings.depth_px), _EIGHT)
    labels = watershed(-distance, np.where(inside, peaks, 0), mask=inside, connectivity=_EIGHT)
    small = np.bincount(labels.ravel()) < settings.min_area_px
    return np.where(small[labels], 0, labels).astype(np.int32)


def score(predicted: np.ndarray, maps: Maps) -> dict[str, float]:
    """Score objects as real sections are scored: F1 and PQ at IoU 0.5; pixels off a 1-px band along outlines."""
    matched = match_objects(predicted, maps.objects, iou_threshold=0.5, ignore_truth_ids=maps.ignored)
    counted = maps.section & ~boundary_band(maps.objects) & ~np.isin(maps.objects, maps.ignored)
    truth, found = (maps.objects > 0)[counted], (predicted > 0)[counted]
    return {
        "f1": matched.f1,
        "pq": matched.pq,
        "dice": 2 * (truth & found).sum() / (truth.sum() + found.sum()),
        "matrix_iou": (~truth & ~found).sum() / (~truth | ~found).sum(),
        "n_truth": matched.n_matched + len(matched.missed_truth_ids),
        "n_found": matched.n_matched + len(matched.false_pred_ids),
    }
