"""The whole job on a real Slurm: every way a rank can be lost, and downloads apart from cutting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.slurm import SlurmCluster, wait_until
from tests.services.web import HostileServer
from tests.test_budget import padded
from tests.test_jobs import clip_lines, running
from trackverse_cli.files import is_temporary
from trackverse_cli.jobs import find_job
from trackverse_cli.leases import read_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project import Project

pytest_plugins = ["tests.services.slurm"]

IDS = [f"video-{number:05d}" for number in range(16)]
SMALL = {
    "CPUS_PER_TASK": "1", "MEMORY": "200M", "TIME": "00:10:00", "PARTITION": "low",
    "REQUEUE_DELAY_SECONDS": "1",
}  # fmt: skip


@pytest.fixture
def lab(project: Project, slurm: SlurmCluster) -> Project:
    """Sixteen videos with two clips each; ranks that fit the nodes."""
    for video_id in IDS:
        project.video(video_id, frames=90)
        project.track(video_id, 0.2, 1.4)
        project.track(video_id, 1.0, 2.4)
    project.fetch()
    project.env |= {f"TRACKVERSE_EXECUTOR__SLURM__{k}": v for k, v in SMALL.items()}
    return project


def jobs(project: Project, stage: str = "extract-tracks") -> dict[str, Any]:
    """Return how the newest job of a stage stands."""
    kept = project.run("status", "--all", "--json").exits(0).json["jobs"]
    found: dict[str, Any] = [job for job in kept if job["stage"] == stage][-1]
    return found


def wait_ended(project: Project, seconds: float = 300.0) -> dict[str, Any]:
    wait_until(lambda: jobs(project)["ended"], seconds, "the job has not ended")
    return jobs(project)


def test_sixteen_ranks_four_at_a_time(lab: Project) -> None:
    lab.env["TRACKVERSE_EXECUTOR__SLURM__THROTTLE"] = "4"
    submit = ("submit", "--stage", "extract-tracks", "--executor", "slurm", "--world-size", "16")
    lab.run(*submit, "--dry-run").exits(0).says("sbatch", "--array=0-15%4")
    lab.spawn(*submit, "--wait").exits(0).says("complete: every clip is there and sound")
    assert clip_lines(lab) == sorted(set(clip_lines(lab)))
    told = lab.run("status").exits(0)
    told.says("16 done", "32 of 32 clips")
    assert {one["state"] for one in jobs(lab)["ranks"]} == {"done"}
    lab.run("logs", "3").exits(0).says("rank 3 of 16")


def test_ranks_lost_in_every_way_cost_nothing(lab: Project, slurm: SlurmCluster) -> None:
    """Killed -9, requeued, preempted, its node's daemon killed; then `submit` once more."""
    lab.env["TRACKVERSE_EXECUTOR__SLURM__SETUP"] = '["sleep 3"]'
    submit = ("submit", "--stage", "extract-tracks", "--executor", "slurm", "--world-size", "16")
    lab.spawn(*submit).exits(0).says("trackverse status")
    lab.spawn(*submit).exits(0).says("at work already in job")
    record = find_job(lab.layout, None)
    wait_until(lambda: bool(list(read_attempts(lab.layout.runs))), 60, "no rank has begun")
    victim = next(iter(read_attempts(lab.layout.runs)))
    os.kill(victim.pid, signal.SIGKILL)
    shown = slurm.run("squeue", "-h", "-r", "-t", "running", "-o", "%i %N")
    states = shown.stdout.split("\n")
    tasks = dict(line.split() for line in states if len(line.split()) == 2)
    first, *others = tasks
    slurm.requeue(first)
    slurm.preempt(tasks[others[0]], 2)
    slurm.kill_node(tasks[others[-1]])
    time.sleep(15)
    slurm.start_node(tasks[others[-1]])
    wait_ended(lab)
    lab.env["TRACKVERSE_EXECUTOR__SLURM__SETUP"] = "[]"
    lab.spawn(*submit, "--wait").exits(0)
    lab.run("verify", "--level", "decode").exits(0)
    # What was killed leaves what it interrupted under a name that `clean` knows.
    assert all(is_temporary(path.name) for path in lab.half_written())
    # One that was killed between its clips and its record: they are whole, and its rank, run
    # once more, records them.
    lab.run("extract-tracks", "--rank", str(victim.rank), "--world-size", "16").exits(0)
    lines = clip_lines(lab)
    again = len(lines) - len(set(lines))
    assert len(set(lines)) == 32
    assert again <= 6  # a zombie's cuts are harmless, and counted
    assert record.world_size == 16


