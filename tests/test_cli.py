from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner, Result

from meteoseg.cli import main

CONTRACT = {
    "phases.ome.tif", "components.ome.tif", "chondrules.ome.tif", "legend.csv", "modes.csv", "chondrules.csv",
    "classification.json", "report.html", "run.json",
}  # fmt: skip
COMMANDS = (
    "inspect", "segment", "batch", "composite", "calibrate", "train", "finetune", "modes", "evaluate", "simulate",
    "classify", "fetch", "demo", "register",
)  # fmt: skip


def meteoseg(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def error_of(*args: object) -> str:
    """Run a command that must fail with exit code 2 and one line on stderr; return that line."""
    result = meteoseg(*args)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("meteoseg: error: ")
    return lines[0]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = meteoseg(command, "--help")
    assert result.exit_code == 0
    assert f"meteoseg {command}" in result.output or command == "demo"


def test_inspect_says_what_was_recognised_and_writes_nothing(maps: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = meteoseg("inspect", maps, "--pixel-size", 2)
    assert result.exit_code == 0
    for word in ("Fe", "Mg", "48 rows x 70 columns", "counts", "A12_Fe.tif"):
        assert word in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_inspect_writes_a_section_toml_that_reads_the_same(maps: Path, tmp_path: Path) -> None:
    toml = tmp_path / "section.toml"
    assert meteoseg("inspect", maps, "--pixel-size", 2, "-o", toml).exit_code == 0
    again = meteoseg("inspect", toml)
    assert again.exit_code == 0
    assert "48 rows x 70 columns" in again.output


def test_segment_writes_the_contract(maps: Path, out: Path, tiny_model: Path) -> None:
    result = meteoseg("segment", maps, "-o", out, "--pixel-size", 8, "--pixel-size-error", 5, "--model", tiny_model)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (out / "A12").iterdir()} >= CONTRACT
    assert "area %" in result.stdout
    assert str(out / "A12" / "report.html") in result.stdout
    run = json.loads((out / "A12" / "run.json").read_text(encoding="utf-8"))
    assert run["section"]["pixel_size_error_pct"] == 5
    assert len(run["inputs"]) == 4
    assert meteoseg("modes", out).exit_code == 0
    assert meteoseg("classify", out, "-o", out / "groups.csv").exit_code == 0
    assert pd.read_csv(out / "groups.csv")["section"].tolist() == ["A12"]
    scores = meteoseg("evaluate", out, out / "A12", "--kind", "components", "-o", out / "scores.csv")
    assert scores.exit_code == 0
    assert "not empty" in error_of("segment", maps, "-o", out, "--pixel-size", 8, "--model", tiny_model)
    again = meteoseg("segment", maps, "-o", out, "--pixel-size", 8, "--model", tiny_model, "--overwrite")
    assert again.exit_code == 0


def test_a_table_made_by_hand_gives_ranked_rows(tmp_path: Path) -> None:
    table = tmp_path / "published.csv"
    table.write_text("name,group,metal_vol_pct,Fa_olivine_mol_pct\nA,H5,8,18.8\nB,,,\n", encoding="utf-8")
    result = meteoseg("classify", table, "--fall", "-o", tmp_path / "groups.csv")
    assert result.exit_code == 0, result.output
    assert "Against the 1 stated groups: first in 1.000" in result.stdout
    ranked = pd.read_csv(tmp_path / "groups.csv")
    assert ranked.columns[:5].tolist() == ["name", "rank", "group", "probability", "evidence"]
    assert ranked["group"].iloc[[0, -1]].tolist() == ["H", "not enough evidence"]
    assert len(ranked) == 17
    assert ranked["weathering"].unique().tolist() == ["W0"]
    table.write_text("name,chondrules_vol_pct,matrix_vol_pct\nA,70,70\n", encoding="utf-8")
    assert "add up to 140 %" in error_of("classify", table)


def test_channels_are_given_by_name_one_or_many_at_a_time(maps: Path) -> None:
    iron, sulfur = maps / "A12_Fe.tif", maps / "A12_S.tif"
    repeated = meteoseg("inspect", maps, "--channels", f"Ni={iron}", "--channels", f"Ti={sulfur}")
    at_once = meteoseg("inspect", maps, "--channels", f"Ni={iron}", f"Ti={sulfur}")
    assert repeated.exit_code == 0
    assert at_once.output == repeated.output
    assert "Ni" in at_once.output


def test_composite_writes_a_picture(maps: Path, out: Path) -> None:
    from PIL import Image

    result = meteoseg("composite", maps, "--preset", "Fe=red,S=green", "-o", out / "c.png")
    assert result.exit_code == 0
    with Image.open(out / "c.png") as picture:
        assert picture.size == (70, 48)


def test_simulate_writes_maps_and_truth(out: Path) -> None:
    result = meteoseg("simulate", "--group", "LL", "--size-mm", "0.6x0.4", "--pixel-size", 5, "-o", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (out / "truth").iterdir()} >= {"phases.ome.tif", "components.ome.tif"}
    assert "80 rows x 120 columns" in meteoseg("inspect", out).output
    assert "not empty" in error_of("simulate", "--group", "LL", "-o", out)


def test_batch_exit_code_says_that_some_failed(maps: Path, out: Path, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(maps, tmp_path / "campaign" / "good")
    (tmp_path / "campaign" / "empty").mkdir()
    result = meteoseg("batch", tmp_path / "campaign", "-o", out, "--pixel-size", 8, "--model", tiny_model)
    assert result.exit_code == 1
    assert "1 done, 0 complete before, 1 failed" in result.stdout
    (tmp_path / "campaign" / "empty").rmdir()
    again = meteoseg("batch", tmp_path / "campaign", "-o", out, "--pixel-size", 8, "--model", tiny_model, "--resume")
    assert again.exit_code == 0


def test_ctrl_c_is_130(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("meteoseg.io.open_section", interrupt)
    assert meteoseg("inspect", maps).exit_code == 130


# Bad input: one line, exit code 2, nothing written.


def test_missing_folder(out: Path, tmp_path: Path) -> None:
    assert "absent" in error_of("segment", tmp_path / "absent", "-o", out)
    assert not out.exists()


def test_no_recognisable_channel(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "readme.txt").write_text("These are notes on the section, not maps.")
    tifffile.imwrite(folder / "picture.tif", np.ones((5, 6), np.uint8))
    assert "--channels" in error_of("segment", folder, "-o", out)
    assert not out.exists()


def test_maps_of_different_shapes(maps: Path, out: Path) -> None:
    tifffile.imwrite(maps / "A12_Ca.tif", np.ones((48, 71), np.uint16))
    line = error_of("segment", maps, "-o", out, "--pixel-size", 2)
    assert "48 x 71" in line
    assert "--crop-to-common" in line
    assert not out.exists()
    assert meteoseg("inspect", maps, "--crop-to-common").exit_code == 0


def test_a_mask_of_another_shape(maps: Path, out: Path) -> None:
    tifffile.imwrite(maps / "A12_mask.tif", np.ones((51, 70), np.uint8))
    line = error_of("segment", maps, "-o", out, "--pixel-size", 2)
    assert "51 x 70" in line
    assert "48 x 70" in line
    assert not out.exists()
    assert meteoseg("inspect", maps, "--no-mask").exit_code == 0


def test_two_files_for_one_element(maps: Path, out: Path) -> None:
    shutil.copy(maps / "A12_Fe.tif", maps / "B_Fe.tif")
    line = error_of("segment", maps, "-o", out, "--pixel-size", 2)
    assert "A12_Fe.tif" in line
    assert "B_Fe.tif" in line
    assert not out.exists()


def test_a_truncated_tiff(maps: Path, out: Path) -> None:
    file = maps / "A12_Fe.tif"
    file.write_bytes(file.read_bytes()[:1000])
    assert "A12_Fe.tif" in error_of("segment", maps, "-o", out, "--pixel-size", 2)
    assert not out.exists()


def test_an_unreadable_tiff(maps: Path, out: Path) -> None:
    (maps / "A12_Fe.tif").write_bytes(b"no image at all")
    assert "A12_Fe.tif" in error_of("segment", maps, "-o", out, "--pixel-size", 2)
    assert not out.exists()


def test_nan_and_negative_values_are_kept_and_reported(maps: Path, out: Path, tiny_model: Path) -> None:
    values = tifffile.imread(maps / "A12_Fe.tif").astype(np.float32)
    values[3, 4:9] = np.nan
    values[10, 4:7] = -2
    tifffile.imwrite(maps / "A12_Fe.tif", values)
    assert meteoseg("segment", maps, "-o", out, "--pixel-size", 8, "--model", tiny_model).exit_code == 0
    notes = " ".join(json.loads((out / "A12" / "run.json").read_text(encoding="utf-8"))["notes"])
    assert "5" in notes
    assert "NaN" in notes
    assert "negative" in notes


def test_all_maps_zero(maps: Path, out: Path, tiny_model: Path) -> None:
    for file in maps.glob("*.tif"):
        tifffile.imwrite(file, np.zeros((48, 70), np.uint16))
    assert "zero" in error_of("segment", maps, "-o", out, "--pixel-size", 2, "--model", tiny_model)
    assert not out.exists()


def test_one_map_all_zero_is_reported(maps: Path) -> None:
    tifffile.imwrite(maps / "A12_S.tif", np.zeros((48, 70), np.uint16))
    assert "zero" in meteoseg("inspect", maps).output.lower()


def test_pixel_size_unknown(maps: Path, out: Path, tiny_model: Path) -> None:
    assert "--pixel-size" in error_of("segment", maps, "-o", out, "--model", tiny_model)
    assert not out.exists()


@pytest.mark.parametrize("size", ["0", "-1", "nan", "inf", "wide"])
def test_pixel_size_impossible(maps: Path, out: Path, tiny_model: Path, size: str) -> None:
    assert "size" in error_of("segment", maps, "-o", out, "--model", tiny_model, f"--pixel-size={size}")
    assert not out.exists()


def test_unknown_preset(maps: Path, out: Path) -> None:
    assert "Did you mean 'FeSO'" in error_of("composite", maps, "--preset", "FeSo", "-o", out / "c.png")
    assert not out.exists()


def test_a_preset_whose_channel_is_missing(maps: Path, out: Path) -> None:
    assert "needs O" in error_of("composite", maps, "--preset", "FeSO", "-o", out / "c.png")
    assert not out.exists()


def test_unknown_phase(maps: Path, out: Path, tiny_model: Path, tmp_path: Path) -> None:
    legend = tmp_path / "legend.toml"
    legend.write_text('drop = ["olivin"]', encoding="utf-8")
    line = error_of("segment", maps, "-o", out, "--pixel-size", 2, "--model", tiny_model, "--phases", legend)
    assert "Did you mean 'olivine'" in line
    assert not out.exists()


def test_unknown_model(maps: Path, out: Path) -> None:
    assert "chondrit" in error_of("segment", maps, "-o", out, "--pixel-size", 2, "--model", "chondrit")
    assert not out.exists()


def test_a_file_that_is_no_model(maps: Path, out: Path) -> None:
    line = error_of("segment", maps, "-o", out, "--pixel-size", 2, "--model", maps / "A12_Fe.tif")
    assert "A12_Fe.tif" in line
    assert not out.exists()


def test_unknown_group(out: Path) -> None:
    assert "LM" in error_of("simulate", "--group", "LM", "--size-mm", "1x1", "-o", out)
    assert not out.exists()


def test_unknown_prior_and_data_set(tmp_path: Path) -> None:
    (tmp_path / "modes.csv").write_text("layer,name,area_pct\nphases,olivine,100\n", encoding="utf-8")
    assert "Unknown prior" in error_of("classify", tmp_path / "modes.csv", "--prior", "fals")
    assert "semarkona-chm8" in error_of("fetch", "semarkona-chm9", "-o", tmp_path)


def test_an_output_folder_in_use(maps: Path, out: Path, tiny_model: Path) -> None:
    (out / "A12").mkdir(parents=True)
    (out / "A12" / "mine.txt").write_text("mine")
    assert "--overwrite" in error_of("segment", maps, "-o", out, "--pixel-size", 2, "--model", tiny_model)
    assert [path.name for path in out.rglob("*")] == ["A12", "mine.txt"]


def test_usage_errors_are_one_line() -> None:
    assert "Did you mean" in error_of("sgment")
    assert "SECTION" in error_of("segment")
    assert "WIDTHxHEIGHT" in error_of("simulate", "--size-mm", "3", "-o", "x")


def test_channels_that_are_not_understood(maps: Path) -> None:
    assert "EL=FILE" in error_of("inspect", maps, "--channels", "Fe")
    assert "twice" in error_of("inspect", maps, "--channels", "Fe=a.tif", "--channels", "Fe=b.tif")
    assert "Xx" in error_of("inspect", maps, "--channels", "Xx=a.tif")


def test_real_maps_with_a_mask_that_does_not_fit(real_data: Path, out: Path) -> None:
    line = error_of("segment", real_data / "semarkona-chm1", "-o", out, "--pixel-size", 1)
    assert "515 x 512" in line
    assert "512 x 512" in line
    assert "--crop-to-common" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["spectra", "{maps}"], r"Missing option '--cube': add --cube FILE\. Cube that the result was made from\. See"),
        (["spectra", "{maps}", "--cube", "{text}"], "is no spectrum cube that can be read: name one"),
        (["spectra", "{maps}", "--cube", "{maps}"], "is a folder: name a file in it"),
        (["checkpoints", "{maps}"], r"holds no results of meteoseg segment .*: give the folder OUT/<name>"),
        (["checkpoints", "{text}"], r"is a file, not a folder: give the result folder"),
        (["export", "{maps}/none"], r"does not exist: give the result folder, OUT/<name>"),
        (["classify-patches", "{maps}/none"], "does not exist: give a folder of images"),
        (["classify-patches", "{text}", "-o", "{maps}/out"], "is no set of images: give a folder of images"),
        (["fetch", "jeol", "-o", "{text}"], "is a file: give another folder with -o"),
        (
            ["cluster", "{maps}", "-o", "{maps}/out", "--pixel-size", "1", "--method", "rules", "--rules", "{maps}"],
            "give a file, not a folder",
        ),
    ],
)
def test_wrong_input_is_one_line_with_a_remedy(maps, tmp_path, args, message):
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    done = CliRunner().invoke(main, [arg.format(maps=maps, text=text) for arg in args])
    assert done.exit_code == 2
    lines = [line for line in done.output.splitlines() if line.startswith("meteoseg: error: ")]
    assert len(lines) == 1
    assert re.search(message, lines[0])
