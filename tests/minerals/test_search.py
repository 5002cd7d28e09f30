"""The quick search equals the exhaustive one; tiles, threads and the rejection of what no template explains."""

import time
from dataclasses import replace

import numpy as np
import pytest

from meteoseg.errors import InputError
from meteoseg.legend import default_legend
from meteoseg.mineraldata import minerals
from meteoseg.minerals import Calibration, ChannelResponse, ClassifierSettings, PhaseClassifier
from meteoseg.minerals.classifier import Identified
from meteoseg.minerals.likelihood import first_highest, score
from meteoseg.minerals.parallel import cores_at_hand, over_tiles
from meteoseg.minerals.search import LEAST_LOG_RATIO
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.minerals.smoothing import Pairs, smooth_posterior

NAMES = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
CALIBRATION = Calibration({name: ChannelResponse(WDS_SENSITIVITY[name], 0.2, 0.02, relative_sd=0.03) for name in NAMES})
LEGEND = default_legend("phases")


@pytest.fixture(scope="module")
def classifier():
    return PhaseClassifier.from_calibration(CALIBRATION, NAMES)


def drawn_pixels(classifier, shape, *, seed=3, wider=1.0):
    """Counts (C, *shape) of templates and mixtures drawn at random."""
    rng = np.random.default_rng(seed)
    moments = classifier.search.moments
    row = rng.integers(0, len(moments.mean), shape)
    values = moments.mean[row] + wider * np.sqrt(moments.variance[row]) * rng.standard_normal((*shape, len(NAMES)))
    return np.moveaxis(np.maximum(values, 0).round(), -1, 0).astype(np.float32)


def mineral_counts(name, shape, *, seed=5):
    counts = CALIBRATION.predict_counts(minerals()[name].composition_wt_pct)
    rng = np.random.default_rng(seed)
    return np.stack([rng.poisson(counts[element], shape) for element in NAMES]).astype(np.float32)


def as_planes(pairs, of_pairs, shape, *, elsewhere=0.0):
    """What is known of pairs as (K, N)."""
    planes = np.full(shape, elsewhere, np.float32)
    planes[pairs.phase, pairs.pixel] = of_pairs
    return planes


def softmax_of_planes(logits):
    shares = np.exp(logits - logits.max(axis=0))
    return shares / shares.sum(axis=0)


def smoothed_planes(logits, coupling):
    """One exchange with the eight neighbours, written down plainly for all phases (K, H, W)."""
    padded = np.pad(softmax_of_planes(logits), ((0, 0), (1, 1), (1, 1)))
    rows, cols = logits.shape[1:]
    offsets = [(row, col) for row in range(3) for col in range(3) if (row, col) != (1, 1)]
    near = sum(padded[:, row : row + rows, col : col + cols] for row, col in offsets)
    return softmax_of_planes(logits + coupling * near)


@pytest.mark.parametrize("wider", [1.0, 1.6])
def test_search_finds_what_comparing_with_every_template_finds(classifier, wider):
    values = drawn_pixels(classifier, (20_000,), wider=wider)
    found, every = classifier.search.find(values), classifier.search.find_exhaustively(values)
    phase_of = classifier.search.moments.phase_of
    assert np.mean(phase_of[found.best] != phase_of[every.best]) < 0.001
    assert np.mean(found.best != every.best) < 0.005
    same = found.best == every.best
    np.testing.assert_allclose(found.misfit[same], every.misfit[same], rtol=1e-3, atol=1e-3)


def test_exhaustive_search_is_the_plain_likelihood_cut_off_far_below_the_best(classifier):
    values = drawn_pixels(classifier, (500,))
    plain = score(values, classifier.search.moments)
    log_ratio = plain.log_likelihood - plain.log_likelihood.max(axis=0)
    every = classifier.search.find_exhaustively(values)
    found = as_planes(every.pairs, every.pairs.log_ratio, log_ratio.shape, elsewhere=-np.inf)
    kept = log_ratio >= -LEAST_LOG_RATIO
    np.testing.assert_allclose(found[kept], log_ratio[kept], rtol=1e-5, atol=2e-3)
    assert np.mean(np.isfinite(found) == kept) > 0.999
    assert np.array_equal(every.best, plain.best)


