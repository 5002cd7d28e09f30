"""Clusters without labels: k-means, Gaussian mixture, non-negative matrix factorisation."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.clusters.classes import MOST_CLASSES, Features, Floats, bands, by_pixels, select_channels
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.grid import Window
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section, Stack

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Table = NDArray[np.float32]
Predict = Callable[[Table], NDArray[Any]]

METHODS = ("kmeans", "gmm", "nmf")
DEFAULT_CLASSES = 8
MOST_BY_BIC = 12
#: Pixels that each method is fitted to.
_SAMPLE_PX = {"kmeans": 200_000, "gmm": 30_000, "nmf": 30_000}
_FEWEST_PER_CLASS = 20
_STARTS = 4
_MOST_NAMED = 5
#: Sweeps of the unmixing of a pixel, and pixels that are unmixed at a time (they fit into the cache).
_SWEEPS = 100
_BLOCK_PX = 8192
#: Counting noise of the square root of counts, one sd (Bartlett, 1936); a cluster is not taken to be narrower.
_NOISE_SD = 0.5


@dataclass(frozen=True)
class Clusters:
    """Fitted clusters, the most common of the sample first.

    `predict` maps (N, F) scaled features to (N,) indices of `names`.
    """

    names: tuple[str, ...]
    description: str
    notes: tuple[str, ...]
    features: Features
    centre: Table
    scale: Table
    predict: Predict

    def draw(self, window: Window) -> NDArray[np.uint8]:
        """Return the class of each pixel (H, W) of a window: 1 + index of its name."""
        values = (self.features.read(window) - self.centre[:, None, None]) / self.scale[:, None, None]
        return by_pixels(values, self.predict)


def fit_clusters(
    source: Section | Stack, method: str = "kmeans", *, classes: int | None = None, seed: int = 1
) -> Clusters:
    """Fit clusters to a sample of the pixels inside the mask.

    k-means and the Gaussian mixture (full covariances) work on square roots of counts, whose noise is the same in
    every channel, so that one of noise alone weighs little; what is not counts is scaled to the median sd of those that
    are. NMF (Lee & Seung, 1999, doi:10.1038/44565) unmixes the counts themselves, each channel divided by the root of
    its mean, which is the best scaling for Poisson noise (Keenan & Kotula, 2004, doi:10.1002/sia.1657); a pixel belongs
    to the component that gives most of its counts. Negative values count as 0 there, in the sample and outside it.

    Parameters
    ----------
    source : all channels of a section, or the chosen expressions of a stack.
    method : one of `METHODS`.
    classes : number of classes; None: 8, and for ``gmm`` the number of 2 to 12 with the lowest BIC (Schwarz, 1978).
    seed : the same seed gives the same clusters.

    Raises
    ------
    UnknownNameError : no such method.
    InputError : too many classes, too few pixels, or pixels that are all alike.
    """
    if method not in METHODS:
        raise UnknownNameError.of("method", method, METHODS)
    if classes is not None and not 2 <= classes <= MOST_CLASSES:
        raise InputError(f"{classes} classes are not possible: give 2 to {MOST_CLASSES}.")
    features = Features(select_channels(source), plain=method == "nmf")
    sample = _sample(features, method, classes or DEFAULT_CLASSES)
    _require_contrast(features, sample)
    centre, scale = _scaling(sample, method, features)
    scaled = (sample - centre) / scale
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predict, how = _FITS[method](scaled, classes, seed)
    notes = _remarks([str(warning.message) for warning in caught])
    if method == "nmf":
        notes += _note_on_negatives(features.stack)
    order = np.argsort(-np.bincount(predict(scaled), minlength=how.classes), kind="stable")
    rank = np.argsort(order)
    names = tuple(f"{how.word} {number}" for number in range(1, how.classes + 1))
    return Clusters(names, how.text, notes, features, centre, scale, lambda values: rank[predict(values)])


def _remarks(messages: Sequence[str]) -> tuple[str, ...]:
    """Put the remarks of the fit in words; of those that differ in their numbers only, the first."""
    kinds: dict[str, str] = {}
    for message in messages:
        text = " ".join(message.split()).rstrip(".")
        kinds.setdefault(re.sub(r"[\d.]+", "", text), f"The fit of the clusters remarks: {text}.")
    return tuple(kinds.values())


def _require_contrast(features: Features, sample: Table) -> None:
    """Raise InputError where no channel differs between the pixels of a sample (N, F)."""
    if (sample == sample[0]).all():
        names = features.stack.names
        what = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        raise InputError(
            f"There is nothing to sort by: all pixels have the same values of {what}. Name other channels with --use."
        )


def _note_on_negatives(stack: Stack) -> tuple[str, ...]:
    """Tell how many values inside the mask are below 0, and of which channels: NMF counts them as 0."""
    found = np.zeros(len(stack.names), np.int64)
    for window in bands(stack.shape):
        inside = stack.section.read_mask(window)
        found += np.array([np.count_nonzero((plane < 0) & inside) for plane in stack.read(window)])
    if not found.any():
        return ()
    named = ", ".join(f"{name}: {number}" for name, number in zip(stack.names, found, strict=True) if number)
    return (f"NMF needs values of 0 or more: {found.sum()} negative values count as 0 ({named}).",)


@dataclass(frozen=True)
class _How:
    """Number of classes, what one is called, and the method in words."""

    classes: int
    word: str
    text: str


def _sample(features: Features, method: str, classes: int) -> Table:
    section = features.stack.section
    sample = sample_pixels(section, features.read, max_px=_SAMPLE_PX[method]).T
    if len(sample) < _FEWEST_PER_CLASS * classes:
        raise InputError(
            f"'{section.name}' has {len(sample)} pixels to fit {classes} classes to: at least "
            f"{_FEWEST_PER_CLASS} per class are needed. Ask for fewer classes, or check the mask."
        )
    return np.ascontiguousarray(sample)


def _scaling(sample: Table, method: str, features: Features) -> tuple[Table, Table]:
    """Return centre and scale (F,) of each channel."""
    if method != "nmf":
        sd = sample.std(axis=0, dtype=np.float64)
        sd[sd == 0] = 1
        are_counts = np.array(features.are_counts())
        scale = np.where(are_counts, 1.0, sd / (np.median(sd[are_counts]) if are_counts.any() else 1.0))
        return sample.mean(axis=0, dtype=np.float64).astype(np.float32), scale.astype(np.float32)
    mean = sample.mean(axis=0, dtype=np.float64)
    return np.zeros(sample.shape[1], np.float32), np.sqrt(np.where(mean > 0, mean, 1)).astype(np.float32)


def _fit_kmeans(sample: Table, classes: int | None, seed: int) -> tuple[Predict, _How]:
    from sklearn.cluster import KMeans

    n_classes = classes or DEFAULT_CLASSES
    fitted = KMeans(n_classes, n_init=_STARTS, random_state=seed).fit(sample)
    return fitted.predict, _How(n_classes, "cluster", f"k-means, {n_classes} clusters")


def _fit_gmm(sample: Table, classes: int | None, seed: int) -> tuple[Predict, _How]:
    chosen = range(2, MOST_BY_BIC + 1) if classes is None else (classes,)
    tried = {number: _gmm(sample, number, seed) for number in chosen if number * _FEWEST_PER_CLASS <= len(sample)}
    best = min(tried, key=lambda number: tried[number].bic(sample) if len(tried) > 1 else 0.0)
    by = f" (lowest BIC of {min(tried)} to {max(tried)})" if classes is None else ""
    return tried[best].predict, _How(best, "cluster", f"Gaussian mixture, {best} clusters{by}")


def _gmm(sample: Table, classes: int, seed: int) -> GaussianMixture:
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(classes, reg_covar=_NOISE_SD**2, random_state=seed).fit(sample.astype(np.float64))


def _fit_nmf(sample: Table, classes: int | None, seed: int) -> tuple[Predict, _How]:
    from sklearn.decomposition import NMF

    n_classes = min(classes or DEFAULT_CLASSES, sample.shape[1])
    if classes is not None and classes > sample.shape[1]:
        raise InputError(
            f"{classes} components cannot be unmixed from {sample.shape[1]} channels: ask for {sample.shape[1]} or "
            "fewer."
        )
    fitted = NMF(n_classes, init="nndsvda", random_state=seed, max_iter=400).fit(sample)
    components = fitted.components_[fitted.components_.any(axis=1)].astype(np.float64)
    signal = components.sum(axis=1)

    def predict(values: Floats) -> NDArray[Any]:
        return np.asarray((unmix(values, components) * signal[:, None]).argmax(axis=0))

    how = _How(len(components), "component", f"non-negative unmixing (NMF), {len(components)} components")
    return predict, how


def unmix(values: NDArray[np.floating[Any]], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the amounts (K, N), 0 or more, of components (K, F) that fit the pixels (N, F) with least squares.

    Coordinate descent (Cichocki & Phan, 2009, doi:10.1587/transfun.E92.A.708) of a fixed number of sweeps, in which
    each pixel goes through the same sums whatever its neighbours: a stop that depends on all pixels of a band, or a
    matrix product, whose rounding depends on its size, would let the amounts depend on the bands.
    """
    gram = components @ components.T
    amounts = np.zeros((len(components), len(values)))
    for start in range(0, len(values), _BLOCK_PX):
        part = slice(start, start + _BLOCK_PX)
        planes = np.ascontiguousarray(values[part].T, np.float64)
        target = [_weighted(planes, component) for component in components]
        block = np.zeros((len(components), planes.shape[1]))
        for _ in range(_SWEEPS):
            for index, row in enumerate(gram):
                step = (target[index] - _weighted(block, row)) / row[index]
                np.maximum(block[index] + step, 0, out=block[index])
        amounts[:, part] = block
    return amounts


def _weighted(planes: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted sum of planes (K, N), added up in the same order for every pixel."""
    total: NDArray[np.float64] = planes[0] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        total += plane * weight
    return total


_FITS: dict[str, Callable[[Table, int | None, int], tuple[Predict, _How]]] = {
    "kmeans": _fit_kmeans,
    "gmm": _fit_gmm,
    "nmf": _fit_nmf,
}
