"""Pictures that set simulated sections beside the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from measures import gaps_px, object_table, places, spectrum
from PIL import Image
from sections import CHANNELS, PIXEL_UM, Maps
from skimage.segmentation import find_boundaries

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # (the backend comes first)

REAL, MADE = "black", "tab:red"
PAIRS = (("Mg", "Fe"), ("Mg", "Ca"), ("BSE", "Fe"))
_VIEW_PX = (210, 230)  # rows, cols of the picture panel: 5.2 x 5.8 mm
_COLOURS = 40


def save(figure: plt.Figure, path: Path) -> None:
    """Write a small PNG of few colours."""
    figure.canvas.draw()
    rgb = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    Image.fromarray(rgb).quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    plt.close(figure)


def plane(maps: Maps, name: str) -> np.ndarray:
    return maps.maps[CHANNELS.index(name)]


def draw_maps(real: Maps, made: Sequence[Maps], path: Path) -> None:
    """Show BSE, Mg, Fe and a composite with outlines: real, and two simulated sections."""
    columns = [real, *made[:2]]
    figure, axes = plt.subplots(4, len(columns), figsize=(3.3 * len(columns), 12.4), dpi=72, layout="constrained")
    for column, maps in enumerate(columns):
        part = maps.cut(_fullest_window(maps))
        for axis, name in zip(axes[:, column], ("BSE", "Mg", "Fe", "Fe Mg Ca, outlines"), strict=True):
            if name in CHANNELS:
                axis.imshow(plane(part, name), cmap="gray", vmin=0, vmax=255)
            else:
                axis.imshow(_composite(part))
            axis.set_title(f"{name}, {maps.name}", fontsize=9)
            axis.set_axis_off()
    bar_px = 1000 / PIXEL_UM
    axes[0, 0].plot([10, 10 + bar_px], [_VIEW_PX[0] - 10] * 2, color="yellow", lw=4)
    axes[0, 0].text(10, _VIEW_PX[0] - 15, "1 mm", color="yellow")
    save(figure, path)


def _fullest_window(maps: Maps) -> tuple[slice, slice]:
    """Pick the window with most rock, the lower right one where several are full."""
    rows, cols = _VIEW_PX
    total = np.pad(np.cumsum(np.cumsum(maps.section, axis=0), axis=1), ((1, 0), (1, 0)))
    rock = total[rows:, cols:] - total[:-rows, cols:] - total[rows:, :-cols] + total[:-rows, :-cols]
    row, col = np.argwhere(rock == rock.max())[-1]
    return slice(int(row), int(row) + rows), slice(int(col), int(col) + cols)


def _composite(maps: Maps) -> np.ndarray:
    """Fe red, Mg green, Ca blue, each stretched to its 99.5 % point; outlines white, nodules yellow."""
    rgb = np.stack([plane(maps, name) / max(np.percentile(plane(maps, name), 99.5), 1) for name in ("Fe", "Mg", "Ca")])
    image = np.moveaxis(rgb, 0, -1).clip(0, 1)
    image[find_boundaries(np.where(np.isin(maps.objects, maps.nodules), maps.objects, 0))] = (1, 1, 0)
    image[find_boundaries(maps.chondrules)] = 1
    return image


def draw_histograms(real: Maps, made: Sequence[Maps], path: Path) -> None:
    """Grey values in chondrules and between objects, one line per section."""
    figure, axes = plt.subplots(2, len(CHANNELS), figsize=(13, 5), dpi=72, layout="constrained", sharex=True)
    edges = np.arange(0, 257, 4)
    for maps, style in _styles(real, made):
        for row, mask in zip(axes, (places(maps)["in"], places(maps)["between"]), strict=True):
            for axis, values in zip(row, maps.maps, strict=True):
                share, _ = np.histogram(values[mask], edges, density=True)
                axis.plot(edges[:-1], share, **style)
    for row, place in zip(axes, ("in chondrules", "between objects"), strict=True):
        for axis, name in zip(row, CHANNELS, strict=True):
            axis.set_title(f"{name}, {place}", fontsize=9)
            axis.set_yticks([])
    axes[1, 2].set_xlabel("grey value")
    axes[0, 0].legend(fontsize=8)
    save(figure, path)


def _styles(real: Maps, made: Sequence[Maps]) -> list[tuple[Maps, dict[str, object]]]:
    styles: list[tuple[Maps, dict[str, object]]] = [
        (maps, {"color": MADE, "lw": 0.8, "alpha": 0.7, "label": "simulated" if not index else None})
        for index, maps in enumerate(made)
    ]
    return [*styles, (real, {"color": REAL, "lw": 2, "label": "real"})]


def draw_spectra(real: Maps, made: Sequence[Maps], path: Path) -> None:
    """Radially averaged power spectra, variance of each map set to 1."""
    figure, axes = plt.subplots(1, len(CHANNELS), figsize=(13, 3), dpi=72, layout="constrained", sharey=True)
    for maps, style in _styles(real, made):
        for axis, values in zip(axes, maps.maps, strict=True):
            axis.loglog(*spectrum(values, maps.section), **style)
    for axis, name in zip(axes, CHANNELS, strict=True):
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("cycles per px (25 um)")
    axes[0].set_ylabel("power")
    axes[0].legend(fontsize=8)
    save(figure, path)


def draw_scatter(real: Maps, made: Sequence[Maps], path: Path) -> None:
    """Joint distribution of two channels over all rock pixels, log scale."""
    columns = [("real", [real]), *((maps.name, [maps]) for maps in made[:2]), ("all simulated", list(made))]
    figure, axes = plt.subplots(3, len(columns), figsize=(2.6 * len(columns), 7.6), dpi=72, layout="constrained")
    edges = np.arange(0, 257, 8)
    for row, (first, second) in zip(axes, PAIRS, strict=True):
        for axis, (title, sections) in zip(row, columns, strict=True):
            across, up = (np.concatenate([plane(m, n)[m.section] for m in sections]) for n in (first, second))
            share, *_ = np.histogram2d(up, across, [edges, edges], density=True)
            axis.imshow(np.log10(share + 1e-7), origin="lower", extent=(0, 256, 0, 256), cmap="magma", vmax=-3)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(first)
            axis.set_ylabel(second)
    save(figure, path)


def draw_objects(real: Maps, made: Sequence[Maps], path: Path) -> None:
    """Sizes and gaps of chondrules and fragments, as cumulative shares."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.2), dpi=72, layout="constrained")
    for maps, style in _styles(real, made):
        table = object_table(maps)
        for axis, values in zip(
            axes, (table["equivalent_diameter_area"] * PIXEL_UM, table["solidity"], gaps_px(maps)), strict=True
        ):
            ordered = np.sort(values)
            axis.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", **style)
    for axis, name in zip(axes, ("equivalent diameter, um", "solidity", "gap to nearest object, px"), strict=True):
        axis.set_xlabel(name)
    axes[0].set_xscale("log")
    axes[2].set_xlim(-0.2, 6)
    axes[0].set_ylabel("share of objects")
    axes[0].legend(fontsize=8)
    save(figure, path)


def draw_counts(real: dict[str, np.ndarray], made: Sequence[dict[str, np.ndarray]], path: Path) -> None:
    """Counts of each element at 1 um: histograms, one line per field."""
    figure, axes = plt.subplots(2, 5, figsize=(13, 5), dpi=72, layout="constrained")
    for axis, (name, values) in zip(axes.flat, real.items(), strict=True):
        top = max(np.percentile(values, 99.8), 6)
        edges = np.arange(-0.5, top + 1, max(1, round(top / 50)))
        for index, fields in enumerate(made):
            share, _ = np.histogram(fields[name], edges, density=True)
            axis.step(edges[:-1], share, color=MADE, lw=0.8, label=None if index else "simulated")
        share, _ = np.histogram(values, edges, density=True)
        axis.step(edges[:-1], share, color=REAL, lw=2, label="real")
        axis.set_yscale("log")
        axis.set_title(f"{name}, counts", fontsize=9)
    axes[0, 0].legend(fontsize=8)
    save(figure, path)
