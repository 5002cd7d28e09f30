"""Errors of the registration on simulated pairs (pairs.csv), and unrelated pairs that are taken (wrong.csv)."""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from pairs import MAP_UM, Pair, draw_pair, error_px

from meteoseg.io.warped import Transform
from meteoseg.registration.estimate import estimate
from meteoseg.registration.levels import read_level
from meteoseg.registration.quality import Motion, objection, quality_of
from meteoseg.registration.reference import element_names
from meteoseg.section import ArrayPlane, Section

HERE = Path(__file__).parent


def run(section: Section, image: np.ndarray, image_um: float) -> tuple[Transform, dict[str, object]]:
    """Register and return the transform with what its quality is; `refused` is empty where it is believed."""
    start = time.perf_counter()
    names = element_names(section, "BSE")
    plane = ArrayPlane(image)
    level = read_level(section, names, plane, (MAP_UM, MAP_UM), (image_um, image_um))
    found = estimate(section, names, plane, level)
    quality = quality_of(found, level, section.shape)
    motion = Motion.of(found.transform, Transform.scaling((MAP_UM / image_um,) * 2), section.shape)
    facts: dict[str, object] = {
        "n_blocks": quality.n_blocks, "n_agree": quality.n_agree, "chance_log10": round(quality.chance_log10, 1),
        "stated_error_px": round(float(np.hypot(*quality.error_px)), 4), "correlation": round(quality.correlation, 3),
        "nmi": round(quality.nmi, 3), "place_ratio": round(quality.place_ratio, 2),
        "refused": objection(quality, motion) or "", "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    return found.transform, facts


def wrong_pairs(n: int):
    """Yield (what is wrong, section, image, um): other sections, mirrored, turned, noise, another part."""
    for seed in range(n):
        pair, other = draw_pair(seed), draw_pair(seed + 3)
        yield "other section", pair.section, other.image, other.image_um
        yield "mirrored", pair.section, pair.image[:, ::-1], pair.image_um
        yield "turned by 90", pair.section, np.rot90(pair.image), pair.image_um
        noise = np.random.default_rng(seed).integers(0, 255, (300, 400)).astype(np.uint8)
        yield "noise", pair.section, noise, MAP_UM
        yield "other part", *_other_part(pair)


def _other_part(pair: Pair):
    """Return the left part of the maps with the right part of the image, which do not meet."""
    cols = pair.section.shape[1]
    left = {name: pair.section.read([name])[0][:, : cols * 2 // 5] for name in pair.section.channel_names}
    section = Section.from_arrays("left", left, pixel_size_um=MAP_UM)
    return section, pair.image[:, pair.image.shape[1] * 13 // 20 :], pair.image_um


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--wrong", type=int, default=10)
    args = parser.parse_args()
    with (HERE / "pairs.csv").open("w", newline="") as handle:
        writer = None
        for seed in range(args.pairs):
            pair = draw_pair(seed)
            found, facts = run(pair.section, pair.image, pair.image_um)
            row = {key: round(v, 3) if isinstance(v, float) else v for key, v in pair.settings.items()}
            row |= {"error_px": round(error_px(found, pair), 4), **facts}
            writer = writer or csv.DictWriter(handle, row)
            if seed == 0:
                writer.writeheader()
            writer.writerow(row)
            handle.flush()
    with (HERE / "wrong.csv").open("w", newline="") as handle:
        writer = None
        for number, (kind, section, image, um) in enumerate(wrong_pairs(args.wrong)):
            row = {"kind": kind, **run(section, np.ascontiguousarray(image), um)[1]}
            writer = writer or csv.DictWriter(handle, row)
            if number == 0:
                writer.writeheader()
            writer.writerow(row)
            handle.flush()


if __name__ == "__main__":
    main()
