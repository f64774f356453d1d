from __future__ import annotations

import errno
import gzip
import json
import os
import random
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackverse_cli.errors import (
    DamagedFileError,
    IndexUnusableError,
    LacksError,
    TryLaterError,
    UsageError,
)
from trackverse_cli.index import (
    Index,
    open_index,
    pool,
    reader,
    regroup,
    resolve_metadata,
    source,
    writer,
)
from trackverse_cli.index.build import build_index
from trackverse_cli.index.hundredths import halved, whole, widened
from trackverse_cli.index.rows import Rows
from trackverse_cli.layout import Layout
from trackverse_cli.metadata import LineError, Track, parse_line
from trackverse_cli.shards import shard_rows


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "metadata").mkdir()
    return Layout(tmp_path)


def fields_of(video: int, number: int, **changes: object) -> dict[str, Any]:
    rng = random.Random(f"{video}/{number}")
    count = rng.randint(1, 6)
    begin = rng.uniform(0, 100)
    times = [round(begin + step / 16, 4) for step in range(count)]
    boxes = [[rng.uniform(-9, 900), 5, rng.uniform(1, 90), rng.randint(1, 90)] for _ in times]
    name = f"{video:011d}-{number}"
    return {
        "yid": f"{video:011d}",
        "track_id": name,
        "track_mp4_filename": f"{video % 100:02d}/{name}.mp4",
        "track_ts": [times[0], times[-1]],
        "frame_ts": times,
        "frame_bboxes": boxes,
        "top10_label_ids": [number % 5, 7],
        "top10_label_names": [f"class-{number % 5}", "x"],
        **changes,
    }


def dump(fields: object) -> bytes:
    return json.dumps(fields).encode()


def some_lines(videos: int = 20, tracks: int = 5) -> list[bytes]:
    return [dump(fields_of(v, t)) for v in range(videos) for t in range(tracks)]


def write(layout: Layout, lines: list[bytes], name: str = "meta") -> Path:
    path = layout.metadata / f"{name}.jsonl.gzip"
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1))
    return path


def build(layout: Layout, lines: list[bytes], name: str = "meta") -> Index:
    return build_index(write(layout, lines, name), layout, name)


def as_values(track: Track) -> tuple[object, ...]:
    return (
        track.video_id,
        track.track_id,
        track.clip_name,
        track.frame_ts.tolist(),
        track.frame_bboxes.tolist(),
        track.video_size,
        track.label_ids,
        track.label_names,
    )


def tracks_of(index: Index) -> list[Track]:
    return [track for video in index.videos() for track in video.tracks]


def test_an_index_gives_back_what_the_lines_say(layout: Layout) -> None:
    lines = some_lines()
    seen: list[tuple[int, int]] = []
    path = write(layout, lines)
    index = build_index(path, layout, "meta", progress=lambda *now: seen.append(now))
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert [as_values(t) for t in tracks_of(index)] == [
        as_values(parse_line(line)) for line in lines
    ]
    assert index.track_counts.tolist() == [5] * 20
    assert [video.video_id for video in index.videos()] == index.video_ids
    manifest = open_index(layout, "meta").manifest
    assert manifest.source == "metadata/meta.jsonl.gzip"
    assert (manifest.lines, manifest.tracks, manifest.clips, manifest.videos) == (100, 100, 100, 20)
    assert (manifest.classes, manifest.dialect) == (5, "current")
    spans = [np.ptp(parse_line(line).frame_ts) for line in lines]
    assert manifest.hours == pytest.approx(sum(spans) / 3600)
    assert os.fspath(layout.root) not in (layout.index("meta") / "index.json").read_text()
    assert len(list(layout.index("meta").iterdir())) == 5


def test_all_dialects_may_stand_in_one_file(layout: Layout) -> None:
    current = fields_of(1, 1)
    early = fields_of(2, 1, video_size=[720, 1280], top10_desc=["photo of a cat"], top10_lbl=[9])
    early["mp4_filename"] = early.pop("track_mp4_filename")
    del early["top10_label_names"], early["top10_label_ids"]
    raw = fields_of(3, 1, video_size=[480, 854], tid=5)
    raw["fn"] = raw.pop("track_mp4_filename")
    raw["track_ts"] = raw.pop("frame_ts")
    raw["track_bbox"] = raw.pop("frame_bboxes")
    del raw["track_id"]
    lines = [dump(fields) for fields in (current, early, raw)]
    index = build(layout, lines)
    assert [as_values(t) for t in tracks_of(index)] == [
        as_values(parse_line(line)) for line in lines
    ]
    assert index.manifest.dialect == "mixed"
    assert build(layout, lines[1:2], "e").manifest.dialect == "early"
    assert build(layout, lines[2:], "r").manifest.dialect == "raw"


