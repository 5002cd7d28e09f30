"""Particles in liquid argon: published numbers, laws of conservation, pixels, files, bad input."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from meteoseg.errors import InputError, UnknownNameError

FOLDER = Path(__file__).parents[2] / "experiments" / "neutrino_particles"


@pytest.fixture
def load(monkeypatch):
    """Import a script of the experiment by its name; such names are forgotten after the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for script in FOLDER.glob("*.py"):
        monkeypatch.delitem(sys.modules, script.stem, raising=False)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(FOLDER) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def follow(load):
    """Follow n particles of a class and energy along a direction; returns their deposits."""
    events = load("events")

    def run(name, kinetic, n=40, direction=(0.0, 0.6, 0.8), seed=1):
        labels = np.full(n, events.class_number(name))
        primaries = events.Primaries(labels, np.full(n, float(kinetic)), np.tile(np.array(direction, float), (n, 1)))
        return events.deposits_of(primaries, np.random.default_rng(seed))

    return run


def places(deposits):
    """Distance of deposits along the direction of `follow`, and aside from it (cm)."""
    along = deposits.place @ np.array([0.0, 0.6, 0.8])
    return along, np.linalg.norm(deposits.place - along[:, None] * np.array([0.0, 0.6, 0.8]), axis=1)


# Muons in argon, kinetic energy (MeV) and range (g/cm2): Groom, Mokhov and Striganov 2001, table 289 (PDG).
MUON_RANGES = ((14.0, 1.786), (40.0, 10.58), (100.0, 42.5), (200.0, 106.3), (400.0, 238.5), (1000.0, 616.3))


@pytest.mark.parametrize(("kinetic", "expected"), MUON_RANGES)
def test_muon_ranges_are_those_of_the_tables(load, kinetic, expected):
    argon = load("argon")
    found = argon.csda_range(np.array([kinetic]), argon.M_MU)[0] * argon.medium("density_g_cm3")
    assert found == pytest.approx(expected, rel=0.007)


def test_least_ionisation_and_recombination(load):
    argon = load("argon")
    energies = np.linspace(100, 600, 501)
    loss = argon.collision_loss(energies, argon.M_MU)
    assert loss.min() / argon.medium("density_g_cm3") == pytest.approx(1.508, abs=0.004)  # PDG, at 266 MeV
    assert energies[loss.argmin()] == pytest.approx(266, abs=15)
    assert argon.recombination(np.array([2.1, 10.0])) == pytest.approx([0.70, 0.45], abs=0.01)


def test_loss_below_a_cut_grows_to_the_whole_loss(load):
    argon = load("argon")
    for mass in (argon.M_E, argon.M_MU, argon.M_P):
        cuts = [argon.collision_loss(np.array(300.0), mass, cut) for cut in (0.05, 0.5, np.inf)]
        assert cuts[0] < cuts[1] < cuts[2]


def test_photons_are_attenuated_as_tabulated(load):
    tables = load("radiation").radiation_tables()
    density = load("argon").medium("density_g_cm3")
    found = [sum(t.at(np.array(e)) for t in (tables.pair, tables.compton, tables.photoelectric)) for e in (1.0, 10.0)]
    assert np.array(found) / density == pytest.approx([0.0576, 0.0258], rel=0.05)  # XCOM, cm2/g, from memory
    high = tables.pair.at(np.array(2900.0)) * load("argon").medium("radiation_length_cm")
    assert high == pytest.approx(7 / 9, rel=0.06)


@pytest.mark.parametrize(("name", "kinetic", "tolerance"), [("electron", 300, 0.06), ("proton", 60, 0.12)])
def test_energy_is_kept(follow, name, kinetic, tolerance):
    deposits = follow(name, kinetic)
    assert deposits.energy.min() >= 0
    per_event = np.bincount(deposits.event, deposits.energy, 40)
    assert per_event.max() <= kinetic * 1.02
    assert np.median(per_event) == pytest.approx(kinetic, rel=tolerance)


