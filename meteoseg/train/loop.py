"""Run a training: resumable, on the processor or a GPU, ending in a model file with its card."""

from __future__ import annotations

import csv
import logging
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from meteoseg.certainty import Calibration
from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.models import (
    MODEL_FILE,
    Model,
    ModelCard,
    Network,
    NetworkCard,
    build_network,
    fast_bfloat16,
    save_model,
)
from meteoseg.train.calibrate import calibrate_networks
from meteoseg.train.config import TrainConfig, read_config
from meteoseg.train.dataset import Batch, Crops, Example, choose_classes, load_split, to_class_indices
from meteoseg.train.losses import NetworkLoss, class_weights
from meteoseg.train.module import VALIDATION_SETS, TrainingModule
from meteoseg.train.start import load_start, take_over

CHECKPOINT, CONFIG, METRICS, CARD = "checkpoint.ckpt", "config.toml", "metrics.csv", "card.json"


def train(config: TrainConfig, out: str | Path, *, progress: bool = True) -> Path:
    """Train a network and return the path of its model file.

    A stopped run in `out` with the same settings goes on where it was. Written are ``model.safetensors``,
    ``card.json``, ``metrics.csv`` (loss and scores against steps), ``config.toml`` and a checkpoint.

    Raises
    ------
    InputError : unusable examples, leakage between trained-on and held-out sections, a start network that does
        not fit, or `out` holds a run with other settings.
    OutputExistsError : `out` holds something that is no run.
    """
    config, start = take_over(config)
    _check_out(config, Path(out))
    examples, held_out = load_split(config)
    return train_on(config, Path(out), examples, held_out, start=start, progress=progress)


def train_on(
    config: TrainConfig,
    out: Path,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    *,
    start: Model | None = None,
    progress: bool = True,
) -> Path:
    """Train on examples that are loaded (classes still ids of the legend, changed in place); see `train`.

    `config` and `start` are those that `meteoseg.train.start.take_over` returns.
    """
    classes = choose_classes(examples, config)
    to_class_indices([*examples, *held_out], config, classes)
    torch.manual_seed(config.seed)
    wanted = _network_card(config, examples, classes, start=start)
    network, notes = build_network(wanted, pretrained=config.network.pretrained)
    if start is not None:
        notes = (*notes, *load_start(network, start, config.network.start_network))
    weights = _weights(examples, config, classes)
    module = TrainingModule(network, NetworkLoss(weights, config.loss), config.optim)
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(config.to_toml(), encoding="utf-8")
    with warnings.catch_warnings():
        _hush_lightning()
        _fit(module, config, out, examples=examples, held_out=held_out, progress=progress)
    network = module.averaged.eval()
    card = ModelCard(
        config.name,
        (network.card,),
        training_data=_training_data(examples, start),
        scores={key: round(value, 4) for key, value in module.results.items()},
        created=datetime.now(UTC).date().isoformat(),
        **asdict(replace(config.card, notes=(*config.card.notes, *notes, _held_out_note(config, held_out)))),
    )
    # What was trained is on disk before anything else may fail.
    _write(out, _with_calibration(card, (), {}, missing="the calibration did not end"), network)
    found, scores = calibrate_networks([network], held_out)
    return _write(out, _with_calibration(card, found, scores, missing="no held-out labels of them"), network)


def _with_calibration(
    card: ModelCard, found: tuple[Calibration, ...], scores: Mapping[str, float], *, missing: str
) -> ModelCard:
    """Put calibrations on the card of a model with one network, and a note why where a layer has none."""
    network = card.networks[0]
    missed = [layer for layer in network.layers if layer not in {"distance", *(entry.layer for entry in found)}]
    notes = [f"probabilities of {layer} are not calibrated: {missing}" for layer in missed]
    return replace(
        card,
        networks=(replace(network, calibration=found),),
        scores={**card.scores, **scores},
        notes=(*card.notes, *notes),
    )


def _write(out: Path, card: ModelCard, network: Network) -> Path:
    (out / CARD).write_text(card.to_json() + "\n", encoding="utf-8")
    return save_model(out / MODEL_FILE, card, {card.name: network.state_dict()})


def _check_out(config: TrainConfig, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / CONFIG).is_file():
        raise OutputExistsError(f"Folder {out} is not empty and holds no training run: give another folder.")
    before, now = _science(read_config(out / CONFIG)), _science(config)
    for key in now:
        if before[key] != now[key]:
            raise InputError(
                f"Folder {out} holds a run with other settings (key '{key}' differs): give another folder, "
                "or the settings of that run to go on with it."
            )


