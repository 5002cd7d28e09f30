"""Simulate single particles in liquid argon and write them as a data set of images.

    python experiments/neutrino_particles/generate.py -o runs/particles                      # 40,000 events
    python experiments/neutrino_particles/generate.py -o runs/axes --readout axes --events 5000 --seed 2

OUT/train, OUT/validation and OUT/test hold sparse shards (docs/patches.md): parts with random numbers of their own, so
that none of them depends on how many events the others have. Classes are equally frequent in each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from argon import constants
from events import CLASSES, deposits_of, draw_primaries
from readout import READOUTS, readout_of
from shards import Shard, save_shard

from meteoseg.errors import InputError, MeteosegError, OutputExistsError

PARTS = ("train", "validation", "test")
#: Events of a shard; they share their random numbers, so that the number of processes changes nothing.
SHARD_EVENTS = 1000


@dataclass(frozen=True)
class Job:
    """One shard to be made."""

    folder: Path
    part: str
    number: int
    n_events: int
    seed: int
    readout: str


def simulate(job: Job) -> Shard:
    """Simulate the events of a shard; the same job gives the same events."""
    rng = np.random.default_rng([job.seed, PARTS.index(job.part), job.number])
    labels = rng.permutation(np.arange(job.n_events) % len(CLASSES))
    primaries = draw_primaries(labels, rng)
    readout = readout_of(job.readout)
    images = readout.images(deposits_of(primaries, rng), job.n_events, rng)
    ids = [f"{job.part}-{job.number:03d}-{event:04d}" for event in range(job.n_events)]
    return Shard(images, [CLASSES[label] for label in labels], ids, readout.channels, primaries.kinetic)


def _make(job: Job) -> tuple[int, int]:
    shard = simulate(job)
    save_shard(job.folder / job.part / f"part-{job.number:03d}.npz", shard)
    return len(shard), shard.images.places.size


def jobs_of(folder: Path, n_events: int, shares: tuple[float, ...], seed: int, readout: str) -> Iterator[Job]:
    """Cut the parts of a data set into shards.

    Raises
    ------
    InputError : the shares are not three numbers that sum to 1, or there are too few events.
    """
    if len(shares) != len(PARTS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"--split needs three shares that sum to 1, got {' '.join(map(str, shares))}.")
    if n_events < len(CLASSES):
        raise InputError(f"--events {n_events} is too few: give at least {len(CLASSES)}.")
    counts = [round(n_events * share) for share in shares[:2]]
    for part, count in zip(PARTS, [*counts, n_events - sum(counts)], strict=True):
        for number, start in enumerate(range(0, count, SHARD_EVENTS)):
            yield Job(folder, part, number, min(SHARD_EVENTS, count - start), seed, readout)


def generate(jobs: list[Job], workers: int) -> tuple[int, int]:
    """Make shards in several processes; returns events and pixels above 0."""
    events = pixels = 0
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for made, lit in pool.imap_unordered(_make, jobs):
            events, pixels = events + made, pixels + lit
            rate = events / (time.perf_counter() - start)
            print(f"{events} events, {rate:.0f} per second", flush=True)
    return events, pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=40000, help="of all classes and parts together (40000)")
    parser.add_argument("--split", type=float, nargs=3, default=(0.8, 0.1, 0.1), help="train, validation, test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readout", choices=sorted(READOUTS), default="wires")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        raise OutputExistsError(f"{options.out} is not empty. Take another folder or remove it.")
    jobs = list(jobs_of(options.out, options.events, tuple(options.split), options.seed, options.readout))
    start = time.perf_counter()
    events, pixels = generate(jobs, options.workers)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in options.out.rglob("*.npz"))
    record = {
        "events": events, "seed": options.seed, "split": options.split, "readout": options.readout,
        "settings": asdict(readout_of(options.readout)), "constants": constants(), "seconds": round(seconds, 1),
        "pixels_per_event": round(pixels / events, 1), "bytes": size,
    }  # fmt: skip
    (options.out / "simulation.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(
        f"{events} events in {seconds:.0f} s, {pixels / events:.0f} pixels each, {size / 1e6:.0f} MB -> {options.out}"
    )


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
