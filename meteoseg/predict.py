"""Run a network over a section: tiles, network, stitch, one band of rows after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meteoseg.grid import Window
from meteoseg.models import Network, fast_bfloat16
from meteoseg.stitch import Stitcher
from meteoseg.tiles import plan_tiles

FloatArray = NDArray[np.float32]
Read = Callable[[Window], FloatArray]


def predict_bands(
    network: Network,
    read: Read,
    shape: tuple[int, int],
    *,
    tile_px: int | None = None,
    overlap_px: int | None = None,
    batch_size: int = 2,
    tta: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, dict[str, FloatArray]]]:
    """Yield the logits of a section from top to bottom, in bands of rows.

    Parameters
    ----------
    network : in eval mode, on any device.
    read : returns the normalised channels (C, h, w) float32 of a window.
    shape : (rows, cols) of the grid that `read` knows.
    tile_px, overlap_px : window and overlap; by default those of the card (overlap twice its margin).
    batch_size : windows per pass.
    tta : average over the eight flips and quarter turns of each window (eight times the work).
    progress : is called with (tiles done, tiles in all).

    Yields
    ------
    First row of the band, and {layer: (K, n, cols) float32 logits}.

    Raises
    ------
    InputError : an overlap that does not fit the tile.
    """
    tile_px = network.card.tile_px if tile_px is None else tile_px
    overlap_px = min(2 * network.card.margin_px, tile_px // 2) if overlap_px is None else overlap_px
    rows = plan_tiles(shape, tile_px, overlap_px)
    widths = network.card.widths
    stitcher = Stitcher(shape, sum(widths.values()), overlap_px)
    ends = [*(row[0].row for row in rows[1:]), shape[0]]
    done, total = 0, sum(len(row) for row in rows)
    for windows, row_end in zip(rows, ends, strict=True):
        for start in range(0, len(windows), batch_size):
            batch = windows[start : start + batch_size]
            logits = predict_windows(network, [read(window) for window in batch], tta=tta)
            for window, values in zip(batch, logits, strict=True):
                stitcher.add(window, values)
            done += len(batch)
            if progress is not None:
                progress(done, total)
        for row, band in stitcher.finish(row_end):
            parts = np.split(band, np.cumsum(list(widths.values()))[:-1], axis=0)
            yield row, dict(zip(widths, parts, strict=True))


def predict_windows(network: Network, images: Sequence[FloatArray], *, tta: bool = False) -> FloatArray:
    """Return logits (B, K, h, w) float32 of windows of one shape, (C, h, w) each.

    Windows are mirrored at their right and lower border to multiples of 32 pixels and cut back.
    """
    height, width = images[0].shape[1:]
    spare = [(0, 0), (0, 0), *((0, -length % Network.multiple_px) for length in (height, width))]
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.pad(np.stack(images), spare, mode="symmetric")).to(device)
    half = device.type == "cuda" or fast_bfloat16()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = _averaged(network, batch) if tta else _run(network, batch)
    return logits[:, :, :height, :width].cpu().numpy()


def _run(network: Network, batch: Tensor) -> Tensor:
    logits: Tensor = network(batch.contiguous(memory_format=torch.channels_last))
    return logits.float().contiguous()


def _averaged(network: Network, batch: Tensor) -> Tensor:
    """Average over the symmetries of the square."""
    total = torch.zeros((), device=batch.device)
    for turns in range(4):
        for mirror in (False, True):
            turned = torch.rot90(batch.flip(-1) if mirror else batch, turns, (-2, -1))
            back = torch.rot90(_run(network, turned), -turns, (-2, -1))
            total = total + (back.flip(-1) if mirror else back)
    return total / 8
