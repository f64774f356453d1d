"""`trackverse plan`: what is left, how long it takes, and that nobody is asked."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trackverse_cli.app import app
from trackverse_cli.commands import plan as plan_command
from trackverse_cli.config import load_config
from trackverse_cli.errors import UsageError
from trackverse_cli.ledger import Ledger
from trackverse_cli.plan import PlanTerms, make_forecast, rates_of, terms_of
from trackverse_cli.plan.rates import LEAST_VIDEOS, VIDEO_BYTES_PER_SECOND, Rates
from trackverse_cli.plan.spans import covered_seconds
from trackverse_cli.plan.survey import DONE, DUE, GONE, Survey
from trackverse_cli.shards import assign

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

PARTS = ("again", "cool_downs", "queue", "restarts", "submit")
HERE, LATE, GONE_VIDEO = "here-video1", "late-video1", "gone-video1"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command in the app, whether it is there by itself or not."""
    if not any(command.name == "plan" for command in app.registered_commands):
        monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
        plan_command.register(app)


@pytest.fixture
def lab(project: Project) -> Project:
    """A video on disk, one to ask for, one that is gone; classes a, b and c."""
    project.video(HERE, frames=60)
    for video, first, label in (
        (HERE, 0.2, "a"), (HERE, 0.8, "a"), (LATE, 1, "a"), (LATE, 5, "b"), (GONE_VIDEO, 1, "c"),
    ):  # fmt: skip
        names = {"top10_label_ids": [1], "top10_label_names": [label]}
        project.track(video, first, first + 0.5, **names)
    project.lines.append(b"garbage")
    project.fetch()
    return project


def asked(project: Project, *words: str) -> dict[str, Any]:
    return project.run("plan", "--json", *words).exits(0).json


def test_a_fresh_root(lab: Project) -> None:
    told = asked(lab)
    assert told["clips"] == {"due": 5, "complete": 0, "unrecoverable": 1}
    assert told["videos"] == {"due": 3, "on_disk": 1}
    assert told["requests"] == 2
    assert told["classes"] == 3
    assert told["hours"]["bound"] == "pace"
    hours, waits = told["hours"], told["waits"]
    assert hours["pace"] == pytest.approx(2 / 280, abs=0.01)
    assert hours["together"] == pytest.approx(
        hours["work"] + sum(waits[name] for name in PARTS), abs=0.03
    )
    assert told["assumed"]["limit_hours"] is None
    assert told["over_quota"] == []
    assert told["came_share"] is None


