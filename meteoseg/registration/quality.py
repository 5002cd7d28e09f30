"""Whether a registration can be believed, and how exact it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from meteoseg.io.warped import Transform
from meteoseg.registration.estimate import CHECK_RADIUS_PX, CHECK_TOLERANCE_PX, Estimate
from meteoseg.registration.levels import Level

Points = NDArray[np.float64]

#: Blocks that must agree: at least so many, and at least this share of those with contrast.
LEAST_BLOCKS, LEAST_SHARE = 6, 0.4
#: Chance, as a power of ten, that blocks of unrelated images agree so well; above it nothing is believed.
LARGEST_CHANCE_LOG10 = -6.0
#: Rotation (degrees) and change of scale or shear (share) that are believed.
LARGEST_TURN_DEG, LARGEST_STRETCH = 7.0, 0.10
_BINS = 32


@dataclass(frozen=True)
class Quality:
    """How well an image fits the maps; lengths in pixels of the maps.

    Parameters
    ----------
    n_blocks : blocks with contrast in both. n_agree : those found within 2.5 px of where the transform puts them.
    chance_log10 : logarithm of the probability that so many agree by chance.
    residual_px : median distance of these blocks from the transform (row, col).
    error_px : standard error of the shift in the middle of the maps, `error_corner_px` at their worst corner (row,
        col), from the scatter of the blocks. correlation : of the image with the one predicted from the maps.
    nmi : normalised mutual information of the two, (H(a) + H(b)) / H(a, b), from 1 (unrelated) to 2 (Studholme et
        al., 1999).
    place_ratio : score of the best place in the search over that of the second best.
    covered_share : share of the measured maps that the image covers.
    """

    n_blocks: int
    n_agree: int
    chance_log10: float
    residual_px: tuple[float, float]
    error_px: tuple[float, float]
    error_corner_px: tuple[float, float]
    correlation: float
    nmi: float
    place_ratio: float
    covered_share: float

    @property
    def agreement(self) -> float:
        """Share of the blocks that agree."""
        return self.n_agree / max(1, self.n_blocks)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"agreement": self.agreement, **asdict(self)}


@dataclass(frozen=True)
class Motion:
    """A transform told apart from what the pixel sizes say: the position in the image minus that in the maps.

    shift_px : in the middle of the maps and `shift_corner_px` at their first pixel (row, col, map pixels).
    rotation_deg : counter-clockwise positive as seen on the screen, of the image against the maps.
    stretch_pct : change of the scale of rows and columns. shear_pct : departure from a right angle.
    """

    shift_px: tuple[float, float]
    shift_corner_px: tuple[float, float]
    rotation_deg: float
    stretch_pct: tuple[float, float]
    shear_pct: float

    @classmethod
    def of(cls, transform: Transform, nominal: Transform, shape: tuple[int, int]) -> Motion:
        """Compare with `nominal`, the transform that pixel sizes alone give, over maps of `shape`."""
        points = np.array([[(shape[0] - 1) / 2, (shape[1] - 1) / 2], [0.0, 0.0]])
        moved = nominal.inverse().apply(transform.apply(points)) - points
        matrix = np.linalg.inv(nominal.matrix) @ transform.matrix
        size = np.linalg.norm(matrix, axis=0)
        shear = float(matrix[:, 0] @ matrix[:, 1] / size.prod())
        turn = float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))
        stretch = 100 * (size - 1)
        return cls(pair(moved[0]), pair(moved[1]), turn, pair(stretch), 100 * shear)

    @property
    def is_possible(self) -> bool:
        """Whether rotation, stretch and shear are small."""
        stretch = max(abs(value) for value in (*self.stretch_pct, self.shear_pct)) / 100
        return abs(self.rotation_deg) <= LARGEST_TURN_DEG and stretch <= LARGEST_STRETCH


def pair(values: Points) -> tuple[float, float]:
    """Return two numbers as a tuple."""
    return float(values[0]), float(values[1])


def quality_of(estimate: Estimate, level: Level, shape: tuple[int, int]) -> Quality:
    """Return the quality of an estimate on maps of `shape` (rows, cols)."""
    residual, error, corner = ((np.nan, np.nan),) * 3
    field = estimate.field
    if field is not None:
        agreeing = estimate.blocks.centres[field.inliers]
        residual = pair(np.median(np.abs(estimate.blocks.shifts[field.inliers] - field.at(agreeing)), axis=0))
        rows, cols = shape[0] - 1, shape[1] - 1
        errors = field.standard_error(np.array([[rows / 2, cols / 2], [0, 0], [0, cols], [rows, 0], [rows, cols]]))
        error, corner = pair(errors[0]), pair(errors[1:].max(axis=0))
    correlation, nmi, covered = _likeness(estimate, level)
    return Quality(
        len(estimate.blocks),
        estimate.n_agree,
        chance_log10(estimate.n_agree, len(estimate.blocks)),
        residual,
        error,
        corner,
        correlation,
        nmi,
        estimate.place_ratio,
        covered,
    )


def chance_log10(n_agree: int, n_blocks: int) -> float:
    """Return the logarithm of the probability that `n_agree` or more of `n_blocks` agree by chance.

    An unrelated block is found anywhere in the searched square alike. Three blocks are spent on the fit itself.

    Examples
    --------
    >>> chance_log10(3, 30), round(chance_log10(10, 30), 1)
    (0.0, -4.8)
    """
    share = np.pi * CHECK_TOLERANCE_PX**2 / (2 * CHECK_RADIUS_PX + 1) ** 2
    free = n_agree - 3
    return float(binom.logsf(free - 1, n_blocks - 3, share) / np.log(10)) if free > 0 else 0.0


def mutual_information(a: Points, b: Points) -> float:
    """Return the normalised mutual information of two samples (N,), each in 32 grey levels from its 1 to 99 %.

    Examples
    --------
    >>> ramp = np.arange(3200.0)
    >>> round(mutual_information(ramp, -ramp), 3), round(mutual_information(ramp, ramp % 7), 1)
    (2.0, 1.0)
    """
    levels = []
    for values in (a, b):
        low, high = np.percentile(values, (1, 99))
        levels.append(np.clip((values - low) / max(high - low, 1e-12) * _BINS, 0, _BINS - 1).astype(int))
    joint = np.bincount(levels[0] * _BINS + levels[1], minlength=_BINS**2).reshape(_BINS, _BINS) / len(a)
    both = _entropy(joint)
    return 1.0 if both == 0 else (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both


def _entropy(share: Points) -> float:
    used = share[share > 0]
    return float(-(used * np.log(used)).sum())


def _likeness(estimate: Estimate, level: Level) -> tuple[float, float, float]:
    """Return correlation, mutual information and covered share, on the pixels of the level."""
    image = level.registered(level.own(estimate.transform))
    measured = np.isfinite(level.maps).all(axis=0)
    common = measured & np.isfinite(image)
    covered = float(common.sum() / max(1, measured.sum()))
    if estimate.predictor is None or common.sum() < 16:
        return np.nan, np.nan, covered
    predicted = estimate.predictor.predict(level.maps)[common].astype(np.float64)
    values = image[common].astype(np.float64)
    if predicted.std() == 0 or values.std() == 0:
        return np.nan, 1.0, covered
    return float(np.corrcoef(predicted, values)[0, 1]), mutual_information(predicted, values), covered


def objection(quality: Quality, motion: Motion) -> str | None:
    """Say in half a sentence why a registration is not believed; None: it is."""
    if quality.n_agree < LEAST_BLOCKS or quality.agreement < LEAST_SHARE:
        return (
            f"only {quality.n_agree} of {quality.n_blocks} blocks are found where the others say "
            f"(at least {LEAST_BLOCKS} and {100 * LEAST_SHARE:.0f} % must be)"
        )
    if quality.chance_log10 > LARGEST_CHANCE_LOG10:
        return f"{quality.n_agree} of {quality.n_blocks} blocks may agree by chance"
    if not motion.is_possible:
        return (
            f"it fits only if turned by {motion.rotation_deg:.1f} degrees and stretched by "
            f"{motion.stretch_pct[0]:.1f} x {motion.stretch_pct[1]:.1f} %"
        )
    return None
