"""The head and the fragments of an mp4: an index that can be, or half a sentence why not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from trackverse_cli.ranges import (
    FileHead,
    UnfitFileError,
    covers,
    make_plan,
    parse_head,
    read_held,
    record_atom,
)

if TYPE_CHECKING:
    from pathlib import Path

SPANS = ((0.0, 0.5), (1.0, 1.25), (100.0, 1e9))


def atom(kind: bytes, *body: bytes) -> bytes:
    """Return one atom."""
    content = b"".join(body)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full(
    kind: bytes, version: int, flags: int, fmt: str, *values: int, more: bytes = b""
) -> bytes:
    return atom(
        kind, struct.pack(">I", version << 24 | flags), struct.pack(f">{fmt}", *values), more
    )


def moov(edits: bytes = b"") -> bytes:
    """Return the description of one fragmented video track, with a clock of 1000 a second."""
    mdia = atom(
        b"mdia",
        _full(b"mdhd", 0, 0, "IIII", 0, 0, 1000, 0),
        _full(b"hdlr", 0, 0, "I4s", 0, b"vide", more=bytes(12)),  # type: ignore[arg-type]
    )
    trak = atom(b"trak", _full(b"tkhd", 0, 3, "III", 0, 0, 1, more=bytes(68)), edits, mdia)
    trex = _full(b"trex", 0, 0, "IIIII", 1, 1, 40, 100, 0)
    return atom(b"moov", _full(b"mvhd", 0, 0, "IIII", 0, 0, 1000, 0), trak, atom(b"mvex", trex))


def moof(start: int, count: int, shift: int = 0) -> bytes:
    """Return one fragment of `count` pictures, shown `shift` after they are decoded."""
    tfhd = _full(b"tfhd", 0, 0x20000, "I", 1)
    tfdt = _full(b"tfdt", 1, 0, "Q", start)
    samples = struct.pack(">II", 40, shift) * count
    trun = _full(b"trun", 0, 0x900, "I", count, more=samples)
    return atom(b"moof", _full(b"mfhd", 0, 0, "I", 1), atom(b"traf", tfhd, tfdt, trun))


def sidx(count: int, version: int = 0) -> bytes:
    """Return an index of `count` fragments of 500 ms and 5000 bytes."""
    each = struct.pack(">III", 5000, 500, 0x90000000) * count
    place = struct.pack(">QQ" if version else ">II", 0, 0)
    return atom(
        b"sidx",
        struct.pack(">III", version << 24, 1, 1000),
        place,
        struct.pack(">HH", 0, count),
        each,
    )


def seeds() -> list[bytes]:
    """Return heads, files with fragments, and broken ones."""
    ftyp = atom(b"ftyp", b"dash\0\0\0\0iso6")
    pictures = b"".join(moof(500 * n, 12) + atom(b"mdat", bytes(24)) for n in range(3))
    elst = atom(b"edts", _full(b"elst", 0, 0, "IIII", 1, 0, 80, 0x10000))
    head = ftyp + moov() + sidx(4)
    deep = struct.pack(">I4s", 2024, b"uuid") + b"trackverse range" + b"[" * 2000
    return [
        head, ftyp + moov(elst) + sidx(2, 1), head + pictures, ftyp + moov() + pictures,
        # Decoded first and shown last.
        ftyp + moov() + moof(0, 12, 9000) + moof(5000, 12),
        # So late that start and end are one number of seconds.
        ftyp + moov() + moof((1 << 64) - 1, 12) + atom(b"mdat"),
        head + pictures + record_atom(0.0, 2.0, 9000), head + deep + pictures, head[:60],
        ftyp + sidx(1), ftyp + moov() + atom(b"mdat"), struct.pack(">I4sQ", 1, b"ftyp", 1 << 63),
    ]  # fmt: skip


def check(data: bytes, folder: Path) -> None:
    """Read `data` as the beginning of a file at a host, and as a file on disk."""
    try:
        head = parse_head(data)
    except UnfitFileError:
        head = 0
    if isinstance(head, FileHead):
        _plans(head)
    path = folder / "v.ranges.mp4"
    path.write_bytes(data)
    try:
        held = read_held(path)
    except UnfitFileError:
        return
    assert held.samples > 0
    assert held.whole_seconds >= 0
    assert held.whole_bytes >= 0
    last = float("-inf")
    for start, stop in held.spans:
        assert start < stop
        assert start >= last or start <= 0, "spans are in order"
        last = start
    covers(held.spans, SPANS, held.whole_seconds)


def _plans(head: FileHead) -> None:
    plan = make_plan(head, SPANS, 0.1)
    count = len(head.index.fragments)
    assert 1 <= count <= 65535
    assert list(plan.chosen) == sorted(set(plan.chosen))
    assert all(0 <= number < count for number in plan.chosen)
    for number in plan.chosen:
        fragment = head.index.fragments[number]
        inside = [
            r for r in plan.requests if r[0] < fragment.end_byte and fragment.first_byte < r[1]
        ]
        assert inside[0][0] <= fragment.first_byte
        assert inside[-1][1] >= fragment.end_byte
    assert all(0 <= start < stop for start, stop in plan.requests)
