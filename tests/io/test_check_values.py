import numpy as np
import pytest

from meteoseg.errors import InputError
from meteoseg.io import check_values
from meteoseg.section import Section


def section(**maps):
    units = dict.fromkeys(maps, "counts")
    return Section.from_arrays("A12", maps, units=units)


def test_clean_maps_give_no_remarks():
    assert check_values(section(Fe=np.arange(12).reshape(3, 4))) == ()


def test_nan_and_negative_values_are_counted():
    values = np.ones((4, 5))
    values[0, :2], values[1, :3] = np.nan, -1
    assert check_values(section(Fe=values)) == (
        "Fe: 2 of 20 pixels are NaN (10 %), kept",
        "Fe: 3 of 20 pixels are negative (15 %), kept",
    )


def test_all_zero_map_is_reported_and_all_maps_zero_refused():
    assert check_values(section(Fe=np.ones((2, 3)), Mg=np.zeros((2, 3)))) == ("Mg: all-zero map",)
    with pytest.raises(InputError, match="All maps of 'A12' are zero everywhere"):
        check_values(section(Fe=np.zeros((2, 3)), Mg=np.zeros((2, 3), np.uint8)))


def test_saturation_over_five_percent_of_an_eight_bit_map():
    values = np.full((10, 10), 7, np.uint8)
    values[0, :5] = 255
    assert check_values(section(Fe=values)) == ()
    values[0, 5] = 255
    assert check_values(section(Fe=values)) == ("Fe: 6 % of the pixels are saturated (255)",)


def test_censored_counts_of_one():
    censored = np.array([[0, 2, 3, 5]])
    assert check_values(section(Fe=censored))[0].startswith("Fe: a count of 1 never occurs")
    assert check_values(section(Fe=np.array([[0, 1, 2, 3]]))) == ()


def test_bands_are_added_up(monkeypatch):
    monkeypatch.setattr("meteoseg.io.values._BAND_PX", 10)
    values = np.full((7, 5), np.nan)
    values[6, 4] = 1
    assert check_values(section(Fe=values)) == ("Fe: 34 of 35 pixels are NaN (97.1 %), kept",)


def test_a_mask_without_a_pixel_is_refused():
    maps = {"Fe": np.ones((3, 4))}
    with pytest.raises(InputError, match="mask of 'A12' leaves no pixel"):
        check_values(Section.from_arrays("A12", maps, mask=np.zeros((3, 4), np.uint8)))


def test_infinite_values_are_counted_apart_from_nan_and_negative_ones():
    values = np.ones((4, 5))
    values[0, :3], values[1, 0], values[2, 0] = (np.inf, -np.inf, 1e39), np.nan, -1
    assert check_values(section(Fe=values)) == (
        "Fe: 1 of 20 pixels is NaN (5 %), kept",
        "Fe: 1 of 20 pixels is negative (5 %), kept",
        "Fe: 3 of 20 values are not finite (15 %), read as NaN",
    )


def test_a_map_of_infinite_values_alone_is_no_map():
    with pytest.raises(InputError, match="All maps of 'A12' are zero everywhere"):
        check_values(section(Fe=np.full((2, 3), np.inf), Mg=np.zeros((2, 3))))
