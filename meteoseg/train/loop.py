"""Run a training: resumable, on the processor or a GPU, ending in a model file with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.labels.certainty import Calibration
from meteoseg.models import (
    MODEL_FILE,
    Model,
    ModelCard,
    Network,
    NetworkCard,
    build_network,
    save_model,
)
from meteoseg.train.calibrate import calibrate_networks
from meteoseg.train.config import TrainConfig, read_config
from meteoseg.train.dataset import Batch, Crops, Example, choose_classes, load_split, to_class_indices
from meteoseg.train.losses import NetworkLoss, class_weights
from meteoseg.train.module import VALIDATION_SETS, TrainingModule
from meteoseg.train.running import CHECKPOINT, Recorder, loader, quiet_lightning, run_steps
from meteoseg.train.start import load_start, take_over

CONFIG, METRICS, CARD = "config.toml", "metrics.csv", "card.json"


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
    with quiet_lightning():
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
    names = ["loss", *("distance_mae" if layer == "distance" else f"{layer}_miou" for layer in config.layers)]
    scores = [f"{name}_{score}" for name in VALIDATION_SETS for score in names]
    run_steps(
        module,
        optim,
        out / CHECKPOINT,
        recorder=Recorder(out / METRICS, scores, progress=progress),
        batches=lambda step: loader(Crops(examples, config, start=step * optim.batch_size), optim.workers),
        held_out=_validation_loaders(held_out, config),
    )


def _validation_loaders(held_out: Sequence[Example], config: TrainConfig) -> list[DataLoader[Batch]]:
    """Fixed crops with all channels and, where channels are dropped, the same crops with subsets of them."""
    count = config.optim.validation_crops
    sets = [False, True] if config.canonical and config.augment.channel_dropout else [False]
    return [loader(Crops(held_out, config, count=count, augmented=False, dropout=dropout), 0) for dropout in sets]
