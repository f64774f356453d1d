"""How ranks bring videos: put off, throttled, given up, asked again, only in part."""

from __future__ import annotations

import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import msgspec
import pytest

from tests.services.media import write_fragmented
from tests.services.web import HostileServer
from tests.test_jobs import running
from tests.test_ledger import Hands
from trackverse_cli.clock import SystemClock
from trackverse_cli.config import load_config
from trackverse_cli.download import DownloadError
from trackverse_cli.errors import LacksError
from trackverse_cli.jobs import find_job
from trackverse_cli.jobs.status import JobWatch
from trackverse_cli.stages import Shard, run_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project
    from trackverse_cli.summary import RankSummary

IDS = [f"video-{number:05d}" for number in range(6)]


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def lab(project: Project, server: HostileServer) -> Project:
    """Six videos on a server, with a clip each."""
    for video_id in IDS:
        path = project.video(video_id, frames=60)
        project.track(video_id, 0.2, 1.4)
        server.serve(f"{video_id}.mp4", path.read_bytes())
        path.unlink()
    project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
    project.fetch()
    return project


def content_of(lab: Project, server: HostileServer, video_id: str) -> bytes:
    with server._lock:
        return server._resources[f"{video_id}.mp4"].body()


def failed(lab: Project) -> dict[str, str]:
    """Video id -> reason of the newest entry of each video that did not come."""
    newest = {line["video_id"]: line for line in lab.ledger() if line["kind"] == "video"}
    return {key: line["reason"] for key, line in newest.items() if line["state"] == "failed"}


def test_a_failure_of_a_moment_is_tried_again_at_the_end_of_the_rank(
    lab: Project, server: HostileServer
) -> None:
    name = f"{IDS[0]}.mp4"
    server.serve(name, content_of(lab, server, IDS[0]), "503")
    content = content_of(lab, server, IDS[0])

    def mend() -> None:
        # Long enough for the attempts in place to fail, and the others to come.
        while server.count(f"{IDS[5]}.mp4") == 0:
            time.sleep(0.01)
        server.serve(name, content)

    mender = threading.Thread(target=mend)
    mender.start()
    lab.spawn("download-videos").exits(0).says("once more later", "6 downloaded")
    mender.join()
    assert server.count(name) > 3
    assert failed(lab) == {}


def test_what_is_gone_is_not_asked_again_unless_told_to(
    lab: Project, server: HostileServer
) -> None:
    gone = f"{IDS[0]}.mp4"
    content = content_of(lab, server, IDS[0])
    server.serve(gone, b"", "410")
    lab.run("download-tracks").exits(0).says("1 permanent")
    asked = server.count(gone)
    lab.run("download-tracks").exits(0)
    lab.run("submit").exits(0)
    assert server.count(gone) == asked
    server.serve(gone, content)
    lab.run("download-tracks", "--retry", "permanet").exits(2).says("no reason is called")
    lab.run("submit", "--dry-run", "--retry", "permanent").exits(0).says("download-tracks")
    lab.spawn("submit", "--retry", "permanent").exits(0)
    assert server.count(gone) > asked
    lab.run("verify").exits(0)


def test_a_throttle_stops_all_and_says_when_to_come_back(
    lab: Project, server: HostileServer
) -> None:
    for video_id in IDS[1:]:
        server.serve(f"{video_id}.mp4", b"", "429")
    first = lab.spawn("download-videos").exits(75)
    first.says("run the same command again after 20", "in 60 min")
    asked = len(server.requests)
    # Another rank, another world size, the same address: nobody asks the host.
    lab.spawn("download-videos", "--rank", "1", "--world-size", "2").exits(75)
    assert len(server.requests) == asked
    assert set(failed(lab).values()) <= {"throttled"}
    reasons = lab.run("verify", "--json").json["reasons"]
    assert "permanent" not in reasons
    lab.spawn("submit", "--world-size", "2").exits(75)
    assert len(server.requests) == asked
    config = load_config(None, {"dataset.root": lab.root}, lab.env)
    record = msgspec.structs.replace(find_job(lab.layout, None), ended={})
    status = JobWatch(config, record, SystemClock()).look()
    assert status.notes[0].startswith("throttled until ")