@pytest.mark.parametrize("bucket_rows", [7, 16_384])
def test_scattered_tracks_come_together_in_their_order(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, bucket_rows: int
) -> None:
    monkeypatch.setattr(regroup, "BUCKET_ROWS", bucket_rows)
    monkeypatch.setattr(writer, "ROW_GROUP_BOXES", 20)
    monkeypatch.setattr(source, "BLOCK_BYTES", 3000)
    lines = some_lines()
    random.Random(3).shuffle(lines)
    index = build(layout, lines)
    expected: dict[str, list[object]] = {}
    for line in lines:
        track = parse_line(line)
        expected.setdefault(track.video_id, []).append(as_values(track))
    assert index.video_ids == list(expected)
    got = {v.video_id: [as_values(t) for t in v.tracks] for v in index.videos()}
    assert got == expected
    assert not list(layout.index("meta").glob(".*"))


def test_rows_choose_videos_and_read_only_their_groups(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BOXES", 40)
    index = build(layout, some_lines(30, 4))
    read: list[int] = []
    original = index._read_group
    monkeypatch.setattr(
        index, "_read_group", lambda group, columns: read.append(group) or original(group, columns)
    )
    rows = np.array([29, 2, 2, 3])
    assert [v.video_id for v in index.videos(rows)] == [index.video_ids[r] for r in (2, 3, 29)]
    assert len(read) <= 3 < index._tracks.num_row_groups
    assert not list(index.videos(np.zeros(0, dtype=np.int64)))
    clips = index.clips(rows)
    assert sorted(set(clips["video_row"].to_pylist())) == [2, 3, 29]
    assert clips.num_rows == 12
    with pytest.raises(IndexError):
        list(index.videos(np.array([30])))
    shards = [shard_rows(index.costs, rank, 7) for rank in range(7)]
    names = [t.clip_name for rows in shards for v in index.videos(rows) for t in v.tracks]
    assert sorted(names) == sorted(t.clip_name for t in tracks_of(index))


def test_clips_tell_times_and_labels(layout: Layout) -> None:
    unsorted = fields_of(1, 1, frame_ts=[3, 1, 2], frame_bboxes=[[1, 2, 3, 4]] * 3)
    bare = fields_of(1, 2, top10_label_ids=[], top10_label_names=[])
    table = build(layout, [dump(unsorted), dump(bare)]).clips()
    assert table["first_ts"].to_pylist()[0] == 1
    assert table["last_ts"].to_pylist()[0] == 3
    assert table["label_name"].to_pylist() == ["class-1", None]
    assert table["label_id"].to_pylist() == [1, None]
    assert table.column_names[:4] == ["video_row", "video_id", "track_id", "clip_name"]


def test_costs_count_overlapping_stretches_once(layout: Layout) -> None:
    def track(number: int, begin: float, end: float) -> bytes:
        box = [[1, 2, 3, 4]] * 2
        return dump(fields_of(1, number, frame_ts=[begin, end], frame_bboxes=box))

    index = build(layout, [track(1, 10, 20), track(2, 15, 30), track(3, 50, 60)])
    decoded, encoded = 30, 35
    cost = decoded * writer.DECODE_COST + encoded * writer.ENCODE_COST + writer.REQUEST_COST
    assert index.costs.tolist() == [pytest.approx(cost)]
    assert index.costs.dtype == np.float64


def test_bad_lines_are_listed_with_their_numbers(layout: Layout) -> None:
    lines = [
        dump(fields_of(1, 1)),
        dump(fields_of(1, 2, track_mp4_filename="../../x")),
        b"",
        b"not json",
        dump(fields_of(1, 3, frame_bboxes=[[float("nan"), 1, 2, 3]], frame_ts=[1])),
        dump(fields_of(1, 4, frame_bboxes=[[1, 1, -2, 3]], frame_ts=[1])),
        b'{"yid": "00000000001", "track_id": "q", "track_mp4_filename": "q.mp4", '
        b'"frame_ts": [1e999], "frame_bboxes": [[1,2,3,4]]}',
        b'{"yid": "00000000001", "track_id": "s", "track_mp4_filename": "s.mp4", '
        b'"frame_ts": [1,2], "frame_bboxes": [[1,2,3,4],5,6,7,8]}',
        dump(fields_of(1, 5)),
    ]
    index = build(layout, lines)
    assert [t.track_id[-1] for t in tracks_of(index)] == ["1", "5"]
    refused = index.refused
    assert [line.line for line in refused] == [2, 4, 5, 6, 7, 8]
    assert [line.reason for line in refused] == ["refused-name", *["invalid-track"] * 5]
    assert refused[0].clip_name == "../../x"
    assert "NaN" in refused[2].message
    manifest = index.manifest
    assert (manifest.lines, manifest.tracks, manifest.refused) == (8, 2, 6)


def test_the_first_of_repeated_tracks_stays(layout: Layout) -> None:
    def track(video: int, track_id: str, clip: str) -> bytes:
        return dump(fields_of(video, 1, track_id=track_id, track_mp4_filename=clip))

    lines = [
        track(1, "a", "1.mp4"),
        track(2, "a", "2.mp4"),
        track(1, "a", "1.mp4"),  # the same again
        track(1, "a", "3.mp4"),  # the track id again
        track(3, "b", "2.mp4"),  # the clip again
        track(3, "b", "4.mp4"),  # no repeat, since the line before is out
        track(1, "c", "5.mp4"),
    ]
    index = build(layout, lines)
    assert sorted(t.clip_name for t in tracks_of(index)) == ["1.mp4", "2.mp4", "4.mp4", "5.mp4"]
    duplicates = index.duplicates()
    assert duplicates["line"].to_pylist() == [3, 4, 5]
    assert duplicates["kind"].to_pylist() == ["track", "track", "clip"]
    manifest = index.manifest
    assert (manifest.duplicate_tracks, manifest.duplicate_clips) == (2, 1)
    assert (manifest.lines, manifest.tracks, manifest.videos) == (7, 4, 3)
    assert index.video_ids == ["00000000001", "00000000002", "00000000003"]


NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0.1, 2000).map(lambda value: round(value, 2)),
)
ODD = st.sampled_from(["[]", "[[1,2,3]]", "[[1,2,3,4],5]", "null", "true", "NaN", '"1"', "[[[1]]]"])
BOX = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(list)


