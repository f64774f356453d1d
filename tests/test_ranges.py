from __future__ import annotations

import random
import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from tests.services.media import times_of, write_fragmented, write_video
from trackverse_cli.ranges import (
    FileHead,
    UnfitFileError,
    covers,
    make_plan,
    parse_head,
    read_held,
    record_atom,
    spans_in,
)
from trackverse_cli.ranges.atoms import atom_at, atoms_in
from trackverse_cli.ranges.plan import GAP_BYTES, REQUEST_LIMIT_BYTES
from trackverse_cli.ranges.sidx import parse_sidx

if TYPE_CHECKING:
    from pathlib import Path

GOP = Fraction(150 * 1001, 30000)


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fragmented(tmp_path_factory.mktemp("fragmented") / "minute.mp4", seconds=60)


def head_of(path: Path) -> FileHead:
    head = parse_head(path.read_bytes())
    assert isinstance(head, FileHead)
    return head


def joined(path: Path, target: Path, chosen: list[int], record: bytes = b"") -> Path:
    data, head = path.read_bytes(), head_of(path)
    pieces = [head.index.fragments[number] for number in chosen]
    body = b"".join(data[each.first_byte : each.end_byte] for each in pieces)
    target.write_bytes(head.start + body + record)
    return target


def atom(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def sidx(
    references: list[tuple[int, int, int]],
    timescale: int = 1000,
    track: int = 1,
    version: int = 0,
    offset: int = 0,
) -> bytes:
    wide = "Q" if version else "I"
    body = struct.pack(f">III{wide}{wide}I", version << 24, track, timescale, 500, offset,
                       len(references))  # fmt: skip
    return atom(b"sidx", body + b"".join(struct.pack(">III", *each) for each in references))


# --- the index


@pytest.mark.parametrize("version", [0, 1])
def test_an_index_says_which_bytes_hold_which_time(version: int) -> None:
    data = sidx(
        [(100, 2000, 0x90000000), (70, 1000, 0), (30, 500, 0xB0000000)], version=version, offset=8
    )
    index = parse_sidx(data, atom_at(data, 0))
    first, second, third = index.fragments
    assert (first.first_byte, first.end_byte) == (len(data) + 8, len(data) + 108)
    assert (second.first_byte, second.start, second.stop) == (first.end_byte, 2500, 3500)
    assert [each.alone for each in (first, second, third)] == [True, False, False]
    assert index.seconds == Fraction(7, 2)
    assert index.end_byte == third.end_byte


@pytest.mark.parametrize(
    "data",
    [
        sidx([]),
        sidx([(1 << 31 | 100, 2000, 0)]),
        sidx([(0, 2000, 0)]),
        sidx([(100, 0, 0)]),
        sidx([(100, 2000, 0)], timescale=0),
        sidx([(100, 0xFFFFFFFF, 0)] * 200, timescale=1000),
        sidx([(100, 2000, 0)] * 3)[:-12],
        b"\0\0\0\x04sidx",
        b"\0\0\0\x01sidx\0\0\0\0\0\0\0\x08",
        b"\0\0",
    ],
    ids=[
        "empty",
        "nested",
        "no-bytes",
        "no-time",
        "no-clock",
        "a-week",
        "cut",
        "small",
        "wide",
        "2",
    ],
)
def test_an_index_that_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(UnfitFileError):
        parse_sidx(data, atom_at(data, 0))


def test_the_head_is_read_from_few_bytes(minute: Path) -> None:
    data = minute.read_bytes()
    asked, steps = 8, 0
    while not isinstance(head := parse_head(data[:asked]), FileHead):
        assert head > asked
        asked, steps = head, steps + 1
    assert steps <= 6
    assert asked < 4096
    assert head == head_of(minute)
    assert len(head.index.fragments) == 12
    assert head.index.end_byte <= len(data)
    assert head.start[4:8] == b"ftyp"


@pytest.mark.parametrize("flags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_other_files_are_refused(tmp_path: Path, flags: str) -> None:
    path = write_fragmented(tmp_path / "video.mp4", seconds=6, flags=flags)
    with pytest.raises(UnfitFileError):
        parse_head(path.read_bytes())
    assert not isinstance(parse_head(path.read_bytes()[:16]), FileHead)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>" * 99, b"\0" * 99, b"\x1aE\xdf\xa3" * 99])
def test_what_is_no_mp4_is_refused(content: bytes) -> None:
    with pytest.raises(UnfitFileError):
        parse_head(content)


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(UnfitFileError):
        parse_head(struct.pack(">I4s", 0x7FFFFFFF, b"ftyp") + b"\0" * 100)


def test_an_index_of_another_track_is_refused(minute: Path) -> None:
    data = bytearray(minute.read_bytes())
    at = data.index(b"sidx") + 8
    data[at : at + 4] = struct.pack(">I", 7)
    with pytest.raises(UnfitFileError, match="another track"):
        parse_head(bytes(data))


def test_damaged_bytes_never_do_more_than_refuse(minute: Path, tmp_path: Path) -> None:
    whole = joined(minute, tmp_path / "joined.mp4", [2, 3, 7], record_atom(0.0, 60.0, 5))
    data = whole.read_bytes()
    start = minute.read_bytes()[:4096]
    moof = data.index(b"moof") + 4
    dice = random.Random(5)
    target = tmp_path / "damaged.mp4"
    for _ in range(300):
        for source, limit in ((start, 2300), (data, moof + 1200)):
            broken = bytearray(source)
            for _ in range(dice.randint(1, 8)):
                broken[dice.randrange(limit)] = dice.choice([0, 1, 0x7F, 0x80, 0xFF])
            try:
                if source is start:
                    parse_head(bytes(broken))
                else:
                    target.write_bytes(broken)
                    read_held(target)
            except UnfitFileError:
                pass


def test_too_many_atoms_are_refused() -> None:
    data = atom(b"free", b"") * 5000
    with pytest.raises(UnfitFileError, match="more atoms"):
        list(atoms_in(data, 0, len(data)))


# --- the plan


def test_a_plan_takes_what_the_spans_need_and_a_margin(minute: Path) -> None:
    head = head_of(minute)
    edge = float(head.shown(head.index.fragments[4].start))
    assert make_plan(head, [(21, 23)], 0.1).chosen == (4,)
    assert make_plan(head, [(edge + 0.05, 23)], 0.1).chosen == (3, 4)
    assert make_plan(head, [(21, 23), (47, 48), (21, 24)], 0.1).chosen == (4, 9)
    assert make_plan(head, [(0, 60)], 0.1).chosen == tuple(range(12))
    assert make_plan(head, [], 0.1).chosen == ()


def test_what_lies_after_the_end_takes_the_end_and_the_beginning(minute: Path) -> None:
    assert make_plan(head_of(minute), [(58, 80)], 0.1).chosen == (0, 11)


def test_neighbours_are_one_request_and_long_ones_are_several(minute: Path) -> None:
    data = sidx([(GAP_BYTES * 20, 1000, 0x90000000)] * 40 + [(100, 1000, 0x90000000)] * 3)
    index = parse_sidx(data, atom_at(data, 0))
    video = head_of(minute).video
    head = FileHead(b"", video, index)
    plan = make_plan(head, [(2, 4), (30, 38)], 0.0)
    fragments = [index.fragments[number] for number in plan.chosen]
    assert sum(stop - start for start, stop in plan.requests) == sum(f.size for f in fragments)
    assert all(stop - start <= REQUEST_LIMIT_BYTES for start, stop in plan.requests)
    assert len(plan.requests) == 1 + 2
    # A gap of 100 bytes is not worth a request.
    assert len(make_plan(head, [(41, 41.2), (42.7, 43.2)], 0.0).requests) == 1


def test_a_fragment_that_does_not_stand_alone_brings_those_before(minute: Path) -> None:
    kinds = [0x90000000, 0, 0xB0000000, 0x80000000, 0xA0000000]
    data = sidx([(1000, 1000, kind) for kind in kinds])
    head = FileHead(b"", head_of(minute).video, parse_sidx(data, atom_at(data, 0)))
    chosen = [make_plan(head, [(at, at)], 0.0).chosen for at in (2.0, 3.0, 4.0, 5.0)]
    assert chosen == [(0, 1), (0, 1, 2), (3,), (4,)]


# --- what a file holds


def test_a_file_says_which_spans_it_holds(minute: Path, tmp_path: Path) -> None:
    path = joined(minute, tmp_path / "x.mp4", [2, 3, 7])
    held = read_held(path)
    shown = times_of(path)
    assert held.samples == len(shown) == 450
    (a, b), (c, d) = held.spans
    assert [a, c] == [float(shown[0]), float(shown[300])]
    assert [b, d] == pytest.approx(
        [float(shown[300] - 3 * GOP), float(shown[-1]) + 0.0334], abs=1e-3
    )
    assert spans_in(path) == held.spans
    # The pictures kept the times of the whole file.
    assert set(shown) < set(times_of(minute))


def test_the_record_tells_of_the_whole_and_disturbs_no_player(minute: Path, tmp_path: Path) -> None:
    first = float(times_of(minute)[0])
    path = joined(minute, tmp_path / "x.mp4", [0, 7], record_atom(first, 60.06, 1234))
    held = read_held(path)
    assert (held.whole_seconds, held.whole_bytes) == (60.06, 1234)
    # Nothing is shown before the first picture, so nothing is missed there.
    assert held.spans[0][0] == 0.0
    assert len(times_of(path)) == 300


def test_pictures_without_their_key_are_not_held(minute: Path, tmp_path: Path) -> None:
    data = bytearray(joined(minute, tmp_path / "x.mp4", [4, 8]).read_bytes())
    trun = data.index(b"trun")
    has = struct.unpack(">I", data[trun + 4 : trun + 8])[0]
    assert has & 0x4
    # The first picture's flags say that it is no key.
    data[trun + 16 : trun + 20] = struct.pack(">I", 0x10000)
    (tmp_path / "x.mp4").write_bytes(data)
    assert [round(start) for start, _ in spans_in(tmp_path / "x.mp4")] == [40]


def test_a_file_that_is_cut_or_ordinary_is_refused(minute: Path, tmp_path: Path) -> None:
    path = joined(minute, tmp_path / "x.mp4", [2])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnfitFileError, match="cut short"):
        spans_in(path)
    with pytest.raises(UnfitFileError):
        spans_in(write_video(tmp_path / "plain.mp4"))


@pytest.mark.parametrize(
    ("needed", "whole", "answer"),
    [
        ([(10, 20)], 0, True),
        ([(10.05, 19.95), (30.5, 31)], 0, True),
        ([(9.9, 20)], 0, False),
        ([(15, 35)], 0, False),
        ([(30, 45)], 0, False),
        ([(30, 45)], 40, True),
        ([(50, 60)], 40, True),
        ([], 0, True),
    ],
)
def test_covers(needed: list[tuple[float, float]], whole: float, answer: bool) -> None:
    held = [(10.0, 20.0), (30.0, 40.0)]
    assert covers(held, needed, whole, margin_seconds=0.0) is answer


def test_covers_wants_a_margin_but_not_before_the_beginning() -> None:
    assert covers([(0.0, 5.0)], [(0.0, 4.9)])
    assert not covers([(0.0, 5.0)], [(0.0, 5.0)])
    assert covers([(0.0, 5.0)], [(0.0, 5.0)], whole_seconds=5.0)
    assert not covers([(1.0, 5.0)], [(1.0, 2.0)])
