"""What `submit` shows while its ranks run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_ledger import Hands
from trackverse_cli.config import load_config
from trackverse_cli.jobs import job_progress, plan_job
from trackverse_cli.jobs.follow import LOOK_SECONDS
from trackverse_cli.ledger import Ledger

if TYPE_CHECKING:
    from tests.project import Project
    from trackverse_cli.ledger import LedgerFollower
    from trackverse_cli.settings import Stage

ID, OTHER = "abcdefghijk", "-bcdefghijk"


@pytest.fixture
def due(project: Project) -> Project:
    """Two videos that are not there, with three clips and one."""
    for first in (0.2, 0.4, 0.6):
        project.track(ID, first, first + 1)
    project.track(OTHER, 0.2, 1.2)
    project.fetch()
    return project


@pytest.fixture
def told() -> list[str]:
    """The log lines from here on."""
    from loguru import logger

    lines: list[str] = []
    logger.remove()
    logger.add(lambda message: lines.append(str(message).strip()), format="{message}")
    return lines


@pytest.mark.parametrize(
    ("stage", "last"),
    [("download-tracks", "4 of 4 clips"), ("download-videos", "2 of 2 videos")],
)
def test_a_log_gets_a_line_now_and_then(
    due: Project, told: list[str], stage: Stage, last: str
) -> None:
    clock = Hands()
    config = load_config(None, {"dataset.root": due.root})
    plan = plan_job(config, stage, "local", 2)
    with job_progress(plan, due.layout, clock) as shown:
        record = Ledger(due.layout, stage, 0, 2, "Tiny", clock, job=plan.id)
        record.clips(OTHER, "r", [("t0003", 1, 1, "a")])
        record.video(OTHER, "present")
        shown.look()
        assert told == []
        clock.now += 31
        shown.look()
        assert len(told) == 1
        assert told[0].startswith(f"{stage}: 1 of ")
        # Its three clips go with it; what other jobs record is not this job's.
        record.video(ID, "failed", reason="permanent", clips=3)
        with Ledger(due.layout, stage, 0, 2, "Tiny", clock, job="other") as other:
            other.clips(ID, "r", [("x", 1, 1, "a")])
    assert told[-1].startswith(f"{stage}: {last}")
    assert (shown.seen.clips, shown.seen.failed_clips) == (1, 3)


def test_a_slow_disk_is_asked_less_often(due: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hands()
    asked = []
    plan = plan_job(load_config(None, {"dataset.root": due.root}), "extract-tracks", "local", 1)

    def slow(follower: LedgerFollower) -> None:
        asked.append(clock.now)
        clock.now += 2
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("trackverse_cli.ledger.LedgerFollower.look", slow)
    with job_progress(plan, due.layout, clock) as shown:
        begin = clock.now
        while clock.now < begin + 100:
            shown.look()
            clock.now += LOOK_SECONDS / 2
    assert 3 <= len(asked) <= 5


def test_submit_says_what_came_of_it(project: Project) -> None:
    project.video(ID)
    project.track(ID, 0.5, 1.5)
    project.track(ID, 700.0, 701.0)
    project.fetch()
    project.spawn("submit", "--stage", "extract-tracks").says("clips: 1 done, 1 failed")