NAMES = [
    '["disc"]', '["a", "b"]', '["a","b"]', '["a" ,"b"]', '[""]', "[]", '["é"]', '["x]y"]',
    '["x[y"]', '["a\\"b"]', '["a\\u0041"]',
    '["a\\\\"]', '["tab\tin"]', '["a"], "more": ["b"]', '["]}"]',
    '["a", 5]', '"a"', '["a"], "top10_label_names": ["b"]', '["a\\", \\"b"]', '["\x7f"]',
]  # fmt: skip
BOXES = [
    "[[1, 2, 3, 4]]", "[[1,2,3,4]]", "[[1, 2, 3]]", '[[1, 2, 3, 4]], "more": [[5, 6, 7, 8]]',
    "[[1, 2, 3, 4], [5, 6, 7, 8]]", "[[1, 2, 3, 4]]]", "[[[1, 2, 3, 4]]]", '[["]], 2, 3, 4]]',
    '[[1, 2, 3, 4]], "frame_bboxes": [[5, 6, 7, 8]]', "[[1, 2, 3, 0.001]]", "[[]]",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.just(BOXES[0]), st.sampled_from(NAMES))
        | st.tuples(st.sampled_from(BOXES), st.just(NAMES[0])),
        min_size=2,
        max_size=6,
    )
)
def test_names_and_boxes_that_mean_harm_are_read_as_they_are_alone(
    items: list[tuple[str, str]],
) -> None:
    lines = [
        (
            f'{{"yid": "abcdefghijk", "track_id": "t{number}", '
            f'"track_mp4_filename": "{number}.mp4", '
            f'"frame_ts": [1.5], "frame_bboxes": {boxes}, "top10_label_names": {names}}}'
        ).encode()
        for number, (boxes, names) in enumerate([("[[1, 2, 3, 4]]", '["disc"]'), *items])
    ]
    alone, many = Rows(), Rows()
    for number, line in enumerate(lines, 1):
        alone.add(number, line)
    assert many.read(1, b"\n".join(lines)) == len(lines)
    assert widened(many.table()).equals(widened(alone.table()))
    assert sorted(many.refused, key=lambda r: r.line) == alone.refused
    kept = []
    for line in lines:
        with suppress(LineError):
            kept.append(parse_line(line))
    assert alone.table()["track_id"].to_pylist() == [track.track_id for track in kept]
    assert [tuple(n) for n in alone.table()["label_names"].to_pylist()] == [
        track.label_names for track in kept
    ]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.one_of(st.lists(BOX, min_size=1, max_size=3).map(json.dumps), ODD),
            st.one_of(st.lists(NUMBERS, min_size=1, max_size=3).map(json.dumps), ODD),
            st.sampled_from(["a/b.mp4", "a.mp4", ".hidden", "../x", "é.mp4", "a b", "-x", ""]),
            st.sampled_from([", ", ",", " ,\t"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_many_lines_at_a_time_give_what_each_gives_alone(
    items: list[tuple[str, str, str, str]],
) -> None:
    rows = Rows()
    expected, refused, lines = [], [], []
    for number, (boxes, times, clip, comma) in enumerate(items, 1):
        line = (
            f'{{"yid": "abcdefghijk", "track_id": {number}, '
            f'"track_mp4_filename": {json.dumps(clip)}, "frame_ts": {times}, '
            f'"frame_bboxes": {boxes.replace(", ", comma)}}}'
        ).encode()
        lines.append(line)
        rows.add(number, line)
        try:
            track = parse_line(line)
            expected.append((number, track.frame_ts.tolist(), track.frame_bboxes[:, 2].tolist()))
        except LineError as error:
            refused.append((number, error.reason, error.message))
    table = widened(rows.table())
    got = zip(*(table[name].to_pylist() for name in ("line", "frame_ts", "w")), strict=True)
    assert list(got) == expected
    assert sorted((r.line, r.reason, r.message) for r in rows.refused) == refused
    assert table["track_id"].to_pylist() == [str(number) for number, *_ in expected]
    many = Rows()
    assert many.read(1, b"\n".join(lines)) == len(items)
    assert widened(many.table()).equals(table)
    assert sorted(many.refused, key=lambda r: r.line) == sorted(rows.refused, key=lambda r: r.line)


BOXES = [[1, 2, 3, 4], [5, 6, 7, 8]]
PLAIN = {"frame_ts": [0.5, 1], "frame_bboxes": BOXES}


@pytest.mark.parametrize(
    "changes",
    [
        {"frame_bboxes": [[1, 2, 3], [4, 5, 6, 7, 8]]},
        {"frame_bboxes": [[1, 2, 3], 4, [5, 6, 7, 8]], "frame_ts": [1, 2, 3]},
        {"frame_bboxes": [1, 2, 3, 4, 5, 6, 7, 8]},
        {"frame_bboxes": [[[1, 2, 3, 4]], [[5, 6, 7, 8]]]},
        {"frame_bboxes": [[1, 2, 3, True], [5, 6, 7, 8]]},
        {"frame_bboxes": {"x": 1}},
        {"frame_ts": [[1, 2], []]},
        {"frame_ts": [1, None]},
        {"frame_ts": None, "track_ts": [1, 2]},
        {"frame_ts": 7},
        {"other": {"frame_bboxes": BOXES}, "frame_bboxes": [[1, 2, 3], [4, 5, 6, 7, 8]]},
        {"other": [{"frame_ts": [1, 2]}], "frame_ts": [[1, 2], []]},
        {"other": "{", "top10_label_names": ['frame_ts":[,]', "[[1,2,3,4],[5,6,7,8]]"]},
        {"top10_label_ids": [[1, 2], []]},
        {"top10_label_ids": [1.5]},
        {"top10_label_ids": "1"},
        {"top10_label_ids": ""},
        {"top10_label_ids": [1, 2**31]},
        {"top10_label_ids": [-(2**31), 2**31 - 1]},
        {"top10_label_ids": [], "top10_label_names": None, "top10_desc": ["photo of a cat"]},
        {"top10_label_names": "cat"},
        {"top10_label_names": ["cat", 1]},
        {"top10_label_names": ["\u00e9\u4e2d", "a, b", ""]},
        {"track_id": 2**63},
        {"track_id": True},
        {"track_id": None, "tid": 5},
        {"yid": 5},
        {"yid": ["00000000001"]},
        {"track_mp4_filename": None, "mp4_filename": "x.mp4"},
        {"video_size": [720, 1280]},
        {"video_size": [720, 1280.0]},
        {"video_size": [720]},
        {"video_size": None},
        {"other": 10**400},
    ],
    ids=repr,
)
def test_the_quick_way_finds_what_the_careful_way_finds(changes: dict[str, object]) -> None:
    text = json.dumps({**fields_of(1, 1, **PLAIN), **changes}).encode()
    usual = dump(fields_of(1, 2, **PLAIN))
    for line in (
        text,
        b"\xef\xbb\xbf" + text + b"\r",
        text.replace(b"frame_ts", b"frame\\u005fts"),
    ):
        for before, after in ((b"", b""), (usual + b"\n", b""), (b"", b"\n\n" + usual)):
            rows = Rows()
            rows.read(1, before + line + after)
            found, refused = says(rows, 2 if before else 1)
            one = Rows()
            one.add(2 if before else 1, line)
            assert (found, refused) == says(one, 2 if before else 1)
            assert (found, refused) == careful(line)


def test_what_one_line_lacks_its_neighbour_does_not_lend() -> None:
    lines = [
        dump(fields_of(1, 1, frame_ts=[0.5], frame_bboxes=BOXES)),
        dump(fields_of(1, 2, frame_ts=[0.5, 1], frame_bboxes=BOXES[:1])),
        *dump(fields_of(1, 3, **PLAIN)).replace(b"0.5, 1", b"0.5,\n1").split(b"\n"),
        dump(fields_of(1, 4, top10_label_names=["a", 'b", "c'])),
        dump(fields_of(1, 5, **PLAIN)),
    ]
    rows = Rows()
    rows.read(1, b"\n".join(lines))
    expected = [careful(line) for line in lines]
    assert [says(rows, line) for line in range(1, len(lines) + 1)] == expected
    assert [found is None for found, _ in expected] == [True, True, True, True, False, False]


def careful(line: bytes) -> tuple[dict[str, object] | None, tuple[str, str] | None]:
    try:
        return as_values_of(parse_line(line)), None
    except LineError as error:
        return None, (error.reason, error.message)


def says(rows: Rows, line: int) -> tuple[dict[str, object] | None, tuple[str, str] | None]:
    """What the tables say of one line: its values, or why it is refused."""
    table = rows.table()
    refused = [(r.reason, r.message) for r in rows.refused if r.line == line]
    found = [row for row in table.to_pylist() if row["line"] == line]
    assert len(found) + len(refused) == 1
    assert sum(rows.dialects.values()) == table.num_rows
    if refused:
        return None, refused[0]
    names = ("track_id", "clip_name", "frame_ts", "label_ids", "label_names", "label_id")
    values = {name: found[0][name] for name in names}
    size = (found[0]["video_height"], found[0]["video_width"])
    boxes = np.column_stack([found[0][name] for name in "xywh"]).tolist()
    return values | {"boxes": boxes, "size": size if size[0] else None}, None


def as_values_of(track: Track) -> dict[str, object]:
    return {
        "track_id": track.track_id,
        "clip_name": track.clip_name,
        "frame_ts": track.frame_ts.tolist(),
        "label_ids": list(track.label_ids),
        "label_names": list(track.label_names),
        "label_id": next(iter(track.label_ids), None),
        "boxes": track.frame_bboxes.tolist(),
        "size": track.video_size,
    }


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    first, last = dump(PLAIN), dump(fields_of(1, 1, frame_ts=[3, 4], frame_bboxes=BOXES))
    rows = Rows()
    rows.add(1, first[:-1] + b"," + last[1:])
    assert not rows.plain
    assert rows.table()["frame_ts"].to_pylist() == [[3, 4]]


def test_ordinary_lines_go_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows()
    for number, line in enumerate(some_lines(), 1):
        rows.add(number, line)
    assert (len(rows.plain), len(rows.odd)) == (100, 0)
    many = Rows()
    assert many.read(1, b"\n".join(some_lines())) == 100
    assert (len(many.alike[0].numbers), len(many.plain), len(many.odd)) == (100, 0, 0)
    assert many.table().equals(rows.table())
    monkeypatch.setitem(sys.modules, "simdjson", None)
    slow = Rows()
    for number, line in enumerate(some_lines(), 1):
        slow.add(number, line)
    assert (len(slow.plain), len(slow.odd)) == (0, 100)
    assert slow.table().equals(rows.table())


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[pool.Pool]:
    """Make every file one for worker processes, in small blocks; list the pools."""
    monkeypatch.setattr(pool, "SMALL_BYTES", 0)
    monkeypatch.setattr(pool, "usable_cores", lambda: 3)
    monkeypatch.setattr(source, "BLOCK_BYTES", 3000)
    pools: list[pool.Pool] = []
    original = pool.Pool.__init__

    def init(self: pool.Pool, count: int) -> None:
        original(self, count)
        pools.append(self)

    monkeypatch.setattr(pool.Pool, "__init__", init)
    return pools


def all_ended(pools: list[pool.Pool]) -> bool:
    return bool(pools) and all(
        len(made._all) == 3 and all(worker.returncode is not None for worker in made._all)
        for made in pools
    )


def mixed_lines() -> list[bytes]:
    lines = some_lines(40, 5)
    lines[7] = dump(fields_of(1, 2, track_mp4_filename="../../x"))
    lines[50], lines[90], lines[91] = b"not json", b"", dump([1])
    lines[100] = lines[3]
    lines[130] = dump(fields_of(26, 0, frame_bboxes=[[1, 1, -2, 3]], frame_ts=[1]))
    return lines


def test_worker_processes_find_the_same(
    layout: Layout, workers: list[pool.Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = build(layout, mixed_lines(), "many")
    assert all_ended(workers)
    assert [worker.returncode for worker in workers[0]._all] == [0, 0, 0]
    monkeypatch.setattr(pool, "SMALL_BYTES", 1 << 30)
    alone = build(layout, mixed_lines(), "alone")
    assert not workers[1]._all
    assert [as_values(t) for t in tracks_of(many)] == [as_values(t) for t in tracks_of(alone)]
    assert many.refused == alone.refused
    assert [line.line for line in many.refused] == [8, 51, 92, 131]
    assert many.duplicates().equals(alone.duplicates())
    names = ("lines", "tracks", "refused", "duplicate_tracks", "dialect", "hours")
    assert [getattr(many.manifest, name) for name in names] == [
        getattr(alone.manifest, name) for name in names
    ]


def test_a_worker_that_is_ended_is_named(
    layout: Layout, workers: list[pool.Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pool, "_START", "import os; os.read(0, 9); os.kill(os.getpid(), 9) # {path}"
    )
    with pytest.raises(LacksError, match=r"lines from \d+ on was ended .*code -9.* again"):
        build(layout, some_lines())
    assert all_ended(workers)
    assert nothing_left(layout)


def test_workers_end_with_a_damaged_file(layout: Layout, workers: list[pool.Pool]) -> None:
    path = write(layout, some_lines(200))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DamagedFileError, match=r"ends too early, in line \d+"):
        build_index(path, layout, "meta")
    assert all_ended(workers)
    assert nothing_left(layout)


def test_workers_end_when_the_build_is_interrupted(
    layout: Layout, workers: list[pool.Pool]
) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(write(layout, some_lines(200)), layout, "meta", progress=interrupt)
    assert all_ended(workers)
    assert nothing_left(layout)


ORPHANS = """
    import os, pathlib, sys
    from trackverse_cli.index import build, pool, source
    from trackverse_cli.layout import Layout

    pool.SMALL_BYTES, source.BLOCK_BYTES = 0, 3000
    pool.usable_cores = lambda: 2
    made = []
    original = pool.Pool.__init__

    def init(self, count):
        original(self, count)
        made.extend(worker.pid for worker in self._all)

    def die(*_):
        print(*made, flush=True)
        os.kill(os.getpid(), 9)

    pool.Pool.__init__ = init
    root, path = map(pathlib.Path, sys.argv[1:])
    build.build_index(path, Layout(root), "meta", progress=die)
"""


def test_no_worker_outlives_a_killed_build(layout: Layout) -> None:
    path = write(layout, some_lines(200))
    script = [sys.executable, "-c", textwrap.dedent(ORPHANS), layout.root, path]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -9, done.stderr
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    # Their standard error is this test's pipe: run() came back, so they have closed it.
    assert not [pid for pid in workers if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("digits", "kind"), [(0, "float"), (2, "float"), (9, "double")])
def test_boxes_are_stored_as_suits_their_numbers(layout: Layout, digits: int, kind: str) -> None:
    dice = random.Random(5)
    boxes = [[round(dice.uniform(1, 2000), digits) for _ in range(4)] for _ in range(20_000)]
    times = [number / 16 for number in range(len(boxes))]
    index = build(layout, [dump(fields_of(1, 1, frame_ts=times, frame_bboxes=boxes))])
    (track,) = tracks_of(index)
    assert track.frame_bboxes.tolist() == boxes
    group = index._tracks.metadata.row_group(0)
    found = {group.column(n).path_in_schema: group.column(n).encodings for n in range(18)}
    assert any("SPLIT" in name for name in found["x.list.element"])
    assert box_kinds(index) == {kind}


def box_kinds(index: Index) -> set[str]:
    return {str(index._tracks.schema_arrow.field(name).type.value_type) for name in "xywh"}


@pytest.mark.parametrize("place", [0, 150, 299])
@pytest.mark.parametrize("row_group_boxes", [50, 250_000])
def test_one_number_of_more_decimals_makes_all_doubles(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, place: int, row_group_boxes: int
) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(writer, "ROW_GROUP_BOXES", row_group_boxes)
    boxes = [[[0.01 * n, 7.3, 8.25, 999.99]] * 3 for n in range(300)]
    boxes = [[[round(side, 2) for side in box] for box in track] for track in boxes]
    assert box_kinds(build(layout, lines_of(boxes))) == {"float"}
    boxes[place] = [[1 / 3, 7.3, 8.25, 999.99]] * 3
    index = build(layout, lines_of(boxes))
    assert box_kinds(index) == {"double"}
    assert [track.frame_bboxes.tolist() for track in tracks_of(index)] == boxes
    assert index._tracks.num_row_groups == index._videos["row_group"][-1].as_py() + 1


@pytest.mark.parametrize("call", ["rename", "_open"])
def test_a_disk_that_is_full_while_floats_become_doubles_is_named(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(writer, "ROW_GROUP_BOXES", 50)
    boxes = [[[0.25 * n, 7.3, 8.25, 9.0]] * 3 for n in range(300)]
    boxes[250] = [[1 / 3, 7.3, 8.25, 9.0]] * 3
    real = writer.TrackWriter._widen

    def widen(self: writer.TrackWriter) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path if call == "rename" else writer.TrackWriter, call, full)
            real(self)

    monkeypatch.setattr(writer.TrackWriter, "_widen", widen)
    with pytest.raises(TryLaterError, match="is full"):
        build(layout, lines_of(boxes))
    assert nothing_left(layout)


def lines_of(boxes: list[list[list[float]]]) -> list[bytes]:
    times = [0.0, 0.5, 1.0]
    return [
        dump(fields_of(number // 7, number, frame_ts=times, frame_bboxes=track))
        for number, track in enumerate(boxes)
    ]


@given(
    st.lists(
        st.integers(-(10**8), 10**8).map(lambda n: n / 100)
        | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
    )
)
def test_a_number_is_halved_only_if_it_comes_back(numbers: list[float]) -> None:
    values = np.array(numbers)
    half = halved(values)
    if half is not None:
        assert whole(half).tolist() == numbers
    elif np.abs(values).max() < 80_000:
        assert any(float(f"{number:.2f}") != number for number in numbers)


def nothing_left(layout: Layout, name: str = "meta") -> bool:
    folder = layout.index(name)
    return not folder.exists() or not list(folder.iterdir())


def test_a_truncated_file_names_the_line(layout: Layout) -> None:
    lines = [bytes(json.dumps(fields_of(v, 1)), "ascii") for v in range(2000)]
    path = write(layout, lines)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DamagedFileError, match=r"meta\.jsonl\.gzip ends too early, in line (\d+)"
    ) as e:
        build_index(path, layout, "meta")
    line = int(str(e.value).split(" line ")[1].split(";")[0])
    assert 600 < line < 1400
    assert nothing_left(layout)


def test_a_truncated_trailer_is_noticed(layout: Layout) -> None:
    path = write(layout, some_lines())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedFileError, match=r"line 10[01]"):
        build_index(path, layout, "meta")


@pytest.mark.parametrize("place", [0.3, 0.6, -6])
def test_a_flipped_byte_is_noticed(layout: Layout, place: float) -> None:
    path = write(layout, some_lines(200))
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if place > 0 else int(place)] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"line \d+"):
        build_index(path, layout, "meta")
    assert nothing_left(layout)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello\n", "is no gzip file"),
        (gzip.compress(b"", mtime=0), "has no lines"),
        (gzip.compress(b"\n \n", mtime=0), "has no lines"),
        (
            gzip.compress(b"[]\n{}\n", mtime=0),
            "no line of .* gives a track, and line 1 says why: .*object",
        ),
    ],
)
def test_what_is_no_metadata_gets_its_own_sentence(
    layout: Layout, content: bytes, said: str
) -> None:
    path = layout.metadata / "meta.jsonl.gzip"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=said):
        build_index(path, layout, "meta")
    assert nothing_left(layout)


