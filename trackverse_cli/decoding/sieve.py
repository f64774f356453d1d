"""Which of the frames that a decoder gives are sound: damage spreads until the next key frame.

Decoders conceal what they cannot decode, and go on with frames that were predicted from it. What
one frame may be predicted from was sent before it; so from the first packet whose picture fails,
everything is suspect until the next key frame. Frames come in order of presentation: one that was
sent after a packet whose picture is not there yet has to wait until that one's fate is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

MOST_HELD = 32
"""Frames that may wait; no codec reorders over more, so beyond it the timestamps are odd."""


@dataclass(slots=True)
class _Run:
    """The packets from one key frame to the next, in the order of decoding.

    Attributes:
        key_pts: of the key frame; None before the first one.
        before: the run before it, as far as it is known.
        bad_from: the number of the first packet that failed.
        lead_bad: whether a picture failed that is shown before the key frame.
    """

    key_pts: int | None
    before: _Run | None
    bad_from: int | None = None
    lead_bad: bool = False


@dataclass(frozen=True, slots=True)
class _Sent:
    number: int
    pts: int
    run: _Run

    @property
    def leads(self) -> bool:
        """Whether it is shown before its key frame, so may need the run before."""
        return self.run.key_pts is not None and self.pts < self.run.key_pts

    def spoil(self) -> None:
        run = self.run
        if self.leads:
            run.lead_bad = True
        elif run.bad_from is None or self.number < run.bad_from:
            run.bad_from = self.number

    @property
    def suspect(self) -> bool:
        run = self.run
        if run.bad_from is not None and self.number >= run.bad_from:
            return True
        before = run.before
        return self.leads and (run.lead_bad or (before is not None and before.bad_from is not None))


class Sieve(Generic[T]):
    """Follows packets into a decoder and frames out of it."""

    def __init__(self) -> None:
        self._number = 0
        self._failed_at = 0
        self._run = _Run(None, None)
        self._waiting: dict[int, _Sent] = {}
        self._held: list[tuple[_Sent, T | None]] = []

    def sent(self, pts: int, *, is_key: bool, is_shown: bool = True, is_sound: bool = True) -> None:
        """Take note of a packet that goes to the decoder.

        Args:
            pts: of the picture in it.
            is_key: whether decoding can begin with it.
            is_shown: False for what an edit list leaves out.
            is_sound: False where the packet itself is known to be damaged.
        """
        self._number += 1
        if is_key:
            self._run.before = None
            self._run = _Run(pts, self._run)
        one = _Sent(self._number, pts, self._run)
        if not is_sound:
            one.spoil()
        if is_shown:
            self._waiting[pts] = one

    def failed(self) -> None:
        """Take note that the decoder refused one of the packets that it has got so far."""
        self._failed_at = self._number

    def came(self, pts: int, frame: T, *, is_corrupt: bool) -> Iterator[tuple[int, T | None]]:
        """Take a frame out of the decoder.

        Returns:
            What is settled by now, in order of presentation: (pts, frame), or (pts, None) of a
            picture that is lost or suspect.
        """
        one = self._waiting.pop(pts, None) or _Sent(self._number, pts, self._run)
        if is_corrupt:
            one.spoil()
        self._give_up(pts)
        self._held.append((one, frame))
        return self._settled(at_end=False)

    def end(self) -> Iterator[tuple[int, T | None]]:
        """Return what is left when the decoder has nothing more."""
        self._give_up(None)
        return self._settled(at_end=True)

    def _give_up(self, pts: int | None) -> None:
        """Count what should have come before `pts` as lost."""
        late = sorted(one for one in self._waiting if pts is None or one < pts)
        for which in late:
            one = self._waiting.pop(which)
            # Without a failure it is no loss: some pictures are only there to be predicted from.
            if one.number <= self._failed_at:
                one.spoil()
            self._held.append((one, None))

    def _settled(self, *, at_end: bool) -> Iterator[tuple[int, T | None]]:
        while self._held:
            one, frame = self._held[0]
            first = next(iter(self._waiting.values()), None)
            is_open = first is not None and first.number < one.number
            if is_open and not at_end and len(self._held) <= MOST_HELD:
                return
            del self._held[0]
            if one.suspect:
                yield one.pts, None
            elif frame is not None:
                yield one.pts, frame
