"""What this process may use of the machine."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

STEPS_BACK = 3
"""Two threads so much nicer than a third leave it a core where there are two."""


def usable_cores() -> int:
    """Return the cores that this process may use, which a scheduler may have limited."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def step_back() -> None:
    """Let the process's other threads go before the calling one, where the system can do that."""
    if sys.platform != "linux":
        return  # elsewhere only whole processes have a niceness
    thread = threading.get_native_id()
    with suppress(OSError):
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, now + STEPS_BACK)
