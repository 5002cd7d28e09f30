"""Mineral chemistry: Fa, Fs, Wo, An, Or, Ni and Mg number of pixels and grains, with errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.legend import Legend
from meteoseg.minerals.alpha import Array
from meteoseg.minerals.counting import noise_variances, true_means, true_values
from meteoseg.minerals.grains import GrainCollector, GrainSums, core_pixels
from meteoseg.minerals.likelihood import Response
from meteoseg.minerals.solutions import Estimate, Quantity, SolutionTable, chemistry_rules, solutions_for

Floats = NDArray[np.float32]
#: Pixels whose composition is worked out at once.
_CHUNK_PX = 500_000
_LEAST_GRAIN_MEAN = 0.05
#: Columns of the table of grains.
GRAIN_COLUMNS = (
    "grain", "phase", "chondrule", "row_px", "col_px", "n_px", "quantity", "unit", "value", "sd_counting",
    "sd_calibration",
)  # fmt: skip


@dataclass(frozen=True)
class MineralChemistry:
    """Compositions of minerals from maps of counts (with a calibration) or of weight percent.

    Attributes
    ----------
    response : the `calibration.Calibration` (after `refine_gains`) or `QuantifiedResponse` of the maps.
    tables : one per solid solution that the maps show.
    legend : of the phase ids.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> from meteoseg.minerals.calibration import Calibration, ChannelResponse
    >>> calibration = Calibration({"Mg": ChannelResponse(14.4), "Fe": ChannelResponse(3.4)})
    >>> chemistry = MineralChemistry.of(calibration, ["Mg", "Fe"], default_legend("phases"))
    >>> counts = calibration.predict_counts({"Mg": 27.17, "Fe": 14.17, "Si": 18.33, "O": 41.73})  # Fa 18.5
    >>> values = np.array([counts["Mg"], counts["Fe"]]).reshape(2, 1, 1)
    >>> olivine = np.full((1, 1), default_legend("phases")["olivine"].id, np.uint8)
    >>> value, sd = chemistry.maps(values, olivine)["Fa"]
    >>> round(float(value[0, 0])), round(float(sd[0, 0]))
    (18, 3)
    """

    response: Response
    tables: tuple[SolutionTable, ...]
    legend: Legend

    @classmethod
    def of(cls, response: Response, channels: Sequence[str], legend: Legend) -> MineralChemistry:
        """Take the solid solutions whose elements are among `channels` and whose phases are in `legend`."""
        tables = tuple(
            SolutionTable(solution, response)
            for solution in solutions_for(channels)
            if any(phase in legend for phase in solution.phases)
        )
        return cls(response, tables, legend)

    @property
    def elements(self) -> tuple[str, ...]:
        """The maps that are read."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.solution.elements))

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is measured, each name once."""
        found = {quantity.name: quantity for table in self.tables for quantity in table.solution.quantities}
        return tuple(found.values())

    @property
    def phases(self) -> set[str]:
        """Names of the phases whose composition is measured."""
        return {phase for table in self.tables for phase in table.solution.phases if phase in self.legend}

    def ids(self, table: SolutionTable) -> list[int]:
        """Phase ids of a solid solution."""
        return [self.legend[phase].id for phase in table.solution.phases if phase in self.legend]

    def maps(self, values: NDArray[np.floating], phases: NDArray[np.uint8]) -> dict[str, tuple[Floats, Floats]]:
        """Work out each quantity pixel by pixel.

        Parameters
        ----------
        values : (C, H, W) stored values of `elements`, in that order.
        phases : (H, W) phase ids.

        Returns
        -------
        Value and its sd (counting, background and calibration together), (H, W) float32 each, by quantity; NaN
        where the phase is another. Values are cut at 0 and 100: below a few mol% noise makes them too high on
        average; use grains there.
        """
        made = {q.name: (_empty(phases.shape), _empty(phases.shape)) for q in self.quantities}
        for table in self.tables:
            where = np.flatnonzero(np.isin(phases, self.ids(table)))
            rows = [self.elements.index(name) for name in table.solution.elements]
            for start in range(0, where.size, _CHUNK_PX):
                part = where[start : start + _CHUNK_PX]
                stored = np.stack([values[row].reshape(-1)[part] for row in rows]).astype(float)
                found, counting, calibration = self._estimate(table, stored)
                for row, quantity in enumerate(table.solution.quantities):
                    value, sd = made[quantity.name]
                    value.reshape(-1)[part] = np.clip(found[row], 0, 100)
                    sd.reshape(-1)[part] = np.hypot(counting[row], calibration[row])
        return made

    def _estimate(self, table: SolutionTable, stored: Array) -> tuple[Array, Array, Array]:
        """Values and sds (counting, calibration), (Q, N) each, of single pixels (C, N)."""
        names = table.solution.elements
        counts = true_values(self.response, stored, names)
        estimate = table.estimate(counts)
        variances = noise_variances(self.response, counts, names)
        return estimate.values, _spread(estimate, variances), self._calibration_sd(table, estimate, counts)

    def _calibration_sd(self, table: SolutionTable, estimate: Estimate, counts: Array) -> Array:
        """Sd (Q, N) from sensitivities and backgrounds, which is the same error in all pixels."""
        relative = self.response.relative_sds(table.solution.elements)[:, None]
        background_sd = chemistry_rules()["background"]["relative_sd"] * estimate.background
        net = counts - estimate.background
        return _spread(estimate, (relative * net) ** 2 + background_sd**2)

    def collector(self) -> GrainCollector:
        """Return what gathers the grains; feed it with `gather`."""
        return GrainCollector(len(self.elements), int(chemistry_rules()["grains"]["min_px"]))

    @cached_property
    def _wanted(self) -> list[int]:
        return [number for table in self.tables for number in self.ids(table)]

    def gather(
        self,
        collector: GrainCollector,
        values: NDArray[np.floating],
        phases: NDArray[np.uint8],
        objects: NDArray[np.int32] | None,
        *,
        halo: tuple[int, int] = (0, 0),
    ) -> None:
        """Add the next rows of a section to the grains.

        Parameters
        ----------
        values : (C, h, W) stored values of `elements`.
        phases, objects : (h + halo, W) ids with as many rows above and below as `halo` says (the edge of a grain
            may be made by the next band).
        """
        edge_px = int(chemistry_rules()["grains"]["edge_px"])
        inner = slice(halo[0], len(phases) - halo[1])
        core = core_pixels(phases, objects, self._wanted, edge_px=edge_px)[inner]
        core = core & np.isfinite(values).all(axis=0)
        flat = values.reshape(len(values), -1).astype(float)
        counts = true_values(self.response, flat, self.elements).reshape(values.shape)
        collector.add(core, phases[inner], None if objects is None else objects[inner], counts)

    def grain_table(self, grains: GrainSums) -> pd.DataFrame:
        """Work out the composition of each grain from its summed counts.

        Returns
        -------
        Columns `GRAIN_COLUMNS`, a row per grain and quantity: `grain` counts from 1, `chondrule` is the object
        the grain lies in (0: none), `value` may be slightly below 0, `sd_counting` is independent from grain to
        grain, `sd_calibration` (sensitivities, background) shifts all grains alike.
        """
        parts = [self._grains_of(table, grains) for table in self.tables]
        parts = [part for part in parts if len(part)]
        if not parts:
            return pd.DataFrame(columns=list(GRAIN_COLUMNS))
        return pd.concat(parts, ignore_index=True).sort_values(["grain", "quantity"], ignore_index=True)

    def _grains_of(self, table: SolutionTable, grains: GrainSums) -> pd.DataFrame:
        own = np.flatnonzero(np.isin(grains.phase, self.ids(table)))
        names = table.solution.elements
        sums = grains.sums[[self.elements.index(name) for name in names]][:, own]
        n_px = grains.n_px[own]
        means = true_means(self.response, sums / n_px, names)
        estimate = table.estimate(means)
        variances = noise_variances(self.response, means, names, least=_LEAST_GRAIN_MEAN) / n_px
        sds = _spread(estimate, variances), self._calibration_sd(table, estimate, means)
        phase = [self.legend.name_of(int(number)) for number in grains.phase[own]]
        frames = []
        for row, quantity in enumerate(table.solution.quantities):
            columns: Mapping[str, object] = {
                "grain": own + 1, "phase": phase, "chondrule": grains.chondrule[own], "row_px": grains.row_px[own],
                "col_px": grains.col_px[own], "n_px": n_px, "quantity": quantity.name, "unit": quantity.unit,
                "value": estimate.values[row], "sd_counting": sds[0][row], "sd_calibration": sds[1][row],
            }  # fmt: skip
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True).dropna(subset=["value"])


def _empty(shape: tuple[int, ...]) -> Floats:
    return np.full(shape, np.nan, np.float32)


def _spread(estimate: Estimate, variances: Array) -> Array:
    """Sd (Q, N) of quantities for independent variances (C, N) of the counts."""
    return np.asarray(np.sqrt((estimate.per_count**2 * variances).sum(axis=1)))