def test_muons_stop_at_their_range_with_a_bragg_rise(load, follow):
    deposits = follow("muon", 100, n=30)
    along, aside = places(deposits)
    expected = 42.5 / 1.396
    slow = (deposits.loss > 6) & (aside < 3)
    ends = [along[(deposits.event == event) & slow].max(initial=0) for event in range(30)]
    assert np.median(ends) == pytest.approx(0.95 * expected, rel=0.08)  # scattering bends the track
    start = deposits.loss[along < 5].mean()
    end = deposits.loss[(along > expected - 2) & (along < expected)].mean()
    assert end > 1.8 * start


@pytest.mark.parametrize(("kind", "kinetic", "steps"), [("mu-", 200.0, 100), ("p", 200.0, 60), ("pi+", 200.0, 100)])
def test_steps_add_up_to_the_range(load, kind, kinetic, steps):
    argon, tracks, particles = load("argon"), load("tracks"), load("particles")
    n, number = 400, argon.kind_index(kind)
    moving = particles.Particles(
        np.arange(n), np.full(n, number), np.full(n, kinetic), np.zeros((n, 3)), np.tile([0.0, 0.0, 1.0], (n, 1)),
        np.zeros(n),
    )  # fmt: skip
    rng = np.random.default_rng(6)
    for _ in range(steps):
        moving, _made = tracks.advance(moving, particles.Ledger(), 1e6, rng)
    grid = np.linspace(5.0, kinetic, 2000)
    ranges = argon.csda_range(grid, argon.MASS[number])
    left = np.interp(ranges[-1] - steps * tracks.STEP_CM, ranges, grid)
    assert np.median(moving.kinetic) == pytest.approx(left, abs=0.012 * (kinetic - left) + 0.5)


def test_photons_begin_with_a_gap_and_twice_the_charge(follow):
    starts, losses = {}, {}
    for name in ("electron", "photon"):
        deposits = follow(name, 600, n=150)
        along, aside = places(deposits)
        along = np.where((deposits.energy > 0.1) & (aside < 0.5), along, np.inf)
        first = np.array([along[deposits.event == event].min() for event in range(150)])
        starts[name] = np.median(first)
        near = (along > first[deposits.event] + 0.3) & (along < first[deposits.event] + 2.3)
        losses[name] = np.median(np.bincount(deposits.event[near], deposits.energy[near], 150)) / 2.0
    assert starts["electron"] < 0.3
    assert 7 < starts["photon"] < 20  # median of an exponential of about 9/7 of 14 cm
    assert losses["photon"] > 1.5 * losses["electron"]
    assert losses["electron"] == pytest.approx(2.1, rel=0.2)


