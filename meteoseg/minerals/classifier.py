"""Name the mineral of each pixel from element maps: counts with a calibration, or weight percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError
from meteoseg.grid import Window
from meteoseg.legend import MATRIX, UNCLASSIFIED, Legend, default_legend
from meteoseg.legend.edit import LegendEdit, NewPhase
from meteoseg.minerals.alpha import ELEMENTS
from meteoseg.minerals.calibration import FEWEST_CHANNELS, Calibration
from meteoseg.minerals.likelihood import (
    Floats,
    Ints,
    Moments,
    Response,
    template_moments,
)
from meteoseg.minerals.parallel import over_tiles
from meteoseg.minerals.quantified import estimate_noise, neighbours_are_related, point_noise
from meteoseg.minerals.rejection import misfit_bound
from meteoseg.minerals.search import Found, Search
from meteoseg.minerals.smoothing import REACH_PX, highest, smooth_posterior
from meteoseg.minerals.templates import Templates, load_templates, new_phase_notes
from meteoseg.minerals.texture import weigh_texture

_POINTS_NOTE = (
    "Adjacent pixels are unrelated, as in a table of point analyses: each was named by itself, without its neighbours."
)


@dataclass(frozen=True)
class ClassifierSettings:
    """Choices of the classifier.

    stray_wt_pct : sd of every element from beyond the grain (beam tails, fluorescence), in wt%.
    coupling : log-probability per neighbour of the same phase (0 = every pixel by itself).
    lost_share : share of the pixels of known minerals that may become `unclassified`; it sets how badly a pixel may
        fit (`PhaseClassifier.misfit_bound`). More of it finds more foreign minerals.
    largest_misfit : mean squared residual over variance that a pixel may have, instead of what `lost_share` sets.
    """

    stray_wt_pct: float = 0.3
    coupling: float = 0.5
    lost_share: float = 0.0001
    largest_misfit: float | None = None


@dataclass(frozen=True)
class Identified:
    """What was found at each pixel of a window (H, W).

    labels : uint8 ids of the phase legend; `unclassified` where nothing fits, `hole` at low totals.
    probability : float32, posterior probability of the label (0-1); 0 where unclassified.
    mixed : bool, the best explanation is a mixture of two phases, as across a grain boundary.
    """

    labels: NDArray[np.uint8]
    probability: Floats
    mixed: NDArray[np.bool_]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Identified:
        """Make one of `outside` everywhere."""
        return cls(np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros(shape, bool))

    def paste(self, other: Identified, *, at: tuple[slice, slice], taken: tuple[slice, slice]) -> None:
        """Overwrite the pixels `at` by those `taken` from `other`."""
        self.labels[at] = other.labels[taken]
        self.probability[at] = other.probability[taken]
        self.mixed[at] = other.mixed[taken]


@dataclass(frozen=True)
class _Part:
    """A tile with its surroundings, flat, and where the tile is in it.

    found : of N pixels. posterior : (M,) of their pairs. shape : (H, W), H * W = N. inner : rows and columns of the
    tile.
    """

    found: Found
    posterior: Floats
    shape: tuple[int, int]
    inner: tuple[slice, slice]

    def likeliest(self) -> tuple[Ints, Floats]:
        """Phase of each pixel, the first of equals, and its probability (N,)."""
        pairs, pixels = self.found.pairs, len(self.found.best)
        top = highest(self.posterior, pairs.pixel, pixels)
        won = np.flatnonzero(self.posterior == top.take(pairs.pixel))[::-1]
        phase = np.zeros(pixels, np.int64)
        phase[pairs.pixel[won]] = pairs.phase[won]
        return phase, top

    def dense(self, phases: int) -> Floats:
        """Posterior of every phase in the tile (K, h, w)."""
        every = np.zeros((phases, len(self.found.best)), np.float32)
        every[self.found.pairs.phase, self.found.pairs.pixel] = self.posterior
        return every.reshape(-1, *self.shape)[:, *self.inner]

    def cut(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Take the pixels of the tile."""
        return flat.reshape(self.shape)[self.inner]


