"""What happens after formation: rust, cracks, pits, plucked grains and the edge of the section."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from meteoseg.simulate.canvas import COMPONENT, Canvas
from meteoseg.simulate.materials import paint
from meteoseg.simulate.noise import smooth_noise, upper_share
from meteoseg.simulate.recipe import Recipe

Rng = np.random.Generator


def rust(rng: Rng, canvas: Canvas, recipe: Recipe) -> None:
    """Turn metal, then sulfide, to oxyhydroxide from their margins inwards (order after Wlotzka 1993)."""
    for names, share in (
        (("kamacite", "taenite", "kamacite EH"), recipe.weathering.metal),
        (("troilite", "pentlandite"), recipe.weathering.sulfide),
    ):
        body = np.isin(canvas.material, [paint(name) for name in names])
        if share <= 0 or not body.any():
            continue
        sigma = max(6 / canvas.px_um, 0.8)
        margin = -cv2.GaussianBlur(body.astype(np.float32), (0, 0), sigma)
        uneven = 0.25 * smooth_noise(rng, canvas.shape, max(30 / canvas.px_um, 1))
        spread = rng.uniform(0.4, 1.6) * share
        canvas.put(upper_share(margin + uneven, min(spread, 1.0), body), "iron oxyhydroxide", rng.uniform(0, 60))


def wander(rng: Rng, shape: tuple[int, int], step_px: float) -> NDArray[np.int32]:
    """Draw the points (N, 2), (col, row), of a crack or vein: straight on the whole, jagged in detail."""
    n = int(1.5 * max(shape) / step_px) + 2
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.03, n)) + rng.normal(0, 0.5, n)
    start = rng.uniform(0, 1, 2) * np.array(shape)
    steps = step_px * np.column_stack([np.sin(heading), np.cos(heading)])
    path = start + np.cumsum(steps, axis=0) - steps.sum(axis=0) * rng.uniform(0, 1)
    return np.asarray(np.round(path[:, ::-1]), np.int32)


def crack(rng: Rng, canvas: Canvas, recipe: Recipe, *, pixel_um: float) -> None:
    """Draw cracks; those over two map pixels wide are holes, narrower ones belong to their host.

    Some are filled with rust (veins) according to the weathering grade.
    """
    length_mm = np.sqrt(np.prod(canvas.shape)) * canvas.px_um / 1000
    n_open = rng.poisson(2.0 * recipe.crack_density * max(length_mm, 0.5))
    n_veins = rng.poisson(1.2 * recipe.weathering.veins * max(length_mm, 0.5))
    for number in range(int(min(n_open + n_veins, 80))):
        width_um = float(min(rng.lognormal(np.log(4.0), 0.7), 20))
        line = np.zeros(canvas.shape, np.uint8)
        path = wander(rng, canvas.shape, max(12 / canvas.px_um, 2))
        thickness = max(1, round(width_um / canvas.px_um))
        if width_um < canvas.px_um and rng.random() > width_um / canvas.px_um:
            continue
        cv2.polylines(line, [path.reshape(-1, 1, 2)], False, 1, thickness)
        where = line.astype(bool)
        if number >= n_open:
            canvas.put(where, "iron oxyhydroxide", 20)
            continue
        canvas.put(where, "epoxy")
        if width_um > 2 * pixel_um:
            canvas.component[where] = COMPONENT["hole"]


def pluck(rng: Rng, canvas: Canvas, recipe: Recipe, *, pixel_um: float) -> None:
    """Take out grains: small pits mostly in matrix, larger pull-outs anywhere."""
    matrix = (canvas.component == COMPONENT["matrix"]) | (canvas.component == COMPONENT["rim"])
    for size_um, share, within in (
        (float(rng.uniform(4, 12)), 0.7 * recipe.pit_pct / 100, matrix),
        (float(rng.uniform(15, 50)), 0.3 * recipe.pit_pct / 100 * rng.random(), None),
    ):
        where = upper_share(smooth_noise(rng, canvas.shape, max(size_um / canvas.px_um, 1)), share, within)
        canvas.put(where, "epoxy")
        if size_um > 2 * pixel_um:
            canvas.component[where] = COMPONENT["hole"]


def cut_edge(rng: Rng, canvas: Canvas) -> None:
    """Let the section end inside the field along one or two wavy sides; beyond lies the mount."""
    rows, cols = canvas.shape
    outside = np.zeros(canvas.shape, bool)
    for side in rng.choice(4, size=int(rng.integers(1, 3)), replace=False):
        length = cols if side < 2 else rows
        depth = (rows if side < 2 else cols) * rng.uniform(0.02, 0.2)
        scales = ((length / 3, 0.25), (length / 12, 0.1), (length / 60 + 1, 0.03))
        wave = sum(amplitude * smooth_noise(rng, (1, length), scale)[0] for scale, amplitude in scales)
        limit = np.clip(depth * (1 + wave), 0, None)
        if side < 2:
            distance = np.arange(rows)[:, None] if side == 0 else np.arange(rows)[::-1, None]
            outside |= distance < limit[None, :]
        else:
            distance = np.arange(cols)[None, :] if side == 2 else np.arange(cols)[None, ::-1]
            outside |= distance < limit[:, None]
    canvas.put(outside, "epoxy")
    canvas.component[outside] = COMPONENT["outside"]
