"""Synthetic chondrites: a painted section, what a microscope would measure on it, and the exact truth."""

from meteoseg.simulate.detector import Detector, draw_artefacts, draw_detector
from meteoseg.simulate.fabric import Fabric, draw_fabric
from meteoseg.simulate.recipe import Recipe, make_recipe, simulated_groups
from meteoseg.simulate.section import DEFAULT_CHANNELS, SimulatedSection, simulate_recipe, simulate_section
from meteoseg.simulate.textures import TEXTURE_NAMES, ChondruleTruth
from meteoseg.simulate.write import write_example

__all__ = [
    "DEFAULT_CHANNELS",
    "TEXTURE_NAMES",
    "ChondruleTruth",
    "Detector",
    "Fabric",
    "Recipe",
    "SimulatedSection",
    "draw_artefacts",
    "draw_detector",
    "draw_fabric",
    "make_recipe",
    "simulate_recipe",
    "simulate_section",
    "simulated_groups",
    "write_example",
]
