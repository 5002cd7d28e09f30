import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meteoseg.classify import (
    agreement,
    chemistry_evidence,
    classification_table,
    classify,
    classify_table,
    delineation_evidence,
    feldspar_evidence,
    ranked_table,
    read_hand_table,
)
from meteoseg.classify.groups import groups, log_density, properties, published_rows, reference, rules
from meteoseg.classify.measurements import Measured, Measurements, measurements_from_tables
from meteoseg.classify.petrology import original_metal, petrologic_type, weathering_grade
from meteoseg.errors import InputError, UnknownNameError
from meteoseg.objects import size_summary
from meteoseg.report.tables import format_classification
from meteoseg.tables.measure import classify_tables

SECTION_PROPERTIES = (
    "chondrules",
    "matrix",
    "refractory_inclusions",
    "metal",
    "sulfide",
    "chondrule_mean_diameter",
)
ROWS = [(row, group.name) for group in groups().values() for row in group.rows if group.name != "none"]
ROCKS = groups()["none"].rows
#: With these properties alone the typical values of the group do not give it back, for the reason stated.
EXCEPTIONS = {
    "EL": "without metal and sulfide EL is an ordinary chondrite with chondrules of 0.6 mm",
    "LL": "without metal L and LL have the same components and nearly the same size: no answer",
    "L": "as LL",
}


def typical(row, names):
    found = {name: Measured(reference()[row, name].typical) for name in names if (row, name) in reference()}
    return Measurements(found)


def probabilities(result):
    return {score.group: score.probability for score in result.groups}


def modes_table(phases=None, components=None, *, area_mm2=100.0, half_width_pct=0.5):
    rows = []
    for layer, parts in (("phases", phases or {}), ("components", components or {})):
        rows += [
            {
                "layer": layer,
                "name": name,
                "area_um2": percent * area_mm2 * 1e4,
                "area_pct": percent,
                "ci_low_pct": percent - half_width_pct,
                "ci_high_pct": percent + half_width_pct,
            }
            for name, percent in parts.items()
        ]
        rows.append({"layer": layer, "name": "outside", "area_um2": 7e7, "area_pct": math.nan})
    return pd.DataFrame(rows)


def chondrule_table(diameters_um, *, kind="chondrule", touches_edge=False, pixel_um=5.0):
    area_um2 = np.pi / 4 * np.square(diameters_um)
    return pd.DataFrame(
        {
            "kind": kind,
            "touches_edge": touches_edge,
            "area_px": area_um2 / pixel_um**2,
            "area_um2": area_um2,
            "equivalent_diameter_um": diameters_um,
        }
    )


H_PHASES = {"olivine": 50.0, "low-Ca pyroxene": 38.0, "kamacite": 6.0, "taenite": 2.0, "troilite": 4.0}
H_COMPONENTS = {"chondrule": 74.0, "matrix": 12.0, "rim": 2.0, "inclusion": 0.0, "metal-sulfide nodule": 12.0}


class TestRules:
    def test_every_reference_row_has_a_source_and_a_status(self):
        assert len(published_rows()) == 151
        assert [row for row in published_rows() if not row.source.strip() or not row.status.strip()] == []

    def test_low_typical_high_are_in_order_and_in_the_physical_range(self):
        for row in published_rows():
            assert row.low <= row.typical <= row.high
            if row.property_name in properties():
                assert properties()[row.property_name].unit == row.unit
                assert row.high <= properties()[row.property_name].high

    def test_marks_from_memory_are_kept(self):
        table = {(row.group, row.property_name): row for row in published_rows()}
        assert table["CM", "sulfide"].status == "FROM MEMORY (weak)"
        assert table["CM", "sulfide"].is_weak
        assert not table["CK", "matrix"].is_weak

    def test_every_group_row_is_in_the_table_and_every_row_in_a_group(self):
        assert {row for row, _ in ROWS} == {row.group for row in published_rows()}

    @pytest.mark.parametrize("row", [row for row, _ in ROWS])
    def test_components_with_metal_and_sulfide_add_to_100(self, row):
        parts = (*SECTION_PROPERTIES[:3], "metal", "sulfide")
        assert sum(reference()[row, name].typical for name in parts) == pytest.approx(100.0, abs=0.5)


class TestDensity:
    @pytest.mark.parametrize(("group", "name"), [("CI", "metal"), ("H", "metal"), ("LL", "chondrule_mean_diameter")])
    def test_density_integrates_to_one_over_the_scale(self, group, name):
        rule = properties()[name]
        positions = np.linspace(rule.scaled(rule.low), rule.scaled(rule.high), 4001)
        values = np.square(positions) if rule.scale == "sqrt" else np.exp(positions)
        density = [math.exp(log_density(reference()[group, name], v, 0.0, name=name, trust=0.95)) for v in values]
        assert np.trapezoid(density, positions) == pytest.approx(1.0, abs=0.01)

    def test_a_group_without_a_row_gets_the_background_not_one(self):
        flat = log_density(None, 3.0, 0.1, name="magnetite", trust=0.95)
        assert flat == pytest.approx(-math.log(math.sqrt(20.0)))

    def test_no_single_property_vetoes(self):
        rule = properties()["metal"]
        worst = log_density(reference()["CK", "metal"], 60.0, 0.0, name="metal", trust=0.95)
        assert worst == pytest.approx(math.log(0.05 * rule.background_density))

    def test_measurement_error_flattens(self):
        row = reference()["H", "metal"]
        sharp, blunt = (log_density(row, 8.0, sd, name="metal", trust=0.95) for sd in (0.0, 4.0))
        assert sharp > blunt


