"""The figure and the table of a calibration hold what was measured and what was fitted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from meteoseg.cli import main
from meteoseg.minerals.calibration import Calibration, ChannelResponse, StandardCheck
from meteoseg.report.calibrationsheet import DOUBT, calibration_figure, format_calibration


def made(suspects: tuple[str, ...] = ()) -> Calibration:
    channels = {
        "Fe": ChannelResponse(3.4, 0.1, 0.05, 2e-4, relative_sd=0.03, background_sd=0.1, dead_time_sd=5e-5),
        "Mg": ChannelResponse(14.0, relative_sd=0.05, source="1 standard"),
    }
    checks = (
        StandardCheck("FeS", "Fe", 63.5, 196.0, 197.0, -0.2, 0.2, 22.4),
        StandardCheck("olivine", "Mg", 30.0, 150.0, 250.0, -8.0, 0.3, 11.7),
        StandardCheck("olivine", "Fe", 0.0, 0.5, 0.6, -1.0, 0.05, 11.7),
    )
    return Calibration(channels, "standards", checks, ("Standard olivine does not fit",), suspects)


def count_color(png: bytes, color: str) -> int:
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return int(np.all(rgb == [int(color[i : i + 2], 16) for i in (1, 3, 5)], axis=-1).sum())


def test_figure_marks_the_standards_in_doubt():
    plain, doubted = calibration_figure(made()), calibration_figure(made(("olivine",)))
    assert count_color(plain, DOUBT) == 0
    assert count_color(doubted, DOUBT) > 30


def test_figure_without_standards_says_so():
    alone = calibration_figure(Calibration({"Fe": ChannelResponse(3.4)}))
    assert Image.open(io.BytesIO(alone)).size[0] == 1800


def test_table_lists_elements_standards_and_notes():
    lines = format_calibration(made()).splitlines()
    assert next(line for line in lines if line.startswith("Fe")).split()[1:4] == ["3.400", "+-", "0.102"]
    assert any(line.split()[:3] == ["olivine", "Mg", "30.00"] and line.endswith("-8.0") for line in lines)
    assert not any(line.split()[:2] == ["olivine", "Fe"] for line in lines)
    assert lines[-1] == "Standard olivine does not fit"


def test_command_writes_json_figure_and_table(tmp_path, real_data):
    out = tmp_path / "made" / "calibration.json"
    done = CliRunner().invoke(main, ["calibrate", str(real_data / "standards"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(Calibration.from_json(out).channels) == 10
    assert "Al: no standard" in done.output


def test_figure_and_json_of_one_name_are_refused(tmp_path):
    done = CliRunner().invoke(main, ["calibrate", str(tmp_path), "-o", str(tmp_path / "c.png")])
    assert done.exit_code == 2
    assert "cannot be the calibration and its figure" in done.output


def test_figure_of_another_format_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["calibrate", str(tmp_path), "-o", "c.json", "--figure", "c.jpgg"])
    assert done.exit_code == 2
    assert "--figure c.jpgg is no PNG" in done.output


@pytest.mark.parametrize("name", ["calibration.json", "calibration"])
def test_figure_lies_beside_the_json(tmp_path, name):
    done = CliRunner().invoke(main, ["calibrate", str(tmp_path), "-o", str(tmp_path / name)])
    assert done.exit_code == 2
    assert "has no compositions.csv" in done.output
