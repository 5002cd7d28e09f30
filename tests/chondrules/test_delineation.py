"""Contrast of minerals across outlines: known shares on both sides, bands, what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.chondrules import delineation
from meteoseg.chondrules.delineation import delineation_table
from meteoseg.legend import default_legend
from meteoseg.section import ArrayPlane

LEGENDS = {layer: default_legend(layer) for layer in ("phases", "components")}
ID = {label.name: label.id for legend in LEGENDS.values() for label in legend.labels}


def section(outside: str, share: float, *, around: str = "matrix") -> tuple[np.ndarray, dict[str, ArrayPlane]]:
    """Discs of olivine in a groundmass that is `outside` by `share` and olivine for the rest."""
    rng = np.random.default_rng(2)
    row, col = np.mgrid[:240, :320]
    inside = np.hypot(row % 40 - 19.5, col % 40 - 19.5) <= 12
    objects = np.where(inside, 1 + row // 40 * 8 + col // 40, 0).astype(np.int32)
    other = rng.random(inside.shape) < share
    phases = np.where(~inside & other, ID[outside], ID["olivine"]).astype(np.uint8)
    components = np.where(inside, ID["chondrule"], ID[around]).astype(np.uint8)
    return objects, {"phases": ArrayPlane(phases), "components": ArrayPlane(components)}


def measured(objects: np.ndarray, planes: dict[str, ArrayPlane], size_um: tuple[float, float] = (5.0, 5.0)) -> dict:
    return delineation_table(objects, planes, LEGENDS, size_um).iloc[0].to_dict()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_contrast_is_the_share_by_which_the_sides_differ(share):
    row = measured(*section("fine-grained matrix", share))
    assert row["contrast"] == pytest.approx(share, abs=0.03)
    assert row["ci_low"] <= row["contrast"] <= row["ci_high"]
    assert (row["n_chondrules"], row["width_um"]) == (48, 20.0)


def test_opaque_minerals_do_not_count():
    assert measured(*section("troilite", 0.6))["contrast"] == pytest.approx(0.0, abs=1e-12)


def test_other_components_are_no_surroundings():
    assert np.isnan(measured(*section("fine-grained matrix", 0.6, around="clast"))["contrast"])


def test_only_what_is_near_the_outline_counts():
    objects, planes = section("fine-grained matrix", 0.0)
    phases = planes["phases"].values
    far = np.ones(objects.shape, bool)
    row, col = np.mgrid[:240, :320]
    far &= np.hypot(row % 40 - 19.5, col % 40 - 19.5) > 12 + 5
    planes["phases"] = ArrayPlane(np.where(far, ID["fine-grained matrix"], phases).astype(np.uint8))
    assert measured(objects, planes)["contrast"] == pytest.approx(0.0, abs=1e-12)


def test_the_height_of_bands_does_not_matter(monkeypatch):
    objects, planes = section("fine-grained matrix", 0.4)
    for size_um in ((5.0, 5.0), (5.0, 3.0)):
        whole = delineation_table(objects, planes, LEGENDS, size_um)
        for pixels in (320, 7 * 320, 9000):
            with monkeypatch.context() as patch:
                patch.setattr(delineation, "_BAND_PX", pixels)
                assert delineation_table(objects, planes, LEGENDS, size_um).equals(whole)


def test_without_chondrules_there_is_no_contrast():
    objects, planes = section("fine-grained matrix", 0.4)
    row = measured(np.zeros_like(objects), planes)
    assert np.isnan(row["contrast"])
    assert row["n_chondrules"] == 0