class TestTypicalValues:
    @pytest.mark.parametrize(("row", "group"), ROWS)
    def test_all_properties_give_the_group_back(self, row, group):
        best = classify(typical(row, properties())).groups[0]
        assert (best.group, best.probability > 0.95) == (group, True)

    @pytest.mark.parametrize(("row", "group"), ROWS)
    def test_a_section_without_compositions_gives_the_group_back(self, row, group):
        result = classify(typical(row, SECTION_PROPERTIES))
        assert result.groups[0].group == group
        assert result.class_ == groups()[group].class_name

    @pytest.mark.parametrize(("row", "group"), [pair for pair in ROWS if pair[1] not in EXCEPTIONS])
    def test_components_and_size_alone_give_most_groups_back(self, row, group):
        names = (*SECTION_PROPERTIES[:3], "chondrule_mean_diameter")
        assert classify(typical(row, names)).groups[0].group == group

    @pytest.mark.parametrize("row", sorted(EXCEPTIONS))
    def test_exceptions_are_not_named_with_confidence(self, row):
        names = (*SECTION_PROPERTIES[:3], "chondrule_mean_diameter")
        assert classify(typical(row, names)).class_ == "none"

    def test_subgroups_answer_as_one_group(self):
        result = classify(typical("CV_ox", properties()))
        assert [score.group for score in result.groups].count("CV") == 1
        assert len(result.groups) == 16


class TestPosterior:
    def test_no_evidence_gives_no_number(self):
        result = classify(Measurements({}))
        assert all(math.isnan(score.probability) for score in result.groups)
        assert {row["probability"] for row in result.to_json_dict()["groups"]} == {None}
        assert (result.class_, result.suggestion, result.type) == ("none", "not enough evidence", "unknown")
        assert "Nothing was measured" in " ".join(result.notes)
        assert result.next_steps == ()

    def test_prior_by_falls(self):
        measured = Measurements({"refractory_inclusions": Measured(0.1)})
        equal, falls = (probabilities(classify(measured, prior=prior)) for prior in ("equal", "falls"))
        assert falls["L"] / falls["CH"] == pytest.approx(equal["L"] / equal["CH"] * 380.5 / 0.5)
        assert sum(falls.values()) == pytest.approx(1.0)

    def test_unknown_prior(self):
        with pytest.raises(UnknownNameError, match=r"Unknown prior 'fall'. Did you mean 'falls'\?"):
            classify(Measurements({}), prior="fall")

    @pytest.mark.parametrize("name", sorted(properties()))
    def test_evidence_of_a_property_adds_up_to_the_likelihood(self, name):
        measured = {name: Measured(1.0, 0.1), "metal": Measured(2.0), "Fa_olivine": Measured(10.0)}
        for score in classify(Measurements(measured)).groups:
            assert sum(score.evidence.values()) == pytest.approx(score.log_likelihood)

    @settings(max_examples=40, deadline=None)
    @given(st.dictionaries(st.sampled_from(sorted(properties())), st.floats(0, 1e6), max_size=6))
    def test_any_value_gives_finite_probabilities_that_sum_to_one(self, values):
        values = {"metal": 3.0} | values
        result = classify(Measurements({name: Measured(value, value / 7) for name, value in values.items()}))
        found = list(probabilities(result).values())
        assert sum(found) == pytest.approx(1.0)
        assert all(0 < value <= 1 for value in found)
        assert sum(result.class_probabilities.values()) == pytest.approx(1.0)

    def test_more_metal_favours_h_over_l_over_ll(self):
        # between the typical values; far outside of both groups the background takes over
        for richer, poorer, steps_pct in (
            ("H", "L", (3.5, 5.0, 6.5, 8.0)),
            ("L", "LL", (1.5, 2.2, 2.8, 3.5)),
        ):
            found = [probabilities(classify(Measurements({"metal": Measured(pct)}))) for pct in steps_pct]
            odds = [one[richer] / one[poorer] for one in found]
            assert odds == sorted(odds)
            assert odds[0] < 1 < odds[-1]

    def test_dependent_properties_count_once(self):
        matrix = Measured(reference()["CK", "matrix"].typical)
        chondrules = Measured(reference()["CK", "chondrules"].typical)
        single = classify(Measurements({"matrix": matrix})).groups[0]
        both = classify(Measurements({"matrix": matrix, "chondrules": chondrules}))
        score = next(score for score in both.groups if score.group == "CK")
        members = [member for member in groups()["CK"].members]
        assert len(members) == 2
        assert score.evidence["matrix"] == pytest.approx(single.evidence["matrix"] / 1.5)

    def test_nonsense_fits_no_group(self):
        odd = {
            "matrix": Measured(2.0),
            "metal": Measured(25.0),
            "Fa_olivine": Measured(55.0),
            "sulfide": Measured(14.0),
        }
        result = classify(Measurements(odd))
        assert (result.class_, result.suggestion, result.groups[0].group) == ("none", "none", "none")
        assert "None of the chondrite groups fits" in " ".join(result.notes)

    @pytest.mark.parametrize(("metal_pct", "fa", "pair"), [(5.9, 21.2, "H/L"), (2.5, 26.4, "L/LL")])
    def test_between_two_neighbours_both_are_named(self, metal_pct, fa, pair):
        base = {"chondrules": Measured(75.0), "matrix": Measured(13.0), "sulfide": Measured(4.2)}
        values = base | {
            "metal": Measured(metal_pct, 1.0),
            "Fa_olivine": Measured(fa, 1.0),
            "Fa_pmd": Measured(3.0),
        }
        result = classify(Measurements(values))
        assert (result.class_, result.suggestion) == ("ordinary", pair)


