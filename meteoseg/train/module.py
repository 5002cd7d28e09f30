"""The network while it learns: loss, running mean of the weights, optimiser, scores on held-out crops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from meteoseg.models import Network, NetworkCard
from meteoseg.train.config import OptimConfig, RunConfig
from meteoseg.train.losses import NetworkLoss
from meteoseg.train.running import ScoredModule

_IGNORE = 255
_DISTANCE_STEPS = 254
#: Names of the held-out data sets: all channels, and the subsets that channel dropout makes of them.
VALIDATION_SETS = ("val", "val_subset")


def running_mean(network: nn.Module, steps: int) -> AveragedModel:
    """Make a running mean of the weights of a network that is trained for `steps`."""
    # The mean reaches over a twentieth of the run: long enough to be calm, short enough to forget.
    decay = max(0.0, 1 - 1 / max(1.0, min(1000.0, steps / 20)))
    mean = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=mean, use_buffers=True)


def adamw_one_cycle(network: nn.Module, optim: RunConfig) -> dict[str, Any]:
    """Make AdamW with a linear start over a twentieth of the steps and a cosine decay to 1 %, for Lightning."""
    steps = optim.steps
    rise = max(1, min(200, steps // 20))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=optim.learning_rate, weight_decay=optim.weight_decay)
    return {
        "optimizer": optimiser,
        "lr_scheduler": {"scheduler": LambdaLR(optimiser, factor), "interval": "step"},
    }


class TrainingModule(ScoredModule):
    """A network, its loss, and a running mean of its weights (the weights that are scored and saved)."""

    def __init__(self, network: Network, loss: NetworkLoss, optim: OptimConfig) -> None:
        super().__init__()
        self.network, self.loss, self.optim = network, loss, optim
        self.ema = running_mean(network, optim.steps)
        self.scores: dict[str, Scores] = {}

    @property
    def averaged(self) -> Network:
        """The network with the running mean of the weights."""
        return cast(Network, self.ema.module)

    def training_step(self, batch: Mapping[str, Tensor], _batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        losses = self.loss(self.network.split(self.network(batch["image"])), batch)
        return torch.stack(list(losses.values())).sum()

    def on_train_batch_end(self, *_: object) -> None:
        """Bring the running mean of the weights up to date."""
        self.ema.update_parameters(self.network)

    def configure_optimizers(self) -> Any:
        """Make AdamW with a linear start and a cosine decay."""
        return adamw_one_cycle(self.network, self.optim)

    def on_validation_epoch_start(self) -> None:
        """Start the scores anew."""
        self.scores = {name: Scores(self.network.card, self.device) for name in VALIDATION_SETS}

    def validation_step(self, batch: Mapping[str, Tensor], _batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score one batch of held-out crops."""
        network = self.averaged.eval()
        logits = network.split(network(batch["image"]))
        losses = self.loss(logits, batch)
        self.scores[VALIDATION_SETS[dataloader_idx]].update(logits, batch, torch.stack(list(losses.values())).sum())

    def on_validation_epoch_end(self) -> None:
        """Collect the scores in `results`."""
        self.scored_step = self.global_step
        values = {name: scores.compute() for name, scores in self.scores.items()}
        self.results = {f"{name}_{key}": value for name, part in values.items() for key, value in part.items()}


class Scores:
    """Scores of one held-out set: loss, IoU of each class, error of the distance."""

    def __init__(self, card: NetworkCard, device: torch.device) -> None:
        self.card = card
        self.loss, self.distance = MeanMetric().to(device), MeanMetric().to(device)
        self.confusion = {
            layer: MulticlassConfusionMatrix(width, ignore_index=_IGNORE, validate_args=False).to(device)
            for layer, width in card.widths.items()
            if layer != "distance"
        }

    def update(self, logits: Mapping[str, Tensor], batch: Mapping[str, Tensor], loss: Tensor) -> None:
        """Add one batch."""
        self.loss.update(loss)
        for layer, metric in self.confusion.items():
            metric.update(logits[layer].argmax(dim=1), batch[layer].long())
        if "distance" in logits:
            known = batch["distance"] != _IGNORE
            wanted = batch["distance"].float() / _DISTANCE_STEPS
            error = (logits["distance"][:, 0].float().sigmoid() - wanted).abs()[known]
            if error.numel():
                self.distance.update(error)

    def compute(self) -> dict[str, float]:
        """Return the scores by name; nothing for what was never seen."""
        if not self.loss.update_called:
            return {}
        out = {"loss": float(self.loss.compute())}
        if self.distance.update_called:
            out["distance_mae"] = float(self.distance.compute())
        for layer, metric in self.confusion.items():
            each = iou_per_class(metric.compute().cpu().numpy())
            seen = {
                name: float(value)
                for name, value in zip(self.card.classes(layer), each, strict=True)
                if np.isfinite(value)
            }
            if seen:
                out[f"{layer}_miou"] = float(np.mean(list(seen.values())))
            out |= {f"{layer}_iou.{name}": value for name, value in seen.items()}
        return out


def iou_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return intersection over union (K,) from a confusion matrix (K truth, K predicted); NaN without truth.

    Examples
    --------
    >>> iou_per_class(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    array([0.75, 0.8 ,  nan])
    """
    hits = np.diag(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    union = truth + predicted - hits
    return np.where(truth > 0, hits / np.maximum(union, 1), np.nan)
