"""The folder of a build that is under way, and what killed builds leave."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from trackverse_cli.index.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES: Final = ("tracks", "videos", "refused", "duplicates")
WORK_PREFIX: Final = ".build-"
_OWNER = "owner"
_STALE_SECONDS = 86_400.0


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder for one build, which goes whatever happens."""
    work = folder / f"{WORK_PREFIX}{secrets.token_hex(6)}"
    work.mkdir()
    try:
        (work / _OWNER).write_text(f"{socket.gethostname()}\n{os.getpid()}\n")
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed builds left and what no index uses; leave running builds alone."""
    manifest = read_manifest(folder)
    used = set(manifest.files.values()) if manifest else set()
    running = set()
    for work in folder.glob(f"{WORK_PREFIX}*"):
        if _is_running(work):
            running.add(work.name.removeprefix(WORK_PREFIX))
        else:
            shutil.rmtree(work, ignore_errors=True)
    for path in folder.glob("*-*.parquet"):
        table, _, token = path.stem.partition("-")
        if table in TABLES and path.name not in used and token not in running:
            path.unlink(missing_ok=True)
    for path in folder.glob(".tv-*.tmp"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS or not running:
            path.unlink(missing_ok=True)


def _is_running(work: Path) -> bool:
    try:
        if time.time() - work.stat().st_mtime > _STALE_SECONDS:
            return False
        host, pid = (work / _OWNER).read_text().split()
        if host != socket.gethostname():
            return True
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True
