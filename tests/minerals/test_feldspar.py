"""Size of feldspar by place: known discs, bands, limits, blocks."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.legend import default_legend
from meteoseg.minerals import feldspar
from meteoseg.minerals.feldspar import BETWEEN, BETWEEN_WITH_GLASS, IN_CHONDRULES, feldspar_table, grain_diameters
from meteoseg.section import ArrayPlane

LEGENDS = {layer: default_legend(layer) for layer in ("phases", "components")}
ID = {label.name: label.id for legend in LEGENDS.values() for label in legend.labels}


def discs(shape: tuple[int, int], diameter_px: float, spacing: int) -> np.ndarray:
    """Discs on a grid."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    middle = spacing / 2 - 0.5
    return np.hypot(row % spacing - middle, col % spacing - middle) <= diameter_px / 2


def painted(grains: np.ndarray, phase: str = "plagioclase", component: str = "matrix") -> dict[str, ArrayPlane]:
    phases = np.where(grains, ID[phase], ID["olivine"]).astype(np.uint8)
    components = np.full(grains.shape, ID[component], np.uint8)
    return {"phases": ArrayPlane(phases), "components": ArrayPlane(components)}


def row_of(planes: dict[str, ArrayPlane], where: str, size_um: tuple[float, float] = (5.0, 5.0)) -> dict:
    table = feldspar_table(planes, LEGENDS, size_um)
    return table[table["where"] == where].iloc[0].to_dict()


@pytest.mark.parametrize(("diameter_px", "pixel_um"), [(9.0, (5.0, 5.0)), (15.0, (2.0, 2.0))])
def test_discs_between_chondrules_have_their_diameter(diameter_px, pixel_um):
    row = row_of(painted(discs((200, 260), diameter_px, 20)), BETWEEN, pixel_um)
    assert row["n_grains"] == 130
    assert row["size_um"] == pytest.approx(diameter_px * pixel_um[0], rel=0.05)
    assert row["ci_low_um"] <= row["size_um"] <= row["ci_high_um"]
    assert row["area_mm2"] == pytest.approx(200 * 260 * pixel_um[0] ** 2 / 1e6)


def test_size_is_that_of_the_largest_common_grains():
    grains = discs((200, 400), 5.0, 20)
    grains[:, 200:] = discs((200, 200), 13.0, 20)
    assert row_of(painted(grains), BETWEEN)["size_um"] == pytest.approx(65, rel=0.06)


def test_scatter_between_parts_of_the_section_is_in_the_error():
    even = painted(discs((200, 400), 9.0, 20))
    grains = discs((200, 400), 5.0, 20)
    grains[:40, :40] = discs((40, 40), 17.0, 20)
    uneven = row_of(painted(grains), BETWEEN)
    assert uneven["standard_error_um"] > 5 * row_of(even, BETWEEN)["standard_error_um"]


def test_a_net_of_narrow_arms_counts_by_its_arms():
    net = np.zeros((120, 160), bool)
    net[::8], net[:, ::8] = True, True
    planes = painted(net)
    covered = 2 * np.sqrt(net.sum() / np.pi) * 5
    found = grain_diameters(np.array([net.sum()]), np.array([[2000.0], [2600.0]]), (5.0, 5.0))
    assert found[0] < 0.2 * covered
    assert row_of(planes, BETWEEN)["statement"].startswith("under 15 um")


def test_feldspar_of_chondrules_is_apart_and_mesostasis_only_where_it_says_so():
    inside = row_of(painted(discs((200, 260), 9.0, 20), component="chondrule"), BETWEEN)
    assert np.isnan(inside["size_um"])
    assert inside["n_grains"] == 0
    glass = painted(discs((200, 260), 9.0, 20), phase="mesostasis")
    assert np.isnan(row_of(glass, BETWEEN)["size_um"])
    assert row_of(glass, BETWEEN_WITH_GLASS)["size_um"] == pytest.approx(45, rel=0.05)
    both = feldspar_table(painted(discs((200, 260), 9.0, 20), component="inclusion"), LEGENDS, (5.0, 5.0))
    assert both.set_index("where").loc[[IN_CHONDRULES, BETWEEN], "n_grains"].tolist() == [0, 0]


def test_what_is_finer_than_three_pixels_has_a_limit_only():
    row = row_of(painted(discs((200, 260), 2.0, 6)), BETWEEN)
    assert np.isnan(row["size_um"])
    assert (row["limit_um"], row["statement"].startswith("under 15 um")) == (15.0, True)


def test_chance_clusters_of_fine_grains_are_no_size():
    rng = np.random.default_rng(3)
    row = row_of(painted(rng.random((200, 260)) < 0.1), BETWEEN)
    assert np.isnan(row["size_um"])


def test_the_height_of_bands_does_not_matter(monkeypatch):
    rng = np.random.default_rng(5)
    coarse = np.kron(rng.random((30, 40)) < 0.3, np.ones((7, 6), bool))
    planes = painted(coarse & (rng.random(coarse.shape) < 0.97))
    whole = feldspar_table(planes, LEGENDS, (5.0, 4.0))
    for pixels in (240, 5 * 240, 4100):
        monkeypatch.setattr(feldspar, "_BAND_PX", pixels)
        assert feldspar_table(planes, LEGENDS, (5.0, 4.0)).equals(whole)


def test_without_components_nothing_lies_between_chondrules():
    planes = {"phases": painted(discs((200, 260), 9.0, 20))["phases"]}
    assert feldspar_table(planes, LEGENDS, (5.0, 5.0))["where"].tolist() == ["all"]


def test_pixels_that_are_not_square():
    tall = np.repeat(discs((100, 260), 9.0, 20), 2, axis=0)
    row = row_of(painted(tall), BETWEEN, (2.5, 5.0))
    assert row["size_um"] == pytest.approx(45, rel=0.06)
