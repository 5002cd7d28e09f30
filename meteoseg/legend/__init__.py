"""Legends: what the integers of label images mean, and how a user changes that."""

from meteoseg.legend.legend import (
    HOLE,
    LAYERS,
    MATRIX,
    NO_MINERALS,
    OUTSIDE,
    UNCLASSIFIED,
    Label,
    Legend,
    default_legend,
    read_legend_csv,
    write_legend_csv,
)

__all__ = [
    "HOLE",
    "LAYERS",
    "MATRIX",
    "NO_MINERALS",
    "OUTSIDE",
    "UNCLASSIFIED",
    "Label",
    "Legend",
    "default_legend",
    "read_legend_csv",
    "write_legend_csv",
]
