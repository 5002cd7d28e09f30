from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from meteoseg.batch import batch, read_jobs
from meteoseg.errors import InputError, UnknownNameError


@pytest.fixture
def campaign(tmp_path: Path, maps: Path) -> Path:
    """A manifest of three sections; the second is broken (a truncated file)."""
    for name in ("B1", "B2", "B3"):
        shutil.copytree(maps, tmp_path / "campaign" / name)
    broken = tmp_path / "campaign" / "B2" / "A12_Fe.tif"
    broken.write_bytes(broken.read_bytes()[:900])
    manifest = tmp_path / "campaign" / "sections.csv"
    manifest.write_text("section,name,pixel_size_um\nB1,first,8\nB2,,8\nB3,,8\n", encoding="utf-8")
    return manifest


def test_a_broken_section_does_not_stop_the_others_and_resume_does_what_is_missing(
    campaign: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = batch(campaign, out, model=str(tiny_model))
    assert outcome.done == ("first", "B3")
    failures = pd.read_csv(out / "failures.csv")
    assert list(failures.columns) == ["section", "error", "message"]
    assert failures["section"].tolist() == ["B2"]
    assert "A12_Fe.tif" in failures["message"].iloc[0]
    modes = pd.read_csv(out / "modes.csv")
    assert list(modes.columns) == ["section", *pd.read_csv(out / "first" / "modes.csv").columns]
    assert list(modes["section"].unique()) == ["first", "B3"]
    assert pd.read_csv(out / "summary.csv")["section"].tolist() == ["first", "B3"]
    assert not (out / "B2").exists()

    stamp = (out / "first" / "run.json").stat().st_mtime_ns
    shutil.copy(campaign.parent / "B3" / "A12_Fe.tif", campaign.parent / "B2" / "A12_Fe.tif")
    again = batch(campaign, out, model=str(tiny_model), resume=True)
    assert again.skipped == ("first", "B3")
    assert again.done == ("B2",)
    assert (out / "first" / "run.json").stat().st_mtime_ns == stamp
    assert pd.read_csv(out / "summary.csv")["section"].tolist() == ["first", "B2", "B3"]
    assert pd.read_csv(out / "failures.csv").empty


def test_a_folder_of_sections_is_a_batch(campaign: Path) -> None:
    jobs = read_jobs(campaign.parent, {"pixel_size_um": 2.0})
    assert [(job.name, job.pixel_size_um) for job in jobs] == [("B1", 2.0), ("B2", 2.0), ("B3", 2.0)]


def test_falls_of_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "sections.csv").write_text("section,fall\nB1,yes\nB2,no\nB3,\n", encoding="utf-8")
    assert [job.is_fall for job in read_jobs(tmp_path / "sections.csv", {})] == [True, False, False]
    everyone = read_jobs(tmp_path / "sections.csv", {"is_fall": True})
    assert [job.is_fall for job in everyone] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("section,pixel_size_um\nB1,wide\n", "pixel_size_um in row 1 .* is 'wide'"),
        ("section,crop_to_common\nB1,perhaps\n", "write yes or no"),
        ("section\nB1\nB1\n", "two sections called 'B1'"),
        ("section,name\n,first\n", "names no section"),
        ("section\n", "lists no section"),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    manifest = tmp_path / "sections.csv"
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_jobs(manifest, {})


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "sections.csv"
    manifest.write_text("section,pixelsize\nB1,2\n", encoding="utf-8")
    with pytest.raises(UnknownNameError, match=r"'pixelsize'\. Did you mean 'pixel_size_um'"):
        read_jobs(manifest, {})


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_jobs(tmp_path / "none.csv", {})


@pytest.mark.slow
def test_workers_give_the_same_tables(campaign: Path, tiny_model: Path, tmp_path: Path) -> None:
    alone, many = tmp_path / "alone", tmp_path / "many"
    batch(campaign, alone, model=str(tiny_model))
    batch(campaign, many, model=str(tiny_model), workers=2)
    assert (alone / "modes.csv").read_bytes() == (many / "modes.csv").read_bytes()


def test_an_unknown_model_stops_the_batch_before_anything_is_written(campaign: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown model .* 'nope'"):
        batch(campaign, tmp_path / "out", model="nope")
    assert not (tmp_path / "out").exists()


def test_tables_have_their_columns_where_every_section_failed(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "campaign" / "empty").mkdir(parents=True)
    outcome = batch(tmp_path / "campaign", tmp_path / "out", model=str(tiny_model))
    assert [failure.section for failure in outcome.failures] == ["empty"]
    assert list(pd.read_csv(tmp_path / "out" / "modes.csv").columns[:3]) == ["section", "layer", "name"]
    assert list(pd.read_csv(tmp_path / "out" / "summary.csv").columns) == ["section"]


def test_results_inside_the_campaign_are_no_section(campaign: Path) -> None:
    out = campaign.parent / "B2"
    assert [job.name for job in read_jobs(campaign.parent, {}, out=out)] == ["B1", "B3"]


def test_jobs_are_called_as_their_sections_are(tmp_path: Path) -> None:
    for folder in ("cut 1.5", "named", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "named" / "section.toml").write_text('name = "A12"\n', encoding="utf-8")
    (tmp_path / "broken" / "section.toml").write_text("name = ", encoding="utf-8")
    assert [job.name for job in read_jobs(tmp_path, {})] == ["broken", "cut 1.5", "A12"]


def test_a_pixel_size_of_zero_is_not_ignored(campaign: Path) -> None:
    assert {job.pixel_size_um for job in read_jobs(campaign.parent, {"pixel_size_um": 0.0})} == {0.0}
