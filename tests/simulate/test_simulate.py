"""The simulator: exact truth, physics of the maps, repeatability, refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from meteoseg.errors import ChannelError, MeteosegError, OutputExistsError, PixelSizeError, UnknownNameError
from meteoseg.legend import default_legend
from meteoseg.mineraldata import mineral
from meteoseg.simulate import (
    TEXTURE_NAMES,
    Detector,
    make_recipe,
    simulate_recipe,
    simulate_section,
    simulated_groups,
    write_example,
)
from meteoseg.simulate.detector import measure
from meteoseg.simulate.materials import MATERIALS, paint, phase_ids, response_table
from meteoseg.simulate.packing import pack_discs, section_diameters
from meteoseg.simulate.recipe import simulation_rules
from meteoseg.simulate.section import block_majority

PHASES = default_legend("phases")
COMPONENTS = default_legend("components")


def uniform(material: str, channel: str, detector: Detector, *, iron: int = 0, side: int = 128) -> np.ndarray:
    """Measure a field of one material."""
    paints = np.full((2 * side, 2 * side), paint(material), np.uint8)
    irons = np.full_like(paints, iron)
    maps, _ = measure(np.random.default_rng(5), paints, irons, [channel], detector, supersampling=2, pixel_um=2.0)
    return maps[channel]


def test_truth_layers_agree() -> None:
    simulated = simulate_section("LL", size_mm=(2.4, 1.6), pixel_size_um=10, seed=4)
    assert simulated.section.shape == (160, 240) == simulated.phases.shape
    chondrule = simulated.components == COMPONENTS["chondrule"].id
    np.testing.assert_array_equal(chondrule, simulated.chondrules > 0)
    outside = simulated.components == COMPONENTS["outside"].id
    np.testing.assert_array_equal(outside, simulated.phases == PHASES["outside"].id)
    assert outside.any()
    assert chondrule.mean() > 0.3


def test_same_seed_same_section() -> None:
    first, again, other = (simulate_section("CO", size_mm=(0.6, 0.5), pixel_size_um=5, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.section.read(), again.section.read())
    np.testing.assert_array_equal(first.phases, again.phases)
    assert (first.phases != other.phases).any()


@pytest.mark.parametrize("group", simulated_groups())
def test_every_group_renders_with_known_labels(group: str) -> None:
    simulated = simulate_section(group, size_mm=(0.8, 0.6), pixel_size_um=8, seed=1, channels=["BSE", "Fe", "Mg"])
    assert set(np.unique(simulated.phases)) <= set(PHASES.ids)
    assert set(np.unique(simulated.components)) <= set(COMPONENTS.ids)
    assert (simulated.phases != 0).any()


def test_metal_follows_the_group() -> None:
    def metal(group: str) -> float:
        recipe = make_recipe(group, petrologic_type=5.0, weathering="W0", epoxy_edge=False)
        ids, shares = [PHASES["kamacite"].id, PHASES["taenite"].id], []
        for seed in range(2, 6):
            s = simulate_recipe(recipe, Detector(), shape=(160, 160), pixel_size_um=16, seed=seed, channels=["Fe"])
            shares.append(np.isin(s.phases, ids).mean())
        return float(np.mean(shares))

    assert metal("H") > 1.5 * metal("LL") > 0


def test_counts_follow_the_k_ratio_and_poisson() -> None:
    """Mg in forsterite: 12.2 counts per wt% times 100 k, plus 0.1 background; variance narrowed by dead time."""
    counts = uniform("olivine", "Mg", Detector(gain_error=0.0)).astype(float)
    rate = 1220 * mineral("olivine Fa0").k_ratio["Mg"] + 0.1
    busy = 2.7 / 15_000
    assert counts.mean() == pytest.approx(rate / (1 + rate * busy), rel=0.01)
    assert counts.var() / counts.mean() == pytest.approx(1 / (1 + rate * busy), rel=0.06)


def test_count_of_one_is_censored_where_the_probe_does() -> None:
    titanium = uniform("olivine", "Ti", Detector(gain_error=0.0))
    magnesium = uniform("troilite", "Mg", Detector(gain_error=0.0, dose=4.0), iron=100)
    assert (titanium == 2).any()
    assert not (titanium == 1).any()
    assert (magnesium == 1).any()


def test_bse_orders_by_mean_atomic_number() -> None:
    grey = [
        uniform(name, "BSE", Detector(gain_error=0.0)).mean() for name in ("epoxy", "olivine", "troilite", "kamacite")
    ]
    assert grey == sorted(grey)
    assert grey[0] < grey[-1] - 100


def test_response_interpolates_solid_solutions() -> None:
    table = response_table(["Fe"])
    olivine = table[paint("olivine"), :, 0]
    assert olivine[50] == pytest.approx(mineral("olivine Fa50").k_ratio["Fe"], rel=1e-5)
    assert (np.diff(olivine) > 0).all()
    assert len(phase_ids()) == len(MATERIALS)


def test_sections_of_spheres_follow_wicksell() -> None:
    """Mean section diameter over mean sphere diameter is (pi/4) exp(sigma^2), caps under 3 % aside."""
    rng = np.random.default_rng(1)
    for sigma in (0.2, 0.6):
        mean = section_diameters(rng, 400_000, mean_mm=1.0, sigma=sigma).mean()
        assert mean == pytest.approx(np.pi / 4 * np.exp(sigma**2), rel=0.03)


def test_packing_reaches_its_target_and_respects_overlap() -> None:
    rng = np.random.default_rng(2)
    placed = pack_discs(rng, lambda n: rng.lognormal(3.5, 0.4, n), (1500.0, 1000.0), target_area=0.6, overlap=0.1)
    c, r = placed.centres_um, placed.radii_um
    apart = np.hypot(*(c[:, None] - c[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(r))
    assert (apart >= 0.9 * (r[:, None] + r[None]) - 1e-6).all()
    grid = np.stack(np.meshgrid(np.arange(0, 1500, 10), np.arange(0, 1000, 10), indexing="ij"), -1)
    covered = (np.hypot(*(grid[:, :, None] - c).transpose(3, 0, 1, 2)) < r).any(axis=2).mean()
    assert covered > 0.5


def test_block_majority_takes_the_most_frequent() -> None:
    labels = np.array([[3, 3, 7, 1], [3, 9, 7, 7]], np.uint8)
    np.testing.assert_array_equal(block_majority(labels, 2), [[3, 7]])


def test_written_example_is_a_section_again(tmp_path) -> None:
    from meteoseg.io import open_section, read_labels

    simulated = simulate_section("CV", size_mm=(0.7, 0.5), pixel_size_um=10, seed=9, channels=["BSE", "Fe", "S"])
    write_example(simulated, tmp_path / "s")
    section = open_section(tmp_path / "s")
    assert section.pixel_size_um == (10.0, 10.0)
    np.testing.assert_array_equal(section.read(["Fe"]), simulated.section.read(["Fe"]))
    np.testing.assert_array_equal(read_labels(tmp_path / "s/truth/chondrules.ome.tif"), simulated.chondrules)
    with pytest.raises(OutputExistsError, match="not empty"):
        write_example(simulated, tmp_path / "s")


def test_rules_name_every_weathering_grade_and_known_textures() -> None:
    from meteoseg.simulate.textures import TEXTURES

    rules = simulation_rules()
    assert set(rules["weathering"]) == {"W0", "W1", "W2", "W3", "W4"}
    assert all(set(table["textures"]) <= set(TEXTURES) for table in rules["groups"].values())


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown group 'LX'"):
        simulate_section("LX")
    with pytest.raises(UnknownNameError, match="weathering grade"):
        simulate_section("L", weathering="W9")
    with pytest.raises(MeteosegError, match="Petrologic type 9"):
        simulate_section("L", petrologic_type=9)
    with pytest.raises(PixelSizeError, match="must be positive"):
        simulate_section("L", pixel_size_um=0)
    with pytest.raises(ChannelError, match="'Au' cannot be simulated"):
        simulate_section("L", size_mm=(0.5, 0.5), channels=["Au"])
    with pytest.raises(MeteosegError, match="not possible"):
        simulate_section("L", size_mm=(500, 500), pixel_size_um=1)


def test_shock_melt_is_unlabelled_and_grows_with_the_stage() -> None:
    def melt(stage: str) -> float:
        recipe = make_recipe("L", petrologic_type=6, shock=stage, epoxy_edge=False)
        shares = []
        for seed in range(3):
            s = simulate_recipe(recipe, Detector(), shape=(128, 128), pixel_size_um=15, seed=seed, channels=["Fe"])
            shares.append((s.phases == 255).mean())
        return float(np.mean(shares))

    assert melt("S1") == 0
    assert 0.001 < melt("S4") < melt("S6") < 0.2


def test_lithic_clasts_cover_their_share_and_hold_no_chondrule() -> None:
    recipe = make_recipe("LL", lithic_pct=15, epoxy_edge=False)
    shares = []
    for seed in range(4):
        s = simulate_recipe(recipe, Detector(), shape=(160, 160), pixel_size_um=20, seed=seed, channels=["Fe"])
        clast = s.components == COMPONENTS["clast"].id
        assert not s.chondrules[clast].any()
        shares.append(clast.mean())
    assert 0.08 < np.mean(shares) < 0.25


def test_unknown_shock_stage_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="S1"):
        make_recipe("L", shock="S9")


def test_defocus_darkens_the_corners_away_from_its_band() -> None:
    sharp, dull = (uniform("olivine", "Mg", Detector(gain_error=0, defocus=share)).astype(float) for share in (0, 0.5))
    ratio = dull / sharp
    corners = [ratio[:16, :16], ratio[:16, -16:], ratio[-16:, :16], ratio[-16:, -16:]]
    assert ratio[60:68, 60:68].mean() == pytest.approx(1, abs=0.02)
    assert 0.45 < min(corner.mean() for corner in corners) < 0.85


def test_drift_goes_from_row_to_row_alike_in_all_maps() -> None:
    paints = np.full((256, 256), paint("olivine"), np.uint8)
    detector = Detector(gain_error=0, drift=0.05, dose=20, bse_noise=0.1, bse_range=(0.0, 0.3))
    maps, _ = measure(
        np.random.default_rng(5), paints, np.zeros_like(paints), ["BSE", "Mg"], detector, supersampling=2, pixel_um=2.0
    )
    bse, mg = (maps[name].astype(float).mean(axis=1) for name in ("BSE", "Mg"))
    assert np.corrcoef(bse, mg)[0, 1] > 0.9
    assert mg.std() / mg.mean() == pytest.approx(0.05, rel=0.6)


def test_rows_out_of_place_leave_the_mean_and_break_edges() -> None:
    paints = np.full((256, 256), paint("olivine"), np.uint8)
    paints[:, :128] = paint("epoxy")
    edges = []
    for jitter in (0.0, 0.8):
        detector = Detector(gain_error=0, row_jitter_px=jitter, dose=20)
        rng = np.random.default_rng(5)
        maps, _ = measure(rng, paints, np.zeros_like(paints), ["Mg"], detector, supersampling=2, pixel_um=2.0)
        mg = maps["Mg"].astype(float)
        edges.append((mg > mg.max() / 2).argmax(axis=1))
    assert edges[0].std() == 0
    assert 0.3 < edges[1].std() < 1.5


def test_truth_table_names_the_texture_of_every_chondrule(tmp_path) -> None:
    simulated = simulate_section("LL", size_mm=(3.0, 2.0), pixel_size_um=10, seed=4, channels=["Fe"])
    write_example(simulated, tmp_path / "s")
    table = pd.read_csv(tmp_path / "s" / "truth" / "chondrules.csv", keep_default_na=False)
    assert table["id"].tolist() == [int(number) for number in np.unique(simulated.chondrules) if number]
    assert set(table["texture"]) <= set(TEXTURE_NAMES.values())
    assert set(table["type"]) <= {"I", "II", ""}
    grainy = table["texture"].str.startswith(("porphyritic", "barred", "radial", "granular"))
    assert (table["scale_um"] != "").tolist() == (grainy | (table["texture"] == "Al-rich")).tolist()


@pytest.mark.parametrize("code", ["PO", "POP", "PP", "BO", "RP", "C", "GOP", "metal", "Al"])
def test_every_texture_can_be_drawn_alone(code: str) -> None:
    recipe = make_recipe("LL")
    recipe = replace(recipe, rules=replace(recipe.rules, textures={code: 1.0}))
    simulated = simulate_recipe(recipe, Detector(), shape=(96, 128), pixel_size_um=16, seed=2, channels=["Fe"])
    drawn = simulated.chondrule_table()["texture"]
    wanted = (
        {"porphyritic olivine-pyroxene", TEXTURE_NAMES[code]} if code in ("PO", "PP", "POP") else {TEXTURE_NAMES[code]}
    )
    assert drawn.isin(wanted).mean() > 0.6
    assert drawn.eq(TEXTURE_NAMES[code]).any()
