import numpy as np
import pytest
import tifffile

from meteoseg.errors import InputError, ShapeMismatchError, UnknownNameError
from meteoseg.io import open_section
from meteoseg.section import Section
from meteoseg.tables.labeltables import read_kinds, read_meaning
from meteoseg.train.drawn import component_of_kind, read_drawn
from meteoseg.train.holdout import split_labels

SHAPE = (20, 32)
CLASSES = {1: "chondrule", 2: "matrix"}


def section(mask=None):
    return Section.from_arrays("A12", {"Fe": np.ones(SHAPE), "Mg": np.ones(SHAPE)}, mask=mask)


def painted(dtype=np.uint8):
    labels = np.zeros(SHAPE, dtype)
    labels[3, 4:12], labels[15, 20:30] = 1, 2
    return labels


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_scribbles_of_any_integer_type_become_ids_of_the_legend(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "l.tif", painted(dtype))
    drawn = read_drawn(tmp_path / "l.tif", section(), classes=CLASSES)
    np.testing.assert_array_equal(np.unique(drawn.classes, return_counts=True), [[2, 7, 255], [8, 10, 622]])
    assert drawn.names() == ("chondrule", "matrix")
    assert list(drawn.truth()) == ["components"]


def test_0_and_255_are_unlabelled_unless_named():
    labels = painted()
    labels[0, :5] = 255
    assert read_drawn(labels, section(), classes=CLASSES).names() == ("chondrule", "matrix")
    named = read_drawn(labels, section(), classes=CLASSES | {0: "rim", "255": "inclusion"})
    assert named.names() == ("chondrule", "rim", "inclusion", "matrix")


def test_other_values_may_stand_for_unlabelled():
    labels = painted()
    labels[5, :3] = 9
    drawn = read_drawn(labels, section(), classes=CLASSES, unlabelled=[0, 9])
    assert (drawn.classes[5] == 255).all()


def test_a_class_may_be_ignored():
    labels = painted()
    labels[5, :3] = 3
    drawn = read_drawn(labels, section(), classes=CLASSES | {3: "ignore"})
    assert (drawn.classes[5] == 255).all()


@pytest.mark.parametrize(
    ("labels", "options", "error", "match"),
    [
        (painted()[:, :30], {}, ShapeMismatchError, r"20 x 30 .* 20 x 32: export the labels at full size"),
        (painted() * 0, {}, InputError, "There are no labels: the image holds only 0"),
        (painted() + 3, {}, InputError, "What the label value 3, 4, 5 means is not said: give --class 3=NAME"),
        (painted() * (painted() == 1), {}, InputError, "only 'chondrule': label at least two"),
        (painted(), {"classes": {1: "chondrul", 2: "matrix"}}, UnknownNameError, "Did you mean 'chondrule'"),
        (painted(), {"kind": "phases"}, UnknownNameError, "Unknown phase 'chondrule'"),
        (painted(), {"kind": "object"}, UnknownNameError, "Did you mean 'objects'"),
        (painted() / 2, {}, InputError, "whole numbers"),
        (-painted(int), {}, InputError, "value -2"),
        (painted(), {"classes": CLASSES | {9: "chondrul"}}, UnknownNameError, "Did you mean 'chondrule'"),
        (painted(), {"classes": CLASSES | {"clast": "clast"}}, InputError, "'clast=clast' is no class of labels"),
        (painted(), {"kinds": {1: "chondrule"}}, InputError, "use --kind objects"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_a_line(labels, options, error, match):
    with pytest.raises(error, match=match) as caught:
        read_drawn(labels, section(), **({"classes": CLASSES} | options))
    assert "\n" not in str(caught.value)


def outlined():
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:8, 3:9], labels[2:8, 9:14], labels[12:18, 20:28], labels[12:15, 2:6] = 4, 5, 300, 9
    return labels


KINDS = {4: "chondrule or fragment", 5: "Fragment", 300: "metal-sulfide nodule", 9: "dark thing"}


def test_objects_teach_components_and_distances_by_their_kind():
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 30:] = 0
    drawn = read_drawn(outlined(), section(mask), kind="objects", kinds=KINDS)
    assert drawn.classes[3, 4] == drawn.classes[3, 10] == 2
    assert drawn.classes[13, 21] == 5
    assert drawn.classes[13, 3] == 255
    assert drawn.classes[0, 0] == 7
    assert (drawn.classes[:, 30:] == 0).all()
    assert drawn.notes == (
        "objects of kind 'chondrule or fragment' (1): chondrule",
        "objects of kind 'Fragment' (1): chondrule",
        "objects of kind 'dark thing' (1): take no part (say what they are with --class 'dark thing=COMPONENT')",
        "objects of kind 'metal-sulfide nodule' (1): metal-sulfide nodule",
    )
    truth = drawn.truth()
    assert set(np.unique(truth["distance"])) == {-1, 0, 4, 5}
    assert (truth["distance"][12:18, 20:28] == 0).all()
    assert drawn.uncounted_ids == [9, 300]


def test_a_kind_may_be_named_and_objects_left_out():
    drawn = read_drawn(outlined(), section(), kind="objects", kinds=KINDS, classes={"dark thing": "clast"})
    assert drawn.classes[13, 3] == 6
    truth = drawn.truth(without=[5])
    assert (truth["components"][2:8, 9:14] == 255).all()
    assert (truth["distance"][2:8, 9:14] == -1).all()
    assert (truth["distance"][2:8, 3:9] == 4).all()


def test_without_kinds_all_objects_are_chondrules_even_number_255():
    labels = outlined()
    labels[labels == 300] = 255
    drawn = read_drawn(labels, section(), kind="objects")
    assert (drawn.classes[labels > 0] == 2).all()
    assert (drawn.classes[labels == 0] == 7).all()


@pytest.mark.parametrize(
    ("kinds", "match"),
    [
        ({4: "chondrule"}, "lacks the objects 5, 9, 300: add a row"),
        (dict.fromkeys(KINDS, "nodule"), "4 objects and none is a chondrule"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(kinds, match):
    with pytest.raises(InputError, match=match):
        read_drawn(outlined(), section(), kind="objects", kinds=kinds)


@pytest.mark.parametrize(
    ("kind", "component"),
    [
        ("primitive clast", "clast"), ("Fine-grained rims", "rim"), ("CAI", "inclusion"), ("AOAs", "inclusion"),
        ("sulfide nodule", "metal-sulfide nodule"), ("Al-rich", "chondrule"), ("Ca-Al-rich object", None),
        ("grimy thing", None), ("outside", None), ("ignore", "ignore"),
    ],
)  # fmt: skip
def test_kinds_are_understood_by_whole_words(kind, component):
    assert component_of_kind(kind) == component


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("not a chondrule", "says 'not' and chondrule"),
        ("non-chondrule", "says 'non' and chondrule"),
        ("chondrule with rim", "names chondrule and rim"),
    ],
)
def test_kinds_that_may_be_misunderstood_are_refused_until_named(kind, match):
    with pytest.raises(InputError, match=f"{match}: say what it is with --class '{kind}=COMPONENT'") as caught:
        read_drawn(outlined(), section(), kind="objects", kinds=KINDS | {9: kind})
    assert "\n" not in str(caught.value)
    named = read_drawn(outlined(), section(), kind="objects", kinds=KINDS | {9: kind}, classes={kind: "ignore"})
    assert f"objects of kind '{kind}' (1): take no part" in named.notes


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"classes": {3: "clast"}}, InputError, "What '3' means was given, but .* --kinds objects.csv"),
        ({"kinds": KINDS, "classes": {"dark thin": "clast"}}, UnknownNameError, "Did you mean 'dark thing'"),
        ({"kinds": KINDS | {77: "far"}, "classes": {"far": "klast"}}, UnknownNameError, "Did you mean 'clast'"),
    ],
)
def test_classes_that_objects_do_not_use_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        read_drawn(outlined(), section(), kind="objects", **options)


