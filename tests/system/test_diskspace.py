"""Disk space: what is needed is estimated, checked before a run, reserved, and told about where it is missing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from meteoseg.errors import DiskFullError
from meteoseg.labels.images import Scratch
from meteoseg.system import diskspace
from meteoseg.system.diskspace import DiskNeed, check_space, disk_full_told, reserve
from meteoseg.system.footprint import segment_need

NEED = DiskNeed("segmenting 'A12'", scratch=8_000_000, results=2_000_000)


@pytest.mark.parametrize(("free", "warns"), [(10_000_000, False), (9_000_000, True)])
def test_too_little_for_the_estimate_is_a_warning(monkeypatch, tmp_path, free, warns):
    monkeypatch.setattr(diskspace, "free_bytes", lambda folder: free)
    warning = check_space(tmp_path, NEED)
    assert bool(warning) == warns
    if warns:
        assert warning.startswith(f"{tmp_path} has 9.0 MB free and segmenting 'A12' needs about 10.0 MB there")


def test_too_little_for_the_scratch_files_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(diskspace, "free_bytes", lambda folder: 7_000_000)
    with pytest.raises(DiskFullError, match=r"has 7.0 MB free .* 8.0 MB of it only while it runs.*with -o"):
        check_space(tmp_path, NEED)


def test_free_space_of_a_folder_that_is_still_to_be_made(tmp_path):
    assert diskspace.free_bytes(tmp_path / "not" / "yet") > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_what_is_needed(tmp_path, number):
    with (
        pytest.raises(DiskFullError, match=rf"^{tmp_path} is full; segmenting 'A12' needs about 10.0 MB .*-o\.$"),
        disk_full_told(tmp_path, NEED),
    ):
        raise OSError(number, os.strerror(number))


def test_the_folder_of_another_file_is_named(tmp_path):
    with pytest.raises(DiskFullError, match=r"^/elsewhere is full"), disk_full_told(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file.tif")


def test_other_errors_pass(tmp_path):
    with pytest.raises(PermissionError, match="denied"), disk_full_told(tmp_path, NEED):
        raise PermissionError(errno.EACCES, "denied")


@pytest.mark.parametrize("n_bytes", [1, 3_000_001])
def test_reserved_files_are_zeros_whose_blocks_are_taken(tmp_path, n_bytes):
    reserve(tmp_path / "a.raw", n_bytes)
    stat = (tmp_path / "a.raw").stat()
    assert stat.st_size == n_bytes
    assert stat.st_blocks * 512 >= n_bytes
    assert not any((tmp_path / "a.raw").read_bytes())


def test_zeros_are_written_where_blocks_cannot_be_reserved(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    reserve(tmp_path / "a.raw", 2_100_000)
    assert (tmp_path / "a.raw").read_bytes() == bytes(2_100_000)


def test_a_scratch_array_on_a_full_disk_is_an_error_and_no_crash(tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fill, raising=False)
    with pytest.raises(OSError, match=r"No space left on device: .*inside.raw") as caught:
        Scratch(tmp_path / "scratch", (30, 50)).array("inside", np.bool_)
    assert diskspace.is_disk_full(caught.value)


def test_a_limit_of_file_sizes_is_told(tmp_path):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from meteoseg.system.diskspace import disk_full_told, reserve\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "folder = Path(sys.argv[1])\n"
        "with disk_full_told(folder):\n"
        "    reserve(folder / 'a.raw', 20_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert f"DiskFullError: {tmp_path} takes no files as large as this run writes" in done.stderr


@pytest.mark.parametrize(
    ("layers", "probabilities", "chemistry", "per_px"),
    [
        (("phases", "components"), False, False, 8),
        (("phases", "components"), True, False, 10),
        (("components",), True, True, 11),
        (("phases",), False, False, 2),
    ],
)
def test_scratch_space_of_a_segmentation(layers, probabilities, chemistry, per_px):
    need = segment_need("A", (30, 50), layers, probabilities=probabilities, chemistry=chemistry)
    assert need.scratch == per_px * 30 * 50
