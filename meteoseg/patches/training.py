"""Train a network for patches: data to a model file with its card, held-out scores and a table of held-out labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.labels.certainty import LOST_BY_LEAD, LOST_BY_PROBABILITY, fit_temperature, mean_shares, threshold
from meteoseg.networks.files import MODEL_FILE
from meteoseg.patches.batches import Labelled, OrderedBatches, TrainingBatches
from meteoseg.patches.card import CropPlan, PatchCard
from meteoseg.patches.config import PatchConfig, read_patch_config
from meteoseg.patches.dataset import PatchSet, join, read_patch_set
from meteoseg.patches.model import label_table, network_logits
from meteoseg.patches.module import SCORES, PatchModule
from meteoseg.patches.network import (
    PatchFile,
    PatchNetwork,
    build_patch_network,
    load_patch_network,
    save_patch_network,
    start_from,
)
from meteoseg.patches.objects import read_object_set
from meteoseg.patches.prepare import Preparation, fit_dataset
from meteoseg.patches.scores import confusion_table, summary_scores, suspect_labels
from meteoseg.patches.split import (
    assign_folds,
    check_apart,
    check_copies,
    check_trainable,
    class_indices,
    limit_per_class,
    split_by_group,
)
from meteoseg.train.dataset import find_examples, matches
from meteoseg.train.loop import CARD, CONFIG, METRICS
from meteoseg.train.running import CHECKPOINT, Recorder, loader, quiet_lightning, run_steps

CONFUSION, HELD_OUT = "confusion.csv", "heldout.csv"
#: Share of the rightly labelled held-out images that ``unclassified`` costs.
_LOST = LOST_BY_PROBABILITY + LOST_BY_LEAD
_SURE = 0.5
#: Card of a training with more groups than this names the first and the last alone.
_MOST_GROUPS = 200
_FOLD_FILE = "heldout_logits.npy"


@dataclass(frozen=True)
class _Data:
    """All images with their classes (N,), -1 = no label; those held out whole are a set of their own."""

    patches: PatchSet
    classes: NDArray[np.int64]
    held: PatchSet | None
    names: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True)
class _Scored:
    """Held-out images with what networks that did not see them say: logits (N, K), true class (N,)."""

    patches: PatchSet
    logits: NDArray[np.float32]
    truth: NDArray[np.int64]

    def halves(self, seed: int) -> list[NDArray[np.bool_]]:
        """Part the images in two by group, so that what is fitted on one is judged on the other."""
        if len(np.unique(self.patches.groups)) < 2:
            return [np.ones(len(self.truth), bool)]
        folds = assign_folds(self.truth, self.patches.groups, 2, seed=seed)
        return [folds == 0, folds == 1]


def train_patches(config: PatchConfig, out: str | Path, *, progress: bool = True) -> Path:
    """Train a network for patches and return the path of its model file.

    A stopped run in `out` with the same settings goes on where it was. Written are ``model.safetensors``,
    ``card.json``, ``metrics.csv``, ``confusion.csv`` and ``heldout.csv`` (what networks that did not see them say of
    held-out images), ``config.toml`` and a checkpoint; with folds, a folder for each.

    Raises
    ------
    InputError : unusable images or labels, groups on both sides, or `out` holds a run with other settings.
    OutputExistsError : `out` holds something that is no run.
    """
    out = Path(out)
    _check_out(config, out)
    start = load_patch_network(config.network.start, "cpu") if config.network.start else None
    data = _load(config)
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(config.to_toml(), encoding="utf-8")
    trainer = _Trainer(config, data, start, progress)
    with quiet_lightning():
        network, notes, scored = trainer.cross_validated(out) if config.data.folds else trainer.held_out(out)
    return _finish(config, data, out, network=network, notes=notes, scored=scored)


@dataclass(frozen=True)
class _Trainer:
    """Trains networks on parts of the data."""

    config: PatchConfig
    data: _Data
    start: PatchFile | None
    progress: bool

    def held_out(self, out: Path) -> tuple[PatchNetwork, tuple[str, ...], _Scored]:
        """Train on the groups that are not held out."""
        config, data = self.config, self.data
        if data.held is None:
            chosen, rest = split_by_group(data.classes, data.patches.groups, config.data.holdout, seed=config.seed)
            held, truth = data.patches.subset(rest), data.classes[rest]
            note = f"scores are of {len(np.unique(held.groups))} held-out groups"
        else:
            chosen, held = np.arange(len(data.patches)), data.held
            truth = class_indices(held, data.names)
            note = "scores are of data that were held out whole"
        held, truth = held.subset(truth >= 0), truth[truth >= 0]
        if not len(truth):
            raise InputError("No held-out image has a label: give some, or more groups.")
        network, notes = self.fit(chosen, held, truth, out)
        scored = _Scored(held, self.logits(network, held), truth)
        return network, (*notes, f"{note} ({len(truth)} images)"), scored

    def cross_validated(self, out: Path) -> tuple[PatchNetwork, tuple[str, ...], _Scored]:
        """Hold out every group once, then train on all."""
        config, data = self.config, self.data
        folds = assign_folds(data.classes, data.patches.groups, config.data.folds, seed=config.seed)
        logits = np.full((len(data.patches), len(data.names)), np.nan, np.float32)
        for fold in range(config.data.folds):
            held = np.flatnonzero((folds == fold) & (data.classes >= 0))
            if len(held):
                logits[held] = self._fold(np.flatnonzero(folds != fold), held, out / f"fold-{fold + 1}")
        network, notes = self.fit(np.arange(len(data.patches)), None, None, out)
        known = np.flatnonzero(data.classes >= 0)
        scored = _Scored(data.patches.subset(known), logits[known], data.classes[known])
        note = (
            f"scores, temperature and threshold are of a cross-validation by group in {config.data.folds} folds "
            f"({len(known)} images); the network itself was trained on all of them"
        )
        return network, (*notes, note), scored

    def _fold(self, chosen: NDArray[np.int64], held: NDArray[np.int64], folder: Path) -> NDArray[np.float32]:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _FOLD_FILE).is_file():
            return np.asarray(np.load(folder / _FOLD_FILE), np.float32)
        patches = self.data.patches.subset(held)
        network, _ = self.fit(chosen, patches, self.data.classes[held], folder)
        logits = self.logits(network, patches)
        np.save(folder / _FOLD_FILE, logits)
        return logits

    def fit(
        self, chosen: NDArray[np.int64], held: PatchSet | None, truth: NDArray[np.int64] | None, folder: Path
    ) -> tuple[PatchNetwork, tuple[str, ...]]:
        """Train one network on the images of these numbers; those without a label take no part."""
        config, data = self.config, self.data
        kept = chosen[limit_per_class(data.classes[chosen], config.data.labels_per_class, seed=config.seed)]
        check_trainable(data.classes[kept], data.names)
        patches, classes = data.patches.subset(kept), data.classes[kept]
        card = _card(config, data, patches)
        torch.manual_seed(config.seed)
        network, notes = build_patch_network(card, pretrained=config.network.pretrained)
        if self.start is not None:
            notes = (*notes, *start_from(network, self.start))
        module = PatchModule(network, config, np.bincount(classes, minlength=len(data.names)))
        images = Labelled(_prepared(card, patches), classes)
        held_out = [] if held is None or truth is None else [Labelled(_prepared(card, held), truth)]
        optim = config.optim
        run_steps(
            module,
            optim,
            folder / CHECKPOINT,
            recorder=Recorder(folder / METRICS, SCORES, progress=self.progress),
            batches=lambda step: loader(
                TrainingBatches(images, card, config, start=step * optim.batch_size), optim.workers
            ),
            held_out=[loader(OrderedBatches(part, optim.batch_size), optim.workers) for part in held_out],
        )
        return module.averaged.eval(), notes

    def logits(self, network: PatchNetwork, patches: PatchSet) -> NDArray[np.float32]:
        """Return what a network says of images."""
        return network_logits(network, _prepared(network.card, patches), len(patches))


def _prepared(card: PatchCard, patches: PatchSet) -> Any:
    """Return the function that gives prepared images; crops of sections are prepared already."""
    if card.normalisation == "section":
        return patches.image
    prepare = Preparation(card, patches.channels)
    return lambda index: prepare(patches.image(index), str(patches.ids[index]))


def _load(config: PatchConfig) -> _Data:
    """Read the images, their classes and what is held out."""
    channels = config.channels
    if config.data.sections:
        objects = config.objects
        channels = channels or CANONICAL_CHANNELS
        plan = CropPlan(
            channels, not config.channels, config.patch_px, objects.mask, objects.margin, objects.min_diameter_px
        )
        patches = read_object_set(find_examples(config.data.sections), plan, config.data.label)
        held = find_examples(config.data.validation)
        held_set = read_object_set(held, plan, config.data.label) if held else None
    else:
        patches = _join_globs(config.data.patches)
        channels = channels or patches.channels
        held_set = _join_globs(config.data.validation) if config.data.validation else None
    if held_set is not None:
        check_apart(patches, held_set)
    check_copies([patches] if held_set is None else [patches, held_set])
    names = config.classes or tuple(sorted({str(label) for label in patches.labels} - {""}))
    classes = class_indices(patches, names)
    check_trainable(classes, names)
    return _Data(patches, classes, held_set, names, channels)


def _join_globs(patterns: Sequence[str]) -> PatchSet:
    folders: dict[Path, None] = {}
    for pattern in patterns:
        found = matches(pattern)
        if not found:
            raise InputError(f"'{pattern}' matches nothing: give a folder of shards or with patches.csv.")
        folders.update(dict.fromkeys(found))
    return join([read_patch_set(folder) for folder in folders])


def _card(config: PatchConfig, data: _Data, patches: PatchSet) -> PatchCard:
    """Make the card of a network that is trained on these images."""
    zero, scale = (), ()  # type: tuple[float, ...], tuple[float, ...]
    if config.normalisation == "dataset":
        zero, scale = fit_dataset(patches, data.channels, seed=config.seed)
    network, objects = config.network, config.objects
    by_object = bool(config.data.sections)
    return PatchCard(
        config.name,
        data.names,
        data.channels,
        canonical=by_object and not config.channels,
        patch_px=config.patch_px,
        fit=config.fit,
        normalisation=config.normalisation,
        zero=zero,
        scale=scale,
        mask=objects.mask if by_object else "none",
        margin=objects.margin,
        min_diameter_px=objects.min_diameter_px if by_object else 0.0,
        encoder=network.encoder,
        widths=network.widths,
        fusion=network.fusion,
        branches=network.branches,
        dropout=network.dropout,
        views=config.augment.symmetry if network.average_views else "none",
    )


def _finish(
    config: PatchConfig, data: _Data, out: Path, *, network: PatchNetwork, notes: tuple[str, ...], scored: _Scored
) -> Path:
    """Calibrate on the held-out images and write the model, its card and the tables."""
    logits, truth = scored.logits, scored.truth
    temperature = fit_temperature([logits], truth)
    shares = mean_shares([logits], temperature)
    least = _least(shares, shares.argmax(axis=1) == truth)
    held = set() if config.data.folds else {str(name) for name in scored.patches.groups}
    groups = sorted({str(name) for name in data.patches.groups} - held)
    shown = groups if len(groups) <= _MOST_GROUPS else [f"{len(groups)} groups, {groups[0]} to {groups[-1]}"]
    card = replace(
        network.card,
        temperature=round(temperature, 4),
        min_probability=round(least, 4),
        training_data=tuple(shown),
        scores={key: round(value, 4) for key, value in _scores(scored, data.names, config.seed).items()},
        created=datetime.now(UTC).date().isoformat(),
        licence=config.card.licence,
        citation=config.card.citation,
        notes=(*config.card.notes, *notes, _stated(config)),
    )
    confusion_table(shares, truth, data.names).to_csv(out / CONFUSION, index=False)
    held_out_table(scored.patches, shares, truth, card).to_csv(out / HELD_OUT, index=False)
    (out / CARD).write_text(card.to_json() + "\n", encoding="utf-8")
    return save_patch_network(out / MODEL_FILE, card, network)


def _least(shares: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Return the probability under which an image is unclassified: `_LOST` of the right ones lie below.

    It is never above `_SURE`: a calibrated probability above that says that the label is likelier right than wrong.
    """
    return min(_SURE, threshold(shares.max(axis=1), right, lost=_LOST))