class TestIron:
    def test_scattered_fa_says_nothing_about_h_l_ll(self):
        def odds(pmd):
            values = {"Fa_olivine": Measured(18.8)} | ({} if pmd is None else {"Fa_pmd": Measured(pmd)})
            found = probabilities(classify(Measurements(values)))
            return found["H"] / found["LL"]

        assert odds(60.0) == pytest.approx(1.0, abs=0.1)
        assert 1.5 < odds(None) < odds(1.5)

    def test_scatter_of_fa_is_evidence_of_its_own(self):
        values = {"Fa_olivine": Measured(24.5), "Fs_lowCa_pyroxene": Measured(20.8)}
        even, wide = (probabilities(classify(Measurements(values | {"Fa_pmd": Measured(pmd)}))) for pmd in (1.0, 80.0))
        assert even["L"] > 0.9
        assert wide["L"] < 0.5

    @pytest.mark.parametrize(
        ("pmd", "expected"), [(1.0, "4-6"), (7.0, "3.9"), (15.0, "3.8"), (33.0, "3.6"), (80.0, "3.0-3.4")]
    )
    def test_type_of_ordinary_chondrites(self, pmd, expected):
        found = petrologic_type([groups()["L"]], Measurements({"Fa_pmd": Measured(pmd)}))
        assert found == (expected, [])

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"Fa_ratio": 0.1}, "3.0-3.2"),
            ({"Fa_ratio": 0.43}, "3.4"),
            ({"Fa_ratio": 0.93}, "3.9"),
            ({"Fa_ratio": 1.0}, "3.9-4"),
            ({"Fa_pmd": 85, "Cr2O3_ferroan_olivine": 0.5}, "3.00-3.05"),
            ({"Fa_ratio": 0.1, "Cr2O3_ferroan_olivine": 0.12}, "3.15-3.2"),
            ({"Fa_pmd": 33, "Cr2O3_ferroan_olivine": 0.5}, "3.6"),
            ({"Fa_pmd": 1, "feldspar_size": 60}, "6"),
            ({"feldspar_size": 20}, "5"),
            ({"Fa_pmd": 1, "feldspar_size": 1}, "4"),
        ],
    )
    def test_subtypes_and_types_4_to_6(self, values, expected):
        measured = Measurements({name: Measured(float(value)) for name, value in values.items()})
        assert petrologic_type([groups()["L"]], measured) == (expected, [])

    def test_type_is_honest_where_nothing_is_known(self):
        type_, notes = petrologic_type([groups()["LL"]], Measurements({}))
        assert (type_, "Fa_pmd" in notes[0]) == ("3-6", True)
        type_, notes = petrologic_type([groups()["CM"]], Measurements({}))
        assert (type_, notes) == ("2", ["The type is the usual one of CM, not observed here."])
        assert petrologic_type([groups()["EH"]], Measurements({"Fa_pmd": Measured(1.0)}))[0] == "3-6"
        assert petrologic_type([groups()["R"]], Measurements({"Fa_pmd": Measured(9.0)}))[0] == "3"
        for ratio, expected in ((0.5, "3"), (1.0, "3.9-4")):
            assert petrologic_type([groups()["R"]], Measurements({"Fa_ratio": Measured(ratio)}))[0] == expected

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"Fa_pmd": (1, 0), "feldspar_size": (47, 4)}, "5-6"),
            ({"Fa_pmd": (1, 0), "feldspar_size": (2.5, 0.5)}, "4-5"),
            ({"Fa_pmd": (1, 0), "feldspar_size_limit": (15, 0)}, "4-5"),
            ({"Fa_pmd": (1, 0), "feldspar_size_limit": (2, 0)}, "4"),
            ({"Fa_pmd": (1, 0), "feldspar_size_limit": (60, 0)}, "4-6"),
            ({"feldspar_size_limit": (15, 0)}, "3-5"),
            ({"Fa_pmd": (4.5, 1)}, "3-6"),
            ({"Fa_pmd": (4.5, 1), "feldspar_size": (20, 1)}, "5"),
            ({"Fa_pmd": (1, 0), "chondrule_contrast": (0.4, 0.02)}, "4-5"),
            ({"chondrule_contrast": (0.2, 0.02)}, "3-6"),
            ({"Fa_pmd": (1, 0), "chondrule_contrast": (0.28, 0.02)}, "4-6"),
            ({"Fa_ratio": (1.0, 0), "feldspar_size": (80, 2)}, "6"),
        ],
    )
    def test_evidence_near_a_cut_gives_a_range(self, values, expected):
        measured = Measurements({name: Measured(*map(float, value)) for name, value in values.items()})
        assert petrologic_type([groups()["L"]], measured)[0] == expected

    def test_evidence_that_disagrees_gives_a_range_and_says_so(self):
        values = {"Fa_pmd": Measured(60.0, 5.0), "feldspar_size": Measured(70.0, 4.0)}
        type_, notes = petrologic_type([groups()["H"]], Measurements(values))
        assert (type_, "disagrees" in notes[-1]) == ("3-6", True)

    def test_each_piece_says_what_it_speaks_for_and_against(self):
        values = {"Fa_olivine": 18.8, "Fs_lowCa_pyroxene": 16.7, "metal": 8.0, "Fa_pmd": 1.0, "feldspar_size": 20.0}
        answer = classify(Measurements({name: Measured(value) for name, value in values.items()})).to_json_dict()
        told = {item["property"]: item for item in answer["type_evidence"]}
        assert (answer["suggestion"], answer["type"]) == ("H", "5")
        assert (told["Fa_pmd"]["for"], told["Fa_pmd"]["against"]) == ([4, 5, 6], [3])
        assert told["feldspar_size"]["text"].endswith("for type 5, against 3, 4, 6")
        assert "for type 5" in format_classification(answer)


