"""Make the label images of a section: phases, components and chondrules on its own grid, band by band."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from meteoseg.classify.groups import known_property, supported
from meteoseg.grid import BAND_PX, Window, row_bands
from meteoseg.inference import Runner, describe_grid
from meteoseg.labels.certainty import Calibration, Certainty, top_of_shares
from meteoseg.labels.components import (
    ComponentMaps,
    make_component_maps,
    mapped_pixels,
    part_nodules,
    settle_objects,
    wide_holes,
)
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.legend import HOLE, MATRIX, OUTSIDE, UNCLASSIFIED, default_legend
from meteoseg.models import Model, Network
from meteoseg.resample import Regrid
from meteoseg.section import Section
from meteoseg.system.memory import give_back

#: Probabilities on a network's own grid: network -> layer -> (K, h, w).
CoarseMaps = dict[str, dict[str, NDArray[np.float16]]]
#: Chondrules of fewer pixels across are outlined badly; this many are enough (docs/guide.md).
FEW_PX, ENOUGH_PX = 10.0, 16.0
#: Maps are finer than a grid where its pixels are this many times as large.
FINER = 1.3
_HOLE_HALO_PX = 2
_FILE_TILE_PX = 256


class FoundPhases(Protocol):
    """Phases of a window (H, W): see `meteoseg.minerals.Identified`."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Phase ids."""

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of the label, 0 to 1; 0 where nothing fits."""

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """True where a mixture of two phases is the best explanation."""


class PhaseMaker(Protocol):
    """What finds phases without a network: see `meteoseg.minerals.choose`."""

    @property
    def description(self) -> str:
        """What the phases are based on."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the report."""

    @property
    def takes_texture(self) -> bool:
        """Whether the probability of fine-grained matrix by its texture, as a network sees it, is of use."""

    def identify(self, section: Section, window: Window, texture: NDArray[np.float32] | None = None) -> FoundPhases:
        """Return what the pixels of a window are; `texture` (H, W) is that probability."""


