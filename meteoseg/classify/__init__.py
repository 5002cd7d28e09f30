"""Chondrite group, petrologic type and weathering from modes, sizes and compositions."""

from meteoseg.classify.composition import chemistry_evidence
from meteoseg.classify.handtable import looks_handmade, read_hand_table
from meteoseg.classify.measurements import Measured, Measurements, measurements_from_tables
from meteoseg.classify.nextstep import NextStep
from meteoseg.classify.petrology import TypeEvidence
from meteoseg.classify.suggestion import Classification, GroupScore, classify
from meteoseg.classify.tables import agreement, classification_table, classify_table, ranked_table
from meteoseg.classify.texture import delineation_evidence, feldspar_evidence

__all__ = [
    "Classification",
    "GroupScore",
    "Measured",
    "Measurements",
    "NextStep",
    "TypeEvidence",
    "agreement",
    "chemistry_evidence",
    "classification_table",
    "classify",
    "classify_table",
    "delineation_evidence",
    "feldspar_evidence",
    "looks_handmade",
    "measurements_from_tables",
    "ranked_table",
    "read_hand_table",
]
