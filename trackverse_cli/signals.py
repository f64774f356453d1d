"""Signals end a run in order: what is finished stays, what is not is discarded."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trackverse_cli.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

GRACE_SECONDS = 2.5
"""After this the process ends, whatever still hangs: a scheduler kills soon after it asked."""


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets; the main thread is interrupted as well.

    Raises:
        StoppedError: a signal arrived; its exit code is 128 + the signal's number.
    """
    stop = threading.Event()
    arrived: list[int] = []

    def handle(signum: int, _frame: FrameType | None) -> None:
        if arrived:
            return
        arrived.append(signum)
        stop.set()
        timer = threading.Timer(GRACE_SECONDS, os._exit, (128 + signum,))
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except (KeyboardInterrupt, StoppedError) as error:
        raise StoppedError(arrived[0] if arrived else int(signal.SIGTERM)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