def _stated(config: PatchConfig) -> str:
    """Say what was done about rare classes and wrong labels."""
    loss = config.loss
    how = {
        "sampler": f"classes were drawn by their share to the power of {1 - loss.class_balance:g}",
        "loss": f"classes weigh one over their share to the power of {loss.class_balance:g}",
        "none": "classes were taken as they occur",
    }[loss.balance]
    return f"{how}; label smoothing {loss.label_smoothing:g}"


def _scores(scored: _Scored, names: Sequence[str], seed: int) -> dict[str, float]:
    """Score held-out images; temperature and threshold of each half of the groups are those of the other half."""
    halves = scored.halves(seed)
    shares = mean_shares([scored.logits])
    plain = summary_scores(shares, scored.truth, names)
    least = np.zeros(len(scored.truth))
    for judged in halves:
        fitted = ~judged if len(halves) > 1 else judged
        temperature = fit_temperature([scored.logits[fitted]], scored.truth[fitted])
        known = mean_shares([scored.logits[fitted]], temperature)
        right = known.argmax(axis=1) == scored.truth[fitted]
        least[judged] = _least(known, right)
        shares[judged] = mean_shares([scored.logits[judged]], temperature)
    right = shares.argmax(axis=1) == scored.truth
    unsure = shares.max(axis=1) < least
    out = summary_scores(shares, scored.truth, names) | {"ece_uncalibrated": plain["ece"]}
    out["right_unclassified"] = float(unsure[right].mean()) if right.any() else 0.0
    out["wrong_unclassified"] = float(unsure[~right].mean()) if not right.all() else 0.0
    return out


