"""The response of a section, written beside its results and read back number for number."""

import pytest

from meteoseg.errors import InputError
from meteoseg.minerals.calibration import Calibration, ChannelResponse
from meteoseg.minerals.quantified import QuantifiedResponse
from meteoseg.minerals.responsefile import read_response, write_response


@pytest.mark.parametrize(
    "response",
    [
        Calibration({"Fe": ChannelResponse(1 / 3, -0.1, 0.07, 2e-4, ones_missing=True, relative_sd=0.1 / 7)}, "self"),
        QuantifiedResponse({"Fe": 1 / 3, "Mg": 0.2}, 0.03),
    ],
)
def test_responses_come_back_number_for_number(tmp_path, response):
    write_response(tmp_path / "calibration.json", response)
    assert read_response(tmp_path / "calibration.json") == response


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{", "is damaged"),
        ('{"format": "meteoseg-quantified-1"}', "is damaged .*noise_wt_pct.*segment the section again"),
        ("[]", "needs"),
    ],
)
def test_damaged_files_are_named(tmp_path, text, message):
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_response(path)


def test_other_responses_are_refused(tmp_path):
    with pytest.raises(InputError, match="type int cannot be written"):
        write_response(tmp_path / "a.json", 3)
