"""Many sections: from a manifest or a folder, in this process, in several, or on a cluster."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from meteoseg.errors import DiskFullError, InputError, MemoryLimitError, MeteosegError, UnknownNameError
from meteoseg.io import open_section, section_name
from meteoseg.minerals.choose import SELF
from meteoseg.networks.files import find_model
from meteoseg.objects import size_summary
from meteoseg.pipeline import DEFAULT_MODEL, segment
from meteoseg.runs.output import remove_abandoned, whole_file
from meteoseg.system.memory import is_memory_short, memory_text
from meteoseg.system.workers import Died, side_by_side
from meteoseg.tables.measure import CHONDRULES_CSV, CLASSIFICATION_JSON, MODES_CSV, RUN_JSON, SUMMARY_CSV, join_tables
from meteoseg.tables.meteorites import write_meteorites

FAILURES_CSV = "failures.csv"
_NUMBERS = ("pixel_size_um", "pixel_size_error_pct")
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True)
class Job:
    """One section of a batch: where it lies and how it is read."""

    section: Path
    name: str
    pixel_size_um: float | None = None
    pixel_size_error_pct: float | None = None
    standards: Path | None = None
    crop_to_common: bool = False
    meteorite: str = ""
    is_fall: bool = False


@dataclass(frozen=True)
class Failure:
    """A section that failed: the type of error and its message."""

    section: str
    error: str
    message: str


@dataclass(frozen=True)
class Settings:
    """What all sections of a batch share."""

    out: Path
    model: str = DEFAULT_MODEL
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """Names of the sections that were done, skipped because they were complete, and failed."""

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failures: tuple[Failure, ...]
    out: Path = field(default=Path())

    def summary(self) -> str:
        """Return a line of counts, a line per failure, and where the tables lie."""
        counts = f"{len(self.done)} done, {len(self.skipped)} complete before, {len(self.failures)} failed"
        failed = [f"  {failure.section}: {failure.message}" for failure in self.failures]
        return "\n".join([counts, *failed, f"Tables: {self.out / MODES_CSV}, {self.out / SUMMARY_CSV}"])


def batch(
    sections: Path | str,
    out: Path | str,
    *,
    model: str = DEFAULT_MODEL,
    standards: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Segment all sections of a manifest or folder into `out`; one that fails does not stop the others.

    Parameters
    ----------
    sections : CSV with a column `section` (path relative to the CSV) and any of name, pixel_size_um,
        pixel_size_error_pct, standards, crop_to_common, fall, meteorite (sections of one name are joined); or a
        folder whose subfolders are sections.
    standards : for sections whose row names none; ``self`` as in `segment`.
    defaults : further fields of `Job` for sections whose row leaves them empty.
    workers : sections at a time; `scheduler` : address of a dask.distributed scheduler instead.
    resume : skip sections whose result is complete; overwrite : replace results that exist.

    Raises
    ------
    InputError : no sections, an unreadable manifest, or two sections of one name.
    UnknownNameError : no such model.
    DiskFullError : the tables that join the sections cannot be written.
    """
    jobs = read_jobs(Path(sections), {**(defaults or {}), "standards": standards}, out=Path(out))
    find_model(model)
    settings = Settings(Path(out), model, overwrite)
    settings.out.mkdir(parents=True, exist_ok=True)
    skipped = [job.name for job in jobs if resume and is_complete(settings.out / job.name)]
    todo = [job for job in jobs if job.name not in skipped]
    failures = []
    with closing(_run_all(todo, settings, workers, scheduler)) as running:
        for number, (job, failure) in enumerate(running, start=1):
            failures += [failure] if failure else []
            state = f"failed: {failure.message}" if failure else "done"
            print(f"meteoseg: {number}/{len(todo)} {job.name} {state}", file=sys.stderr)
            with suppress(DiskFullError):  # the sections to come may lie on another disk; at the end it is raised
                _write_tables(settings.out, jobs, failures)
    _write_tables(settings.out, jobs, failures)
    failed = {failure.section for failure in failures}
    done = tuple(job.name for job in todo if job.name not in failed)
    return Outcome(done, tuple(skipped), tuple(failures), settings.out)