class TestTextures:
    """From feldspar.csv and delineation.csv to evidence."""

    @staticmethod
    def feldspar(pct: float, size: float, *, glass: float = math.nan, area: float = 9.0) -> pd.DataFrame:
        names = ("between chondrules", "between chondrules, with mesostasis")
        rows = [(name, um) for name, um in zip(names, (size, glass), strict=True)]
        return pd.DataFrame(
            [
                {"where": name, "area_mm2": area, "feldspar_pct": pct, "size_um": um, "limit_um": 18.0}
                | {"standard_error_um": 1.0, "ci_high_um": um + 2}
                for name, um in rows
            ]
        )

    def test_common_feldspar_between_chondrules_is_secondary(self):
        found, notes = feldspar_evidence(self.feldspar(8.0, 60.0), ["Al", "Na"])
        assert (found["feldspar_size"].value, notes) == (60.0, ())
        assert found["feldspar_size"].sd == pytest.approx(math.hypot(1, 6))

    def test_rare_or_fine_feldspar_gives_a_limit(self):
        assert feldspar_evidence(self.feldspar(0.1, math.nan), ["Al", "Ca"])[0] == {"feldspar_size_limit": Measured(18)}
        assert feldspar_evidence(self.feldspar(1.0, 30.0), ["Al", "Ca"])[0] == {"feldspar_size_limit": Measured(32)}

    @pytest.mark.parametrize(
        ("table", "channels", "why"),
        [
            ((0.5, math.nan, 130.0), ["Al", "Ca"], "fragments of chondrules"),
            ((8.0, 60.0), ["Al", "Mg"], "needs Al with Na or Ca"),
            ((8.0, 60.0), None, "needs Al with Na or Ca"),
        ],
    )
    def test_what_cannot_be_told_is_left_out(self, table, channels, why):
        found, notes = feldspar_evidence(self.feldspar(*table[:2], glass=(*table, math.nan)[2]), channels)
        assert found == {}
        assert why in notes[0]

    def test_a_small_area_is_no_sample(self):
        found, notes = feldspar_evidence(self.feldspar(8.0, 60.0, area=0.3), ["Al", "Ca"])
        assert (found, "under 1 mm2" in notes[0]) == ({}, True)

    def test_a_table_of_another_kind_is_refused(self):
        with pytest.raises(InputError, match="lacks the column 'where'"):
            feldspar_evidence(pd.DataFrame({"a": [1]}), ["Al", "Ca"])

    def test_contrast_needs_chondrules_and_fine_pixels(self):
        row = {"contrast": 0.4, "standard_error": 0.02, "n_chondrules": 40, "width_um": 20.0}
        assert delineation_evidence(pd.DataFrame([row]))[0] == {"chondrule_contrast": Measured(0.4, 0.02)}
        for change in ({"n_chondrules": 12}, {"width_um": 100.0}, {"contrast": math.nan}):
            assert delineation_evidence(pd.DataFrame([row | change]))[0] == {}

    def test_a_limit_in_a_table_made_by_hand_excludes(self):
        rows = read_hand_table(pd.DataFrame({"name": ["A"], "feldspar_size_um": ["<2"], "Fa_pmd_pct": [1.0]}))
        assert rows["A"].measurements.values["feldspar_size_limit"] == Measured(2.0)


class TestWeathering:
    def test_facts_of_a_fall_give_w0(self):
        modes = pd.DataFrame({"layer": "phases", "name": ["olivine"], "area_pct": [100.0]})
        assert classify_tables(modes, None, {"fall": True}).weathering == "W0"
        assert classify_tables(modes, None, {"fall": False}).weathering == "unknown"

    @pytest.mark.parametrize(
        ("rust", "metal", "sulfide", "expected"),
        [
            (0.0, 8.0, 4.0, "W0"),
            (1.0, 8.0, 4.0, "W1"),
            (6.0, 5.0, 4.0, "W2"),
            (16.0, 0.8, 2.0, "W3"),
            (25.0, 0.1, 0.1, "W4"),
            (5.0, 7.0, 4.0, "W1-W2"),
        ],
    )
    def test_grade(self, rust, metal, sulfide, expected):
        values = {"rust": Measured(rust), "metal": Measured(metal), "sulfide": Measured(sulfide)}
        assert weathering_grade(Measurements(values))[0] == expected

    def test_unknown_without_rust_or_opaques(self):
        values = {"metal": Measured(0.1), "sulfide": Measured(0.2)}
        assert weathering_grade(Measurements(values))[0] == "unknown"
        grade, notes = weathering_grade(Measurements(values | {"rust": Measured(0.1)}))
        assert (grade, "too little" in notes[0]) == ("unknown", True)

    def test_a_fall_did_not_weather(self):
        values = {"rust": Measured(6.0), "metal": Measured(5.0), "sulfide": Measured(4.0)}
        grade, notes = weathering_grade(Measurements(values, is_fall=True))
        assert (grade, notes) == ("W0", ["Seen to fall: W0 is taken, not observed."])
        table = pd.DataFrame({"metal": [5.0, 5.0], "fall": ["yes", "no"]})
        assert [found.weathering for found in classify_table(table).values()] == ["W0", "unknown"]

    def test_magnetite_is_no_rust(self):
        values = {"magnetite": Measured(5.0), "metal": Measured(5.0), "sulfide": Measured(4.0), "rust": Measured(0.0)}
        assert weathering_grade(Measurements(values))[0] == "W0"

    def test_the_missing_part_is_named_unless_nothing_was_used(self):
        grade, notes = weathering_grade(Measurements({"metal": Measured(5.0), "sulfide": Measured(4.0)}))
        assert (grade, notes) == (
            "unknown",
            ["The weathering grade needs rust (oxygen or calibrated maps), metal and sulfide."],
        )
        assert weathering_grade(Measurements({})) == ("unknown", [])

    def test_original_metal_carries_the_errors_of_rust_and_of_its_expansion(self):
        found = original_metal(Measurements({"metal": Measured(3.0, 0.2), "rust": Measured(7.0, 0.7)}))
        low, high = 1 / 3.5, 1 / 2
        assert found.value == pytest.approx(3 + 7 * (low + high) / 2)
        assert found.sd == pytest.approx(0.2 + 0.7 * (low + high) / 2 + 7 * (high - low) / math.sqrt(12))

    def test_original_metal_brings_a_rusted_h_back(self):
        # 8 % metal, of which 60 % turned to rust that takes 2.5 times the room
        values = {"metal": Measured(3.2), "rust": Measured(0.6 * 8 * 2.5), "sulfide": Measured(4.0)}
        whole = original_metal(Measurements(values))
        assert whole.value == pytest.approx(8.0, abs=0.4)
        rusted = probabilities(classify(Measurements(values)))
        fresh = probabilities(classify(Measurements({name: values[name] for name in ("metal", "sulfide")})))
        assert rusted["H"] > rusted["L"]
        assert fresh["L"] > fresh["H"]


