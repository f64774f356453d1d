"""The record of every outcome: what is written is read, in any order, torn or not."""

from __future__ import annotations

import errno
import itertools
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli import __version__
from trackverse_cli.errors import UsageError
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import ClipRecord, Ledger, LedgerState, read_ledger

if TYPE_CHECKING:
    from pathlib import Path

ID, OTHER = "abcdefghijk", "-bcdefghijk"


class Hands:
    """A clock that tests set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def ledger(layout: Layout, now: float = 1_800_000_000.0, rank: int = 0) -> Ledger:
    return Ledger(layout, "extract-tracks", rank, 4, "Tiny", Hands(now))


def only_file(layout: Layout) -> Path:
    [path] = layout.ledger.iterdir()
    return path


def test_lines_have_the_keys_that_others_read(layout: Layout) -> None:
    """Other people's scripts read these lines: a change here is a new schema."""
    with ledger(layout, rank=3) as record:
        record.video(
            ID, "present", bytes=5, width=1280, height=720, duration_seconds=9.5, codec="h264",
            format_id="22", checksum="ab", source_size=(1920, 1080),
        )  # fmt: skip
        record.video(ID, "failed", reason="geo", message="not here")
        record.video(ID, "evicted")
        record.clips(ID, "r1", [("t1", 75, 1234, "cd"), ("t2", 1, 2, "ef")])
        record.track(ID, "t3", "r1", "beyond-end", "ends at 9.5 s", 5)
    path = only_file(layout)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    run = lines.pop(0)
    assert path.name == f"20270115T080000Z-extract-tracks-0003of0004-{run['run']}.jsonl"
    when = 1_800_000_000.0
    assert run == {
        "kind": "run", "time": when, "run": run["run"], "stage": "extract-tracks", "rank": 3,
        "world_size": 4, "host": os.uname().nodename, "pid": os.getpid(), "version": __version__,
        "metadata": "Tiny", "schema": 1,
    }  # fmt: skip
    assert lines == [
        {
            "kind": "video", "time": when, "video_id": ID, "state": "present", "bytes": 5,
            "width": 1280, "height": 720, "duration_seconds": 9.5, "codec": "h264",
            "format_id": "22", "checksum": "ab", "source_size": [1920, 1080],
        },
        {
            "kind": "video", "time": when, "video_id": ID, "state": "failed", "reason": "geo",
            "message": "not here",
        },
        {"kind": "video", "time": when, "video_id": ID, "state": "evicted"},
        {
            "kind": "clips", "time": when, "video_id": ID, "recipe": "r1",
            "done": [["t1", 75, 1234, "cd"], ["t2", 1, 2, "ef"]],
        },
        {
            "kind": "track", "time": when, "video_id": ID, "track_id": "t3", "recipe": "r1",
            "reason": "beyond-end", "message": "ends at 9.5 s", "source_bytes": 5,
        },
    ]  # fmt: skip


def test_what_is_written_is_read(layout: Layout) -> None:
    with ledger(layout) as record:
        record.video(ID, "present", source_size=(1920, 1080), bytes=7)
        record.video(OTHER, "failed", reason="permanent", message="gone")
        record.clips(ID, "r", [("t1", 75, 1234, "cd")])
        record.track(ID, "t2", "r", "geometry-mismatch", "two\nlines", 7)
    state = read_ledger(layout)
    assert state.clips == {(ID, "t1"): ClipRecord("r", 75, 1234, "cd")}
    assert state.videos[ID].bytes == 7
    assert state.videos[OTHER].reason == "permanent"
    assert state.failures[ID, "t2"].message == "two\nlines"
    assert state.source_sizes == {ID: (1920, 1080)}
    assert state.torn == []


def test_only_wanted_videos_are_kept(layout: Layout) -> None:
    with ledger(layout) as record:
        record.clips(ID, "r", [("t", 1, 2, "x")])
        record.clips(OTHER, "r", [("t", 1, 2, "x")])
        record.video(OTHER, "evicted")
    state = read_ledger(layout, {ID}.__contains__)
    assert set(state.clips) == {(ID, "t")}
    assert state.videos == {}


def test_a_folder_without_a_ledger_is_empty(layout: Layout) -> None:
    assert read_ledger(layout) == LedgerState()
    layout.ledger.mkdir()
    (layout.ledger / "notes.txt").write_text("mine")
    (layout.ledger / "empty.jsonl").touch()
    assert read_ledger(layout) == LedgerState()


EVENTS = {
    "clip at 1": lambda r: r.clips(ID, "old", [("t", 1, 1, "a")]),
    "failure at 2": lambda r: r.track(ID, "t", "old", "encoder-failed", "no", 0),
    "clip at 3": lambda r: r.clips(ID, "new", [("t", 3, 3, "c")]),
    "failure at 4": lambda r: r.track(ID, "t", "new", "clip-damaged", "bad", 0),
}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_newest_wins_whatever_the_order_of_files(
    layout: Layout, order: tuple[int, ...], count: int
) -> None:
    written = list(EVENTS.values())[:count]
    for number in order:
        if number < count:
            with ledger(layout, 1000.0 + number) as record:
                written[number](record)
            # Files are read in the order of their names.
            path = next(p for p in layout.ledger.iterdir() if p.suffix == ".jsonl")
            path.rename(layout.ledger / f"{order.index(number)}.done")
    for path in list(layout.ledger.iterdir()):
        path.rename(path.with_suffix(".jsonl"))
    state = read_ledger(layout)
    newest_clip = ClipRecord("new", 3, 3, "c") if count > 2 else ClipRecord("old", 1, 1, "a")
    assert state.clips == {(ID, "t"): newest_clip}
    reasons = {2: ["encoder-failed"], 3: [], 4: ["clip-damaged"]}[count]
    assert [failure.reason for failure in state.failures.values()] == reasons


