import numpy as np
import pytest

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.jeol import read_jeol
from meteoseg.io.text import read_text

WHOLE = np.arange(20).reshape(4, 5) * 3 + 7


def values_of(path, text):
    path.write_text(text, encoding="utf-8")
    (source,) = read_text(path)
    return source.plane.read(Window.whole(source.plane.shape)), source


def rows(values, mark=",", end="\n"):
    return "".join(mark.join(str(v) for v in row) + end for row in values)


@pytest.mark.parametrize("mark", [",", ";", "\t", " ", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators(tmp_path, mark, end):
    values, source = values_of(tmp_path / "Fe.csv", rows(WHOLE, mark, end))
    np.testing.assert_array_equal(values, WHOLE)
    assert (source.unit, values.dtype) == ("counts", np.int32)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_trailing_separator_is_no_column(tmp_path, mark):
    values, _ = values_of(tmp_path / "Fe.csv", rows(WHOLE, mark, mark + "\n"))
    np.testing.assert_array_equal(values, WHOLE)


def test_empty_fields_are_nan(tmp_path):
    values, source = values_of(tmp_path / "Fe.csv", ",2,3\n4,,6\n7,8,9\n")
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 0], [1, 1]]
    assert values[2].tolist() == [7, 8, 9]
    assert source.unit == "unknown"


def test_decimal_commas_between_semicolons(tmp_path):
    values, _ = values_of(tmp_path / "Fe.csv", "1,5;-2,25\n3;4\n")
    np.testing.assert_array_equal(values, [[1.5, -2.25], [3, 4]])


def test_index_row_and_column_are_dropped(tmp_path):
    indexed = np.zeros((5, 6), int)
    indexed[0, 1:], indexed[1:, 0], indexed[1:, 1:] = np.arange(5), np.arange(4), WHOLE
    values, _ = values_of(tmp_path / "Fe.csv", rows(indexed))
    np.testing.assert_array_equal(values, WHOLE)


CAMECA = "Image : Ca Ka\nStep Number : 5\nLine Number : 4\nStep Size : 2.0 3.0 um\n\n"


def test_cameca_header_names_element_and_step(tmp_path):
    values, source = values_of(tmp_path / "run7.txt", CAMECA + rows(WHOLE, "\t"))
    np.testing.assert_array_equal(values, WHOLE)
    assert (source.label, source.pixel_size_um) == ("Ca Ka", (3.0, 2.0))


def test_cameca_index_is_found_by_the_announced_size(tmp_path):
    indexed = np.zeros((5, 6), int)
    indexed[0, 1:], indexed[1:, 0], indexed[1:, 1:] = 9, 8, WHOLE
    values, _ = values_of(tmp_path / "run7.txt", CAMECA + rows(indexed, "\t"))
    np.testing.assert_array_equal(values, WHOLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,5\n", "row 2 has 2 fields, row 1 has 3"),
        ("a,b\n1,2\n", "not a map of numbers"),
        ("1,2\n3,four\n", "not a map of numbers"),
        ("  \n", "is empty"),
    ],
)
def test_bad_text_is_refused(tmp_path, text, message):
    path = tmp_path / "Fe.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_text(path)


SUN = "$XM_ELEMENT         Si\n$XM_STEP_SIZE       4 2  um\n$XM_POINTS          5 4\n"
WIN = "$XM_ELEM_NAME%0 Ti\n$XM_AP_SA_PIXELS%0 5 4\n$XM_AP_SA_PIXEL_SIZE%0 0.50 0.25 50.00\n$XM_DATA_COUNT_MAX 64.0\n"


@pytest.mark.parametrize(
    ("file", "condition", "text", "label", "size"),
    [
        ("1_map.txt", "1.cnd", SUN, "Si", (2.0, 4.0)),
        ("data003.csv", "data003.cnd", WIN, "Ti", (0.25, 0.5)),
        ("data004.csv", "data004.cnd", WIN + "$XM_ELEM_IMS_SIGNAL_TYPE%0 COMPO\n", "COMPO", (0.25, 0.5)),
    ],
)
def test_jeol_text_takes_element_and_step_from_its_conditions(tmp_path, file, condition, text, label, size):
    (tmp_path / condition).write_text(text)
    (tmp_path / file).write_text(rows(WHOLE))
    (source,) = read_jeol(tmp_path / file)
    assert (source.label, source.pixel_size_um) == (label, size)
    np.testing.assert_array_equal(source.plane.read(Window(1, 2, 2, 2)), WHOLE[1:3, 2:4])


@pytest.mark.parametrize("stored", [">u2", "<u2", "<u4", "<f4"])
def test_jeol_stage_map_is_turned_upright_and_its_byte_order_found(tmp_path, stored):
    (tmp_path / "data003.cnd").write_text(WIN)
    WHOLE[:, ::-1].T.astype(stored).tofile(tmp_path / "data003.map")
    (source,) = read_jeol(tmp_path / "data003.map")
    np.testing.assert_array_equal(source.plane.read(Window(0, 0, 4, 5)), WHOLE)
    np.testing.assert_array_equal(source.plane.read(Window(1, 3, 2, 2)), WHOLE[1:3, 3:5])


def test_jeol_truncated_map_is_refused(tmp_path):
    (tmp_path / "data003.cnd").write_text(WIN)
    WHOLE.astype(">u2").ravel()[:19].tofile(tmp_path / "data003.map")
    with pytest.raises(InputError, match="announces 4 x 5 points"):
        read_jeol(tmp_path / "data003.map")


def test_jeol_map_needs_its_conditions(tmp_path):
    (tmp_path / "7.map").write_bytes(b"\0" * 40)
    with pytest.raises(InputError, match="needs its condition file"):
        read_jeol(tmp_path / "7.map")