# Of point analyses, the steps between sampled compositions are the larger part of the misfit: a wider bound.
_POINT_SETTINGS = ClassifierSettings(coupling=0.0, largest_misfit=10.0)


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
        InputError : a formula of a new phase does not parse, or none of its elements is mapped.
        """
        channels = calibration.usable(channel_names)
        ignored = [name for name in channel_names if name not in channels]
        notes = (f"Not calibrated and not used for minerals: {', '.join(ignored)}.",) if ignored else ()
        templates = load_templates(channels, _tuple(phases), new)
        legend = LegendEdit(new=new).extended(default_legend("phases"))
        notes = (*calibration.notes, *notes, *new_phase_notes(channels, new, phases))
        return cls(channels, calibration, templates, notes=notes, legend=legend)

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
        InputError : a formula of a new phase does not parse, or none of its elements is mapped.
        """
        channels = tuple(name for name in channel_names if name in ELEMENTS)
        if len(channels) < FEWEST_CHANNELS:
            raise ChannelError(
                f"Minerals need at least {FEWEST_CHANNELS} element maps; got {', '.join(channel_names)}."
            )
        notes = new_phase_notes(channels, new, phases)
        chosen = np.stack([sample[list(channel_names).index(name)] for name in channels])
        templates = load_templates(channels, _tuple(phases), new)
        legend = LegendEdit(new=new).extended(default_legend("phases"))
        if neighbours_are_related(chosen):
            return cls(channels, estimate_noise(chosen, channels), templates, notes=notes, legend=legend)
        # What is rare in chondrites may be what an analyst chose.
        common = templates.without_rarity()
        notes = (_POINTS_NOTE, *notes)
        points = cls(channels, point_noise(channels), common, _POINT_SETTINGS, notes, legend=legend)
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
        """Name the phase of each pixel: `labels` and `probability` of `identify`.

        Raises
        ------
        ChannelError : a channel is missing.
        """
        found = self.identify(values, channel_names)
        return found.labels, found.probability

    def identify(
        self,
        values: NDArray[np.float32],
        channel_names: Sequence[str],
        *,
        texture: Floats | None = None,
        threads: int | None = None,
    ) -> Identified:
        """Name the phase of each pixel, tile by tile.

        Parameters
        ----------
        values : (C, H, W) counts or wt%, as the classifier was made for; NaN counts as 0.
        channel_names : names of the C planes; all of `channels` must be among them.
        texture : (H, W), probability of fine-grained matrix by its texture (0-1), as a network sees it, to be weighed
            with the counts (`texture.weigh_texture`); None: the counts alone.
        threads : tiles at work at a time; None: one per core, at most OMP_NUM_THREADS.

        Raises
        ------
        ChannelError : a channel is missing.
        """
        planes = self.select(values, channel_names)
        result = Identified.empty(planes.shape[1:])
        ids, unclassified = self._phase_ids(), self.legend[UNCLASSIFIED].id
        pure, phase_of = self.search.moments.pure, self.search.moments.phase_of
        bound, matrix = self.misfit_bound, self._matrix

        def work(tile: Window) -> None:
            part, at = self._work_on(planes, tile, texture), tile.slices
            phase, probability = part.likeliest()
            best, unfit = part.found.best, part.found.misfit > bound
            by_texture = (phase == matrix) & (phase_of[best] != matrix)
            result.labels[at] = part.cut(np.where(unfit, unclassified, ids[phase]))
            result.probability[at] = part.cut(np.where(unfit, 0, probability))
            result.mixed[at] = part.cut(~pure[best] & ~unfit & ~by_texture)

        over_tiles(result.labels.shape, work, threads=threads)
        return result

    def posterior(
        self,
        values: NDArray[np.float32],
        channel_names: Sequence[str],
        *,
        texture: Floats | None = None,
        threads: int | None = None,
    ) -> Floats:
        """Posterior probability of every phase of `templates.phases`: (K, H, W) float32, sum 1 over K.

        Parameters are those of `identify`. Pixels that no phase fits have one too: rejection is not part of it.

        Raises
        ------
        ChannelError : a channel is missing.
        """
        planes = self.select(values, channel_names)
        result = np.zeros((len(self.templates.phases), *planes.shape[1:]), np.float32)

        def work(tile: Window) -> None:
            part = self._work_on(planes, tile, texture)
            result[:, *tile.slices] = part.dense(len(result))

        over_tiles(planes.shape[1:], work, threads=threads)
        return result

    @cached_property
    def search(self) -> Search:
        """The templates, arranged for finding the likeliest."""
        return Search(self.moments())

    @cached_property
    def misfit_bound(self) -> float:
        """Mean squared residual over variance above which a pixel is `unclassified`."""
        if self.settings.largest_misfit is not None:
            return self.settings.largest_misfit
        return misfit_bound(self.search, self.settings.lost_share, counts=isinstance(self.response, Calibration))

    def _work_on(self, planes: Floats, tile: Window, texture: Floats | None) -> _Part:
        """Identify the pixels of a tile; neighbours within the reach of the smoothing, and texture, have their say."""
        outer = tile.padded(REACH_PX, planes.shape[1:])
        found = self.search.find(planes[:, *outer.slices].reshape(len(planes), -1))
        posterior = smooth_posterior(found.pairs, outer.shape, coupling=self.settings.coupling)
        if texture is not None and self._matrix >= 0:
            weigh_texture(posterior, found.pairs, self._matrix, texture[outer.slices].ravel())
        return _Part(found, posterior, outer.shape, tile.within(outer))

    @property
    def knows_matrix(self) -> bool:
        """Whether texture has a say: fine-grained matrix is among the phases, and pixels have neighbours."""
        return self._matrix >= 0 and self.settings.coupling > 0

    @property
    def _matrix(self) -> int:
        phases = self.templates.phases
        return phases.index(MATRIX) if MATRIX in phases else -1

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
        if tuple(channel_names) == self.channels:
            return np.asarray(values, np.float32)
        return np.asarray(values[[position[name] for name in self.channels]], np.float32)


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
