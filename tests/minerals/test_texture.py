"""What a network sees as fine-grained matrix is weighed with the counts."""

import numpy as np
import pytest

from meteoseg.legend import MATRIX, default_legend
from meteoseg.mineraldata import minerals
from meteoseg.minerals import Calibration, ChannelResponse, ClassifierSettings, PhaseClassifier
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.minerals.smoothing import Pairs
from meteoseg.minerals.texture import weigh_texture

NAMES = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
CALIBRATION = Calibration({name: ChannelResponse(WDS_SENSITIVITY[name], 0.2, 0.02, relative_sd=0.03) for name in NAMES})
MATRIX_ID = default_legend("phases")[MATRIX].id


@pytest.fixture(scope="module")
def classifier():
    return PhaseClassifier.from_calibration(CALIBRATION, NAMES)


@pytest.fixture(scope="module")
def doubtful(classifier):
    """Counts (C, 90, 300) between those of a matrix and of olivine, and metal in the last rows."""
    moments = classifier.search.moments
    rows = [np.flatnonzero(moments.phase_of == classifier.templates.phases.index(name)) for name in (MATRIX, "olivine")]
    share = np.linspace(0, 1, 300)
    matrix = moments.mean[rows[0][0]]
    olivine = moments.mean[rows[1][np.argmin(((moments.mean[rows[1]] - matrix) ** 2).sum(axis=1))]]
    mean = np.broadcast_to((matrix[:, None] * share + olivine[:, None] * (1 - share))[:, None], (len(NAMES), 90, 300))
    counts = np.random.default_rng(4).poisson(mean).astype(np.float32)
    metal = CALIBRATION.predict_counts(minerals()["kamacite (Ni 5, Co 0.5)"].composition_wt_pct)
    counts[:, 80:] = np.array([metal[name] for name in NAMES])[:, None, None]
    return counts


def test_texture_decides_where_the_counts_allow_both(classifier, doubtful):
    shape = doubtful.shape[1:]
    counts_alone = classifier.identify(doubtful, NAMES).labels[:80] == MATRIX_ID
    seen = classifier.identify(doubtful, NAMES, texture=np.full(shape, 0.95, np.float32)).labels[:80] == MATRIX_ID
    unseen = classifier.identify(doubtful, NAMES, texture=np.full(shape, 0.05, np.float32)).labels[:80] == MATRIX_ID
    assert 0.2 < counts_alone.mean() < 0.8
    assert seen.mean() > counts_alone.mean() + 0.1
    assert unseen.mean() < counts_alone.mean() - 0.1
    assert (seen >= counts_alone).all()
    assert (unseen <= counts_alone).all()


def test_texture_cannot_make_matrix_of_metal(classifier, doubtful):
    texture = np.full(doubtful.shape[1:], 0.999, np.float32)
    metal = classifier.identify(doubtful, NAMES, texture=texture).labels[81:]
    assert (metal == default_legend("phases")["kamacite"].id).all()


def test_posterior_with_texture_sums_to_one_and_keeps_the_odds_of_the_others(classifier, doubtful):
    texture = np.random.default_rng(8).random(doubtful.shape[1:]).astype(np.float32)
    before, after = classifier.posterior(doubtful, NAMES), classifier.posterior(doubtful, NAMES, texture=texture)
    np.testing.assert_allclose(after.sum(axis=0), 1, atol=1e-4)
    others = np.arange(len(before)) != classifier.templates.phases.index(MATRIX)
    odds = before[others] / np.maximum(before[others].sum(axis=0), 1e-6)
    open_ = (before[others].sum(axis=0) > 1e-3) & (after[others].sum(axis=0) > 1e-3)
    np.testing.assert_allclose(
        (after[others] / np.maximum(after[others].sum(axis=0), 1e-6))[:, open_], odds[:, open_], atol=1e-3
    )


def test_labels_with_texture_do_not_depend_on_tiles(classifier, doubtful, monkeypatch):
    texture = np.random.default_rng(9).random(doubtful.shape[1:]).astype(np.float32)
    whole = classifier.identify(doubtful, NAMES, texture=texture)
    monkeypatch.setattr("meteoseg.minerals.parallel._TILE_ROWS", 13)
    monkeypatch.setattr("meteoseg.minerals.parallel._TILE_COLS", 41)
    tiled = classifier.identify(doubtful, NAMES, texture=texture)
    assert np.array_equal(whole.labels, tiled.labels)
    assert np.array_equal(whole.mixed, tiled.mixed)


def test_even_odds_of_the_texture_leave_a_tenth_of_the_counts_say():
    pairs = Pairs(np.array([0, 0, 1, 2]), np.array([3, 7, 7, 3]), np.zeros(4, np.float32))
    posterior = np.array([0.2, 0.8, 1.0, 1.0], np.float32)
    weigh_texture(posterior, pairs, 7, np.array([0.5, 0.01, 0.99]))
    expected = 4**0.1 / (1 + 4**0.1)
    np.testing.assert_allclose(posterior, [1 - expected, expected, 1, 1], atol=1e-5)


def test_texture_is_of_no_use_without_matrix_or_neighbours(classifier):
    assert classifier.knows_matrix
    assert not classifier.with_settings(ClassifierSettings(coupling=0)).knows_matrix
    assert not PhaseClassifier.from_calibration(CALIBRATION, NAMES, phases=("olivine", "kamacite")).knows_matrix
