"""A folder with a dataset folder in it, the videos that are served, and damage to files."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.process import Ended, command, in_child
from tests.project import Project
from tests.videos import make_video

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.faults import shim

IDS = ("aaaaaaaaaa1", "-bbbbbbbbb2")
SIZE = (160, 90)
NAME = "Tiny"
SOURCE = f"in/{NAME}.jsonl.gzip"


@dataclass(frozen=True, slots=True)
class Box:
    """A folder that holds a dataset folder and what belongs to it; nothing else is written to.

    Attributes:
        folder: the box.
        url: what the videos are served under.
        log: takes what commands print, outside the box.
    """

    folder: Path
    url: str
    log: Path

    @property
    def root(self) -> Path:
        """The dataset folder."""
        return self.folder / "root"

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every command."""
        return {
            "TRACKVERSE_DB": str(self.root),
            "TRACKVERSE_DOWNLOAD__URL_TEMPLATE": self.url + "/{video_id}.mp4",
            "TRACKVERSE_PIPELINE__STORAGE_WAIT_SECONDS": "0",
            "TRACKVERSE_EXTRACT__WORKERS": "1",
            "TRACKVERSE_ENCODE__PRESET": "ultrafast",
            "TRACKVERSE_PACE__DIR": str(self.root / "state" / "pace"),
        } | dict(more)

    def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        breaker: shim.Breaker | None = None,
        limits: Callable[[], object] | None = None,
    ) -> Ended:
        """Run a command in a process of its own.

        Args:
            words: the command's; `{box}` and `{url}` stand for the folder and the address.
            env: added to the environment.
            breaker: breaks one of its calls.
            limits: called in the new process before the command.
        """
        return in_child(self.work(*words, env=env, breaker=breaker, limits=limits), self.log)

    def work(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        breaker: shim.Breaker | None = None,
        limits: Callable[[], object] | None = None,
    ) -> Callable[[], int]:
        """Return what runs a command in a fork of this process; as for `run`."""
        given = [
            word.replace("{box}", str(self.folder)).replace("{url}", self.url) for word in words
        ]
        inner = command(given, self.folder, self.env(env or {}))

        def work() -> int:
            if limits is not None:
                limits()
            if breaker is not None:
                breaker.arm()
            return inner()

        return work

    def must(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> Ended:
        """Run a command that has to end so."""
        ended = self.run(*words, env=env)
        assert ended.code == code, f"{words} ended with {ended.code}:\n{ended.said}"
        return ended


def copy_box(template: Box, folder: Path) -> Box:
    """Return a copy of a box; times are kept."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder, symlinks=True)
    # A job knows where it was submitted.
    for path in (folder / "root" / "state" / "jobs").rglob("*.*"):
        content = path.read_bytes()
        path.write_bytes(content.replace(bytes(template.folder), bytes(folder)))
    return Box(folder, template.url, template.log)


def make_media(web: Path) -> None:
    """Make the videos that are served, and the metadata of their tracks: `web/` and `web/in/`."""
    web.mkdir(parents=True, exist_ok=True)
    project = Project(web, NAME)
    for video_id in IDS:
        options = {"crf": "30", "preset": "ultrafast"}
        make_video(web / f"{video_id}.mp4", size=SIZE, frames=30, options=options)
        project.track(video_id, 0.1, 0.7, size=SIZE)
        project.track(video_id, 0.3, 0.9, size=SIZE)
    for folder, lines in (("in", project.lines), ("old", project.lines[:-1])):
        (web / folder).mkdir(exist_ok=True)
        text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        (web / folder / f"{NAME}.jsonl.gzip").write_bytes(gzip.compress(text, mtime=0))
    (web / f"{NAME}.jsonl.gzip").write_bytes((web / SOURCE).read_bytes())


def flip(path: Path, share: float = 0.6, bit: int = 3) -> None:
    """Turn one bit of a file over, as a disk does: its times stay."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def age(root: Path, days: float = 120.0) -> None:
    """Make everything below a folder look as if nothing had happened for so long."""
    past = -days * 86_400
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            at = path.lstat().st_mtime + past
            os.utime(path, (at, at), follow_symlinks=False)
