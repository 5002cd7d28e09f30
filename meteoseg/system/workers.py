"""Sections worked on side by side, each worker a process of its own that may end without stopping the others."""

from __future__ import annotations

import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: Seconds that a worker has to clean up before it is ended the hard way.
_GRACE_S = 10.0
#: Exit code of a process that the system, or somebody, killed.
_KILLED = -9


@dataclass
class _Worker(Generic[Item]):
    """A process, the line to it, and what it works on (None: nothing)."""

    process: SpawnProcess
    link: Connection
    item: Item | None = None

    def give(self, item: Item) -> None:
        self.item = item
        with suppress(OSError):  # where it died, waiting for its answer tells so
            self.link.send(item)


@dataclass(frozen=True)
class Died:
    """A worker that ended without an answer; `code` is its exit code, a negative one the signal that ended it."""

    code: int

    def __str__(self) -> str:
        """Say what happened and what may help."""
        if self.code == _KILLED:
            return (
                "The system ended the process that worked on it, as it does where memory runs out: use fewer "
                "--workers, or give it more memory, and run again with --resume."
            )
        return (
            f"The process that worked on it ended (exit code {self.code}): run meteoseg segment on this section alone."
        )


def side_by_side(
    work: Callable[[Item], Answer], items: Sequence[Item], n_workers: int
) -> Generator[tuple[Item, Answer | Died], None, None]:
    """Yield each item with what `work` returns for it, as they finish.

    Parameters
    ----------
    work : function of a module; it, the items and the answers travel to and from other processes.
    items : what is worked on. n_workers : processes at a time.

    A worker that the system ends costs the item at work, and another takes its place. When the generator is closed or
    interrupted, workers are asked to end, clean up, and are waited for.
    """
    waiting, workers = deque(items), list[_Worker[Item]]()
    try:
        while waiting or workers:
            while waiting and len(workers) < n_workers:
                workers.append(_start(work))
                workers[-1].give(waiting.popleft())
            for link in connection.wait([worker.link for worker in workers]):
                worker = next(one for one in workers if one.link is link)
                item, answer = worker.item, _answer(worker)
                if isinstance(answer, Died) or not waiting:
                    workers.remove(worker)
                    _dismiss(worker)
                else:
                    worker.give(waiting.popleft())
                yield item, answer  # type: ignore[misc]
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_GRACE_S)
            worker.process.kill()


def _start(work: Callable[[Item], Answer]) -> _Worker[Item]:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(work, there), daemon=True)
    with _deaf_to_interrupts():
        process.start()
    there.close()
    return _Worker(process, here)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C, and let a process that starts meanwhile inherit that: its parent decides when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(work: Callable[[Item], Answer], link: Connection) -> None:
    """Answer items until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unlike by default, unfinished folders are removed
    while True:
        try:
            item = link.recv()
        except (EOFError, OSError):
            return
        answer = work(item)
        try:
            link.send(answer)
        except OSError:
            return


def _answer(worker: _Worker[Item]) -> object:
    try:
        return worker.link.recv()
    except (EOFError, OSError):
        worker.process.join(_GRACE_S)
        return Died(worker.process.exitcode or 0)


def _dismiss(worker: _Worker[Item]) -> None:
    worker.link.close()
    worker.process.join(_GRACE_S)
