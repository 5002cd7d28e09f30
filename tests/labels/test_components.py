from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from meteoseg.grid import Window
from meteoseg.labels import components as labelling
from meteoseg.labels.components import empty_field, make_component_maps, settle_object, settle_objects, wide_holes
from meteoseg.legend import default_legend
from meteoseg.resample import Regrid

LEGEND = default_legend("components")
CLASSES = ("outside", "hole", "chondrule", "matrix")
OUTSIDE, HOLE, CHONDRULE, MATRIX = (LEGEND[name].id for name in CLASSES)


def disc(shape: tuple[int, int], row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, cols - col) <= radius


def probabilities(is_chondrule: np.ndarray) -> np.ndarray:
    share = np.full((len(CLASSES), *is_chondrule.shape), 0.02, np.float16)
    share[2] = np.where(is_chondrule, 0.9, 0.1)
    share[3] = np.where(is_chondrule, 0.06, 0.86)
    return share


@pytest.mark.parametrize("height", [1, 7, 40, 300])
def test_empty_fields_are_the_same_whatever_the_bands(height: int) -> None:
    image = np.ones((2, 300, 12), np.float32)
    image[:, 10:12, 2:10] = 0  # 16 px: real zeros
    image[:, 50:75, :12] = 0  # a field
    image[:, 75:85, 4:8] = 0  # its ragged margin, of which 5 px belong to it
    image[:, 120:290, 5] = 0  # a crack
    image[:, 100:115:2] = 0  # zeros of low counts that touch
    image[0, 20:40, :] = 0  # one channel only
    image[:, 60, 2] = np.nan
    found = np.zeros((300, 12), bool)
    for row in range(0, 300, height):
        window = Window(row, 0, min(height, 300 - row), 12)
        found[window.slices] = empty_field(lambda w: image[(slice(None), *w.slices)], window, (300, 12))
    expected = np.zeros((300, 12), bool)
    expected[50:75] = True
    expected[75:80, 4:8] = True
    np.testing.assert_array_equal(found, expected)


def test_cracks_up_to_2_px_belong_to_their_host() -> None:
    is_hole = np.zeros((20, 30), bool)
    is_hole[3:5, 2:28] = True
    is_hole[10:13, 2:28] = True
    found = wide_holes(is_hole)
    assert not found[:8].any()
    np.testing.assert_array_equal(found[8:], is_hole[8:])


def test_coarse_chondrules_are_drawn_with_smooth_outlines_and_matching_ids() -> None:
    coarse = disc((24, 36), 11.5, 9.5, 6.2) | disc((24, 36), 11.5, 25.5, 6.2)
    grid = Regrid.onto((96, 144), (1.0, 1.0), 4.0)
    maps = make_component_maps(probabilities(coarse), None, CLASSES, LEGEND, back=grid.inverse())
    components, objects = maps.draw(Window.whole((96, 144)))
    assert maps.n_objects == 2
    np.testing.assert_array_equal(components == CHONDRULE, objects > 0)
    np.testing.assert_allclose(np.bincount(objects.ravel())[1:], np.pi * (6.2 * 4) ** 2, rtol=0.06)
    bands = [maps.draw(Window(row, 0, 32, 144))[1] for row in range(0, 96, 32)]
    np.testing.assert_array_equal(np.concatenate(bands), objects)


def test_a_class_that_other_evidence_decides_is_not_drawn() -> None:
    share = probabilities(np.zeros((20, 30), bool))
    share[0] = 0.95
    maps = make_component_maps(
        share, None, CLASSES, LEGEND, back=Regrid((20, 30), (20, 30), (1.0, 1.0)), known=("outside",)
    )
    assert set(np.unique(maps.draw(Window.whole((20, 30)))[0])) == {MATRIX}


def test_what_is_too_small_to_be_an_object_is_not_chondrule() -> None:
    share = probabilities(disc((20, 30), 10, 10, 1.5))
    maps = make_component_maps(share, None, CLASSES, LEGEND, back=Regrid((20, 30), (20, 30), (1.0, 1.0)))
    components, objects = maps.draw(Window.whole((20, 30)))
    assert not objects.any()
    assert set(np.unique(components)) == {MATRIX}


