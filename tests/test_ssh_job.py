"""The whole job over ssh: three hosts, one of them lost in the middle, a dropped connection."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.services.sshd import SSHHosts, ssh_hosts, sshd
from tests.test_jobs import clip_lines, running, until
from trackverse_cli.files import is_temporary

if TYPE_CHECKING:
    from tests.project import Project

__all__ = ["ssh_hosts", "sshd"]

IDS = [f"video-{number:05d}" for number in range(16)]


@pytest.fixture
def lab(project: Project, sshd: SSHHosts) -> Project:
    """Sixteen videos with a clip each, and three hosts that see their folder."""
    for video_id in IDS:
        project.video(video_id, frames=60)
        project.track(video_id, 0.2, 1.4)
    project.fetch()
    project.env |= {
        "TRACKVERSE_EXECUTOR__SSH__SSH": json.dumps(list(sshd.ssh)),
        "TRACKVERSE_EXECUTOR__SSH__HOSTS": json.dumps(["host1", "host2", "host3"]),
        "TRACKVERSE_EXECUTOR__SSH__DEAD_AFTER_SECONDS": "6",
        "TRACKVERSE_EXECUTOR__SSH__POLL_SECONDS": "0.5",
        "TRACKVERSE_EXECUTOR__SSH__CONNECT_TIMEOUT_SECONDS": "3",
    }
    return project


def test_a_host_lost_and_a_connection_dropped_cost_nothing(lab: Project, sshd: SSHHosts) -> None:
    submit = (
        "submit", "--stage", "extract-tracks", "--executor", "ssh", "--world-size", "16", "--wait",
    )  # fmt: skip
    with running(lab, *submit) as job:
        until(lambda: clip_lines(lab), 120)
        sshd.kill(3)
        sshd.drop(2)
        assert job.stdout is not None
        out, _ = job.communicate(timeout=400)
        assert job.returncode == 0, out
    lab.run("verify", "--level", "decode").exits(0)
    # A power cut leaves what it interrupted under a name that `clean` knows.
    assert all(is_temporary(path.name) for path in lab.half_written())
    # A clip may be cut twice where a lost host had cut it and could not say so: it is counted.
    lines = clip_lines(lab)
    assert len(set(lines)) == 16
    assert len(lines) <= 18


def test_submit_returns_and_another_shell_goes_on(lab: Project, sshd: SSHHosts) -> None:
    words = ("--stage", "extract-tracks", "--executor", "ssh", "--world-size", "4")
    lab.spawn("submit", *words).exits(0).says("trackverse status")
    lab.spawn("submit", *words).exits(0).says("at work already in job")
    until(lambda: lab.run("status", "--json").json["jobs"][0]["ended"], 200)
    lab.run("verify").exits(0)
    assert lab.run("status", "--json").json["jobs"][0]["states"]["done"] == 4
    assert clip_lines(lab) == sorted(set(clip_lines(lab)))


def test_doctor_looks_from_the_hosts(lab: Project, sshd: SSHHosts) -> None:
    told = lab.run("doctor", "--executor", "ssh", "--world-size", "2", "--json").json
    assert told["host"] == os.uname().nodename
    assert len(told["others"]) == 1