def test_stopped_muons_decay_or_are_captured(load):
    hadrons, particles, argon = load("hadrons"), load("particles"), load("argon")
    n = 4000
    kinds = np.repeat([argon.MU_MINUS, argon.MU_PLUS], n // 2)
    ended = particles.Particles(
        np.arange(n), kinds, np.zeros(n), np.zeros((n, 3)), np.tile([0.0, 0.0, 1.0], (n, 1)), np.zeros(n)
    )
    made = hadrons.at_rest(ended, np.random.default_rng(2))
    positrons, electrons = made.take(made.kind == argon.POSITRON), made.take(made.kind == argon.ELECTRON)
    assert len(positrons) == n // 2
    assert len(electrons) / (n // 2) == pytest.approx(0.537 / 2.197, abs=0.03)
    assert positrons.kinetic.max() < 52.4
    assert positrons.kinetic.mean() == pytest.approx(0.7 * 52.8, rel=0.03)  # mean of x^2 (3 - 2x) is 0.7
    assert positrons.delay_us.mean() == pytest.approx(2.197, rel=0.08)


def test_a_pion_decays_at_rest_to_a_muon_of_4_mev(load):
    hadrons, particles, argon = load("hadrons"), load("particles"), load("argon")
    pion = particles.Particles(
        np.zeros(1, int), np.array([argon.PI_PLUS]), np.full(1, 0.1), np.zeros((1, 3)), np.eye(3)[:1], np.zeros(1)
    )
    made = hadrons.at_rest(pion, np.random.default_rng(1))
    assert made.kind.tolist() == [argon.MU_PLUS]
    assert made.kinetic[0] == pytest.approx(4.12, abs=0.02)


def test_two_bodies_keep_energy_and_momentum(load):
    kinematics = load("kinematics")
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(50, 3)) * 200
    total = np.sqrt((vectors**2).sum(axis=1) + 1300.0**2)
    (e1, p1), (e2, p2) = kinematics.two_body(total, vectors, (139.57, 938.27), kinematics.isotropic(50, rng))
    np.testing.assert_allclose(e1 + e2, total)
    np.testing.assert_allclose(p1 + p2, vectors, atol=1e-6)
    np.testing.assert_allclose(e1**2 - (p1**2).sum(axis=1), 139.57**2, rtol=1e-6)
    turned = kinematics.rotated(kinematics.unit(vectors), np.full(50, 0.3), rng.uniform(0, 6, 50))
    np.testing.assert_allclose((turned * kinematics.unit(vectors)).sum(axis=1), 0.3, atol=1e-9)


def point(load, place, energy, n_events=1):
    """Deposits of one point of charge per event."""
    n = np.full(n_events, energy, np.float32)
    places = np.tile(np.array(place, np.float32), (n_events, 1))
    return load("particles").Deposits(np.arange(n_events), places, n, np.full(n_events, 2.1), n * 0)


def test_planes_share_the_drift_and_part_along_the_wires(load):
    readout = load("readout")
    deposits = load("particles").Deposits(
        np.zeros(2, int), np.array([[0, 0, 0], [3.0, 0, 30.0]], np.float32), np.full(2, 5, np.float32),
        np.full(2, 2.1), np.zeros(2),
    )  # fmt: skip
    image = readout.Wires(noise_mev=1e-6).images(deposits, 1, np.random.default_rng(1)).dense(0)
    for plane, expected in enumerate((50, 50, 100)):  # cos 60 = 1/2 of 30 cm on U and V, all of it on Y; 3 mm pitch
        rows, cols = np.nonzero(image[plane] > 0.2 * image[plane].max())
        assert np.ptp(cols) == pytest.approx(expected, abs=3)
        assert np.ptp(rows) == pytest.approx(10, abs=3)
    assert image.sum() / 3 == pytest.approx(10, rel=0.02)


def test_noise_pixels_are_as_frequent_as_the_threshold_says(load):
    readout = load("readout")
    deposits = point(load, (0, 0, 0), 1e-3, 30)
    images = readout.Wires(noise_mev=0.03, threshold_mev=0.09).images(deposits, 30, np.random.default_rng(2))
    assert images.values.min() >= 0.09
    assert images.places.size / (30 * 3 * 256**2) == pytest.approx(0.00135, rel=0.03)  # beyond 3 sigma


def test_axes_readout_is_that_of_the_public_files(load):
    readout = load("readout")
    images = readout.Axes().images(point(load, (0, 0, 0), 0.9), 1, np.random.default_rng(1))
    assert images.values.tolist() == pytest.approx([90, 90, 90], rel=1e-5)
    assert readout.Axes().images(point(load, (0, 0, 0), 0.04), 1, np.random.default_rng(1)).values.size == 0
    assert readout.Axes().images(point(load, (0, 0, 0), 9.0), 1, np.random.default_rng(1)).values.max() == 400
    deposits = load("particles").Deposits(
        np.zeros(2, int), np.array([[0, 0, 0], [5.0, 10.0, 20.0]], np.float32), np.full(2, 1, np.float32),
        np.full(2, 2.1), np.zeros(2),
    )  # fmt: skip
    image = readout.Axes().images(deposits, 1, np.random.default_rng(3)).dense(0)
    spans = [tuple(int(np.ptp(part)) for part in np.nonzero(plane)) for plane in image]
    assert spans == [(20, 10), (40, 20), (10, 40)]  # rows, cols: (y, x), (z, y), (x, z)


def test_shards_are_repeatable_and_hold_every_class(load, tmp_path):
    generate, shards = load("generate"), load("shards")
    job = next(iter(generate.jobs_of(tmp_path, 10, (0.0, 0.0, 1.0), 5, "wires")))
    assert (job.part, job.n_events) == ("test", 10)
    first, second = generate.simulate(job), generate.simulate(job)
    np.testing.assert_array_equal(first.images.values, second.images.values)
    shards.save_shard(tmp_path / "test" / "part-000.npz", first)
    back = shards.load_shards(tmp_path / "test")[0]
    assert sorted(back.labels) == sorted(load("events").CLASSES * 2)
    np.testing.assert_allclose(back.images.dense(3), first.images.dense(3), rtol=1e-3)
    assert back.images.dense(3).shape == (3, 256, 256)
    with np.load(tmp_path / "test" / "part-000.npz") as file:
        assert file["places"].dtype == np.int32
        assert len(set(file["groups"].tolist())) == 10


def test_other_seeds_and_parts_give_other_events(load, tmp_path):
    generate = load("generate")
    jobs = [
        generate.Job(tmp_path, part, 0, 5, seed, "axes") for part, seed in (("train", 1), ("test", 1), ("train", 2))
    ]
    energies = [generate.simulate(job).kinetic_mev.sum() for job in jobs]
    assert len({round(float(energy), 3) for energy in energies}) == 3


def test_bad_settings_are_one_line(load, tmp_path):
    generate, readout, events = load("generate"), load("readout"), load("events")
    with pytest.raises(InputError, match="three shares that sum to 1"):
        list(generate.jobs_of(tmp_path, 10, (0.5, 0.1, 0.1), 1, "wires"))
    with pytest.raises(InputError, match="too few"):
        list(generate.jobs_of(tmp_path, 2, (1.0, 0.0, 0.0), 1, "wires"))
    with pytest.raises(UnknownNameError, match="Did you mean 'wires'"):
        readout.readout_of("wire")
    with pytest.raises(InputError, match="Unknown class 'kaon'"):
        events.class_number("kaon")
    with pytest.raises(InputError, match="holds no shards"):
        load("shards").load_shards(tmp_path)


def test_events_of_larcv_files_are_checked(load):
    larcv = load("larcv")
    good = ([256] * 3, [256] * 3, [65536] * 3)
    larcv.check_planes("f.root, event 3", *good, 256)
    with pytest.raises(InputError, match="event 3 has 2 planes, 3 are needed"):
        larcv.check_planes("f.root, event 3", *(part[:2] for part in good), 256)
    with pytest.raises(InputError, match="plane 1 has 128 x 256 pixels"):
        larcv.check_planes("f.root, event 3", [256, 128, 256], *good[1:], 256)
    with pytest.raises(InputError, match="plane 2 holds 7 values"):
        larcv.check_planes("f.root, event 3", *good[:2], [65536, 65536, 7], 256)


def test_files_that_are_not_larcv_are_one_line(load, tmp_path):
    uproot = pytest.importorskip("uproot")
    larcv = load("larcv")
    text = tmp_path / "text.root"
    text.write_text("no ROOT here", encoding="utf-8")
    with pytest.raises(InputError, match="is not a ROOT file"):
        next(larcv.read_larcv(text))
    with pytest.raises(InputError, match="There is no file"):
        next(larcv.read_larcv(tmp_path / "absent.root"))
    with uproot.recreate(tmp_path / "other.root") as file:
        file.mktree("hits_tree", {"x": np.float32})
    with pytest.raises(InputError, match=r"no tree 'image2d_data_tree' \(it has hits_tree"):
        next(larcv.read_larcv(tmp_path / "other.root"))
    with uproot.recreate(tmp_path / "branch.root") as file:
        file.mktree("image2d_data_tree", {"x": np.float32})
    with pytest.raises(InputError, match="has no branch 'image2d_data_branch'"):
        next(larcv.read_larcv(tmp_path / "branch.root"))
    cut = tmp_path / "cut.root"
    cut.write_bytes((tmp_path / "other.root").read_bytes()[:80])
    with pytest.raises(InputError, match="is a damaged ROOT file"):
        next(larcv.read_larcv(cut))


class Branch:
    """A branch of a tree in memory."""

    def __init__(self, values):
        self.values = values

    def array(self, library, entry_start, entry_stop):
        assert library == "np"
        return np.array(self.values[entry_start:entry_stop], dtype=object)


def test_particles_that_are_no_class_are_named(load):
    larcv = load("larcv")
    truth = {f"particle_mctruth_branch/{larcv.PARTICLE}._pdg": Branch([[13], [321]])}
    with pytest.raises(InputError, match="event 1 is of particle 321, not of the five classes"):
        larcv._first_particles(Path("f.root"), truth, (0, 2))


def test_a_file_without_labels_has_empty_ones(load):
    events = load("larcv").LArCVEvents(*(np.zeros((2, 3, *rest)) for rest in ((4, 4), (2,), (2,))), np.zeros((2, 3)))
    assert events.labels() == ["", ""]
    assert np.isnan(events.kinetic_mev()).all()
    with pytest.raises(InputError, match="no stored vertex"):
        events.vertex_to_charge_px()


@pytest.mark.parametrize(("name", "pdg"), [("electron", 11), ("proton", 2212)])
def test_public_events_lie_as_their_meta_says(load, real_data, tmp_path, name, pdg):
    pytest.importorskip("uproot")
    larcv = load("larcv")
    chunks = list(larcv.read_larcv(real_data / "larcv" / f"{name}.root", chunk=4))
    assert [len(chunk.images) for chunk in chunks] == [4, 4, 2]
    for events in chunks:
        assert set(events.pdg) == {pdg}
        assert events.vertex_to_charge_px().max() < 1.5
        # transposed images leave the vertices far from the charge
        turned = SimpleNamespace(**{**vars(events), "images": events.images.transpose(0, 1, 3, 2)})
        assert np.median(larcv.LArCVEvents.vertex_to_charge_px(turned)) > 3
        sums = events.images.sum(axis=(2, 3))
        np.testing.assert_allclose(sums, sums[:, :1].repeat(3, axis=1), rtol=1e-4)
    assert larcv.convert([real_data / "larcv" / f"{name}.root"], tmp_path) == 10
    shard = load("shards").load_shards(tmp_path)[0]
    assert set(shard.labels) == {name}
    np.testing.assert_allclose(shard.images.dense(0), chunks[0].images[0], rtol=1e-3)


def test_simulated_twins_resemble_the_public_events(load, real_data):
    pytest.importorskip("uproot")
    compare, larcv = load("compare"), load("larcv")
    real = next(larcv.read_larcv(real_data / "larcv" / "proton.root"))
    table, _ = compare.compare(real, "proton", 10)
    ratio = table["pixels"] / table["pixels_simulated"]
    assert 0.9 < np.median(ratio) < 1.15
    assert 0.9 < np.median(table["charge"] / table["charge_simulated"]) < 1.1


def test_scores_count_what_they_say(load):
    scores = load("scores")
    truth = np.array([0, 0, 0, 1, 1, 2])
    shares = np.array([[8, 1, 1], [6, 3, 1], [2, 7, 1], [1, 8, 1], [1, 8, 1], [3, 3, 4]]) / 10
    counts = scores.confusion(truth, shares.argmax(axis=1), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 1]]
    table = scores.per_class(counts, ("electron", "photon", "muon"))
    assert table["efficiency"].tolist() == pytest.approx([2 / 3, 1, 1])
    assert table["purity"].tolist() == pytest.approx([1, 2 / 3, 1])
    found = scores.summary(truth, shares, ("electron", "photon", "muon"))
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["electron_or_photon"] == pytest.approx(4 / 5)
    assert found["shower_or_track"] == pytest.approx(5 / 6)  # the muon's shares of both showers sum to more than half
    assert scores.roc(np.full(4, 0.5), np.array([True, False, True, False]))[2] == 0.5
    rows = scores.by_energy(np.array([True, False]), np.array([50.0, 150.0]), np.array(["pion", "pion"]), (0, 100, 200))
    assert rows[rows["class"] == "pion"]["accuracy"].tolist() == [1.0, 0.0]


def test_unknown_classes_are_named(load):
    evaluate, shards = load("evaluate"), load("shards")
    shard = shards.Shard(None, ["muon", "kaon"], ["a", "b"], ["U", "V", "Y"], np.zeros(2))
    with pytest.raises(InputError, match="not trained on: kaon"):
        evaluate.truths([shard], ("muon", "pion"))


def test_arms_are_valid_trainings(load):
    patches = pytest.importorskip("meteoseg.patches")
    arms = sorted((FOLDER / "arms").glob("*.toml"))
    configs = [patches.read_patch_config(path) for path in arms]
    assert len({config.name for config in configs}) == len(arms)
    assert {config.network.fusion for config in configs} == {"early", "late", "shared"}
    assert all(set(config.classes) == set(load("events").CLASSES) for config in configs)
