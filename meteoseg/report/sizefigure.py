"""The figure of chondrule sizes: sections, spheres, and the mean diameters of the chondrite groups below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from meteoseg.chondrules.sizes import WEIGHTED, SizeTables
from meteoseg.classify.groups import published_rows
from meteoseg.objects import DEFAULT_KIND, cut_off_of, edge_weight_of
from meteoseg.report.drawing import BAR, CHART_DPI, FAINT, INK, bare, png_of, say
from meteoseg.report.facts import significant
from meteoseg.stereology.planar import MIN_OBJECTS

SPHERE = "#c8553d"
_SECTION = "#a9c0da"
_UNKNOWN_SOURCE = "FROM MEMORY"
_LEAST_UM, _MOST_UM = 90.0, 1300.0


@dataclass(frozen=True)
class GroupSize:
    """Published mean chondrule diameter of a group, um: range and typical value, and whether it was checked."""

    name: str
    low_um: float
    typical_um: float
    high_um: float
    is_checked: bool


def group_sizes() -> list[GroupSize]:
    """Return the groups that have a published mean chondrule diameter, smallest first; alike subgroups once.

    Examples
    --------
    >>> [group.name for group in group_sizes()][:3]
    ['CH', 'CO', 'EH']
    """
    found: dict[str, GroupSize] = {}
    for row in published_rows():
        if row.property_name == "chondrule_mean_diameter":
            name = row.group.partition("_")[0]
            low, typical, high = (1000 * value for value in (row.low, row.typical, row.high))
            found[name] = GroupSize(name, low, typical, high, not row.status.startswith(_UNKNOWN_SOURCE))
    return sorted(found.values(), key=lambda group: group.typical_um)


def size_distribution_figure(objects: pd.DataFrame, tables: SizeTables | None = None) -> bytes:
    """Draw the diameters of intact chondrules that no edge cuts, the spheres behind them, and the groups.

    Parameters
    ----------
    objects : the columns of ``chondrules.csv``.
    tables : of sizes; None: the sections alone.

    Returns
    -------
    PNG bytes.
    """
    groups = group_sizes()
    cut_off_um = cut_off_of(objects)
    own = objects[(objects["kind"] == DEFAULT_KIND) & ~objects["touches_edge"].astype(bool)]
    own = own[own["equivalent_diameter_um"] >= (cut_off_um or 0.0) * (1 - 1e-9)]
    figure = Figure(figsize=(7.2, 6.2), dpi=CHART_DPI, layout="constrained")
    if own.empty or cut_off_um is None:
        say(figure.subplots(), "No intact chondrule clear of the edges was measured.")
        return png_of(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
    for axes in (top, bottom):
        bare(axes)
        axes.set_xscale("log")
    largest_um = float(own["equivalent_diameter_um"].max())
    limits = (min(0.8 * cut_off_um, _LEAST_UM), max(1.4 * largest_um, _MOST_UM))
    top.set_xlim(limits)
    _draw_sizes(top, own, cut_off_um, tables)
    _draw_groups(bottom, groups, limits)
    mean = None if tables is None else _mean_of(tables.sizes)
    if mean is not None:
        _draw_mean((top, bottom), mean)
    _label_lengths(bottom)
    top.tick_params(labelbottom=False)
    bottom.set_xlabel("diameter (µm)")
    return png_of(figure)


def _draw_sizes(axes: Axes, own: pd.DataFrame, cut_off_um: float, tables: SizeTables | None) -> None:
    """Draw densities per factor e of diameter; single lines where there are too few objects for a histogram."""
    d_um, n = own["equivalent_diameter_um"].to_numpy(float), len(own)
    axes.axvspan(axes.get_xlim()[0], cut_off_um, color="#eceae4", linewidth=0)
    if n < MIN_OBJECTS:
        axes.vlines(d_um, 0, 1, color=BAR, linewidth=2.5)
        axes.set_ylim(0, 2)
        axes.set_yticks([])
        axes.set_title(f"{n} whole: too few for a distribution", loc="left", fontsize=10, color=INK)
        return
    edges = np.geomspace(d_um.min() * 0.999, d_um.max() * 1.001, int(np.clip(round(1.5 * np.sqrt(n)), 4, 24)) + 1)
    weights = edge_weight_of(own)
    shares = np.histogram(d_um, edges, weights=weights)[0] / weights.sum() / np.diff(np.log(edges))
    label = f"sections of {n} chondrules, weighted for the edges"
    axes.bar(edges[:-1], 100 * shares, np.diff(edges), align="edge", color=_SECTION, edgecolor="white", linewidth=0.8,
             label=label)  # fmt: skip
    highest = 100 * float(shares.max())
    if tables is not None:
        highest = max(highest, _draw_spheres(axes, tables.distribution))
    axes.set_ylim(0, 1.3 * highest)
    axes.set_ylabel("frequency (% per unit of ln d)")
    handles, labels = axes.get_legend_handles_labels()
    order = np.argsort([not label.startswith("sections") for label in labels], kind="stable")
    shown = [handles[place] for place in order], [labels[place] for place in order]
    axes.legend(*shown, loc="upper right", fontsize=8.5, edgecolor="none", framealpha=0.85, labelcolor=INK)
    text = f"under {significant(cut_off_um)} µm: not counted"
    axes.text(cut_off_um * 0.97, 0.5, text, transform=axes.get_xaxis_transform(), rotation=90, fontsize=8.5,
              color=FAINT, ha="right", va="center")  # fmt: skip


def _draw_spheres(axes: Axes, table: pd.DataFrame) -> float:
    """Draw the spheres with their band; return the highest value that must be seen."""
    if table.empty:
        return 0.0
    middle = np.sqrt(table["d_low_um"] * table["d_high_um"])
    per_e = 1 / np.log(table["d_high_um"] / table["d_low_um"])
    highest = 0.0
    if table["sphere_pct"].notna().all():
        low, share, high = (per_e * table[f"sphere_{name}"] for name in ("ci_low_pct", "pct", "ci_high_pct"))
        axes.fill_between(middle, low, high, color=SPHERE, alpha=0.22, linewidth=0)
        axes.plot(middle, share, color=SPHERE, linewidth=2, label="spheres, unfolded (95 % band)")
        highest = min(float(high.max()), 1.1 * float(share.max()))
    if table["lognormal_sphere_pct"].notna().all():
        law = per_e * table["lognormal_sphere_pct"]
        axes.plot(middle, law, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="spheres, lognormal law")
        highest = max(highest, float(law.max()))
    return highest


def _draw_groups(axes: Axes, groups: Sequence[GroupSize], limits: tuple[float, float]) -> None:
    """Draw the range and the typical mean diameter of each group that lies within `limits`; name the others."""
    shown = [group for group in groups if limits[0] <= group.typical_um <= limits[1]]
    for place, group in enumerate(shown):
        ends = np.clip([group.low_um, group.high_um], *limits)
        axes.plot(ends, [place, place], color="#b9bec7", linewidth=5, solid_capstyle="butt")
        face = INK if group.is_checked else "white"
        axes.plot([group.typical_um], [place], "o", color=INK, markerfacecolor=face, markersize=6)
    axes.set_yticks(range(len(shown)), [group.name for group in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.tick_params(axis="y", length=0, labelsize=9)
    title = "mean chondrule diameters of groups, as published"
    beyond = [f"{group.name} {group.typical_um / 1000:g} mm" for group in groups if group not in shown]
    axes.set_title(title + (f" (beyond: {', '.join(beyond)})" if beyond else ""), loc="left", fontsize=9, color=FAINT)


def _mean_of(sizes: pd.DataFrame) -> tuple[float, float, float] | None:
    """Mean diameter in the plane of section with its interval, um."""
    own = sizes[(sizes["dimension"] == 2) & (sizes["quantity"] == "mean_diameter")]
    row = own[(own["weighting"] == "number") & (own["edge_rule"] == WEIGHTED)].iloc[0]
    if not np.isfinite(row["value"]):
        return None
    return float(row["value"]), float(row["ci_low"]), float(row["ci_high"])


def _draw_mean(panels: Sequence[Axes], mean: tuple[float, float, float]) -> None:
    value, low, high = mean
    for axes in panels:
        axes.axvspan(low, high, color=BAR, alpha=0.18, linewidth=0, zorder=0)
        axes.axvline(value, color=BAR, linewidth=1.4, zorder=0.5)
    text = f"mean in the section {significant(value)} µm ({significant(low)} – {significant(high)})"
    panels[0].set_title(text, loc="right", fontsize=10, color=INK, fontweight="bold")


def _label_lengths(axes: Axes) -> None:
    """Label 1, 2 and 5 of each decade with plain numbers."""
    low, high = axes.get_xlim()
    ticks = [f * 10.0**p for p in range(-1, 6) for f in (1, 2, 5) if low <= f * 10.0**p <= high]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
