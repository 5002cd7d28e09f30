"""Minerals from chemistry: standards, calibration, sampled compositions, the likelihood of each phase."""

from meteoseg.minerals.calibration import Calibration, ChannelResponse, StandardCheck
from meteoseg.minerals.classifier import ClassifierSettings, Identified, PhaseClassifier
from meteoseg.minerals.fitted import FittedClassifier, refine_gains
from meteoseg.minerals.formula import formula_wt_pct, mix_formulas, parse_formula
from meteoseg.minerals.selfcalibration import SelfCalibration, judge_self_calibration, self_calibrate
from meteoseg.minerals.standards import Standard, calibrate, calibrate_section

__all__ = [
    "Calibration",
    "ChannelResponse",
    "ClassifierSettings",
    "FittedClassifier",
    "Identified",
    "PhaseClassifier",
    "SelfCalibration",
    "Standard",
    "StandardCheck",
    "calibrate",
    "calibrate_section",
    "formula_wt_pct",
    "judge_self_calibration",
    "mix_formulas",
    "parse_formula",
    "refine_gains",
    "self_calibrate",
]