class TestFromTables:
    def test_sums_and_intervals(self):
        found = measurements_from_tables(
            modes_table(H_PHASES, H_COMPONENTS), None, channels=["BSE", "Fe", "S", "Al", "O"]
        ).values
        assert found["metal"].value == 8.0
        assert found["metal"].sd == pytest.approx(2 * 1.0 / 3.92)
        assert found["matrix"].value == 14.0
        assert found["magnetite"].value == found["rust"].value == 0.0

    def test_area_comes_from_the_table_without_mount(self):
        found = measurements_from_tables(modes_table(H_PHASES, area_mm2=64.0), None, channels=["Fe", "S"])
        assert found.mapped_area_mm2 == pytest.approx(64.0)

    def test_channels_decide_what_can_be_seen(self):
        found = measurements_from_tables(modes_table(H_PHASES, H_COMPONENTS), None, channels=["Mg", "Si"])
        assert set(found.values) == {"chondrules", "matrix"}
        assert "metal is not used: it needs Fe and S or Fe and Ni or BSE and S." in found.notes
        quantified = measurements_from_tables(modes_table(H_PHASES), None, channels=["Fe", "S"], calibrated=True)
        assert {"magnetite", "rust", "metal", "sulfide"} <= set(quantified.values)

    def test_unknown_channels_count_only_listed_phases(self):
        found = measurements_from_tables(modes_table(H_PHASES, H_COMPONENTS), None).values
        assert {"metal", "sulfide"} <= set(found)
        assert not {"magnetite", "phyllosilicate", "rust"} & set(found)

    def test_fine_minerals_hide_in_unresolved_matrix(self):
        phases = {"olivine": 30.0, "fine-grained matrix": 65.0, "phyllosilicate": 4.5, "magnetite": 0.5}
        found = measurements_from_tables(modes_table(phases), None, channels=["O", "Fe", "S"])
        assert not {"phyllosilicate", "magnetite"} & set(found.values)
        phases |= {"olivine": 26.5, "magnetite": 4.0}
        assert measurements_from_tables(modes_table(phases), None, channels=["O"]).values["magnetite"].value == 4.0

    def test_clasts_are_no_part_of_the_host(self):
        parts = {"chondrule": 40.0, "matrix": 40.0, "clast": 20.0}
        found = measurements_from_tables(modes_table(components=parts), None, channels=["Al"]).values
        assert (found["chondrules"].value, found["matrix"].value) == (50.0, 50.0)

    def test_size_is_of_intact_uncut_chondrules_over_the_cut_off(self):
        sizes = np.r_[np.full(40, 300.0), np.full(40, 500.0)]
        whole = chondrule_table(sizes)
        table = pd.concat(
            [
                whole,
                chondrule_table(np.full(9, 3000.0), touches_edge=True),
                chondrule_table(np.full(9, 2000.0), kind="fragment"),
                chondrule_table(np.full(9, 45.0)),
            ]
        )
        found = measurements_from_tables(modes_table(H_PHASES), table, channels=["Fe", "S"], pixel_size_error_pct=3.0)
        size = found.values["chondrule_mean_diameter"]
        assert size.value == pytest.approx(0.4)
        assert size.sd / 0.4 == pytest.approx(math.hypot(np.std(sizes) / 400 / math.sqrt(80), 0.03), rel=0.05)
        assert any("80 intact, uncut chondrules of at least 50 um" in note for note in found.notes)
        weighted = table.assign(edge_weight=np.where(table["equivalent_diameter_um"] == 500, 3.0, 1.0))
        found = measurements_from_tables(modes_table(H_PHASES), weighted, channels=["Fe", "S"])
        assert found.values["chondrule_mean_diameter"].value == pytest.approx(0.45)

    def test_joined_sections_have_the_cut_off_of_the_coarser_one(self):
        fine = chondrule_table(np.r_[np.full(60, 100.0), np.full(40, 500.0)], pixel_um=1.0)
        coarse = chondrule_table(np.r_[np.full(30, 120.0), np.full(40, 500.0)], pixel_um=20.0)
        found = measurements_from_tables(modes_table(H_PHASES), pd.concat([fine, coarse]), channels=["Fe", "S"])
        assert found.values["chondrule_mean_diameter"].value == pytest.approx(0.5)
        assert any("80 intact, uncut chondrules of at least 200 um" in note for note in found.notes)
        summary = size_summary(pd.concat([fine, coarse]))
        assert (summary["cut_off_um"], summary["mean_um"]) == (pytest.approx(200), pytest.approx(500))

    def test_a_mean_that_is_empty_is_no_iron_free_olivine(self):
        row = {"phase": "olivine", "quantity": "Fa", "where": "chondrules", "n_grains": 25, "n_chondrules": 12,
               "mean": math.nan, "standard_error": 0.3, "systematic_error": 0.4}  # fmt: skip
        assert chemistry_evidence(pd.DataFrame([row])) == ({}, ("Fa_olivine is not used: it has no mean.",))
        found, notes = chemistry_evidence(pd.DataFrame([row | {"mean": 18.0, "n_chondrules": math.nan}]))
        assert (found, "there are 25 in 0" in notes[0]) == ({}, True)

    def test_a_class_that_comes_twice_is_no_table_of_one_section(self):
        with pytest.raises(InputError, match="has 'kamacite' of the phases twice: give one section at a time"):
            measurements_from_tables(pd.concat([modes_table({"kamacite": 8.0}), modes_table({"kamacite": 2.0})]), None)

    def test_tiny_section_is_none_with_the_reason(self):
        table = modes_table(H_PHASES, H_COMPONENTS, area_mm2=2.0)
        found = measurements_from_tables(table, chondrule_table(np.full(50, 300.0)), channels=["Fe", "S", "BSE"])
        assert found.is_empty
        result = classify(found)
        assert result.class_ == "none"
        assert any("2 mm2 without holes; below 20 mm2" in note for note in result.notes)

    def test_few_chondrules_leave_metal_only(self):
        found = measurements_from_tables(
            modes_table(H_PHASES, H_COMPONENTS),
            chondrule_table(np.full(12, 300.0)),
            channels=["Fe", "S", "Al"],
        )
        assert set(found.values) == {"metal", "sulfide"}
        assert any("Only 12 chondrules were found; below 30" in note for note in found.notes)

    def test_hardly_any_chondrule_is_an_observation(self):
        parts = {"matrix": 95.0, "chondrule": 0.5, "metal-sulfide nodule": 4.5}
        objects = chondrule_table(np.full(3, 300.0))
        found = measurements_from_tables(modes_table({"pentlandite": 1.1}, parts), objects, channels=["Fe", "S", "Al"])
        assert classify(found).suggestion == "CI"

    def test_missing_column(self):
        with pytest.raises(InputError, match="lacks the column 'area_pct'"):
            measurements_from_tables(pd.DataFrame({"layer": [], "name": []}), None)

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
    def test_impossible_value(self, value):
        with pytest.raises(InputError, match=r"metal is .* give finite numbers of at least 0"):
            Measurements({"metal": Measured(value)})

    def test_unknown_property(self):
        with pytest.raises(UnknownNameError, match=r"Unknown property 'metall'\. Did you mean 'metal'"):
            Measurements({"metall": Measured(1.0)})


