"""Chondrite group, petrologic type and weathering from modes, sizes and compositions."""

from meteoseg.classify.composition import chemistry_evidence
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
    "chemistry_evidence",
    "classification_table",
    "classify",
    "classify_table",
    "measurements_from_tables",
]
