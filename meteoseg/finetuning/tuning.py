"""Fine-tune a model on a laboratory's own labels of one section, and say by a spatial hold-out what it gained."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.finetuning.drawnscores import compare, score_on, verdict
from meteoseg.grid import Window
from meteoseg.inference import Inputs, choose_grid
from meteoseg.io import open_section
from meteoseg.labels.certainty import Calibration
from meteoseg.legend import default_legend
from meteoseg.minerals.choose import choose_phase_maker
from meteoseg.models import MODEL_FILE, Model, ModelCard, Network, NetworkCard, load_model, save_model
from meteoseg.resample import Regrid
from meteoseg.runs.output import complete_or_absent, output_folder
from meteoseg.runs.provenance import Steps, sha256_of
from meteoseg.section import Section
from meteoseg.train.calibrate import calibrate_networks
from meteoseg.train.config import (
    AugmentConfig,
    CardConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimConfig,
    TrainConfig,
)
from meteoseg.train.dataset import Example, find_examples, load_example, make_example
from meteoseg.train.drawn import Drawn, read_drawn
from meteoseg.train.holdout import AUTO, Split, around_labels, check_side, onto_grid, split_labels
from meteoseg.train.leakage import check_apart, check_unseen, fingerprint, record
from meteoseg.train.loop import CARD, CONFIG, METRICS, train_on
from meteoseg.train.start import take_over

SCORES_CSV = "finetune.csv"
#: Smallest gap, and the one by default the margin of the network, in pixels of the network's grid.
MIN_GAP_PX = 8
#: Crops of the training (pixels of the network's grid), and how many of them make a step.
TILE_PX, BATCH_SIZE = 192, 8
#: Fewer held-out labelled pixels than this calibrate no probabilities.
MIN_CALIBRATION_PX = 2000
#: Largest image kept in memory for training, in values (all channels, half precision).
MAX_VALUES = 1_000_000_000
_UNSEEN_REMEDY = (
    "hold out the side that was held out then, with --holdout, or start from a model that never saw it, with --model"
)


@dataclass(frozen=True)
class FineTuneOptions:
    """How a fine-tuning goes.

    Parameters
    ----------
    steps : of each network, `BATCH_SIZE` crops of `TILE_PX` a step.
    learning_rate : largest; small, so that the network keeps what it knew.
    holdout, holdout_share : side of the section that is scored and not trained on (``auto``: where most classes are
        labelled on both sides), and its share of the labelled pixels.
    gap_px : pixels of the maps between both parts; None: the margin of the network.
    replay : globs of training examples (maps with ``truth``) that are shown in between, against forgetting.
    replay_share : share of the crops that they get.
    """

    steps: int = 200
    learning_rate: float = 3e-4
    holdout: str = AUTO
    holdout_share: float = 0.25
    gap_px: int | None = None
    replay: tuple[str, ...] = ()
    replay_share: float = 0.3
    threads: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        check_side(self.holdout)
        OptimConfig(steps=self.steps, learning_rate=self.learning_rate, threads=self.threads)
        for name, low, high in (("holdout_share", 0.05, 0.6), ("replay_share", 0.0, 0.9)):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}: give a share between {low} and {high}.")


@dataclass(frozen=True)
class FineTuned:
    """A finished fine-tuning: the folder, usable as a model, and the scores (metric, before, after, change)."""

    folder: Path
    scores: pd.DataFrame
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return the scores on the hold-out, the remarks and where the model lies, as text."""
        table = self.scores.to_string(index=False, float_format=lambda value: f"{value:.3f}")
        return "\n".join([table, *self.notes, f"Model: {self.folder} (meteoseg segment SECTION --model {self.folder})"])


@dataclass(frozen=True)
class _Plan:
    """A fine-tuning whose inputs were all checked; `left_out` are objects that reach into the held-out part."""

    section: Section
    drawn: Drawn
    start: Model
    networks: tuple[Network, ...]
    grid: Regrid
    split: Split
    left_out: tuple[int, ...]
    options: FineTuneOptions
    replay: tuple[Path, ...]
    steps: Steps
    notes: tuple[str, ...]