def _science(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that decide the result (not how many threads and processes work on it)."""
    return asdict(replace(config, optim=replace(config.optim, threads=0, workers=0)))


def _training_data(examples: Sequence[Example], start: Model | None) -> tuple[str, ...]:
    """What the start model was trained on, then the sections of this training."""
    before = start.card.training_data if start else ()
    return tuple(dict.fromkeys([*before, *sorted({example.name for example in examples})]))


def _network_card(
    config: TrainConfig,
    examples: Sequence[Example],
    classes: dict[str, tuple[str, ...]],
    *,
    start: Model | None,
) -> NetworkCard:
    zoom = config.augment.zoom
    sizes = [factor * example.pixel_um for example in examples if example.pixel_um for factor in zoom]
    if start is not None:
        sizes += start.networks[config.network.start_network].card.um_per_px_range or ()
    return NetworkCard(
        config.name,
        config.layers,
        CANONICAL_CHANNELS if config.canonical else config.channels,
        component_classes=classes.get("components", ()),
        phase_classes=classes.get("phases", ()),
        canonical=config.canonical,
        um_per_px=config.um_per_px or None,
        um_per_px_range=(round(min(sizes), 4), round(max(sizes), 4)) if sizes else None,
        encoder=config.network.encoder,
        decoder_channels=config.network.decoder_channels,
        pixel_width=config.network.pixel_width,
        fusion=config.network.fusion,
        tile_px=config.network.tile_px,
        margin_px=config.network.margin_px,
    )


def _weights(
    examples: Sequence[Example], config: TrainConfig, classes: dict[str, tuple[str, ...]]
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    out = {}
    for plane, layer in enumerate(config.layers):
        if layer in classes:
            counts = np.sum([np.bincount(e.targets[..., plane].ravel(), minlength=256) for e in examples], axis=0)
            out[layer] = class_weights(counts[: len(classes[layer])], config.loss.class_balance)
    return out


def _held_out_note(config: TrainConfig, held_out: Sequence[Example]) -> str:
    if config.data.holdout:
        return f"scores are of a block of {config.data.fraction:.0%} of each section, held out with a gap"
    return f"scores are of held-out sections: {', '.join(sorted(example.name for example in held_out))}"


def _hush_lightning() -> None:
    """Keep Lightning to warnings that concern the user."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*`IterableDataset` has `__len__` defined.*",
        ".*litlogger.*",
    ):
        warnings.filterwarnings("ignore", message=text)
    # Raised by Lightning's own use of torch, out of the user's hands.
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")


def _fit(
    module: TrainingModule,
    config: TrainConfig,
    out: Path,
    *,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    progress: bool,
) -> None:
    optim = config.optim
    if optim.threads:
        torch.set_num_threads(optim.threads)
    checkpoint = out / CHECKPOINT
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
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            _Checkpoints(checkpoint, optim.checkpoint_every),
            _Recorder(out / METRICS, module, progress),
        ],
    )
    loaders = _validation_loaders(held_out, config)
    module.to(memory_format=torch.channels_last)
    batches = _loader(Crops(examples, config, start=step * optim.batch_size), optim.workers)
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, batches, loaders, ckpt_path=checkpoint if step else None, weights_only=True)
    except SystemExit as stop:
        # Lightning ends the process on Ctrl-C and keeps ignoring it; leave that to the caller.
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from stop
    if module.scored_step != module.global_step:
        trainer.validate(module, loaders, verbose=False)


def _loader(crops: Crops, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        crops,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def _validation_loaders(held_out: Sequence[Example], config: TrainConfig) -> list[DataLoader[Batch]]:
    """Fixed crops with all channels and, where channels are dropped, the same crops with subsets of them."""
    count = config.optim.validation_crops
    sets = [False, True] if config.canonical and config.augment.channel_dropout else [False]
    return [_loader(Crops(held_out, config, count=count, augmented=False, dropout=dropout), 0) for dropout in sets]


def _precision(wanted: str) -> Any:
    """Translate the setting for Lightning; ``auto`` takes half precision where it is quicker."""
    names = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if wanted in names:
        return names[wanted]
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if fast_bfloat16() else "32-true"


class _Checkpoints(pl.Callback):
    """Save the state every so many steps, at the end, and when the user stops the run."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def _save(self, trainer: pl.Trainer) -> None:
        temporary = self.path.with_suffix(".part")
        trainer.save_checkpoint(temporary)
        temporary.replace(self.path)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step % self.every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, *_: object) -> None:
        self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, _module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.global_step > 0:
            self._save(trainer)
            print(f"stopped at step {trainer.global_step}; the same command goes on from there", file=sys.stderr)


class _Recorder(pl.Callback):
    """Show progress, and append a row to the metrics table at each validation."""

    def __init__(self, path: Path, module: TrainingModule, progress: bool) -> None:
        self.path, self.progress = path, progress
        self.losses: list[float] = []
        self.started = time.monotonic()
        layers = module.network.card.layers
        scores = ["loss", *("distance_mae" if layer == "distance" else f"{layer}_miou" for layer in layers)]
        self.columns = ["step", "seconds", "train_loss", "learning_rate"]
        self.columns += [f"{name}_{score}" for name in VALIDATION_SETS for score in scores]

    def on_train_start(self, trainer: pl.Trainer, *_: object) -> None:
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc="training",
            unit="step",
            disable=not self.progress,
            mininterval=1 if sys.stderr.isatty() else 30,
        )

    def on_train_batch_end(self, _trainer: pl.Trainer, _module: pl.LightningModule, outputs: Any, *_: object) -> None:
        self.losses.append(float(outputs["loss"].detach()))
        self.bar.set_postfix(loss=f"{np.mean(self.losses[-50:]):.3f}", refresh=False)
        self.bar.update()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = pl_module
        if not isinstance(module, TrainingModule):
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
        self.bar.close()