def test_a_world_size_changed_in_between_does_nothing_twice(lab: Project) -> None:
    words = ("submit", "--stage", "extract-tracks", "--executor", "slurm", "--world-size")
    lab.env["TRACKVERSE_EXECUTOR__SLURM__THROTTLE"] = "2"
    lab.spawn(*words, "5").exits(0)
    wait_until(lambda: bool(clip_lines(lab)), 60, "nothing was cut")
    lab.run("cancel").exits(0)
    wait_until(lambda: not list(read_attempts(lab.layout.runs)), 60, "ranks go on")
    lab.spawn(*words, "3", "--wait").exits(0)
    assert clip_lines(lab) == sorted(set(clip_lines(lab)))
    assert len(clip_lines(lab)) == 32


def test_doctor_looks_from_a_node(lab: Project) -> None:
    told = lab.run("doctor", "--executor", "slurm", "--json").json
    assert {check["name"] for check in told["checks"]} >= {"Python", "yt-dlp", "dataset folder"}


@pytest.fixture
def served(project: Project) -> Iterator[HostileServer]:
    """Sixteen videos on a server alone."""
    with HostileServer() as server:
        for video_id in IDS:
            path = project.video(video_id, frames=90)
            project.track(video_id, 0.2, 1.4)
            padded(path, 1_000_000)
            server.serve(f"{video_id}.mp4", path.read_bytes(), "good")
            path.unlink()
        project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
        project.fetch()
        yield server


def no_network() -> list[str]:
    """Return the words that run a command where nothing can be reached."""
    words = ["unshare", "--net"]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        if os.environ.get("TRACKVERSE_REQUIRE_SERVICES") == "1":
            pytest.fail(tried.stderr)
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    return words


def test_downloads_here_and_cutting_on_nodes_that_reach_nothing(
    project: Project, served: HostileServer, slurm: SlurmCluster
) -> None:
    """One process reaches the web; the ranks on the nodes follow it under one disk budget."""
    words = no_network()
    project.env |= {f"TRACKVERSE_EXECUTOR__SLURM__{k}": v for k, v in SMALL.items()}
    # The script runs itself once more where there is no network, and looks whether it is so.
    inside = f'[ -n "$INSIDE" ] || INSIDE=1 exec {" ".join(words)} "$0" "$@"'
    cut_off = f"if (exec 3<>/dev/tcp/127.0.0.1/{served.port}) 2>/dev/null; then exit 9; fi"
    (project.folder / "trackverse.toml").write_text(
        f"""
[pipeline]
remove_videos = true
disk_budget = "4MB"
follow_idle_seconds = 30
[submit.download-videos]
executor = "local"
world_size = 1
[submit.extract-tracks]
executor = "slurm"
world_size = 3
follow = true
[executor.slurm]
setup = [{json.dumps(inside)}, {json.dumps(cut_off)}]
"""
    )
    config = ("--config", str(project.folder / "trackverse.toml"))
    reach = ("submit", "--stage", "extract-tracks", *config)
    project.spawn(*reach).exits(0)
    with running(project, "submit", "--stage", "download-videos", *config) as downloads:
        wait_ended(project)
        out, _ = downloads.communicate(timeout=120)
        assert downloads.returncode == 0, out
    project.run("verify", *config).exits(0)
    assert [p for p in project.layout.videos.rglob("*") if p.is_file()] == []
    assert not Path(project.layout.partial).exists() or not list(project.layout.partial.iterdir())


def test_a_time_limit_puts_a_rank_back_into_the_queue(lab: Project) -> None:
    """A rank that waits for a video meets its limit, is queued again, and goes on from there."""
    last = lab.layout.video_target(IDS[-1])
    away = last.rename(lab.folder / "away.mp4")
    lab.env |= {
        "TRACKVERSE_EXECUTOR__SLURM__TIME": "00:01:00",
        "TRACKVERSE_EXECUTOR__SLURM__SIGNAL_SECONDS": "30",
    }
    words = ("submit", "--stage", "extract-tracks", "--executor", "slurm", "--follow")
    lab.spawn(*words).exits(0)
    record = find_job(lab.layout, None)
    counter = record.log_path(0).with_suffix(".requeues")
    wait_until(counter.is_file, 120, "the rank was not queued again")
    away.rename(last)
    wait_ended(lab)
    lab.run("verify", "--level", "decode").exits(0)
    assert len(clip_lines(lab)) == len(set(clip_lines(lab))) == 32
    lab.run("logs", "0").exits(0).says("stopped by signal 15")
