"""Secrets once more: cutting, adopting, reports, the demo, jobs on a real Slurm and real ssh."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.original import Script
from tests.project import Project
from tests.services.sshd import SSHHosts, ssh_hosts, sshd
from tests.test_secrets import (
    COOKIE,
    ENV_PROXY,
    GOOD,
    HEADER,
    LED,
    PROXY,
    SIGNATURE,
    World,
    assert_silent,
    refusing_proxy,
    world,
)
from tests.test_slurm_job import SMALL
from tests.videos import make_video
from trackverse_cli import demo
from trackverse_cli.jobs import find_job
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import Ledger, read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.slurm import SlurmCluster

__all__ = ["ssh_hosts", "sshd", "world"]

pytest_plugins = ["tests.services.slurm"]

LOOK_SECONDS = 0.02


class Lookout:
    """Reads the words of all processes of this machine again and again, as `ps` would.

    Those of other tests, which plant the same secrets on purpose, are told by their witness.
    """

    def __init__(self, world: World) -> None:
        self._own = os.fsencode(world.witness)
        self._place = os.fsencode(world.project.folder)
        self._ended = threading.Event()
        self.seen: set[str] = set()

    def watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self._look(folder)

    def _look(self, folder: Path) -> None:
        words = (folder / "cmdline").read_bytes()
        about = (folder / "environ").read_bytes()
        # One that has just ended shows no environment: it was seen before, or is seen by nobody.
        others = b"TV_WITNESS=" in about and b"TV_WITNESS=" + self._own not in about
        if words and about and not others:
            self.seen.add(words.replace(b"\0", b" ").decode("utf-8", "replace"))

    def end(self) -> None:
        self._ended.set()

    def saw(self, *words: str) -> bool:
        """Say whether a process of this test's was seen that had all of these words."""
        place = os.fsdecode(self._place)
        return any(all(w in one for w in (place, *words)) for one in self.seen)


