"""Jobs as users meet them: submitted, looked at, submitted again, cancelled, followed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from tests.test_ledger import Hands
from trackverse_cli.budget import Room
from trackverse_cli.catalog import open_catalog
from trackverse_cli.clock import SystemClock
from trackverse_cli.config import SECRETS_VARIABLE, load_config
from trackverse_cli.download.patience import Patience
from trackverse_cli.errors import LacksError, UsageError
from trackverse_cli.fence import Fence
from trackverse_cli.files import is_temporary
from trackverse_cli.interfaces import Job, Task, TaskDetail, TaskState
from trackverse_cli.jobs import JobRecord, find_job, load_jobs, plan_job, save_job
from trackverse_cli.jobs.follow import watch
from trackverse_cli.jobs.frozen import freeze
from trackverse_cli.jobs.status import JobWatch
from trackverse_cli.jobs.table import job_table
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.markers import clear_markers, marked_ranks, set_marker
from trackverse_cli.outputs import FileSink
from trackverse_cli.rank import RankRun
from trackverse_cli.recipe import recipe_id
from trackverse_cli.worklist import Worklist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.project import Project

IDS = [f"video-{number:05d}" for number in range(6)]


@pytest.fixture
def lab(project: Project) -> Project:
    """Six videos on disk with two clips each."""
    for video_id in IDS:
        project.video(video_id, frames=90)
        project.track(video_id, 0.2, 1.4)
        project.track(video_id, 1.0, 2.4)
    project.fetch()
    return project


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)


@contextmanager
def running(project: Project, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in the background; end it at the end."""
    command, env = project.command(*words)
    with subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def clip_lines(project: Project) -> list[tuple[str, str]]:
    """(video, track) of every clip that a run recorded as cut, as often as it was."""
    lines = [line for line in project.ledger() if line["kind"] == "clips"]
    return sorted((line["video_id"], done[0]) for line in lines for done in line["done"])


# What is kept of a job


def record_of(number: int, **other: Any) -> JobRecord:
    return JobRecord(
        id=f"20270115T08000{number}Z-extract-tracks-7", time=1_800_000_000.0 + number,
        stage="extract-tracks", executor="fake", world_size=130, key="k", metadata="Tiny",
        log_dir="/nowhere", command=["x"], due={0: (1, 2), 1: (1, 2)},
        tasks=[Task("fake", 0, "h0"), Task("fake", 1, "h1")], **other,
    )  # fmt: skip


def test_a_job_is_found_by_its_id_or_its_end(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(UsageError, match="no job was submitted"):
        find_job(layout, None)
    first, second = record_of(1), record_of(2)
    for record in (first, second):
        save_job(layout, record)
    assert load_jobs(layout) == [first, second]
    assert find_job(layout, None) == second
    assert find_job(layout, first.id) == first
    assert find_job(layout, "20270115T080001Z") == first
    with pytest.raises(UsageError, match="more than one job is called '7'; known: 2027"):
        find_job(layout, "7")
    with pytest.raises(UsageError, match="no job is called 'x'"):
        find_job(layout, "x")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"id": 5}', b"\xff", b'{"schema": 1, "due": {"x": [1, 2]}}']
)
def test_what_is_no_record_of_a_job_is_passed_over(tmp_path: Path, text: bytes) -> None:
    layout = Layout(tmp_path)
    save_job(layout, record_of(1))
    path = layout.jobs / record_of(2).id / "job.json"
    path.parent.mkdir()
    path.write_bytes(text)
    (layout.jobs / "other").mkdir()
    assert load_jobs(layout) == [record_of(1)]


