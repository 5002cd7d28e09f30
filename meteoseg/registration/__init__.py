"""Bring an image of another grid, such as BSE, onto the grid of the element maps."""

from meteoseg.registration.quality import Motion, Quality
from meteoseg.registration.registering import Registration, register

__all__ = ["Motion", "Quality", "Registration", "register"]
