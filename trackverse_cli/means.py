"""Too little memory, threads or open files: the machine's fault, never an item's."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPTH = 8


def lacking(error: BaseException) -> LacksError | None:
    """Return what to tell a person if an error comes from a lack of memory, threads or files.

    Args:
        error: any error; what it was raised from, and what it gathered, are looked at too.
    """
    for one in _all_of(error, _DEPTH):
        if isinstance(one, MemoryError) or _number(one) == errno.ENOMEM:
            return _told("memory", "ask for more, or give --workers 1")
        if _is_of_threads(one):
            return _told("threads, or the memory for them", "ask for more, or give --workers 1")
        if _number(one) in (errno.EMFILE, errno.ENFILE):
            return _told("open files", "raise the limit (ulimit -n)")
    return None


def raise_if_lacking(error: BaseException) -> None:
    """Raise LacksError if an error comes from a lack of memory, threads or files."""
    if (lacks := lacking(error)) is not None:
        raise lacks from error


def ready_pool(
    workers: int, name: str, prepare: Callable[[], None] = lambda: None
) -> ThreadPoolExecutor:
    """Return a pool all of whose threads run already, so that no later `submit` can lack one.

    Args:
        workers: how many threads.
        name: what they are called.
        prepare: what each of them does first; it must not raise.

    Raises:
        LacksError: the system gives no more threads.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=prepare)
    begin = threading.Event()
    try:
        for _ in range(workers):
            pool.submit(begin.wait)
    except RuntimeError as error:
        begin.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise_if_lacking(error)
        raise
    begin.set()
    return pool


def _told(what: str, advice: str) -> LacksError:
    return LacksError(
        f"this process may have no more {what}: {advice}, then run the same command again; "
        "nothing that was finished is lost"
    )


def _is_of_threads(error: BaseException) -> bool:
    # By the words of these types alone: those of other errors may come from a server.
    home = type(error).__module__
    if home.startswith("pyarrow"):
        return "Failed to launch worker thread" in str(error)
    if home.startswith("av."):
        return _number(error) == errno.EAGAIN
    return type(error) is RuntimeError and str(error) == "can't start new thread"


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _all_of(error: BaseException, depth: int) -> list[BaseException]:
    """Return an error, those it came from, and those that it carries in lists."""
    below = [error.__cause__, error.__context__, getattr(error, "cause", None)]
    below += list(getattr(error, "unexpected_errors", ()))
    found = [error]
    for one in below if depth else ():
        if isinstance(one, BaseException):
            found += _all_of(one, depth - 1)
    return found
