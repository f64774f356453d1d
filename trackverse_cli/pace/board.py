"""What stands in an egress's folder. All of it is in the names, so one listing tells everything.

A name is there or not: nothing can be read half-written, and a full disk leaves no torn state.

    s<turn>                                   a turn that was taken; created exclusively
    r<turn>.<ms>                              its taker says: so many milliseconds have passed
    q<order>.<interval ms>.<owner>.<beat>     somebody waits; the beat grows while he lives
    c<time ms>.<kind>.<ms>.<ms>.<ms>.<owner>  throttled (t) or eased (e): see `cooldown`
    h<order>.<kind>.<mark>.<video>.<owner>    how a request ended, where that matters: see `health`
    b<order>.<kind>.<mark>.<video>.<time ms>  a video that worked before has failed too
    x<order>.<mark>.<attempt>                 the right to try that video; created exclusively
    y<order>.<mark>.<attempt>.<beat>          whoever has it is alive
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.pace.cooldown import Event
from trackverse_cli.pace.diagnosis import Note

if TYPE_CHECKING:
    from collections.abc import Iterable

_SLOT = re.compile(r"s(\d{12})")
_RIPE = re.compile(r"r(\d{12})\.(\d{1,12})")
_TICKET = re.compile(r"q(\d{12})\.(\d{1,12})\.([0-9a-f]{16})\.(\d{1,12})")
_EVENT = re.compile(r"c(\d{15})\.([te])\.(\d{1,12})\.(\d{1,12})\.(\d{1,12})\.[0-9a-f]{16}")
_NOTE = re.compile(r"h(\d{12})\.([a-z]{2,12})\.([0-9a-f]{8})\.([\w-]{1,64})\.[0-9a-f]{16}", re.A)
_BROKEN = re.compile(r"b(\d{12})\.([a-z]{2,12})\.([0-9a-f]{8})\.([\w-]{1,64})\.(\d{1,15})", re.A)
_PROBE = re.compile(r"[xy](\d{12})\.([0-9a-f]{8})\.(\d{1,6})(?:\.(\d{1,12}))?")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Somebody waits for a turn.

    Attributes:
        order: the place in the line; less is earlier.
        interval_ms: the distance that he keeps.
        owner: 16 random hex digits.
        beat: grows with each look that he takes.
    """

    order: int
    interval_ms: int
    owner: str
    beat: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"q{self.order:012d}.{self.interval_ms}.{self.owner}.{self.beat}"

    @property
    def key(self) -> tuple[int, str]:
        """What stays the same from beat to beat; the line is sorted by it."""
        return (self.order, self.owner)


@dataclass(frozen=True, slots=True)
class Probe:
    """Somebody tries a video that worked before.

    Attributes:
        order: the state of things that he tries for.
        mark: the tool and cookies that he tries with.
        attempt: counted from 1; the next follows when one falls silent.
        beat: 0 before the first beat.
        name: the file's name.
    """

    order: int
    mark: str
    attempt: int
    beat: int
    name: str


@dataclass(frozen=True, slots=True)
class Board:
    """One listing, read.

    Attributes:
        turns: the numbers of turns taken, ascending.
        ripe_ms: turn -> how many milliseconds ago it was at least taken.
        tickets: those who wait, first come first.
        events: the cool-down's events, oldest first.
        notes: how requests ended, oldest first.
        probes: who tries.
    """

    turns: tuple[int, ...] = ()
    ripe_ms: tuple[tuple[int, int], ...] = ()
    tickets: tuple[Ticket, ...] = ()
    events: tuple[Event, ...] = ()
    notes: tuple[Note, ...] = ()
    probes: tuple[Probe, ...] = ()

    @property
    def last(self) -> int:
        """The number of the newest turn; 0 if there is none."""
        return self.turns[-1] if self.turns else 0


def read_board(names: Iterable[str]) -> Board:
    """Return what a folder's names say; a name of no known form is passed over."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name[:1], []).append(name)

    def found(kind: str, form: re.Pattern[str]) -> list[re.Match[str]]:
        return [m for name in kinds.get(kind, ()) if (m := form.fullmatch(name))]

    tickets = [Ticket(int(m[1]), int(m[2]), m[3], int(m[4])) for m in found("q", _TICKET)]
    events = [
        Event(int(m[1]), m[2] == "t", int(m[3]), int(m[4]), int(m[5]), m[0])
        for m in found("c", _EVENT)
    ]
    notes = [Note(int(m[1]), m[2], m[3], m[4], None, m[0]) for m in found("h", _NOTE)]
    notes += [Note(int(m[1]), m[2], m[3], m[4], int(m[5]), m[0]) for m in found("b", _BROKEN)]
    probes = [
        Probe(int(m[1]), m[2], int(m[3]), int(m[4] or 0), m[0])
        for m in (*found("x", _PROBE), *found("y", _PROBE))
    ]
    return Board(
        tuple(sorted(int(m[1]) for m in found("s", _SLOT))),
        tuple(sorted((int(m[1]), int(m[2])) for m in found("r", _RIPE))),
        tuple(sorted(tickets, key=lambda ticket: ticket.key)),
        tuple(sorted(events, key=lambda event: (event.at_ms, event.name))),
        tuple(sorted(notes, key=lambda note: (note.order, note.name))),
        tuple(sorted(probes, key=lambda probe: (probe.order, probe.attempt, probe.beat))),
    )


def turn_name(turn: int) -> str:
    """Return the name of a turn's file."""
    return f"s{turn:012d}"


def ripe_name(turn: int, waited_ms: int) -> str:
    """Return the name by which a taker says how long ago his turn was."""
    return f"r{turn:012d}.{waited_ms}"


def new_owner() -> str:
    """Return 16 hex digits that nobody else has."""
    return secrets.token_hex(8)
