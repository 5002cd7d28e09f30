"""Which pictures a report gets, and that they are cut to the section."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meteoseg.grid import Window
from meteoseg.labels.images import LabelImages
from meteoseg.legend import default_legend
from meteoseg.modes import modes_of
from meteoseg.objects import measure_objects
from meteoseg.report.mapsheet import COLUMN_PX, MARGIN_PX
from meteoseg.results.illustrate import pictures, section_window
from meteoseg.section import Section

LEGENDS = {layer: default_legend(layer) for layer in ("phases", "components")}
EVEN = {"class": "none", "groups": [{"group": "H", "probability": 0.5}, {"group": "L", "probability": 0.5}]}
PARTED = EVEN | {"evidence": [{"property": "metal", "value": 8.0}]}


def drawn(classification, *, radius=12):
    """Pictures of a chondrule in a masked field of 60 x 80 px at row 100, column 200 of a large empty map."""
    row, col = np.mgrid[:300, :400]
    inside = (row >= 100) & (row < 160) & (col >= 200) & (col < 280)
    chondrules = ((row - 130) ** 2 + (col - 240) ** 2 <= radius**2).astype(np.int32)
    phases = np.where(inside, 1, 0).astype(np.uint8)
    components = np.where(chondrules > 0, 2, np.where(inside, 7, 0)).astype(np.uint8)
    maps = {name: np.where(inside, 5 + col % 7, 0).astype(np.uint16) for name in ("Fe", "S", "O", "Mg", "Ca", "Al")}
    section = Section.from_arrays("A", maps, pixel_size_um=(2.0, 4.0), mask=inside)
    labels = LabelImages(inside, phases, components, chondrules)
    tables = [modes_of(image, LEGENDS[name], (2.0, 4.0)) for name, image in (("phases", phases),
              ("components", components))]  # fmt: skip
    objects = measure_objects(chondrules, (2.0, 4.0), mask=inside)
    return pictures(
        section, labels, LEGENDS, modes=pd.concat(tables), chondrules=objects, classification=classification
    )


def test_pictures_are_cut_to_the_section_and_say_where():
    found = {picture.name: picture for picture in drawn(PARTED)}
    assert list(found) == [
        "Chondrules", "FeMgSCaAl", "FeSO", "Phases", "Components", "Modal abundances", "Chondrule sizes", "Groups",
    ]  # fmt: skip
    assert "at row 0.20 mm, column 0.79 mm of the map" in found["Chondrules"].caption
    picture = np.asarray(Image.open(io.BytesIO(found["Phases"].png)).convert("RGB"))
    olivine = np.all(picture[:, : -(COLUMN_PX + MARGIN_PX)] == (106, 168, 79), axis=2)
    rows, cols = np.flatnonzero(olivine.any(axis=1)), np.flatnonzero(olivine.any(axis=0))
    assert np.ptp(rows) > 300  # 60 rows of a section that fills the picture, not a fifth of 1200 px
    assert (np.ptp(cols) + 1) / (np.ptp(rows) + 1) == pytest.approx(80 * 4 / (60 * 2), rel=0.02)


def test_charts_of_nothing_are_left_out():
    names = [picture.name for picture in drawn(EVEN, radius=4)]  # 8 px across: under the cut-off
    assert "Groups" not in names
    assert "Chondrule sizes" not in names
    assert "Modal abundances" in names


def test_an_empty_map_is_shown_whole():
    assert section_window(np.zeros((20, 30), bool)) == Window(0, 0, 20, 30)
    assert section_window(np.ones((20, 30), bool)) == Window(0, 0, 20, 30)
