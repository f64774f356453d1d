"""A signal ends the main thread's wait, whichever thread the kernel gives it to."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

WAITING = """
    import threading
    from trackverse_cli.errors import StoppedError
    from trackverse_cli.signals import stop_on_signals

    def worker():
        threading.Event().wait()

    for _ in range(4):
        threading.Thread(target=worker, daemon=True).start()
    try:
        with stop_on_signals(30.0) as stop:
            print("ready", flush=True)
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
    except StoppedError as error:
        print(error.exit_code, stop.is_set(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_without_end_is_ended(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WAITING)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert out.split() == [str(128 + number), "True"]


THREAD_TAKES_IT = """
    import os, signal, threading, time
    from trackverse_cli.errors import StoppedError
    from trackverse_cli.signals import stop_on_signals

    def shoot():
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    try:
        with stop_on_signals(30.0):
            threading.Thread(target=shoot, daemon=True).start()
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
    except StoppedError as error:
        print(error.exit_code, flush=True)
"""


def test_a_signal_that_another_thread_takes_ends_it_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(THREAD_TAKES_IT)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "143"
