"""Blocks of lines read side by side: by worker processes, or here where a file is small."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.errors import LacksError
from trackverse_cli.index.rows import Found, read_text
from trackverse_cli.index.worker import answer, ask
from trackverse_cli.machine import usable_cores

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from trackverse_cli.index.source import Block

SMALL_BYTES: Final = 16 << 20
"""A compressed file below this is read before a worker has loaded its libraries."""

MAX_WORKERS: Final = 4
"""More would only wait for the one process that decompresses and writes."""

PIPE_BYTES: Final = 1 << 20
"""What a pipe to a worker holds; as much as anybody may ask for on a usual Linux."""

KEEP_BYTES: Final = 1 << 30
"""A worker gives memory back above this: it needs the same megabytes again for every block."""

_OF_MALLOC: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

_START = "import sys; sys.path[:] = {path!r}; from trackverse_cli.index.worker import main; main()"


def workers_for(size_bytes: int) -> int:
    """Return how many worker processes pay for a compressed file of this size."""
    cores = usable_cores()
    return 0 if size_bytes < SMALL_BYTES or cores < 2 else min(cores, MAX_WORKERS)


def _start() -> subprocess.Popen[bytes]:
    # -c and not -m, which would look into the current folder first; a process group of its own,
    # so that an interrupt from the terminal reaches the process that builds, and it alone.
    worker = subprocess.Popen(
        [sys.executable, "-c", _START.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
        env=os.environ | {name: str(KEEP_BYTES) for name in _OF_MALLOC},
    )
    for stream in (worker.stdin, worker.stdout):
        # Where it may be: a block is 4 MiB, and 64 KiB at a time cost 60 changes of process.
        with suppress(OSError, AttributeError):
            fcntl.fcntl(stream or -1, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return worker


class Pool:
    """Reads blocks; a context manager that leaves no process behind.

    Args:
        workers: how many processes; with 0, one thread of this process reads.
    """

    def __init__(self, workers: int) -> None:
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._all: list[subprocess.Popen[bytes]] = []
        with suppress(OSError):  # where no more processes may start, those that did will do
            for _ in range(workers):
                self._all.append(_start())
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(max(len(self._all), 1), thread_name_prefix="lines")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind:  # nobody wants the answers any more
            for worker in self._all:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            for stream in (worker.stdin, worker.stdout):
                with suppress(OSError):
                    if stream:
                        stream.close()
            worker.wait()

    def read(self, block: Block) -> Future[tuple[Found, Any]]:
        """Return what a block holds, and its table, in the future.

        The future raises LacksError if a worker process ended before it answered.
        """
        if self._all:
            return self._threads.submit(self._by_worker, block)
        return self._threads.submit(read_text, block.first_line, block.text)

    def _by_worker(self, block: Block) -> tuple[Found, Any]:
        worker = self._idle.get()
        if not worker.stdin or not worker.stdout:
            raise AssertionError("workers have pipes")
        try:
            ask(worker.stdin, block.first_line, block.begin, block.rest)
            return answer(worker.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise LacksError(
                f"a process that read lines from {block.first_line} on was ended from outside "
                f"(code {worker.wait()}), perhaps for want of memory; "
                "run trackverse fetch-meta again where there is more"
            ) from error
        finally:
            self._idle.put(worker)
