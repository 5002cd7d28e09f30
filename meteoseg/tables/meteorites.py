"""Sections of one meteorite joined: its modal table, its mean compositions, its group suggestion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meteoseg.classify import classification_table
from meteoseg.errors import InputError
from meteoseg.estimation.doubt import combined_interval
from meteoseg.estimation.joined import JoinedShare, join_shares, joined_bounds
from meteoseg.legend import HOLE, LAYERS, OUTSIDE, default_legend, read_legend_csv
from meteoseg.runs.output import whole_file
from meteoseg.tables.measure import (
    CHEMISTRY_CSV,
    CHONDRULES_CSV,
    LEGEND_CSV,
    METEORITES_CSV,
    METEORITES_GROUPS_CSV,
    MODES_CSV,
    REPRESENTATIVE_CSV,
    classify_tables,
    read_run,
)

COLUMNS = (
    "meteorite", "layer", "name", "n_sections", "area_um2", "area_pct", "ci_low_pct", "ci_high_pct", "wt_pct",
    "section_ci_low_pct", "section_ci_high_pct", "area_pct_with_holes", "adjusted_pct", "adjusted_ci_low_pct",
    "adjusted_ci_high_pct", "between_sections_sd_pct",
)  # fmt: skip
_APART = (OUTSIDE, HOLE)
_NAN = float("nan")


@dataclass(frozen=True)
class SectionTables:
    """What one section brings: its modal table by (layer, name), sampling errors, solid areas and densities."""

    folder: Path
    modes: pd.DataFrame
    errors: Mapping[tuple[str, str], tuple[float, int]]
    area_um2: Mapping[str, float]
    density: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> SectionTables:
        """Read a result folder.

        Raises
        ------
        InputError : it was made by a version that wrote no sampling errors.
        """
        path = folder / REPRESENTATIVE_CSV
        if not path.is_file():
            raise InputError(f"{path} is missing: run meteoseg modes {folder}, which makes it.")
        modes = pd.read_csv(folder / MODES_CSV).set_index(["layer", "name"])
        errors = {
            (str(row["layer"]), str(row["name"])): (
                float(row["relative_error_pct"]) / 100 * float(row["value"]) / 100,
                int(row["n_blocks"]),
            )
            for row in pd.read_csv(path).to_dict("records")
            if row["unit"] == "area %" and float(row["value"]) > 0
        }
        solid = modes[~modes.index.get_level_values("name").isin(_APART)]
        area = {str(layer): float(total) for layer, total in solid["area_um2"].groupby(level="layer").sum().items()}
        legends = read_legend_csv(folder / LEGEND_CSV) if (folder / LEGEND_CSV).is_file() else {}
        phases = legends.get("phases") or default_legend("phases")
        density = {label.name: label.density_g_cm3 or _NAN for label in phases.labels}
        return cls(folder, modes, errors, area, density)

    def of(self, layer: str, name: str, column: str, otherwise: float = 0.0) -> float:
        """Return a cell of the modal table; `otherwise` where the class does not occur."""
        if (layer, name) not in self.modes.index:
            return otherwise
        return float(self.modes[column].to_dict()[layer, name])

    def otherwise_adjusted(self, layer: str) -> float:
        """Return the adjusted percentage of a class that neither map nor points have: 0, NaN without points."""
        return 0.0 if self.modes.loc[layer]["adjusted_pct"].notna().any() else _NAN

    def error(self, layer: str, name: str) -> tuple[float, int]:
        """Return the standard error of a share (0 to 1) and its number of blocks.

        That of a class that the section lacks is not known and taken as 0: the variance between sections holds it.
        """
        most = max((n for (other, _), (_, n) in self.errors.items() if other == layer), default=1)
        return self.errors.get((layer, name), (0.0, most))


def write_meteorites(out: Path, sections: Mapping[str, Sequence[str]]) -> None:
    """Write meteorites.csv and meteorites_classification.csv of a batch into `out`.

    Parameters
    ----------
    sections : names of the result folders in `out` by meteorite.
    """
    read = {name: [SectionTables.read(out / section) for section in parts] for name, parts in sections.items()}
    tables = [meteorite_modes(name, parts) for name, parts in read.items()]
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    answers = {name: _classify(table, read[name]) for name, table in zip(read, tables, strict=True)}
    groups = classification_table(answers).rename(columns={"section": "meteorite"})
    if groups.empty:
        groups = pd.DataFrame(columns=["meteorite"])
    for path, table in ((out / METEORITES_CSV, joined), (out / METEORITES_GROUPS_CSV, groups)):
        with whole_file(path) as part:
            table.to_csv(part, index=False)


def meteorite_modes(meteorite: str, sections: Sequence[SectionTables]) -> pd.DataFrame:
    """Return the modal table of a meteorite, from those of its sections (`COLUMNS`).

    Areas add. For the errors see `meteoseg.estimation.joined`. The adjusted columns are filled where every section has
    reference points.
    """
    rows = [row for layer in LAYERS for row in _layer_rows(meteorite, layer, sections)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _layer_rows(meteorite: str, layer: str, sections: Sequence[SectionTables]) -> list[dict[str, Any]]:
    mapped = [part for part in sections if layer in part.modes.index.get_level_values("layer")]
    if not mapped:
        return []
    parts = [part for part in mapped if part.area_um2.get(layer, 0.0) > 0]
    names = dict.fromkeys(name for part in parts for name in part.modes.loc[layer].index)
    rows = [_row(layer, name, parts) for name in names if name not in _APART]
    rows.sort(key=lambda row: -row["area_um2"])
    for row, wt_pct in zip(rows, _weights(layer, rows, parts), strict=True):
        row["wt_pct"] = wt_pct
    rows += [{"name": name, "area_um2": sum(part.of(layer, name, "area_um2") for part in mapped)} for name in _APART]
    whole = sum(row["area_um2"] for row in rows if row["name"] != OUTSIDE)
    for row in rows:
        row |= {"meteorite": meteorite, "layer": layer, "n_sections": len(mapped)}
        if row["name"] != OUTSIDE:
            row["area_pct_with_holes"] = 100 * row["area_um2"] / whole if whole > 0 else 0.0
    return rows


def _row(layer: str, name: str, parts: Sequence[SectionTables]) -> dict[str, Any]:
    """Join one class of the sections."""
    areas = [part.area_um2[layer] for part in parts]
    shares = [part.of(layer, name, "area_pct") / 100 for part in parts]
    found = [part.error(layer, name) for part in parts]
    joined = join_shares(areas, shares, [error for error, _ in found], [n for _, n in found])
    row: dict[str, Any] = {
        "name": name,
        "area_um2": sum(part.of(layer, name, "area_um2") for part in parts),
        "area_pct": 100 * joined.share,
        "between_sections_sd_pct": 100 * joined.between,
    }
    row |= _intervals("", layer, name, parts, joined=joined)
    adjusted = [part.of(layer, name, "adjusted_pct", part.otherwise_adjusted(layer)) / 100 for part in parts]
    if not np.isnan(adjusted).any():
        # Of a class that no map has, no block tells how it is strewn.
        errors = [error if joined.share > 0 else _NAN for error, _ in found]
        again = join_shares(areas, adjusted, errors, [n for _, n in found])
        row["adjusted_pct"] = 100 * again.share
        row |= _intervals("adjusted_", layer, name, parts, joined=again)
    return row


def _intervals(
    kind: str, layer: str, name: str, parts: Sequence[SectionTables], *, joined: JoinedShare
) -> dict[str, float]:
    """Return the columns of the intervals of the raw (`kind` empty) or the adjusted estimate."""
    areas = [part.area_um2[layer] for part in parts]
    value = "adjusted_pct" if kind else "area_pct"
    shares = [part.of(layer, name, value) / 100 for part in parts]
    bounds = []
    for side in ("low", "high"):
        each = [part.of(layer, name, f"{kind}section_ci_{side}_pct", _NAN) / 100 for part in parts]
        # A section without the class, on the map and by its points, has nothing of it to doubt.
        each = [0.0 if share == 0 and np.isnan(bound) else bound for share, bound in zip(shares, each, strict=True)]
        unknown = bool(np.isnan(each).any()) or joined.share in (0.0, 1.0)
        bounds.append(_NAN if unknown else 100 * joined_bounds(areas, shares, each, independent=bool(kind)))
    low, high = combined_interval(
        np.array([joined.share]), np.array([joined.half_width]), (np.array([bounds[0]]), np.array([bounds[1]]))
    )
    columns = {f"{kind}ci_low_pct": float(low[0]), f"{kind}ci_high_pct": float(high[0])}
    return columns if kind else columns | {"section_ci_low_pct": bounds[0], "section_ci_high_pct": bounds[1]}


def _weights(layer: str, rows: Sequence[Mapping[str, Any]], parts: Sequence[SectionTables]) -> list[float]:
    """Return weight per cent: area times density, where every section has weights."""
    if layer != "phases" or any(part.modes.loc[layer]["wt_pct"].isna().all() for part in parts):
        return [_NAN] * len(rows)
    mass = np.array([
        sum(part.of(layer, row["name"], "area_um2") * part.density.get(row["name"], _NAN)
            for part in parts if part.of(layer, row["name"], "area_um2") > 0)
        for row in rows
    ], float)  # fmt: skip
    return [float(value) for value in 100 * mass / np.nansum(mass)]


def _classify(table: pd.DataFrame, parts: Sequence[SectionTables]) -> Any:
    """Classify a meteorite from its joined tables and what all its sections were mapped with."""
    facts = [read_run(part.folder).get("section", {}) for part in parts]
    shared = [channel for channel in facts[0].get("channels", ())
              if all(channel["name"] in {c["name"] for c in other.get("channels", ())} for other in facts)]  # fmt: skip
    errors = [entry.get("pixel_size_error_pct") for entry in facts if entry.get("pixel_size_error_pct") is not None]
    joined_facts = {
        "channels": shared,
        "pixel_size_error_pct": max(errors, default=None),
        "fall": any(bool(entry.get("fall", False)) for entry in facts),
        "calibrated": all(bool(entry.get("calibrated", False)) for entry in facts),
    }
    objects = [pd.read_csv(part.folder / CHONDRULES_CSV) for part in parts if (part.folder / CHONDRULES_CSV).is_file()]
    chondrules = pd.concat(objects, ignore_index=True) if objects else None
    return classify_tables(table, chondrules, joined_facts, chemistry=_chemistry(parts))


def _chemistry(parts: Sequence[SectionTables]) -> pd.DataFrame | None:
    """Return the compositions of all sections: means weighted by grains, errors of the sections independent."""
    tables = [pd.read_csv(part.folder / CHEMISTRY_CSV) for part in parts if (part.folder / CHEMISTRY_CSV).is_file()]
    if not tables:
        return None
    rows = []
    for _, same in pd.concat(tables).groupby(["phase", "quantity", "where"], sort=False):
        n = same["n_grains"].to_numpy(float)
        weight = n / n.sum()
        row = same.iloc[0].to_dict()
        row |= {name: int(same[name].sum()) for name in ("n_grains", "n_chondrules", "n_px")}
        row["mean"] = float(weight @ same["mean"].to_numpy(float))
        row["standard_error"] = float(np.sqrt((weight**2 * same["standard_error"].to_numpy(float) ** 2).sum()))
        row["systematic_error"] = float(same["systematic_error"].max())
        half = 1.96 * float(np.hypot(row["standard_error"], row["systematic_error"]))
        rows.append(row | {"ci_low": row["mean"] - half, "ci_high": row["mean"] + half})
    return pd.DataFrame(rows, columns=list(tables[0].columns))