def finetune(
    source: Section | Path | str,
    labels: Path | str | NDArray[np.integer[Any]],
    *,
    out: Path | str,
    kind: str = "components",
    classes: Mapping[Any, str] | None = None,
    kinds: Mapping[int, str] | None = None,
    unlabelled: Sequence[int] | None = None,
    model: str | Path = "chondrite",
    options: FineTuneOptions | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> FineTuned:
    """Fine-tune a model on drawn labels of a section and write it to the folder `out`.

    All networks that are averaged for the layer are tuned, one after the other; the other networks of the model are
    carried along, so that the result is complete. A side of the section is held out, with a gap, and scored before
    and after as `segment` would label it, but with no pixel unclassified, and before it serves for calibration.

    Parameters
    ----------
    source : section, or a path to open.
    labels, kind, classes, kinds, unlabelled : see `meteoseg.train.drawn.read_drawn`.
    out : folder for ``model.safetensors``, its card, ``finetune.csv`` and a folder per network.
    model : shipped name, model file or training folder to start from.

    Raises
    ------
    MeteosegError : bad input (nothing is written then): labels that do not fit or whose meaning is not given, one
        class only, no way to hold out a block, a held-out part that the model was trained on before, classes it
        does not know, `out` in use.
    """
    steps = Steps(progress)
    section = source if isinstance(source, Section) else open_section(source)
    target = output_folder(Path(out).resolve().parent, Path(out).resolve().name, overwrite=overwrite)
    drawn = read_drawn(labels, section, kind=kind, classes=classes, kinds=kinds, unlabelled=unlabelled)
    plan = _check(section, drawn, load_model(model), options=options or FineTuneOptions(), steps=steps)
    with complete_or_absent(target) as folder:
        with steps("scores before"):
            before = _score(plan, plan.networks)
        tuned = [_tune(plan, network, folder / "networks" / network.card.name) for network in plan.networks]
        with steps("scores after"):
            after = _score(
                plan, [_as_before(part, network) for (part, _), network in zip(tuned, plan.networks, strict=True)]
            )
        table = compare(before, after)
        table.to_csv(folder / SCORES_CSV, index=False)
        notes = (*plan.notes, *verdict(table))
        card = _card(plan, target.name, [part for part, _ in tuned], (_labels_note(plan, labels), *notes))
        scores = _named("before", before) | _named("after", after)
        _write_model(plan, replace(card, scores={**card.scores, **scores}), tuned, folder)
    return FineTuned(Path(out), table, notes)


def _check(section: Section, drawn: Drawn, start: Model, *, options: FineTuneOptions, steps: Steps) -> _Plan:
    """Check that model, section and labels go together, and decide what is held out."""
    networks = _networks(start, drawn.layer)
    card = networks[0].card
    unknown = [name for name in drawn.names() if name not in card.classes(drawn.layer)]
    if unknown:
        raise InputError(
            f"Model '{start.card.name}' does not know '{unknown[0]}', only {', '.join(card.classes(drawn.layer))}: "
            "write --class VALUE=ignore for it, or train a new model."
        )
    Inputs(section).check(replace(start.card, networks=tuple(network.card for network in networks)))
    grid = choose_grid(card, section)
    gap_px = _gap_px(options, card, grid)
    counted = drawn.classes if section.mask is None else np.where(section.read_mask(), drawn.classes, 255)
    split = split_labels(
        counted.astype(np.uint8), drawn.layer, side=options.holdout, share=options.holdout_share, gap_px=gap_px
    )
    check_unseen(start.card.training_data, section, split.held, model=start.card.name, remedy=_UNSEEN_REMEDY)
    left_out = _left_out(drawn, split)
    replay = find_examples(options.replay)
    if replay:
        prints = [fingerprint(open_section(folder), str(folder)) for folder in replay]
        check_apart([fingerprint(section)], prints)
    notes = [*drawn.notes, _split_note(split, section)]
    if left_out:
        notes.append(f"not trained on, since they reach into the held-out part: {len(left_out)} objects")
    if drawn.layer == "phases" and choose_phase_maker(section, None) is not None:
        notes.append("segment names the minerals of this section by its chemistry, not by the tuned network")
    return _Plan(section, drawn, start, networks, grid, split, left_out, options, replay, steps, tuple(notes))


def _networks(model: Model, layer: str) -> tuple[Network, ...]:
    """Return the networks whose probabilities `segment` averages for `layer`."""
    first = next((network for network in model.networks.values() if layer in network.card.layers), None)
    if first is None:
        raise InputError(f"Model '{model.card.name}' delivers no {layer}: start from one that does with --model.")
    return tuple(network for network in model.networks.values() if first.card.delivers_like(network.card))


def _gap_px(options: FineTuneOptions, card: NetworkCard, grid: Regrid) -> int:
    """Return the gap in pixels of the maps, after checking that it is wide enough."""
    scale = float(max(grid.step))
    least, usual = (int(np.ceil(px * scale)) for px in (MIN_GAP_PX, card.margin_px))
    gap_px = usual if options.gap_px is None else options.gap_px
    if gap_px < least:
        raise InputError(
            f"A gap of {gap_px} px is too narrow for this section: neighbouring pixels are nearly copies of each "
            f"other, so the score would flatter. Give at least {least} px with --gap ({usual} by default)."
        )
    return gap_px


def _left_out(drawn: Drawn, split: Split) -> tuple[int, ...]:
    """Return the objects on both sides, which are not trained on: their other end would give the held-out one away.

    Raises
    ------
    InputError : without them nothing is left to learn from.
    """
    if drawn.objects is None:
        return ()
    both = np.intersect1d(drawn.objects[split.train.slices], drawn.objects[split.held.slices])
    left_out = tuple(int(number) for number in both if number)
    classes = drawn.truth(without=left_out)[drawn.layer][split.train.slices]
    names = [default_legend(drawn.layer).name_of(int(value)) for value in np.unique(classes) if value != 255]
    if "chondrule" not in names or len(names) < 2:
        raise InputError(
            f"What is left to train on shows only {', '.join(names) or 'no class'} (objects that reach into the "
            f"held-out part are left out: {len(left_out)}): give another side with --holdout, a smaller "
            "--holdout-share or --gap, or outline more."
        )
    return left_out


def _split_note(split: Split, section: Section) -> str:
    held = split.held
    return (
        f"held out: {split.side} of '{section.name}', rows {held.row}-{held.row_end - 1}, columns "
        f"{held.col}-{held.col_end - 1}, {split.gap_px} px away from what was trained on"
    )


def _score(plan: _Plan, networks: Sequence[Network]) -> dict[str, float]:
    return score_on(plan.start, plan.section, plan.drawn, window=plan.split.held, networks=networks)


def _as_before(part: Model, network: Network) -> Network:
    """Return a tuned network with the calibration of the one that it started from, so that both score by one rule."""
    tuned = copy.copy(part.networks[network.card.name])
    tuned.card = replace(tuned.card, calibration=network.card.calibration)
    return tuned


def _tune(plan: _Plan, network: Network, folder: Path) -> tuple[Model, Example]:
    """Train one network; return it and the held-out example, classes as indices."""
    options = plan.options
    config, start = take_over(_config(plan, network))
    own = _example(plan, config, plan.split.train, is_training=True)
    held = _example(plan, config, plan.split.held, is_training=False)
    replay = [load_example(example, config) for example in plan.replay]
    with plan.steps(f"network {network.card.name}, {options.steps} steps"), tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        train_on(config, run, [*replay, own], [held], start=start, progress=plan.steps.show)
        folder.mkdir(parents=True)
        for name in (METRICS, CONFIG):
            (run / name).replace(folder / name)
        return load_model(run), held


def _config(plan: _Plan, network: Network) -> TrainConfig:
    options, card = plan.options, network.card
    shorter = min(onto_grid(plan.split.train, plan.grid.step).shape)
    return TrainConfig(
        name=card.name,
        seed=options.seed,
        data=DataConfig(
            sections=options.replay,
            focus=(plan.section.name,),
            focus_share=1 - options.replay_share,
            holdout="block",
            fraction=options.holdout_share,
            gap_px=plan.split.gap_px,
        ),
        network=NetworkConfig(start=str(plan.start.path), start_network=card.name),
        optim=OptimConfig(
            steps=options.steps,
            batch_size=BATCH_SIZE,
            tile_px=min(TILE_PX, max(64, -(-shorter // 32) * 32)),
            learning_rate=options.learning_rate,
            validate_every=options.steps,
            validation_crops=16,
            checkpoint_every=10**9,
            threads=options.threads,
        ),
        augment=AugmentConfig(
            zoom=(0.85, 1.2), gain=0.1, gamma=0.15, noise=0.05, blur=0.1, channel_dropout={"random": 0.2}
        ),
        # Outlines: weights for rare classes and Dice make a network miss chondrules (docs/gallery.md).
        loss=LossConfig(class_balance=0.0, dice=0.0) if plan.drawn.objects is not None else LossConfig(),
        card=CardConfig(plan.start.card.licence, plan.start.card.citation),
    )


def _example(plan: _Plan, config: TrainConfig, part: Window, *, is_training: bool) -> Example:
    """Cut one side of the section, around its labels, on the grid of the network."""
    step = plan.grid.step
    truth = plan.drawn.truth(without=plan.left_out if is_training else ())
    margin_px = int(np.ceil(config.optim.tile_px * max(step)))
    window = onto_grid(around_labels(plan.drawn.classes, part, margin_px), step)
    window = window.intersect(Window.whole(plan.grid.target)) or window
    n_values = window.height * window.width * len(plan.networks[0].card.channels)
    if n_values > MAX_VALUES:
        raise InputError(
            f"The labels spread over {window.height} x {window.width} px, too much to train on at once: cut the "
            "maps and the labels to a smaller part."
        )
    example = make_example(plan.section, truth, config, grid=plan.grid, window=window)
    return replace(example, in_focus=True)


def _card(plan: _Plan, name: str, parts: Sequence[Model], notes: Sequence[str]) -> ModelCard:
    """Make the card of the tuned networks and the others of the start model."""
    start = plan.start.card
    tuned = {part.card.networks[0].name: part.card.networks[0] for part in parts}
    seen = [record(plan.section, plan.split.train)]
    seen += [record(open_section(folder), name=folder.name) for folder in plan.replay]
    origin = f"fine-tuned from model '{start.name}' (SHA-256 {plan.start.sha256}): {', '.join(tuned)}"
    return ModelCard(
        name,
        tuple(replace(tuned.get(card.name, card), calibration=card.calibration) for card in start.networks),
        training_data=tuple(dict.fromkeys([*start.training_data, *seen])),
        scores={
            key: value
            for key, value in start.scores.items()
            if not set(key.split(".")[0].split("+")) & set(tuned) and not key.startswith("holdout_")
        },
        licence=start.licence,
        citation=start.citation,
        created=datetime.now(UTC).date().isoformat(),
        notes=(f"{origin}; other networks unchanged", *notes, *(f"start model: {note}" for note in start.notes)),
    )


def _write_model(plan: _Plan, card: ModelCard, tuned: Sequence[tuple[Model, Example]], folder: Path) -> None:
    """Calibrate the tuned networks on the held-out part, now that it is scored, and write them with the others."""
    found = {name: network for part, _ in tuned for name, network in part.networks.items()}
    networks, held = list(found.values()), tuned[0][1]
    calibration: tuple[Calibration, ...] = ()
    scores: dict[str, float] = {}
    plane = networks[0].card.layers.index(plan.drawn.layer)
    if np.count_nonzero(held.targets[..., plane] != 255) >= MIN_CALIBRATION_PX:
        calibration, scores = calibrate_networks(networks, [held])
    card = replace(
        card,
        networks=tuple(replace(c, calibration=calibration) if c.name in found else c for c in card.networks),
        scores={**card.scores, **_named("after", scores)},
    )
    states = {name: network.state_dict() for name, network in {**plan.start.networks, **found}.items()}
    save_model(folder / MODEL_FILE, card, states)
    (folder / CARD).write_text(card.to_json() + "\n", encoding="utf-8")


def _labels_note(plan: _Plan, labels: Path | str | NDArray[np.integer[Any]]) -> str:
    if isinstance(labels, str | Path):
        source, digest = Path(labels).name, sha256_of(Path(labels))
    else:
        source, digest = "an array", hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()
    trained = plan.drawn.truth(without=plan.left_out)[plan.drawn.layer][plan.split.train.slices]
    n_px = int(np.count_nonzero(trained != 255))
    return (
        f"labels from {source} (SHA-256 {digest}): {n_px} pixels trained on, {', '.join(plan.drawn.names())}; "
        f"{plan.options.steps} steps at {plan.options.learning_rate:g}"
    )


def _named(when: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"holdout_{when}.{key}": round(value, 4) for key, value in scores.items() if np.isfinite(value)}
