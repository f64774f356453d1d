"""The record of every outcome: what is written is read, in any order, torn or not."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackverse_cli import __version__
from trackverse_cli.errors import UsageError
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import (
    MESSAGE_CHARACTERS,
    ClipRecord,
    Followed,
    Ledger,
    LedgerFollower,
    LedgerState,
    compact,
    read_ledger,
    reader,
    run_files,
)

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
    return Ledger(layout, "extract-tracks", rank, 4, "Tiny", Hands(now), job="mine")


def aged(layout: Layout, seconds: float) -> None:
    """Make every file of the ledger look as if it had last grown so long ago."""
    then = time.time() - seconds
    for path in layout.ledger.iterdir():
        os.utime(path, (then, then))


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
        "metadata": "Tiny", "selection": "", "job": "mine", "schema": 1,
    }  # fmt: skip
    assert lines.pop() == {"kind": "end", "time": when}
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
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1])[:-cut])  # a killed run has no last line
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


def test_a_long_message_is_cut(layout: Layout) -> None:
    with ledger(layout) as record:
        record.video(ID, "failed", reason="tool", message="x" * 100_000)
        record.track(ID, "t", "r", "encoder-failed", "\ud83d" * 100_000)
    state = read_ledger(layout)
    assert state.videos[ID].message == "x" * (MESSAGE_CHARACTERS - 4) + " ..."
    assert len(state.failures[ID, "t"].message) == MESSAGE_CHARACTERS


def test_the_selection_is_recorded(layout: Layout) -> None:
    Ledger(layout, "verify", 0, 1, "Tiny", selection="0123456789abcdef").close()
    assert run_files(layout)[0].run.selection == "0123456789abcdef"


def test_lines_of_unwanted_videos_are_not_decoded(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger(layout) as record:
        for number in range(100):
            record.clips(f"{number:011d}", "r", [("t", 1, 2, "x")])
    decoded = []
    decode = reader._decode
    monkeypatch.setattr(reader, "_decode", lambda line: decoded.append(line) or decode(line))
    state = read_ledger(layout, {f"{7:011d}"}.__contains__)
    assert set(state.clips) == {(f"{7:011d}", "t")}
    assert len(decoded) == 3  # that one, and the first and the last line


@pytest.mark.parametrize("wanted", [ID, OTHER])
@pytest.mark.parametrize(
    "line",
    [
        '{"done":[["t",1,2,"x"]],"recipe":"r","video_id":"%s","time":1,"kind":"clips"}',
        '{ "kind" : "clips" , "time" : 1 , "video_id" : "%s" ,"recipe":"r","done":[["t",1,2,"x"]]}',
        '{"kind":"clips","time":1,"recipe":"' + "r" * 500 + '","video_id":"%s",'
        '"done":[["t",1,2,"x"]]}',
        '{"kind":"clips","time":1,"video_id":"\\u0061bcdefghijk","recipe":"r",'
        '"done":[["t",1,2,"%s"]]}',
        '{"kind":"clips","time":1,"video_id":"%s","recipe":"\\"video_id\\":\\"-bcdefghijk\\"",'
        '"done":[["t",1,2,"x"]]}',
    ],
)
def test_what_another_program_wrote_is_read_too(layout: Layout, line: str, wanted: str) -> None:
    layout.ledger.mkdir()
    (layout.ledger / "theirs.jsonl").write_text(line % ID + "\n")
    state = read_ledger(layout, {wanted}.__contains__)
    assert list(state.clips) == ([(ID, "t")] if wanted == ID else [])
    assert state.torn == []


def test_a_list_of_clips_that_is_none_costs_its_own_line_only(layout: Layout) -> None:
    with ledger(layout) as record:
        record.clips(ID, "r", [("t1", 1, 1, "a")])
        line = f'{{"kind":"clips","time":1e10,"video_id":"{ID}","recipe":"r","done":[1]}}\n'
        os.write(record._fd, line.encode())
        record.track(ID, "t2", "r", "encoder-failed", "no")
    state = read_ledger(layout)
    assert dict(state.clips) == {(ID, "t1"): ClipRecord("r", 1, 1, "a")}
    assert set(state.failures) == {(ID, "t2")}
    assert (ID, "t2") not in state.clips
    assert state.clips.get(("nobody-here", "t1")) is None


def test_a_line_longer_than_a_block_is_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 100)
    with ledger(layout) as record:
        record.clips(ID, "r" * 1000, [("t1", 1, 1, "a")])
        os.write(record._fd, b"\0" * 5000 + b"\n")
        record.clips(ID, "r", [("t2", 1, 1, "a")])
    state = read_ledger(layout)
    assert set(state.clips) == {(ID, "t1"), (ID, "t2")}
    assert state.torn == [only_file(layout).name]


def test_folders_and_pipes_with_such_a_name_are_left_alone(layout: Layout) -> None:
    with ledger(layout) as record:
        record.video(ID, "present")
    (layout.ledger / "folder.jsonl").mkdir()
    os.mkfifo(layout.ledger / "pipe.jsonl")
    (layout.ledger / "lost.jsonl").symlink_to("nowhere")
    assert set(read_ledger(layout).videos) == {ID}
    assert len(run_files(layout)) == 1


def test_a_run_whose_file_is_taken_away_goes_on_in_a_new_one(layout: Layout) -> None:
    record = ledger(layout)
    record.video(ID, "present")
    only_file(layout).unlink()
    record.video(OTHER, "present")
    record.clips(ID, "r", [("t", 1, 1, "a")])
    record.close()
    state = read_ledger(layout)
    assert set(state.videos) == {OTHER}
    assert set(state.clips) == {(ID, "t")}
    assert [one.run.run for one in run_files(layout)] == [record.run]


def test_a_file_that_its_server_forgot_is_followed_by_a_new_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ledger(layout)
    only_file(layout).unlink()
    stale = record._fd
    write = os.write

    def forgotten(fd: int, line: Any) -> int:
        if fd == stale and not only:
            only.append(fd)
            raise OSError(errno.ESTALE, "Stale file handle")
        return write(fd, line)

    only: list[int] = []
    monkeypatch.setattr(os, "write", forgotten)
    record.video(ID, "present")
    record.close()
    assert set(read_ledger(layout).videos) == {ID}


def test_a_run_that_cannot_end_its_record_ends_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ledger(layout)

    def full(fd: int, line: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    record.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(record._fd)


# What is newest, said in the simplest way: every line on its own, in the order of time.

Event = tuple[int, str, str, str]
EVENT = st.tuples(
    st.integers(0, 30),
    st.sampled_from([ID, OTHER]),
    st.sampled_from(["present", "failed", "evicted", "clip", "two clips", "failure"]),
    st.sampled_from(["t", "u"]),
)


def write_event(record: Ledger, number: int, event: Event) -> None:
    _, video, kind, track = event
    if kind == "failure":
        record.track(video, track, f"r{number}", "encoder-failed", f"m{number}")
    elif kind == "clip":
        record.clips(video, f"r{number}", [(track, number, 1, "a")])
    elif kind == "two clips":
        record.clips(video, f"r{number}", [("t", number, 1, "a"), ("u", number, 1, "a")])
    else:
        size = (number * 16, 9) if number % 2 else None
        record.video(video, kind, bytes=number, source_size=size)  # type: ignore[arg-type]


def simplest(events: list[tuple[int, Event]]) -> tuple[Any, ...]:
    videos: dict[str, int] = {}
    sizes: dict[str, tuple[int, int]] = {}
    clips: dict[tuple[str, str], int] = {}
    failures: dict[tuple[str, str], int] = {}
    for number, (_, video, kind, track) in sorted(events, key=lambda e: e[1][0]):
        if kind == "failure":
            failures[video, track] = number
        elif "clip" in kind:
            for one in ("t", "u") if kind == "two clips" else (track,):
                clips[video, one] = number
                failures.pop((video, one), None)
        else:
            videos[video] = number
            if number % 2:
                sizes[video] = max(sizes.get(video, (0, 0)), (number * 16, 9))
    return videos, sizes, clips, failures


def as_numbers(state: LedgerState) -> tuple[Any, ...]:
    return (
        {video: entry.bytes for video, entry in state.videos.items()},
        state.source_sizes,
        {key: clip.frames for key, clip in state.clips.items()},
        {key: int(entry.message[1:]) for key, entry in state.failures.items()},
    )


@settings(max_examples=150, deadline=None)
@given(files=st.lists(st.lists(EVENT, max_size=8), min_size=1, max_size=4), live=st.integers(0, 4))
def test_reading_and_compacting_give_what_is_newest(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[Event]], live: int
) -> None:
    layout = Layout(tmp_path_factory.mktemp("root"))
    events: list[tuple[int, Event]] = []
    for place, lines in enumerate(files):
        with ledger(layout, rank=place) as record:
            hands = record._clock
            assert isinstance(hands, Hands)
            for event in lines:
                number = len(events)
                # Files are read in the order of their names, here their ranks; equal times are
                # those of one file only, since no two processes write in the same microsecond.
                hands.now = 1000.0 + event[0] * 10 + place
                events.append((number, (round(hands.now), *event[1:])))
                write_event(record, number, event)
    expected = simplest(events)
    assert as_numbers(read_ledger(layout)) == expected
    aged(layout, 3600)
    for path in sorted(layout.ledger.glob("*.jsonl"))[live:]:
        os.utime(path)  # these have only just grown
    for part_bytes in (1 << 20, 300):
        compact(layout, part_bytes=part_bytes)
        assert as_numbers(read_ledger(layout)) == expected
        aged(layout, 3600)


def entries(layout: Layout) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(layout.ledger.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_compaction_bounds_what_runs_repeat(layout: Layout) -> None:
    for number in range(20):
        with ledger(layout, 1000.0 + number) as record:
            record.video(ID, "failed", reason="transient", message=f"try {number}")
            record.video(OTHER, "present", checksum="cd", source_size=(1920 - number, 1080))
            record.video(OTHER, "evicted")
            record.track(OTHER, "t", "r", "encoder-failed", f"try {number}")
    before = read_ledger(layout)
    aged(layout, 3600)
    done = compact(layout)
    assert (done.files, done.running) == (20, 0)
    assert done.new_bytes < done.bytes / 10
    assert read_ledger(layout) == before
    lines = entries(layout)
    assert sorted(line["kind"] for line in lines) == ["end", "run", "track", *["video"] * 4]
    assert (lines[0]["kind"], lines[-1]["kind"]) == ("run", "end")
    assert [line["stage"] for line in lines if "stage" in line] == ["compact"]
    assert sorted(
        (line["video_id"], line["state"], line["time"]) for line in lines if "state" in line
    ) == [
        (OTHER, "evicted", 1019.0), (OTHER, "present", 1000.0), (OTHER, "present", 1019.0),
        (ID, "failed", 1019.0),
    ]  # fmt: skip
    aged(layout, 3600)
    assert compact(layout).files == 0


def test_only_runs_that_are_over_are_compacted(layout: Layout) -> None:
    with ledger(layout) as record:
        record.video(ID, "present")
    assert [one.over for one in run_files(layout)] == [False]  # it might still be growing
    aged(layout, 120)
    assert [one.over for one in run_files(layout)] == [True]
    running = ledger(layout)
    running.video(OTHER, "present")
    aged(layout, 3600)
    assert [one.over for one in run_files(layout)].count(True) == 1
    done = compact(layout)
    assert (done.files, done.running) == (1, 1)
    running.video(OTHER, "evicted")
    assert read_ledger(layout).videos[OTHER].state == "evicted"
    assert read_ledger(layout).videos[ID].state == "present"
    running.close()


@pytest.mark.parametrize(
    ("host", "pid", "age", "over"),
    [
        ("here", "alive", 3600, False),
        ("here", "gone", 3600, True),
        ("here", "gone", 60, False),
        ("elsewhere", "gone", 80_000, False),
        ("elsewhere", "gone", 90_000, True),
        ("here", "alive", 90_000, True),
    ],
)
def test_killed_runs_are_known_by_their_process_or_their_age(
    layout: Layout, host: str, pid: str, age: float, over: bool
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ledger(layout).close()
    path = only_file(layout)
    run = json.loads(path.read_text().splitlines()[0])
    run["pid"] = gone.pid if pid == "gone" else os.getpid()
    run["host"] = os.uname().nodename if host == "here" else "elsewhere"
    path.write_text(json.dumps(run) + "\n")
    aged(layout, age)
    assert [one.over for one in run_files(layout)] == [over]


def test_what_this_program_did_not_write_is_never_compacted(layout: Layout, tmp_path: Path) -> None:
    for _ in range(2):
        with ledger(layout) as record:
            record.video(ID, "present")
    first, second = sorted(layout.ledger.iterdir())
    later = first.read_text().replace('"schema":1', '"schema":2')
    (layout.ledger / "later.jsonl").write_text(later)
    (layout.ledger / "mine.jsonl").write_text('{"note":"keep"}\n')
    (layout.ledger / "notes.txt").write_text("keep")
    outside = tmp_path / "outside"
    outside.write_text(first.read_text())
    (layout.ledger / "link.jsonl").symlink_to(outside)
    aged(layout, 100_000)
    done = compact(layout)
    assert done.path is not None
    assert {path.name for path in layout.ledger.iterdir()} == {
        "later.jsonl", "mine.jsonl", "notes.txt", "link.jsonl", done.path.name,
    }  # fmt: skip
    assert outside.exists()
    assert not first.exists()
    assert not second.exists()


def test_a_file_that_grows_while_it_is_compacted_stays(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now in (1000.0, 2000.0):
        with ledger(layout, now) as record:
            record.video(ID, "present")
    first = min(layout.ledger.iterdir())
    aged(layout, 100_000)
    read_file = reader.read_file

    def slow(path: Path, *rest: Any) -> bool:
        torn = read_file(path, *rest)
        if path == first:
            with path.open("a") as file:
                file.write(f'{{"kind":"video","time":3000,"video_id":"{ID}","state":"evicted"}}\n')
        return torn

    monkeypatch.setattr("trackverse_cli.ledger.compaction.read_file", slow)
    compact(layout)
    assert first.exists()
    assert read_ledger(layout).videos[ID].state == "evicted"


def test_compaction_while_others_read_hides_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        with ledger(layout, 1000.0 + number) as record:
            record.clips(ID, "r", [(f"t{number}", 1, 1, "a")])
    aged(layout, 100_000)
    read_file = reader.read_file
    once = iter([compact])

    def slow(*arguments: Any) -> bool:
        torn = read_file(*arguments)
        for compaction in once:
            monkeypatch.setattr(reader, "read_file", read_file)
            assert compaction(layout).files == 3
        return torn

    monkeypatch.setattr(reader, "read_file", slow)
    assert len(read_ledger(layout).clips) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
import trackverse_cli.ledger.compaction as compaction
from trackverse_cli.layout import Layout

root, left = Path(sys.argv[1]), int(sys.argv[2])

def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def seen(event, arguments):
    if event in ("open", "os.rename", "os.remove") and str(root) in repr(arguments):
        step()

encode = compaction.encode_line
compaction.encode_line = lambda entry: (step(), encode(entry))[1]
sys.addaudithook(seen)
compaction.compact(Layout(root))
"""


