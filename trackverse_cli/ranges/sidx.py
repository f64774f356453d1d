"""The segment index of a fragmented mp4: which bytes hold which time (ISO 14496-12, 8.16.3)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from trackverse_cli.ranges.atoms import Fields, UnfitFileError

if TYPE_CHECKING:
    from trackverse_cli.ranges.atoms import Atom

LONGEST_SECONDS = 7 * 24 * 3600
"""A video that says it lasts longer is not believed."""

_LEADING_PICTURES_FROM = 3
"""From this type of access point on, pictures after it may need the fragment before."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment of the file.

    Attributes:
        first_byte: its offset in the file.
        size: its bytes.
        start: presentation time of its first picture, in units of the index's timescale.
        stop: where the next one starts.
        alone: whether its pictures can be decoded without an earlier fragment, as the index says.
    """

    first_byte: int
    size: int
    start: int
    stop: int
    alone: bool

    @property
    def end_byte(self) -> int:
        """The offset after its last byte."""
        return self.first_byte + self.size


@dataclass(frozen=True, slots=True)
class FragmentIndex:
    """The index of a file.

    Attributes:
        track: the id of the track whose times these are.
        timescale: units a second.
        fragments: side by side, in order.
    """

    track: int
    timescale: int
    fragments: tuple[Fragment, ...]

    @property
    def end_byte(self) -> int:
        """The offset after the last fragment."""
        return self.fragments[-1].end_byte

    @property
    def seconds(self) -> Fraction:
        """The time from the first picture to the end of the last."""
        first, last = self.fragments[0], self.fragments[-1]
        return Fraction(last.stop - first.start, self.timescale)


def parse_sidx(data: bytes, atom: Atom) -> FragmentIndex:
    """Return what a `sidx` atom says.

    Args:
        data: the file's first bytes, the whole atom among them.
        atom: the atom; offsets count from the start of the file.

    Raises:
        UnfitFileError: it is broken, of more than one level, or says what cannot be.
    """
    fields = Fields(data, atom)
    track, timescale = fields.u32(), fields.u32()
    at, offset = fields.wide(), fields.wide()
    count = fields.u32() & 0xFFFF
    if not timescale or not count or fields.left < 12 * count:
        raise UnfitFileError("its index holds no fragment")
    place = atom.stop + offset
    fragments = []
    for _ in range(count):
        size, duration, access = fields.u32(), fields.u32(), fields.u32()
        if size >> 31:
            raise UnfitFileError("its index is one of indexes")
        if not size or not duration:
            raise UnfitFileError("its index names an empty fragment")
        kind = access >> 28 & 7
        alone = bool(access >> 31) and kind < _LEADING_PICTURES_FROM
        fragments.append(Fragment(place, size, at, at + duration, alone))
        place, at = place + size, at + duration
    index = FragmentIndex(track, timescale, tuple(fragments))
    if index.seconds > LONGEST_SECONDS:
        raise UnfitFileError("its index is of more than a week")
    return index
