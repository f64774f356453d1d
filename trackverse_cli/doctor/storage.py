"""The dataset folder: writable, with room for bytes and files, a clock, and fit for leases."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Final

from trackverse_cli.doctor.finding import Finding, State
from trackverse_cli.errors import TrackverseError
from trackverse_cli.files import require_writable, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.clock import Clock
    from trackverse_cli.config import Config

LEAST_FREE_BYTES: Final = 5 * 10**9
LEAST_FREE_FILES: Final = 10_000
NEARLY: Final = 0.9
"""Above this share of a quota it is time to say so."""

CLOCK_SECONDS: Final = 60.0
"""Runs are told from dead ones within a minute; a clock that is further off makes trouble."""

COUNT_SECONDS: Final = 5.0
"""A quota is compared with what can be counted in so long; `plan` knows the rest."""


def check_dataset(config: Config, clock: Clock) -> Iterator[Finding]:
    """Yield what is to be said of the dataset folder and of its file system."""
    try:
        root = config.layout.root
        require_writable(root, "the dataset folder")
    except TrackverseError as error:
        yield Finding("dataset folder", "missing", str(error))
        return
    yield Finding("dataset folder", "ok", f"{root}: writable")
    yield _space(config, root)
    yield _inodes(root)
    yield from _quota(config, root)
    yield _leases(config.layout.state if config.layout.state.is_dir() else root)
    yield _clock(root, clock)


def _space(config: Config, root: Path) -> Finding:
    """Compare free space with what is to stay free."""
    place = config.layout.videos if config.layout.videos.is_dir() else root
    free, floor = shutil.disk_usage(place).free, int(config.settings.pipeline.min_free)
    told = f"{free / 1e9:,.1f} GB free"
    if floor and free <= floor:
        told += f", and [pipeline] min_free keeps {floor / 1e9:,.1f} GB: no video would come"
        return Finding("space", "missing", told)
    if free < LEAST_FREE_BYTES + floor:
        return Finding("space", "warning", f"{told}; videos are tens of MB each, make room")
    return Finding("space", "ok", told)


def _inodes(root: Path) -> Finding:
    """Look at free files; some file systems have no number of them."""
    found = os.statvfs(root)
    if not found.f_files:
        return Finding("files", "ok", "this file system does not count them")
    told = f"{found.f_favail:,} more can be made"
    if found.f_favail < LEAST_FREE_FILES:
        return Finding("files", "warning", f"{told}, though every clip is one; remove some")
    return Finding("files", "ok", told)


def _quota(config: Config, root: Path) -> Iterator[Finding]:
    """Compare what is in the folder with the quotas that the configuration names."""
    dataset = config.settings.dataset
    files = dataset.quota_files
    size = dataset.quota_bytes
    if files is None and size is None:
        return
    count, used, whole = count_below(root, COUNT_SECONDS)
    least = "" if whole else "at least "
    limits = (("files", count, files, 1.0, ""), ("bytes", used, size, 1e9, " GB"))
    for what, there, limit, unit, name in limits:
        if limit is None:
            continue
        digits = 0 if unit == 1.0 else 1
        told = (
            f"{least}{there / unit:,.{digits}f} of {limit / unit:,.{digits}f}{name}; "
            "`trackverse plan` says what is still to come"
        )
        state: State = "ok" if there < NEARLY * limit else "warning"
        yield Finding(f"quota of {what}", "missing" if there >= limit else state, told)


def count_below(folder: Path, seconds: float) -> tuple[int, int, bool]:
    """Return (files and folders, bytes, whether all were counted) below a folder.

    Args:
        folder: which one; symbolic links below it count as files.
        seconds: for how long to count.
    """
    end, count, used = time.monotonic() + seconds, 0, 0
    waiting = [str(folder)]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                count += 1
                if time.monotonic() > end:
                    return count, used, False
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        used += entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue  # gone meanwhile
    return count, used, True


def _leases(folder: Path) -> Finding:
    """Create a file that must not exist twice, and rename over another: all that leases need."""
    first, second = temporary_beside(folder / "a"), temporary_beside(folder / "b")
    name = "leases"
    try:
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            pass
        else:
            told = f"{folder} lets two runs create one file: never run two at a time there"
            return Finding(name, "missing", told)
        second.touch()
        first.replace(second)
        if first.exists() or not second.exists():
            told = f"a file renamed in {folder} is not where it should be; use another file system"
            return Finding(name, "missing", told)
    except OSError as error:
        told = f"{folder} refuses what leases need: {error.strerror}; use another file system"
        return Finding(name, "missing", told)
    finally:
        for path in (first, second):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
    return Finding(name, "ok", "files are created by one run alone, and renamed whole")


def _clock(root: Path, clock: Clock) -> Finding:
    """Compare this machine's clock with that behind the files."""
    probe = temporary_beside(root / "clock")
    try:
        probe.touch()
        apart = clock.time() - probe.stat().st_mtime
    except OSError as error:
        told = f"the time of {root} cannot be read: {error.strerror}; look at the file system"
        return Finding("clock", "warning", told)
    finally:
        probe.unlink(missing_ok=True)
    if abs(apart) > CLOCK_SECONDS:
        side = "ahead of" if apart > 0 else "behind"
        told = f"{abs(apart):,.0f} s {side} the file server; set it with NTP"
        return Finding("clock", "warning", told)
    return Finding("clock", "ok", f"within {max(1.0, abs(apart)):.0f} s of the file server")
