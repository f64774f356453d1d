"""Ranks as processes of this host: started so that they outlive the connection, seen, ended.

Each attempt at a rank has a folder: `run.json` says which process it is, `exit.json` how it ended.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

STARTING_SECONDS = 60.0
"""A folder without a process is a start under way for so long, and then one that failed."""

Facts = dict[str, Any]


def see(folder: Path) -> Facts:
    """Return what is known of an attempt.

    `is` is `absent`, `starting`, `running`, `elsewhere` (another machine answers to this host's
    name), `vanished` or `ended`, the last with `code` (negative: the signal) and `cancelled`.
    """
    try:
        made = folder.stat().st_mtime
    except FileNotFoundError:
        return {"is": "absent"}
    run = read_facts(folder / "run.json")
    pid = {"pid": run["pid"]} if run else {}
    end = read_facts(folder / "exit.json")
    if end is None and run is None:
        return {"is": "starting" if time.time() - made < STARTING_SECONDS else "vanished"}
    if end is None and run is not None:
        if run["node"] != platform.node():
            return {"is": "elsewhere", "node": run["node"]}
        if _alive(run, "rank") or _alive(run, "keeper"):
            return {"is": "running", **pid}
        # It may have ended, and its exit code been written, since the first look.
        end = read_facts(folder / "exit.json")
    return {"is": "vanished", **pid} if end is None else {"is": "ended", **pid, **end}


def start(folder: Path, item: Facts) -> None:
    """Start an attempt, unless it has been started before; return once its process is known."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    seen, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(seen)
                _keep(folder, item, told)
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(child, 0)
    os.read(seen, 1)  # returns when the other end is closed
    os.close(seen)


def stop(folders: list[Path], grace_seconds: float) -> None:
    """End attempts with all their processes: TERM, and KILL after the grace.

    One that was never started is marked as ended, so that it will not be.
    """
    asked: dict[Path, int] = {}
    left = [folder for folder in folders if not _forbidden(folder)]
    begun = time.monotonic()
    while left and time.monotonic() - begun < 2 * grace_seconds:
        late = time.monotonic() - begun > grace_seconds
        for folder in left:
            _ask(folder, asked, signal.SIGKILL if late else signal.SIGTERM)
        left = [folder for folder in left if _lives(folder, asked.get(folder))]
        time.sleep(0.02 if left else 0)
    for folder in folders:
        if see(folder)["is"] == "vanished":
            _mark_cancelled(folder)


def _forbidden(folder: Path) -> bool:
    """Mark an attempt that has not begun as ended; return False if it has begun."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    _mark_cancelled(folder)
    return True


def _mark_cancelled(folder: Path) -> None:
    _write(folder / "exit.json", {"code": -int(signal.SIGTERM), "cancelled": True})


def _ask(folder: Path, asked: dict[Path, int], signum: int) -> None:
    """Signal a rank's process group, once for each signal."""
    run = read_facts(folder / "run.json")
    if asked.get(folder) == signum or run is None or run["node"] != platform.node():
        return
    # The number of a group whose leader ended may be another's by now, unless we knew it just now.
    if _alive(run, "rank") or folder in asked:
        _write(folder / "cancel.json", {})
        asked[folder] = signum
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(run["pid"], signum)


def _lives(folder: Path, asked: int | None) -> bool:
    if see(folder)["is"] in ("starting", "running"):
        return True
    run = read_facts(folder / "run.json")
    if run is None or asked != signal.SIGTERM:  # after KILL only a zombie can be left of a group
        return False
    try:
        os.killpg(run["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep(folder: Path, item: Facts, told: int) -> None:
    """Run a rank to its end and write how it ended; for a process of its own."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    names: Facts = {"pid": 0, "node": platform.node(), "boot": _boot(), "log_begin": 0}
    try:
        names["log_begin"] = _log_to(Path(item["log"]))
        child = subprocess.Popen(
            words_of(item["words"], item["setup"]),
            stdin=subprocess.DEVNULL,
            cwd=item["cwd"],
            env={**os.environ, **_share_of_cores(item["slots"]), **item["env"]},
            start_new_session=True,
        )
    except OSError as error:
        os.write(2, f"cannot start {item['words'][0]}: {error}\n".encode())
        _write(folder / "run.json", names)
        _write(folder / "exit.json", {"code": 127})
        return
    names |= {"pid": child.pid, "rank_birth": _birth(child.pid)}
    names |= {"keeper": os.getpid(), "keeper_birth": _birth(os.getpid())}
    _write(folder / "run.json", names)
    os.close(told)
    code = child.wait()
    cancelled = (folder / "cancel.json").exists()
    _write(folder / "exit.json", {"code": code, "cancelled": cancelled})


def _log_to(path: Path) -> int:
    """Let standard output and error go to the end of a file; return where that was, in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return os.fstat(log).st_size


def words_of(words: list[str], setup: list[str]) -> list[str]:
    """Return the command that runs the user's own `setup` lines and then `words` unchanged."""
    if not setup:
        return words
    return ["/bin/sh", "-c", "\n".join([*setup, 'exec "$@"']), "sh", *words]


def _share_of_cores(slots: int) -> dict[str, str]:
    if slots <= 1:
        return {}
    return {"TRACKVERSE_EXTRACT__WORKERS": str(max(1, (os.cpu_count() or 1) // slots))}


def _alive(run: Facts, who: str) -> bool:
    pid, birth = run.get("pid" if who == "rank" else who), run.get(f"{who}_birth")
    return bool(pid and birth) and run["boot"] == _boot() and _birth(int(pid or 0)) == birth


def _birth(pid: int) -> str | None:
    """Return what tells a process from a later one of the same number, None if it is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if state in (b"Z", b"X") else rest[18].decode()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    state_text, _, began = done.stdout.strip().partition(" ")
    return None if not began or state_text.startswith("Z") else began.strip()


@cache
def _boot() -> str:
    """Return what names one start of this machine, empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_facts(path: Path) -> Facts | None:
    """Return a small JSON file's content, None if it is not there or not whole."""
    try:
        found: Facts = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return None


def _write(path: Path, facts: Facts) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(facts, file)
    temporary.replace(path)
