"""Signals end a run in order: what is finished stays, what is not is discarded."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trackverse_cli.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

GRACE_SECONDS = 2.5
"""After this a rank ends, whatever still hangs: a scheduler kills soon after it asked."""

CANCEL_GRACE_SECONDS = 10.0
"""The same for a process that has ranks of its own to end first."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(grace_seconds: float = GRACE_SECONDS) -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets; the main thread is interrupted as well.

    Args:
        grace_seconds: after this the process ends, whatever still hangs.

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
        timer = threading.Timer(grace_seconds, os._exit, (128 + signum,))
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        with _main_thread_woken():
            yield stop
    except (KeyboardInterrupt, StoppedError) as error:
        raise StoppedError(arrived[0] if arrived else int(signal.SIGTERM)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _main_thread_woken() -> Iterator[None]:
    """Let a signal end the main thread's wait even if the kernel gave it to another thread.

    Python runs handlers in the main thread alone, and a wait for a lock there goes on as long as
    nothing interrupts that very thread.
    """
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    main = threading.main_thread().ident
    assert main is not None

    def kick() -> None:
        arrived = ours.recv(1)
        if arrived and arrived[0] in STOP_SIGNALS:
            signal.pthread_kill(main, arrived[0])

    waker = threading.Thread(target=kick, name="signals", daemon=True)
    waker.start()
    earlier = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        pythons.close()
        waker.join(1.0)
        ours.close()