def test_a_kill_at_any_moment_of_a_compaction_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for step in range(1, 100):
        layout = Layout(tmp_path / f"root{step}")
        layout.root.mkdir()
        for number in range(3):
            with ledger(layout, 1000.0 + number) as record:
                record.video(ID, "present", bytes=number)
                record.clips(ID, "r", [("both", number, 1, "a"), (f"t{number}", 1, 1, "a")])
                record.track(OTHER, "t", "r", "encoder-failed", str(number))
        aged(layout, 100_000)
        before = read_ledger(layout)
        assert len(before.clips) == 4
        words = [sys.executable, "-c", KILLED, str(layout.root), str(step)]
        code = subprocess.run(words, check=False).returncode
        after = read_ledger(layout)
        assert after == before, f"killed at step {step}"
        if code == 0:
            break
        assert code == -signal.SIGKILL
        aged(layout, 100_000)
        compact(layout)
        assert read_ledger(layout) == before, f"cleaned after a kill at step {step}"
        assert len(list(layout.ledger.glob("*.jsonl"))) == 1
    assert 12 < step < 99
    assert len(list(layout.ledger.iterdir())) == 1


def test_the_follower_counts_what_its_job_appends(layout: Layout) -> None:
    with Ledger(layout, "extract-tracks", 0, 4, "Tiny", Hands(1000.0), job="earlier") as earlier:
        earlier.clips(ID, "r", [("old", 1, 1, "a")])
    follower = LedgerFollower(layout, "mine")
    assert follower.look() == Followed()
    # A rank that was started again, and another rank.
    ours, too, next_rank = ledger(layout), ledger(layout), ledger(layout, rank=1)
    others = Ledger(layout, "extract-tracks", 0, 4, "Tiny")
    others.clips(ID, "r", [("x", 1, 1, "a")])
    ours.clips(ID, "r", [("t1", 1, 1, "a"), ("t2", 1, 1, "a")])
    assert follower.look() == Followed(clips=2)
    assert follower.look() == Followed(clips=2)
    too.track(ID, "t3", "r", "beyond-end", "no")
    too.track(ID, "t3", "r", "beyond-end", "no")
    ours.video(ID, "present")
    ours.video(OTHER, "failed", reason="geo", message="not here", clips=5)
    too.video(OTHER, "failed", reason="geo", message="nor there", clips=5)
    assert follower.look() == Followed(2, 1 + 5, 1, 1)
    assert follower.ranks[0].trouble in ("geo: nor there", "geo: not here")
    ours.video(OTHER, "present")
    ours.clips(ID, "r", [("t3", 1, 1, "a")])
    assert follower.look() == Followed(3, 0, 2, 0)
    next_rank.clips("zzzzzzzzzzz", "r", [("t9", 1, 1, "a")])
    for record in (ours, too, next_rank, others):
        record.close()
    assert follower.look() == Followed(4, 0, 2, 0)
    assert [follower.ranks[rank].done.clips for rank in (0, 1)] == [3, 1]
    assert follower.ranks[1].ended
    clips, videos = follower.ranks[0].rates(1_800_000_000.0 + 600)
    assert (clips, videos) == (3 / 600, 2 / 600)
    assert follower.ranks[0].rates(1_800_000_000.0 + 1000) == (0.0, 0.0)