class TestTables:
    def test_whole_chain_on_an_h_section(self):
        sizes = np.random.default_rng(3).lognormal(math.log(310), 0.5, 300)
        chemistry = {"Fa_olivine": Measured(18.6, 0.3), "Fa_pmd": Measured(2.0)}
        result = classify_table(
            modes_table(H_PHASES, H_COMPONENTS),
            chondrule_table(sizes),
            channels=["Fe", "S", "Al", "O"],
            chemistry=chemistry,
        )[""]
        assert (result.class_, result.suggestion, result.type, result.weathering) == (
            "ordinary",
            "H",
            "4-6",
            "W0",
        )
        metal = next(item for item in result.evidence if item.property == "metal")
        assert (metal.value, metal.unit, metal.best_groups[0]) == (8.0, "vol%", "H")

    def test_json_is_plain_and_repeatable(self):
        results = [classify(typical("CO", SECTION_PROPERTIES)).to_json_dict() for _ in range(2)]
        assert json.dumps(results[0], allow_nan=False) == json.dumps(results[1])
        assert results[0]["class"] == "carbonaceous"
        assert results[0]["groups"][0]["group"] == "CO"
        assert sum(entry["probability"] for entry in results[0]["groups"]) == pytest.approx(1.0, abs=1e-5)
        assert {"type", "evidence", "notes", "weathering", "suggestion"} <= set(results[0])

    def test_unusual_value_of_the_best_group_is_remarked(self):
        values = dict(typical("CR", properties()).values) | {"sulfide": Measured(9.0)}
        result = classify(Measurements(values))
        sulfide = next(item for item in result.evidence if item.property == "sulfide")
        assert result.suggestion == "CR"
        assert sulfide.note == "unusual for CR (0.5 to 4 vol%)"

    def test_batch_table_by_section(self):
        low_metal = {"olivine": 94.4, "kamacite": 1.4, "troilite": 4.2}
        table = pd.concat(
            [
                modes_table(H_PHASES, H_COMPONENTS).assign(section="A"),
                modes_table(low_metal, H_COMPONENTS).assign(section="B"),
            ]
        )
        sizes = chondrule_table(np.full(40, 600.0)).assign(section="B")
        found = classify_table(table, sizes, channels=["Fe", "S", "Al"])
        assert found["A"].groups[0].group == "H"
        assert found["B"].groups[0].group == "LL"

    @pytest.mark.parametrize("column", ["meteorite", "region"])
    def test_meteorites_and_regions_are_told_apart_as_sections_are(self, column):
        low_metal = {"olivine": 94.4, "kamacite": 1.4, "troilite": 4.2}
        parts = [modes_table(phases).assign(**{column: name}) for phases, name in ((H_PHASES, "A"), (low_metal, "B"))]
        found = classify_table(pd.concat(parts), chondrule_table(np.full(40, 600.0)), channels=["Fe", "S"])
        metal = {name: answer.evidence[0].value for name, answer in found.items()}
        assert metal == {"A": pytest.approx(8.0), "B": pytest.approx(1.4)}
        assert not any("chondrules" in note for answer in found.values() for note in answer.notes)
        both = classify_table(pd.concat(part.assign(section="S1") for part in parts), channels=["Fe", "S"])
        assert {name.replace("S1", "").strip() for name in both} == {"A", "B"}

    def test_wide_table_with_gaps(self):
        table = pd.DataFrame(
            {
                "section": ["A", "B"],
                "metal": [20.0, math.nan],
                "chondrule_mean_diameter": [0.04, 0.4],
                "matrix": [0.0, 36.0],
                "Fa_olivine": [math.nan, 39.0],
                "Fa_olivine_sd": [math.nan, 0.5],
                "remark": ["", "x"],
            }
        )
        found = classify_table(table)
        assert (found["A"].suggestion, found["B"].suggestion) == ("CH", "R")
        assert "Columns not used: remark." in found["A"].notes
        out = classification_table(found)
        assert out["section"].tolist() == ["A", "B"]
        assert out.loc[1, "p_R"] == pytest.approx(found["B"].groups[0].probability)

    def test_table_of_another_kind(self):
        with pytest.raises(InputError, match=r"no column that can be classified \(it has name, note\)"):
            classify_table(pd.DataFrame({"name": [1], "note": [2]}))

    def test_cell_that_is_no_number(self):
        with pytest.raises(InputError, match="column 'metal' holds 'much'"):
            classify_table(pd.DataFrame({"metal": ["much"]}))

    def test_same_name_twice(self):
        with pytest.raises(InputError, match="'A' is in the table twice"):
            classify_table(pd.DataFrame({"section": ["A", "A"], "metal": [1.0, 2.0]}))


