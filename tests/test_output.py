from __future__ import annotations

from pathlib import Path

import pytest

from meteoseg.errors import InputError, OutputExistsError
from meteoseg.output import complete_or_absent, output_folder


def test_a_folder_that_is_not_empty_is_refused_unless_overwrite(tmp_path: Path) -> None:
    (tmp_path / "A12").mkdir()
    assert output_folder(tmp_path, "A12", overwrite=False) == tmp_path / "A12"
    (tmp_path / "A12" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        output_folder(tmp_path, "A12", overwrite=False)
    assert output_folder(tmp_path, "A12", overwrite=True) == tmp_path / "A12"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", " padded"])
def test_names_that_are_no_folder_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a folder name"):
        output_folder(tmp_path, name, overwrite=False)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "A12").write_text("")
    with pytest.raises(InputError, match="is a file"):
        output_folder(tmp_path, "A12", overwrite=True)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "new" / "deep" / "A12"

    def fail() -> None:
        with complete_or_absent(target) as partial:
            (partial / "half.txt").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "A12").mkdir()
    (tmp_path / "A12" / "old.txt").write_text("old")

    def fail() -> None:
        with complete_or_absent(tmp_path / "A12"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["A12", "old.txt"]


def test_success_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "A12").mkdir()
    (tmp_path / "A12" / "old.txt").write_text("old")
    with complete_or_absent(tmp_path / "A12") as partial:
        (partial / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["A12", "new.txt"]
