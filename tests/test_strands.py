"""Strands keep their order, and go on after a task that fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from trackverse_cli.strands import Seats, Strand, Window


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
    window = Window(100, 1)
    leave = window.enter(2, 60)
    assert window.has_place(40)
    assert not window.has_place(41)
    entered = threading.Event()
    waiting = threading.Thread(target=lambda: (window.enter(1, 41), entered.set()))
    waiting.start()
    leave()
    assert not entered.wait(0.05)
    leave()
    assert entered.wait(10)
    waiting.join()


def test_a_window_has_place_for_some_frames_of_any_size() -> None:
    window = Window(1, 2)
    first = window.enter(1, 1000)
    window.enter(1, 1000)
    assert not window.has_place(1)
    first()
    assert window.has_place(1000)


def test_a_window_is_half_full_by_bytes_and_by_frames() -> None:
    window = Window(100, 4)
    window.enter(1, 60)
    assert not window.is_half_full()
    leave = window.enter(1, 1)
    assert window.is_half_full()
    leave()
    assert not window.is_half_full()


def test_seats_are_free_until_all_are_taken() -> None:
    seats = Seats(2)
    seats.take()
    assert seats.take_free()
    assert not seats.take_free()
    seats.take()
    assert seats.are_too_few()
    seats.leave()
    assert not seats.are_too_few()
    assert not seats.take_free()
    seats.leave()
    assert seats.take_free()
