"""Work on threads, its results in order, a few items ahead."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
U = TypeVar("U")

AHEAD = 4
"""Items that wait for each thread."""


def in_order(
    work: Callable[[T], U],
    items: Iterable[T],
    threads: int,
    name: str,
    *,
    ahead: int = AHEAD,
    waits: bool = True,
) -> Iterator[tuple[T, U]]:
    """Yield each item with its result, in the order of the items.

    Args:
        work: what to do with an item; what it raises is raised here.
        items: taken only as far as the threads need them.
        threads: how many work; with 0 it is done here.
        name: what the threads are called.
        ahead: items that wait for each thread, so that none is idle.
        waits: whether, left early, it waits for what is being worked on.
    """
    if not threads:
        for item in items:
            yield item, work(item)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    waiting: deque[tuple[T, Future[U]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= ahead * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)