def read_jobs(path: Path, defaults: Mapping[str, Any], *, out: Path | None = None) -> list[Job]:
    """List the sections of a manifest or folder; `out`, where it lies in that folder, is none of them.

    Raises
    ------
    InputError : nothing there, a cell that cannot be read, a section without a path, or a name twice.
    UnknownNameError : an unknown column.
    """
    if path.is_dir():
        rows = [{"section": str(child)} for child in sorted(path.iterdir()) if _may_be_section(child, out)]
    elif path.is_file():
        rows = _read_manifest(path)
    else:
        raise InputError(f"{path} does not exist: give a manifest CSV or a folder of sections.")
    jobs = [_job(row, path, defaults, number) for number, row in enumerate(rows, start=1)]
    if not jobs:
        raise InputError(f"{path} lists no section: give a CSV with a column 'section', or a folder of folders.")
    names = [job.name for job in jobs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{path} has two sections called '{twice}': give them names in a column 'name'.")
    return jobs


def _may_be_section(child: Path, out: Path | None) -> bool:
    is_out = out is not None and child.resolve() == out.resolve()
    return child.is_dir() and not child.name.startswith(".") and not is_out


def _read_manifest(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            rows = [dict(row) for row in csv.DictReader(handle)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Manifest {path} is not a CSV in UTF-8: {error}.") from error
    known = ["section", "name", *_NUMBERS, "standards", "crop_to_common", "fall", "meteorite"]
    for column in rows[0] if rows else ():
        if column not in known:
            raise UnknownNameError.of(f"column in {path.name}", str(column), known)
    return rows


def _job(row: Mapping[str, str | None], path: Path, defaults: Mapping[str, Any], number: int) -> Job:
    cells = {key: (value or "").strip() for key, value in row.items()}
    folder = Path() if path.is_dir() else path.parent
    if not cells.get("section"):
        raise InputError(f"Row {number} of {path} names no section: fill the column 'section'.")
    section = folder / cells["section"]
    values: dict[str, Any] = {key: value for key, value in defaults.items() if value is not None}
    for key in _NUMBERS:
        if cells.get(key):
            values[key] = _number(cells[key], f"{key} in row {number} of {path}")
    if cells.get("standards"):
        given = cells["standards"]
        values["standards"] = Path(given) if given == SELF else folder / given
    if cells.get("crop_to_common"):
        values["crop_to_common"] = _flag(cells["crop_to_common"], f"crop_to_common in row {number} of {path}")
    if cells.get("fall"):
        values["is_fall"] = _flag(cells["fall"], f"fall in row {number} of {path}")
    if cells.get("meteorite"):
        values["meteorite"] = cells["meteorite"]
    return Job(section, cells.get("name") or section_name(section), **values)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where} is '{text}': give a number.") from error


def _flag(text: str, where: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise InputError(f"{where} is '{text}': write yes or no.")
    return text.lower() in _YES


def is_complete(folder: Path) -> bool:
    """Whether a result folder holds a finished run."""
    path = folder / RUN_JSON
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("complete"))
    except ValueError:
        return False


def run_job(job: Job, settings: Settings) -> Failure | None:
    """Segment one section; what goes wrong inside is returned, not raised."""
    try:
        section = open_section(
            job.section,
            pixel_size_um=job.pixel_size_um,
            pixel_size_error_pct=job.pixel_size_error_pct,
            name=job.name,
            crop_to_common=job.crop_to_common,
            is_fall=job.is_fall,
        )
        segment(section, settings.model, standards=job.standards, out=settings.out, overwrite=settings.overwrite)
    except (MeteosegError, EOFError, OSError, ValueError, RuntimeError, MemoryError, ArithmeticError,
            LookupError) as error:  # fmt: skip
        return _failure(job, error)
    return None


def _failure(job: Job, error: BaseException) -> Failure:
    if isinstance(error, MemoryLimitError) or is_memory_short(error):
        return Failure(job.name, MemoryLimitError.__name__, memory_text("fewer --workers"))
    return Failure(job.name, type(error).__name__, " ".join(str(error).split()) or type(error).__name__)


def _run_all(
    jobs: Sequence[Job], settings: Settings, workers: int, scheduler: str | None
) -> Generator[tuple[Job, Failure | None], None, None]:
    """Yield each job with its failure (None where it went well) as they finish."""
    if scheduler is not None:
        yield from _run_on_cluster(jobs, settings, scheduler)
    elif workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, run_job(job, settings)
    else:
        with closing(side_by_side(partial(run_job, settings=settings), jobs, workers)) as finished:
            for job, answer in finished:
                if isinstance(answer, Died):
                    remove_abandoned(settings.out / job.name)
                yield job, Failure(job.name, "ProcessEnded", str(answer)) if isinstance(answer, Died) else answer


def _run_on_cluster(jobs: Sequence[Job], settings: Settings, scheduler: str) -> Iterator[tuple[Job, Failure | None]]:
    from distributed import Client
    from distributed import as_completed as completed

    absolute = replace(settings, out=settings.out.resolve())
    try:
        client = Client(scheduler, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(f"No scheduler answers at {scheduler}: start one with 'dask scheduler'.") from error
    with client:
        futures = {client.submit(run_job, _absolute(job), absolute, pure=False): job for job in jobs}
        yield from _collect(completed(list(futures)), futures)  # type: ignore[no-untyped-call]


def _absolute(job: Job) -> Job:
    given = job.standards
    standards = given if given is None or str(given) == SELF else given.resolve()
    return replace(job, section=job.section.resolve(), standards=standards)


def _collect(finished: Iterable[Any], futures: Mapping[Any, Job]) -> Iterator[tuple[Job, Failure | None]]:
    for future in finished:
        job = futures[future]
        error = future.exception()
        yield job, future.result() if error is None else Failure(job.name, type(error).__name__, str(error))


def _write_tables(out: Path, jobs: Sequence[Job], failures: Sequence[Failure]) -> None:
    """Write modes.csv, summary.csv, failures.csv and, where sections are joined, meteorites.csv, as far as complete."""
    failed = {failure.section for failure in failures}
    complete = [job.name for job in jobs if job.name not in failed and is_complete(out / job.name)]
    modes = join_tables((name, out / name) for name in complete)
    rows = [_summary_row(name, out / name) for name in complete]
    summary = pd.DataFrame(rows, columns=None if rows else ["section"])
    columns = ["section", "error", "message"]
    failed_rows = pd.DataFrame([asdict(failure) for failure in failures], columns=columns)
    for name, table in ((MODES_CSV, modes), (SUMMARY_CSV, summary), (FAILURES_CSV, failed_rows)):
        with whole_file(out / name) as part:
            table.to_csv(part, index=False)
    joined: dict[str, list[str]] = {}
    for job in jobs:
        if job.meteorite and job.name in complete:
            joined.setdefault(job.meteorite, []).append(job.name)
    if joined:
        write_meteorites(out, joined)


def _summary_row(name: str, folder: Path) -> dict[str, Any]:
    run = json.loads((folder / RUN_JSON).read_text(encoding="utf-8"))
    answer = json.loads((folder / CLASSIFICATION_JSON).read_text(encoding="utf-8"))
    facts = run["section"]
    row: dict[str, Any] = {
        "section": name,
        "rows": facts["shape"][0],
        "cols": facts["shape"][1],
        "pixel_size_um": facts["pixel_size_um"][0],
        "channels": " ".join(channel["name"] for channel in facts["channels"]),
    }
    if (folder / CHONDRULES_CSV).is_file():
        sizes = size_summary(pd.read_csv(folder / CHONDRULES_CSV))
        row |= {"n_objects": sizes["n"], "chondrule_mean_diameter_um": sizes["mean_um"]}
    best = answer["groups"][0] if answer["groups"] and answer["class"] != "none" else {}
    row |= {"class": answer["class"], "suggestion": answer["suggestion"]}
    row |= {"group": best.get("group"), "probability": best.get("probability")}
    return row | {
        "type": answer["type"],
        "seconds": round(sum(run["timings_s"].values()), 1),
        "peak_memory_mb": run["peak_memory_mb"],
        "notes": " ".join(run["notes"]),
    }
