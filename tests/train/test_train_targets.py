import numpy as np
import pytest
from training_examples import make_config, write_example

from meteoseg.resample import Regrid
from meteoseg.train.dataset import Crops, load_example
from meteoseg.train.targets import IGNORE, coarsen, labelled_places, target_plane

SCRIBBLED = (72, 104)


def scribbles():
    """A line of one pixel through the chondrule, and three pixels of matrix in a corner."""
    labels = np.full(SCRIBBLED, IGNORE, np.uint8)
    labels[36, 30:50] = 2
    labels[70, 101:104] = 7
    return labels


@pytest.fixture
def sparse(tmp_path):
    write_example(tmp_path / "a", components=scribbles())
    return tmp_path


def test_thin_scribbles_survive_a_coarser_grid():
    grid = Regrid.onto(SCRIBBLED, (1.0, 1.0), 5.0)
    coarse = coarsen(scribbles(), grid)
    assert coarse.shape == (15, 21)
    assert (coarse[7, 6:10] == 2).all()
    assert coarse[14, 20] == 7
    assert (coarse != IGNORE).sum() == 5


def test_whole_label_images_are_taken_by_nearest_pixel():
    labels = np.random.default_rng(0).integers(0, 8, (40, 60)).astype(np.uint8)
    grid = Regrid.onto((40, 60), (1.0, 1.0), 4.0)
    np.testing.assert_array_equal(coarsen(labels, grid), labels[2::4, 2::4])


def test_scribbles_on_a_finer_grid_are_repeated():
    fine = coarsen(scribbles(), Regrid.onto(SCRIBBLED, (2.0, 2.0), 1.0))
    assert (fine != IGNORE).sum() == 4 * 23


def test_distance_is_unknown_where_objects_are():
    objects = np.zeros((20, 30), int)
    objects[5:15, 5:15] = 1
    objects[5:15, 20:28] = -1
    plane = target_plane("distance", objects, Regrid((20, 30), (20, 30), (1.0, 1.0)))
    assert (plane[5:15, 20:28] == IGNORE).all()
    assert (plane[5:15, 5:15] != IGNORE).all()
    assert (plane[:5] == 0).all()


def test_crops_of_scribbles_hit_labels_and_both_classes(sparse):
    config = make_config(sparse, top='layers = ["components"]', data='sections = ["a"]\nholdout = "block"')
    crops = Crops([load_example(sparse / "a", config)], config)
    found = [set(np.unique(crops.crop(number)[1])) - {IGNORE} for number in range(40)]
    assert all(found)
    assert 10 <= sum(7 in classes for classes in found) <= 30


def test_crops_of_scribbles_depend_on_their_number_alone(sparse):
    config = make_config(sparse, top='layers = ["components"]', data='sections = ["a"]\nholdout = "block"')
    example = load_example(sparse / "a", config)
    first, again = Crops([example], config).crop(11), Crops([example], config).crop(11)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], Crops([example], config).crop(12)[0])


def test_dense_examples_are_cropped_anywhere():
    assert labelled_places(np.zeros((10, 12, 2), np.uint8), ["components", "distance"]) is None


def test_places_are_those_of_classes_where_distances_are_known_too():
    targets = np.full((10, 12, 2), IGNORE, np.uint8)
    targets[2, 3:6, 0] = 4
    targets[2:4, 3:6, 1] = np.arange(3)
    places = labelled_places(targets, ["components", "distance"])
    assert [place.tolist() for place in places] == [[27, 28, 29]]
