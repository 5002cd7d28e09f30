"""Exceptions whose message states what was found, what is allowed and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MeteosegError(Exception):
    """Base of every error a user can cause and mend; the command line prints it on one line and exits with 2."""


class InputError(MeteosegError):
    """A file or folder that cannot be used as it is (missing, truncated, contradictory)."""


class ShapeMismatchError(InputError):
    """Maps or masks that should lie on one grid have different numbers of rows or columns."""


class PixelSizeError(MeteosegError):
    """A length in micrometres is asked for and the pixel size is unknown or impossible."""


class ChannelError(MeteosegError):
    """A channel or a channel expression that the section cannot supply."""


class OutputExistsError(MeteosegError):
    """The output folder exists and is not empty."""


class DiskFullError(MeteosegError):
    """A disk has no space left for what a run writes, or too little for it to begin."""


class MemoryLimitError(MeteosegError):
    """The memory of the machine, or what this process may use of it, ran out."""


class UnknownNameError(MeteosegError):
    """A name that is not in a closed list (preset, phase, model, group, ...).

    Examples
    --------
    >>> print(UnknownNameError.of("preset", "FeSo", ["FeSO", "FeMgSCaAl"]))
    Unknown preset 'FeSo'. Did you mean 'FeSO'? Known: FeMgSCaAl, FeSO.
    """

    @classmethod
    def of(cls, what: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Build the message for an unknown `name` of kind `what`, with the closest known name."""
        names = sorted(known)
        lowered = {candidate.lower(): candidate for candidate in names}
        close = get_close_matches(name.lower(), list(lowered), n=1)
        hint = f" Did you mean '{lowered[close[0]]}'?" if close else ""
        return cls(f"Unknown {what} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
