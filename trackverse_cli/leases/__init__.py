"""Who is at work on what: signs of life of runs, and leases on ranks and videos.

Nothing here relies on flock or on the clocks of two machines agreeing: a lease is taken by
creating a file that must not exist, and ends when its holder's counter stands still while the
observer's own monotonic clock goes on. A holder that was only asleep does no harm when it wakes:
all that it publishes is whole files by rename and lines in a ledger of its own.
"""

from trackverse_cli.leases.attempts import (
    BEAT_SECONDS,
    STANDSTILL_SECONDS,
    Attempt,
    AttemptInfo,
    Watch,
    read_attempts,
)
from trackverse_cli.leases.leases import Leases

__all__ = [
    "BEAT_SECONDS",
    "STANDSTILL_SECONDS",
    "Attempt",
    "AttemptInfo",
    "Leases",
    "Watch",
    "read_attempts",
]
