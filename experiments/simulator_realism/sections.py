"""The real section and simulated ones in one form: five maps, outlines, and what scoring leaves out."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

import meteoseg as ms
from meteoseg.errors import InputError
from meteoseg.io import read_labels
from meteoseg.legend import default_legend
from meteoseg.simulate import SimulatedSection, draw_detector, make_recipe, simulate_recipe

CHANNELS = ("BSE", "Mg", "Ca", "Fe", "Al")
PIXEL_UM = 25.0
SHAPE = (327, 349)  # as much rock as in the real map
NOT_CHONDRULES = ("metal-sulfide nodule", "Ca-Al-rich object")
COMPONENTS = default_legend("components")
_NO_SIGNAL = 8  # grey levels, in all channels
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Maps:
    """Five maps with outlines.

    maps : (5, H, W) float32 in the order of `CHANNELS`; objects : (H, W) ids, 0 = between objects;
    section : (H, W) bool, False where there is no rock; ignored : ids that scores leave out (nodules, Al-rich).
    nodules : those of the ignored ids that are metal-sulfide nodules.
    """

    name: str
    maps: np.ndarray
    objects: np.ndarray
    section: np.ndarray
    ignored: tuple[int, ...]
    nodules: tuple[int, ...]

    def cut(self, window: tuple[slice, slice]) -> Maps:
        """Return the part inside a window; objects are cut with it."""
        return replace(self, maps=self.maps[:, *window], objects=self.objects[window], section=self.section[window])

    def halves(self) -> tuple[Maps, Maps]:
        """Cut along a column into two parts of equal rock area."""
        area = np.cumsum(self.section.sum(axis=0))
        middle = int(np.searchsorted(area, area[-1] / 2))
        everything = slice(None)
        return self.cut((everything, slice(0, middle))), self.cut((everything, slice(middle, None)))

    @property
    def chondrules(self) -> np.ndarray:
        """Ids of chondrules and fragments only."""
        return np.where(np.isin(self.objects, self.ignored), 0, self.objects)


def real_west(*, only_rock: bool = True) -> Maps:
    """Read the west part of Semarkona ps1b with its hand-drawn outlines from $METEOSEG_DATA.

    The section mask includes an unmapped corner and the ragged lower edge; `only_rock` leaves them out.
    """
    if "METEOSEG_DATA" not in os.environ:
        raise InputError("METEOSEG_DATA is not set: let it name the folder that holds semarkona-ps1b-west.")
    folder = Path(os.environ["METEOSEG_DATA"]) / "semarkona-ps1b-west"
    section = ms.open_section(folder, pixel_size_um=PIXEL_UM)
    kinds = pd.read_csv(folder / "objects.csv").set_index("label")["kind"]
    maps, mask = _stack(section), read_labels(folder / "section_mask.tif") > 0
    unmapped = ndi.binary_opening(maps.max(axis=0) < _NO_SIGNAL, _EIGHT, iterations=2)
    return Maps(
        "real",
        maps,
        read_labels(folder / "objects.tif").astype(np.int32),
        mask & ~unmapped if only_rock else mask,
        tuple(kinds.index[kinds.isin(NOT_CHONDRULES)]),
        tuple(kinds.index[kinds == NOT_CHONDRULES[0]]),
    )


def simulated(seed: int, *, shape: tuple[int, int] = SHAPE) -> tuple[Maps, Maps]:
    """Simulate a section like ps1b: LL3.0, 25 um, display pictures by a detector drawn with the seed.

    Returns it with the gaps of drawn outlines between touching objects, and without them.
    """
    rng = np.random.default_rng([seed, 1])
    detector = next(drawn for drawn in iter(lambda: draw_detector(rng), None) if drawn.mode == "display")
    made = simulate_recipe(
        make_recipe("LL", petrologic_type=3.0, weathering="W1", epoxy_edge=False),
        detector,
        shape=shape,
        pixel_size_um=PIXEL_UM,
        seed=seed,
        channels=CHANNELS,
    )
    return from_simulation(made, gaps=True), from_simulation(made, gaps=False)


def from_simulation(made: SimulatedSection, *, gaps: bool) -> Maps:
    """Bring a simulated section into the form of the drawn one."""
    al_rich = [number for number, kind in made.kinds.items() if kind == "Al-rich"]
    return _with_others(
        made.section.name, _stack(made.section), made.chondrules, made.components, ignored=al_rich, gaps=gaps
    )


def rendered(pattern: str, *, gaps: bool = True) -> list[Maps]:
    """Read rendered training examples (maps with truth/ beside them), cut to the size of the real section."""
    folders = [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 (the pattern may be absolute)
    if not folders:
        raise InputError(f"No folder matches '{pattern}': give a pattern such as 'runs/sections/coarse/000*'.")
    window = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    return [_read_rendered(folder, gaps).cut(window) for folder in folders]


def _read_rendered(folder: Path, gaps: bool) -> Maps:
    truth = folder / "truth"
    return _with_others(
        folder.name,
        _stack(ms.open_section(folder)),
        read_labels(truth / "chondrules.ome.tif"),
        read_labels(truth / "components.ome.tif"),
        ignored=[],
        gaps=gaps,
    )


def open_gaps(objects: np.ndarray) -> np.ndarray:
    """Open a gap of one pixel between touching objects, as hand-drawn outlines leave it.

    Of two neighbouring pixels in two objects the upper or left one is taken away; corners may still touch, as
    they do in the drawn outlines (median gap 0.4 px).
    """
    out = objects.copy()
    padded = np.pad(objects, 1)
    rows, cols = objects.shape
    for dy, dx in ((0, 1), (1, 0)):
        other = padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + cols]
        out[(objects > 0) & (other > 0) & (other != objects)] = 0
    return out


def _with_others(
    name: str, maps: np.ndarray, chondrules: np.ndarray, components: np.ndarray, *, ignored: list[int], gaps: bool
) -> Maps:
    """Number nodules and inclusions after the chondrules; scores ignore them, as in the drawn outlines."""
    objects = chondrules.astype(np.int32)
    numbers = {}
    for what in ("metal-sulfide nodule", "inclusion"):
        parts, n_parts = ndi.label(components == COMPONENTS[what].id, _EIGHT)
        first = int(objects.max()) + 1
        objects = np.where(parts > 0, parts + first - 1, objects).astype(np.int32)
        numbers[what] = tuple(range(first, first + n_parts))
    return Maps(
        name,
        maps,
        open_gaps(objects) if gaps else objects,
        ndi.binary_closing(components != COMPONENTS["outside"].id, _EIGHT, iterations=2),
        (*ignored, *numbers["metal-sulfide nodule"], *numbers["inclusion"]),
        numbers["metal-sulfide nodule"],
    )


def _stack(section: ms.Section) -> np.ndarray:
    missing = [name for name in CHANNELS if name not in section.channel_names]
    if missing:
        raise InputError(f"Section '{section.name}' lacks {', '.join(missing)}: it must have {', '.join(CHANNELS)}.")
    planes = [section.channels[name].plane.read(section.window) for name in CHANNELS]
    return np.stack(planes).astype(np.float32)
