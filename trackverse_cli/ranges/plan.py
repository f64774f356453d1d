"""Which fragments some spans need, and in which requests to ask for them: pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from trackverse_cli.ranges.header import FileHead
    from trackverse_cli.ranges.sidx import FragmentIndex

REQUEST_LIMIT_BYTES = 8 << 20
"""YouTube slows requests for more than 10 MiB down."""

GAP_BYTES = 64 << 10
"""Less than this between two stretches costs more in a second request than in bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask for.

    Attributes:
        chosen: the numbers of the fragments, in order.
        requests: (first byte, end byte) of each request, in order; they hold every fragment.
        wanted_bytes: of all requests together.
    """

    chosen: tuple[int, ...]
    requests: tuple[tuple[int, int], ...]

    @property
    def wanted_bytes(self) -> int:
        """The bytes of all requests together."""
        return sum(stop - start for start, stop in self.requests)


def make_plan(
    head: FileHead,
    spans: Iterable[tuple[float, float]],
    margin_seconds: float,
    also: Collection[int] = (),
) -> Plan:
    """Return which fragments to fetch.

    Args:
        head: the file's head.
        spans: (start, stop) in seconds of the presentation.
        margin_seconds: what is taken besides, on both sides of every span.
        also: numbers of fragments that are wanted whatever the spans say.
    """
    chosen = set(also)
    # In the order of time, so that tens of thousands of fragments are not gone through each time.
    starts = [head.shown(fragment.start) for fragment in head.index.fragments]
    stops = [*starts[1:], head.end_seconds]
    for start, stop in spans:
        first, last = start - margin_seconds, stop + margin_seconds
        chosen.update(range(bisect_left(stops, first), bisect_right(starts, last)))
        if last > head.end_seconds:
            # A reader takes the end of the video from its beginning and its length.
            chosen.update((0, len(head.index.fragments) - 1))
    ordered = tuple(sorted(_with_what_they_need(chosen, head.index)))
    return Plan(ordered, _requests(ordered, head.index))


def _with_what_they_need(chosen: Collection[int], index: FragmentIndex) -> set[int]:
    """Return the fragments and those before them without which they cannot be decoded."""
    complete = set(chosen)
    # From the last to the first, each once: an index may say of none that it stands alone.
    for number in range(max(chosen, default=0), 0, -1):
        if number in complete and not index.fragments[number].alone:
            complete.add(number - 1)
    return complete


def _requests(chosen: Sequence[int], index: FragmentIndex) -> tuple[tuple[int, int], ...]:
    pieces: list[tuple[int, int]] = []
    for number in chosen:
        fragment = index.fragments[number]
        start, stop = fragment.first_byte, fragment.end_byte
        if pieces and start - pieces[-1][1] < GAP_BYTES:
            pieces[-1] = (pieces[-1][0], stop)
        else:
            pieces.append((start, stop))
    return tuple(part for piece in pieces for part in _parts(*piece))


def _parts(start: int, stop: int) -> list[tuple[int, int]]:
    """Split a long request into equal ones that are not."""
    count = -(-(stop - start) // REQUEST_LIMIT_BYTES)
    size = -(-(stop - start) // count)
    return [(at, min(stop, at + size)) for at in range(start, stop, size)]
