"""The fleet's health: failures in a row over all ranks, one trial, one verdict; no lock, no clock.

Whatever ends well resets the row. When too many different videos fail in a row, all pause and one
rank tries a video that worked before. Its success lets all go on; its failure is the verdict. The
right to try is an exclusive create; it passes on when its holder's beat stands still.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from trackverse_cli.pace.board import new_owner, read_board
from trackverse_cli.pace.diagnosis import NOBODY, SUSPICIOUS, Diagnosis, Outcome, diagnose

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.clock import Clock
    from trackverse_cli.pace.board import Board
    from trackverse_cli.pace.folder import Folder, TimeSource

_SILENT_SECONDS = 20.0
_LONGEST_TRIAL_SECONDS = 600.0
_OK_EVERY_SECONDS = 600.0
_KEPT_OKS = 3
_KEPT_NOTES = 200
_VIDEO_ID = re.compile(r"[\w-]{1,64}", re.ASCII)

BEAT_EVERY_SECONDS: Final = 5.0


class Course(Enum):
    """What a rank does next."""

    GO = "go"
    PAUSE = "pause"
    PROBE = "probe"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rank does next, and about what.

    Attributes:
        course: go on, wait and ask again, try a video, or end.
        video_id: the video to try, which worked before (PROBE).
        reason: the kind of failure: tool, forbidden or cookies (PAUSE, PROBE, BROKEN).
        failed: how many videos failed in a row.
    """

    course: Course
    video_id: str = ""
    reason: str = ""
    failed: int = 0


@dataclass(slots=True)
class _Trial:
    order: int
    mark: str
    attempt: int
    video_id: str
    since: float
    name: str
    beat: int = 0


