from __future__ import annotations

import pytest

from trackverse_cli.download.errors import DownloadError
from trackverse_cli.download.floor import SpeedFloor


class Hands:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


def test_the_average_over_the_whole_time_counts(clock: Hands) -> None:
    floor = SpeedFloor(1000, 60, clock)
    floor.start()
    floor.add(60_000)
    clock.now += 59.9
    assert not floor.is_too_slow()
    clock.now += 0.1
    assert not floor.is_too_slow()
    # A new minute has begun, and what came before does not help it.
    floor.add(59_999)
    clock.now += 60
    assert floor.is_too_slow()
    with pytest.raises(DownloadError, match="59999 bytes came in 60 s") as caught:
        floor.check()
    assert caught.value.reason == "transient"


def test_it_stays_too_slow_until_a_new_start(clock: Hands) -> None:
    floor = SpeedFloor(1000, 60, clock)
    floor.start()
    clock.now += 60
    assert floor.is_too_slow()
    floor.add(10**9)
    assert floor.is_too_slow()
    floor.start()
    assert not floor.is_too_slow()


def test_nothing_is_expected_before_the_start_and_after_the_end(clock: Hands) -> None:
    floor = SpeedFloor(1000, 60, clock)
    clock.now += 1000
    assert not floor.is_too_slow()
    floor.start()
    clock.now += 60
    assert floor.is_too_slow()
    floor.end()
    clock.now += 1000
    assert not floor.is_too_slow()
    floor.check()


def test_a_floor_of_zero_bears_everything(clock: Hands) -> None:
    floor = SpeedFloor(0, 60, clock)
    floor.start()
    clock.now += 1e6
    assert not floor.is_too_slow()
