"""The head of a fragmented mp4: what every fragment needs to be understood, and the index."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from trackverse_cli.ranges.atoms import (
    ATOM_HEADER_BYTES,
    Atom,
    Fields,
    UnfitFileError,
    atom_at,
    atoms_in,
    find,
    need,
)
from trackverse_cli.ranges.sidx import FragmentIndex, parse_sidx

HEAD_LIMIT_BYTES = 2 << 20
"""A longer head is not read: 65,535 fragments, the most that an index can name, take 768 KiB."""

_TIMESCALE_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The one video track of a file, as its `moov` describes it.

    Attributes:
        track: its id.
        timescale: units a second.
        shift_seconds: what is added to a media time to get the time at which it is shown.
        default_duration: of a sample, where a fragment says none.
        default_flags: of a sample, likewise.
    """

    track: int
    timescale: int
    shift_seconds: Fraction
    default_duration: int
    default_flags: int

    def seconds(self, media_time: int) -> Fraction:
        """Return when a media time is shown."""
        return Fraction(media_time, self.timescale) + self.shift_seconds


@dataclass(frozen=True, slots=True)
class FileHead:
    """The head of a file.

    Attributes:
        start: the bytes that every stretch needs before it (`ftyp` and `moov`).
        video: the video track.
        index: where the fragments are.
    """

    start: bytes
    video: VideoTrack
    index: FragmentIndex

    def shown(self, index_time: int) -> Fraction:
        """Return the seconds at which a time of the index is shown."""
        return Fraction(index_time, self.index.timescale) + self.video.shift_seconds

    @property
    def end_seconds(self) -> Fraction:
        """Where the video ends."""
        return self.shown(self.index.fragments[-1].stop)


def parse_head(data: bytes) -> FileHead | int:
    """Read the head of a file from its first bytes.

    Returns:
        The head, or how many first bytes it takes to read on where there are too few.

    Raises:
        UnfitFileError: the file has no index of fragments at its start, or is broken.
    """
    start, moov = b"", None
    at = 0
    while True:
        if at + ATOM_HEADER_BYTES > len(data):
            return _more(at + ATOM_HEADER_BYTES, data)
        atom = atom_at(data, at)
        if not at and atom.kind not in (b"ftyp", b"styp"):
            raise UnfitFileError("it is no mp4 file")
        if atom.kind in (b"moof", b"mdat"):
            raise UnfitFileError("it has no index of fragments before its pictures")
        if atom.stop > len(data):
            return _more(atom.stop + ATOM_HEADER_BYTES, data)
        if atom.kind in (b"ftyp", b"moov"):
            start += data[atom.start : atom.stop]
        if atom.kind == b"moov":
            moov = parse_moov(data, atom)
        if atom.kind == b"sidx" and moov is not None:
            index = parse_sidx(data, atom)
            if index.track != moov.track:
                raise UnfitFileError("its index is of another track")
            return FileHead(start, moov, index)
        at = atom.stop


def _more(count: int, data: bytes) -> int:
    if count > HEAD_LIMIT_BYTES:
        raise UnfitFileError("its head is longer than any honest one")
    return max(count, len(data) + 1)


def parse_moov(data: bytes, moov: Atom) -> VideoTrack:
    """Return the one video track of a fragmented file.

    Raises:
        UnfitFileError: it has none or several, is not fragmented, or its times are edited.
    """
    tracks = [atom for atom in atoms_in(data, moov.body, moov.stop) if atom.kind == b"trak"]
    videos = [atom for atom in tracks if _handler(data, atom) == b"vide"]
    if len(videos) != 1:
        raise UnfitFileError(f"it has {len(videos)} video tracks")
    extends = need(data, moov, b"mvex")
    header = Fields(data, need(data, videos[0], b"tkhd"))
    header.skip(16 if header.version else 8)
    track = header.u32()
    timescale = _timescale(data, need(data, videos[0], b"mdia", b"mdhd"))
    duration = flags = 0
    for atom in atoms_in(data, extends.body, extends.stop):
        if atom.kind == b"trex":
            fields = Fields(data, atom)
            if fields.u32() == track:
                fields.skip(4)
                duration, _, flags = fields.u32(), fields.u32(), fields.u32()
    movie = _timescale(data, need(data, moov, b"mvhd"))
    shift = _shift(data, find(data, videos[0], b"edts", b"elst"), movie, timescale)
    return VideoTrack(track, timescale, shift, duration, flags)


def _handler(data: bytes, trak: Atom) -> bytes:
    fields = Fields(data, need(data, trak, b"mdia", b"hdlr"))
    fields.skip(4)
    return fields.u32().to_bytes(4, "big")


def _timescale(data: bytes, atom: Atom) -> int:
    fields = Fields(data, atom)
    fields.skip(16 if fields.version else 8)
    timescale = fields.u32()
    if not 0 < timescale <= _TIMESCALE_LIMIT:
        raise UnfitFileError("its clock cannot be")
    return timescale


def _shift(data: bytes, elst: Atom | None, movie: int, timescale: int) -> Fraction:
    """Return what an edit list adds to every time: a pause before, or a part left out before."""
    shift = Fraction(0)
    if elst is None:
        return shift
    fields = Fields(data, elst)
    count = fields.u32()
    for number in range(min(count, 3)):
        length = fields.wide()
        begin = fields.s64() if fields.version else fields.s32()
        fields.skip(4)
        last = number == count - 1
        if begin == -1 and not last:
            shift += Fraction(length, movie)
        elif begin >= 0 and last:
            return shift - Fraction(begin, timescale)
        else:
            break
    raise UnfitFileError("its times are edited")
