"""Work that keeps its order: tasks of one strand run one after the other, strands side by side."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor


class Strand:
    """A queue of tasks that a shared pool works off in order, never two at once.

    Args:
        pool: the threads that all strands share.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._tasks: deque[Callable[[], None]] = deque()
        self._running = False

    def put(self, task: Callable[[], None]) -> None:
        """Queue a task; it must not raise."""
        with self._lock:
            self._tasks.append(task)
            if self._running:
                return
            self._running = True
        self._pool.submit(self._drain)

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._running = False
                    return
                task = self._tasks.popleft()
            # One that cannot even report, for want of memory, must not hold up those behind it.
            with suppress(Exception):
                task()


class Window:
    """Bounds how many source frames are held at once: a frame is let go with its last crop.

    Args:
        frames: the bound.
    """

    def __init__(self, frames: int) -> None:
        self._free = threading.Semaphore(frames)

    def enter(self, uses: int) -> Callable[[], None]:
        """Wait for a place; return what each of `uses` users calls when it is through."""
        self._free.acquire()
        lock = threading.Lock()
        left = uses

        def leave() -> None:
            nonlocal left
            with lock:
                left -= 1
                last = left == 0
            if last:
                self._free.release()

        return leave