class Health:
    """What one process knows of the fleet's health; its threads share it.

    Args:
        folder: the egress's folder.
        time: the shared time.
        clock: its monotonic side tells whether a trial goes on.
        in_a_row: after so many different videos, something is wrong.
        mark: returns the current tool and cookies as 8 hex digits.
        worked_before: returns a video that the caller's ledger says came, or None.
    """

    def __init__(
        self,
        folder: Folder,
        time: TimeSource,
        clock: Clock,
        in_a_row: int,
        mark: Callable[[], str],
        worked_before: Callable[[], str | None],
    ) -> None:
        self._folder = folder
        self._time = time
        self._clock = clock
        self._in_a_row = in_a_row
        self._mark = mark
        self._worked_before = worked_before
        self._lock = threading.Lock()
        self._trial: _Trial | None = None
        self._watched: dict[tuple[int, str, int], tuple[int, float]] = {}
        self._ok_written: tuple[str, float] | None = None

    def verdict(self) -> Verdict:
        """Return what to do next; PROBE comes to one rank of all, and to one thread of it.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        board = read_board(self._folder.names())
        mark = self._mark()
        found = self._diagnose(board, mark)
        if found.broken is not None:
            return Verdict(Course.BROKEN, reason=found.broken, failed=found.failed)
        if not found.suspect:
            return Verdict(Course.GO)
        with self._lock:
            return self._suspect(board, mark, found)

    def _diagnose(self, board: Board, mark: str) -> Diagnosis:
        now_ms = 0
        if any(note.broken_ms is not None for note in board.notes):
            now_ms = self._time.now_ms()
        return diagnose(board.notes, mark, now_ms, self._in_a_row)

    def _suspect(self, board: Board, mark: str, found: Diagnosis) -> Verdict:
        pause = Verdict(Course.PAUSE, reason=found.kind, failed=found.failed)
        if self._trial is not None and self._going(self._trial):
            return pause
        attempt = self._free_attempt(board, mark, found.order)
        if attempt is None:
            return pause
        name = f"x{found.order:012d}.{mark}.{attempt}"
        if not self._folder.create(name):
            return pause
        video_id = self._candidate(found, attempt)
        if video_id is None:
            self._write_broken(board, found.kind or Outcome.TOOL, mark, NOBODY)
            return Verdict(Course.BROKEN, reason=found.kind, failed=found.failed)
        since = self._clock.monotonic()
        self._trial = _Trial(found.order, mark, attempt, video_id, since, name)
        return Verdict(Course.PROBE, video_id, found.kind, found.failed)

    def _candidate(self, found: Diagnosis, attempt: int) -> str | None:
        if found.worked:
            return found.worked[(attempt - 1) % len(found.worked)]
        known = self._worked_before()
        return known if known and _VIDEO_ID.fullmatch(known) else None

    def _free_attempt(self, board: Board, mark: str, order: int) -> int | None:
        """Return the number under which the right to try is free, None while somebody has it."""
        mine = [p for p in board.probes if (p.order, p.mark) == (order, mark)]
        if not mine:
            return 1
        attempt = max(probe.attempt for probe in mine)
        beat = max(probe.beat for probe in mine if probe.attempt == attempt)
        key, now = (order, mark, attempt), self._clock.monotonic()
        seen, since = self._watched.get(key, (-1, now))
        if seen != beat:
            self._watched = {key: (beat, now)}
            return None
        return attempt + 1 if now - since >= _SILENT_SECONDS else None

    def _going(self, trial: _Trial) -> bool:
        return self._clock.monotonic() - trial.since < _LONGEST_TRIAL_SECONDS

    def beat(self) -> bool:
        """Show that an own trial goes on; False if there is none.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        with self._lock:
            trial = self._trial
            if trial is None or not self._going(trial):
                return False
            trial.beat += 1
            stem = trial.name.replace("x", "y", 1)
            old, new = f"{stem}.{trial.beat - 1}", f"{stem}.{trial.beat}"
        if not self._folder.rename(old, new):
            self._folder.create(new)
        return True

    def give_up_trial(self) -> None:
        """Let another rank try, say because this one has to end."""
        with self._lock:
            self._trial = None

    def note(self, outcome: Outcome, video_id: str) -> None:
        """Take down how a request ended; most successes cost one listing and no write.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        video_id = video_id if _VIDEO_ID.fullmatch(video_id) else NOBODY
        with self._lock:
            trial = self._trial
            tried = trial is not None and trial.video_id == video_id
            if tried:
                self._trial = None
        if outcome is Outcome.OK:
            self._note_ok(video_id)
        elif outcome in SUSPICIOUS:
            board, mark = read_board(self._folder.names()), self._mark()
            if trial is not None and tried:
                self._write_broken(board, outcome, trial.mark, video_id)
            else:
                self._write(board, outcome, mark, video_id)

    def _note_ok(self, video_id: str) -> None:
        board, mark = read_board(self._folder.names()), self._mark()
        found = self._diagnose(board, mark)
        written, now = self._ok_written, self._clock.monotonic()
        known = len(found.worked) >= _KEPT_OKS
        recent = written is not None and written[0] == mark and now - written[1] < _OK_EVERY_SECONDS
        if not (found.failed or found.broken or found.suspect) and (recent or known):
            return
        self._ok_written = (mark, now)
        order = self._write(board, Outcome.OK, mark, video_id)
        self._tidy(board, mark, order)

    def _write(self, board: Board, outcome: Outcome, mark: str, video_id: str) -> int:
        order = _next_order(board)
        self._folder.create(f"h{order:012d}.{outcome}.{mark}.{video_id}.{new_owner()}")
        return order

    def _write_broken(self, board: Board, outcome: str, mark: str, video_id: str) -> None:
        now_ms = self._time.now_ms()
        self._folder.create(f"b{_next_order(board):012d}.{outcome}.{mark}.{video_id}.{now_ms}")

    def _tidy(self, board: Board, mark: str, order: int) -> None:
        """Remove what a success has settled; the latest successes and other tools' notes stay."""
        oks = [note for note in board.notes if note.kind == Outcome.OK]
        settled = [n for n in board.notes if n.kind != Outcome.OK and n.mark == mark]
        probes = [p.name for p in board.probes if p.mark == mark and p.order < order]
        old = {n.name for n in (*oks[:-_KEPT_OKS], *settled, *board.notes[:-_KEPT_NOTES])}
        for name in (*old, *probes):
            self._folder.remove(name)


def _next_order(board: Board) -> int:
    return 1 + max((note.order for note in board.notes), default=0)
