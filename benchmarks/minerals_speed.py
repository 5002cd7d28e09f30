"""Speed of the phases from chemistry: exhaustive and quick search, one core and all, in one run.

    python benchmarks/minerals_speed.py [--repeats 5] [--size-px 700 1400] [--phases 25]

A simulated section (LL 3.2, 12 elements, microprobe counts) is classified several times. Printed are, best and median
of the repeats: megapixels per second of CPU time and of wall clock; the share of pixels named otherwise than by the
exhaustive search; the peak memory beyond the maps. CPU time is what a busy machine leaves comparable.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from meteoseg.minerals import Calibration, ChannelResponse, PhaseClassifier
from meteoseg.minerals.likelihood import score
from meteoseg.minerals.parallel import cores_at_hand
from meteoseg.minerals.templates import load_templates
from meteoseg.simulate import simulate_section
from meteoseg.simulate.recipe import microprobe_responses

ELEMENTS = ("Na", "Mg", "Al", "Si", "P", "S", "K", "Ca", "Ti", "Cr", "Fe", "Ni")
PIXEL_UM = 2.0


def simulated_calibration() -> Calibration:
    """Return the calibration of the simulated microprobe."""
    return Calibration(
        {name: ChannelResponse(**values, relative_sd=0.03) for name, values in microprobe_responses().items()}
    )


def likeliest(count: int) -> tuple[str, ...]:
    """Return the phases of the highest priors."""
    templates = load_templates(ELEMENTS)
    highest = {name: -np.inf for name in templates.phases}
    for phase, prior in zip(templates.phase_of, templates.log_prior, strict=True):
        highest[templates.phases[phase]] = max(highest[templates.phases[phase]], prior)
    return tuple(sorted(highest, key=lambda name: -highest[name])[:count])


def timed(name: str, work: Callable[[], object], pixels: int, repeats: int) -> None:
    """Print the speed of `work`."""
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        work()
        cpu.append(pixels / 1e6 / (time.process_time() - start[0]))
        wall.append(pixels / 1e6 / (time.perf_counter() - start[1]))
    print(
        f"{name:34s} Mpx per CPU second {max(cpu):5.2f} ({statistics.median(cpu):.2f})   "
        f"Mpx/s {max(wall):5.2f} ({statistics.median(wall):.2f})",
        flush=True,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size-px", type=int, nargs=2, default=(700, 1400), metavar=("ROWS", "COLS"))
    parser.add_argument("--phases", type=int, help="compare the likeliest so many phases (default: all)")
    options = parser.parse_args()
    rows, cols = options.size_px
    size_mm = (cols * PIXEL_UM / 1000, rows * PIXEL_UM / 1000)
    section = simulate_section("LL", size_mm=size_mm, pixel_size_um=PIXEL_UM, seed=1, channels=ELEMENTS).section
    values = section.read()
    phases = None if options.phases is None else likeliest(options.phases)
    classifier = PhaseClassifier.from_calibration(simulated_calibration(), ELEMENTS, phases=phases)
    search, flat, pixels = classifier.search, values.reshape(len(values), -1), rows * cols
    print(f"{pixels / 1e6:.2f} Mpx, {len(ELEMENTS)} elements, {len(classifier.templates.phases)} phases, "
          f"{len(search.moments.mean)} templates and mixtures, {cores_at_hand()} cores")  # fmt: skip
    print(f"bound of the misfit {classifier.misfit_bound:.2f}")
    part = np.ascontiguousarray(flat[:, : 1 << 18])
    pieces = [part[:, at : at + (1 << 16)] for at in range(0, part.shape[1], 1 << 16)]
    with threadpool_limits(1, user_api="blas"):
        timed("likelihood of every template", lambda: score(part, search.moments), part.shape[1], options.repeats)
        timed("likelihood of candidates", lambda: [search.find(p) for p in pieces], part.shape[1], options.repeats)
    for threads in sorted({1, cores_at_hand()}):
        name = f"phases, {threads} thread{'s' * (threads > 1)}"
        timed(name, lambda n=threads: classifier.identify(values, ELEMENTS, threads=n), pixels, options.repeats)
    phase_of = search.moments.phase_of
    quick = np.concatenate([phase_of[search.find(p).best] for p in pieces])
    every = np.concatenate([phase_of[search.find_exhaustively(p).best] for p in pieces])
    print(f"named otherwise than by the exhaustive search: {100 * np.mean(quick != every):.4f} % of the pixels")
    tracemalloc.start()
    classifier.identify(values, ELEMENTS)
    print(f"peak memory beyond the maps: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
