"""Component images of a spectrum cube: PCA or NMF fitted on a sample of pixels, applied to any."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.spectra.axis import Array

METHODS = ("pca", "nmf")
#: Channels of a spectrum that are added up before the analysis: a peak covers some ten.
_REBIN = 4
_LEAST_MEAN = 1e-4
_SEED = 1
_ITERATIONS = 400


@dataclass(frozen=True)
class Components:
    """A fitted analysis: `transform` gives the images of spectra, `spectra` (K, N) what each component looks like.

    Attributes
    ----------
    names : ``PCA1``, ... or ``NMF1``, ... . explained : (K,) share of the scaled variance of each (PCA), or of the
        counts (NMF).
    """

    names: tuple[str, ...]
    spectra: Array
    explained: Array
    transform: Callable[[NDArray[Any]], NDArray[np.float32]]


def fit_components(sample: NDArray[Any], count: int, *, method: str = "pca") -> Components:
    """Fit `count` components on a sample of spectra (P, N), in counts.

    Every channel is divided by the root of its mean first, so that all have the same counting noise (Keenan & Kotula,
    2004). PCA takes the mean spectrum off: its images have both signs. NMF keeps all at 0 or above.

    Raises
    ------
    InputError : unknown method, or fewer pixels than components.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> shapes = np.repeat([[9.0, 1.0], [1.0, 9.0]], 40, axis=1)
    >>> found = fit_components(rng.poisson(shapes[rng.integers(0, 2, 300)]), 2)
    >>> found.names, bool(found.explained[0] > 5 * found.explained[1])
    (('PCA1', 'PCA2'), True)
    """
    if method not in METHODS:
        raise InputError(f"Method '{method}' of components is unknown: choose pca or nmf.")
    if len(sample) <= count or count < 1:
        raise InputError(f"{count} components need more than {len(sample)} pixels with counts: ask for fewer.")
    binned = _rebinned(sample)
    scale = 1 / np.sqrt(np.maximum(binned.mean(axis=0), _LEAST_MEAN))
    names = tuple(f"{method.upper()}{number}" for number in range(1, count + 1))
    fit = _fit_pca if method == "pca" else _fit_nmf
    shapes, explained, project = fit(binned * scale, count)

    def transform(spectra: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(project(_rebinned(spectra) * scale), np.float32)

    full = np.repeat(shapes / scale, _REBIN, axis=1)[:, : sample.shape[1]] / _REBIN
    spectra = np.pad(full, ((0, 0), (0, sample.shape[1] - full.shape[1])))
    return Components(names, spectra, explained, transform)


def _rebinned(spectra: NDArray[Any]) -> NDArray[np.float32]:
    """Add up neighbouring channels (P, N) -> (P, N // 4), float32."""
    size = spectra.shape[1] // _REBIN
    parts = spectra[:, : size * _REBIN].reshape(len(spectra), size, _REBIN)
    return np.asarray(parts.sum(axis=2, dtype=np.float32))


_Fitted = tuple[Array, Array, Callable[[NDArray[np.float32]], NDArray[np.float32]]]


def _fit_pca(scaled: NDArray[np.float32], count: int) -> _Fitted:
    from sklearn.decomposition import PCA

    model = PCA(count, svd_solver="randomized", random_state=_SEED).fit(scaled)
    # The sign is free: the strongest part of each component is made positive.
    signs = np.sign(model.components_[np.arange(count), np.abs(model.components_).argmax(axis=1)])
    shapes = model.components_ * signs[:, None]

    def project(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((values - model.mean_) @ shapes.T)

    return np.asarray(shapes, float), np.asarray(model.explained_variance_ratio_, float), project


def _fit_nmf(scaled: NDArray[np.float32], count: int) -> _Fitted:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model = NMF(count, init="nndsvda", random_state=_SEED, max_iter=_ITERATIONS, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of few counts the last digits never settle
        weights = model.fit_transform(scaled)
    share = weights.mean(axis=0) * model.components_.sum(axis=1)
    order = np.argsort(-share)

    def project(values: NDArray[np.float32]) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return np.asarray(model.transform(values)[:, order])

    return np.asarray(model.components_[order], float), np.asarray(share[order] / share.sum(), float), project