def test_first_highest_is_argmax_for_few_and_many_rows():
    rng = np.random.default_rng(1)
    for rows in (3, 255, 256, 700):
        table = rng.integers(0, 5, (rows, 40)).astype(np.float32)
        assert np.array_equal(first_highest(table), table.argmax(axis=0))


def test_labels_do_not_depend_on_tiles_threads_or_bands(classifier, monkeypatch):
    values = drawn_pixels(classifier, (150, 601))  # four tiles
    one = classifier.identify(values, NAMES, threads=1)
    three = classifier.identify(values, NAMES, threads=3)
    assert np.array_equal(one.labels, three.labels)
    assert np.array_equal(one.mixed, three.mixed)
    np.testing.assert_array_equal(one.probability, three.probability)
    band = classifier.identify(values[:, 69:120], NAMES)
    assert np.array_equal(band.labels[1:-1], one.labels[70:119])
    np.testing.assert_allclose(band.probability[1:-1], one.probability[70:119], atol=1e-4)
    monkeypatch.setattr("meteoseg.minerals.search._TABLE_SIZE", 5000)
    monkeypatch.setattr("meteoseg.minerals.parallel._TILE_ROWS", 11)
    monkeypatch.setattr("meteoseg.minerals.parallel._TILE_COLS", 37)
    small = classifier.identify(values, NAMES)
    assert np.array_equal(small.labels, one.labels)
    np.testing.assert_allclose(small.probability, one.probability, atol=1e-4)


@pytest.mark.parametrize("shape", [(23, 41), (1, 9), (6, 1)])
@pytest.mark.parametrize("coupling", [0.0, 0.5, 30.0])
def test_smoothing_of_pairs_is_smoothing_of_all_phases(shape, coupling):
    rng = np.random.default_rng(4)
    logits = np.where(rng.random((7, *shape)) < 0.3, -8 * rng.random((7, *shape)), -np.inf).astype(np.float32)
    logits[3] = np.where(np.isfinite(logits).any(axis=0), logits[3], 0)
    logits -= logits.max(axis=0)
    phase, pixel = np.nonzero(np.isfinite(logits.reshape(7, -1)))
    shuffled = np.lexsort((phase, rng.permutation(logits[0].size)[pixel]))
    pairs = Pairs(pixel[shuffled], phase[shuffled], logits.reshape(7, -1)[phase, pixel][shuffled])
    posterior = smooth_posterior(pairs, shape, coupling=coupling)
    found = as_planes(pairs, posterior, (7, logits[0].size)).reshape(logits.shape)
    np.testing.assert_allclose(found, smoothed_planes(logits, coupling), atol=2e-5)


def test_map_is_named_as_by_every_template_and_all_phases(classifier):
    values = drawn_pixels(classifier, (140, 61))
    logits = score(values.reshape(len(NAMES), -1), classifier.search.moments).log_likelihood
    logits[logits < logits.max(axis=0) - LEAST_LOG_RATIO] = -np.inf
    every = smoothed_planes(logits.reshape(-1, 140, 61), classifier.settings.coupling)
    posterior = classifier.posterior(values, NAMES)
    assert np.mean(posterior.argmax(axis=0) != every.argmax(axis=0)) < 0.001
    assert np.mean(np.abs(posterior - every).max(axis=0) > 1e-3) < 0.01


def test_posterior_sums_to_one_and_its_highest_is_the_label(classifier):
    values = drawn_pixels(classifier, (70, 33))
    posterior, found = classifier.posterior(values, NAMES), classifier.identify(values, NAMES)
    assert posterior.shape == (len(classifier.templates.phases), 70, 33)
    np.testing.assert_allclose(posterior.sum(axis=0), 1, atol=1e-5)
    named = found.labels != LEGEND["unclassified"].id
    ids = np.array([LEGEND[name].id for name in classifier.templates.phases])
    assert named.mean() > 0.9
    assert np.array_equal(ids[posterior.argmax(axis=0)][named], found.labels[named])
    np.testing.assert_allclose(posterior.max(axis=0)[named], found.probability[named], atol=1e-6)