def test_a_missing_file_is_wrong_use(layout: Layout) -> None:
    with pytest.raises(UsageError, match="cannot read the metadata file"):
        build_index(layout.metadata / "none.gz", layout, "meta")


def test_two_gzip_members_are_one_file(layout: Layout) -> None:
    path = layout.metadata / "meta.jsonl.gzip"
    lines = some_lines(2, 2)
    path.write_bytes(b"".join(gzip.compress(line + b"\n") for line in lines))
    assert build_index(path, layout, "meta").manifest.tracks == 4


def test_an_endless_line_costs_only_itself(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_LINE_BYTES", 5000)
    monkeypatch.setattr("trackverse_cli.metadata.MAX_LINE_BYTES", 5000)
    monkeypatch.setattr(source, "BLOCK_BYTES", 2000)
    lines = [dump(fields_of(1, 1)), b"x" * 50_000, dump(fields_of(1, 2))]
    index = build(layout, lines)
    assert index.manifest.tracks == 2
    assert [line.line for line in index.refused] == [2]


def test_an_outdated_index_is_named_and_a_touched_file_is_not(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(layout, some_lines(2))
    path = layout.metadata / "meta.jsonl.gzip"
    os.utime(path, (1, 1))
    monkeypatch.setattr(reader, "checksum", lambda _: pytest.fail("the whole file was read again"))
    open_index(layout, "meta")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(IndexUnusableError, match="trackverse fetch-meta meta"):
        open_index(layout, "meta")
    write(layout, some_lines(3))
    with pytest.raises(IndexUnusableError, match="trackverse fetch-meta meta"):
        open_index(layout, "meta")
    path.unlink()
    assert open_index(layout, "meta").manifest.videos == 2


def test_an_unusable_index_names_the_way_out(layout: Layout) -> None:
    with pytest.raises(IndexUnusableError, match=r"no index.*trackverse fetch-meta meta"):
        open_index(layout, "meta")
    index = build(layout, some_lines(2))
    manifest = index.path / "index.json"
    content = manifest.read_text()
    manifest.write_text(content.replace('"schema": 2', '"schema": 99'))
    with pytest.raises(IndexUnusableError, match=r"schema 99.*trackverse fetch-meta meta"):
        open_index(layout, "meta")
    manifest.write_text("{")
    with pytest.raises(IndexUnusableError, match=r"cannot be read.*fetch-meta meta"):
        open_index(layout, "meta")
    manifest.write_text(content)
    (index.path / index.manifest.files["tracks"]).unlink()
    with pytest.raises(IndexUnusableError, match=r"lacks a file.*fetch-meta meta"):
        open_index(layout, "meta")


def test_an_open_index_outlives_its_successor(layout: Layout) -> None:
    old = build(layout, some_lines(2))
    new = build(layout, some_lines(3))
    assert len(tracks_of(old)) == 10
    assert len(tracks_of(new)) == 15
    assert len(list(new.path.iterdir())) == 5


KILLED = """
    import os, pathlib, sys
    from trackverse_cli import files
    from trackverse_cli.index import build
    from trackverse_cli.layout import Layout

    point, root, source = sys.argv[1:]

    def die(*_args, **_kwargs):
        os.kill(os.getpid(), 9)

    if point == "manifest":
        build.atomic_write_bytes = die
    elif point == "rename":
        pathlib.Path.replace = die
    elif point == "tables":
        build._publish = die
    elif point == "sweep":
        calls = []
        original = build.sweep
        build.sweep = lambda folder: die() if calls else calls.append(original(folder))
    else:
        build.scan_file = die
    build.build_index(pathlib.Path(source), Layout(pathlib.Path(root)), "meta")
"""


def test_a_killed_build_leaves_the_old_index(layout: Layout) -> None:
    old = build(layout, some_lines(2))
    new = layout.root / "new.jsonl.gz"
    new.write_bytes(gzip.compress(b"\n".join(some_lines(3))))
    for point in ("scan", "tables", "manifest", "rename"):
        script = [sys.executable, "-c", textwrap.dedent(KILLED), point, layout.root, new]
        assert subprocess.run(script, check=False).returncode == -9
        assert open_index(layout, "meta").manifest == old.manifest
        assert len(tracks_of(open_index(layout, "meta"))) == 10
    assert len(list(layout.index("meta").iterdir())) > 5
    build(layout, some_lines(4))
    assert len(list(layout.index("meta").iterdir())) == 5
    assert open_index(layout, "meta").manifest.videos == 4


def test_a_name_that_is_no_plain_component_is_refused(layout: Layout) -> None:
    path = write(layout, some_lines(1))
    for name in ("", "..", "a/b", ".x", "-x", "a\nb"):
        with pytest.raises(UsageError, match="cannot name an index"):
            build_index(path, layout, name)


def test_metadata_is_found_by_every_name(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trackverse fetch-meta"):
        resolve_metadata(layout, "")
    path = write(layout, some_lines(1), "one")
    assert resolve_metadata(layout, "82K-CB100") == "TrackVerseLVIS-CB100-82K"
    assert resolve_metadata(layout, "one") == "one"
    assert resolve_metadata(layout, "one.jsonl.gzip") == "one"
    assert resolve_metadata(layout, str(path)) == "one"
    build_index(path, layout, "one")
    assert resolve_metadata(layout, "") == "one"
    path.unlink()
    assert resolve_metadata(layout, "one") == "one"
    assert resolve_metadata(layout, "one.jsonl.gzip") == "one"
    build(layout, some_lines(1), "two")
    with pytest.raises(UsageError, match=r"several.*one, two"):
        resolve_metadata(layout, "")
    with pytest.raises(UsageError, match="did you mean two"):
        resolve_metadata(layout, "tow")
    with pytest.raises(UsageError, match="known are one, two"):
        resolve_metadata(layout, "quite-else")
    with pytest.raises(UsageError, match="without boxes"):
        resolve_metadata(layout, "validation")
    with pytest.raises(UsageError, match="not released"):
        resolve_metadata(layout, "full")
