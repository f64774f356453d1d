"""How long work shows itself."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from trackverse_cli.progress import byte_progress, duration_text, progress

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hands:
    """A clock that moves by hand."""

    now = 100.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def lines() -> Iterator[list[str]]:
    told: list[str] = []
    logger.remove()
    number = logger.add(lambda message: told.append(message.record["message"]))
    yield told
    logger.remove(number)


def test_a_line_every_half_minute_with_the_time_left(lines: list[str]) -> None:
    clock = Hands()
    with progress("cutting", 2000, "videos", clock) as advance:
        for _ in range(75):
            clock.sleep(1)
            advance(10)
    assert lines == [
        "cutting: 300 of 2,000 videos, about 3 min left",
        "cutting: 600 of 2,000 videos, about 2 min left",
        "cutting: 750 of 2,000 videos, about 2 min left",
    ]


def test_short_work_says_nothing(lines: list[str]) -> None:
    clock = Hands()
    with progress("cutting", 5, "videos", clock) as advance:
        for _ in range(5):
            clock.sleep(5)
            advance(1)
    assert lines == []


def test_slow_work_speaks_when_it_is_asked(lines: list[str]) -> None:
    clock = Hands()
    with progress("cutting", 4, "videos", clock) as advance:
        clock.sleep(7200)
        advance(1)
        advance(0)
        clock.sleep(29)
        advance(1)
    assert lines == [
        "cutting: 1 of 4 videos, about 6.0 h left",
        "cutting: 2 of 4 videos, about 2.0 h left",
    ]


def test_no_time_left_is_promised_before_anything_is_done(lines: list[str]) -> None:
    clock = Hands()
    with progress("cutting", 4, "videos", clock) as advance:
        clock.sleep(31)
        advance(0)
    assert lines[0] == "cutting: 0 of 4 videos"


def test_more_than_was_promised_is_never_less_than_no_time(lines: list[str]) -> None:
    clock = Hands()
    with progress("reading", 2e6, "bytes", clock) as advance:
        clock.sleep(31)
        advance(5e6)
    assert lines[0] == "reading: 5 of 2 MB, about 0 s left"


def test_an_error_says_no_last_line(lines: list[str]) -> None:
    clock = Hands()
    with pytest.raises(ValueError, match="broken"), progress("cutting", 4, "videos", clock) as go:  # noqa: PT012
        clock.sleep(31)
        go(1)
        raise ValueError("broken")
    assert len(lines) == 1


def test_bytes_of_no_file_are_fine(lines: list[str]) -> None:
    with byte_progress("reading"):
        pass
    with byte_progress("reading") as report:
        report(0, 0)
        report(10, 0)
    assert lines == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (40.4, "40 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"),
        (5399, "90 min"), (5400, "1.5 h"), (12600, "3.5 h"), (172800, "2.0 days"),
        (777600, "9.0 days"),
    ],
)  # fmt: skip
def test_durations_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


WORKS = """
from trackverse_cli.progress import progress
with progress("cutting", 3, "videos") as advance:
    for _ in range(3):
        advance(1)
"""


def test_a_bar_on_a_terminal_leaves_standard_output_alone() -> None:
    master, slave = os.openpty()
    try:
        env = {**os.environ, "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
        done = subprocess.run(
            [sys.executable, "-c", WORKS], stdout=subprocess.PIPE, stderr=slave, env=env, check=True
        )
        told = os.read(master, 1 << 16).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert done.stdout == b""
    assert "cutting videos" in told
    assert "3/3" in told


def test_a_log_gets_no_bar() -> None:
    done = subprocess.run([sys.executable, "-c", WORKS], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
