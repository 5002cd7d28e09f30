"""Fine-grained matrix is a texture more than a composition: a network that sees it has its say beside the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.likelihood import Floats
from meteoseg.minerals.smoothing import Pairs

#: Power of the odds that the counts give, in the product with the odds of the network (docs/minerals.md).
_CHEMISTRY_WEIGHT = 0.1
#: Probabilities count no closer to 0 and 1 than this.
_CHEMISTRY_MARGIN, _TEXTURE_MARGIN = 1e-4, 1e-2


def weigh_texture(posterior: Floats, pairs: Pairs, matrix: int, texture: NDArray[np.floating[Any]]) -> None:
    """Multiply the odds of fine-grained matrix by those that its texture gives.

    The other phases keep their proportions. Pixels whose counts exclude matrix, or all else, stay as they are.

    Parameters
    ----------
    posterior : (M,) of `pairs`, sum 1 over the pairs of a pixel; changed in place.
    matrix : its number among the phases.
    texture : (N,), probability of matrix by its texture (0-1).

    Examples
    --------
    >>> pairs = Pairs(np.array([0, 0, 1]), np.array([2, 5, 2]), np.zeros(3, np.float32))
    >>> posterior = np.array([0.5, 0.5, 1.0], np.float32)
    >>> weigh_texture(posterior, pairs, 5, np.array([0.9, 0.9]))
    >>> posterior.round(2)
    array([0.1, 0.9, 1. ], dtype=float32)
    """
    is_matrix = pairs.phase == matrix
    others = np.zeros(len(texture), np.float32)
    np.add.at(others, pairs.pixel[~is_matrix], posterior[~is_matrix])
    of_matrix = np.flatnonzero(is_matrix)
    of_matrix = of_matrix[others[pairs.pixel[of_matrix]] > 0]
    pixel = pairs.pixel[of_matrix]
    odds = _CHEMISTRY_WEIGHT * _log_odds(posterior[of_matrix], _CHEMISTRY_MARGIN)
    odds += _log_odds(texture[pixel], _TEXTURE_MARGIN)
    after = (1 / (1 + np.exp(-odds))).astype(np.float32)
    factor = np.ones(len(texture), np.float32)
    factor[pixel] = (1 - after) / others[pixel]
    posterior *= factor[pairs.pixel]
    posterior[of_matrix] = after


def _log_odds(probability: NDArray[np.floating[Any]], margin: float) -> NDArray[np.floating[Any]]:
    inside = np.clip(probability, margin, 1 - margin)
    return np.asarray(np.log(inside / (1 - inside)))
