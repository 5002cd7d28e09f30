"""The loss of a network: what each of its layers has to learn, and how much it weighs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from meteoseg.train.config import LossConfig

_IGNORE = 255
_DISTANCE_STEPS = 254


def class_weights(counts: NDArray[np.int64], balance: float = 0.5) -> NDArray[np.float32]:
    """Return loss weights (K,) from pixel counts (K,): one over the share to the power of `balance`, mean 1, cut.

    Rare classes count more, but between 0.2 and 5 times the mean only. With `balance` 0 all count alike, and the
    probabilities a network learns are those of its training pixels; above, frequent classes are underrated.

    Examples
    --------
    >>> class_weights(np.array([100, 100])).tolist()
    [1.0, 1.0]
    >>> class_weights(np.array([900, 100]), balance=0).tolist()
    [1.0, 1.0]
    """
    share = np.maximum(counts / max(1, counts.sum()), 1e-6)
    weights = share**-balance
    weights /= (weights * share).sum() / share.sum()
    return np.asarray(np.clip(weights, 0.2, 5.0), np.float32)


class NetworkLoss(nn.Module):
    """Weighted sum of cross-entropy and soft Dice (components, phases) and of the distance loss.

    Parameters
    ----------
    weights : class weights of each softmax layer.
    config : weights of the parts.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], config: LossConfig) -> None:
        super().__init__()
        self.config = config
        for layer, values in weights.items():
            self.register_buffer(f"{layer}_weights", torch.from_numpy(values), persistent=False)

    def forward(self, logits: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each layer, already weighted; logits (B, k, H, W), targets (B, H, W) uint8."""
        losses = {}
        for layer, values in logits.items():
            if layer == "distance":
                losses[layer] = self.config.distance * distance_loss(values[:, 0].float(), batch[layer])
            else:
                losses[layer] = getattr(self.config, layer) * self._softmax_loss(layer, values, batch[layer])
        return losses

    def _softmax_loss(self, layer: str, logits: Tensor, target: Tensor) -> Tensor:
        weights: Tensor = getattr(self, f"{layer}_weights")
        rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
        known = target.flatten() != _IGNORE
        if not bool(known.all()):
            rows, target = rows[known], target.flatten()[known]
        if not len(rows):
            # 0 rather than NaN for a batch without any known pixel.
            return rows.sum()
        target = target.flatten().long()
        log_shares = functional.log_softmax(rows.float(), dim=1)
        entropy = functional.nll_loss(log_shares, target, weights)
        return entropy + self.config.dice * dice_loss(log_shares, target) if self.config.dice else entropy


def dice_loss(log_shares: Tensor, target: Tensor) -> Tensor:
    """Return the mean soft Dice loss over the classes that occur (Milletari et al. 2016, arXiv:1606.04797).

    Parameters
    ----------
    log_shares : (N, K) log-probabilities of pixels.
    target : (N,) int64 classes.

    Examples
    --------
    >>> sure = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).log()
    >>> round(float(dice_loss(sure, torch.tensor([0, 0]))), 6), round(float(dice_loss(sure, torch.tensor([1, 1]))), 6)
    (0.0, 1.0)
    """
    shares = log_shares.exp()
    classes = shares.shape[1]
    hits = shares.gather(1, target[:, None])[:, 0]
    common = torch.zeros(classes, device=shares.device).index_add(0, target, hits)
    counts = torch.bincount(target, minlength=classes)
    dice = 2 * common / (shares.sum(dim=0) + counts).clamp(min=1)
    return (1 - dice)[counts > 0].mean()


def distance_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of sigmoid(logits) (B, H, W) and the distance; 255 ignored."""
    known = target != _IGNORE
    wanted = (target.float() / _DISTANCE_STEPS).clamp(max=1)
    each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
