"""Work on shared threads: tasks in order, strands side by side, and bounds on what is held."""

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
    """Bounds what is held of source frames, they or their crops: it is let go with the last crop.

    One thread enters; any may leave.

    Args:
        most: bytes that may be held.
        least: frames that may be held whatever their size, at least 1.
    """

    def __init__(self, most: int, least: int) -> None:
        self._most = most
        self._least = least
        self._held = 0
        self._frames = 0
        self._change = threading.Condition()

    def has_place(self, size: int) -> bool:
        """Say whether `enter` would not wait."""
        with self._change:
            return self._frames < self._least or self._held + size <= self._most

    def is_half_full(self) -> bool:
        """Say whether half of what may be held is."""
        with self._change:
            return 2 * self._held >= self._most and 2 * self._frames >= self._least

    def enter(self, uses: int, size: int) -> Callable[[], None]:
        """Wait for a place for so many bytes; return what each of `uses` users calls at its end."""
        with self._change:
            self._change.wait_for(lambda: self.has_place(size))
            self._held += size
            self._frames += 1
        left = uses

        def leave() -> None:
            nonlocal left
            with self._change:
                left -= 1
                if left == 0:
                    self._held -= size
                    self._frames -= 1
                    self._change.notify()

        return leave


class Seats:
    """How many threads do the same at once: some in any case, others where a seat is free.

    Attributes:
        most: seats that there are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Sit down, be a seat free or not."""
        with self._lock:
            self._taken += 1

    def take_free(self) -> bool:
        """Sit down if a seat is free; return whether one was."""
        with self._lock:
            is_free = self._taken < self.most
            self._taken += is_free
            return is_free

    def leave(self) -> None:
        """Get up."""
        with self._lock:
            self._taken -= 1

    def are_too_few(self) -> bool:
        """Say whether more have sat down than there are seats."""
        with self._lock:
            return self._taken > self.most
