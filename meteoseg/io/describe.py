"""The text that `meteoseg inspect` prints."""

from __future__ import annotations

from meteoseg.io.shifted import BoxedMask
from meteoseg.section import Section


def describe_section(section: Section) -> str:
    """Return a table of the channels and lines for size, pixel size, mask, skipped files and notes.

    Examples
    --------
    >>> import numpy as np
    >>> section = Section.from_arrays("A12", {"Fe": np.zeros((2, 3), np.uint16)}, units={"Fe": "counts"})
    >>> print(describe_section(section))
    Section A12
    <BLANKLINE>
    channel  unit    type    file       reason
    Fe       counts  uint16  in memory  given
    <BLANKLINE>
    size        2 rows x 3 columns
    pixel size  unknown: give it with --pixel-size UM or in section.toml
    mask        none (the whole grid)
    """
    lines = [f"Section {section.name}", "", *_channel_table(section), ""]
    rows, cols = section.shape
    facts = [
        ("size", f"{rows} rows x {cols} columns"),
        ("pixel size", _pixel_size(section)),
        ("mask", _mask(section)),
    ]
    facts += [("skipped", f"{path.name}: {reason}") for path, reason in section.skipped]
    facts += [("note", note) for note in section.notes]
    lines += [f"{key:<10}  {value}" for key, value in facts]
    return "\n".join(lines)


def _channel_table(section: Section) -> list[str]:
    table = [("channel", "unit", "type", "file", "reason")]
    for channel in section.channels.values():
        file = channel.path.name if channel.path else "in memory"
        table.append((channel.name, channel.unit, str(channel.plane.dtype), file, channel.reason))
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    return ["  ".join([*(f"{row[i]:<{widths[i]}}" for i in range(4)), row[4]]) for row in table]


def _pixel_size(section: Section) -> str:
    if section.pixel_size_um is None:
        return "unknown: give it with --pixel-size UM or in section.toml"
    dy, dx = section.pixel_size_um
    size = f"{dy:g} um" if dy == dx else f"{dy:g} um (rows) x {dx:g} um (columns)"
    error = "" if section.pixel_size_error_pct is None else f" +- {section.pixel_size_error_pct:g} %"
    return f"{size}{error}, from {section.pixel_size_source}"


def _mask(section: Section) -> str:
    if section.mask is None:
        return "none (the whole grid)"
    files = ", ".join(path.name for path in section.mask_paths)
    if isinstance(section.mask, BoxedMask):
        box = section.mask.box
        reach = f"where all maps reach: rows {box.row} to {box.row_end - 1}, columns {box.col} to {box.col_end - 1}"
        return f"{files}, {reach}" if files else reach
    return files or "in memory"
