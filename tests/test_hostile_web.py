"""Two hundred videos from a host that misbehaves, by the real command line and the real yt-dlp."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.services.media import write_video
from tests.services.web import HostileServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

RANKS = 4
DEADLINE_SECONDS = 240.0


@dataclass(frozen=True)
class Kind:
    """One way to answer: how many videos get it, and the class of the failure, empty for none."""

    name: str
    behaviour: str
    count: int
    reason: str = ""


KINDS = (
    Kind("good", "good", 107),
    Kind("norang", "no-range", 8),
    Kind("type", "wrong-type", 6),
    Kind("nolen", "no-length", 6),
    Kind("redir", "redirect", 8),
    Kind("503two", "503-twice", 4),
    Kind("trunc1", "truncate-once", 5),
    Kind("stall1", "stall-once", 2),
    Kind("drip", "drip", 2),
    Kind("404", "404", 16, "permanent"),
    Kind("410", "410", 8, "permanent"),
    Kind("403", "403", 8, "access"),
    Kind("401", "401", 2, "needs-cookies"),
    Kind("451", "451", 2, "geo"),
    Kind("429", "429", 3, "throttled"),
    Kind("html", "html", 4, "ambiguous"),
    Kind("htmlas", "html-as-video", 4, "ambiguous"),
    Kind("trunc", "truncate-always", 1, "transient"),
    Kind("stall", "stall", 1, "transient"),
    Kind("short", "no-length-short", 1, "transient"),
    Kind("length", "wrong-length", 1, "transient"),
    Kind("503", "503", 1, "transient"),
)

CONFIG = """
[download]
url_template = "{template}"

[download.yt_dlp]
socket_timeout = 1
retries = 0
extractor_retries = 0
"""


class World:
    """The videos of a host, which of them can be had, and why the others cannot."""

    def __init__(self, project: Project, server: HostileServer, folder: Path) -> None:
        self.project = project
        self.contents: dict[str, bytes] = {}
        self.reasons: dict[str, str] = {}
        sources = [
            write_video(folder / f"{number}.mp4", frames=10 + number, size=(48 + 8 * number, 48))
            for number in range(5)
        ]
        kinds = [kind for kind in KINDS for _ in range(kind.count)]
        random.Random(3).shuffle(kinds)
        for number, kind in enumerate(kinds):
            video_id = f"{number:03d}-{kind.name:_<7}"
            source = sources[number % len(sources)]
            self._serve(server, video_id, source, kind)
            if kind.reason:
                self.reasons[video_id] = kind.reason
            else:
                self.contents[video_id] = source.read_bytes()
            project.track(video_id, 0.0, 0.3)
        project.fetch()
        self.config = project.folder / "hostile.toml"
        self.config.write_text(CONFIG.format(template=server.url_template))

    def _serve(self, server: HostileServer, video_id: str, source: Path, kind: Kind) -> None:
        name = f"{video_id}.mp4"
        location = ""
        if kind.behaviour == "redirect":
            location = server.serve(f"elsewhere/{video_id}.bin", source)
        headers = {"Retry-After": "1"} if kind.behaviour == "429" else {}
        server.serve(
            name, source, kind.behaviour,
            location=location, headers=headers, chunk_bytes=16384, pause_seconds=0.05,
        )  # fmt: skip

    def start(self, rank: int) -> subprocess.Popen[bytes]:
        command, env = self.project.command(
            "--config", str(self.config), "download-videos",
            "--rank", str(rank), "--world-size", str(RANKS),
        )  # fmt: skip
        log = self.project.folder / f"rank-{rank}.log"
        with log.open("ab") as out:
            return subprocess.Popen(
                command, env=env, stdout=out, stderr=out, start_new_session=True
            )

    def said(self) -> str:
        logs = sorted(self.project.folder.glob("rank-*.log"))
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs)

    def videos(self) -> dict[str, Path]:
        partial = self.project.layout.partial
        found = [path for path in self.project.layout.videos.rglob("*") if path.is_file()]
        return {path.stem: path for path in found if path.parent != partial}

    def recorded(self) -> dict[str, tuple[str, str]]:
        """Return the last (state, reason) of every video in the ledger."""
        last = {}
        for line in sorted(self.project.ledger(), key=lambda line: float(line["time"])):
            if line["kind"] == "video":
                last[line["video_id"]] = (line["state"], line.get("reason", ""))
        return last


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(600)
def test_two_runs_one_of_them_killed_win_all_that_can_be_won(
    project: Project, tmp_path: Path
) -> None:
    assert sum(kind.count for kind in KINDS) == 200
    with HostileServer() as server:
        world = World(project, server, tmp_path)
        ranks = [world.start(rank) for rank in range(RANKS)]
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while len(world.videos()) < 50 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            for process in ranks:
                end(process)
        early = len(world.videos())
        assert 50 <= early < len(world.contents), world.said()
        for video_id, path in world.videos().items():
            assert path.read_bytes() == world.contents[video_id]

        codes: list[int] = []
        ranks = [world.start(rank) for rank in range(RANKS)]
        try:
            codes = [process.wait(DEADLINE_SECONDS) for process in ranks]
        finally:
            for process in ranks:
                end(process)
    # 1: a retry may win more, since some of the bad ones may be good another day.
    assert set(codes) <= {0, 1}, world.said()

    videos = world.videos()
    assert set(videos) == set(world.contents), world.said()
    for video_id, path in videos.items():
        assert path == project.layout.video_target(video_id)
        assert path.read_bytes() == world.contents[video_id], video_id
    recorded = world.recorded()
    failed = {v: reason for v, (state, reason) in recorded.items() if state == "failed"}
    assert failed == world.reasons
    # What a next run may go on from is all that is left besides.
    for path in project.layout.partial.iterdir():
        assert path.name.endswith(".part")
        assert world.reasons[path.name[:11]] == "transient"
