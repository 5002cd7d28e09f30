"""Classical tools that sort pixels without a network: clusters, unmixing, rules, a forest grown from scribbles."""

from meteoseg.clusters.classes import PixelClasses, legend_of
from meteoseg.clusters.conditions import Condition, parse_condition
from meteoseg.clusters.forest import grow_forest
from meteoseg.clusters.rules import read_rules
from meteoseg.clusters.unlabelled import METHODS, fit_clusters

__all__ = [
    "METHODS",
    "Condition",
    "PixelClasses",
    "fit_clusters",
    "grow_forest",
    "legend_of",
    "parse_condition",
    "read_rules",
]