def test_classes_that_do_not_occur_are_named():
    drawn = read_drawn(painted(), section(), classes=CLASSES | {9: "rim"})
    assert drawn.notes == ("no pixel has the label 9=rim",)


def test_tables_say_what_labels_mean(tmp_path):
    plain, full, kinds = (tmp_path / name for name in ("plain.csv", "legend.csv", "kinds.csv"))
    plain.write_text("\ufeffvalue,name\n1,chondrule\n2, matrix\n", encoding="utf-8")
    full.write_text("layer,id,name,color\nphases,1,olivine,#fff\ncomponents,1,rim,#fff\n", encoding="utf-8")
    kinds.write_text("label,grey,kind\n1,7,chondrule\n12,8,rim\n", encoding="utf-8")
    assert read_meaning(plain, "components") == {"1": "chondrule", "2": "matrix"}
    assert read_meaning(full, "phases") == {"1": "olivine"}
    assert read_kinds(kinds) == {1: "chondrule", 12: "rim"}


def test_a_comma_at_the_end_of_rows_moves_no_column(tmp_path):
    meaning, kinds = tmp_path / "legend.csv", tmp_path / "kinds.csv"
    meaning.write_text("value,name\n1,olivine,\n2,troilite,\n", encoding="utf-8")
    kinds.write_text("label,kind\n3,chondrule,\n4,nodule,\n", encoding="utf-8")
    assert read_meaning(meaning, "phases") == {"1": "olivine", "2": "troilite"}
    assert read_kinds(kinds) == {3: "chondrule", 4: "nodule"}


@pytest.mark.parametrize(
    ("text", "match"),
    [("a,b\n1,2\n", "needs the columns id and name"), ("", "needs the columns"), (None, "cannot be read")],
)
def test_tables_without_meaning_are_refused(tmp_path, text, match):
    if text is not None:
        (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=match):
        read_meaning(tmp_path / "l.csv", "phases")


def test_tables_of_other_layers_and_kinds_without_numbers_are_refused(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("layer,id,name\nphases,1,olivine\n", encoding="utf-8")
    with pytest.raises(InputError, match="no row of the layer components"):
        read_meaning(path, "components")
    path.write_text("label,kind\nx,chondrule\n", encoding="utf-8")
    with pytest.raises(InputError, match="label 'x'"):
        read_kinds(path)


def test_outlines_of_a_real_section_are_understood_and_split(real_data):
    folder = real_data / "semarkona-ps1b-west"
    maps = open_section(folder, pixel_size_um=25.0)
    drawn = read_drawn(folder / "objects.tif", maps, kind="objects", kinds=read_kinds(folder / "objects.csv"))
    assert drawn.names() == ("outside", "chondrule", "metal-sulfide nodule", "matrix")
    assert len(drawn.ids_of("chondrule")) == 179
    assert len(drawn.uncounted_ids) == 69
    assert "'Ca-Al-rich object' (1): take no part" in drawn.notes[2]
    split = split_labels(drawn.classes, "components", side="left", gap_px=26)
    assert split.train.col - split.held.col_end == 26
