"""Maps that vanish, shrink or change while they are in use: an error that names the file, whatever its kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from meteoseg.errors import InputError
from meteoseg.grid import Window
from meteoseg.io.formats import read_maps
from meteoseg.io.stored import opened, read_grid, stamp_of

RNG = np.random.default_rng(4)
VALUES = RNG.integers(0, 60_000, (50, 37)).astype(np.uint16)


@pytest.mark.parametrize(
    "window", [Window(0, 0, 50, 37), Window(3, 5, 7, 30), Window(49, 36, 1, 1), Window(10, 30, 20, 4)], ids=str
)
@pytest.mark.parametrize("samples", [1, 3])
def test_windows_are_read_from_where_they_lie(tmp_path, window, samples):
    values = RNG.integers(0, 60_000, (50, 37, samples)).astype(">u2")
    (tmp_path / "a.raw").write_bytes(b"head" + values.tobytes())
    with opened(tmp_path / "a.raw", stamp_of(tmp_path / "a.raw")) as handle:
        found = read_grid(handle, values.dtype, 4, values.shape, window)
    np.testing.assert_array_equal(found, values[window.slices])


def plain(path: Path) -> Path:
    tifffile.imwrite(path / "Fe.tif", VALUES)
    return path / "Fe.tif"


def compressed(path: Path) -> Path:
    tifffile.imwrite(path / "Fe.tif", VALUES, compression="zlib", rowsperstrip=8)
    return path / "Fe.tif"


def picture(path: Path) -> Path:
    Image.fromarray((VALUES >> 8).astype(np.uint8)).save(path / "Fe.png")
    return path / "Fe.png"


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("write", [plain, compressed, picture])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (delete, r"cannot be read any more \(No such file or directory\): put it back"),
        (truncate, r"changed while it was in use \(it is \d+ bytes long instead of \d+\)"),
        (touch, r"changed while it was in use \(it was written to\)"),
    ],
)
def test_a_file_that_is_no_longer_what_it_was_is_named(tmp_path, write, fault, words):
    path = write(tmp_path)
    plane = read_maps(path)[0].plane
    fault(path)
    with pytest.raises(InputError, match=f"{path.name} {words}"):
        plane.read(Window(5, 0, 20, 37))


def test_a_change_while_a_window_is_read_is_seen(tmp_path):
    path = plain(tmp_path)
    stamp = stamp_of(path)

    def read() -> None:
        with opened(path, stamp) as handle:
            handle.read(100)
            touch(path)

    with pytest.raises(InputError, match=r"Fe.tif changed while it was in use"):
        read()


def test_a_file_that_ends_early_is_no_crash(tmp_path):
    path = plain(tmp_path)

    def read() -> None:
        with opened(path, stamp_of(path)) as handle:
            read_grid(handle, np.dtype("<u2"), 1000, (50, 37, 1), Window(0, 0, 50, 37))

    with pytest.raises(InputError, match=r"Fe.tif cannot be read any more \(it ends early\)"):
        read()
