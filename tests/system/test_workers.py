"""Workers side by side: one that dies costs its item only, and none stays behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

from meteoseg.system.workers import Died, side_by_side


def squared(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def waits(folder: Path) -> str:
    """Write who it is, wait, and clean up when it is ended."""
    mark = folder / str(os.getpid())
    if (folder / "go").exists():
        return "quick"
    (folder / "go").touch()
    mark.touch()
    try:
        time.sleep(60)
    finally:
        mark.unlink()
    return "slow"


def test_a_worker_that_is_killed_does_not_stop_the_others() -> None:
    found = dict(side_by_side(squared, [1, 2, 3, 4], 2))
    died = found.pop(2)
    assert found == {1: 1, 3: 9, 4: 16}
    assert died == Died(-9)
    assert "memory runs out: use fewer --workers" in str(died)
    assert "exit code 3" in str(Died(3))


def test_workers_end_and_clean_up_when_the_caller_stops(tmp_path: Path) -> None:
    start = time.monotonic()
    with closing(side_by_side(waits, [tmp_path, tmp_path], 2)) as running:
        assert next(running)[1] == "quick"
    assert time.monotonic() - start < 20
    assert [path.name for path in tmp_path.iterdir()] == ["go"]
