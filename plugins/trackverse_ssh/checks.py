"""What is asked of every host before a job is entrusted to it."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError
from trackverse_ssh.transfer import equip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.interfaces import Job
    from trackverse_ssh.line import Line
    from trackverse_ssh.places import Place


def fit_places(
    line: Line, places: Sequence[Place], job: Job, folder: Path
) -> tuple[dict[str, Place], dict[str, str]]:
    """Check hosts, all at a time, and bring what they need to those with a root of their own.

    Args:
        line: the calls.
        places: the hosts as the job would use them.
        job: the job.
        folder: where the job's record is kept; a host that shares our files sees it.

    Returns:
        The hosts that can run the job by name, and for each other one the reason.
    """
    is_ours = job.command[1:3] == ("-m", "trackverse_cli")
    ours = _output([*job.command[:3], "--version"]) if is_ours else ""
    token, probe = secrets.token_hex(16), folder / "probe.json"
    probe.write_text(json.dumps({"token": token}), encoding="utf-8")
    try:
        asked = {
            place.name: partial(
                _fit, line, place, job, {"probe": str(probe), "told": token, "ours": ours}
            )
            for place in places
        }
        answers = line.each(asked)
    finally:
        probe.unlink(missing_ok=True)
    fit = {name: one for name, one in answers.items() if not isinstance(one, LacksError)}
    return fit, {n: str(one) for n, one in answers.items() if isinstance(one, LacksError)}


def _fit(line: Line, place: Place, job: Job, probe: dict[str, str]) -> Place:
    """Return the place with what was learnt of it.

    Raises:
        LacksError: it cannot run the job; the message is why.
    """
    ours = probe["ours"]
    version = [*place.words(job, 0)[:3], "--version"] if ours else []
    answer = line.call(
        place.door,
        {
            "do": "check", "probe": "" if place.root else probe["probe"], "told": probe["told"],
            "folder": place.folder, "version": version, "setup": list(place.setup),
        },
    )  # fmt: skip
    if not answer.get("sees", True):
        raise LacksError(
            f"it does not see {job.log_dir} with the files that are there here; "
            "give the host a `root` of its own"
        )
    if "unwritable" in answer:
        raise LacksError(f"it cannot write into {place.folder}: {answer['unwritable']}")
    if version and answer["version"] != ours:
        raise LacksError(
            f"{place.python} there answers '{answer['version']}', not '{ours}'; "
            "install this version there, or set `python`"
        )
    if place.root:
        equip(line, place, job)
    return replace(place, rsync=bool(answer["rsync"]))


def _output(words: list[str]) -> str:
    """Return what a command of this machine answers.

    Raises:
        LacksError: it does not work.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LacksError(f"cannot run {words[0]} on this machine: {error}") from error
    return done.stdout.strip()