def test_a_pit_is_taken_out_but_a_crack_does_not_split_a_chondrule() -> None:
    inside = disc((60, 60), 30, 30, 25)
    pit, crack = disc((60, 60), 30, 30, 4), np.zeros((60, 60), bool)
    crack[28:32] = True
    kept, keeps_holes = settle_object(inside, pit)
    assert not keeps_holes
    np.testing.assert_array_equal(kept, inside & ~pit)
    kept, keeps_holes = settle_object(inside, crack)
    assert keeps_holes
    np.testing.assert_array_equal(kept, inside)


def test_settled_objects_are_connected_and_agree_with_the_components() -> None:
    rng = np.random.default_rng(5)
    objects = np.where(disc((80, 90), 30, 30, 20), 1, 0) + np.where(disc((80, 90), 55, 70, 12), 3, 0)
    objects[5, 80:84] = 3
    objects = objects.astype(np.int32)
    components = np.where(objects > 0, CHONDRULE, MATRIX).astype(np.uint8)
    components[:, :4] = OUTSIDE
    holes = ndi.binary_opening(rng.random((80, 90)) < 0.75, np.ones((3, 3)))
    before = holes & (components != OUTSIDE)
    assert settle_objects(objects, components, holes, LEGEND) == 2
    np.testing.assert_array_equal(objects > 0, components == CHONDRULE)
    assert [ndi.label(objects == index, np.ones((3, 3)))[1] for index in (1, 2)] == [1, 1]
    assert np.all((components == HOLE) <= before)
    assert np.all(components[:, :4] == OUTSIDE)
    assert set(components[5, 80:84]) <= {MATRIX, HOLE}


def test_epoxy_at_the_border_is_outside_and_elsewhere_a_hole() -> None:
    share = probabilities(np.zeros((60, 80), bool))
    epoxy = np.zeros((60, 80), bool)
    epoxy[:, :20] = True  # the mount
    epoxy[30:40, 40:50] = True  # a pit
    epoxy[:4, 70:74] = True  # a pit that the border cuts
    share[:, epoxy] = 0.01
    share[CLASSES.index("hole"), epoxy] = 0.97
    grid = Regrid.onto((60, 80), (4.0, 4.0), 4.0)
    components, _ = make_component_maps(share, None, CLASSES, LEGEND, back=grid.inverse()).draw(Window.whole((60, 80)))
    assert set(np.unique(components[:, :19])) == {LEGEND["outside"].id}
    assert set(np.unique(components[31:39, 41:49])) == {LEGEND["hole"].id}
    assert set(np.unique(components[:3, 71:73])) == {LEGEND["hole"].id}


@pytest.mark.parametrize("band_px", [40, 4_000_000])
def test_objects_that_are_mostly_opaque_are_nodules(monkeypatch, band_px):
    monkeypatch.setattr(labelling, "BAND_PX", band_px)
    components, phases = default_legend("components"), default_legend("phases")
    objects = np.zeros((9, 14), np.int32)
    objects[1:8, 1:4], objects[1:8, 5:8], objects[1:8, 9:13] = 1, 2, 3
    component = np.where(objects > 0, components["chondrule"].id, components["matrix"].id).astype(np.uint8)
    phase = np.full(objects.shape, phases["olivine"].id, np.uint8)
    phase[1:8, 1:3] = phases["kamacite"].id
    phase[1:8, 5] = phases["troilite"].id
    # Half of what is solid, and no more, is opaque.
    phase[1:8, 9], phase[1:8, 10:12] = phases["troilite"].id, phases["hole"].id
    opaque, apart = [phases[name].id for name in ("kamacite", "troilite")], [phases["hole"].id]
    assert labelling.part_nodules(objects, component, phase, components, opaque=opaque, apart=apart) == 1
    assert np.unique(objects).tolist() == [0, 2, 3]
    assert set(component[1:8, 1:4].ravel()) == {components["metal-sulfide nodule"].id}
    assert set(component[objects > 0]) == {components["chondrule"].id}
