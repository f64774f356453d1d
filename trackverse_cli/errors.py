"""The error tree: what can go wrong in a person's terms, and the exit code of each kind.

Every message is one sentence that names what failed, where, and what to do next; it is printed
without a traceback unless `-v` is given.
"""

from __future__ import annotations


class TrackverseError(Exception):
    """Something that a person can be told in one sentence; exit code 1: a retry may win more."""

    exit_code = 1


class DamagedFileError(TrackverseError):
    """A file that is there but fails its check."""


class UsageError(TrackverseError):
    """Wrong use: an argument, a file or a folder that cannot be what was meant."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value that is unknown, of the wrong type or missing."""


class IndexUnusableError(UsageError):
    """The index is not there or does not belong to its metadata file any more."""


class RefusedNameError(UsageError):
    """A name from metadata that could lead out of the dataset folder, or is no valid id."""


class LacksError(TrackverseError):
    """This machine lacks something (network, tool, plugin); no item is at fault."""

    exit_code = 3


class TryLaterError(TrackverseError):
    """Stopped early through nobody's fault (throttled, storage full); run again later."""

    exit_code = 75


class StorageFullError(TryLaterError):
    """No space, no quota or no file left: what is removed meanwhile may make room."""


class StoppedError(TrackverseError):
    """A signal ended the run; its number decides the exit code.

    Args:
        signum: the signal that arrived.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}; run the same command again to go on")
        self.exit_code = 128 + signum


class ItemError(TrackverseError):
    """One item (a video, a track) cannot be done; the run goes on and the ledger keeps the reason.

    Args:
        reason: one word of the ledger's vocabulary (`trackverse_cli.reasons`).
        message: one sentence with the numbers that decided it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
