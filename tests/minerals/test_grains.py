"""Grains are the same whole as in bands, lie in one object and one phase, and lose their edges."""

import numpy as np
import pytest
from scipy import ndimage

from meteoseg.minerals.grains import GrainCollector, core_pixels


def scene(seed=4, shape=(60, 83)):
    rng = np.random.default_rng(seed)
    phases = np.asarray(ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0, np.uint8) + 1
    objects = np.zeros(shape, np.int32)
    objects[10:50, 5:40] = 7
    values = rng.poisson(30, (2, *shape)).astype(float)
    return phases, objects, values


def collect(phases, objects, values, height):
    collector = GrainCollector(len(values), 5)
    rows = len(phases)
    for start in range(0, rows, height):
        top, bottom = max(0, start - 2), min(rows, start + height + 2)
        inner = slice(start - top, min(start + height, rows) - top)
        core = core_pixels(phases[top:bottom], objects[top:bottom], [1, 2], edge_px=2)[inner]
        part = slice(start, start + height)
        collector.add(core, phases[part], objects[part], values[:, part])
    return collector.finish()


@pytest.mark.parametrize("height", [1, 2, 7, 16, 59])
def test_bands_give_the_same_grains_as_the_whole(height):
    whole, parts = collect(*scene(), 60), collect(*scene(), height)

    def rows(grains):
        columns = (grains.n_px, grains.phase, grains.chondrule, grains.row_px, grains.col_px, *grains.sums)
        return np.array(sorted(zip(*columns, strict=True)))

    assert len(whole.n_px) > 5
    np.testing.assert_allclose(rows(parts), rows(whole))


def test_sums_and_labels_are_those_of_the_cores():
    phases, objects, values = scene()
    grains = collect(phases, objects, values, 60)
    core = core_pixels(phases, objects, [1, 2], edge_px=2)
    labels, n_parts = ndimage.label(core, np.ones((3, 3)))
    kept = [part for part in range(1, n_parts + 1) if (labels == part).sum() >= 5]
    assert grains.n_px.sum() == sum((labels == part).sum() for part in kept)
    assert sorted(grains.sums[0]) == sorted(values[0][labels == part].sum() for part in kept)
    for part in kept:
        assert len(np.unique(phases[labels == part])) == len(np.unique(objects[labels == part])) == 1
    assert set(grains.chondrule) == {0, 7}


def test_a_u_shaped_grain_is_one_grain_when_its_arms_meet_in_a_later_band():
    phases = np.zeros((30, 40), np.uint8)
    phases[2:28, 3:12] = phases[2:28, 25:34] = phases[20:28, 3:34] = 2
    collector = GrainCollector(0, 1)
    core = core_pixels(phases, None, [2], edge_px=2)
    for row in range(0, 30, 5):
        collector.add(core[row : row + 5], phases[row : row + 5], None, np.empty((0, 5, 40)))
    grains = collector.finish()
    assert grains.n_px.tolist() == [core.sum()]
    assert grains.row_px[0] == pytest.approx(np.nonzero(core)[0].mean())


def test_no_grain_at_all():
    collector = GrainCollector(1, 5)
    collector.add(np.zeros((3, 4), bool), np.zeros((3, 4), np.uint8), None, np.zeros((1, 3, 4)))
    assert collector.finish().sums.shape == (1, 0)
