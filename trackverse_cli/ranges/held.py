"""What a file of stretches holds, read from itself: nothing else has to be kept for it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from trackverse_cli.ranges.atoms import ATOM_HEADER_BYTES, Atom, UnfitFileError, atom_at
from trackverse_cli.ranges.header import HEAD_LIMIT_BYTES, VideoTrack, parse_moov
from trackverse_cli.ranges.moof import Stretch, parse_moof

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

MARGIN_SECONDS = 0.05
"""Half a picture, at ten a second or more: what a clip may need besides its track's times."""

TIE_SECONDS = 1e-6
"""Times closer than this are the same time."""

_RECORD_ID = b"trackverse range"
_ATOMS_LIMIT = 200_000
_RECORD_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Held:
    """What a file holds.

    Attributes:
        spans: (start, stop) in seconds whose every picture is there and can be decoded, in order;
            the first starts at 0 where the video shows nothing before.
        samples: video pictures in the file.
        whole_seconds: where the whole video ends, 0 if the file does not say.
        whole_bytes: the size of the whole file, 0 if the file does not say.
    """

    spans: tuple[tuple[float, float], ...]
    samples: int
    whole_seconds: float
    whole_bytes: int


def record_atom(first_seconds: float, whole_seconds: float, whole_bytes: int) -> bytes:
    """Return an atom, passed over by every player, that marks a file as one of stretches.

    Args:
        first_seconds: where the whole video's first picture is shown.
        whole_seconds: where the whole video ends.
        whole_bytes: the size of the whole file.
    """
    record = {
        "first_seconds": first_seconds, "whole_seconds": whole_seconds, "whole_bytes": whole_bytes,
    }  # fmt: skip
    body = _RECORD_ID + json.dumps(record).encode()
    return struct.pack(">I4s", 8 + len(body), b"uuid") + body


def spans_in(path: Path) -> tuple[tuple[float, float], ...]:
    """Return the (start, stop) seconds that a file of stretches holds, in order.

    Raises:
        UnfitFileError: it is no such file, or is damaged.
        OSError: it cannot be read.
    """
    return read_held(path).spans


def read_held(path: Path) -> Held:
    """Return what a file of stretches holds; its pictures are not read.

    Raises:
        UnfitFileError: it is no such file, or is damaged.
        OSError: it cannot be read.
    """
    video: VideoTrack | None = None
    stretches: list[Stretch] = []
    record: dict[str, Any] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        for _ in range(_ATOMS_LIMIT):
            if at >= size:
                break
            atom = _atom(file, at)
            if atom.stop > size:
                raise UnfitFileError("it is cut short")
            if atom.kind == b"moov":
                video = parse_moov(*_content(file, atom))
            elif atom.kind == b"moof" and video is not None:
                stretch = parse_moof(*_content(file, atom), video)
                stretches += [stretch] if stretch else []
            elif atom.kind == b"uuid" and atom.stop - atom.body <= _RECORD_LIMIT_BYTES:
                record = record or _record(file, atom)
            at = atom.stop
    if video is None or not stretches:
        raise UnfitFileError("it holds no fragment of a video")
    spans = held_spans(stretches, video)
    first = record.get("first_seconds")
    if spans and first is not None and spans[0][0] <= _number(first):
        spans = ((min(0.0, spans[0][0]), spans[0][1]), *spans[1:])
    return Held(
        spans=spans,
        samples=sum(stretch.samples for stretch in stretches),
        whole_seconds=_number(record.get("whole_seconds")),
        whole_bytes=int(_number(record.get("whole_bytes"))),
    )


def held_spans(stretches: Sequence[Stretch], video: VideoTrack) -> tuple[tuple[float, float], ...]:
    """Return the (start, stop) seconds of fragments, those that follow each other as one.

    A stretch counts from its first key picture; what is shown before that is not decodable.
    """
    runs: list[list[Stretch]] = []
    for stretch in sorted(stretches, key=lambda each: each.decode_start):
        if runs and abs(stretch.decode_start - runs[-1][-1].decode_stop) <= _tick(stretch):
            runs[-1].append(stretch)
        else:
            runs.append([stretch])
    spans = []
    for run in runs:
        start = next((each.key for each in run if each.key is not None), None)
        stop = max(each.stop for each in run)
        if start is not None:
            spans.append((float(video.seconds(start)), float(video.seconds(stop))))
    # Pictures may be shown in another order than they are decoded in, and so may runs of them.
    return tuple(sorted((start, stop) for start, stop in spans if start < stop))


def _tick(stretch: Stretch) -> Fraction:
    """Return half a picture's time: clocks that were rounded may differ by less."""
    return Fraction(stretch.decode_stop - stretch.decode_start, 2 * stretch.samples)


def covers(
    held: Iterable[tuple[float, float]],
    needed: Iterable[tuple[float, float]],
    whole_seconds: float = 0.0,
    margin_seconds: float = MARGIN_SECONDS,
) -> bool:
    """Say whether what is held is all that is needed.

    Args:
        held: (start, stop) seconds that are there.
        needed: (start, stop) seconds.
        whole_seconds: where the video ends, 0 if unknown; nothing later is missed.
        margin_seconds: what is needed besides, on both sides, where the video has it.
    """
    there = [(start - TIE_SECONDS, stop + TIE_SECONDS) for start, stop in held]
    for start, stop in needed:
        first = max(0.0, start - margin_seconds)
        last = stop + margin_seconds
        if whole_seconds:
            last = min(last, whole_seconds)
        if first < last and not any(a <= first and last <= b for a, b in there):
            return False
    return True


def _atom(file: BinaryIO, at: int) -> Atom:
    file.seek(at)
    return atom_at(file.read(ATOM_HEADER_BYTES), 0, at)


def _content(file: BinaryIO, atom: Atom) -> tuple[bytes, Atom]:
    """Return an atom's bytes, and the atom as it lies in them."""
    size = atom.stop - atom.start
    if size > HEAD_LIMIT_BYTES:
        raise UnfitFileError("one of its heads is longer than any honest one")
    file.seek(atom.start)
    data = file.read(size)
    return data, atom_at(data, 0)


def _record(file: BinaryIO, atom: Atom) -> dict[str, Any]:
    data, _ = _content(file, atom)
    body = data[atom.body - atom.start :]
    if not body.startswith(_RECORD_ID):
        return {}
    try:
        record = json.loads(body[len(_RECORD_ID) :])
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _number(value: object) -> float:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return float(value) if ok and isinstance(value, int | float) else 0.0
