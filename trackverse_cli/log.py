"""Where messages go: one console on standard error, shared by log lines and progress bars."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from trackverse_cli.redaction import redacted

if TYPE_CHECKING:
    from loguru import Message, Record
    from rich.console import Console


@lru_cache(maxsize=1)
def console() -> Console:
    """Return the console of standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def set_up_logging(verbosity: int) -> None:
    """Send log lines to standard error.

    Args:
        verbosity: -1 warnings only, 0 what happens, 1 and more how.
    """
    from loguru import logger

    logger.remove()
    logger.configure(patcher=_without_secrets)
    level = "WARNING" if verbosity < 0 else "INFO" if verbosity == 0 else "DEBUG"
    if console().is_terminal:
        logger.add(_to_console, level=level, format="{message}", colorize=False)
    else:
        logger.add(
            sys.stderr, level=level, format="{time:YYYY-MM-DD HH:mm:ss} {level:<7} {message}"
        )


def _without_secrets(record: Record) -> None:
    """Take out of a line what is secret, and what a terminal would act on."""
    record["message"] = plain(redacted(record["message"]))


def plain(text: str) -> str:
    """Return a text of lines without anything else that a terminal would act on."""
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c == "\n"
        else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def _to_console(message: Message) -> None:
    style = {"WARNING": "yellow", "ERROR": "red", "DEBUG": "dim"}.get(message.record["level"].name)
    console().print(str(message).rstrip("\n"), style=style, markup=False, soft_wrap=True)
