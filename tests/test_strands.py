"""Strands keep their order, and go on after a task that fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from trackverse_cli.strands import Strand, Window


def test_tasks_of_a_strand_keep_their_order_and_never_overlap() -> None:
    seen: list[int] = []
    busy = threading.Lock()
    overlaps: list[int] = []

    def task(number: int) -> None:
        if not busy.acquire(blocking=False):
            overlaps.append(number)
            return
        seen.append(number)
        busy.release()

    with ThreadPoolExecutor(4) as pool:
        strand = Strand(pool)
        for number in range(500):
            strand.put(lambda number=number: task(number))  # type: ignore[misc]  # bound now
    assert seen == list(range(500))
    assert not overlaps


def test_a_task_that_raises_holds_up_nobody() -> None:
    reached = threading.Event()

    def fail() -> None:
        raise MemoryError

    with ThreadPoolExecutor(1) as pool:
        strand = Strand(pool)
        strand.put(fail)
        strand.put(reached.set)
        assert reached.wait(10)


def test_a_window_lets_the_next_frame_in_when_the_last_user_leaves() -> None:
    window = Window(1)
    leave = window.enter(2)
    entered = threading.Event()
    waiting = threading.Thread(target=lambda: (window.enter(1), entered.set()))
    waiting.start()
    leave()
    assert not entered.wait(0.05)
    leave()
    assert entered.wait(10)
    waiting.join()