def held_out_table(
    patches: PatchSet, shares: NDArray[np.float32], truth: NDArray[np.int64], card: PatchCard
) -> pd.DataFrame:
    """Return what is said of each held-out image: label, probabilities, whether its given label looks wrong."""
    table = label_table(shares, card, top=1).drop(columns=["class_1", "probability_1"])
    table.insert(0, "truth", np.array(card.classes, dtype=object)[truth])
    table.insert(0, "group", patches.groups.astype(object))
    table.insert(0, "id", patches.ids.astype(object))
    table["suspect"] = suspect_labels(shares, truth)
    for index, name in enumerate(card.classes):
        table[f"p_{name}"] = shares[:, index].round(5)
    for name, values in patches.extra.items():
        table[name] = values
    return table


def _check_out(config: PatchConfig, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / CONFIG).is_file():
        raise OutputExistsError(f"Folder {out} is not empty and holds no training run: give another folder.")
    before, now = (
        asdict(replace(entry, optim=replace(entry.optim, threads=0, workers=0)))
        for entry in (read_patch_config(out / CONFIG), config)
    )
    for key, value in now.items():
        if before[key] != value:
            raise InputError(
                f"Folder {out} holds a run with other settings (key '{key}' differs): give another folder, "
                "or the settings of that run to go on with it."
            )