def test_the_follower_waits_for_the_rest_of_a_line(layout: Layout) -> None:
    follower = LedgerFollower(layout, "mine")
    with ledger(layout) as record:
        record.clips(ID, "r", [("t1", 1, 1, "a")])
        record.clips(ID, "r", [("t2", 1, 1, "a")])
    path = only_file(layout)
    content = path.read_bytes()
    path.write_bytes(b"")
    seen = []
    with path.open("ab", buffering=0) as file:
        for begin in range(0, len(content), 7):
            file.write(content[begin : begin + 7])
            seen.append(follower.look().clips)
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


def test_the_follower_bears_garbage_and_files_that_go(layout: Layout) -> None:
    follower = LedgerFollower(layout, "mine")
    record = ledger(layout)
    record.clips(ID, "r", [("t1", 1, 1, "a")])
    os.write(record._fd, b"\xff\0garbage\n")
    record.clips(ID, "r", [("t2", 1, 1, "a")])
    (layout.ledger / "other.jsonl").write_text("no run\n")
    assert follower.look().clips == 2
    only = next(path for path in layout.ledger.iterdir() if path.name != "other.jsonl")
    only.unlink()
    assert follower.look().clips == 2
    record._clock.sleep(1)  # a new file has a name of its own
    record.clips(ID, "r", [("t3", 1, 1, "a")])
    assert follower.look().clips == 3
    record.close()


def test_the_follower_reads_only_what_is_new(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = LedgerFollower(layout, "mine")
    asked = []
    pread = os.pread
    with ledger(layout) as record:
        for number in range(50):
            record.clips(ID, "r", [(f"t{number}", 1, 1, "a")])
        follower.look()
        size = only_file(layout).stat().st_size
        record.clips(ID, "r", [("t", 1, 1, "a")])
        monkeypatch.setattr(os, "pread", lambda *a: asked.append(a[2]) or pread(*a))
        assert follower.look().clips == 51
    assert min(asked) == size