def test_markers_are_set_and_cleared(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert marked_ranks(layout, "k") == frozenset()
    for rank in (0, 17, 4095):
        set_marker(layout, "k", rank, "run", 1.0)
    (layout.done / "k" / "rank-xxxx").touch()
    assert marked_ranks(layout, "k") == {0, 17, 4095}
    clear_markers(layout, "k", [17, 18])
    assert marked_ranks(layout, "k") == {0, 4095}


# The frozen configuration


def test_a_job_keeps_its_configuration_and_none_of_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "trackverse.toml"
    file.write_text(
        """
[dataset]
root = "data"
metadata = ["A", "B"]
select = "mine"
[select.mine]
classes = ["disc"]
tracks = "list.txt"
[download]
proxy = "http://anna:geheim@proxy:3128"
cookies = "cookies.txt"
[download.yt_dlp]
password = "geheim"
video_password = "geheim"
http_headers = {Authorization = "Bearer geheim"}
retries = 3
[encode]
crf = 20
[submit]
world_size = 12
[submit.extract-tracks]
executor = "local"
[executor.local]
slots = 3
"""
    )
    config = load_config(file, {"extract.workers": 5}, {})
    env = freeze(config, tmp_path / "job")
    text = (tmp_path / "job" / "trackverse.toml").read_text()
    assert "geheim" not in text
    assert "anna" not in text
    assert env == {SECRETS_VARIABLE: str(file)}
    again = load_config(tmp_path / "job" / "trackverse.toml", {"dataset.root": "data"}, env)
    assert again.settings.download == config.settings.download
    assert again.settings.encode == config.settings.encode
    assert again.settings.extract.workers == 5
    assert again.selection == config.selection
    assert again.settings.dataset.metadata == ["A", "B"]
    assert str(file) in again.origins["download.proxy"]


def test_a_job_without_secrets_needs_nothing_besides(tmp_path: Path) -> None:
    config = load_config(None, {"dataset.root": tmp_path}, {})
    assert freeze(config, tmp_path / "job") == {}
    env = {"TRACKVERSE_DOWNLOAD__PROXY": "http://anna:geheim@proxy:3128"}
    config = load_config(None, {"dataset.root": tmp_path}, env)
    assert freeze(config, tmp_path / "job") == {}
    assert "geheim" not in (tmp_path / "job" / "trackverse.toml").read_text()


def test_a_rank_goes_by_the_configuration_of_its_job(lab: Project) -> None:
    file = lab.folder / "trackverse.toml"
    file.write_text("[encode]\ncrf = 30\n")
    lab.run("submit", "--config", str(file), "--stage", "extract-tracks").exits(0)
    [record] = load_jobs(lab.layout)
    file.write_text("[encode]\ncrf = 10\n")
    lab.clip(lab.lines[0]).unlink()  # type: ignore[arg-type]
    command = [*record.command, "--rank", "0", "--world-size", "1"]
    subprocess.run(command, check=True, capture_output=True)
    lab.run("verify", "--config", str(file)).exits(1)
    file.write_text("[encode]\ncrf = 30\n")
    lab.run("verify", "--config", str(file)).exits(0)


def test_a_dry_run_writes_nothing_and_names_commands_that_work(lab: Project) -> None:
    before = sorted(lab.root.rglob("*"))
    out = lab.run("submit", "--stage", "extract-tracks", "--world-size", "3", "--dry-run").out
    assert sorted(lab.root.rglob("*")) == before
    for line in out.splitlines():
        subprocess.run(line, shell=True, check=True, capture_output=True)
    lab.run("verify").exits(0)


# How a job stands


class FakeExecutor:
    """Says what a test tells it."""

    def __init__(self, states: Sequence[TaskState], notes: Sequence[str] = ()) -> None:
        self.states, self.notes = states, notes
        self.collected: list[int] = []

    def submit(self, job: Job) -> Sequence[Task]:
        raise AssertionError("its tasks are there already")

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        return dict(zip(tasks, self.states, strict=True))

    def cancel(self, tasks: Sequence[Task]) -> None:
        raise AssertionError("nobody asked for an end")

    def details(self, tasks: Sequence[Task]) -> Mapping[Task, TaskDetail]:
        told = zip(tasks, self.notes, strict=False)
        return {task: TaskDetail(f"node{task.rank}", note) for task, note in told}

    def collect(self, tasks: Sequence[Task]) -> None:
        self.collected.append(len(tasks))
        raise LacksError("host a cannot be reached; it is tried again")


def look(layout: Layout, states: Sequence[TaskState], **how: Any) -> Any:
    config = load_config(None, {"dataset.root": layout.root}, {})
    record = how.pop("record", record_of(1))
    return JobWatch(config, record, Hands(1_800_000_600.0), FakeExecutor(states, **how)).look()


def shown(status: Any, width: int = 80, **how: Any) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(job_table(status, **how))
    return captured.get()


def test_the_table_holds_the_ledger_and_the_executor_together(tmp_path: Path) -> None:
    layout, record = Layout(tmp_path), record_of(1)
    save_job(layout, record)
    with Ledger(
        layout, "extract-tracks", 0, 130, "Tiny", Hands(1_800_000_300.0), job=record.id
    ) as ledger:
        ledger.clips("abcdefghijk", "r", [("t1", 1, 1, "a")])
        ledger.track("abcdefghijk", "t2", "r", "beyond-end", "ends at 9.5 s")
    status = look(layout, [TaskState.RUNNING, TaskState.PENDING], notes=["", "Priority"])
    assert [one.state for one in status.ranks] == ["running", "pending"]
    assert (status.done, status.due, status.unit) == (2, 4, "clips")
    assert status.per_hour == 12
    assert status.seconds_left == 600
    text = shown(status)
    assert "2 of 4 clips (50 %), 12 an hour, done 10 min from now" in " ".join(text.split())
    assert "node0" in text
    assert "Priority" in text
    assert "beyond-end: ends at 9.5 s" in shown(status, 120)
    assert not load_jobs(layout)[0].ended


def test_states_by_word_marker_and_sign_of_life(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    set_marker(layout, "k", 1, "run", 1.0)
    status = look(layout, [TaskState.FAILED, TaskState.FAILED])
    assert [one.state for one in status.ranks] == ["failed", "done"]
    assert status.ended
    kept = load_jobs(layout)
    assert [record.ended for record in kept] == [{0: "failed", 1: "failed"}]
    assert [one.state for one in look(layout, [], record=kept[0]).ranks] == ["failed", "done"]
    assert [o.state for o in look(layout, [TaskState.UNKNOWN] * 2).ranks] == ["unknown", "done"]
    assert [o.state for o in look(layout, [TaskState.STOPPED] * 2).ranks] == ["stopped", "done"]
    assert [o.state for o in look(layout, [TaskState.SUCCEEDED] * 2).ranks] == ["ended", "done"]


def test_an_executor_that_cannot_be_asked_is_no_end(tmp_path: Path) -> None:
    config = load_config(None, {"dataset.root": tmp_path}, {})
    status = JobWatch(config, record_of(1), Hands()).look()
    assert [one.state for one in status.ranks] == ["unknown", "unknown"]
    assert "no executor is called 'fake'" in status.notes[0]
    assert "no executor is called 'fake'" in " ".join(shown(status).split())


def test_many_ranks_are_folded_worst_first(tmp_path: Path) -> None:
    due = dict.fromkeys(range(128), (1, 2))
    tasks = [Task("fake", rank, "h") for rank in range(128)]
    record = JobRecord(**{f: getattr(record_of(1), f) for f in record_of(1).__struct_fields__} | {
        "due": due, "tasks": tasks,
    })  # fmt: skip
    states = [TaskState.RUNNING] * 128
    states[77], states[99] = TaskState.FAILED, TaskState.STOPPED
    text = shown(look(Layout(tmp_path), states, record=record))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    rows = [line for line in lines if line.endswith("0/2")]
    assert [row.split()[:2] for row in rows[:3]] == [
        ["77", "failed"], ["99", "stopped"], ["0", "running"],
    ]  # fmt: skip
    assert lines[-1] == "108 more ranks: 108 running (--all shows them)"
    assert len(lines) < 26
    whole = shown(look(Layout(tmp_path), states, record=record), ranks_shown=None)
    assert len(whole.splitlines()) > 128


def test_waiting_brings_results_and_bears_a_host_that_is_away() -> None:
    tasks = record_of(1).tasks
    executor = FakeExecutor([TaskState.SUCCEEDED, TaskState.STOPPED])
    states = watch(executor, tasks, lambda *_: None, Hands())
    assert list(states.values()) == ["succeeded", "stopped"]
    assert executor.collected == [2]


# The real program


def test_submitting_twice_starts_nothing_twice_and_cancel_ends_it(lab: Project) -> None:
    lab.env["TRACKVERSE_EXECUTOR__LOCAL__SLOTS"] = "1"
    submit = ("submit", "--stage", "extract-tracks", "--world-size", "3")
    with running(lab, *submit) as first:
        until(lambda: clip_lines(lab))
        second = lab.spawn(*submit)
        assert "at work already in job" in second.err or "done" in second.err
        told = lab.run("status").exits(0)
        told.says("extract-tracks by local")
        lab.run("cancel").exits(0)
        first.wait(30)
    assert list(lab.layout.runs.iterdir()) == []
    lab.run(*submit).exits(0)
    lab.run("verify").exits(0)
    lines = clip_lines(lab)
    assert lines == sorted(set(lines))
    lab.run("logs").exits(0).says("rank" if not lines else "clips")
    lab.run("logs", "99").exits(2).says("has no rank 99")
    lab.run("cancel", "--job", "nope").exits(2).says("no job is called 'nope'")


def test_two_whole_jobs_on_one_root_do_nothing_twice(lab: Project) -> None:
    words = ("submit", "--stage", "extract-tracks", "--world-size")
    with running(lab, *words, "2") as one, running(lab, *words, "3") as other:
        one.wait(120)
        other.wait(120)
    lab.run("verify").exits(0)
    lines = clip_lines(lab)
    assert len(lines) == 12
    assert lines == sorted(set(lines))


def test_what_came_and_was_recorded_since_a_run_looked_is_not_recorded_again(lab: Project) -> None:
    layout, clock, stop = lab.layout, SystemClock(), threading.Event()
    config = load_config(None, {"dataset.root": lab.root})
    catalog, recipe = open_catalog(config), recipe_id(config.settings)
    before = read_ledger(layout)
    lab.run("extract-tracks").exits(0)
    with Fence(layout, "extract-tracks", 1, 2, "another", clock, stop) as fence:
        worklist = Worklist(layout, before, recipe, frozenset())
        with Ledger(layout, "extract-tracks", 1, 2, catalog.name, clock, run=fence.run) as ledger:
            room = Room(Patience(clock, stop), 0)
            run = RankRun(worklist, ledger, fence, room, FileSink(layout), clock)
            videos = list(catalog.videos(np.arange(len(catalog.video_ids))))
            assert [run.due_tracks(video) for video in videos] == [[]] * len(IDS)
    assert clip_lines(lab) == sorted(set(clip_lines(lab)))


def test_what_a_run_at_work_has_not_recorded_yet_is_left_to_it(lab: Project) -> None:
    layout, clock, stop = lab.layout, SystemClock(), threading.Event()
    config = load_config(None, {"dataset.root": lab.root})
    catalog, recipe = open_catalog(config), recipe_id(config.settings)
    lab.run("extract-tracks").exits(0)
    for file in layout.ledger.iterdir():
        file.unlink()
    video = next(iter(catalog.videos(np.arange(1))))
    with (
        Fence(layout, "extract-tracks", 0, 2, "one", clock, stop) as other,
        Fence(layout, "extract-tracks", 1, 2, "another", clock, stop) as fence,
        Ledger(layout, "extract-tracks", 1, 2, catalog.name, clock, run=fence.run) as ledger,
    ):
        assert other.claim("cut", video.video_id)
        worklist = Worklist(layout, read_ledger(layout), recipe, frozenset())
        room = Room(Patience(clock, stop), 0)
        run = RankRun(worklist, ledger, fence, room, FileSink(layout), clock)
        due = run.due_tracks(video)
        assert len(due) == 2
        assert not run.begin(video, due)
        other.release("cut", video.video_id)
        assert not run.begin(video, due)  # it may have recorded them by now: look again first
        run.refresh(read_ledger(layout))
        assert run.still_due(due) == []
    assert len(clip_lines(lab)) == 2


def test_a_rank_killed_in_the_middle_is_gone_on_with_at_once(lab: Project) -> None:
    with running(lab, "extract-tracks") as first:
        until(lambda: clip_lines(lab))
        first.send_signal(signal.SIGKILL)
    lab.spawn("extract-tracks").exits(0)
    lab.run("verify").exits(0)
    # What was being written stays under a name that `clean` knows.
    assert all(is_temporary(path.name) for path in lab.half_written())
    assert list(lab.layout.runs.iterdir())  # the killed one's; `clean` takes it
    assert clip_lines(lab) == sorted(set(clip_lines(lab)))


def test_extraction_follows_videos_as_they_come(lab: Project) -> None:
    away = lab.folder / "away"
    shutil.move(lab.layout.videos, away)
    lab.env["TRACKVERSE_PIPELINE__FOLLOW_IDLE_SECONDS"] = "20"
    lab.env["TRACKVERSE_PIPELINE__REMOVE_VIDEOS"] = "true"

    def bring() -> None:
        for number, video_id in enumerate(IDS):
            if number % 3 == 0:
                time.sleep(2)
            target = lab.layout.video_target(video_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(away / video_id[:2] / f"{video_id}.mp4", target)

    bringer = threading.Thread(target=bring)
    bringer.start()
    lab.spawn("extract-tracks", "--follow").exits(0).says("12 cut", "6 removed")
    bringer.join()
    lab.run("verify").exits(0)


def test_following_ends_when_nothing_comes(lab: Project) -> None:
    shutil.rmtree(lab.layout.videos / "vi")
    lab.env["TRACKVERSE_PIPELINE__FOLLOW_IDLE_SECONDS"] = "1"
    lab.spawn("extract-tracks", "--follow").exits(1).says("12 video-missing")


def test_verify_of_the_end_is_the_exit_code_of_wait(lab: Project) -> None:
    lab.track(IDS[0], 700.0, 701.0)
    lab.fetch()
    submit = ("submit", "--stage", "extract-tracks")
    lab.spawn(*submit).exits(0)
    lab.spawn(*submit, "--wait").exits(1).says("beyond-end")


def test_status_as_json_is_one_object(lab: Project) -> None:
    lab.run("status").exits(2).says("no job was submitted")
    lab.run("submit", "--stage", "extract-tracks").exits(0)
    found = json.loads(lab.spawn("status", "--json").exits(0).out)
    [job] = found["jobs"]
    assert job["states"]["done"] == 1
    assert (job["done"], job["due"]) == (12, 12)
    assert job["ranks"][0]["clips"] == 12
    assert (
        plan_job(
            load_config(None, {"dataset.root": lab.root}), "extract-tracks", "local", 1
        ).job.ranks
        == ()
    )
