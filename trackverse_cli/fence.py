"""What keeps two runs off the same rank and the same video."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, Self

from trackverse_cli.download import Patience
from trackverse_cli.errors import TryLaterError
from trackverse_cli.files import STORAGE_FULL, storage_full
from trackverse_cli.leases import (
    BEAT_SECONDS,
    STANDSTILL_SECONDS,
    Attempt,
    Leases,
    Watch,
)
from trackverse_cli.leases.attempts import attempt_info

if TYPE_CHECKING:
    import threading

    from trackverse_cli.clock import Clock
    from trackverse_cli.layout import Layout

JOB_VARIABLE = "TRACKVERSE_JOB"
"""The id of the job that a rank belongs to, set by `submit`."""

LOOK_SECONDS = 1.0
Work = Literal["download", "cut"]


def work_key(identity: str, recipe: str, stage: str, world_size: int) -> str:
    """Return 16 hex digits that name what the ranks of a job are asked for.

    Args:
        identity: the catalogue's: its metadata files and its selection.
        recipe: how clips are cut.
        stage: the command.
        world_size: how many ranks share the work.
    """
    text = f"{identity} {recipe} {stage} {world_size}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Fence:
    """One run's sign of life, its lease on the rank, and those on the videos that it is at.

    Args:
        layout: the dataset folder.
        stage: the command.
        rank: in [0, world_size).
        world_size: how many ranks share the work.
        key: what the rank is asked for (`work_key`).
        clock: what decides that another run stands still.
        stop: ends a wait once it is set.
        still_seconds: a run whose counter stands still for so long is gone.
        beat_seconds: time between this run's own signs of life.
    """

    def __init__(
        self,
        layout: Layout,
        stage: str,
        rank: int,
        world_size: int,
        key: str,
        clock: Clock,
        stop: threading.Event | None = None,
        still_seconds: float = STANDSTILL_SECONDS,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self.run = secrets.token_hex(6)
        self.job = os.environ.get(JOB_VARIABLE, "")
        self._info = attempt_info(self.run, stage, rank, world_size, self.job, clock)
        self._layout = layout
        self._name = f"rank-{key}-{rank:04d}"
        self._patience = Patience(clock, stop)
        self._watch = Watch(layout.runs, clock, still_seconds)
        self._beat_seconds = beat_seconds
        self._leases: Leases | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Give signs of life, and wait until the rank is this run's.

        Raises:
            TryLaterError: another run is at work on the rank.
            StoppedError: `stop` was set while waiting.
        """
        with ExitStack() as stack:
            attempt = stack.enter_context(
                Attempt(self._layout.runs, self._info, self._beat_seconds)
            )
            leases = self._leases = Leases(self._layout.leases, attempt, self._watch)
            stack.callback(leases.release_all)
            while not leases.take(self._name):
                if leases.has_moved(self._name):
                    raise TryLaterError(self._told(leases))
                self._patience.wait(LOOK_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def claim(self, work: Work, video_id: str) -> bool:
        """Return whether this run may do this work on a video now.

        Raises:
            StorageFullError: the lease cannot be written.
        """
        assert self._leases is not None
        try:
            return self._leases.take(f"{work}-{video_id}")
        except OSError as error:
            if error.errno not in STORAGE_FULL:
                raise
            raise storage_full(error, self._layout.leases) from error

    def release(self, work: Work, video_id: str) -> None:
        """Say that the work on a video is over, or was not begun."""
        assert self._leases is not None
        self._leases.release(f"{work}-{video_id}")

    def is_alive_elsewhere(self, work: Work, video_id: str) -> bool:
        """Say whether the run that is at a video has given a sign of life since the last ask."""
        assert self._leases is not None
        return self._leases.has_moved(f"{work}-{video_id}")

    def _told(self, leases: Leases) -> str:
        info, holder = self._info, leases.holder(self._name)
        where = f" ({holder.told})" if holder else ""
        job = f" of job {holder.job}" if holder and holder.job else ""
        return (
            f"rank {info.rank} of {info.world_size} is at work already in another run{job}{where}; "
            "let that one end, or stop it with `trackverse cancel`, then run this again"
        )
