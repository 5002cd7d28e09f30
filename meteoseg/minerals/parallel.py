"""Work on the tiles of a map, several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from meteoseg.errors import InputError
from meteoseg.grid import Window

#: Tiles are wide and low, as maps lie in memory. Threads hold each other up where tiles are small, as then much of the
#: time goes into calls that only one of them can make; larger ones take more memory.
_TILE_ROWS, _TILE_COLS = 128, 512
#: glibc keeps freed memory for the next tile where a block of up to 32 MiB was freed before; otherwise it may give it
#: back to the system after every tile and fault it in again, page by page.
_FREED_ONCE_BYTES = 31 << 20


def cores_at_hand() -> int:
    """Cores that this process may use; OMP_NUM_THREADS, where set, caps them as it does in other libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(wanted))) if wanted.isdigit() else cores


def small_tiles(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield windows that cover a grid of `shape` without overlap.

    Examples
    --------
    >>> [window.shape for window in small_tiles((130, 600))]
    [(128, 512), (128, 88), (2, 512), (2, 88)]
    """
    for row in range(0, shape[0], _TILE_ROWS):
        for col in range(0, shape[1], _TILE_COLS):
            yield Window(row, col, min(_TILE_ROWS, shape[0] - row), min(_TILE_COLS, shape[1] - col))


def over_tiles(shape: tuple[int, int], work: Callable[[Window], None], *, threads: int | None = None) -> None:
    """Call `work` for every tile of a grid; calls run side by side and write to places of their own.

    Parameters
    ----------
    threads : calls at a time; None: `cores_at_hand`. Matrix products inside them use one core each.

    Raises
    ------
    InputError : `threads` below 1.
    """
    wanted = cores_at_hand() if threads is None else threads
    if wanted < 1:
        raise InputError(f"{wanted} threads cannot work: give 1 or more.")
    tiles = list(small_tiles(shape))
    np.empty(_FREED_ONCE_BYTES, np.uint8)  # never touched, so it takes no memory
    with threadpool_limits(1, user_api="blas"):
        if wanted == 1 or len(tiles) == 1:
            for tile in tiles:
                work(tile)
            return
        with ThreadPoolExecutor(wanted) as pool:
            try:
                for _ in pool.map(work, tiles):
                    pass  # the results are in place; this raises what a tile raised
            except BaseException:
                pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the tiles to come
                raise
