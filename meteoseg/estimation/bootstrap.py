"""The error of any figure of a section, from a bootstrap over blocks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 500


def bootstrapped(
    value: float, blocks: NDArray[np.integer[Any]], figure: Callable[[NDArray[Any]], NDArray[np.floating[Any]]]
) -> tuple[float, float, float, float]:
    """Return the figure, its standard error and the ends of its 95 % interval, which holds the figure.

    Parameters
    ----------
    value : the figure itself. blocks : (B, ...) counts by block. figure : makes (N,) figures of (N, ...) sums.

    Examples
    --------
    >>> value, error, low, high = bootstrapped(0.5, np.array([[1], [0], [1], [0]]), lambda sums: sums[:, 0] / 4)
    >>> round(error, 1), low, high
    (0.2, 0.0, 1.0)
    """
    n = len(blocks)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    drawn = figure(np.tensordot(weights, blocks, axes=1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return value, float(drawn.std(ddof=1)), float(min(low, value)), float(max(high, value))
