"""How sure a network is: calibrated probabilities, what stays unclassified, sections that are new to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from meteoseg.errors import InputError, ShapeMismatchError

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

#: Shares of the rightly classified held-out pixels that the two thresholds of ``unclassified`` cost: 2 % in all.
LOST_BY_PROBABILITY, LOST_BY_LEAD = 0.005, 0.015
#: Temperatures that are tried.
_LOWEST_T, _HIGHEST_T = 0.2, 10.0


@dataclass(frozen=True)
class Calibration:
    """What held-out sections with certain channels say about one layer of a network.

    Parameters
    ----------
    layer : ``components`` or ``phases``.
    channels : the channels that were present.
    temperature : divides the logits before the softmax (Guo et al. 2017, arXiv 1706.04599).
    min_probability : 0.5 % of the rightly classified pixels have a lower top probability.
    min_lead : 1.5 % of them have a lower logit margin, the best logit less the mean of all. A mineral that was never
        seen speaks against all classes alike, which the softmax hides and the margin shows.
    usual_probability, lowest_probability : median and lowest of the mean top probability of held-out windows
        (pixels that are not outside); None where there were too few windows.
    """

    layer: str
    channels: tuple[str, ...]
    temperature: float = 1.0
    min_probability: float = 0.0
    usual_probability: float | None = None
    lowest_probability: float | None = None
    min_lead: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.min_probability < 1:
            raise InputError(
                f"Temperature {self.temperature} or least probability {self.min_probability} of '{self.layer}' is not "
                "possible: calibrate the model again."
            )


def nearest_calibration(
    calibrations: Sequence[Calibration], layer: str, channels: Collection[str]
) -> Calibration | None:
    """Return the calibration of `layer` whose channels are most like `channels`; None where there is none.

    Likeness is the number of common channels over that of all; the first of equals is taken.

    Examples
    --------
    >>> known = [Calibration("phases", ("BSE",), 2.0), Calibration("phases", ("BSE", "Fe", "Mg"), 1.2)]
    >>> nearest_calibration(known, "phases", ["Fe", "Mg", "Si"]).temperature
    1.2
    """
    given = set(channels)

    def likeness(entry: Calibration) -> float:
        own = set(entry.channels)
        return len(own & given) / max(1, len(own | given))

    return max((entry for entry in calibrations if entry.layer == layer), key=likeness, default=None)


def lowest_thresholds(
    calibrations: Sequence[Calibration], layer: str, channels: Collection[str]
) -> tuple[float, float]:
    """Return the probability and the margin under which a pixel of `layer` is refused; (0, -inf) without any.

    A section rarely has just the channels of a calibration. The lower thresholds are taken of the set most like its
    own and of the largest set that it has all channels of: with fewer channels a network is less sure of what it
    rightly names.

    Examples
    --------
    >>> few = Calibration("phases", ("Fe", "Mg"), min_probability=0.2, min_lead=3.0)
    >>> all_ = Calibration("phases", ("BSE", "Al", "Fe", "Mg", "Si"), min_probability=0.4, min_lead=6.0)
    >>> lowest_thresholds([few, all_], "phases", ["BSE", "Fe", "Mg", "Si"])
    (0.2, 3.0)
    """
    contained = [entry for entry in calibrations if entry.layer == layer and set(entry.channels) <= set(channels)]
    used = [max(contained, key=lambda entry: len(entry.channels), default=None)]
    used.append(nearest_calibration(calibrations, layer, channels))
    found = [entry for entry in used if entry is not None]
    return (
        min((entry.min_probability for entry in found), default=0.0),
        min((entry.min_lead for entry in found), default=-np.inf),
    )


def mean_shares(logits: Sequence[FloatArray], temperature: float = 1.0) -> NDArray[np.float32]:
    """Return the mean softmax probabilities (N, K) of several networks' logits (N, K) at one temperature.

    Examples
    --------
    >>> mean_shares([np.log([[1.0, 3.0]]), np.log([[3.0, 1.0]])]).tolist()
    [[0.5, 0.5]]
    """
    total: NDArray[np.float32] | None = None
    for values in logits:
        share = np.exp((values - values.max(axis=1, keepdims=True)) / temperature, dtype=np.float32)
        share /= share.sum(axis=1, keepdims=True)
        total = share if total is None else total + share
    if total is None:
        raise InputError("There are no logits to average: give those of one network at least.")
    return total / np.float32(len(logits))


def fit_temperature(logits: Sequence[FloatArray], targets: NDArray[np.integer[Any]]) -> float:
    """Return the temperature with the highest likelihood of `targets`, between 0.2 and 10.

    For several networks it is that of their mean probabilities (pool, then calibrate; Rahaman and Thiery 2021,
    arXiv 2007.08792).

    Parameters
    ----------
    logits : (N, K) of each network.
    targets : (N,) true classes, 0 to K - 1.

    Raises
    ------
    ShapeMismatchError : logits and targets differ in number.
    InputError : no pixel.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random(20_000) < 0.8
    >>> too_sure = np.tile([0.0, 3 * np.log(4)], (20_000, 1))
    >>> round(fit_temperature([too_sure], truth.astype(int)), 1)
    3.0
    """
    if any(len(values) != len(targets) for values in logits):
        raise ShapeMismatchError(f"{[len(values) for values in logits]} logits for {len(targets)} pixels: give equal.")
    if not len(targets):
        raise InputError("There is no labelled pixel to fit a temperature on: give more held-out examples.")
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        share = mean_shares(logits, float(np.exp(log_temperature)))[rows, targets]
        return float(-np.log(np.maximum(share, 1e-12), dtype=np.float64).mean())

    found = minimize_scalar(loss, bounds=np.log([_LOWEST_T, _HIGHEST_T]), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def threshold(values: FloatArray, is_right: BoolArray, *, lost: float) -> float:
    """Return the threshold of `values` (N,) under which the share `lost` of the right pixels lies.

    Examples
    --------
    >>> round(threshold(np.linspace(0, 0.99, 100), np.ones(100, bool), lost=0.02), 2)
    0.02
    """
    right = values[is_right]
    return float(np.quantile(right, lost)) if right.size else 0.0


def top_of_shares(
    share: NDArray[np.float32], excluded: Sequence[int] = ()
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the most probable class and its probability from probabilities (K, H, W), which are overwritten."""
    share[list(excluded)] = 0
    best = share.argmax(axis=0)
    top = np.take_along_axis(share, best[None], axis=0)[0]
    return best, np.asarray(top / np.maximum(share.sum(axis=0), 1e-12), np.float32)


