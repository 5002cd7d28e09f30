from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meteoseg.errors import DiskFullError, InputError, OutputExistsError
from meteoseg.runs.output import (
    all_or_nothing,
    complete_or_absent,
    output_folder,
    remove_abandoned,
    uninterrupted,
    whole_file,
)


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


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_and_names_the_folder(tmp_path: Path) -> None:
    def write() -> None:
        with complete_or_absent(tmp_path / "out" / "A12") as partial:
            (partial / "half.txt").write_text("half")
            full()

    with pytest.raises(DiskFullError, match=rf"^{tmp_path / 'out'} is full: free some space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_machinery_stays_in_the_folder(tmp_path: Path) -> None:
    with complete_or_absent(tmp_path / "A12") as partial:
        (partial / "new.txt").write_text("new")
        assert list((tmp_path).glob(".A12.partial-*")) == [partial]
    assert [path.name for path in tmp_path.rglob("*")] == ["A12", "new.txt"]


def test_what_was_there_comes_back_where_it_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "A12").mkdir()
    (tmp_path / "A12" / "old.txt").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            full()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DiskFullError, match="is full"), complete_or_absent(tmp_path / "A12"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["A12", "old.txt"]


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from meteoseg.runs.output import complete_or_absent\n"
        "with complete_or_absent(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'scratch.raw').write_bytes(bytes(1000))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "A12"], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    remove_abandoned(tmp_path / "other")
    assert left.exists()
    with complete_or_absent(tmp_path / "A12") as first:
        assert not left.exists()
        with complete_or_absent(tmp_path / "A12"):
            assert first.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["A12"]


def test_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    for name in ("modes.csv", "Fa.tif", "old.tif"):
        (tmp_path / name).write_text("old")

    def fail() -> None:
        with all_or_nothing(tmp_path) as renewed:
            renewed.removed.append(tmp_path / "old.tif")
            (renewed.folder / "modes.csv").write_text("new")
            full()

    with pytest.raises(DiskFullError, match="is full"):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("modes.csv", "Fa.tif", "old.tif"), "old"
    )
    with all_or_nothing(tmp_path, last="run.json") as renewed:
        renewed.removed.append(tmp_path / "old.tif")
        renewed.renamed.append((tmp_path / "Fa.tif", tmp_path / "stale-Fa.tif"))
        (renewed.folder / "modes.csv").write_text("new")
        (renewed.folder / "run.json").write_text("new")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"modes.csv": "new", "run.json": "new", "stale-Fa.tif": "old"}


def test_a_single_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "modes.csv"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as part:
            part.write_text("ne")
            full()

    with pytest.raises(DiskFullError, match=f"{tmp_path} is full"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("modes.csv", "old")]
    with whole_file(path) as part:
        part.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("modes.csv", "new")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_is_written_to_and_not_replaced() -> None:
    with pytest.raises(DiskFullError, match="/dev is full"), whole_file(Path("/dev/full")) as part:
        part.write_text("table")
    assert not Path("/dev/full").is_file()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise also where the tests run in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupts_wait_until_renaming_is_done() -> None:
    done = []

    def rename() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("renamed")

    with pytest.raises(KeyboardInterrupt):
        rename()
    assert done == ["renamed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
