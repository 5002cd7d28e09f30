"""The scripts that compare simulated with real sections: gaps, parting, seams, tables in the page."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from meteoseg.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "experiments" / "simulator_realism"
NAMES = ("sections", "forest", "measures", "page")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """Import the scripts as they import each other, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name, None)


def two_discs(dark_seam: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two touching discs, bright in all channels; with a dark line at their contact if asked for."""
    rows, cols = np.mgrid[:40, :60]
    objects = np.where(np.hypot(rows - 20, cols - 18) < 12, 1, 0)
    objects[(np.hypot(rows - 20, cols - 40) < 12) & (objects == 0)] = 2
    plane = np.where(objects > 0, 200.0, 50.0)
    if dark_seam:
        plane[:, 29] = 50.0
    return objects.astype(np.int32), np.stack([plane] * 5).astype(np.float32)


def test_open_gaps_takes_one_pixel_of_a_contact(scripts: dict[str, ModuleType]) -> None:
    touching = np.array([[1, 1, 2, 2], [1, 1, 0, 2], [1, 1, 1, 2]])
    expected = [[1, 0, 2, 2], [1, 1, 0, 2], [1, 1, 0, 2]]
    assert scripts["sections"].open_gaps(touching).tolist() == expected


def test_watershed_parts_touching_discs_and_scores_full(scripts: dict[str, ModuleType]) -> None:
    objects, planes = two_discs(dark_seam=False)
    maps = scripts["sections"].Maps("discs", planes, objects, np.ones(objects.shape, bool), (), ())
    found = scripts["forest"].part_objects((objects > 0).astype(np.float32), scripts["forest"].Settings())
    scores = scripts["forest"].score(found, maps)
    assert (scores["f1"], scores["n_found"]) == (1.0, 2)
    assert scores["pq"] > 0.9


def test_seam_contrast_shows_whether_discs_can_be_told_apart(scripts: dict[str, ModuleType]) -> None:
    def contrast(dark_seam: bool) -> float:
        objects, planes = two_discs(dark_seam)
        opened = scripts["sections"].open_gaps(objects)
        maps = scripts["sections"].Maps("discs", planes, opened, np.ones(objects.shape, bool), (), ())
        return float(scripts["measures"].seams(maps)["Fe seam minus sides"])

    assert contrast(dark_seam=True) < contrast(dark_seam=False) - 0.3


def test_tables_replace_what_stands_between_their_markers(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- gate -->\nold\n<!-- /gate -->\nafter\n", encoding="utf-8")
    scripts["page"].fill("gate", "new", page)
    assert page.read_text(encoding="utf-8") == "before\n<!-- gate -->\nnew\n<!-- /gate -->\nafter\n"
    with pytest.raises(InputError, match="must have the markers"):
        scripts["page"].fill("missing", "new", page)
