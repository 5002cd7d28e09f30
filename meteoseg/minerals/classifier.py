"""Name the mineral of each pixel from element maps: counts with a calibration, or weight percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError
from meteoseg.legend import UNCLASSIFIED, Legend, default_legend
from meteoseg.legendedit import LegendEdit, NewPhase
from meteoseg.minerals.alpha import ELEMENTS
from meteoseg.minerals.calibration import FEWEST_CHANNELS, Calibration
from meteoseg.minerals.likelihood import (
    Floats,
    Moments,
    Response,
    misfit,
    score,
    smooth_posterior,
    template_moments,
)
from meteoseg.minerals.quantified import estimate_noise, neighbours_are_related, point_noise
from meteoseg.minerals.templates import Templates, load_templates

_BAND_PX = 200_000
_POINTS_NOTE = (
    "Adjacent pixels are unrelated, as in a table of point analyses: each was named by itself, without its neighbours."
)


@dataclass(frozen=True)
class ClassifierSettings:
    """Choices of the classifier.

    stray_wt_pct : sd of every element from beyond the grain (beam tails, fluorescence), in wt%.
    coupling : log-probability per neighbour of the same phase (0 = every pixel by itself).
    misfit_bound : mean squared residual in units of the variance above which a pixel is `unclassified`.
    """

    stray_wt_pct: float = 0.3
    coupling: float = 0.5
    misfit_bound: float = 6.0


# Of point analyses, the steps between sampled compositions are the larger part of the misfit: a wider bound.
_POINT_SETTINGS = ClassifierSettings(coupling=0.0, misfit_bound=10.0)


@dataclass(frozen=True)
class PhaseClassifier:
    """Classify pixels by the likelihood of their values over the compositions of rules/phases.toml.

    Make one with `from_calibration` (counts) or `from_wt_pct` (quantified maps), or `fitted.fit_classifier`.

    Attributes
    ----------
    channels : elements that are used, in order; others given to `classify` are ignored.
    kept : which rows of the templates are compared (None = all); every phase keeps at least one.
    """

    channels: tuple[str, ...]
    response: Response
    templates: Templates
    settings: ClassifierSettings = ClassifierSettings()
    notes: tuple[str, ...] = ()
    kept: NDArray[np.bool_] | None = None
    legend: Legend = field(default_factory=lambda: default_legend("phases"))

    @classmethod
    def from_calibration(
        cls,
        calibration: Calibration,
        channel_names: Sequence[str],
        *,
        phases: Sequence[str] | None = None,
        new: tuple[NewPhase, ...] = (),
    ) -> PhaseClassifier:
        """Classify counts with a calibration.

        `phases` are the names to compare (None: all); `new` are phases of the user's, for which the legend grows.

        Raises
        ------
        ChannelError : fewer than three elements of the section are calibrated.
        UnknownNameError : `phases` names a phase without composition.
        InputError : a formula of a new phase does not parse.
        """
        channels = calibration.usable(channel_names)
        ignored = [name for name in channel_names if name not in channels]
        notes = (f"Not calibrated and not used for minerals: {', '.join(ignored)}.",) if ignored else ()
        templates = load_templates(channels, _tuple(phases), new)
        legend = LegendEdit(new=new).extended(default_legend("phases"))
        return cls(channels, calibration, templates, notes=calibration.notes + notes, legend=legend)

    @classmethod
    def from_wt_pct(
        cls,
        sample: NDArray[np.float32],
        channel_names: Sequence[str],
        *,
        phases: Sequence[str] | None = None,
        new: tuple[NewPhase, ...] = (),
    ) -> PhaseClassifier:
        """Classify quantified maps; `sample` (C, H, W) is a part of them from which the noise is measured.

        Where adjacent pixels have nothing to do with each other (a table of point analyses laid out as a map),
        every pixel stands for itself: no neighbours, no mixtures, the errors of point analyses.
        `phases` and `new` as in `from_calibration`.

        Raises
        ------
        ChannelError : fewer than three channels are elements.
        UnknownNameError : `phases` names a phase without composition.
        InputError : a formula of a new phase does not parse.
        """
        channels = tuple(name for name in channel_names if name in ELEMENTS)
        if len(channels) < FEWEST_CHANNELS:
            raise ChannelError(
                f"Minerals need at least {FEWEST_CHANNELS} element maps; got {', '.join(channel_names)}."
            )
        chosen = np.stack([sample[list(channel_names).index(name)] for name in channels])
        templates = load_templates(channels, _tuple(phases), new)
        legend = LegendEdit(new=new).extended(default_legend("phases"))
        if neighbours_are_related(chosen):
            return cls(channels, estimate_noise(chosen, channels), templates, legend=legend)
        # What is rare in chondrites may be what an analyst chose.
        common = templates.without_rarity()
        points = cls(channels, point_noise(channels), common, _POINT_SETTINGS, (_POINTS_NOTE,), legend=legend)
        return replace(points, kept=points.moments().pure)

    def moments(self) -> Moments:
        """Expected values of all templates in `channels`."""
        every = template_moments(self.templates, self.response, self.channels, stray_wt_pct=self.settings.stray_wt_pct)
        return every if self.kept is None else every.only(self.kept)

    def with_settings(self, settings: ClassifierSettings) -> PhaseClassifier:
        """Return the classifier with other settings."""
        return replace(self, settings=settings)

    def classify(
        self, values: NDArray[np.float32], channel_names: Sequence[str]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Name the phase of each pixel.

        Parameters
        ----------
        values : (C, H, W) counts or wt%, as the classifier was made for; NaN counts as 0.
        channel_names : names of the C planes; all of `channels` must be among them.

        Returns
        -------
        labels : (H, W) uint8 ids of the phase legend; `unclassified` where nothing fits, `hole` at low totals.
        confidence : (H, W) float32, posterior probability of the label (0-1); 0 where unclassified.

        Raises
        ------
        ChannelError : a channel is missing.
        """
        planes = self.select(values, channel_names)
        _, rows, cols = planes.shape
        labels = np.empty((rows, cols), np.uint8)
        confidence = np.empty((rows, cols), np.float32)
        moments, ids = self.moments(), self._phase_ids()
        step = max(1, _BAND_PX // max(cols, 1))
        for row in range(0, rows, step):
            inner = slice(row, min(row + step, rows))
            outer = slice(max(0, row - 1), min(rows, inner.stop + 1))
            phase, posterior, unfit = self._classify_band(planes[:, outer], moments)
            keep = slice(inner.start - outer.start, inner.stop - outer.start)
            labels[inner] = np.where(unfit, self.legend[UNCLASSIFIED].id, ids[phase])[keep]
            confidence[inner] = np.where(unfit, 0, posterior)[keep]
        return labels, confidence

    def _classify_band(self, planes: Floats, moments: Moments) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
        shape = planes.shape[1:]
        flat = planes.reshape(len(planes), -1)
        scores = score(flat, moments)
        unfit = misfit(flat, moments, scores.best).reshape(shape) > self.settings.misfit_bound
        posterior = smooth_posterior(scores.log_likelihood.reshape(-1, *shape), coupling=self.settings.coupling)
        phase = posterior.argmax(axis=0)
        return phase, posterior.max(axis=0), unfit

    def _phase_ids(self) -> NDArray[np.uint8]:
        return np.array([self.legend[name].id for name in self.templates.phases], np.uint8)

    def select(self, values: NDArray[np.float32], channel_names: Sequence[str]) -> Floats:
        """Pick the planes of `channels` out of (C, H, W), float32.

        Raises
        ------
        ChannelError : a channel is missing.
        """
        position: Mapping[str, int] = {name: index for index, name in enumerate(channel_names)}
        missing = [name for name in self.channels if name not in position]
        if missing:
            raise ChannelError(
                f"Channel '{missing[0]}' is missing for the minerals (got {', '.join(channel_names)}): "
                "give the maps the classifier was made for."
            )
        return np.asarray(values[[position[name] for name in self.channels]], np.float32)


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
