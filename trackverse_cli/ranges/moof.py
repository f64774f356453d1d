"""One fragment's own record of its pictures and their times (ISO 14496-12, 8.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.ranges.atoms import Atom, Fields, UnfitFileError, atoms_in, need

if TYPE_CHECKING:
    from trackverse_cli.ranges.header import VideoTrack

SAMPLES_LIMIT = 100_000
"""More pictures than a fragment can have."""

_NOT_A_KEY = 0x10000


@dataclass(frozen=True, slots=True)
class Stretch:
    """The pictures of one fragment.

    Attributes:
        decode_start: decoding time of the first picture, in units of the track's timescale.
        decode_stop: where the next fragment's decoding time starts if it follows.
        key: presentation time of the first picture that can be decoded by itself, or None.
        stop: where the last picture ends.
        samples: how many pictures.
    """

    decode_start: int
    decode_stop: int
    key: int | None
    stop: int
    samples: int


@dataclass(frozen=True, slots=True)
class _Defaults:
    duration: int
    flags: int


def parse_moof(data: bytes, moof: Atom, video: VideoTrack) -> Stretch | None:
    """Return the video's pictures in one `moof` atom, None if it has none of them.

    Raises:
        UnfitFileError: it is broken, or names its bytes by their place in another file.
    """
    found: Stretch | None = None
    for traf in atoms_in(data, moof.body, moof.stop):
        if traf.kind != b"traf":
            continue
        track, defaults = _header(data, need(data, traf, b"tfhd"), video)
        if track != video.track:
            continue
        if found is not None:
            raise UnfitFileError("a fragment holds the video twice")
        start = Fields(data, need(data, traf, b"tfdt")).wide()
        found = _stretch(data, traf, start, defaults)
    return found


def _header(data: bytes, tfhd: Atom, video: VideoTrack) -> tuple[int, _Defaults]:
    fields = Fields(data, tfhd)
    track = fields.u32()
    if fields.flags & 0x1:
        raise UnfitFileError("its fragments count their bytes from the start of the file")
    if fields.flags & 0x2:
        fields.skip(4)
    duration = fields.u32() if fields.flags & 0x8 else video.default_duration
    if fields.flags & 0x10:
        fields.skip(4)
    flags = fields.u32() if fields.flags & 0x20 else video.default_flags
    return track, _Defaults(duration, flags)


def _stretch(data: bytes, traf: Atom, start: int, defaults: _Defaults) -> Stretch | None:
    at, stop, count = start, 0, 0
    key: int | None = None
    for trun in atoms_in(data, traf.body, traf.stop):
        if trun.kind != b"trun":
            continue
        for duration, flags, shift in _samples(data, trun, defaults):
            shown = at + shift
            if key is None and not flags & _NOT_A_KEY:
                key = shown
            stop = max(stop, shown + duration)
            at += duration
            count += 1
            if count > SAMPLES_LIMIT:
                raise UnfitFileError("a fragment has more pictures than can be true")
    return Stretch(start, at, key, stop, count) if count else None


def _samples(data: bytes, trun: Atom, defaults: _Defaults) -> list[tuple[int, int, int]]:
    """Return (duration, flags, presentation minus decoding time) of each picture."""
    fields = Fields(data, trun)
    count, has = fields.u32(), fields.flags
    if has & 0x1:
        fields.skip(4)
    first_flags = fields.u32() if has & 0x4 else None
    each = 4 * bin(has & 0xF00).count("1")
    if count > SAMPLES_LIMIT or fields.left < each * count:
        raise UnfitFileError("a fragment has more pictures than can be true")
    samples = []
    for number in range(count):
        duration = fields.u32() if has & 0x100 else defaults.duration
        if has & 0x200:
            fields.skip(4)
        flags = fields.u32() if has & 0x400 else defaults.flags
        if number == 0 and first_flags is not None:
            flags = first_flags
        shift = 0
        if has & 0x800:
            shift = fields.s32() if fields.version else fields.u32()
        samples.append((duration, flags, shift))
    return samples
