"""Maps of a finished run are opened again as they were: pages, oxides, mask, cropping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from meteoseg.errors import InputError
from meteoseg.io import open_section
from meteoseg.runs.provenance import input_hashes, input_stamps, section_facts
from meteoseg.runs.reopening import reopen_section
from meteoseg.section import Section


def run_of(section: Section) -> dict:
    return {"section": section_facts(section), "inputs": input_hashes(input_stamps(section))}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A stack of two named pages, a map of oxide wt%, all of two sizes, and a mask."""
    folder = tmp_path / "maps"
    folder.mkdir()
    rng = np.random.default_rng(5)
    pages = rng.poisson(30, (2, 20, 31)).astype(np.uint16)
    tifffile.imwrite(folder / "stack.tif", pages, imagej=True, metadata={"axes": "ZYX", "Labels": ["Fe", "Mg"]})
    tifffile.imwrite(folder / "SiO2 Wt%.tif", rng.uniform(30, 60, (23, 29)).astype(np.float32))
    mask = np.zeros((20, 31), np.uint8)
    mask[3:15, 4:25] = 255
    tifffile.imwrite(folder / "mask.tif", mask)
    return folder


def test_a_section_comes_back_as_it_was(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed.parent)
    section = open_section("maps", pixel_size_um=(1.0, 2.0), crop_to_common=True)
    run = run_of(section)
    monkeypatch.chdir("/")
    again = reopen_section(run)
    assert again.channel_names == section.channel_names == ("Mg", "Si", "Fe")
    assert again.shape == section.shape == (20, 29)
    assert again.pixel_size_um == (1.0, 2.0)
    monkeypatch.chdir(mixed.parent)
    np.testing.assert_array_equal(again.read(), section.read())
    np.testing.assert_array_equal(again.read_mask(), section.read_mask())
    assert {name: c.unit for name, c in again.channels.items()} == {
        name: c.unit for name, c in section.channels.items()
    }
    assert section_facts(again)["channels"][0]["reason"] == run["section"]["channels"][0]["reason"]


def test_maps_may_have_moved(mixed: Path, tmp_path: Path) -> None:
    section = open_section(mixed, pixel_size_um=1.0, crop_to_common=True)
    run, values = run_of(section), section.read()
    mixed.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"stack.tif is not there"):
        reopen_section(run)
    np.testing.assert_array_equal(reopen_section(run, tmp_path / "elsewhere").read(), values)


def test_another_mask_is_not_taken(mixed: Path) -> None:
    run = run_of(open_section(mixed, pixel_size_um=1.0, crop_to_common=True))
    tifffile.imwrite(mixed / "mask.tif", np.ones((20, 31), np.uint8))
    with pytest.raises(InputError, match=r"mask.tif is not the file of the run: its SHA-256 differs"):
        reopen_section(run)


def test_maps_in_memory_and_old_runs_say_so() -> None:
    run = run_of(Section.from_arrays("A", {"Fe": np.ones((4, 6))}, pixel_size_um=1.0))
    with pytest.raises(InputError, match="the maps were given in memory"):
        reopen_section(run)
    del run["section"]["files_from"]
    with pytest.raises(InputError, match="did not note where the maps lie"):
        reopen_section(run)
