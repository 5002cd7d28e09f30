import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteoseg.elements import ATOMIC_NUMBER
from meteoseg.errors import UnknownNameError
from meteoseg.io.names import (
    OXIDES,
    check_channel_name,
    is_label_name,
    is_mask_name,
    oxide_to_element_factor,
    pixel_size_from_name,
    recognise,
)

RECOGNISED = {
    "Mosaic element_Fe": "Fe",
    "Mosaic element_BSE": "BSE",
    "Mosaic element_K": "K",
    "Mosaic element_FE": "Fe",
    "obj1_32bt_Pho": "P",
    "obj1_32bt_Sul": "S",
    "obj1_8bt_BSE": "BSE",
    "obj1_16bt_Fe_masked": "Fe",
    "sem-4128-5-chm8-20170814-1umppx-32bt_32bt_K": "K",
    "Mg Kα1_2": "Mg",
    "Ca Kα1": "Ca",
    "K Kα1_2": "K",
    "S Kα1_2 Site 3": "S",
    "Fe Lα1_2": "Fe",
    "Al K series": "Al",
    "K K series": "K",
    "P K series": "P",
    "Al Wt%": "Al",
    "map7_Fe-KA": "Fe",
    "map7_S-K": "S",
    "map7_K-KA": "K",
    "1-Si": "Si",
    "eds-map-Al": "Al",
    "SiO2": "Si",
    "Na2O": "Na",
    "K2O": "K",
    "FeOT": "Fe",
    "Ca Ka": "Ca",
    "LL3_Fe_site2": "Fe",
    "fe": "Fe",
    "sample2_COMPO": "BSE",
    "overview_BEI": "BSE",
}
NOT_RECOGNISED = [
    "Semarkona",
    "PSKCO",
    "Kamacite",
    "Scan",
    "thin section",
    "chondrite_H5",
    "CO3",
    "sample_P1",
    "compositions",
    "Electron Image 1",
    "thesis",
    "image",
    "calcium",
    "12",
    "",
]


@pytest.mark.parametrize(("name", "channel"), RECOGNISED.items())
def test_export_names_give_their_channel(name, channel):
    found = recognise(name)
    assert found is not None
    assert found.name == channel


@pytest.mark.parametrize("name", NOT_RECOGNISED)
def test_other_names_give_nothing(name):
    assert recognise(name) is None


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_greek_letter_in_both_normal_forms(form):
    assert recognise(unicodedata.normalize(form, "Mg Kα1_2")).name == "Mg"


def test_reason_names_the_pattern():
    assert recognise("obj1_32bt_Sul").reason == "'Sul' is the last word of the file name"
    assert recognise("x Fe-KA").reason == "'Fe-KA' (element and X-ray line) in the file name"


def test_details_read_from_names():
    assert recognise("Al Wt%").unit == "wt%"
    assert recognise("Al K series").unit is None
    assert recognise("Fe Lα1_2").xray_line == "L"
    assert recognise("obj1_16bt_Fe_masked").masked


@given(st.sampled_from(sorted(ATOMIC_NUMBER)), st.text("abcdehiklmnoprstu", min_size=3, max_size=12))
def test_symbol_inside_a_longer_word_is_never_taken(symbol, word):
    glued = f"x_{symbol}{word}"
    found = recognise(glued)
    assert found is None or (symbol + word).lower() in ("pho", "sul", "bse", "bei", "compo")


@given(st.sampled_from(sorted(ATOMIC_NUMBER)), st.sampled_from(["_", "-", " ", "."]))
def test_symbol_as_last_token_is_taken(symbol, mark):
    assert recognise(f"maps 12{mark}{symbol}").name == symbol


def test_oxide_factors_agree_with_published_conversion():
    published = {"SiO2": 0.4674, "Al2O3": 0.5293, "FeO": 0.7773, "MgO": 0.6030, "CaO": 0.7147, "Na2O": 0.7419}
    for formula, factor in published.items():
        assert oxide_to_element_factor(formula) == pytest.approx(factor, abs=2e-4)
    assert all(0.3 < oxide_to_element_factor(formula) < 0.95 for formula in OXIDES)


def test_unknown_oxide_is_refused():
    with pytest.raises(UnknownNameError, match="Unknown oxide 'SiO3'"):
        oxide_to_element_factor("SiO3")


@pytest.mark.parametrize(
    ("name", "size_um"),
    [("a-1umppx-b", 1.0), ("0p5umppx", 0.5), ("x_2.5umppx_Fe", 2.5), ("3um", None), ("20170814", None)],
)
def test_pixel_size_token(name, size_um):
    assert pixel_size_from_name(name) == size_um


def test_masks_and_labels_by_name():
    assert is_mask_name("obj1_mask")
    assert is_mask_name("SectionMask")
    assert not is_mask_name("obj1_16bt_Fe_masked")
    assert is_label_name("objects")
    assert is_label_name("A12 phases")
    assert is_label_name("Fe_overlay")
    assert not is_label_name("chondrules_Fe")


def test_channel_names_are_a_closed_list():
    assert check_channel_name("BSE") == "BSE"
    with pytest.raises(UnknownNameError, match=r"Unknown channel 'fe'\. Did you mean 'Fe'"):
        check_channel_name("fe")
