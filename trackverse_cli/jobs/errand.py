"""A short command run where a job's ranks would run, and what it answered."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from trackverse_cli import plugins
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import LacksError
from trackverse_cli.files import make_folder
from trackverse_cli.interfaces import Job
from trackverse_cli.jobs.follow import FAR_POLL_SECONDS, POLL_SECONDS, watch
from trackverse_cli.jobs.frozen import FILE_NAME, freeze
from trackverse_cli.jobs.start import executor_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.config import Config

TAIL_CHARACTERS = 300


def run_errand(
    config: Config,
    executor: str,
    name: str,
    words: Sequence[str],
    ranks: int = 1,
    clock: Clock | None = None,
) -> list[dict[str, Any]]:
    """Run a command once for each of some ranks; return the JSON object that each printed.

    Args:
        config: the configuration in force.
        executor: the name of the executor.
        name: a short name for people and schedulers.
        words: the command of `trackverse`, with `--json`; it takes a rank and a world size.
        ranks: from how many places to look.
        clock: what to take the time from.

    Raises:
        UsageError: no such executor.
        LacksError: it does not work, or a rank printed no JSON object.
    """
    clock = clock or SystemClock()
    layout = config.layout
    plugin = plugins.choose_executor(executor)
    runner = executor_of(config, executor)
    stamp = utc_text(clock.time()).replace("-", "").replace(":", "")
    folder = f"{stamp}-{name}-{os.getpid()}"
    log_dir = layout.logs / folder
    make_folder(log_dir, "the folder of the logs")
    env = freeze(config, layout.jobs / folder)
    command = [sys.executable, "-m", "trackverse_cli"]
    command += ["--config", str(layout.jobs / folder / FILE_NAME), "--root", str(layout.root)]
    job = Job(
        f"trackverse-{name}", (*command, *words), ranks, tuple(range(ranks)), log_dir, env,
        root=layout.root, needs_gpu=plugins.wants_gpu(config),
    )  # fmt: skip
    tasks = list(runner.submit(job))
    poll_seconds = POLL_SECONDS if plugin.foreground else FAR_POLL_SECONDS
    watch(runner, tasks, lambda *_: None, clock, poll_seconds=poll_seconds)
    return [_answer(job.log_path(rank), rank) for rank in job.ranks]


def _answer(log: Path, rank: int) -> dict[str, Any]:
    """Return the last JSON object of a log, whatever a scheduler wrote around it."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    begin = text.rfind("\n{\n") + 1 if "\n{\n" in text else text.find("{\n")
    try:
        value, _ = json.JSONDecoder().raw_decode(text[begin:]) if begin >= 0 else (None, 0)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        said = " ".join(text.split())[-TAIL_CHARACTERS:] or "nothing"
        raise LacksError(f"rank {rank} did not answer; its log {log} says: {said}")
    return value
