"""Fine-grained matrix is a texture more than a composition: a network that sees it has its say beside the counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meteoseg.minerals.likelihood import Floats

#: Power of the odds that the counts give, in the product with the odds of the network (docs/minerals.md).
_CHEMISTRY_WEIGHT = 0.1
#: Probabilities count no closer to 0 and 1 than this.
_CHEMISTRY_MARGIN, _TEXTURE_MARGIN = 1e-4, 1e-2


def weigh_texture(posterior: Floats, row: int, texture: NDArray[np.floating]) -> None:
    """Multiply the odds of fine-grained matrix by those that its texture gives.

    The other phases keep their proportions. Pixels whose counts exclude matrix (posterior 0) stay as they are.

    Parameters
    ----------
    posterior : (K, H, W), sum 1 over K; changed in place.
    row : that of matrix in `posterior`.
    texture : (H, W), probability of matrix by its texture (0-1).

    Examples
    --------
    >>> posterior = np.array([[[0.5, 0.0]], [[0.5, 1.0]]], np.float32)
    >>> weigh_texture(posterior, 0, np.array([[0.9, 0.9]]))
    >>> posterior[0].round(2)
    array([[0.9, 0. ]], dtype=float32)
    """
    before = posterior[row].copy()
    posterior[row] = 0
    others = posterior.sum(axis=0)
    is_open = (before > 0) & (others > 0)
    odds = _CHEMISTRY_WEIGHT * _log_odds(before, _CHEMISTRY_MARGIN) + _log_odds(texture, _TEXTURE_MARGIN)
    after = np.where(is_open, 1 / (1 + np.exp(-odds)), before).astype(np.float32)
    posterior *= np.where(is_open, (1 - after) / np.where(is_open, others, 1), 1)
    posterior[row] = after


def _log_odds(probability: NDArray[np.floating], margin: float) -> NDArray[np.floating]:
    inside = np.clip(probability, margin, 1 - margin)
    return np.asarray(np.log(inside / (1 - inside)))
