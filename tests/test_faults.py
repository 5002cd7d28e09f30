"""A run that fails, for whatever reason: one line says what to do, nothing is half-written, the next run works."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from mineral_painting import one_chondrule_model, painted, section_of

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.errors import DiskFullError, InputError, MemoryLimitError
from meteoseg.io import open_section
from meteoseg.labels.images import Scratch
from meteoseg.pipeline import segment
from meteoseg.segmenting import Segmenter
from meteoseg.system import diskspace
from meteoseg.system.footprint import segment_need


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def short(*_: object, **__: object) -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes.")


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def run(maps: Path, out: Path, model: Path) -> ms.Result:
    return segment(open_section(maps, pixel_size_um=8.0), model, out=out)


#: Where a run may fail: at its beginning, while the networks run, while files are written, at its very end.
STAGES = (
    "os.posix_fallocate",
    "meteoseg.predict._logits",
    "meteoseg.segmenting.settle_objects",
    "tifffile.TiffWriter.write",
    "meteoseg.pipeline.write_tables",
    "meteoseg.pipeline.write_section_report",
    "meteoseg.pipeline.write_json",
)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (full, DiskFullError, "out is full; segmenting 'A12' needs about 20.0 MB there, .* on another disk with -o"),
        (short, MemoryLimitError, "Memory ran out.*a larger --chondrule-pixel"),
        (interrupted, KeyboardInterrupt, None),
    ],
    ids=["disk", "memory", "Ctrl-C"],
)
def test_nothing_is_left_and_the_next_run_works(
    maps: Path,
    tmp_path: Path,
    tiny_model: Path,
    stage: str,
    fault: Callable[..., None],
    error: type[BaseException],
    words: str | None,
) -> None:
    if stage == "tifffile.TiffWriter.write" and fault is interrupted:
        pytest.skip("Ctrl-C comes to the main thread only")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, fault)
        with pytest.raises(error, match=words):
            run(maps, tmp_path / "out", tiny_model)
    assert not (tmp_path / "out").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]
    if stage == STAGES[-1]:
        assert run(maps, tmp_path / "out", tiny_model).run["complete"]


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize(
    ("fault", "words"), [(delete, "cannot be read any more"), (truncate, "changed while"), (touch, "changed while")]
)
@pytest.mark.parametrize("stage", ["_find_inside", "_component_maps"])
def test_a_map_that_goes_during_the_run_is_named(
    maps: Path,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Path], None],
    words: str,
    stage: str,
) -> None:
    step = getattr(Segmenter, stage)

    def after(self: Segmenter, *given: object) -> object:
        done = step(self, *given)
        fault(maps / "A12_Mg.tif")
        return done

    monkeypatch.setattr(Segmenter, stage, after)
    with pytest.raises(InputError, match=f"A12_Mg.tif {words}"):
        run(maps, tmp_path / "out", tiny_model)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_clearly_too_small_is_refused_before_anything_is_written(
    maps: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diskspace, "free_bytes", lambda _: 1000)
    with pytest.raises(DiskFullError, match=r"out has 1 kB free and segmenting 'A12' needs about 20.0 MB"):
        run(maps, tmp_path / "out", tiny_model)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_may_run_full_is_told_of(
    maps: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diskspace, "free_bytes", lambda _: 15_000_000)
    arguments = ["segment", str(maps), "-o", str(tmp_path / "out"), "--pixel-size", "8", "--model", str(tiny_model)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "out has 15.0 MB free and segmenting 'A12' needs about 20.0 MB there" in result.stderr


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("chemistry", [False, True])
def test_the_scratch_space_told_is_what_is_taken(
    maps: Path,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    probabilities: bool,
    chemistry: bool,
) -> None:
    taken = []
    array = Scratch.array

    def noted(self: Scratch, name: str, dtype: object) -> object:
        made = array(self, name, dtype)
        taken.append(made.nbytes)
        return made

    monkeypatch.setattr(Scratch, "array", noted)
    section = section_of(painted()[0]) if chemistry else open_section(maps, pixel_size_um=8.0)
    model = one_chondrule_model() if chemistry else tiny_model
    segment(section, model, out=tmp_path / "out", probabilities=probabilities)
    layers = ["components"] if chemistry else ["phases", "components"]
    need = segment_need("A", section.shape, layers, probabilities=probabilities, chemistry=chemistry)
    assert sum(taken) == need.scratch


@pytest.mark.parametrize("fault", [full, interrupted], ids=["disk", "Ctrl-C"])
def test_results_that_are_made_again_stay_as_they_were(
    maps: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None]
) -> None:
    folder = run(maps, tmp_path / "out", tiny_model).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("meteoseg.results.remaking.write_section_report", fault)
    result = CliRunner().invoke(main, ["modes", str(folder)])
    assert result.exit_code == (2 if fault is full else 130)
    if fault is full:
        assert "A12 is full; making 'A12' again needs about 20.0 MB there" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_pictures_and_simulated_maps_are_whole_or_absent(
    maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIL.Image.Image.save", "tifffile.imwrite"):
        monkeypatch.setattr(name, full)
    for arguments in (
        ["composite", str(maps), "--pixel-size", "8", "--preset", "Fe=red", "-o", str(tmp_path / "new" / "rgb.png")],
        ["simulate", "--size-mm", "0.4x0.3", "--pixel-size", "5", "-o", str(tmp_path / "new" / "LL")],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "new is full" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert list((tmp_path / "new").iterdir()) == []


def test_a_batch_goes_on_after_a_section_without_memory_and_tables_stay_whole(
    maps: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meteoseg.batch import batch

    manifest = tmp_path / "sections.csv"
    manifest.write_text(f"section,name,pixel_size_um\n{maps},one,8\n{maps},two,8\n", encoding="utf-8")
    make = segment

    def poor(section: ms.Section, *given: object, **options: object) -> ms.Result:
        if section.name == "one":
            short()
        return make(section, *given, **options)

    monkeypatch.setattr("meteoseg.batch.segment", poor)
    outcome = batch(manifest, tmp_path / "out", model=str(tiny_model))
    assert outcome.done == ("two",)
    assert outcome.failures[0].error == "MemoryLimitError"
    assert "fewer --workers" in outcome.failures[0].message
    tables = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")}
    assert set(tables) == {"modes.csv", "summary.csv", "failures.csv"}
    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    with pytest.raises(DiskFullError, match="out is full"):
        batch(manifest, tmp_path / "out", model=str(tiny_model), resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.csv")} == tables
    assert not list((tmp_path / "out").glob(".*"))


def command(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start the command line in a process of its own after some code; Ctrl-C reaches it also where tests run apart."""
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    code += "\nfrom meteoseg.__main__ import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_ends_the_command_line_at_once(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hang = "import time, meteoseg.clustering as c\nc._draw = lambda *_: time.sleep(1000)"
    process = command(hang, "cluster", maps, "-o", out, "--pixel-size", 8)
    deadline = time.monotonic() + 300
    while not list(out.glob(".A12.partial-*/scratch/phases.raw")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.splitlines()[-1] == "meteoseg: interrupted"
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_limits_of_memory_and_of_files_are_one_line(maps: Path, tmp_path: Path) -> None:
    limits = {
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))": "takes no files as large as this run writes",
        "c.Scratch.array = lambda *_: __import__('numpy').ones(1 << 36)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))": "Memory ran out (this process may use 68.7 GB)",
    }
    for limit, words in limits.items():
        code = f"import resource, meteoseg.clustering as c\n{limit}"
        process = command(code, "cluster", maps, "-o", tmp_path / "out", "--pixel-size", 8)
        _, told = process.communicate(timeout=300)
        assert process.returncode == 2, told
        errors = [line for line in told.splitlines() if "error" in line]
        assert len(errors) == 1
        assert words in errors[0]
        assert "Traceback" not in told
        assert not (tmp_path / "out").exists()
