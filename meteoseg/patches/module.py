"""The network for patches while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from meteoseg.patches.config import PatchConfig
from meteoseg.patches.network import PatchNetwork
from meteoseg.patches.scores import confusion_matrix, f1_scores
from meteoseg.train.losses import class_weights
from meteoseg.train.module import adamw_one_cycle, running_mean
from meteoseg.train.running import ScoredModule

#: Scores that the table of metrics shows.
SCORES = ("val_loss", "val_accuracy", "val_macro_f1")


class PatchModule(ScoredModule):
    """A network, cross-entropy, and a running mean of the weights (those that are scored and saved)."""

    def __init__(self, network: PatchNetwork, config: PatchConfig, counts: NDArray[np.int64]) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.ema = running_mean(network, config.optim.steps)
        weights = class_weights(counts, config.loss.class_balance) if config.loss.balance == "loss" else None
        self.register_buffer("weights", None if weights is None else torch.from_numpy(weights), persistent=False)
        self.seen: list[tuple[Tensor, Tensor]] = []
        if config.network.freeze:
            network.encoders.requires_grad_(False)

    @property
    def averaged(self) -> PatchNetwork:
        """The network with the running mean of the weights."""
        return cast(PatchNetwork, self.ema.module)

    def training_step(self, batch: Mapping[str, Tensor], _batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        if self.config.network.freeze:
            # Statistics of batch normalisation stay those of the start model.
            self.network.encoders.eval()
        return self._loss(self.network(batch["image"]), batch["label"])

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        smoothing = self.config.loss.label_smoothing
        weights = cast("Tensor | None", self.weights)
        return functional.cross_entropy(logits.float(), label, weights, label_smoothing=smoothing)

    def on_train_batch_end(self, *_: object) -> None:
        """Bring the running mean of the weights up to date."""
        self.ema.update_parameters(self.network)

    def configure_optimizers(self) -> Any:
        """Make AdamW with a linear start and a cosine decay."""
        return adamw_one_cycle(self.network, self.config.optim)

    def on_validation_epoch_start(self) -> None:
        """Start the scores anew."""
        self.seen = []

    def validation_step(self, batch: Mapping[str, Tensor], _batch_idx: int) -> None:
        """Keep what the network says of one batch of held-out images."""
        logits = self.averaged.eval()(batch["image"]).float()
        self.seen.append((logits.cpu(), batch["label"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Collect the scores in `results`."""
        self.scored_step = self.global_step
        logits, truth = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        best = logits.argmax(dim=1)
        confusion = confusion_matrix(truth.numpy(), best.numpy(), logits.shape[1])
        values = (
            float(functional.cross_entropy(logits, truth)),
            float((best == truth).float().mean()),
            float(np.nanmean(f1_scores(confusion))),
        )
        self.results = dict(zip(SCORES, values, strict=True))
