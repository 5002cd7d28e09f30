import pytest

from meteoseg.errors import InputError
from meteoseg.report.facts import Evidence, SizeSummary, Suggestion, layer_rows, mapped_area_mm2
from meteoseg.report.tables import format_classification, format_modes, format_objects_summary


def test_modal_table_states_every_number_in_order_of_area(modes):
    lines = format_modes(modes).splitlines()
    assert lines[0].split() == ["Phases", "area", "%", "95", "%", "interval", "wt", "%"]
    assert lines[1].split() == ["olivine", "61.11", "57.31", "-", "64.71", "58.21"]
    assert lines[2].split() == ["low-Ca", "pyroxene", "34.97", "31.13", "-", "38.83", "33.26"]
    assert lines[3].split() == ["kamacite", "3.92", "-", "8.53"]
    assert lines[4].split() == ["hole", "apart", "0.0200", "mm2"]
    assert lines[6].split() == ["Components", "area", "%", "95", "%", "interval"]
    assert lines[7].split() == ["chondrule", "78.43", "75.23", "-", "81.57"]
    assert lines[9].split() == ["outside", "apart", "0.500", "mm2"]


def test_columns_of_the_modal_table_are_aligned(modes):
    phases = format_modes(modes).split("\n\n")[0].splitlines()[:4]
    assert len({len(line) for line in phases}) == 1


def test_classes_that_occur_nowhere_are_not_listed_apart(modes):
    modes.loc[modes["name"] == "hole", "area_px"] = 0
    assert "hole" not in list(layer_rows(modes, "phases")["name"])


def test_mapped_area_is_that_of_the_rock_without_mount_and_holes(modes):
    assert mapped_area_mm2(modes) == pytest.approx(1.02)
    assert mapped_area_mm2(modes[modes["layer"] == "phases"]) == pytest.approx(1.0)
    assert mapped_area_mm2(modes[modes["name"].isin(["hole", "outside"])]) == 0


def test_groups_that_nothing_tells_apart_are_not_listed(classification):
    even = [{"group": name, "probability": 0.5} for name in ("H", "L")]
    text = format_classification({"class": "none", "groups": even, "evidence": [], "notes": ["Too small."]})
    assert text.splitlines() == ["Group suggestion: no group suggested", "", "Notes", "  Too small."]
    assert Suggestion.from_dict(classification).tells_apart
    not_measured = [{"property": "metal", "value": None}]
    assert not Suggestion.from_dict({"class": "none", "groups": even, "evidence": not_measured}).tells_apart


def test_classification_text_has_answer_probabilities_evidence_and_notes(classification):
    text = format_classification(classification)
    assert "Group suggestion: L/LL (class: ordinary, probability 0.95)" in text
    assert text.index("LL      0.55") < text.index("L       0.40") < text.index("H       0.04")
    assert "1 others, each under 0.01" in text
    assert "78.4 ± 3.2 vol%" in text
    assert "strongly for; fits LL" in text
    assert text.endswith("Opaque phases come from all of the section.")


def test_evidence_is_ranked_by_its_weight_for_the_first_group(classification):
    suggestion = Suggestion.from_dict(classification)
    assert [item.quantity for item in suggestion.evidence] == ["metal", "matrix", "chondrules"]
    assert [item.verdict for item in suggestion.evidence] == ["strongly for", "against", "neutral"]


def test_without_a_class_there_is_no_group_in_the_headline(classification):
    suggestion = Suggestion.from_dict({**classification, "class": "none", "suggestion": "none"})
    assert suggestion.headline == "no group suggested"
    assert suggestion.named_groups == ()
    assert suggestion.probability is None


def test_an_open_group_has_the_probability_of_its_class(classification):
    suggestion = Suggestion.from_dict({**classification, "suggestion": "ordinary, group open"})
    assert (suggestion.headline, suggestion.probability) == ("ordinary, group open", 0.995)


def test_a_classification_without_groups_key_is_refused():
    with pytest.raises(InputError, match="needs the keys class and groups, this one has"):
        format_classification({"class": "ordinary"})


@pytest.mark.parametrize(
    ("value", "sd", "expected"),
    [
        (63.04, 4.0, "63.0 ± 4.0 vol%"),
        (0.5712, 0.0834, "0.571 ± 0.083 vol%"),
        (1234.0, 87.0, "1234 ± 87 vol%"),
        (5.123, None, "5.12 vol%"),
        (5.123, 0.0, "5.12 vol%"),
        (None, None, "not measured"),
    ],
)
def test_measurements_are_rounded_by_their_uncertainty(value, sd, expected):
    assert Evidence("x", value, sd, "vol%", (), "").measured == expected


def test_sizes_are_of_intact_uncut_chondrules(objects):
    summary = SizeSummary.of(objects)
    assert (summary.n_objects, summary.n_intact, summary.mean_um) == (4, 2, 400.0)
    assert summary.diameters_um == (500.0, 300.0)
    text = format_objects_summary(objects)
    assert text.startswith("Objects: 4 (3 chondrule, 1 fragment)")
    assert "clear of the edges: 2; diameter in the section: mean 400 um, median 400 um, counted from" in text


def test_sizes_without_an_intact_chondrule_say_so(objects):
    assert "no mean diameter" in format_objects_summary(objects[objects["touches_edge"]])
    assert format_objects_summary(objects.iloc[:0]).startswith("Objects: 0\nNo intact chondrule")
