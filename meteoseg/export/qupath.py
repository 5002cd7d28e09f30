"""Objects for QuPath: GeoJSON whose coordinates are pixels of the full image."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meteoseg.export.outlines import Outline, Ring
from meteoseg.export.result import ExportedObject
from meteoseg.report.images import hex_rgb


def write_geojson(path: Path, objects: Iterable[ExportedObject]) -> int:
    """Write objects as a FeatureCollection of annotations, one at a time; return how many.

    Coordinates are (x, y) in pixels from the upper left corner of the image, as QuPath counts them; y runs down.
    Properties follow QuPath 0.4 and later: objectType, name, classification with its colour, measurements by name.
    """
    number = 0
    with path.open("w", encoding="utf-8") as handle:
        handle.write('{"type": "FeatureCollection", "features": [')
        for number, item in enumerate(objects, start=1):
            handle.write(",\n" if number > 1 else "\n")
            json.dump(feature(item), handle, ensure_ascii=False, allow_nan=False)
        handle.write("\n]}\n")
    return number


def feature(item: ExportedObject) -> dict[str, Any]:
    """Return an object as a GeoJSON feature, as QuPath reads it."""
    return {
        "type": "Feature",
        "id": item.uuid,
        "geometry": geometry(item.parts),
        "properties": {
            "objectType": "annotation",
            "name": f"{item.kind} {item.id}",
            "classification": {"name": item.label, "color": list(hex_rgb(item.color))},
            "measurements": dict(item.measurements),
        },
    }


def geometry(parts: list[Outline]) -> dict[str, Any]:
    """Return outlines as a Polygon, or as a MultiPolygon where there are several.

    Examples
    --------
    >>> geometry([Outline([(0, 5), (0, 6), (1, 6), (1, 5)])])
    {'type': 'Polygon', 'coordinates': [[[5, 0], [6, 0], [6, 1], [5, 1], [5, 0]]]}
    """
    polygons = [[_closed(ring) for ring in (part.outer, *part.holes)] for part in parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: Ring) -> list[list[int]]:
    return [[col, row] for row, col in (*ring, ring[0])]
