"""Leases: at most one run at a time is at work on a rank, or on a video."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from trackverse_cli.files import make_folder
from trackverse_cli.leases.attempts import AttemptInfo, counter_of, read_info

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.leases.attempts import Attempt, Watch

_FREE = "-"
"""Stands in a lease whose holder has let it go."""


class Leases:
    """The leases of one run; several threads of it may use them.

    A lease is a chain of files `NAME.1`, `NAME.2`, …: whoever creates the next one holds it, and
    may do so only when the holder before is gone or has let go. Creating a file that must not
    exist succeeds for one of any number of rivals, on network file systems too.

    Args:
        folder: where the leases are.
        attempt: this run's sign of life.
        watch: tells which other runs are gone.

    Raises:
        UsageError: the folder cannot be made.
    """

    def __init__(self, folder: Path, attempt: Attempt, watch: Watch) -> None:
        make_folder(folder, "the folder of the leases")
        self._folder = folder
        self._attempt = attempt
        self._watch = watch
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Return whether the lease is this run's now; never waits.

        Raises:
            OSError: the disk refused.
        """
        with self._lock:
            number, holder = self._last(name)
            if holder == self._attempt.info.run:
                return True
            if number and not self._is_free(name, number, holder):
                return False
            return self._create(name, number + 1)

    def holder(self, name: str) -> AttemptInfo | None:
        """Return who holds a lease, None if nobody does, or if it cannot be told yet."""
        number, run = self._last(name)
        if not number or run in ("", _FREE):
            return None
        return read_info(self._attempt.folder / f"{run}.run")

    def is_mine(self, name: str) -> bool:
        """Say whether this run still holds a lease that it took."""
        return self._last(name)[1] == self._attempt.info.run

    def has_moved(self, name: str) -> bool:
        """Say whether the holder has given a sign of life since this run first asked for it."""
        return self._watch.has_moved(self._last(name)[1])

    def release(self, name: str) -> None:
        """Let a lease go; one that is not this run's any more is left alone."""
        with self._lock:
            number = self._held.pop(name, 0)
            if not number or not self.is_mine(name):
                return
            path = self._path(name, number)
            with suppress(OSError):
                if number == 1:
                    path.unlink()
                else:
                    # The chain below says where the end is: it must not get a gap.
                    path.write_text(_FREE, encoding="ascii")

    def release_all(self) -> None:
        """Let every lease of this run go."""
        for name in list(self._held):
            self.release(name)

    def _path(self, name: str, number: int) -> Path:
        return self._folder / f"{name}.{number}"

    def _last(self, name: str) -> tuple[int, str]:
        """Return the number of the last link and the run that it names; (0, "") for none."""
        number, holder = 0, ""
        while (found := self._read(name, number + 1)) is not None:
            number, holder = number + 1, found
        return number, holder

    def _read(self, name: str, number: int) -> str | None:
        try:
            fd = os.open(self._path(name, number), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(64).decode("ascii", "replace")

    def _is_free(self, name: str, number: int, holder: str) -> bool:
        if holder == _FREE:
            return True
        if holder:
            return self._watch.is_gone(holder)
        # Created and not written yet, or its writer was killed in between.
        path = self._path(name, number)
        counter = counter_of(path)
        return counter is not None and self._watch.stands_still(path.name, counter)

    def _create(self, name: str, number: int) -> bool:
        try:
            fd = os.open(self._path(name, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(fd, "wb") as file:
            file.write(self._attempt.info.run.encode())
        self._held[name] = number
        return True
