"""Calibrate the probabilities of trained networks on held-out sections, for several sets of channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.channels import ABSENT
from meteoseg.elements import BSE
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.labels.certainty import (
    LOST_BY_LEAD,
    LOST_BY_PROBABILITY,
    Calibration,
    fit_temperature,
    mean_shares,
    threshold,
)
from meteoseg.legend import OUTSIDE
from meteoseg.metrics import expected_calibration_error
from meteoseg.models import Model, Network, NetworkCard, load_model, save_model
from meteoseg.predict import predict_windows
from meteoseg.train.config import POLICIES, DataConfig, NetworkConfig, TrainConfig
from meteoseg.train.dataset import IGNORE, Example, find_examples, load_example, to_class_indices

FloatArray = NDArray[np.float32]

#: Windows per set of channels, their largest side, and pixels taken from each.
MAX_WINDOWS = 32
WINDOW_PX = 512
PIXELS_PER_WINDOW = 3000
#: Fewer windows than this say nothing about what is usual.
_FEW_WINDOWS = 8
#: Sets of channels that calibrations are made for, beside all and all without BSE.
_NAMED_SETS = {name: channels for name, channels in POLICIES.items() if channels is not None}


@dataclass(frozen=True)
class _Sample:
    """Labelled pixels of one layer: logits (N, K) of each network, true class (N,), window number (N,)."""

    logits: tuple[FloatArray, ...]
    targets: NDArray[np.int64]
    window: NDArray[np.int64]

    def part(self, chosen: NDArray[np.bool_]) -> _Sample:
        return _Sample(tuple(values[chosen] for values in self.logits), self.targets[chosen], self.window[chosen])

    def judged(self, temperature: float) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return top probability and whether it is right, (N,) each."""
        share = mean_shares(self.logits, temperature)
        return share.max(axis=1), share.argmax(axis=1) == self.targets

    def lead(self) -> FloatArray:
        """Return the logit margin (N,), the best logit less the mean of all, averaged over the networks."""
        each = [values.max(axis=1) - values.mean(axis=1) for values in self.logits]
        return np.asarray(np.mean(each, axis=0), np.float32)


def calibrate_networks(
    networks: Sequence[Network], examples: Sequence[Example], *, max_windows: int = MAX_WINDOWS, seed: int = 0
) -> tuple[tuple[Calibration, ...], dict[str, float]]:
    """Fit temperature and thresholds of networks whose probabilities are averaged (or of a single one).

    Each layer and set of channels has one temperature: that of the mean of all networks. True ``outside`` takes no
    part, since other evidence decides it.

    Parameters
    ----------
    networks : in eval mode, with the same layers, classes and channels.
    examples : held-out sections, targets as class indices in the order of the layers.

    Returns
    -------
    The calibrations, and scores: expected calibration error before and after, share of wrong pixels under the
    threshold of ``unclassified`` and of right ones. Scores are those of every other window, with temperature and
    threshold fitted on the rest; the calibrations are fitted on all. A layer without any labelled pixel has neither.
    """
    calibrations: list[Calibration] = []
    scores: dict[str, float] = {}
    card = networks[0].card
    for name, kept, channels in _channel_sets(card, examples):
        for layer, sample in _samples(networks, examples, kept, max_windows=max_windows, seed=seed).items():
            calibrations.append(_fit(layer, channels, sample))
            scores |= {f"{layer}_{key}.{name}": value for key, value in _cross_scores(sample).items()}
    return tuple(calibrations), scores


def _fit(layer: str, channels: tuple[str, ...], sample: _Sample) -> Calibration:
    temperature = fit_temperature(sample.logits, sample.targets)
    top, is_right = sample.judged(temperature)
    _, first, counts = np.unique(sample.window, return_index=True, return_counts=True)
    means = np.add.reduceat(top, first, dtype=np.float64) / counts
    known = len(means) >= _FEW_WINDOWS
    return Calibration(
        layer,
        channels,
        round(temperature, 4),
        round(threshold(top, is_right, lost=LOST_BY_PROBABILITY), 4),
        round(float(np.median(means)), 4) if known else None,
        round(float(means.min()), 4) if known else None,
        round(threshold(sample.lead(), is_right, lost=LOST_BY_LEAD), 4),
    )


