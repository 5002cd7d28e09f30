from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.fetch import PublicFile, fetch, registry


def test_every_file_has_a_home_a_checksum_and_a_citation() -> None:
    for files in registry().values():
        for entry in files:
            assert entry.url.startswith(("https://", "package:"))
            assert len(entry.sha256) == 64
            assert entry.bytes > 0
            assert entry.cite
            assert entry.license


def test_files_that_are_there_are_kept_and_packaged_ones_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "a.txt").write_bytes(b"counts")
    here = PublicFile("mini", "a.txt", 6, hashlib.sha256(b"counts").hexdigest(), "https://localhost:9/a", "MIT", "x")
    packaged = next(entry for entry in registry()["standards"] if entry.url.startswith("package:"))
    monkeypatch.setattr("meteoseg.fetch.registry", lambda: {"mini": [here, packaged]})
    assert fetch("mini", tmp_path) == tmp_path / "mini"
    written = (tmp_path / "mini" / packaged.file).read_bytes()
    assert hashlib.sha256(written).hexdigest() == packaged.sha256


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'standards'"):
        fetch("standard")


def test_no_network_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = PublicFile("mini", "a.txt", 6, "0" * 64, "http://127.0.0.1:9/a.txt", "MIT", "x")
    monkeypatch.setattr("meteoseg.fetch.registry", lambda: {"mini": [entry]})
    with pytest.raises(InputError, match=r"Could not fetch a\.txt .* Check the network"):
        fetch("mini", tmp_path)
