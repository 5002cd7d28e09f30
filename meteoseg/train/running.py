"""What every training shares: Lightning's loop, checkpoints, the table of metrics, half precision where it is quick."""

from __future__ import annotations

import csv
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from meteoseg.models import fast_bfloat16
from meteoseg.train.config import RunConfig

CHECKPOINT = "checkpoint.ckpt"


class ScoredModule(pl.LightningModule):
    """A network in training that collects scores of held-out data in `results`, as of step `scored_step`."""

    def __init__(self) -> None:
        super().__init__()
        self.scored_step = -1
        self.results: dict[str, float] = {}


def run_steps(
    module: ScoredModule,
    optim: RunConfig,
    checkpoint: Path,
    *,
    recorder: Recorder,
    batches: Callable[[int], Any],
    held_out: Sequence[Any],
) -> None:
    """Train for `optim.steps`, going on from `checkpoint` where it exists, and score the end.

    Parameters
    ----------
    batches : gives the loader that begins with the batch of a step.
    held_out : loaders that are scored; may be none.
    """
    if optim.threads:
        torch.set_num_threads(optim.threads)
    step = (
        int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]) if checkpoint.is_file() else 0
    )
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        precision=_precision(optim.precision),
        max_steps=optim.steps,
        max_epochs=-1,
        gradient_clip_val=optim.clip_norm,
        val_check_interval=min(optim.validate_every, optim.steps),
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if held_out else 0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Checkpoints(checkpoint, optim.checkpoint_every), recorder],
    )
    module.to(memory_format=torch.channels_last)
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        ckpt_path = checkpoint if step else None
        trainer.fit(module, batches(step), held_out or None, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit as stop:
        # Lightning ends the process on Ctrl-C and keeps ignoring it; leave that to the caller.
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from stop
    if held_out and module.scored_step != module.global_step:
        trainer.validate(module, held_out, verbose=False)


def loader(batches: IterableDataset[Any], workers: int) -> DataLoader[Any]:
    """Wrap a data set that yields whole batches."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning to warnings that concern the user."""
    with warnings.catch_warnings():
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for text in (
            ".*does not have many workers.*",
            ".*`IterableDataset` has `__len__` defined.*",
            ".*litlogger.*",
            ".*but have no `val_dataloader`.*",
        ):
            warnings.filterwarnings("ignore", message=text)
        # Raised by Lightning's own use of torch, out of the user's hands.
        warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
        yield


def _precision(wanted: str) -> Any:
    """Translate the setting for Lightning; ``auto`` takes half precision where it is quicker."""
    names = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if wanted in names:
        return names[wanted]
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if fast_bfloat16() else "32-true"


class Checkpoints(pl.Callback):
    """Save the state every so many steps, at the end, and when the user stops the run."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def _save(self, trainer: pl.Trainer) -> None:
        temporary = self.path.with_suffix(".part")
        trainer.save_checkpoint(temporary)
        temporary.replace(self.path)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Save where it is time."""
        if trainer.global_step % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, _module: pl.LightningModule, exception: BaseException) -> None:
        """Save what there is when the user stops the run."""
        if isinstance(exception, KeyboardInterrupt) and trainer.global_step > 0:
            self._save(trainer)
            print(f"stopped at step {trainer.global_step}; the same command goes on from there", file=sys.stderr)


class Recorder(pl.Callback):
    """Show progress, and append a row to the metrics table at each validation; `scores` are its last columns."""

    def __init__(self, path: Path, scores: Sequence[str], *, progress: bool) -> None:
        self.path, self.progress = path, progress
        self.losses: list[float] = []
        self.started = time.monotonic()
        self.columns = ["step", "seconds", "train_loss", "learning_rate", *scores]

    def on_train_start(self, trainer: pl.Trainer, *_: object) -> None:
        """Show the bar."""
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc="training",
            unit="step",
            disable=not self.progress,
            mininterval=1 if sys.stderr.isatty() else 30,
        )

    def on_train_batch_end(self, _trainer: pl.Trainer, _module: pl.LightningModule, outputs: Any, *_: object) -> None:
        """Count a step."""
        self.losses.append(float(outputs["loss"].detach()))
        self.bar.set_postfix(loss=f"{np.mean(self.losses[-50:]):.3f}", refresh=False)
        self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append a row."""
        module = pl_module
        if not isinstance(module, ScoredModule):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else ""
        row = {
            "step": module.scored_step,
            "seconds": round(time.monotonic() - self.started, 1),
            "train_loss": round(float(np.mean(self.losses)), 5) if self.losses else "",
            "learning_rate": rate,
        }
        row |= {key: round(value, 5) for key, value in module.results.items() if key in self.columns}
        self.losses.clear()
        new = not self.path.is_file()
        with self.path.open("a", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, self.columns)
            if new:
                writer.writeheader()
            writer.writerow(row)
        if self.progress:
            shown = ", ".join(f"{key} {row[key]}" for key in self.columns[4:] if key in row)
            tqdm.write(f"step {row['step']}: loss {row['train_loss']}, {shown}", file=sys.stderr)

    def on_train_end(self, *_: object) -> None:
        """Close the bar."""
        self.bar.close()
