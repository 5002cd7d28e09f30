"""Maps of several passes, simulated: errors of their places, false shifts, and what is left for the minerals.

places.py [--sections N] [--unrelated N] [--minerals N] (0: none): writes places.csv,
places_unrelated.csv and places_minerals.csv.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from places_real import dealt
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.ndimage import shift as moved

from meteoseg.errors import InputError
from meteoseg.legend import default_legend
from meteoseg.minerals import Calibration, ChannelResponse, PhaseClassifier, refine_gains
from meteoseg.registration import align_maps, places_note
from meteoseg.section import Section
from meteoseg.simulate import section as simulated
from meteoseg.simulate.detector import Detector
from meteoseg.simulate.recipe import make_recipe, microprobe_responses

HERE = Path(__file__).parent
ELEMENTS = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
GROUPS = ("LL", "CV", "CM", "EH", "H", "CR")
STEP = 4  # parts of a pixel that places are drawn in
ROOM = 12  # pixels around the maps
PIXEL_UM = 2.0


def draw(seed: int, *, n_passes=None, mode=None, shape=(300, 400), place=None, dose=None):
    """Return a section with its maps out of place, the places (rows, cols; pixels) by map, and the truth.

    The truth is a function of a place: the phases as maps that lie there should show them. What is not given is
    drawn: one to three passes, up to 4 px off in quarters of a pixel, WDS or EDS, a dose.
    """
    rng = np.random.default_rng(7000 + seed)
    group = GROUPS[seed % len(GROUPS)]
    recipe = replace(make_recipe(group, petrologic_type=2.0 if group == "CM" else 3.2), epoxy_edge=False)
    paint = painted(recipe, (shape[0] + 2 * ROOM, shape[1] + 2 * ROOM), seed)
    count = n_passes or int(rng.integers(1, 4))
    of_map = np.arange(len(ELEMENTS)) % count
    rng.shuffle(of_map)
    steps = np.zeros((count, 2), int)
    steps[1:] = rng.integers(-4 * STEP, 4 * STEP + 1, (count - 1, 2))
    if place is not None:
        steps[1:] = np.multiply(place, STEP)
    drawn_dose = float(rng.choice([0.25, 1.0]))
    detector = Detector(mode or ("wds", "eds")[seed // len(GROUPS) % 2], dose=dose or drawn_dose)
    maps, places = {}, {}
    for number in range(count):
        names = [name for name, own in zip(ELEMENTS, of_map, strict=True) if own == number]
        down, right = steps[number]
        parts = [window(paint[which], down, right, shape) for which in (0, 1)]
        made, _ = simulated.measure(rng, *parts, names, detector, supersampling=STEP, pixel_um=PIXEL_UM)
        maps |= made
        places |= dict.fromkeys(names, steps[number] / STEP)

    def truth(at):
        down, right = np.round(np.multiply(at, STEP)).astype(int)
        return simulated.block_majority(window(simulated.phase_ids()[paint[0]], down, right, shape), STEP)

    ordered = {name: maps[name] for name in ELEMENTS}
    return Section.from_arrays(f"P{seed}", ordered, units=dict.fromkeys(ELEMENTS, "counts")), places, truth


def painted(recipe, shape, seed):
    """Return material and iron of a scene with `STEP` sub-pixels a side (what `simulate_recipe` hands to `measure`)."""
    kept = {}
    measure = simulated.measure

    def keep(rng, material, iron, *args, **kwargs):
        kept["paint"] = (material, iron)
        return measure(rng, material, iron, *args, **kwargs)

    simulated.measure = keep
    try:
        fine = (shape[0] * STEP // 2, shape[1] * STEP // 2)  # simulate_recipe takes two sub-pixels a side
        simulated.simulate_recipe(recipe, Detector("wds"), shape=fine, pixel_size_um=2 * PIXEL_UM / STEP, seed=seed,
                                  channels=("Fe",))  # fmt: skip
    finally:
        simulated.measure = measure
    return kept["paint"]


def window(fine, down, right, shape):
    """Cut the sub-pixels of maps that lie `down` and `right` sub-pixels off."""
    top, left = ROOM * STEP - down, ROOM * STEP - right
    return np.ascontiguousarray(fine[top : top + shape[0] * STEP, left : left + shape[1] * STEP])


def judge(section, places):
    """Return how far the found places are from the true ones, relative to those of the first pass found."""
    try:
        found = align_maps(section)
    except InputError as error:
        return {"refused": str(error)}
    first = places[found.passes[0].names[0]]
    errors, stated, wrong = [], [], 0
    for one in found.passes:
        true = np.array([places[name] for name in one.names]) - first
        errors += np.abs(true - np.array(one.place_px)).max(axis=1).tolist()
        stated.append(max(one.error_px))
        wrong += int((true != true[0]).any())
    n_true = len({tuple(place) for place in places.values()})
    whole = all((np.abs(places[name] - first - np.array(one.moved_px)) <= 0.5).all()
                for one in found.passes for name in one.names)  # fmt: skip
    return {"passes": n_true, "found": len(found.passes), "mixed_passes": wrong, "unplaced": len(found.unplaced),
            "median_error_px": round(float(np.median(errors)), 3), "largest_error_px": round(max(errors), 3),
            "stated_error_px": round(max(stated), 3), "within_half_px": whole,
            "warned": bool(places_note(section)), "refused": ""}  # fmt: skip


def unrelated(n: int):
    """Yield sections whose maps have nothing in common, and what was found."""
    for seed in range(n):
        sections = [draw(seed + 3 * number, n_passes=1)[0] for number in range(4)]
        maps = {name: other.read([name])[0] for name, other in zip(("Fe", "Mg", "S", "Ca"), sections, strict=True)}
        two = {name: maps[name] for name in ("Fe", "Mg")}
        for kind, chosen in (("four maps", maps), ("two maps", two)):
            section = Section.from_arrays("U", chosen)
            row = judge(section, dict.fromkeys(chosen, np.zeros(2)))
            yield {"kind": kind, "refused": bool(row["refused"]), "warned": bool(places_note(section))}


def minerals(seed: int):
    """Yield the share of right pixels with every second map out of place, put back in several ways, and in place."""
    calibration = Calibration(
        {name: ChannelResponse(**values, relative_sd=0.03) for name, values in microprobe_responses().items()}
    )
    for place in ((0.0, 0.0), (0.5, 0.25), (1.0, 0.5), (1.25, -0.25)):
        section, places, truth = draw(seed, n_passes=2, mode="wds", shape=(200, 260), place=place, dose=1.0)
        raw, found = section.read(), align_maps(section)
        rng = np.random.default_rng(1)
        first = places[found.passes[0].names[0]]
        back = [tuple(places[name] - first) for name in ELEMENTS]
        ways = {
            "as they are": raw,
            "whole pixels": found.section.read(),
            "bilinear": np.stack([moved(plane, np.negative(by), order=1, mode="nearest")
                                  for plane, by in zip(raw, back, strict=True)]),
            "counts dealt out": np.stack([dealt(rng, plane, by) for plane, by in zip(raw, back, strict=True)]),
        }  # fmt: skip
        true = truth(first)
        for way, values in ways.items() if any(place) else [("in place", raw)]:
            yield {"seed": seed, "place_row": place[0], "place_col": place[1], "maps": way} | scores(
                values, true, calibration
            )


def scores(values, truth, calibration):
    """Return the share of right pixels, off and on boundaries, and of pixels that are mixtures or unclassified."""
    legend = default_legend("phases")
    fitted = refine_gains(PhaseClassifier.from_calibration(calibration, ELEMENTS), values, ELEMENTS).classifier
    found = fitted.identify(values, ELEMENTS)
    inner = (slice(6, -6), slice(6, -6))
    same = lambda ids: np.where(ids == legend["iron oxyhydroxide"].id, legend["magnetite"].id, ids)[inner]  # noqa: E731
    labels, true = same(found.labels), same(truth)
    known = (true != 255) & (true != legend["fine-grained matrix"].id) & (true != legend["outside"].id)
    edge = maximum_filter(true, 3) != minimum_filter(true, 3)
    share = lambda what, where: round(float(what[where & known].mean()), 4)  # noqa: E731
    return {
        "right": share(labels == true, known), "right_off": share(labels == true, ~edge),
        "right_on": share(labels == true, edge), "mixed": share(found.mixed[inner], known),
        "unclassified": round(float((labels == legend["unclassified"].id)[known].mean()), 5),
    }  # fmt: skip


def write(name, rows):
    """Write rows as they come."""
    with (HERE / name).open("w", newline="") as handle:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(handle, row)
                writer.writeheader()
            writer.writerow(row)
            handle.flush()
            print(row, flush=True)


def judged(n_sections: int):
    """Yield a row per simulated section."""
    blank = dict.fromkeys(("passes", "found", "mixed_passes", "unplaced", "median_error_px", "largest_error_px",
                           "stated_error_px", "within_half_px", "warned", "refused"), "")  # fmt: skip
    for seed in range(n_sections):
        mode = ("wds", "eds")[seed // len(GROUPS) % 2]
        yield {"seed": seed, "mode": mode} | blank | judge(*draw(seed)[:2])


def main() -> None:
    """Write the tables that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sections", type=int, default=9)
    parser.add_argument("--unrelated", type=int, default=4)
    parser.add_argument("--minerals", type=int, default=2)
    args = parser.parse_args()
    if args.sections:
        write("places.csv", judged(args.sections))
    if args.unrelated:
        write("places_unrelated.csv", unrelated(args.unrelated))
    if args.minerals:
        write("places_minerals.csv", (row for seed in range(args.minerals) for row in minerals(seed)))


if __name__ == "__main__":
    main()
