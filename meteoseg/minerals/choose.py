"""Phases from chemistry, for sections with standards or quantified maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meteoseg.elements import BSE
from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.legend.edit import NO_EDIT, LegendEdit
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.classifier import Identified, PhaseClassifier
from meteoseg.minerals.fitted import FittedClassifier, refine_gains
from meteoseg.minerals.quantified import check_percent
from meteoseg.minerals.selfcalibration import require_self_calibration
from meteoseg.minerals.smoothing import REACH_PX
from meteoseg.minerals.standards import calibrate
from meteoseg.minerals.templates import phase_rules
from meteoseg.sampling import sample_pixels
from meteoseg.section import Section

#: Given instead of standards: calibrate the section from its own minerals.
SELF = "self"
_FEWEST_ELEMENTS = 3
_NOISE_SAMPLE_PX = 512


@dataclass(frozen=True)
class ChemicalPhases:
    """A phase classifier bound to the channels it reads; `description` says what it is based on."""

    classifier: PhaseClassifier
    description: str
    notes: tuple[str, ...] = ()

    @property
    def takes_texture(self) -> bool:
        """Whether `identify` can make use of the texture of fine-grained matrix."""
        return self.classifier.knows_matrix

    def draw(self, section: Section, window: Window) -> NDArray[np.uint8]:
        """Return the phase ids (H, W) of a window, the same as in the whole map.

        Rows and columns that lie wholly outside the section's mask are not looked at: `outside`.
        """
        return self.identify(section, window).labels

    def identify(self, section: Section, window: Window, texture: NDArray[np.float32] | None = None) -> Identified:
        """Return phase ids, their probabilities and which pixels are mixtures, like `draw`.

        `texture` (H, W) of the window is the probability of fine-grained matrix by its texture, if that is known.
        """
        found = Identified.empty(window.shape)
        box = _masked_box(section, window)
        if box is not None:
            outer = box.padded(REACH_PX, section.shape)
            names = self.classifier.channels
            known = None if texture is None else _spread(texture[box.within(window)], box.within(outer), outer.shape)
            there = self.classifier.identify(section.read(names, outer), names, texture=known)
            found.paste(there, at=box.within(window), taken=box.within(outer))
        return found


def _spread(values: NDArray[np.float32], at: tuple[slice, slice], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Put `values` into an array of `shape`; what lies around them is not used."""
    out = np.zeros(shape, np.float32)
    out[at] = values
    return out


def _masked_box(section: Section, window: Window) -> Window | None:
    """Return the smallest window that holds all pixels of `window` inside the mask; None if there are none."""
    inside = section.read_mask(window)
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return None
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
    return Window(window.row + int(rows[0]), window.col + int(cols[0]), height, width)


def choose_phase_maker(
    section: Section, standards: Path | str | None, edit: LegendEdit = NO_EDIT
) -> ChemicalPhases | None:
    """Return the chemical classifier where standards, or quantified maps, allow one; None: ask the network.

    Parameters
    ----------
    standards : folder of maps of standards, a calibration file of ``meteoseg calibrate``, or ``self``: calibrate the
        section from its own minerals.
    edit : the user's legend: phases it drops are not compared, phases it adds are.

    Raises
    ------
    InputError : no such standards, display images where counts are needed, fractions where wt% are, new phases
        without chemistry, or weak evidence for ``self``.
    ChannelError : fewer than three elements are calibrated.
    """
    if str(standards) == SELF:
        return _from_itself(section, edit)
    if standards is not None:
        return _from_standards(section, Path(standards), edit)
    elements = [name for name, channel in section.channels.items() if channel.unit == "wt%" and name != BSE]
    if len(elements) < _FEWEST_ELEMENTS:
        if edit.new:
            raise InputError(
                f"Phase '{edit.new[0].name}' of the legend is defined by formulas, and '{section.name}' has no "
                "calibrated chemistry: give --standards or wt% maps, or leave the phase out."
            )
        return None
    rows, cols = (max(0, (length - _NOISE_SAMPLE_PX) // 2) for length in section.shape)
    middle = Window(rows, cols, *(min(length, _NOISE_SAMPLE_PX) for length in section.shape))
    sample = section.read(elements, middle)
    check_percent(sample, section.name)
    classifier = PhaseClassifier.from_wt_pct(sample, elements, phases=_compared(edit), new=edit.new)
    return ChemicalPhases(classifier, "quantified maps (wt%)", classifier.notes)


def _compared(edit: LegendEdit) -> tuple[str, ...]:
    return edit.candidates([*(rule["name"] for rule in phase_rules()["phase"]), *(phase.name for phase in edit.new)])


def _from_standards(section: Section, standards: Path, edit: LegendEdit) -> ChemicalPhases:
    if not standards.exists():
        raise InputError(
            f"{standards} does not exist: --standards takes a folder of standards, a calibration.json, or self."
        )
    calibration = calibrate(standards) if standards.is_dir() else Calibration.from_json(standards)
    classifier = PhaseClassifier.from_calibration(
        calibration, section.channel_names, phases=_compared(edit), new=edit.new
    )
    for name in classifier.channels:
        if section.channels[name].unit in ("display", "wt%"):
            raise InputError(
                f"Channel '{name}' of '{section.name}' holds {section.channels[name].unit} values, but standards "
                "calibrate counts: give maps in counts, or leave --standards out."
            )
    sample = np.maximum(np.nan_to_num(sample_pixels(section)), 0)
    fitted = refine_gains(classifier, sample[:, None, :], section.channel_names)
    notes = (
        *fitted.classifier.notes,
        f"Gains of the maps against the standards: {_listed(fitted)}; "
        f"{100 * fitted.explained:.0f} % of pixels explained.",
    )
    return ChemicalPhases(fitted.classifier, f"standards ({standards.name})", notes)


def _from_itself(section: Section, edit: LegendEdit) -> ChemicalPhases:
    found = require_self_calibration(section)
    fitted = found.fitted
    classifier = fitted.classifier
    if edit != NO_EDIT and isinstance(classifier.response, Calibration):
        # Calibrated with all phases: a selection may lack those that gauge an element.
        # Its notes hold those of the calibration.
        classifier = PhaseClassifier.from_calibration(
            classifier.response, classifier.channels, phases=_compared(edit), new=edit.new
        )
    notes = (
        *dict.fromkeys([*fitted.classifier.notes, *classifier.notes]),
        f"Self-calibrated gains against {found.family}: {_listed(fitted)}; "
        f"{100 * found.consistent:.0f} % of the mineral pixels fit closely; "
        f"other starts name {100 * found.alike:.0f} % of all pixels alike.",
    )
    return ChemicalPhases(classifier, f"self-calibration ({found.family})", notes)


def _listed(fitted: FittedClassifier) -> str:
    return ", ".join(f"{name} {gain:.2f}" for name, gain in fitted.gains.items())
