"""What putting the maps of two passes into place does to the minerals of chm1 and chm8 (places_real.csv, pictures).

places_real.py DATA [PICTURES]: DATA holds semarkona-chm1, semarkona-chm8 and standards.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, shift

import meteoseg as ms
from meteoseg.minerals import PhaseClassifier, calibrate, refine_gains
from meteoseg.registration import align_maps

HERE = Path(__file__).parent
OXIDES = {"Mg": 1.658, "Al": 1.889, "Si": 2.139, "P": 2.291, "Ca": 1.399, "Ti": 1.668, "Cr": 1.462}


def variants(folder: Path):
    """Yield (name, values (C, H, W), names): as they are, by whole pixels, and sub-pixel in two ways."""
    section = replace(ms.open_section(folder, pixel_size_um=1.0, use_mask=False, without=("BSE",)), mask=None)
    found = align_maps(section)
    names = section.channel_names
    print(folder.name, found.summary(), sep="\n")
    raw = section.read()
    yield "as they are", raw, names
    yield "whole pixels", found.section.read(), names
    place = {name: one.place_px for one in found.passes for name in one.names}
    yield "bilinear", np.stack([shift(plane, np.negative(place[name]), order=1, mode="nearest")
                                for name, plane in zip(names, raw, strict=True)]), names  # fmt: skip
    rng = np.random.default_rng(1)
    yield "counts dealt out", np.stack([dealt(rng, plane, place[name])
                                        for name, plane in zip(names, raw, strict=True)]), names  # fmt: skip
    worse = {name: (2, 0) for name in found.passes[1].names}
    yield (
        "second pass 2 rows further off",
        np.stack([np.roll(plane, worse.get(name, (0, 0)), (0, 1)) for name, plane in zip(names, raw, strict=True)]),
        names,
    )


def dealt(rng, plane, place):
    """Deal the counts of each pixel out to the four pixels that it covers: Poisson counts stay Poisson counts."""
    if not any(place):
        return plane
    down, right = -place[0], -place[1]
    row, col = int(np.floor(down)), int(np.floor(right))
    a, b = down - row, right - col
    shares = [(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b]
    parts = rng.multinomial(plane.astype(np.int64), shares)
    moves = [(row, col), (row, col + 1), (row + 1, col), (row + 1, col + 1)]
    return sum(np.roll(parts[..., n], move, (0, 1)) for n, move in enumerate(moves)).astype(np.float32)


def total_wt_pct(values, names, calibration):
    """Return totals (H, W) without matrix correction, oxygen by stoichiometry where there is silicon."""
    wt = {name: np.clip(plane / (1 - plane * calibration.channels[name].dead_time), 0, None)
          / calibration.channels[name].sensitivity for name, plane in zip(names, values, strict=True)}  # fmt: skip
    iron = np.where(wt["Si"] > 5, 1.286, 1.0) * wt["Fe"]
    return sum(OXIDES.get(name, 1.0) * plane for name, plane in wt.items() if name != "Fe") + iron


def judge(values, names, calibration):
    """Classify and count what misplaced maps make worse; only pixels that all variants reach."""
    inner = (slice(4, -4), slice(4, -4))
    # Fitted without the rim, whose zeros would loosen the bound of what is unclassified.
    start = PhaseClassifier.from_calibration(calibration, names)
    classifier = refine_gains(start, values[:, *inner], names).classifier
    found = classifier.identify(values, names)
    labels, mixed = found.labels[inner], found.mixed[inner]
    measured = values.any(axis=0)[inner]
    misfit = classifier.search.find(classifier.select(values, names).reshape(len(names), -1)).misfit
    misfit = misfit.reshape(values.shape[1:])[inner][measured]
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    alone = np.ones(labels.shape, bool)
    for move in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        alone &= np.roll(labels, move, (0, 1)) != labels
    ids = classifier.legend
    total = total_wt_pct(values, names, calibration)[inner]
    near = binary_dilation(edge) & measured & (labels != ids["hole"].id)
    pct = lambda what: round(100 * float(what[measured].mean()), 2)  # noqa: E731
    return found.labels, {
        "misfit_bound": round(classifier.misfit_bound, 2),
        "unclassified_pct": pct(labels == ids["unclassified"].id), "mixed_pct": pct(mixed),
        "edge_pct": pct(edge), "alone_pct": pct(alone),
        "misfit_mean": round(float(misfit.mean()), 3), "misfit_over_2_pct": round(100 * float((misfit > 2).mean()), 2),
        "misfit_over_6_pct": round(100 * float((misfit > 6).mean()), 2),
        "probability_mean": round(float(found.probability[inner][measured].mean()), 4),
        "edge_total_sd_wt_pct": round(float(np.std(total[near])), 2),
        "edge_total_off_pct": round(100 * float(((total[near] < 70) | (total[near] > 115)).mean()), 2),
        **{name.replace(" ", "_") + "_pct": pct(labels == ids[name].id)
           for name in ("fine-grained matrix", "high-Ca pyroxene", "iron oxyhydroxide", "magnetite", "mesostasis")},
    }  # fmt: skip


def main(data: Path, pictures: Path | None) -> None:
    """Write the table, and pictures of the labels."""
    calibration = calibrate(data / "standards")
    rows = []
    for name in ("semarkona-chm1", "semarkona-chm8"):
        for kind, values, names in variants(data / name):
            labels, row = judge(values, names, calibration)
            rows.append({"section": name.removeprefix("semarkona-"), "maps": kind} | row)
            print(rows[-1], flush=True)
            if pictures is not None:
                paint(labels, pictures / f"{name}_{kind.replace(' ', '_')}.png")
    with (HERE / "places_real.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def paint(labels, path):
    """Write labels in the colours of the legend."""
    from meteoseg.legend import default_legend

    Image.fromarray(default_legend("phases").colors()[labels]).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