def test_thresholds_have_sources():
    for table in ("decision", "members", "type", "weathering", "table", "next", "words"):
        assert rules()[table]["source"]
    assert all(rule.source for rule in properties().values())


BARE = {"chondrules": 0.0, "matrix": 0.0, "refractory_inclusions": 0.0}


class TestNone:
    @pytest.mark.parametrize("rock", [rock for rock in ROCKS if rock not in ("howardite", "lunar")])
    def test_rocks_without_chondrules_are_none(self, rock):
        names = [name for name in properties() if (rock, name) in reference()]
        result = classify(typical(rock, names))
        assert (result.groups[0].group, result.class_, result.suggestion) == ("none", "none", "none")
        assert result.groups[0].probability > 0.9

    @pytest.mark.parametrize(("fa", "metal"), [(28.0, 0.0), (9.0, 0.0), (18.0, 30.0), (24.5, 0.2)])
    def test_zero_chondrules_without_matrix_is_none_whatever_the_iron(self, fa, metal):
        values = BARE | {"Fa_olivine": fa, "metal": metal}
        result = classify(Measurements({name: Measured(value) for name, value in values.items()}))
        assert result.suggestion == "none"

    def test_zero_chondrules_with_matrix_is_ci(self):
        values = {"chondrules": 0.0, "matrix": 95.0, "metal": 0.0}
        result = classify(Measurements({name: Measured(value) for name, value in values.items()}))
        assert (result.suggestion, result.groups[0].probability > 0.8) == ("CI", True)

    def test_a_recrystallised_chondrite_without_chondrule_count_keeps_its_group(self):
        values = {"metal": 3.6, "sulfide": 4.6, "Fa_olivine": 24.6, "Fs_lowCa_pyroxene": 20.8}
        result = classify(Measurements({name: Measured(value) for name, value in values.items()}))
        assert (result.suggestion, result.groups[0].probability > 0.9) == ("L", True)

    def test_members_have_shares_that_add_up(self):
        for group in groups().values():
            assert sum(member.share for member in group.members) == pytest.approx(1.0)


class TestReasons:
    def test_for_and_against_in_words(self):
        result = classify(Measurements({"metal": Measured(8.0, 0.3), "Fa_olivine": Measured(18.8, 0.3)}))
        by_name = {score.group: score for score in result.groups}
        assert "metal 8 vol% fits H (7 to 9.5)" in by_name["H"].for_
        assert by_name["H"].against == ()
        assert "metal 8 vol% is more than in LL (0.1 to 3)" in by_name["LL"].against
        assert "Fa of olivine 18.8 mol% is less than in R (37 to 42)" in by_name["R"].against
        assert any(text.endswith("rocks that are no chondrites") for text in by_name["none"].against)

    def test_fa_would_decide_between_h_and_l(self):
        values = {"chondrules": 70.0, "matrix": 13.0, "metal": 5.8, "sulfide": 4.2}
        result = classify(Measurements({name: Measured(value) for name, value in values.items()}))
        step = result.next_steps[0]
        assert (step.name, set(step.between)) == ("Fa_olivine", {"H", "L"})
        assert 0 < step.bits < step.open_bits
        assert step.text.startswith("Fa of olivine would decide between")

    def test_silicon_would_decide_between_eh_and_el(self):
        values = {"metal": 10.0, "sulfide": 7.3, "Fa_olivine": 0.4, "Fs_lowCa_pyroxene": 0.5}
        result = classify(Measurements({name: Measured(value) for name, value in values.items()}))
        assert result.suggestion == "EH/EL"
        assert {step.name for step in result.next_steps} == {"kamacite_Si", "chondrule_mean_diameter"}

    def test_a_settled_answer_asks_for_nothing(self):
        assert classify(typical("CI", properties())).next_steps == ()


