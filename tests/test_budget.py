"""The disk budget: by itself, over several runs, and on file systems that are really small."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.services.web import HostileServer
from tests.test_jobs import running
from tests.test_ledger import Hands
from trackverse_cli.budget import EXPECTED_BYTES, Budget, Limits, Room
from trackverse_cli.download import Patience
from trackverse_cli.errors import StorageFullError
from trackverse_cli.layout import Layout
from trackverse_cli.leases import Attempt
from trackverse_cli.leases.attempts import attempt_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project

MB = 1_000_000


def put(layout: Layout, name: str, size: int) -> Path:
    path = layout.videos / name[:2] / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


class Alive(Hands):
    """A clock by which every run gives its signs of life."""

    def __init__(self) -> None:
        super().__init__()
        self.hearts: list[Attempt] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        for heart in self.hearts:
            heart.beat()


class Bringer:
    """One run with a budget and a sign of life."""

    def __init__(
        self, layout: Layout, run: str, clock: Alive, limit: int | None = 100 * MB
    ) -> None:
        self.attempt = Attempt(
            layout.runs, attempt_info(run, "download-videos", 0, 1, "", clock), 1e6
        )
        clock.hearts.append(self.attempt)
        self.budget = Budget(layout, Limits(limit), run, Patience(clock, None))
        self.budget.__enter__()


def test_no_limit_costs_nothing(tmp_path: Path) -> None:
    with Budget(Layout(tmp_path), Limits(), "a", Patience(Hands(), None)) as budget:
        budget.ask()
        budget.came(5)
    assert list(tmp_path.iterdir()) == []


def test_what_is_on_disk_counts_unfinished_files_too(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), Alive()
    put(layout, "aaaaaaaaaaa", 60 * MB)
    layout.partial.mkdir()
    (layout.partial / "x.part").write_bytes(b"x" * 30 * MB)
    one = Bringer(layout, "a", clock)
    one.budget.ask(10 * MB)
    begun = clock.now
    with pytest.raises(StorageFullError, match=r"0\.10 GB of a budget of 0\.10 GB, and for 10 min"):
        one.budget.ask(11 * MB)
    assert 600 <= clock.now - begun < 610


def test_room_is_waited_for_while_something_goes(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), Alive()
    paths = [put(layout, f"{letter * 11}", 30 * MB) for letter in "abc"]

    class Evicting(Alive):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now > clock.now + 500 * (4 - len(paths)):
                paths.pop().unlink()

    one = Bringer(layout, "a", Evicting())
    one.budget.ask(65 * MB)
    assert len(paths) == 1


def test_what_others_bring_and_announce_counts(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), Alive()
    one, other = Bringer(layout, "a", clock), Bringer(layout, "b", clock)
    one.budget.ask(60 * MB)
    with pytest.raises(StorageFullError):
        other.budget.ask(50 * MB)
    other.budget.ask(40 * MB)
    one.budget.dropped()
    other.budget.came(40 * MB)
    put(layout, "bbbbbbbbbbb", 40 * MB)
    # Between two counts it is known from what the other said.
    one.budget.ask(60 * MB)
    one.budget.dropped()
    with pytest.raises(StorageFullError):
        one.budget.ask(61 * MB)


def test_what_a_dead_run_announced_is_forgotten(tmp_path: Path) -> None:
    layout, clock = Layout(tmp_path), Alive()
    one, other = Bringer(layout, "a", clock), Bringer(layout, "b", clock)
    one.budget.ask(90 * MB)
    one.attempt.close()
    other.budget.ask(90 * MB)


def test_the_first_guess_is_modest_and_the_later_ones_know(tmp_path: Path) -> None:
    clock = Alive()
    one = Bringer(Layout(tmp_path), "a", clock, 10**12).budget
    assert one.expected_bytes == EXPECTED_BYTES
    one.came(200 * MB)
    one.came(10 * MB)
    assert one.expected_bytes == 300 * MB
    small = Bringer(Layout(tmp_path), "b", clock, 40 * MB).budget
    assert small.expected_bytes == 5 * MB
    small.came(30 * MB)
    assert small.expected_bytes == 40 * MB


def test_two_at_once_never_go_over_and_both_get_through(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    coming: list[int] = []
    worst: list[int] = []
    lock = threading.Lock()

    def bring(name: str) -> None:
        from trackverse_cli.clock import SystemClock

        clock = SystemClock()
        info = attempt_info(name, "download-videos", 0, 1, "", clock)
        with (
            Attempt(layout.runs, info),
            Budget(layout, Limits(100 * MB), name, Patience(clock, None)) as budget,
        ):
            for _ in range(4):
                budget.ask(60 * MB)
                with lock:
                    coming.append(60 * MB)
                    worst.append(sum(coming))
                clock.sleep(0.05)
                with lock:
                    coming.pop()
                budget.dropped()

    threads = [threading.Thread(target=bring, args=(f"run{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worst) == 12
    assert max(worst) <= 100 * MB


def test_a_full_disk_is_waited_for() -> None:
    clock = Hands()
    begun = clock.now

    def work() -> str:
        if clock.now < begun + 60:
            raise StorageFullError("no space is left")
        return "done"

    assert Room(Patience(clock, None), 600).patient(work) == "done"
    clock.now = begun
    with pytest.raises(StorageFullError):
        Room(Patience(clock, None), 30).patient(work)


# Real file systems


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small file system of its own; skip where that is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        if os.environ.get("TRACKVERSE_REQUIRE_SERVICES") == "1":
            pytest.fail(mounted.stderr)
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def padded(path: Path, size: int) -> None:
    """Make a video larger by an atom that players pass over."""
    missing = size - path.stat().st_size
    with path.open("ab") as file:
        file.write(missing.to_bytes(4, "big") + b"free" + bytes(missing - 8))


@pytest.fixture
def big(project: Project) -> Iterator[HostileServer]:
    """200 MB of videos on a server, with a clip each."""
    away = project.folder / "away"
    with HostileServer() as server:
        for number in range(20):
            video_id = f"video-{number:05d}"
            path = project.video(video_id, frames=60)
            project.track(video_id, 0.2, 1.4)
            padded(path, 10 * MB)
            server.serve(f"{video_id}.mp4", path.read_bytes(), "good")
            path.unlink()
        project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
        project.env["TRACKVERSE_PIPELINE__STORAGE_WAIT_SECONDS"] = "20"
        shutil.rmtree(project.root, ignore_errors=True)
        away.mkdir()
        yield server


def test_a_small_disk_takes_a_large_job(project: Project, big: HostileServer) -> None:
    """50 MB for 200 MB of videos, three ranks, a budget of 30 MB: complete, never above it."""
    with file_system(project.root, "size=50m"):
        project.fetch()
        submit = (
            "submit", "--stage", "download-tracks", "--world-size", "3",
        )  # fmt: skip
        project.env["TRACKVERSE_PIPELINE__DISK_BUDGET"] = "35MB"
        project.env["TRACKVERSE_PIPELINE__REMOVE_VIDEOS"] = "true"
        project.env["TRACKVERSE_EXECUTOR__LOCAL__SLOTS"] = "3"
        most = 0
        with running(project, *submit) as job:
            while job.poll() is None:
                found = [p for p in project.layout.videos.rglob("*") if p.is_file()]
                with_sizes = 0
                for path in found:
                    try:
                        with_sizes += path.stat().st_size
                    except FileNotFoundError:
                        continue
                most = max(most, with_sizes)
        assert job.returncode == 0
        project.run("verify").exits(0)
        assert 0 < most <= 35 * MB
        assert big.count("video-00000.mp4") >= 1


def test_a_disk_without_room_ends_the_rank_with_75(project: Project, big: HostileServer) -> None:
    with file_system(project.root, "size=25m"):
        project.fetch()
        project.env["TRACKVERSE_PIPELINE__STORAGE_WAIT_SECONDS"] = "6"
        out = project.spawn("download-videos").exits(75)
        out.says("no space is left", "then run the same command again")
        told = project.run("verify").exits(1).says("not-tried")
        assert "permanent" not in told.out


def test_a_disk_without_inodes_waits_for_what_is_removed(
    project: Project, big: HostileServer
) -> None:
    """Free space looks fine; only the number of files is at its end."""
    with file_system(project.root, "size=200m,nr_inodes=70"):
        project.fetch()
        fill = project.root / "fill"
        fill.mkdir()
        with running(project, "download-tracks", "--remove-videos", "--limit", "4") as rank:
            made = []
            for number in range(70):
                try:
                    (fill / str(number)).touch()
                except OSError:
                    break
                made.append(number)
            free = threading.Timer(8, shutil.rmtree, (fill,))
            free.start()
            out, _ = rank.communicate(timeout=120)
            free.cancel()
        assert made
        assert rank.returncode == 0, out


def test_videos_may_live_on_a_disk_of_the_node(project: Project, big: HostileServer) -> None:
    scratch = project.folder / "node disk"
    project.fetch()
    project.env["TRACKVERSE_PIPELINE__SCRATCH"] = "$NODE_DISK"
    project.run("download-tracks").exits(2).says("is no folder on this machine")
    project.env["NODE_DISK"] = str(scratch)
    project.spawn("download-tracks", "--limit", "5").exits(0)
    assert not project.layout.videos.exists()
    assert [p for p in scratch.rglob("*") if p.is_file()] == []
    assert project.spawn("verify", "--json").json["clips"]["complete"] == 5