@dataclass(frozen=True)
class Segmenter:
    """Everything that making the label images needs; `step` opens a timed step of the run."""

    section: Section
    model: Model
    runner: Runner
    scratch: Scratch
    step: Callable[[str], AbstractContextManager[None]]
    phase_maker: PhaseMaker | None = None
    keep_probabilities: bool = False

    def run(self) -> LabelImages:
        """Make all label images."""
        labels = LabelImages(self.scratch.array("inside", np.bool_))
        with self.step("mask"):
            self._find_inside(labels)
        networks = self._by_layer()
        coarse: CoarseMaps = {}
        if self.phase_maker is not None or "phases" in networks:
            labels.phases = phases = self.scratch.array("phases", np.uint8)
            with self.step("phases"), closing(self._phases(networks.get("phases"), coarse, labels)) as windows:
                for window, found in windows:
                    phases[window.slices] = np.where(labels.inside[window.slices], found, 0)
        if "components" in networks:
            with self.step("components"):
                maps = self._component_maps(labels, networks, coarse)
            with self.step("chondrules"):
                self._draw_components(labels, maps)
        labels.notes.extend(note for sure in labels.certainty.values() if (note := sure.note()))
        for layer in ("phases", "components"):
            if getattr(labels, layer) is None:
                labels.notes.append(f"Model '{self.model.card.name}' delivers no {layer}: that layer is left out.")
        return labels

    def _by_layer(self) -> dict[str, Network]:
        """Return the network of each layer, the first that delivers it."""
        found: dict[str, Network] = {}
        for network in self.model.networks.values():
            for layer in network.card.layers:
                found.setdefault(layer, network)
        return found

    def _find_inside(self, labels: LabelImages) -> None:
        """Leave out what the mask leaves out, and empty mosaic fields."""
        section = self.section
        n_empty = 0
        # Not lower than the tiles of most files, which would be decoded again for every band.
        for window in row_bands(section.shape, max(BAND_PX, _FILE_TILE_PX * section.shape[1])):
            labels.inside[window.slices], unmapped = mapped_pixels(section, window)
            n_empty += unmapped
        if n_empty:
            labels.notes.append(
                f"{n_empty} pixels in solid areas of zeros in all channels are unmapped fields: outside."
            )

    def _decided(self, labels: LabelImages) -> tuple[str, ...]:
        """Component classes that other evidence decides."""
        known = [OUTSIDE] if self.section.mask is not None else []
        return tuple([*known, HOLE] if labels.phases is not None else known)

    def _phases(
        self, network: Network | None, coarse: CoarseMaps, labels: LabelImages
    ) -> Generator[tuple[Window, NDArray[np.uint8]], None, None]:
        """Yield windows of the section's own grid with their phase ids."""
        if self.phase_maker is not None:
            yield from self._chemical_phases(self.phase_maker, network, coarse, labels)
        elif network is not None:
            classes = network.card.phase_classes
            ids = np.array([default_legend("phases")[name].id for name in classes], np.uint8)
            least, least_lead = self.runner.thresholds(network.card, "phases")
            keep = self._keeper("phases", self.runner.calibration(network.card, "phases"), labels)
            for window, best, top, lead in self._best_phases(network, coarse, labels):
                unsure = (top < least) | (lead < least_lead)
                found = np.where(unsure, default_legend("phases")[UNCLASSIFIED].id, ids[best])
                keep(window, top, labels.inside[window.slices], found)
                yield window, found

    def _chemical_phases(
        self, maker: PhaseMaker, network: Network | None, coarse: CoarseMaps, labels: LabelImages
    ) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
        """Yield windows with their phase ids from the chemistry; keep probabilities and mixtures where asked for."""
        labels.notes.extend(maker.notes)
        keep = self._keeper("phases", None, labels)
        if self.keep_probabilities:
            labels.mixtures = self.scratch.array("mixtures", np.bool_)
        for window, texture in self._matrix_texture(maker, network, coarse, labels):
            found, inside = maker.identify(self.section, window, texture), labels.inside[window.slices]
            keep(window, found.probability, inside & (found.probability > 0), found.labels)
            if labels.mixtures is not None:
                labels.mixtures[window.slices] = found.mixed & inside
            yield window, found.labels

    def _matrix_texture(
        self, maker: PhaseMaker, network: Network | None, coarse: CoarseMaps, labels: LabelImages
    ) -> Iterator[tuple[Window, NDArray[np.float32] | None]]:
        """Yield windows with the probability of fine-grained matrix that the network of the phases gives, if any."""
        if network is None or not maker.takes_texture or MATRIX not in network.card.phase_classes:
            yield from ((window, None) for window in row_bands(self.section.shape))
            return
        labels.notes.append(f"Fine-grained matrix is named by its composition and its texture ('{network.card.name}').")
        grid, plane = self._grid(network, labels), network.card.phase_classes.index(MATRIX)
        if self._streams(network, grid):
            yield from self.runner.share(network, grid, "phases", plane)
            return
        shares, back = self._coarse_phases(network, grid, coarse), grid.inverse()
        for window in row_bands(self.section.shape, BAND_PX // 4):
            yield window, back.read(lambda w: shares[plane : plane + 1, *w.slices], window)[0]

    def _best_phases(
        self, network: Network, coarse: CoarseMaps, labels: LabelImages
    ) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]]:
        """Yield windows of the section's own grid with the best phase, its probability and its lead, (h, W) each.

        `outside` is not chosen here, other evidence decides it; where it is the largest the pixel is `hole`: both are
        epoxy, parted by place alone. On another grid the lead is not known: infinite.
        """
        grid, classes = self._grid(network, labels), network.card.phase_classes
        excluded = [index for index, name in enumerate(classes) if name == OUTSIDE]
        mount = {classes.index(HOLE): classes.index(OUTSIDE)} if {OUTSIDE, HOLE} <= set(classes) else {}
        if self._streams(network, grid):
            yield from self.runner.best(network, grid, "phases", excluded=excluded, merged=mount)
            return
        shares, back = self._coarse_phases(network, grid, coarse), grid.inverse()
        for window in row_bands(self.section.shape, BAND_PX // 4):
            share = back.read(lambda w: shares[(slice(None), *w.slices)], window)
            for to, source in mount.items():
                np.copyto(share[to], share[source], where=share[source] >= share.max(axis=0))
            best, top = top_of_shares(share, excluded)
            yield window, best.astype(np.uint8), top, np.full_like(top, np.inf)

    def _streams(self, network: Network, grid: Regrid) -> bool:
        """Whether labels can be made tile by tile: the network runs on the section's own grid, for phases alone."""
        return grid.step == (1.0, 1.0) and "components" not in network.card.layers

    def _coarse_phases(self, network: Network, grid: Regrid, coarse: CoarseMaps) -> NDArray[np.float16]:
        """Keep the probabilities of all layers of a network on a grid of its own; return those of the phases."""
        coarse[network.card.name] = self.runner.probabilities(network, grid)
        return coarse[network.card.name]["phases"]

    def _keeper(
        self, layer: str, calibration: Calibration | None, labels: LabelImages
    ) -> Callable[[Window, NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]], None]:
        """Return what takes in the top probabilities (h, W) of windows, which pixels of them count, and their ids."""
        sure = labels.certainty[layer] = Certainty(layer, calibration)
        image = self.scratch.array(f"{layer}_probability", np.uint8) if self.keep_probabilities else None
        if image is not None:
            labels.probabilities[layer] = image

        names = {label.id: label.name for label in default_legend(layer).labels}

        def keep(window: Window, top: NDArray[np.float32], counts: NDArray[np.bool_], found: NDArray[np.uint8]) -> None:
            sure.add(top[counts], names, found[counts])
            if image is not None:
                image[window.slices] = np.where(counts, np.rint(100 * top), 0)

        return keep

    def _grid(self, network: Network, labels: LabelImages) -> Regrid:
        grid = self.runner.grid(network.card)
        asked = self.runner.um_per_px is not None
        labels.notes.append(describe_grid(network.card, self.section, grid, asked=asked))
        return grid

    def _component_maps(
        self, labels: LabelImages, networks: Mapping[str, Network], coarse: CoarseMaps
    ) -> ComponentMaps:
        network = networks["components"]
        name = network.card.name
        grid = self.runner.grid(network.card) if name in coarse else self._grid(network, labels)
        maps = coarse[name] if name in coarse else self._mean_probabilities(network, grid)
        give_back()
        self._keep_components(network, maps["components"], grid, labels)
        drawn = make_component_maps(
            maps["components"],
            maps["distance"][0] if "distance" in maps else None,
            network.card.component_classes,
            default_legend("components"),
            back=grid.inverse(),
            known=self._decided(labels),
        )
        labels.notes.extend(self._too_coarse(drawn.median_px, grid))
        return drawn

    def _too_coarse(self, median_px: float, grid: Regrid) -> list[str]:
        """Remark that chondrules have few pixels on the grid they are sought on, where the maps have finer ones."""
        if not 0 < median_px < FEW_PX or min(grid.step) < FINER:
            return []
        own_um = float(np.sqrt(np.prod(self.section.require_pixel_size())))
        grid_um = own_um * float(np.sqrt(np.prod(grid.step)))
        better_um = max(own_um, grid_um * median_px / ENOUGH_PX)
        return [
            f"Half of the chondrules found are under {median_px * grid_um:.0f} um across, {median_px:.0f} pixels of "
            f"the grid they were sought on: --chondrule-pixel {better_um:.2g} would outline them better."
        ]

    def _keep_components(self, network: Network, share: NDArray[Any], grid: Regrid, labels: LabelImages) -> None:
        """Take in how sure the networks are of the components, (K, h, w) on `grid`."""
        keep = self._keeper("components", self.runner.calibration(network.card, "components"), labels)
        back = grid.inverse()
        classes = network.card.component_classes
        ids = np.array([default_legend("components")[name].id for name in classes], np.uint8)
        top, named = np.empty(share.shape[1:], np.float32), np.empty(share.shape[1:], np.uint8)
        for window in row_bands(top.shape, BAND_PX // 4):
            best, top[window.slices] = top_of_shares(np.array(share[:, *window.slices], np.float32))
            named[window.slices] = ids[best]
        for window in row_bands(self.section.shape):
            fine = back.read(lambda w: top[None, *w.slices], window)[0]
            found = np.asarray(back.nearest(named, window), np.uint8)
            is_section = found != default_legend("components")[OUTSIDE].id
            keep(window, np.clip(fine, 0, 1), labels.inside[window.slices] & is_section, found)

    def _mean_probabilities(self, network: Network, grid: Regrid) -> dict[str, NDArray[Any]]:
        """Average the probabilities of all networks of the model that deliver the same as `network` (an ensemble)."""
        card = network.card
        same = [other for other in self.model.networks.values() if other.card.delivers_like(card)]
        mean = self.runner.probabilities(same[0], grid)
        for number, other in enumerate(same[1:], start=2):
            for layer, share in self.runner.probabilities(other, grid).items():
                for plane, values in zip(mean[layer], share, strict=True):
                    plane += ((values.astype(np.float32) - plane) / number).astype(np.float16)
        return mean

    def _draw_components(self, labels: LabelImages, maps: ComponentMaps) -> None:
        labels.components = components = self.scratch.array("components", np.uint8)
        labels.chondrules = chondrules = self.scratch.array("chondrules", np.int32)
        holes = self.scratch.array("holes", np.bool_)
        for window in row_bands(self.section.shape, BAND_PX // 4):
            found, objects = maps.draw(window)
            inside = labels.inside[window.slices] & (found != 0)
            labels.inside[window.slices] = inside
            components[window.slices] = np.where(inside, found, 0)
            chondrules[window.slices] = np.where(inside, objects, 0)
            if labels.phases is not None:
                labels.phases[window.slices][~inside] = 0
                holes[window.slices] = self._wide_holes(labels.phases, window)
        opaque = [known_property("metal"), known_property("sulfide")]
        # Other maps mistake bright silicates for metal.
        if labels.phases is not None and all(supported(rule.needs, self.section.channel_names) for rule in opaque):
            names = [name for rule in opaque for name in rule.parts]
            labels.notes.extend(_part_nodules(chondrules, components, labels.phases, names))
        settle_objects(chondrules, components, holes, default_legend("components"))

    def _wide_holes(self, phases: NDArray[np.uint8], window: Window) -> NDArray[np.bool_]:
        outer = window.padded(_HOLE_HALO_PX, self.section.shape)
        is_hole = phases[outer.slices] == default_legend("phases")[HOLE].id
        return wide_holes(is_hole)[window.within(outer)]


def _part_nodules(
    chondrules: NDArray[Any], components: NDArray[Any], phases: NDArray[np.uint8], opaque: Sequence[str]
) -> list[str]:
    """Give objects that are mostly metal and sulfide the name that they have by their phases; return the remark."""
    legend = default_legend("phases")
    ids, apart = ([legend[name].id for name in names if name in legend] for names in (opaque, (OUTSIDE, HOLE)))
    n = part_nodules(chondrules, components, phases, default_legend("components"), opaque=ids, apart=apart)
    return [
        f"{n} objects outlined as chondrules are more than half metal and sulfide: they are metal-sulfide nodules."
    ] if n else []  # fmt: skip
