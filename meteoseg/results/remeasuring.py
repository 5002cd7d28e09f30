"""What needs the maps of a section as well as its labels, measured again after labels were edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.errors import InputError
from meteoseg.grid import row_bands
from meteoseg.io import open_labels
from meteoseg.labels.images import LabelImages, Scratch
from meteoseg.legend import Legend, default_legend
from meteoseg.minerals.chemistry import MineralChemistry
from meteoseg.minerals.responsefile import read_response
from meteoseg.minerals.solutions import chemistry_rules
from meteoseg.results.mineralmaps import ChemistryFiles, write_compositions
from meteoseg.section import Section
from meteoseg.tables.channelmeans import channel_means
from meteoseg.tables.measure import CALIBRATION_JSON, CHEMISTRY_CSV, GRAINS_CSV, MEANS_CSV, UNJOINED_FILE

#: Put before the name of a file whose content is older than the labels.
STALE = "stale-"


def mapped_quantities() -> tuple[str, ...]:
    """Return the quantities of rules/chemistry.toml that are written as maps.

    Examples
    --------
    >>> mapped_quantities()[:3]
    ('Fa', 'Fs', 'Wo')
    """
    listed = [quantity for solution in chemistry_rules()["solution"] for quantity in solution["quantities"]]
    return tuple(dict.fromkeys(quantity["name"] for quantity in listed if quantity.get("mapped", True)))


def _chemistry_files() -> tuple[str, ...]:
    maps = (f"{name}{end}.ome.tif" for name in mapped_quantities() for end in ("", "_sd"))
    return (CHEMISTRY_CSV, GRAINS_CSV, *maps)


@dataclass(frozen=True)
class Basis:
    """What there is to measure from.

    folder : the result folder. run : content of its run.json. labels, legends : as edited.
    section : its maps, or None with the reason in `why_not`. edited : whether labels are, or may be, other than those
    that the files of the folder were made from.
    """

    folder: Path
    run: Mapping[str, Any]
    labels: LabelImages
    legends: Mapping[str, Legend]
    section: Section | None
    why_not: str
    edited: bool


@dataclass(frozen=True)
class Remeasured:
    """What came of it.

    content : the tables, or None where there are none that hold. state : for run.json. stale : files of the result
    folder that no longer hold. gone : files that need not be kept. notes : remarks for the report.
    """

    content: Any = None
    state: str = "none"
    stale: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def remeasure_chemistry(basis: Basis, scratch: Scratch, out: Path) -> Remeasured:
    """Measure the compositions of minerals again, from summed counts, into `out`.

    They are kept where no label changed, and become stale where the maps or the calibration of the run are not at hand.

    Raises
    ------
    InputError : the calibration beside the results is damaged.
    """
    folder = basis.folder
    there = tuple(name for name in _chemistry_files() if (folder / name).is_file())
    old = tuple(STALE + name for name in _chemistry_files() if (folder / (STALE + name)).is_file())
    if basis.labels.phases is None or not (there or old or (folder / CALIBRATION_JSON).is_file()):
        return Remeasured()
    if not basis.edited and CHEMISTRY_CSV in there:
        maps = {name: folder / f"{name}.ome.tif" for name in mapped_quantities() if f"{name}.ome.tif" in there}
        table, grains = (pd.read_csv(folder / name) for name in (CHEMISTRY_CSV, GRAINS_CSV))
        return Remeasured(ChemistryFiles(table, grains, maps), "as in the run")
    if not (folder / CALIBRATION_JSON).is_file():
        why, remedy = "run without calibration.json", "segment the section again into another folder and edit there"
    elif basis.section is None:
        why, remedy = basis.why_not, f"run meteoseg modes {folder} --maps FOLDER, where FOLDER holds the section's maps"
    else:
        return _measured(basis, basis.section, scratch, out, there + old)
    note = f"No mineral chemistry of the edited labels ({why}): {remedy}. Older files begin with {STALE}."
    return Remeasured(None, f"stale: {why}", there, (), (note,))


def _measured(basis: Basis, section: Section, scratch: Scratch, out: Path, old: tuple[str, ...]) -> Remeasured:
    facts = basis.run["chemistry"]
    phases, legend, n_unknown = _unjoined_phases(basis, facts["joined"], scratch)
    response = read_response(basis.folder / CALIBRATION_JSON)
    chemistry = MineralChemistry.of(response, facts["elements"], legend)
    made = write_compositions(section, phases, basis.labels.chondrules, chemistry=chemistry, folder=out)
    note = f"{n_unknown} pixels were painted as a phase that joins several: their composition is not measured."
    gone = tuple(name for name in old if not (out / name).is_file())
    return Remeasured(made, "measured again", (), gone, (note,) if n_unknown else ())


def _unjoined_phases(
    basis: Basis, joined: Mapping[str, str], scratch: Scratch
) -> tuple[NDArray[np.uint8], Legend, int]:
    """Return phases (H, W) by the names they had before a legend file joined some, their legend, and pixels unknown.

    Where an edited pixel still belongs to the phase that its old one was joined to, it is what it was; where it was
    painted as a joined phase, nobody knows which part: 0.
    """
    edited, after = basis.labels.phases, basis.legends["phases"]
    if edited is None:
        raise InputError(f"{basis.folder} holds no phases.")
    if not (basis.folder / UNJOINED_FILE).is_file():
        return edited, after, 0
    before = default_legend("phases")
    plain = np.zeros(256, np.uint8)
    for label in after.labels:
        if label.name in before and label.name not in joined.values():
            plain[label.id] = before[label.name].id
    becomes = np.zeros(256, np.uint8)
    is_joined = np.zeros(256, bool)
    for name, new in joined.items():
        if name in before and new in after:
            becomes[before[name].id] = after[new].id
            is_joined[after[new].id] = True
    phases, plane, n_unknown = scratch.array("unjoined", np.uint8), open_labels(basis.folder / UNJOINED_FILE)[0], 0
    for window in row_bands(scratch.shape):
        now, old = np.asarray(edited[window.slices]), plane.read(window)
        is_same = is_joined[now] & (becomes[old] == now)
        phases[window.slices] = np.where(is_same, old, plain[now])
        n_unknown += int(np.count_nonzero(is_joined[now] & ~is_same))
    return phases, before, n_unknown


def remeasure_means(basis: Basis) -> Remeasured:
    """Work out the channel means of classes again; stale where the maps are not at hand and labels were edited."""
    path, labels = basis.folder / MEANS_CSV, basis.labels.phases
    old = STALE + MEANS_CSV
    is_old = (basis.folder / old).is_file()
    if labels is None or not (path.is_file() or is_old):
        return Remeasured()
    if basis.section is not None:
        table = channel_means(basis.section, labels, basis.legends["phases"])
        return Remeasured(table, "measured again", (), (old,) if is_old else ())
    if not basis.edited and path.is_file():
        return Remeasured(pd.read_csv(path), "as in the run")
    note = (
        f"No channel means of the edited classes ({basis.why_not}): run meteoseg modes {basis.folder} --maps FOLDER, "
        f"where FOLDER holds the section's maps. The means from before the edit are in {old}."
    )
    return Remeasured(None, f"stale: {basis.why_not}", (MEANS_CSV,) if path.is_file() else (), (), (note,))