def test_what_is_done_and_what_is_gone_cost_nothing(lab: Project) -> None:
    lab.run("extract-tracks")
    with Ledger(lab.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(GONE_VIDEO, "failed", reason="permanent", message="gone")
        ledger.video(LATE, "failed", reason="throttled", message="slow down")
    told = asked(lab)
    assert told["clips"] == {"due": 2, "complete": 2, "unrecoverable": 2}
    assert told["requests"] == 1
    assert told["videos"] == {"due": 1, "on_disk": 0}
    last = told["reached"][-1]
    assert (last["clips"], last["classes"]) == (4, 2)


def test_it_counts_as_verify_does(lab: Project) -> None:
    lab.run("extract-tracks")
    next(lab.layout.tracks.rglob("*.mp4")).unlink()
    lab.layout.video_target(HERE).unlink()
    told = asked(lab)
    seen = lab.run("verify", "--level", "presence", "--json").json["clips"]
    assert told["clips"]["complete"] == seen["complete"]
    assert told["clips"]["due"] == seen["missing"] + seen["damaged"]
    assert told["clips"]["unrecoverable"] == seen["unrecoverable"]
    assert told["requests"] == 3


def test_a_damaged_source_is_asked_for_again(lab: Project) -> None:
    lab.layout.video_target(HERE).write_bytes(b"no video at all")
    lab.run("extract-tracks")
    assert asked(lab)["requests"] == 3


def test_an_evicted_video_with_other_settings_is_asked_for_again(lab: Project) -> None:
    lab.run("extract-tracks")
    lab.layout.video_target(HERE).unlink()
    assert asked(lab)["requests"] == 2
    lab.env["TRACKVERSE_ENCODE__CRF"] = "30"
    told = asked(lab)
    assert told["requests"] == 3
    assert told["clips"]["complete"] == 0


def test_nothing_left(project: Project) -> None:
    project.video(HERE, frames=60)
    project.track(HERE, 0.2, 1)
    project.fetch()
    project.run("extract-tracks").exits(0)
    told = asked(project)
    assert told["requests"] == 0
    assert told["hours"]["bound"] == "nothing"
    assert told["reached"] == []
    project.run("plan").exits(0).says("nothing is left that another run could win")


def test_only_cutting_is_left(project: Project) -> None:
    project.video(HERE, frames=60)
    project.track(HERE, 0.2, 1)
    project.fetch()
    told = asked(project)
    assert told["requests"] == 0
    assert told["hours"]["bound"] == "cutting"
    assert told["bytes"]["download"] == 0
    project.run("plan").exits(0).says("the cutting decides")


def test_a_selection_and_two_files(lab: Project) -> None:
    assert asked(lab, "--classes", "b")["clips"] == {"due": 1, "complete": 0, "unrecoverable": 0}
    lab.name, lab.lines = "Other", []
    lab.track(LATE, 9, 9.5)
    lab.track("more-video1", 1, 2)
    lab.fetch()
    told = asked(lab, "--meta", "Tiny", "--meta", "Other")
    assert told["clips"]["due"] == 7
    assert told["requests"] == 3
    assert told["metadata"] == "Tiny+Other"


def test_nobody_is_asked(lab: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = sorted(p for p in lab.root.rglob("*") if p.is_file())
    asked(lab, "--world-size", "128")
    after = sorted(p for p in lab.root.rglob("*") if p.is_file())
    assert {p.parent for p in set(after) - set(before)} <= {lab.layout.state}
    assert lab.ledger() == []


def test_it_fits_eighty_columns(lab: Project) -> None:
    lab.env["COLUMNS"] = "80"
    out = lab.run("plan", "--world-size", "128", "--hours", "1").exits(0)
    out.says("280 videos an hour keep at most 1 core busy: 1 rank is enough", "by coverage")
    assert max(len(line) for line in out.out.splitlines()) <= 80


def test_the_order_in_force_is_named(lab: Project) -> None:
    assert asked(lab)["order"] == "cost"
    assert asked(lab, "--order", "coverage")["order"] == "coverage"
    lab.run("plan", "--order", "coverage").says("in force: by coverage")
    lab.run("plan", "--order", "best").exits(2).says("no order is called 'best'", "coverage")
    lab.run("plan", "--world-size", "0").exits(2).says("--world-size from 1")
    lab.run("plan", "--hours", "0").exits(2).says("--hours above 0")


def test_with_cookies_the_account_has_its_own_pace(lab: Project, tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(".youtube.com\tTRUE\t/\tTRUE\t0\tSAPISID\tsecret\n")
    lab.env["TRACKVERSE_DOWNLOAD__COOKIES"] = str(path)
    (egress,) = asked(lab)["egresses"]
    assert egress["videos_per_hour"] == 1000
    name, _, tag = egress["egress"].partition(".")
    assert name == "default"
    assert len(tag) == 8
    assert "secret" not in json.dumps(asked(lab))
    lab.env["TRACKVERSE_DOWNLOAD__COOKIES"] = "browser:firefox"
    assert len(asked(lab)["egresses"][0]["egress"]) == len("default.") + 8
    lab.env["TRACKVERSE_DOWNLOAD__COOKIES"] = str(tmp_path / "none")
    assert asked(lab)["egresses"][0]["egress"] == "default"


def test_each_proxy_is_an_address_and_quotas_are_held_against_it_all(lab: Project) -> None:
    lab.folder.joinpath("own.toml").write_text(
        '[download]\nproxies = ["http://a:1", "http://b:2"]\norder = "coverage"\n'
        '[pace]\negress = "lab"\nvideos_per_hour = 60\njitter = 0.2\n'
        "[dataset]\nquota_files = 3\nquota_bytes = 1000\n"
    )
    words = ("--config", str(lab.folder / "own.toml"))
    told = asked(lab, *words)
    assert [one["egress"] for one in told["egresses"]] == ["lab-0", "lab-1"]
    assert told["order"] == "coverage"
    assert told["hours"]["pace"] == pytest.approx(1 / 60 * 1.1, abs=0.006)
    assert (told["files"]["quota"], told["bytes"]["quota"]) == (3, 1000)
    assert len(told["over_quota"]) == 2
    out = lab.run("plan", *words).exits(0).says("lab-0: 1 requests", "over the quota of 3")
    assert max(len(line) for line in out.out.splitlines()) <= 80


def test_reasons_that_are_to_be_tried_again_are_left_to_do(lab: Project) -> None:
    with Ledger(lab.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(GONE_VIDEO, "failed", reason="permanent", message="gone")
    assert asked(lab)["requests"] == 1
    lab.folder.joinpath("own.toml").write_text('[download]\nretry = ["permanent"]\n')
    assert asked(lab, "--config", str(lab.folder / "own.toml"))["requests"] == 2


def test_stretches_on_disk_count_where_they_hold_what_is_needed(
    lab: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lab.layout.video_target(HERE)
    whole.rename(whole.with_name(f"{HERE}.ranges.mp4"))
    # Not one that was fetched in stretches: nobody can tell what it holds.
    assert asked(lab)["requests"] == 3

    class Held:
        whole_seconds = 60.0
        spans = ((0.0, 30.0),)

    monkeypatch.setattr("trackverse_cli.plan.survey.read_held", lambda _: Held)
    assert asked(lab)["requests"] == 2
    Held.spans = ((0.0, 0.5),)
    assert asked(lab)["requests"] == 3


def columns(videos: int, clips_each: int = 1, seconds: float = 10.0, **other: Any) -> Survey:
    """A survey of videos with equal clips, all due and none there."""
    rows = np.repeat(np.arange(videos, dtype=np.int32), clips_each)
    values: dict[str, Any] = {
        "rows": rows,
        "classes": (np.arange(len(rows)) % 3).astype(np.int32),
        "states": np.full(len(rows), DUE, dtype=np.int8),
        "names": ["a", "b", ""],
        "refused": 0,
        "there": np.zeros(videos, dtype=bool),
        "asked": np.ones(videos, dtype=bool),
        "length_seconds": np.full(videos, 100.0),
        "decoded_seconds": np.full(videos, seconds),
        "encoded_seconds": np.full(videos, seconds * clips_each),
        "came": np.empty((0, 2)),
        "arrived": 0,
        "gone": 0,
        "clip_bytes": 0,
        "clip_seconds": 0.0,
        "clips_measured": 0,
        "video_bytes": 0,
        "videos_measured": 0,
        "videos_there": 0,
        "folders": 2,
    }
    return Survey(**values | other)


def planned(found: Survey, rates: Rates | None = None, **terms: Any) -> Any:
    count = len(found.there)
    costs = found.decoded_seconds * 0.08 + found.encoded_seconds * 0.2 + 3
    return make_forecast(found, costs, rates or Rates(), PlanTerms(**terms), np.arange(count)[::-1])


def test_addresses_share_the_requests_and_the_hours() -> None:
    found = columns(2800)
    one = planned(found, videos_per_hour=280.0)
    assert one.times.pace_hours == pytest.approx(10, rel=0.01)
    two = planned(found, videos_per_hour=280.0, egresses=("lab-0", "lab-1", "lab-2"))
    assert two.times.pace_hours == pytest.approx(10 / 3, rel=0.01)
    from trackverse_cli.plan.report import split

    told = split(two)
    assert [part["requests"] for part in told] == [934, 933, 933]
    assert [part["egress"] for part in told] == ["lab-0", "lab-1", "lab-2"]


def test_a_divided_address_waits_for_the_rank_with_most() -> None:
    found = columns(1000)
    plan = planned(found, videos_per_hour=100.0, world_size=4, share=4)
    most = int(np.bincount(assign(found.decoded_seconds, 4)).max())
    assert plan.times.makespan_hours == pytest.approx(max(10.0, most * 4 / 100), rel=0.05)
    fewer = planned(found, videos_per_hour=100.0, world_size=2, share=8)
    assert fewer.times.bound == "share"
    assert fewer.times.makespan_hours == pytest.approx(500 * 8 / 100, rel=0.01)


def test_the_cutting_decides_where_cores_are_few() -> None:
    found = columns(1000, clips_each=50, seconds=20.0)
    slow = planned(found, videos_per_hour=100_000.0, world_size=4, cores_per_rank=1)
    assert slow.times.bound == "cutting"
    assert slow.times.makespan_hours == pytest.approx(slow.times.cpu_hours / 4, rel=0.01)
    quick = planned(found, videos_per_hour=100_000.0, world_size=4, cores_per_rank=10)
    assert quick.times.makespan_hours == pytest.approx(slow.times.makespan_hours / 10, rel=0.001)


@pytest.mark.parametrize("ranks", [1, 7, 64])
@pytest.mark.parametrize("pace", [280.0, 20_000.0])
def test_ranks_played_through_one_by_one_need_as_long(ranks: int, pace: float) -> None:
    random = np.random.default_rng(5)
    found = columns(
        3000,
        decoded_seconds=random.exponential(60, 3000),
        encoded_seconds=random.exponential(200, 3000),
    )
    plan = planned(found, videos_per_hour=pace, world_size=ranks, cores_per_rank=2)
    rates = plan.rates
    work = rates.decode * found.decoded_seconds + rates.cut * found.encoded_seconds
    costs = found.decoded_seconds * 0.08 + found.encoded_seconds * 0.2 + 3
    assigned = assign(costs, ranks)
    left = [np.flatnonzero(assigned == rank).tolist() for rank in range(ranks)]
    ready = np.zeros(ranks)
    now, turn = 0.0, 0
    while any(left):
        rank = turn % ranks
        turn += 1
        if left[rank]:
            now += 3600 / plan.terms.kept_pace
            ready[rank] = max(ready[rank], now) + work[left[rank].pop(0)] / 2
    played = max(float(ready.max()), now) / 3600
    assert plan.times.makespan_hours == pytest.approx(played, rel=0.001)


def test_bytes_come_from_what_came_else_from_what_is_typical() -> None:
    assert planned(columns(10)).storage.download_bytes == 10 * 100 * VIDEO_BYTES_PER_SECOND
    came = np.tile([5e6, 50.0], (LEAST_VIDEOS, 1))
    rates = rates_of(columns(10, came=came))
    assert rates.video == 100_000
    assert str(LEAST_VIDEOS) in rates.video_source
    assert rates_of(columns(10, came=came[1:])).video == VIDEO_BYTES_PER_SECOND
    clips = rates_of(columns(10, clip_bytes=10**6, clip_seconds=100.0, clips_measured=200))
    assert clips.clip == 10_000
    assert planned(columns(10), clips).storage.clip_bytes == 10 * 10 * 10_000


def test_the_ledger_says_what_videos_weigh(project: Project) -> None:
    for number in range(LEAST_VIDEOS + 1):
        project.track(f"video-{number:05d}", 0.0, 50.0 + 1 / 16)
    project.fetch()
    with Ledger(project.layout, "download-videos", 0, 1, "Tiny") as ledger:
        for number in range(LEAST_VIDEOS):
            state = "present" if number % 2 else "evicted"
            ledger.video(f"video-{number:05d}", state, bytes=10_000_000)
    told = asked(project)
    # One track ends at half of the length that its video is taken to have.
    assert told["rates"]["video_bytes_per_second"] == 100_000
    assert told["rates"]["video_source"] == f"mean of {LEAST_VIDEOS} videos that came"
    assert told["came_share"] == 1


def test_what_would_break_a_quota_is_said() -> None:
    found = columns(1000, clips_each=10)
    kept = planned(found, quota_files=10_500, quota_bytes=10**9)
    assert kept.storage.end_files == 11_002
    assert [sentence.split(" ")[0] for sentence in kept.over_quota()] == ["11,002", "29.4"]
    assert "remove_videos" in kept.over_quota()[0]
    gone = planned(found, quota_files=10_500, quota_bytes=10**10, remove_videos=True)
    assert gone.storage.end_files == 10_002
    assert gone.over_quota() == []
    budget = planned(found, quota_bytes=10**10, remove_videos=True, disk_budget=5 * 10**9)
    assert budget.storage.end_bytes == 12_500_000_000
    assert len(budget.over_quota()) == 1


def test_reached_starts_from_what_is_there() -> None:
    states = np.array([DONE, DUE, DUE, GONE, DUE, DUE], dtype=np.int8)
    found = columns(6, states=states, asked=np.array([0, 1, 1, 0, 1, 0], dtype=bool))
    plan = planned(found, hours=2 / 280)
    rows = {(one.order, one.requests): one for one in plan.reached}
    assert plan.requests == 3
    # Done, on disk, and the first one asked for; class "" is none.
    first = rows["cost", 1]
    assert (first.clips, first.classes, first.classes_many) == (3, 2, 0)
    assert rows["coverage", 3].clips == rows["cost", 3].clips == 5
    assert rows["cost", 2].hours == pytest.approx(2 / 280, rel=0.1)


def test_stretches_that_overlap_are_decoded_once() -> None:
    rows = np.array([1, 0, 1, 1, 3], dtype=np.int32)
    first, last = np.array([5.0, 0, 1, 2, 7]), np.array([6.0, 2, 4, 3, 7])
    assert covered_seconds(rows, first, last, 4).tolist() == [2, 4, 0, 0]
    assert covered_seconds(rows[:0], first[:0], last[:0], 2).tolist() == [0, 0]


def test_terms_follow_the_configuration(tmp_path: Path) -> None:
    def terms(**environ: str) -> PlanTerms:
        told = {f"TRACKVERSE_{key}": value for key, value in environ.items()}
        return terms_of(load_config(None, {"dataset.root": tmp_path}, told))

    assert terms().world_size == 1
    assert terms(SUBMIT__WORLD_SIZE="64", SUBMIT__EXECUTOR="slurm").cores_per_rank == 10
    assert terms(SUBMIT__WORLD_SIZE="64").cores_per_rank == 1
    assert terms(EXTRACT__WORKERS="3", SUBMIT__WORLD_SIZE="9").cores_per_rank == 3
    assert terms(PIPELINE__REMOVE_VIDEOS="true").remove_videos
    with pytest.raises(UsageError, match="no order is called"):
        terms_of(load_config(None, {"dataset.root": tmp_path}, {}), order="none")