def _cross_scores(sample: _Sample) -> dict[str, float]:
    even = sample.window % 2 == 0
    fitted, judged = (sample, sample) if even.all() or not even.any() else (sample.part(even), sample.part(~even))
    temperature = fit_temperature(fitted.logits, fitted.targets)
    top, is_right = fitted.judged(temperature)
    least = threshold(top, is_right, lost=LOST_BY_PROBABILITY)
    least_lead = threshold(fitted.lead(), is_right, lost=LOST_BY_LEAD)
    top, is_right = judged.judged(temperature)
    unsure = (top < least) | (judged.lead() < least_lead)
    return {
        "ece_uncalibrated": _ece(*judged.judged(1.0)),
        "ece": _ece(top, is_right),
        "right_unclassified": round(float(unsure[is_right].mean()), 4) if is_right.any() else 0.0,
        "wrong_unclassified": round(float(unsure[~is_right].mean()), 4) if not is_right.all() else 0.0,
    }


def _ece(top: FloatArray, is_right: NDArray[np.bool_]) -> float:
    return round(expected_calibration_error(np.clip(top, 0, 1).astype(np.float64), is_right), 4)


def _channel_sets(
    card: NetworkCard, examples: Sequence[Example]
) -> Iterator[tuple[str, NDArray[np.bool_], tuple[str, ...]]]:
    """Yield name, planes kept (C,) and channels of each different set that most examples can supply."""
    names = np.array(card.channels)
    if not card.canonical:
        yield "all", np.ones(len(names), bool), card.channels
        return
    usual = np.mean([example.present for example in examples], axis=0) >= 0.5
    wanted = {"all": np.ones(len(names), bool), "no_bse": names != BSE}
    wanted |= {name: np.isin(names, channels) for name, channels in _NAMED_SETS.items()}
    seen: set[tuple[str, ...]] = set()
    for name, kept in wanted.items():
        channels = tuple(names[kept & usual].tolist())
        complete = name not in _NAMED_SETS or len(channels) == len(_NAMED_SETS[name])
        if channels and complete and channels not in seen:
            seen.add(channels)
            yield name, kept, channels


def _samples(
    networks: Sequence[Network],
    examples: Sequence[Example],
    kept: NDArray[np.bool_],
    *,
    max_windows: int,
    seed: int,
) -> dict[str, _Sample]:
    """Run the networks on windows of the examples and take labelled pixels of every softmax layer."""
    rng = np.random.default_rng(seed)
    card = networks[0].card
    ends = np.cumsum(list(card.widths.values()))
    found: dict[str, list[_Sample]] = {layer: [] for layer in card.layers if layer != "distance"}
    for number, part in enumerate(_windows(examples, card, max_windows)):
        image = part.image.astype(np.float32).transpose(2, 0, 1)
        if card.canonical:
            image[~(part.present & kept)] = ABSENT
        logits = [predict_windows(network, [image])[0] for network in networks]
        for plane, layer in enumerate(card.layers):
            if layer in found:
                planes = slice(ends[plane] - card.widths[layer], ends[plane])
                values = [each[planes] for each in logits]
                found[layer].append(_take(values, part.targets[..., plane], card.classes(layer), layer, number, rng))
    return {layer: _join(parts) for layer, parts in found.items() if any(len(part.targets) for part in parts)}


def _take(
    logits: Sequence[FloatArray],
    target: NDArray[np.uint8],
    classes: Sequence[str],
    layer: str,
    number: int,
    rng: np.random.Generator,
) -> _Sample:
    """Take pixels of one window; the logit of `outside` is dropped where it takes no part in the choice."""
    outside = _outside(classes)
    places = np.flatnonzero((target != IGNORE) & (target != outside))
    places = np.sort(rng.choice(places, min(PIXELS_PER_WINDOW, len(places)), replace=False))
    rows = [values.reshape(len(values), -1)[:, places].T for values in logits]
    targets = target.ravel()[places].astype(np.int64)
    if layer == "phases" and outside != IGNORE:
        rows = [np.delete(values, outside, axis=1) for values in rows]
        targets -= targets > outside
    return _Sample(tuple(rows), targets, np.full(len(places), number))


def _outside(classes: Sequence[str]) -> int:
    return classes.index(OUTSIDE) if OUTSIDE in classes else IGNORE


