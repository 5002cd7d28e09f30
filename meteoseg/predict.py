"""Run a network over a section: bands of rows are read ahead while the tiles of the band before are computed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meteoseg.channels import ABSENT
from meteoseg.folded import folded
from meteoseg.grid import Window
from meteoseg.models import Network, fast_bfloat16
from meteoseg.tiles import Tile, plan_tiles

#: Gives the normalised channels of a window, plane (h, w) after plane, or one number where a plane holds only that.
Read = Callable[[Window], Iterable[NDArray[np.float32] | float]]

#: Bands of rows of all channels, the one at work and the one being read, take about this much memory.
BAND_BYTES = 400 * 2**20
_LEAST_TILE_ROWS = 192


def predict_tiles(
    network: Network,
    read: Read,
    shape: tuple[int, int],
    *,
    tile_px: int | None = None,
    margin_px: int | None = None,
    tta: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Generator[tuple[Window, Tensor], None, None]:
    """Yield the logits of a section tile by tile, row after row of tiles, every pixel once.

    Reading ends when the generator is closed, or when something is raised in it.

    Parameters
    ----------
    network : in eval mode, on any device.
    read : gives the normalised channels of a window of full width; it is called from another thread.
    shape : (rows, cols) of the grid that `read` knows.
    tile_px, margin_px : side of the tiles and what is cut off around them; by default those of the card. Tiles are
        lower where the section is so wide that a band of them would take over `BAND_BYTES`.
    tta : average over the eight flips and quarter turns of each tile (eight times the work).
    progress : is called with (tiles done, tiles in all).

    Yields
    ------
    Window, and its logits (K, h, w) on the processor, in the precision of the run.

    Raises
    ------
    InputError : a margin that does not fit the tile.
    """
    card = network.card
    tile_px = card.tile_px if tile_px is None else tile_px
    margin_px = min(card.margin_px, (tile_px - 1) // 2) if margin_px is None else margin_px
    device, dtype = _place(network)
    n_planes = len(card.channels)
    rows_px = _tile_rows(tile_px, margin_px, bytes_per_row=n_planes * shape[1] * dtype.itemsize)
    plan = plan_tiles(shape, tile_px, margin_px, tile_rows_px=rows_px)
    done, total = 0, sum(len(row) for row in plan)
    lean: nn.Module | None = None
    with closing(_bands(read, plan, n_planes, shape[1], dtype)) as bands:
        for tiles, parts in bands:
            if lean is None:
                lean = folded(network, parts[0][:, 0, 0] != ABSENT, dtype)
            for tile in tiles:
                image = torch.cat([part[:, :, tile.outer.col : tile.outer.col_end] for part in parts], dim=1)
                logits = _logits(lean, image[None].to(device), tta=tta)[0]
                done += 1
                if progress is not None:
                    progress(done, total)
                yield tile.inner, logits[:, *tile.kept].detach().cpu()


def predict_windows(network: Network, images: Sequence[NDArray[np.float32]], *, tta: bool = False) -> NDArray[Any]:
    """Return logits (B, K, h, w) float32 of windows of one shape, (C, h, w) each, that lack the same channels."""
    device, dtype = _place(network)
    batch = torch.from_numpy(np.stack(images)).to(device, dtype)
    lean = folded(network, batch[0, :, 0, 0] != ABSENT, dtype)
    logits = [_logits(lean, image[None], tta=tta) for image in batch]
    return np.asarray(torch.cat(logits).float().cpu().numpy())


def _place(network: Network) -> tuple[torch.device, torch.dtype]:
    device = next(network.parameters()).device
    half = device.type == "cuda" or fast_bfloat16()
    return device, torch.bfloat16 if half else torch.float32


def _tile_rows(tile_px: int, margin_px: int, *, bytes_per_row: int) -> int:
    """Height of the tiles: that of the tile, or less (in steps of 32 px) where bands would take too much memory."""
    affordable = BAND_BYTES // (2 * bytes_per_row) // Network.multiple_px * Network.multiple_px
    return min(tile_px, max(affordable, _LEAST_TILE_ROWS, 4 * margin_px))


def _bands(
    read: Read, plan: Sequence[Sequence[Tile]], n_planes: int, width: int, dtype: torch.dtype
) -> Generator[tuple[Sequence[Tile], list[Tensor]], None, None]:
    """Yield rows of tiles with their channels in parts (C, rows, width), one above the other.

    The rows below are read meanwhile; those that two rows of tiles share are read once.
    """
    spans = [(row[0].outer.row, row[0].outer.row_end) for row in plan]
    shared = [max(0, upper[1] - lower[0]) for upper, lower in pairwise(spans)] + [0]
    stopped = Event()

    def fetch(index: int) -> Tensor:
        start = spans[index][0] + (shared[index - 1] if index else 0)
        window = Window(start, 0, spans[index][1] - start, width)
        out = torch.empty((n_planes, *window.shape), dtype=dtype)
        for plane, values in zip(out, read(window), strict=True):
            if stopped.is_set():
                break
            if isinstance(values, float):
                plane.fill_(values)
            else:
                plane.copy_(torch.from_numpy(values))
        return out

    parts: list[Tensor] = []
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    try:
        coming = reader.submit(fetch, 0)
        for index, tiles in enumerate(plan):
            parts.append(coming.result())
            if index + 1 < len(plan):
                coming = reader.submit(fetch, index + 1)
            yield tiles, parts
            parts = _lowest(parts, shared[index])
    finally:
        stopped.set()
        reader.shutdown(cancel_futures=True)


def _lowest(parts: list[Tensor], rows: int) -> list[Tensor]:
    """Keep the lowest rows of parts that lie one above the other, as copies of their own."""
    kept: list[Tensor] = []
    for part in reversed(parts):
        if rows <= 0:
            break
        kept.insert(0, part[:, -rows:].clone())
        rows -= part.shape[1]
    return kept


def _logits(lean: nn.Module, image: Tensor, *, tta: bool) -> Tensor:
    """Run on (1, C, h, w), mirrored at the right and lower border to multiples of 32 px and cut back."""
    height, width = image.shape[2:]
    image = _mirrored(_mirrored(image, 2), 3)
    with torch.inference_mode():
        logits = _averaged(lean, image) if tta else _run(lean, image)
    return logits[:, :, :height, :width]


def _mirrored(image: Tensor, axis: int) -> Tensor:
    length = image.shape[axis]
    wanted = -(-length // Network.multiple_px) * Network.multiple_px
    if wanted == length:
        return image
    place = torch.arange(wanted, device=image.device) % (2 * length)
    return image.index_select(axis, torch.where(place < length, place, 2 * length - 1 - place))


def _run(lean: nn.Module, image: Tensor) -> Tensor:
    logits: Tensor = lean(image.contiguous(memory_format=torch.channels_last))
    return logits


def _averaged(lean: nn.Module, image: Tensor) -> Tensor:
    """Average over the symmetries of the square."""
    total = torch.zeros((), device=image.device)
    for turns in range(4):
        for mirror in (False, True):
            turned = torch.rot90(image.flip(-1) if mirror else image, turns, (-2, -1))
            back = torch.rot90(_run(lean, turned).float(), -turns, (-2, -1))
            total = total + (back.flip(-1) if mirror else back)
    return total / 8
