"""X-ray spectra: lines, peak shapes, energy calibration, elements, net counts."""

from meteoseg.spectra.analysis import SpectrumAnalysis, analyse
from meteoseg.spectra.axis import EnergyAxis
from meteoseg.spectra.findelements import FoundElement, find_elements
from meteoseg.spectra.fitting import LineFit, make_fit

__all__ = ["EnergyAxis", "FoundElement", "LineFit", "SpectrumAnalysis", "analyse", "find_elements", "make_fit"]