def test_a_host_that_says_how_long_is_obeyed(lab: Project, server: HostileServer) -> None:
    name = f"{IDS[2]}.mp4"
    server.serve(
        name, content_of(lab, server, IDS[2]), "429", times=1, headers={"Retry-After": "2"}
    )
    lab.spawn("download-videos").exits(0).says("6 downloaded")


def test_two_jobs_ask_for_each_video_once(lab: Project, server: HostileServer) -> None:
    for video_id in IDS:
        content = content_of(lab, server, video_id)
        pause, chunk = 0.05, max(1, len(content) // 10)
        server.serve(f"{video_id}.mp4", content, "drip", chunk_bytes=chunk, pause_seconds=pause)
    with (
        running(lab, "download-videos") as one,
        running(lab, "download-videos", "--rank", "0", "--world-size", "2") as two,
        running(lab, "download-videos", "--rank", "1", "--world-size", "2") as three,
    ):
        codes = [job.wait(120) for job in (one, two, three)]
    assert set(codes) <= {0, 1}
    came = [x["video_id"] for x in lab.ledger() if x.get("state") == "present"]
    assert sorted(came) == IDS
    # The page, which is the file itself here, and the file.
    assert {server.count(f"{video_id}.mp4") for video_id in IDS} == {2}


# Without a server: what a rank makes of the downloader's answers.


def run(lab: Project, clock: Hands, **flags: object) -> RankSummary:
    config = load_config(None, {"dataset.root": lab.root, **flags}, lab.env)
    return run_stage(Shard("download-videos", 0, 1), config, threading.Event(), clock)


class Answers:
    """Stands in for the downloader: each video gives an error, or comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lab: Project) -> None:
        self.errors: dict[str, DownloadError] = {}
        self.asked: list[str] = []
        self.probed: list[str] = []
        answers, fetch = self, "trackverse_cli.download.Downloader.fetch"
        from trackverse_cli.download import Downloader

        real = Downloader.fetch

        def instead(downloader: Downloader, video_id: str, *args: object) -> object:
            answers.asked.append(video_id)
            if video_id in answers.errors:
                raise answers.errors[video_id]
            return real(downloader, video_id)

        def ask(_: Downloader, video_id: str) -> None:
            answers.probed.append(video_id)
            if video_id in answers.errors:
                raise answers.errors[video_id]

        monkeypatch.setattr(fetch, instead)
        monkeypatch.setattr("trackverse_cli.download.Downloader.ask", ask)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, lab: Project) -> Answers:
    return Answers(monkeypatch, lab)


def test_two_ambiguous_answers_a_day_apart_are_an_answer(lab: Project, answers: Answers) -> None:
    clock = Hands()
    answers.errors[IDS[0]] = DownloadError("ambiguous", "Video unavailable")
    assert run(lab, clock).videos["ambiguous"] == 1
    clock.now += 3600
    told = run(lab, clock)
    assert told.videos["ambiguous, not asked again yet"] == 1
    assert told.exit_code == 1
    assert answers.asked.count(IDS[0]) == 1
    clock.now += 24 * 3600
    assert run(lab, clock).videos["permanent"] == 1
    assert failed(lab) == {IDS[0]: "permanent"}
    clock.now += 24 * 3600
    assert run(lab, clock).exit_code == 0
    assert answers.asked.count(IDS[0]) == 2


def test_transient_failures_back_off_across_runs(lab: Project, answers: Answers) -> None:
    clock = Hands()
    answers.errors[IDS[0]] = DownloadError("transient", "timed out")
    asked = []
    for _ in range(60):
        run(lab, clock)
        asked.append(answers.asked.count(IDS[0]))
        clock.now += 300
    # Each run that asks does so twice: in its turn, and once more at its end.
    assert 8 <= asked[-1] <= 16
    run(lab, clock, **{"download.retry": ["transient"]})
    assert answers.asked.count(IDS[0]) == asked[-1] + 2


def test_when_the_tool_fails_for_everybody_the_run_ends_and_nothing_is_spent(
    lab: Project, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Hands()
    lab.env["TRACKVERSE_PACE__BROKEN_IN_A_ROW"] = "3"
    broken = DownloadError("tool", "Failed to extract any player response")
    answers.errors = dict.fromkeys(IDS[1:], broken)
    # One comes; then three in a row fail, and so does the one that came.
    answers_then_break(answers, broken)
    with pytest.raises(LacksError, match=r"pip install -U 'yt-dlp\[default\]'"):
        run(lab, clock)
    assert answers.probed == [IDS[0]]
    assert "permanent" not in failed(lab).values()
    asked = len(answers.asked)
    with pytest.raises(LacksError):
        run(lab, clock)
    assert len(answers.asked) == asked
    answers.errors.clear()
    monkeypatch.setattr("trackverse_cli.pacing.version", lambda _: "2099.1.1")
    clock.now += 3600
    assert run(lab, clock, **{"download.retry": ["tool"]}).exit_code == 0
    assert failed(lab) == {}


def answers_then_break(answers: Answers, broken: DownloadError) -> None:
    """Let the first video come, and have it fail when it is asked for once more."""
    real = answers.asked

    class Asked(list[str]):
        def append(self, video_id: str) -> None:
            super().append(video_id)
            if video_id != IDS[0]:
                answers.errors[IDS[0]] = broken

    answers.asked = Asked(real)


# Only what is needed


def test_only_the_stretches_that_tracks_need_are_fetched(
    project: Project, server: HostileServer, tmp_path: Path
) -> None:
    video = write_fragmented(tmp_path / "long.mp4", seconds=240, size=(320, 180))
    server.serve(f"{IDS[0]}.mp4", video)
    project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
    first = project.track(IDS[0], 20.2, 22.4)
    project.fetch()
    told = project.spawn("download-tracks").exits(0)
    told.says("only what the tracks need")
    project.run("verify", "--level", "decode").exits(0)
    ranges = project.layout.find_ranges(IDS[0])
    assert ranges is not None
    assert ranges.stat().st_size < video.stat().st_size / 5
    entry = next(line for line in project.ledger() if line.get("state") == "present")
    [(begin, end)] = entry["ranges"]
    assert begin <= 20.2
    assert end >= 22.4
    assert entry["fetched_bytes"] < entry["whole_bytes"] / 5
    # Another track far away: more is fetched, and neither clip is cut short.
    project.track(IDS[0], 150.2, 152.4)
    project.fetch()
    project.spawn("download-tracks").exits(0)
    project.clip(first).unlink()
    project.spawn("extract-tracks").exits(0).says("1 cut")
    project.run("verify", "--level", "decode").exits(0)
    # Alone, downloads are of whole videos.
    project.track(IDS[0], 200.2, 202.4)
    project.fetch()
    project.spawn("download-videos").exits(0)
    assert project.layout.video_target(IDS[0]).stat().st_size == video.stat().st_size
    project.spawn("extract-tracks").exits(0)
    project.run("verify").exits(0)


class Proxy:
    """A proxy for http that remembers what went through it."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                with urlopen(Request(self.path, headers=dict(self.headers))) as answer:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        if name.lower() not in ("connection", "transfer-encoding"):
                            self.send_header(name, value)
                    self.end_headers()
                    shutil.copyfileobj(answer, self.wfile)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_proxies_take_turns_each_at_its_own_pace(lab: Project, server: HostileServer) -> None:
    proxies = [Proxy(), Proxy()]
    lab.env |= {
        "TRACKVERSE_DOWNLOAD__PROXIES": json.dumps([proxy.url for proxy in proxies]),
        "TRACKVERSE_PACE__VIDEOS_PER_HOUR": "3600",
        "NO_PROXY": "",
        "no_proxy": "",
    }
    lab.spawn("download-videos").exits(0).says("6 downloaded")
    for proxy in proxies:
        proxy.server.shutdown()
        proxy.server.server_close()
    videos = [{path.rpartition("/")[2] for path in proxy.asked} for proxy in proxies]
    assert videos[0]
    assert videos[1]
    assert not videos[0] & videos[1]
    assert videos[0] | videos[1] == {f"{video_id}.mp4" for video_id in IDS}
    egresses = {p.name for p in (lab.layout.state / "pace").iterdir()}
    assert {"default-0", "default-1"} <= egresses