class TestHandTable:
    def answer(self, **columns):
        return classify_table(pd.DataFrame({name: [value] for name, value in columns.items()}))

    def test_columns_with_units_errors_and_old_names_agree(self):
        new = self.answer(name="A", metal_vol_pct=8.0, metal_vol_pct_err=0.5, Fa_olivine_mol_pct=18.8)["A"]
        old = self.answer(section="A", metal=8.0, metal_sd=0.5, Fa_olivine=18.8)["A"]
        assert new.groups == old.groups
        assert [(item.property, item.sd) for item in new.evidence] == [("metal", 0.5), ("Fa_olivine", 0.0)]

    def test_errors_widen_the_answer(self):
        sharp = self.answer(name="A", Fa_olivine_mol_pct=18.8, Fa_olivine_mol_pct_err=0.3)["A"]
        blunt = self.answer(name="A", Fa_olivine_mol_pct=18.8, Fa_olivine_mol_pct_err=5.0)["A"]
        assert probabilities(sharp)["H"] > probabilities(blunt)["H"]

    def test_ranked_rows(self):
        table = pd.DataFrame(
            {"name": ["A", "B"], "metal_vol_pct": [20.0, math.nan], "chondrule_mean_diameter_mm": [0.04, math.nan]}
        )
        out = ranked_table(classify_table(table))
        first = out[out["name"] == "A"]
        assert list(out.columns[:5]) == ["name", "rank", "group", "probability", "evidence"]
        assert first["rank"].tolist() == list(range(1, 17))
        assert first["probability"].is_monotonic_decreasing
        assert first["probability"].sum() == pytest.approx(1.0)
        assert first["group"].iloc[0] == "CH"
        assert set(first["group"]) == set(groups())
        nothing = out[out["name"] == "B"]
        assert nothing["group"].tolist() == ["not enough evidence"]
        assert nothing[["rank", "probability"]].isna().all(axis=None)

    def test_capital_letters_of_names_groups_and_falls_do_not_matter(self):
        rows = read_hand_table(pd.DataFrame({"Name": ["A"], "FALL": ["yes"], "Group": ["H5"], "metal_vol_pct": [8.0]}))
        assert (list(rows), rows["A"].measurements.is_fall, rows["A"].stated_group) == (["A"], True, "H")
        with pytest.raises(InputError, match="two columns of one name"):
            read_hand_table(pd.DataFrame({"Name": ["A"], "name": ["B"], "metal_vol_pct": [8.0]}))

    def test_a_limit_of_detection(self):
        measured = self.answer(name="A", metal_vol_pct="<0.2", matrix_vol_pct=75.0)["A"]
        assert (measured.evidence[0].value, measured.evidence[0].sd) == (0.1, 0.1)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (
                {"metal_wt_pct": 8.0},
                "has the unknown unit 'wt_pct': metal is given in vol% as metal_vol_pct",
            ),
            ({"chondrule_mean_diameter_um": 300}, "unknown unit 'um'.*chondrule_mean_diameter_mm"),
            ({"metal_vol_pct": -1.0}, "A: column 'metal_vol_pct' holds -1.0: give a finite number of at least 0"),
            ({"metal_vol_pct": math.inf}, "holds inf"),
            ({"metal_vol_pct": 101.0}, "over 100 %"),
            ({"chondrule_mean_diameter_mm": 350.0}, "is 350 mm, outside 0.01 to 20 mm: correct the number or its unit"),
            ({"chondrule_mean_diameter_mm": 0.0}, "is 0 mm, outside 0.01"),
            ({"chondrules": 0.7, "matrix": 0.12}, "give per cent, not fractions"),
            ({"chondrules": 70.0, "matrix": 70.0}, r"A: chondrules \+ matrix add up to 140 %, over 115 %"),
            ({"metal": 60.0, "sulfide": 60.0}, "metal \\+ sulfide add up to 120 %"),
            ({"chondrules": 60.0, "matrix": 40.0, "metal": 40.0}, "add up to 140 %, over 130 %"),
            ({"metal": 3.0, "metal_vol_pct": 3.0}, "give the same property"),
            ({"metal": 3.0, "sulfide_err": 3.0}, "'sulfide_err' is an error without its value"),
            ({"metal": 3.0, "fall": "perhaps"}, "column 'fall' holds 'perhaps'"),
        ],
    )
    def test_what_cannot_be_is_one_clear_line(self, columns, message):
        with pytest.raises(InputError, match=message):
            self.answer(name="A", **columns)

    def test_a_table_without_rows(self):
        with pytest.raises(InputError, match="The table has no row"):
            classify_table(pd.DataFrame({"name": [], "metal": []}))

    def test_unknown_column(self):
        with pytest.raises(UnknownNameError, match=r"Unknown column 'metall_vol_pct'. Did you mean 'metal_vol_pct'"):
            self.answer(name="A", metall_vol_pct=3.0)

    def test_unknown_group(self):
        with pytest.raises(UnknownNameError, match="Unknown group 'CX3'"):
            self.answer(name="A", metal=3.0, group="CX3")

    def test_agreement_with_stated_groups(self):
        found = classify_table(
            pd.DataFrame({"name": ["A", "B", "C"], "metal": [8.0, 8.0, math.nan], "Fa_olivine": [18.8, 18.8, math.nan]})
        )
        first = probabilities(found["A"])["H"]
        scores = agreement({"A": "H", "B": "LL", "C": "H"}, found)
        assert (scores["n"], scores["top_1"], scores["top_1_or_tied"]) == (2, 0.5, 0.5)
        assert scores["log_loss"] == pytest.approx(-(math.log(first) + math.log(probabilities(found["B"])["LL"])) / 2)
        assert agreement({"C": "H"}, found) == {"n": 0}
