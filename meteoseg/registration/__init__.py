"""Bring element maps into place among themselves, and an image of another grid, such as BSE, onto theirs."""

from meteoseg.registration.aligning import Alignment, MapPass, align_maps, places_note
from meteoseg.registration.quality import Motion, Quality
from meteoseg.registration.registering import Registration, register

__all__ = ["Alignment", "MapPass", "Motion", "Quality", "Registration", "align_maps", "places_note", "register"]
