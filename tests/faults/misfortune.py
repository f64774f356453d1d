"""What happens to a run: dead rivals, clocks that jump, other jobs, limits, a read-only root."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.box import IDS, NAME, Box, age, flip
from tests.faults.checks import leftovers
from tests.faults.process import begin, end
from tests.faults.scenes import complete, downloaded, indexed
from tests.faults.workers import asked, reap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.kit import Kit


def stale_leases(kit: Kit) -> None:
    """Leases of runs that are dead, on another machine, or that nobody knows."""
    dead = {
        "run": "0123456789ab", "stage": "download-tracks", "rank": 0, "world_size": 1, "job": "",
        "host": "elsewhere", "boot": "x", "pid": 4194000, "started": "1", "time": 1.0,
    }  # fmt: skip
    signs = {
        "unknown": None, "elsewhere": json.dumps(dead), "empty": "", "half": json.dumps(dead)[:40],
        "garbage": "\x00\x01\n",
    }  # fmt: skip
    for name, sign in signs.items():
        for chain in (1, 2):
            box = kit.box(indexed)
            runs, leases = box.root / "state" / "runs", box.root / "state" / "leases"
            runs.mkdir(parents=True)
            leases.mkdir()
            if sign is not None:
                (runs / "0123456789ab.run").write_text(sign)
            for video_id in IDS:
                for work in ("download", "cut"):
                    for link in range(1, chain + 1):
                        holder = "0123456789ab" if name != "empty" else ""
                        (leases / f"{work}-{video_id}.{link}").write_text(holder)
            kit.injected += 1
            kit.mended(box, f"stale leases, {name}, {chain} links")


def clock_jumps(kit: Kit) -> None:
    """The clock jumps during a run, and is right again in the next."""
    hour, day = 3600.0, 86_400.0
    for jump in (hour, -hour, day, -day):
        for after in (0, 12):
            box = kit.box(indexed)
            told = f"the clock jumped by {jump:+.0f} s"
            ended = box.run("download-tracks", limits=lambda j=jump, a=after: _jump(j, a))
            kit.injected += 1
            if kit.calm(ended, told):
                box.run("clean", limits=lambda j=jump: _jump(-j, 0))
                kit.mended(box, told)
        box = kit.box(complete)
        told = f"damage recorded by a clock {jump:+.0f} s off"
        kit.injected += 1
        victim = next((box.root / "tracks_mp4").rglob("*.mp4"))
        flip(victim)
        box.run("verify", "--level", "checksum", limits=lambda j=jump: _jump(j, 0))
        kit.mended(box, told)
        before = kit.look(box)
        kit.mended(box, told)
        kit.only_changed(before, box, lambda _: False, f"{told}, the run after the next")


def _jump(by: float, after: int) -> None:
    """Have the clock be `by` seconds off from its call number `after` on, in this process."""
    real, calls = time.time, [0]

    def jumped() -> float:
        calls[0] += 1
        return real() + (by if calls[0] > after else 0.0)

    time.time = jumped


def two_jobs(kit: Kit) -> None:
    """Whole jobs on one root at once, and someone who verifies and cleans meanwhile."""
    for pair in (("download-tracks", "download-tracks"), ("download-tracks", "extract-tracks")):
        box = kit.box(downloaded if "extract-tracks" in pair else indexed)
        ranks = [(words, rank) for words in pair for rank in range(2)]
        logs = [kit.place / f"job-{number}.log" for number in range(len(ranks) + 2)]
        commands = [(w, "--rank", str(r), "--world-size", "2") for w, r in ranks]
        commands += [("verify", "--level", "checksum"), ("clean",)]
        began = [
            begin(box.work(*words, limits=_patient), log)
            for words, log in zip(commands, logs, strict=True)
        ]
        ended = [end(pid, log) for pid, log in zip(began, logs, strict=True)]
        kit.injected += len(ranks)
        for words, one in zip(commands, ended, strict=True):
            kit.calm(one, f"two jobs at once, {words}")
        before = kit.look(box)
        kit.mended(box, "after two jobs at once")
        kit.only_changed(before, box, lambda _: False, "after two jobs at once")
        # A run may record what another has cut just now: that is a line more, not a cut more.
        cut = sum(int(n) for one in ended for n in re.findall(r"(\d+) cut\b", one.said))
        kit.expect(cut == 4, f"two jobs at once cut {cut} clips, not 4")


def _patient() -> None:
    """Watch other runs for as long as outside these tests."""
    from tests.faults.warm import watch_for
    from trackverse_cli.leases import STANDSTILL_SECONDS

    watch_for(STANDSTILL_SECONDS)


def few_descriptors(kit: Kit) -> None:
    _limited(kit, resource.RLIMIT_NOFILE, (8, 12, 16, 20, 24, 32), "file descriptors")


def little_memory(kit: Kit) -> None:
    have = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    more = (1, 16, 48, 96, 192)
    _limited(kit, resource.RLIMIT_AS, tuple(have + (m << 20) for m in more), "bytes of memory")


def _limited(kit: Kit, what: int, limits: tuple[int, ...], told: str) -> None:
    cases: tuple[tuple[tuple[str, ...], Callable[[Box], None]], ...] = (
        (("fetch-meta", "{box}/in/" + f"{NAME}.jsonl.gzip"), lambda box: box.root.mkdir()),
        (("download-tracks",), indexed),
        (("extract-tracks",), downloaded),
        (("verify", "--level", "checksum"), complete),
    )
    for words, prepare in cases:
        for limit in limits:
            box = kit.box(prepare)
            before = kit.look(box)
            ended = box.run(*words, limits=lambda n=limit: resource.setrlimit(what, (n, n)))
            reap()
            kit.injected += 1
            case = f"{words[0]} with {limit:,} {told}"
            if not kit.calm(ended, case):
                continue
            if ended.code:
                sentences = [line for line in ended.said.splitlines() if "trackverse: " in line]
                kit.expect(ended.said.strip(), f"{case}: it failed and said nothing")
                kit.expect(len(sentences) <= 1, f"{case}: it said more than one sentence")
            if words[0] == "fetch-meta":
                box.must(*words)
            kit.mended(box, case)
            kit.only_changed(before, box, lambda _: False, case)


def read_only(kit: Kit) -> None:
    """A root that is mounted read-only, where this process may do that."""
    trial = kit.place / "trial"
    trial.mkdir(exist_ok=True)
    if not asked(lambda: _may_mount(trial), kit.place):
        return
    readers: tuple[tuple[str, ...], ...] = (
        ("verify", "--level", "checksum"), ("plan",), ("show", IDS[0]),
        ("export", "{box}/table.parquet"), ("config",), ("clean", "--dry-run"),
    )  # fmt: skip
    writers: tuple[tuple[str, ...], ...] = (
        ("download-tracks",), ("extract-tracks",), ("download-videos",), ("clean",),
        ("submit", "--world-size", "2"), ("fetch-meta", "{box}/old/" + f"{NAME}.jsonl.gzip"),
        ("merge", "{box}/root"),
    )  # fmt: skip
    box = kit.box(complete)
    before = kit.look(box)
    for words in readers + writers:
        ended = box.run(*words, limits=lambda: _mount_read_only(box.root))
        reap()
        kit.injected += 1
        if kit.calm(ended, f"{words} on a read-only root") and words in readers:
            told = f"{words} on a read-only root ended with {ended.code}: {ended.said[-400:]}"
            kit.expect(ended.code == 0, told)
    kit.expect(kit.look(box) == before, "something was written into a read-only root")


def _may_mount(folder: Path) -> bool:
    try:
        _mount_read_only(folder)
    except OSError:
        return False
    return True


def _mount_read_only(folder: Path) -> None:
    """Make a folder read-only for this process alone."""
    library = ctypes.CDLL(None, use_errno=True)
    new_namespace, bind, remount, only, private, recursive = 0x20000, 4096, 32, 1, 1 << 18, 16384
    place = os.fsencode(folder)
    calls: Iterator[int] = (
        call()
        for call in (
            lambda: library.unshare(new_namespace),
            lambda: library.mount(None, b"/", None, private | recursive, None),
            lambda: library.mount(place, place, None, bind, None),
            lambda: library.mount(None, place, None, bind | remount | only, None),
        )
    )
    if any(calls):
        raise OSError(ctypes.get_errno(), "cannot mount")


def old_leftovers(kit: Kit) -> None:
    """Everything of a folder that was left alone for months can be cleaned."""
    box = kit.box(complete)
    age(box.root)
    kit.injected += 1
    box.must("clean")
    kit.losses += leftovers(box)
    kit.mended(box, "after clean")