@dataclass
class Certainty:
    """Top probabilities of one layer of a section, counted band by band."""

    layer: str
    calibration: Calibration | None
    n_px: int = 0
    total: float = 0.0
    n_unsure: int = 0
    by_class: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, top: FloatArray, names: Mapping[int, str] | None = None, labels: NDArray[Any] | None = None) -> None:
        """Count pixels of the section by their top probability (any shape, 0-1).

        `labels`, of the same shape, says what they were taken for; `names` what these numbers mean.
        """
        if labels is not None and names:
            n_px = np.bincount(labels.ravel(), minlength=max(names) + 1)
            total = np.bincount(labels.ravel(), top.ravel(), minlength=max(names) + 1)
            for number, name in names.items():
                if n_px[number]:
                    before = self.by_class.get(name, (0, 0.0))
                    self.by_class[name] = (before[0] + int(n_px[number]), before[1] + float(total[number]))
        self.n_px += top.size
        self.total += float(top.sum(dtype=np.float64))
        if self.calibration is not None:
            self.n_unsure += int(np.count_nonzero(top < self.calibration.min_probability))

    @property
    def mean(self) -> float:
        """Mean top probability; NaN without any pixel."""
        return self.total / self.n_px if self.n_px else float("nan")

    def facts(self) -> dict[str, Any]:
        """Return the numbers for run.json."""
        known = self.calibration
        return {
            "mean_probability": round(self.mean, 4) if self.n_px else None,
            "usual_probability": known.usual_probability if known else None,
            "lowest_probability": known.lowest_probability if known else None,
            "unsure_pct": round(100 * self.n_unsure / self.n_px, 2) if known and self.n_px else None,
            "mean_probability_of": {name: round(total / n, 4) for name, (n, total) in self.by_class.items()},
        }

    def note(self) -> str | None:
        """Say in plain words that the section is new to the networks; None where it is not, or not known."""
        known = self.calibration
        if known is None or known.lowest_probability is None or known.usual_probability is None or not self.n_px:
            return None
        if self.mean >= known.lowest_probability:
            return None
        return (
            f"The networks are much less sure of the {self.layer} of this section than of those they were tested on: "
            f"mean probability {self.mean:.2f}, there {known.lowest_probability:.2f} at the lowest and "
            f"{known.usual_probability:.2f} as a rule; {100 * self.n_unsure / self.n_px:.0f} % of the pixels are as "
            f"unsure as 0.5 % of the right ones there. Rock, channels or pixel size may be new to them: check by eye."
        )
