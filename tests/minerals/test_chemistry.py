"""Compositions from counts: exact inversion, no bias at low counts, errors that hold, means over grains."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from meteoseg.legend import default_legend
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.chemistry import GRAIN_COLUMNS, MineralChemistry
from meteoseg.minerals.chemistrytable import COLUMNS, chemistry_table, percent_mean_deviation, standard_error
from meteoseg.minerals.choose import choose_phase_maker
from meteoseg.minerals.classifier import PhaseClassifier
from meteoseg.minerals.fitted import refine_gains
from meteoseg.minerals.formula import mix_formulas
from meteoseg.minerals.quantified import QuantifiedResponse
from meteoseg.minerals.sensitivities import WDS_SENSITIVITY
from meteoseg.minerals.solutions import SolutionTable, solutions_for
from meteoseg.section import Section
from meteoseg.simulate.detector import Detector, measure
from meteoseg.simulate.materials import paint
from meteoseg.simulate.recipe import microprobe_responses

NAMES = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
LEGEND = default_legend("phases")
OLIVINE = LEGEND["olivine"].id


def calibration(names=NAMES, **changes):
    channels = {
        name: ChannelResponse(WDS_SENSITIVITY[name], -0.1, 0.05, dead_time=3e-4, relative_sd=0.02) for name in names
    }
    return Calibration({name: replace(channel, **changes) for name, channel in channels.items()})


def olivine_counts(fa, response, names=("Mg", "Fe")):
    expected = response.predict_counts(mix_formulas(["Mg2SiO4", "Fe2SiO4"], [1 - fa / 100, fa / 100]))
    return np.array([expected[name] for name in names])


def grains_of(chemistry, values, phases, objects=None):
    collector = chemistry.collector()
    chemistry.gather(collector, values, phases, objects)
    return chemistry.grain_table(collector.finish())


@pytest.mark.parametrize("names", [NAMES, (*NAMES, "Na", "K"), ("Si", "Ca", "K")])
def test_expected_counts_give_back_their_composition_whatever_the_common_factor(names):
    rng = np.random.default_rng(3)
    for solution in solutions_for(names):
        table = SolutionTable(solution, calibration(names))
        fractions = rng.dirichlet(np.ones(len(solution.elements)), 200)[:, 1:]
        net, background = table.expected(fractions)
        for factor in (1.0, 0.4):
            found = table.estimate(factor * (net + background).T)
            np.testing.assert_allclose(found.values, solution.measured(fractions), atol=0.01)
            np.testing.assert_allclose(found.background, factor * background.T, rtol=0.01)


def test_derivatives_are_those_of_the_estimate():
    solution = next(s for s in solutions_for(NAMES) if "Wo" in [q.name for q in s.quantities])
    table = SolutionTable(solution, calibration())
    counts = np.sum(table.expected(np.array([[0.2, 0.05], [0.1, 0.4]])), axis=0).T
    for element in range(3):
        more = counts.copy()
        more[element] += 1
        change = table.estimate(more).values - table.estimate(counts).values
        np.testing.assert_allclose(change, table.estimate(counts).per_count[:, element], rtol=0.05, atol=2e-3)


def test_each_phase_takes_the_best_elements_that_are_mapped():
    def feldspar(names):
        return next(s for s in solutions_for(names) if "plagioclase" in s.phases)

    assert feldspar(("Si", "Ca")).elements == ("Si", "Ca")
    assert feldspar(("Si", "Ca", "Na")).elements == ("Na", "Ca")
    both = feldspar(("Si", "Ca", "Na", "K"))
    assert both.elements == ("Na", "Ca", "K")
    assert [quantity.name for quantity in both.quantities] == ["An", "Or"]
    assert solutions_for(["Al", "S"]) == ()


@pytest.mark.parametrize("fa", [2.0, 10.0, 18.5, 29.0])
def test_pixels_are_not_biased_and_their_sd_is_right_at_low_counts(fa):
    response = calibration(relative_sd=0.0)
    mean = olivine_counts(fa, response)  # Fe: 6 to 66 counts
    values = np.random.default_rng(1).poisson(mean[:, None, None], (2, 150, 200)).astype(np.float32)
    chemistry = MineralChemistry.of(response, ("Mg", "Fe"), LEGEND)
    value, sd = chemistry.maps(values, np.full((150, 200), OLIVINE, np.uint8))["Fa"]
    assert value.mean() == pytest.approx(fa, abs=max(0.05, 0.01 * fa))
    assert np.sqrt(np.mean(sd**2)) == pytest.approx(value.std(), rel=0.15)


@pytest.mark.parametrize("fa", [0.0, 1.0, 20.0])
def test_grains_are_not_biased_where_ones_were_stored_as_zeros(fa):
    response = calibration(relative_sd=0.0)
    mean = olivine_counts(fa, response)
    rng = np.random.default_rng(2)
    values = rng.poisson(mean[:, None, None], (2, 11 * 20 + 1, 11 * 30 + 1)).astype(np.float32)
    values[values == 1] = 0
    phases = np.full(values.shape[1:], OLIVINE, np.uint8)
    phases[::11] = phases[:, ::11] = 0  # leaves grains of 10 x 10 px, cores of 6 x 6
    lossy = calibration(relative_sd=0.0, ones_missing=True)
    grains = grains_of(MineralChemistry.of(lossy, ("Mg", "Fe"), LEGEND), values, phases)
    assert set(grains["n_px"]) == {36}
    assert len(grains) == 600
    assert grains["value"].mean() == pytest.approx(fa, abs=0.04)
    assert grains["sd_counting"].mean() == pytest.approx(grains["value"].std(), rel=0.6 if fa == 0 else 0.15)


def test_calibration_errors_shift_all_grains_alike_and_are_kept_apart():
    known = calibration(relative_sd=0.03)
    fe_high = known.with_gains({"Fe": (1.03, 0.03)})
    values = np.broadcast_to(olivine_counts(20.0, fe_high)[:, None, None], (2, 12, 15)).astype(np.float32)
    grains = grains_of(MineralChemistry.of(known, ("Mg", "Fe"), LEGEND), values, np.full((12, 15), OLIVINE, np.uint8))
    row = grains.iloc[0]
    shift = row["value"] - 20.0
    assert 0.3 < shift < 0.6
    assert row["sd_calibration"] == pytest.approx(np.sqrt(2) * shift, rel=0.1)
    assert row["sd_counting"] == pytest.approx(grains["sd_counting"].mean())
    wide = np.tile(values, (1, 10, 1))
    more = grains_of(MineralChemistry.of(known, ("Mg", "Fe"), LEGEND), wide, np.full((120, 15), OLIVINE, np.uint8))
    assert more.iloc[0]["sd_calibration"] == pytest.approx(row["sd_calibration"])
    assert more.iloc[0]["sd_counting"] == pytest.approx(row["sd_counting"] * np.sqrt(180 / 1800), rel=0.01)


def test_other_phases_have_no_value_and_missing_elements_no_map():
    values = np.ones((2, 3, 4), np.float32)
    phases = np.zeros((3, 4), np.uint8)
    phases[1, 2] = OLIVINE
    chemistry = MineralChemistry.of(calibration(), ("Mg", "Fe"), LEGEND)
    made = chemistry.maps(values, phases)
    assert set(made) == {"Fa", "Mg_number"}
    assert np.isfinite(made["Fa"][0]).sum() == 1
    assert np.isnan(made["Mg_number"][0]).all()
    assert made["Fa"][0].dtype == np.float32
    assert list(grains_of(chemistry, values, phases).columns) == list(GRAIN_COLUMNS)


def test_weight_percent_maps_need_no_calibration():
    names = ("Mg", "Fe", "Ca")
    response = QuantifiedResponse(dict.fromkeys(names, 0.3))
    wt = mix_formulas(["Mg2Si2O6", "Fe2Si2O6", "Ca2Si2O6"], [0.5, 0.1, 0.4])
    values = np.random.default_rng(0).normal([wt[name] for name in names], 0.3, (20, 30, 3)).transpose(2, 0, 1)
    phases = np.full((20, 30), LEGEND["high-Ca pyroxene"].id, np.uint8)
    grains = grains_of(MineralChemistry.of(response, names, LEGEND), values, phases).set_index("quantity")
    assert grains.loc["Fs", "value"] == pytest.approx(10, abs=0.2)
    assert grains.loc["Wo", "value"] == pytest.approx(40, abs=0.3)
    assert 0.5 < grains.loc["Wo", "sd_calibration"] < 2


FA = (0, 5, 10, 18, 29, 50)
OTHERS = ("troilite", "kamacite", "magnetite", "anorthite")


def painted_grains(seed):
    """Counts at 40 nA x 15 ms of 12 grains of 11 x 11 px (cores of 7 x 7) of each Fa in glass, with their rows."""
    kinds = [("olivine", fa) for fa in FA] + [(name, 100 if name == "troilite" else 0) for name in OTHERS]
    material = np.full((16 * len(kinds), 16 * 12), paint("mesostasis"), np.uint8)
    iron = np.full(material.shape, 30, np.uint8)
    for row, (name, share) in enumerate(kinds):
        for col in range(12):
            box = np.s_[row * 16 : row * 16 + 11, col * 16 : col * 16 + 11]
            material[box], iron[box] = paint(name), share
    maps, _ = measure(
        np.random.default_rng(seed), material.repeat(4, 0).repeat(4, 1), iron.repeat(4, 0).repeat(4, 1), NAMES,
        Detector(dose=1.0, gain_error=0.03, beam_um=0.5), supersampling=4, pixel_um=1.0,
    )  # fmt: skip
    return np.stack([maps[name] for name in NAMES]).astype(np.float32)


def test_fa_of_50_px_grains_is_within_2_mol_pct_on_simulated_maps_of_ten_elements():
    known = Calibration(
        {name: ChannelResponse(**values, relative_sd=0.03) for name, values in microprobe_responses().items()}
    )
    errors = []
    for seed in range(2):
        values = painted_grains(seed)
        fitted = refine_gains(PhaseClassifier.from_calibration(known, NAMES), values, NAMES).classifier
        phases, _ = fitted.classify(values, NAMES)
        chemistry = MineralChemistry.of(fitted.response, NAMES, LEGEND)
        planes = values[[NAMES.index(name) for name in chemistry.elements]]
        grains = grains_of(chemistry, planes, phases)
        fa = grains[(grains["quantity"] == "Fa") & (grains["row_px"] < 16 * len(FA))]
        assert len(fa) >= 0.9 * 12 * len(FA)
        true = np.array(FA)[(fa["row_px"] // 16).astype(int)]
        errors.append(pd.DataFrame({"true": true, "error": fa["value"] - true}))
    rms = pd.concat(errors).groupby("true")["error"].apply(lambda e: np.sqrt(np.mean(e**2)))
    assert (rms < 2.0).all(), rms
    assert rms[0] < 0.3


def table_of(values, noise, *, chondrules=None, phase="olivine", quantity="Fa"):
    n = len(values)
    return pd.DataFrame({
        "grain": np.arange(n), "phase": phase, "chondrule": np.arange(n) % 7 if chondrules is None else chondrules,
        "row_px": 1.0, "col_px": 1.0, "n_px": 50, "quantity": quantity, "unit": "mol%", "value": values,
        "sd_counting": noise, "sd_calibration": 0.4,
    })  # fmt: skip


def test_nickel_of_metal_is_weighted_by_area_and_iron_of_olivine_is_not():
    small, large = np.full(20, 12.0), np.full(4, 5.0)
    grains = table_of(np.concatenate([small, large]), np.full(24, 0.1), phase="kamacite", quantity="Ni")
    grains["n_px"] = [10] * 20 + [1000] * 4
    row = chemistry_table(grains, chondrules=False).iloc[0]
    assert row["mean"] == pytest.approx((200 * 12 + 4000 * 5) / 4200)
    assert 0.1 < row["standard_error"] < 1.0
    fa = grains.assign(phase="olivine", quantity="Fa")
    assert chemistry_table(fa, chondrules=False).iloc[0]["mean"] == pytest.approx((20 * 12 + 4 * 5) / 24)


def test_counting_noise_is_taken_off_the_scatter_and_the_percent_mean_deviation():
    rng = np.random.default_rng(6)
    true = rng.normal(20, 2, 4000)
    noisy = true + rng.normal(0, 2, 4000)
    table = chemistry_table(table_of(noisy, np.full(4000, 2.0)), chondrules=False).set_index("quantity")
    assert table.loc["Fa", "sd_between_grains"] == pytest.approx(2, rel=0.06)
    expected = 100 * np.mean(np.abs(true - true.mean())) / true.mean()
    assert table.loc["Fa_pmd", "mean"] == pytest.approx(expected, rel=0.06)
    assert table.loc["Fa_pmd", "ci_low"] < expected < table.loc["Fa_pmd", "ci_high"]
    assert percent_mean_deviation(noisy, np.zeros(4000)) > 1.3 * expected


def test_bootstrap_intervals_of_the_percent_mean_deviation_hold_the_truth():
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(20):
        values = rng.normal(20, 4, 40) + rng.normal(0, 1, 40)
        row = chemistry_table(table_of(values, np.full(40, 1.0)), chondrules=False).set_index("quantity").loc["Fa_pmd"]
        held += row["ci_low"] < 100 * 4 * np.sqrt(2 / np.pi) / 20 < row["ci_high"]
    assert held >= 16


def test_rows_by_place_and_least_numbers_of_grains():
    grains = pd.concat([
        table_of(np.linspace(10, 20, 19), np.full(19, 0.5)),
        table_of(np.array([5.0]), np.array([0.7]), phase="kamacite", quantity="Ni"),
    ])  # fmt: skip
    table = chemistry_table(grains, chondrules=True)
    assert list(table.columns) == list(COLUMNS)
    assert "Fa_pmd" not in set(table["quantity"])
    fa = table[table["quantity"] == "Fa"].set_index("where")
    assert fa["n_grains"].to_dict() == {"all": 19, "chondrules": 16}
    assert set(fa["n_chondrules"]) == {6}
    ni = table[table["quantity"] == "Ni"].iloc[0]
    assert ni["standard_error"] == pytest.approx(0.7)
    assert np.isnan(ni["sd_between_grains"])
    assert fa.loc["all", "ci_high"] - fa.loc["all", "mean"] == pytest.approx(
        np.hypot(2.1009 * fa.loc["all", "standard_error"], 1.96 * 0.4),
        rel=1e-4,  # t of 18 degrees of freedom
    )
    twenty = chemistry_table(table_of(np.linspace(10, 20, 20), np.full(20, 0.5)), chondrules=True)
    assert twenty.loc[twenty["quantity"] == "Fa_pmd", "where"].tolist() == ["all"]
    poor = chemistry_table(table_of(np.linspace(0, 2, 20), np.full(20, 0.1)), chondrules=False)
    assert "Fa_pmd" not in set(poor["quantity"])


def test_the_error_of_few_grains_is_not_below_that_of_counting():
    values, noise = np.array([20.0, 20.1, 20.25]), np.array([0.18, 0.18, 0.18])
    assert values.std(ddof=1) / np.sqrt(3) < 0.18 / np.sqrt(3)
    assert standard_error(values, noise, np.zeros(3, int)) == pytest.approx(0.18 / np.sqrt(3))
    assert standard_error(values, noise, np.array([1, 1, 1])) == pytest.approx(0.18 / np.sqrt(3))
    assert standard_error(values, 0.01 * noise, np.zeros(3, int)) == pytest.approx(values.std(ddof=1) / np.sqrt(3))


def test_intervals_of_few_grains_hold_the_mean():
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(400):
        grains = table_of(rng.normal(20, 2, 3), np.full(3, 0.1), chondrules=np.zeros(3, int)).assign(sd_calibration=0.0)
        row = chemistry_table(grains, chondrules=False).iloc[0]
        held += row["ci_low"] < 20 < row["ci_high"]
    assert 0.92 < held / 400 < 0.98  # 0.81 with 1.96


def test_grains_of_one_chondrule_count_as_one_for_the_error_of_the_mean():
    values = np.repeat([10.0, 20.0, 30.0], 100)
    of = np.repeat([1, 2, 3], 100)
    assert standard_error(values, np.zeros(300), of) == pytest.approx(10 / np.sqrt(3), rel=0.01)
    assert standard_error(values, np.zeros(300), np.zeros(300, int)) < 0.5


def test_olivine_of_a_real_chondrule(real_data):
    import meteoseg as ms

    section: Section = ms.open_section(real_data / "semarkona-chm8", pixel_size_um=1.0)
    maker = choose_phase_maker(section, real_data / "standards")
    phases = maker.draw(section, section.window)
    chemistry = MineralChemistry.of(maker.classifier.response, maker.classifier.channels, LEGEND)
    table = chemistry_table(grains_of(chemistry, section.read(chemistry.elements), phases), chondrules=False).set_index(
        ["phase", "quantity"]
    )
    assert table.loc[("olivine", "Fa"), "mean"] == pytest.approx(8.1, abs=0.8)
    assert table.loc[("low-Ca pyroxene", "Fs"), "mean"] == pytest.approx(8.3, abs=1.0)
    assert table.loc[("olivine", "Fa"), "n_grains"] > 30
