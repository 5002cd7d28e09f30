"""Run a network over a section: bands of rows are read ahead while the tiles of the band before are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from threading import Event
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meteoseg.channels import ABSENT
from meteoseg.grid import Window
from meteoseg.models import Network, fast_bfloat16
from meteoseg.networks.folded import folded
from meteoseg.system.memory import give_back
from meteoseg.tiles import Tile, plan_tiles

#: Gives the normalised channels of a window, plane (h, w) after plane, or one number where a plane holds only that.
Read = Callable[[Window], Iterable[NDArray[np.float32] | float]]

#: Bands of rows of all channels take about this much memory: the one at work, the one being read, the one before.
BAND_BYTES = 360 * 2**20
_BANDS = 3
_LEAST_TILE_ROWS = 128
#: Tiles at work at a time, each on its share of the cores: a tile on all cores waits for the slowest of them.
MAX_WORKERS = 4

Finished = TypeVar("Finished")


def predict_tiles(
    network: Network,
    read: Read,
    shape: tuple[int, int],
    finish: Callable[[Tensor], Finished],
    *,
    tile_px: int | None = None,
    margin_px: int | None = None,
    tta: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Window, Finished]]:
    """Yield what `finish` makes of the logits of each tile, row after row of tiles, every pixel once.

    Reading ends when something is raised here, or when the generator is closed.

    Parameters
    ----------
    network : in eval mode, on any device.
    read : gives the normalised channels of a window of full width; it is called from another thread.
    shape : (rows, cols) of the grid that `read` knows.
    finish : is called with the logits (K, h, w) of what a tile owns, on the processor in the precision of the run, from
        another thread; several calls run at a time.
    tile_px, margin_px : side of the tiles and what is cut off around them; by default those of the card. Tiles are
        lower and wider where the section is so wide that a band of them would take over `BAND_BYTES`.
    tta : average over the eight flips and quarter turns of each tile (eight times the work).
    progress : is called with (tiles done, tiles in all).

    Yields
    ------
    Window, and what `finish` returned for it.

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
    # Lower tiles are wider, so that they are as large.
    cols_px = tile_px**2 // rows_px // Network.multiple_px * Network.multiple_px if rows_px < tile_px else tile_px
    plan = plan_tiles(shape, cols_px, margin_px, tile_rows_px=rows_px)

    def work(lean: nn.Module, parts: Sequence[Tensor], tile: Tile) -> tuple[Window, Finished]:
        logits = _logits(lean, _cut(parts, tile).to(device), tta=tta)[0]
        return tile.inner, finish(logits[:, *tile.kept].detach().cpu())

    total, bands = sum(len(row) for row in plan), _bands(read, plan, n_planes, shape[1], dtype)
    for done, found in enumerate(_side_by_side(work, network, bands, device, dtype), start=1):
        if progress is not None:
            progress(done, total)
        yield found


def _side_by_side(
    work: Callable[[nn.Module, Sequence[Tensor], Tile], Finished],
    network: Network,
    bands: Generator[tuple[Sequence[Tile], list[Tensor]], None, None],
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[Finished]:
    """Yield what `work` returns for each tile, in order, with some tiles at work ahead."""
    cores = torch.get_num_threads()
    workers = 1 if device.type != "cpu" else min(MAX_WORKERS, cores)
    lean: nn.Module | None = None
    coming: deque[Future[Finished]] = deque()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="tile", initializer=lambda: torch.set_num_threads(max(1, cores // workers))
    )
    try:
        for tiles, parts in bands:
            give_back()
            if lean is None:
                lean = folded(network, parts[0][:, 0, 0] != ABSENT, dtype)
            for tile in tiles:
                coming.append(pool.submit(work, lean, parts, tile))
                if len(coming) > workers:
                    yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        bands.close()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)


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
    affordable = BAND_BYTES // (_BANDS * bytes_per_row) // Network.multiple_px * Network.multiple_px
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
    reader = ThreadPoolExecutor(1, thread_name_prefix="read", initializer=torch.set_num_threads, initargs=(1,))
    try:
        coming = reader.submit(fetch, 0)
        for index, tiles in enumerate(plan):
            parts.append(coming.result())
            if index + 1 < len(plan):
                coming = reader.submit(fetch, index + 1)
            yield tiles, list(parts)
            parts = _lowest(parts, shared[index])
    finally:
        stopped.set()
        reader.shutdown(cancel_futures=True)


def _cut(parts: Sequence[Tensor], tile: Tile) -> Tensor:
    """Cut a tile (1, C, h, w) out of a band, its channels side by side in memory."""
    cols = slice(tile.outer.col, tile.outer.col_end)
    size = (1, parts[0].shape[0], tile.outer.height, tile.outer.width)
    out = torch.empty(size, dtype=parts[0].dtype, memory_format=torch.channels_last)
    torch.cat([part[None, :, :, cols] for part in parts], dim=2, out=out)
    return out


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
