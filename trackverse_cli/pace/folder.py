"""One egress's folder: create, rename, list, remove; and what its errors mean to a person."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn, Protocol

from trackverse_cli.errors import LacksError, TrackverseError, TryLaterError, UsageError
from trackverse_cli.pace.board import new_owner

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.clock import Clock

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG})
_RESYNC_SECONDS = 60.0


class Folder:
    """A folder of names that many hosts see.

    A folder that is gone is made anew: whoever watches it then starts his watch again.

    Args:
        path: where it is.

    Attributes:
        operations: how many calls went to the file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.operations = 0

    def names(self) -> list[str]:
        """Return every name in it.

        Raises:
            TrackverseError: it cannot be read or made.
        """
        self.operations += 1
        try:
            return os.listdir(self.path)  # noqa: PTH208 - names alone, and fast
        except FileNotFoundError:
            self._make()
            return []
        except OSError as error:
            self._refuse(error)

    def create(self, name: str) -> bool:
        """Create an empty file; False if there is one by this name.

        Raises:
            TrackverseError: it cannot be created.
        """
        for last_try in (False, True):
            self.operations += 1
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(self.path / name, flags, 0o666))
            except FileExistsError:
                return False
            except FileNotFoundError as error:
                if last_try:
                    self._refuse(error)
                self._make()
            except OSError as error:
                self._refuse(error)
            else:
                return True
        raise AssertionError("unreachable")

    def rename(self, old: str, new: str) -> bool:
        """Rename a file; False if it is gone.

        Raises:
            TrackverseError: it cannot be renamed.
        """
        self.operations += 1
        try:
            (self.path / old).rename(self.path / new)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._refuse(error)
        return True

    def exists(self, name: str) -> bool:
        """Say whether the name is there; asks the server even where listings are cached."""
        self.operations += 1
        try:
            os.close(os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except PermissionError:
            return True
        except OSError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file if that is possible; what stays is passed over by its readers."""
        self.operations += 1
        try:
            (self.path / name).unlink()
        except OSError:
            return

    def server_time(self) -> float:
        """Return the time that the file server gives to a new file, seconds since 1970.

        Raises:
            TrackverseError: no file can be created.
        """
        name = f".time-{new_owner()}"
        try:
            self.create(name)
            self.operations += 1
            return (self.path / name).stat().st_mtime
        except OSError as error:
            self._refuse(error)
        finally:
            self.remove(name)

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._refuse(error)

    def _refuse(self, error: OSError) -> NoReturn:
        raise explained(error, self.path) from error


def explained(error: OSError, path: Path) -> TrackverseError:
    """Return what an error of the pace's folder means to a person."""
    what = f"cannot keep the pace in {path}: {error.strerror}"
    if error.errno in _FULL:
        return TryLaterError(
            f"{what}; make room there (files count as well as bytes), "
            "then run the same command again"
        )
    if error.errno in _REFUSED:
        return UsageError(
            f"{what}; set [pace] dir to a folder that every rank can write to, "
            "or ask its owner for write access"
        )
    return LacksError(f"{what}; check that file system, or set [pace] dir to another")


class TimeSource(Protocol):
    """A time that all hosts agree on well enough for cool-downs."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        ...


class SharedTime:
    """The file server's clock, so that a host whose own clock is wrong agrees with the others.

    Where a file system stamps files with the host's clock (Lustre, GPFS), it is the host's clock;
    only cool-downs use it, and those are long. Turns use no clock but the observer's monotonic one.

    Args:
        folder: where a file is touched, once a minute at most.
        clock: what carries the time on in between.
    """

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._synced: tuple[float, float] | None = None

    def now_ms(self) -> int:
        """Return milliseconds since 1970.

        Raises:
            TrackverseError: the folder cannot be written to.
        """
        synced = self._synced
        mono = self._clock.monotonic()
        if synced is None or mono - synced[1] > _RESYNC_SECONDS:
            synced = (self._folder.server_time(), self._clock.monotonic())
            self._synced = synced
        return round((synced[0] + self._clock.monotonic() - synced[1]) * 1000)