def _join(parts: Sequence[_Sample]) -> _Sample:
    logits = tuple(np.concatenate(values) for values in zip(*(part.logits for part in parts), strict=True))
    return _Sample(
        logits, np.concatenate([part.targets for part in parts]), np.concatenate([part.window for part in parts])
    )


def _windows(examples: Sequence[Example], card: NetworkCard, max_windows: int) -> list[Example]:
    """Cut examples into windows of about 512 px; of those with labels of a layer keep `max_windows`, evenly spread."""
    parts = []
    for example in examples:
        rows, cols = example.shape
        n_rows, n_cols = (max(1, round(length / WINDOW_PX)) for length in example.shape)
        edges = np.linspace(0, rows, n_rows + 1).astype(int), np.linspace(0, cols, n_cols + 1).astype(int)
        for row, row_end in zip(edges[0], edges[0][1:], strict=False):
            for col, col_end in zip(edges[1], edges[1][1:], strict=False):
                parts.append(example.part(Window(int(row), int(col), int(row_end - row), int(col_end - col))))
    chosen: set[int] = set()
    for plane, layer in enumerate(card.layers):
        if layer != "distance":
            blank = (IGNORE, _outside(card.classes(layer)))
            held = [index for index, part in enumerate(parts) if not np.isin(part.targets[..., plane], blank).all()]
            spread = np.linspace(0, len(held) - 1, min(max_windows, len(held))).round().astype(int)
            chosen |= {held[place] for place in spread}
    return [parts[index] for index in sorted(chosen)]


def calibrate_model(
    model: str | Path, examples: Mapping[str, Sequence[str]], out: Path, *, max_windows: int = MAX_WINDOWS
) -> Path:
    """Calibrate the networks of a model file on example folders and write the model with its new card.

    Parameters
    ----------
    model : shipped name, weights file or training folder.
    examples : globs of held-out training-example folders for each layer; a network takes those of its first
        layer. A network whose layer is not named keeps what its card says.
    out : model file to write (it may be that of `model`).

    Raises
    ------
    InputError : a layer that no network delivers, or examples without labels.
    """
    loaded = load_model(model)
    groups = _groups(loaded)
    delivered = {network.card.layers[0] for group in groups for network in group}
    for layer in examples:
        if layer not in delivered:
            raise InputError(f"No network of '{loaded.card.name}' has the first layer '{layer}': give {delivered}.")
    cards = {card.name: card for card in loaded.card.networks}
    scores = dict(loaded.card.scores)
    for group in groups:
        card = group[0].card
        if card.layers[0] not in examples:
            continue
        calibration, found = calibrate_networks(
            group, load_held_out(card, examples[card.layers[0]]), max_windows=max_windows
        )
        if not calibration:
            raise InputError(
                f"The held-out examples have no labelled pixel to calibrate '{card.name}' on: give sections with truth."
            )
        cards |= {member.card.name: replace(member.card, calibration=calibration) for member in group}
        name = "+".join(member.card.name for member in group)
        scores |= {f"{name}.{key}": value for key, value in found.items()}
    changed = replace(loaded.card, networks=tuple(cards.values()), scores=scores)
    states: dict[str, Any] = {name: network.state_dict() for name, network in loaded.networks.items()}
    return save_model(out, changed, states)


def _groups(model: Model) -> list[list[Network]]:
    """Part the networks of a model into those that are averaged with each other."""
    groups: list[list[Network]] = []
    for network in model.networks.values():
        for group in groups:
            if group[0].card.delivers_like(network.card) and group[0].card.channels == network.card.channels:
                group.append(network)
                break
        else:
            groups.append([network])
    return groups


def load_held_out(card: NetworkCard, patterns: Sequence[str]) -> list[Example]:
    """Load example folders as the network of `card` sees them, targets as its class indices.

    Raises
    ------
    InputError : a glob that matches no folder, or a folder without truth.
    """
    config = TrainConfig(
        card.name,
        layers=card.layers,
        channels=() if card.canonical else card.channels,
        um_per_px=card.um_per_px or 0.0,
        data=DataConfig(validation=tuple(patterns), sections=tuple(patterns)),
        network=NetworkConfig(component_classes=card.component_classes, phase_classes=card.phase_classes),
    )
    loaded = [load_example(folder, config) for folder in find_examples(patterns)]
    classes = {layer: card.classes(layer) for layer in card.layers if layer != "distance"}
    to_class_indices(loaded, config, classes)
    return loaded
