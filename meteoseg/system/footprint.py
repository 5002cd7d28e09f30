"""Disk space that runs take, estimated before they begin."""

from __future__ import annotations

from collections.abc import Collection

from meteoseg.system.diskspace import DiskNeed

#: Bytes per pixel of arrays on disk: the section mask; a layer of labels; components with objects and holes.
_INSIDE, _LAYER, _COMPONENTS = 1, 1, 6
#: Bytes per pixel of compressed files, about twice those of a simulated CV (1.9 Mpx: labels 0.10, probabilities 0.34)
#: and of Semarkona's chondrule 8 (0.9 Mpx: chemistry 1.8), and for coarser levels half as much again (labels: measured
#: 1.4 to 1.6 times) or a third (values).
_LABELS, _PROBABILITIES, _CHEMISTRY = 0.3, 0.9, 4.8
#: Bytes per pixel of two label images in colours, with their coarser levels.
_PAINTED = 0.5
#: Report and tables, whatever the size of the section.
_PAGES = 20_000_000


def segment_need(
    name: str, shape: tuple[int, int], layers: Collection[str], *, probabilities: bool, chemistry: bool
) -> DiskNeed:
    """Return what the segmentation of a section needs.

    Parameters
    ----------
    name, shape : of the section, (rows, cols).
    layers : what networks deliver: ``phases``, ``components``.
    probabilities : whether these are written too; chemistry : whether the phases come from it.

    Examples
    --------
    >>> str(segment_need("A12", (40000, 40000), ["phases", "components"], probabilities=False, chemistry=False))
    "segmenting 'A12' needs about 13.3 GB there, 12.8 GB of it only while it runs"
    """
    has_phases, has_components = chemistry or "phases" in layers, "components" in layers
    scratch = _INSIDE + _LAYER * has_phases + _COMPONENTS * has_components
    results = _LABELS + _CHEMISTRY * chemistry
    if probabilities:
        scratch += _LAYER * (has_phases + has_components + chemistry)
        results += _PROBABILITIES
    return _need(f"segmenting '{name}'", shape, scratch, results)


def cluster_need(name: str, shape: tuple[int, int]) -> DiskNeed:
    """Return what sorting a section by a classical tool needs."""
    return _need(f"sorting '{name}'", shape, _INSIDE + _LAYER, _LABELS)


def remake_need(name: str, shape: tuple[int, int], layers: Collection[str], *, chemistry: bool) -> DiskNeed:
    """Return what making a result folder again needs; `layers` are its label images, chondrules among them."""
    scratch = _INSIDE + sum(4 if layer == "chondrules" else _LAYER for layer in layers)
    need = _need(f"making '{name}' again", shape, scratch, _CHEMISTRY * chemistry)
    return DiskNeed(need.what, need.scratch, need.results, "move the results to another disk")


def export_need(name: str, shape: tuple[int, int], formats: Collection[str], *, map_bytes: int) -> DiskNeed:
    """Return what the export of a result takes at most; the outlines of objects count as tables.

    Parameters
    ----------
    formats : ``ome-tiff`` and ``ome-zarr`` take space. map_bytes : bytes per pixel of all maps together.
    """
    each = {"ome-tiff": _PAINTED, "ome-zarr": _LABELS}
    results = sum(each[chosen] + 4 / 3 * map_bytes for chosen in formats if chosen in each)
    return _need(f"exporting '{name}'", shape, 0, results)


def _need(what: str, shape: tuple[int, int], scratch: int, results: float) -> DiskNeed:
    n_px = shape[0] * shape[1]
    return DiskNeed(what, scratch * n_px, round(results * n_px) + _PAGES)
