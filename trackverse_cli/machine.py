"""What this process may use of the machine."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the cores that this process may use, which a scheduler may have limited."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
