"""One request from a submitter: check this host, take a turn at its ranks, list, pack, unpack."""

from __future__ import annotations

import base64
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trackverse_ssh.remote.parcels import listing, pack, unpack
from trackverse_ssh.remote.process import Facts, read_facts, see, start, stop, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_BYTES = 1 << 18
"""So much of a rank's log travels with one answer, at most."""

VERSION_SECONDS = 60.0


def serve(request: Facts, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Do what a request asks for and answer; an error is an answer too, `{"error": sentence}`."""
    begin = b"\ntrackverse-answer " + request["token"].encode() + b"\n"
    if request["do"] == "pack":
        answers.write(begin)
        pack(Path(request["root"]), request["names"], answers)
        answers.flush()
        return
    try:
        if request["do"] == "unpack":
            root, names = Path(request["root"]), frozenset(request["names"])
            answer: Facts = {"count": unpack(requests, root, names)}
        else:
            answer = _DOES[request["do"]](request)
    except (OSError, ValueError) as error:
        answer = {"error": str(error)}
    answers.write(begin + json.dumps(answer).encode() + b"\n")
    answers.flush()


def _check(request: Facts) -> Facts:
    """Say who this is, whether it sees the submitter's folder, and which version it would run."""
    answer: Facts = {"node": platform.node(), "rsync": shutil.which("rsync") is not None}
    if request["probe"]:
        token = read_facts(Path(request["probe"]))
        answer["sees"] = token is not None and token.get("token") == request["told"]
    folder = Path(request["folder"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        test = folder / f".tv-{secrets.token_hex(8)}.tmp"
        test.touch()
        test.unlink()
    except OSError as error:
        answer["unwritable"] = error.strerror or str(error)
    if request["version"]:
        answer["version"] = _output(words_of(request["version"], request["setup"]))
    return answer


def _output(words: list[str]) -> str:
    """Return the last line that a command says, on standard error if it fails."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {VERSION_SECONDS:.0f} s"
    except OSError as error:
        return str(error)
    text = done.stdout if done.returncode == 0 else done.stderr
    return (text.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _turn(request: Facts) -> Facts:
    """End, start and see attempts, in this order; return what is seen of each, by its key."""
    folder = Path(request["folder"])
    items = request["items"]
    stop([folder / k for k, item in items.items() if item["do"] == "stop"], request["grace"])
    for key, item in items.items():
        if item["do"] == "start":
            start(folder / key, item)
    seen = {}
    for key, item in items.items():
        # First the state: a log read before it could lack the last lines of one that ended.
        facts = see(folder / key)
        seen[key] = facts | (_log(folder / key, item) if "log_from" in item else {})
    return {"seen": seen}


def _log(folder: Path, item: Facts) -> Facts:
    """Return a piece of an attempt's log from where the submitter has it, and if more is left."""
    run = read_facts(folder / "run.json")
    if run is None:
        return {}
    try:
        with Path(item["log"]).open("rb") as file:
            file.seek(run["log_begin"] + item["log_from"])
            piece = file.read(LOG_BYTES)
            more = file.tell() < os.fstat(file.fileno()).st_size
    except OSError:
        return {}
    return {"log": base64.b64encode(piece).decode(), "more": more}


def _list(request: Facts) -> Facts:
    return {"files": listing(Path(request["root"]), request["tops"])}


_DOES: dict[str, Callable[[Facts], Facts]] = {"check": _check, "turn": _turn, "list": _list}


def main() -> None:
    """Serve the request that standard input holds next: its length in a line, then its JSON."""
    stream = sys.stdin.buffer
    request = json.loads(stream.read(int(stream.readline())))
    serve(request, stream, sys.stdout.buffer)