@pytest.mark.parametrize("swap", [False, True])
def test_the_newest_state_of_a_video_wins_and_the_largest_size_stays(
    layout: Layout, swap: bool
) -> None:
    for when in (2000.0, 1000.0) if swap else (1000.0, 2000.0):
        with ledger(layout, when) as record:
            if when == 1000.0:
                record.video(ID, "present", source_size=(1920, 1080))
            else:
                record.video(ID, "evicted", source_size=(640, 360))
    state = read_ledger(layout)
    assert state.videos[ID].state == "evicted"
    assert state.source_sizes == {ID: (1920, 1080)}


def test_within_one_file_the_later_line_wins_at_equal_times(layout: Layout) -> None:
    with ledger(layout) as record:
        record.clips(ID, "r", [("t", 1, 1, "a")])
        record.track(ID, "t", "r", "clip-damaged", "bad")
        record.track(ID, "u", "r", "clip-damaged", "bad")
        record.clips(ID, "r", [("u", 1, 1, "a")])
    assert set(read_ledger(layout).failures) == {(ID, "t")}


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_last_line_is_passed_over_and_told(layout: Layout, cut: int) -> None:
    with ledger(layout) as record:
        record.clips(ID, "r", [("t1", 1, 1, "a")])
        record.clips(ID, "r", [("t2", 1, 1, "a")])
    path = only_file(layout)
    path.write_bytes(path.read_bytes()[:-cut])
    state = read_ledger(layout)
    assert set(state.clips) == {(ID, "t1")}
    assert state.torn == [path.name]


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage", b"{}", b"[]", b"null", b'{"kind":"clips"}',
        b'{"kind":"later-version","time":1}',
        b"\xff\xfe", b"\0" * 4096, b'{"kind":"clips","time":"x"}', b'{"kind":"video","ti',
    ],
)  # fmt: skip
def test_garbage_in_the_middle_costs_its_own_line_only(layout: Layout, garbage: bytes) -> None:
    with ledger(layout) as record:
        record.clips(ID, "r", [("t1", 1, 1, "a")])
        os.write(record._fd, garbage + b"\n")
        record.clips(ID, "r", [("t2", 1, 1, "a")])
    state = read_ledger(layout)
    assert set(state.clips) == {(ID, "t1"), (ID, "t2")}
    assert state.torn == [only_file(layout).name]


def test_a_line_after_a_full_disk_is_not_swallowed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ledger(layout)
    write = os.write
    room = iter([20])

    def nearly_full(fd: int, line: Any) -> int:
        left = next(room, None)
        if left is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(line)[:left])

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(OSError, match="No space"):
        record.clips(ID, "r", [("t1", 1, 1, "a")])
    monkeypatch.setattr(os, "write", write)
    record.clips(ID, "r", [("t2", 1, 1, "a")])
    record.clips(ID, "r", [("t3", 1, 1, "a")])
    record.close()
    assert set(read_ledger(layout).clips) == {(ID, "t2"), (ID, "t3")}


def test_a_short_write_is_finished(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    record = ledger(layout)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, line: write(fd, bytes(line)[:7]))
    record.clips(ID, "r", [("t1", 1, 1, "a")])
    record.close()
    assert set(read_ledger(layout).clips) == {(ID, "t1")}
    assert read_ledger(layout).torn == []


def test_a_message_may_name_a_file_whose_name_is_no_utf_8(layout: Layout) -> None:
    with ledger(layout) as record:
        record.track(ID, "t", "r", "write-failed", "cannot write /data/\udcff/x")
        record.video(ID, "failed", reason="tool", message="\ud83d")
    state = read_ledger(layout)
    assert state.failures[ID, "t"].message == "cannot write /data/\\udcff/x"
    assert state.videos[ID].message == "\\ud83d"


def test_threads_never_mix_lines(layout: Layout) -> None:
    with ledger(layout) as record, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record.clips(ID, "r" * n, [(f"t{n}", n, n, "a")]), range(400)))
    state = read_ledger(layout)
    assert state.torn == []
    assert {key[1]: record.recipe for key, record in state.clips.items()} == {
        f"t{n}": "r" * n for n in range(400)
    }


def test_reading_while_others_write_sees_whole_lines_only(layout: Layout) -> None:
    def writes(rank: int) -> None:
        with ledger(layout, rank=rank) as record:
            for number in range(100):
                record.clips(ID, "r" * 9000, [(f"t{rank}.{number}", 1, 1, "a")])
                time.sleep(0.001)

    seen = []
    with ThreadPoolExecutor(3) as pool:
        written = [pool.submit(writes, rank) for rank in range(3)]
        while not all(future.done() for future in written):
            seen.append(read_ledger(layout))
    # A line that is just being written may be seen in part, and is then no loss: at most the last.
    assert all(len(state.torn) == len(set(state.torn)) for state in seen)
    counts = [len(state.clips) for state in seen]
    assert counts == sorted(counts)
    final = read_ledger(layout)
    assert final.torn == []
    assert len(final.clips) == 300


def test_runs_of_the_same_moment_have_files_of_their_own(layout: Layout) -> None:
    with ledger(layout) as one, ledger(layout) as two:
        one.video(ID, "present")
        two.video(OTHER, "present")
    assert len(list(layout.ledger.iterdir())) == 2
    assert set(read_ledger(layout).videos) == {ID, OTHER}


def test_a_ledger_that_cannot_be_made_is_told(layout: Layout) -> None:
    layout.ledger.write_text("a file")
    with pytest.raises(UsageError, match="the ledger's folder"):
        ledger(layout)
