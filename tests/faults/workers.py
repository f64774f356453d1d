"""Forks of this process that share the work, ask a question, or are left behind."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import sys
import time
import traceback
from typing import TYPE_CHECKING, TypeVar

from tests.faults.process import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

_STRAGGLER_SECONDS = 20.0
_PR_SET_CHILD_SUBREAPER = 36


def asked(work: Callable[[], T], folder: Path) -> T:
    """Return what `work` returns in a fork of this process, which stays without threads."""
    answer = folder / "answer"
    answer.unlink(missing_ok=True)

    def inner() -> int:
        answer.write_bytes(pickle.dumps(work()))
        return 0

    ended = in_child(inner, folder / "asked.log")
    if ended.code:
        raise RuntimeError(ended.said)
    value: T = pickle.loads(answer.read_bytes())
    return value


def reap() -> None:
    """Wait for the processes that a killed command left, which end by themselves."""
    late = time.monotonic() + _STRAGGLER_SECONDS
    while time.monotonic() < late:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.02)
    raise RuntimeError(f"a process lives on {_STRAGGLER_SECONDS:.0f} s after its command")


def adopt_orphans() -> None:
    """Become the parent of what a killed command leaves."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def work_off(
    items: Sequence[T],
    folder: Path,
    work: Callable[[T, Path], dict[str, object]],
    workers: int,
    late: float = float("inf"),
) -> list[dict[str, object]]:
    """Do every item in one of some forks of this process; return what came, in no order.

    Args:
        items: what is to be done.
        folder: each fork gets a folder below it.
        work: does one item in a folder and returns what JSON can hold.
        workers: how many forks.
        late: what `time.monotonic` says when no more are begun.
    """
    read, write = os.pipe()
    children = []
    for number in range(workers):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.close(write)
                _take_items(items, folder / f"worker-{number}", work, read, late)
                code = 0
            except BaseException:  # noqa: BLE001 - it is told, whatever it is
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
    os.close(read)
    for index in range(len(items)):
        os.write(write, index.to_bytes(4, "big"))
    os.close(write)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert not any(codes), f"workers ended with {codes}"
    found = []
    for number in range(workers):
        lines = (folder / f"worker-{number}" / "results.jsonl").read_text().splitlines()
        found += [json.loads(line) for line in lines]
    return found


def _take_items(
    items: Sequence[T],
    folder: Path,
    work: Callable[[T, Path], dict[str, object]],
    read: int,
    late: float,
) -> None:
    adopt_orphans()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.jsonl").open("w") as out:
        while index := os.read(read, 4):
            if time.monotonic() > late:
                continue
            result = work(items[int.from_bytes(index, "big")], folder)
            out.write(json.dumps(result) + "\n")
            out.flush()
