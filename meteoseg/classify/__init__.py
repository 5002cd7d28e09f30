"""Chondrite group, petrologic type and weathering from modes, sizes and compositions."""

from meteoseg.classify.measurements import Measured, Measurements, measurements_from_tables
from meteoseg.classify.suggestion import (
    Classification,
    GroupScore,
    classification_table,
    classify,
    classify_table,
)

__all__ = [
    "Classification",
    "GroupScore",
    "Measured",
    "Measurements",
    "classification_table",
    "classify",
    "classify_table",
    "measurements_from_tables",
]
