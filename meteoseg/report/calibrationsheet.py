"""A calibration as a figure and as a table: what was measured on the standards beside what was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from meteoseg.minerals.calibration import Calibration, StandardCheck
from meteoseg.report.drawing import BAR, CHART_DPI, FAINT, INK, bare, png_of, say

#: Standards that were left out are drawn in this colour.
DOUBT = "#c0392b"
_PER_ROW = 5
_MAJOR_WT_PCT = 1.0


def calibration_figure(calibration: Calibration) -> bytes:
    """Draw counts measured against fitted, residuals, dead times, and the background of each element.

    Parameters
    ----------
    calibration : with the checks of its fit; one written by hand has none and gives a figure that says so.

    Returns
    -------
    PNG bytes.
    """
    elements = list(calibration.channels)
    n_rows = -(-len(elements) // _PER_ROW)
    figure = Figure(figsize=(12.0, 4.4 + 2.3 * n_rows), dpi=CHART_DPI, layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(4.4, 2.3 * n_rows))
    top, bottom = (figure.add_subfigure(place) for place in (grid[0], grid[1]))
    left, middle, right = top.subplots(1, 3, width_ratios=(1.0, 1.2, 0.9))
    majors = [check for check in calibration.checks if check.wt_pct > _MAJOR_WT_PCT]
    _counts_panel(left, majors, calibration.suspects)
    _residual_panel(middle, majors, calibration)
    _dead_time_panel(right, calibration)
    panels = np.atleast_1d(bottom.subplots(n_rows, _PER_ROW, squeeze=False)).ravel()
    for axes, element in zip(panels, elements, strict=False):
        _background_panel(axes, element, calibration)
    for axes in panels[len(elements) :]:
        axes.set_axis_off()
    return png_of(figure)


def _color(check: StandardCheck, suspects: Sequence[str]) -> str:
    return DOUBT if check.standard in suspects else BAR


def _counts_panel(axes: Axes, majors: Sequence[StandardCheck], suspects: Sequence[str]) -> None:
    bare(axes)
    axes.set_title("Counts of the standards", loc="left", fontsize=11, color=INK)
    if not majors:
        say(axes, "No standards were measured.")
        return
    ends = [f(max(0.1, value) for check in majors for value in (check.counts, check.fitted_counts)) for f in (min, max)]
    axes.plot(ends, ends, color=FAINT, linewidth=0.8)
    for check in majors:
        axes.errorbar(max(0.1, check.fitted_counts), max(0.1, check.counts), check.counts_sd,
                      fmt="o", markersize=4, color=_color(check, suspects))  # fmt: skip
        axes.annotate(check.element, (max(0.1, check.fitted_counts), max(0.1, check.counts)), (5, -9),
                      textcoords="offset points", fontsize=8, color=INK)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("fitted counts per pixel")
    axes.set_ylabel("measured counts per pixel")


def _residual_panel(axes: Axes, majors: Sequence[StandardCheck], calibration: Calibration) -> None:
    """Deviation in per cent of each standard and element, with the uncertainty of the sensitivity as a bar."""
    bare(axes)
    axes.set_title("Measured against fitted", loc="left", fontsize=11, color=INK)
    if not majors:
        say(axes, "No standards were measured.")
        return
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for place, check in enumerate(majors):
        share = 100 * (check.counts / max(check.fitted_counts, 1e-6) - 1)
        sd = 100 * calibration.channels[check.element].relative_sd
        shown = float(np.clip(share, -30, 30))
        marker = "o" if shown == share else (">" if share > 0 else "<")
        axes.errorbar(
            shown, place, xerr=sd, fmt=marker, markersize=4, color=_color(check, calibration.suspects), elinewidth=0.9
        )
    axes.set_yticks(range(len(majors)), [f"{check.element}  {check.standard}" for check in majors], fontsize=8)
    axes.set_ylim(len(majors) - 0.4, -0.6)
    axes.set_xlabel("deviation (%), bar: 1 sd of the sensitivity")


def _dead_time_panel(axes: Axes, calibration: Calibration) -> None:
    bare(axes)
    axes.set_title("Dead time per count", loc="left", fontsize=11, color=INK)
    for place, response in enumerate(calibration.channels.values()):
        axes.errorbar(1e4 * response.dead_time, place, xerr=1e4 * response.dead_time_sd,
                      fmt="o", markersize=4, color=BAR, elinewidth=0.9)  # fmt: skip
    axes.set_yticks(range(len(calibration.channels)), list(calibration.channels), fontsize=9)
    axes.set_ylim(len(calibration.channels) - 0.4, -0.6)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    axes.set_xlabel("of the dwell time (1e-4)")


def _background_panel(axes: Axes, element: str, calibration: Calibration) -> None:
    """Background counts of the standards without an element, and the line with 1 sd, against mean atomic number."""
    bare(axes)
    axes.set_title(f"background of {element}", loc="left", fontsize=10, color=INK)
    checks = [check for check in calibration.checks if check.element == element and check.wt_pct <= _MAJOR_WT_PCT]
    response = calibration.channels[element]
    places = [check.mean_z for check in checks] or [6.0, 28.0]
    mean_z = np.linspace(min(places), max(places), 50)
    alone = Calibration({element: replace(response, background=0.0, background_per_z=0.0)})
    line = np.maximum(response.background + response.background_per_z * mean_z, 0.02)
    low, middle, high = (
        alone.recorded(np.maximum(line + shift, 0.0)[:, None], (element,))[0][:, 0]
        for shift in (-response.background_sd, 0.0, response.background_sd)
    )
    axes.fill_between(mean_z, low, high, color=BAR, alpha=0.18, linewidth=0)
    axes.plot(mean_z, middle, color=BAR, linewidth=1.2)
    for check in checks:
        axes.plot(check.mean_z, check.counts, "o", markersize=3.5, color=_color(check, calibration.suspects))
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("mean atomic number", fontsize=8)
    axes.set_ylabel("counts", fontsize=8)


def format_calibration(calibration: Calibration) -> str:
    """Return sensitivity, background and dead time with their errors, the standards, and the notes, as text.

    Examples
    --------
    >>> from meteoseg.minerals.calibration import ChannelResponse
    >>> print(format_calibration(Calibration({"Fe": ChannelResponse(3.3, 0.1, 0.05, 2e-4, relative_sd=0.03)})))
    element  counts per wt%     background (Z = 12)  dead time (1e-4)  from
    Fe         3.300 +- 0.099     0.70 +- 0.00       2.0 +- 0.0        given
    """
    lines = [f"{'element':<7}  {'counts per wt%':<17}  {'background (Z = 12)':<19}  {'dead time (1e-4)':<16}  from"]
    for element, found in calibration.channels.items():
        background = max(found.background + 12 * found.background_per_z, 0.0)
        lines.append(
            f"{element:<7}  {found.sensitivity:>7.3f} +- {found.sensitivity * found.relative_sd:<6.3f}  "
            f"{background:>7.2f} +- {found.background_sd:<8.2f}  "
            f"{1e4 * found.dead_time:>4.1f} +- {1e4 * found.dead_time_sd:<9.1f}  {found.source}"
        )
    majors = [check for check in calibration.checks if check.wt_pct > _MAJOR_WT_PCT]
    if majors:
        lines += ["", f"{'standard':<12}  {'element':<7}  {'wt%':>6}  {'measured':>15}  {'fitted':>7}  {'sd':>5}"]
    lines += [
        f"{check.standard[:12]:<12}  {check.element:<7}  {check.wt_pct:>6.2f}  "
        f"{check.counts:>7.1f} +- {check.counts_sd:<4.2f}  {check.fitted_counts:>7.1f}  {check.residual_sd:>+5.1f}"
        for check in majors
    ]
    return "\n".join([*lines, *(["", *calibration.notes] if calibration.notes else [])])