@contextmanager
def lookout(world: World) -> Iterator[Lookout]:
    """Look at all processes meanwhile; afterwards none has had a secret among its words."""
    found = Lookout(world)
    thread = threading.Thread(target=found.watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join()
    for words in found.seen:
        assert_silent(words, "the words of a process that others see")


def test_the_lookout_sees_the_words_of_a_process(world: World) -> None:
    import subprocess

    env = {**os.environ, "TV_WITNESS": str(world.witness)}
    with pytest.raises(AssertionError, match="words of a process"), lookout(world):
        subprocess.run(["sh", "-c", f"sleep 1; : {COOKIE}"], env=env, check=True)


def test_cutting_and_reports_tell_no_secret(world: World) -> None:
    project, run = world.project, world.run
    project.fetch()
    with lookout(world) as seen:
        run("download-videos", code=(0, 1), apart=True)
        run("extract-tracks", code=(0, 1), apart=True)
        run("extract-tracks", "--limit", "1", code=(0, 1))
        (project.layout.video_target(GOOD)).write_bytes(b"no video at all")
        next(project.layout.tracks.rglob("*.mp4")).unlink()
        run("extract-tracks", code=(0, 1))
        page = str(project.root / "report.html")
        run("verify", "--level", "decode", "--report", page, code=(1,), apart=True)
    assert seen.saw("download-videos")
    assert seen.saw("extract-tracks")
    assert "403" in Path(page).read_text() or "access" in Path(page).read_text()
    world.assert_silent()


def test_adopting_what_told_secrets_takes_none_over(world: World, tmp_path: Path) -> None:
    project = world.project
    (tmp_path / "left").mkdir()
    left = Project(tmp_path / "left", lines=project.lines)
    video = make_video(left.layout.videos / f"{GOOD}.mp4", size=(192, 108), frames=40)
    line = project.lines[0]
    assert isinstance(line, dict)
    Script(flushes=True).cut(video, line, left.root)
    told = f"HTTP Error 407: http://me:{PROXY}@h/ Authorization: Bearer {HEADER} SID={COOKIE}"
    with Ledger(left.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(
            GOOD, "present", bytes=video.stat().st_size, message=told, note=told, format_id=told
        )
        ledger.video(LED, "failed", reason="permanent", message=told)
    (left.root / "downloaded.txt").write_text(f"https://h/?token={SIGNATURE} {GOOD}\n{told}\n")
    damaged = left.layout.tracks / str(line["track_mp4_filename"])
    world.configure(proxy=f'proxy = "http://me:{quote(PROXY, safe="")}@h:1"')
    project.fetch()
    for words in (["--dry-run"], ["--json"], []):
        world.run("adopt", str(left.root), *words, code=(0, 1))
    assert read_ledger(project.layout).clips[GOOD, "t0000"].recipe == "original"
    assert read_ledger(project.layout).videos[GOOD].state == "present"
    damaged.write_bytes(b"no clip")
    shutil.rmtree(project.layout.tracks)
    world.run("adopt", str(left.root), "--move", code=(1,), apart=True)
    world.assert_silent()


def test_the_demo_asks_its_own_server_and_tells_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small = replace(demo.VIDEOS[2], size=(320, 240), seconds=2)
    thing = replace(small.objects[0], seen=(0.2, 1.5))
    monkeypatch.setattr(demo, "VIDEOS", (replace(small, objects=(thing,)),))
    for name, value in world.project.env.items():
        monkeypatch.setenv(name, value)
    with refusing_proxy() as address:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://me:{ENV_PROXY}@{address}")
        root = world.project.root / "demo"
        world.run("--root", str(root), "demo")
    said = capfd.readouterr()
    assert "complete: every clip is there" in said.out
    assert_silent(said.out + said.err, "what the demo said")
    assert Layout(root).videos.is_dir()
    world.assert_silent()


def test_a_job_on_a_real_slurm_tells_no_secret(world: World, slurm: SlurmCluster) -> None:
    project = world.project
    project.env |= {f"TRACKVERSE_EXECUTOR__SLURM__{k}": v for k, v in SMALL.items()}
    project.fetch()
    submit = ("submit", "--executor", "slurm", "--world-size", "2")
    with lookout(world) as seen:
        world.run(*submit, "--wait", code=(1,), apart=True)
    assert seen.saw("download-tracks", "--rank"), "no rank was seen at work"
    assert project.layout.video_target(GOOD).is_file(), "a rank has its secrets"
    record = find_job(project.layout, None)
    number = str(json.loads((project.layout.jobs / record.id / "job.json").read_text()))
    assert_silent(number, "the job")
    kept = slurm.run("scontrol", "show", "job", "-d").stdout
    assert "JobId=" in kept
    assert_silent(kept, "what Slurm says of the job")
    ids = {line.split()[0].partition("=")[2] for line in kept.splitlines() if "JobId=" in line}
    # Slurm knows those of other tests as well.
    scripts = [slurm.run("scontrol", "write", "batch_script", one, "-").stdout for one in ids]
    assert any("trackverse" in script for script in scripts)
    for script in scripts:
        assert_silent(script, "the batch script")
    for path in (slurm.folder / "log").iterdir():
        assert_silent(path.read_text(errors="replace"), str(path))
    for words in (["status"], ["status", "--json"], ["logs", "0"], ["logs", "1"]):
        world.run(*words, code=(0, 1))
    world.assert_silent()


def test_a_job_over_real_ssh_tells_no_secret(world: World, sshd: SSHHosts) -> None:
    project = world.project
    project.env |= {
        "TRACKVERSE_EXECUTOR__SSH__SSH": json.dumps(list(sshd.ssh)),
        "TRACKVERSE_EXECUTOR__SSH__HOSTS": json.dumps(["host1", "host2"]),
    }
    project.fetch()
    submit = ("submit", "--executor", "ssh", "--stage", "download-videos", "--world-size", "1")
    with lookout(world) as seen, refusing_proxy() as address:
        world.configure(proxy=f'proxy = "http://me:{quote(PROXY, safe="")}@{address}"')
        world.run(*submit, "--wait", code=(1,), apart=True)
        world.configure()
        world.run(*submit, "--wait", code=(1,), apart=True)
    assert seen.saw("download-videos", "--rank"), "no rank was seen at work"
    assert project.layout.video_target(GOOD).is_file(), "a rank has its secrets"
    for words in (["status"], ["status", "--json"], ["logs", "0"]):
        world.run(*words, code=(0, 1))
    for path in sshd.folder.rglob("*"):
        if path.is_file():
            assert_silent(path.read_bytes().decode("latin-1"), str(path))
    world.assert_silent()