def test_posterior_of_pixels_by_themselves_is_calibrated(classifier):
    """Of pixels drawn as the priors say, as many are right as the probabilities promise."""
    moments = classifier.search.moments
    rng = np.random.default_rng(8)
    share = np.exp(moments.log_prior) / np.exp(moments.log_prior).sum()
    row = rng.choice(len(share), 30_000, p=share)
    noise = rng.standard_normal((len(row), len(NAMES)))
    values = (moments.mean[row] + np.sqrt(moments.variance[row]) * noise).T.astype(np.float32)[:, None]
    alone = classifier.with_settings(ClassifierSettings(coupling=0.0))
    posterior = alone.posterior(values, NAMES)[:, 0]
    right = posterior.argmax(axis=0) == moments.phase_of[row]
    assert posterior.max(axis=0).mean() == pytest.approx(right.mean(), abs=0.03)


def test_mixtures_are_marked_at_grain_boundaries_only(classifier):
    olivine, metal = mineral_counts("olivine Fa10", (20, 7)), mineral_counts("kamacite (Ni 5, Co 0.5)", (20, 7), seed=6)
    between = np.rint(0.6 * olivine[:, :, :1] + 0.4 * metal[:, :, :1])
    found = classifier.identify(np.concatenate([olivine, between, metal], axis=2), NAMES)
    assert found.mixed[:, 7].mean() > 0.9
    assert found.mixed[:, [*range(6), *range(9, 15)]].mean() < 0.05


def test_as_many_pixels_of_known_minerals_are_lost_as_stated(classifier):
    values = np.concatenate(
        [mineral_counts(name, (60, 80)) for name in ("olivine Fa10", "troilite", "diopside", "spinel")], axis=2
    )
    for share in (0.01, 0.001):
        settled = classifier.with_settings(ClassifierSettings(lost_share=share))
        lost = np.mean(settled.identify(values, NAMES).labels == LEGEND["unclassified"].id)
        assert lost < 2 * share
    strict, mild = (
        classifier.with_settings(ClassifierSettings(lost_share=share)).misfit_bound for share in (0.01, 0.001)
    )
    assert 1.5 < strict < mild < 6


def test_bound_of_quantified_maps_has_no_poisson_tail(classifier):
    noise = np.random.default_rng(2).normal(10, 0.5, (len(NAMES), 30, 31))
    values = (noise + np.linspace(0, 20, 31)).astype(np.float32)  # neighbours are alike: a map
    quantified = PhaseClassifier.from_wt_pct(values, NAMES)
    assert 1.5 < quantified.misfit_bound < classifier.misfit_bound


@pytest.mark.parametrize(
    ("phase", "mineral"), [("chromite", "chromite (OC)"), ("phosphate", "chlorapatite"), ("taenite", "taenite (Ni 30)")]
)
def test_a_mineral_that_is_not_in_the_list_becomes_unclassified(classifier, phase, mineral):
    others = tuple(name for name in classifier.templates.phases if name != phase)
    without = PhaseClassifier.from_calibration(CALIBRATION, NAMES, phases=others)
    values = mineral_counts(mineral, (15, 18))
    unknown = LEGEND["unclassified"].id
    assert np.mean(without.identify(values, NAMES).labels == unknown) > 0.5
    assert np.mean(classifier.identify(values, NAMES).labels == unknown) < 0.02


def test_bad_options_are_refused(classifier):
    with pytest.raises(InputError, match="A lost share of 1 is not possible"):
        _ = classifier.with_settings(ClassifierSettings(lost_share=1)).misfit_bound
    with pytest.raises(InputError, match="0 threads cannot work"):
        classifier.identify(np.ones((len(NAMES), 4, 5), np.float32), NAMES, threads=0)


def test_what_a_tile_raises_arrives(monkeypatch):
    def work(tile):
        raise ValueError(f"tile at {tile.row}")

    with pytest.raises(ValueError, match="tile at 0"):
        over_tiles((200, 300), work, threads=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cores_at_hand() == 1


def test_ctrl_c_does_not_wait_for_the_tiles_to_come():
    begun = []

    def work(tile):
        begun.append(tile)
        if len(begun) == 1:
            raise KeyboardInterrupt
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        over_tiles((128 * 60, 512), work, threads=2)
    assert len(begun) < 30


def test_settings_change_the_search_and_bound_of_a_copy_only(classifier):
    few = replace(classifier, kept=np.arange(len(classifier.search.moments.mean)) < 1e9)
    assert few.search is not classifier.search
    empty = Identified.empty((2, 3))
    assert not empty.labels.any()
    assert empty.mixed.shape == (2, 3)
