"""The disk budget of source videos: over all ranks and stages of one dataset folder.

A run announces what it is about to bring, then adds up what is on disk and what all runs have
announced, and withdraws if that is too much. Two that announce at once may both withdraw, but
never both go ahead. Bytes that others brought since the last count are known by their
announcements, so that the videos need not be counted before every download.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec
from loguru import logger

from trackverse_cli.errors import StorageFullError
from trackverse_cli.files import atomic_write_bytes, make_folder
from trackverse_cli.leases import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trackverse_cli.download import Patience
    from trackverse_cli.layout import Layout

EXPECTED_BYTES = 64_000_000
"""What a video is taken to need until one has come: minutes of 720p."""

MARGIN = 1.5
"""How much larger than the largest so far the next video may be."""

COUNT_SECONDS = 5.0
"""Time between two counts of what is on disk, and longer where a count takes long."""

ROOM_SECONDS = 5.0
"""Time between two tries on a full disk."""

_WAIT_SECONDS = (0.5, 1.5)
T = TypeVar("T")


class _Announced(msgspec.Struct, frozen=True):
    """What one run says: bytes on their way, and bytes brought since it began."""

    coming: int = 0
    brought: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much source videos may take.

    Attributes:
        budget_bytes: of all source videos together, unfinished ones too; None for no limit.
        least_free_bytes: what is to stay free on their file system.
        wait_seconds: how long to wait for room while nothing is freed.
    """

    budget_bytes: int | None = None
    least_free_bytes: int = 0
    wait_seconds: float = 600.0

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.budget_bytes is not None or self.least_free_bytes > 0


class Room:
    """Waits for room when the storage is full.

    Args:
        patience: what waits.
        wait_seconds: how long, before the run ends.
    """

    def __init__(self, patience: Patience, wait_seconds: float) -> None:
        self._patience = patience
        self._wait_seconds = wait_seconds

    def patient(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, trying again while it finds the storage full.

        Raises:
            StorageFullError: it was full for as long as there is to wait.
            StoppedError: the run is to end.
        """
        clock = self._patience.clock
        begun = clock.monotonic()
        told = False
        while True:
            try:
                return work()
            except StorageFullError as error:
                if clock.monotonic() - begun >= self._wait_seconds:
                    raise
                if not told:
                    logger.warning("{}; waiting for room", error)
                    told = True
            self._patience.wait(ROOM_SECONDS)


class Budget:
    """Room for the videos that one run brings; used by one thread.

    Args:
        layout: the dataset folder.
        limits: how much there may be.
        run: the id of this run.
        patience: what waits, and what the time is taken from.
    """

    def __init__(self, layout: Layout, limits: Limits, run: str, patience: Patience) -> None:
        self._layout = layout
        self._limits = limits
        self._folder = layout.state / "budget"
        self._path = self._folder / run
        self._patience = patience
        self._clock = patience.clock
        self._watch = Watch(layout.runs, self._clock)
        self._brought = 0
        self._largest = 0
        self._counted = 0
        self._known: dict[str, int] = {}
        self._next_count = self._clock.monotonic()

    def __enter__(self) -> Self:
        if self._limits.any:
            make_folder(self._folder, "the folder of the disk budget")
            self._announce(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)

    @property
    def expected_bytes(self) -> int:
        """What the next video is taken to need."""
        guess = int(self._largest * MARGIN) if self._largest else EXPECTED_BYTES
        if self._limits.budget_bytes is None:
            return guess
        # Until one has come, a small budget must not be taken by guesses alone.
        share = 1 if self._largest else 8
        return min(guess, self._limits.budget_bytes // share)

    def ask(self, video_bytes: int | None = None, let_go: Callable[[], None] | None = None) -> None:
        """Wait until there is room for a video, and announce it.

        Args:
            video_bytes: its size where it is known.
            let_go: called while there is no room, to free what only waits to be let go.

        Raises:
            StorageFullError: nothing was freed for as long as there is to wait.
            StoppedError: the run is to end.
        """
        if not self._limits.any:
            return
        wanted = self.expected_bytes if video_bytes is None else video_bytes
        least, since = None, self._clock.monotonic()
        while True:
            self._announce(wanted)
            used, others = self._used()
            problem = self._problem(used, wanted)
            if problem is None:
                return
            self._announce(0)
            if let_go is not None:
                let_go()
            now = self._clock.monotonic()
            if least is None or used - others < least:
                least, since = used - others, now
            if now - since >= self._limits.wait_seconds:
                raise StorageFullError(
                    f"{problem}, and for {self._limits.wait_seconds / 60:.0f} minutes nothing was "
                    "removed; cut and remove videos (--remove-videos), or raise the limit, then "
                    "run the same command again"
                )
            pause = random.uniform(*_WAIT_SECONDS)  # noqa: S311 - so that two do not ask in step
            self._patience.wait(pause)

    def came(self, video_bytes: int) -> None:
        """Say that a video is in its place."""
        self._brought += video_bytes
        self._largest = max(self._largest, video_bytes)
        if self._limits.any:
            self._announce(0)

    def dropped(self) -> None:
        """Say that the video did not come."""
        if self._limits.any:
            self._announce(0)

    def _problem(self, used: int, wanted: int) -> str | None:
        """Return which limit would be broken, None if none."""
        budget, least = self._limits.budget_bytes, self._limits.least_free_bytes
        if budget is not None and used > budget:
            return (
                f"the source videos below {self._layout.arrivals} would take {used / 1e9:,.2f} GB "
                f"of a budget of {budget / 1e9:,.2f} GB"
            )
        if least and shutil.disk_usage(self._layout.arrivals).free - wanted < least:
            return f"less than {least / 1e9:,.2f} GB would be free for {self._layout.arrivals}"
        return None

    def _announce(self, coming: int) -> None:
        said = msgspec.json.encode(_Announced(coming, self._brought))
        atomic_write_bytes(self._path, said)

    def _used(self) -> tuple[int, int]:
        """Return (bytes on disk and announced, the announced ones among them)."""
        said = dict(self._said())
        begun = self._clock.monotonic()
        if begun >= self._next_count:
            self._counted = sum(_sizes(self._layout.arrivals))
            self._known = {run: one.brought for run, one in said.items()}
            spent = self._clock.monotonic() - begun
            self._next_count = begun + max(COUNT_SECONDS, 20 * spent)
        since = sum(max(0, one.brought - self._known.get(run, 0)) for run, one in said.items())
        coming = sum(one.coming for one in said.values())
        return self._counted + since + coming, coming

    def _said(self) -> Iterator[tuple[str, _Announced]]:
        """Yield what each run that is not gone has announced."""
        for path in self._folder.iterdir():
            if path != self._path and self._watch.is_gone(path.name):
                continue
            try:
                yield path.name, msgspec.json.decode(path.read_bytes(), type=_Announced)
            except (OSError, msgspec.DecodeError):
                continue


def _sizes(folder: Path) -> Iterator[int]:
    """Yield the bytes on disk of every file below a folder; what goes meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(folder / entry.name)
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
