"""Open maps as sections, whatever laboratory they come from, and write label images."""

from meteoseg.io.bandwriter import BandWriter
from meteoseg.io.describe import describe_section
from meteoseg.io.labels import open_labels, read_labels, write_labels
from meteoseg.io.opening import open_section, section_name
from meteoseg.io.sectionfile import open_stored, stored_as, write_section_toml
from meteoseg.io.values import check_values

__all__ = [
    "BandWriter",
    "check_values",
    "describe_section",
    "open_labels",
    "open_section",
    "open_stored",
    "read_labels",
    "section_name",
    "stored_as",
    "write_labels",
    "write_section_toml",
]
