"""`doctor`: what would make downloads fail is said before they do."""

from __future__ import annotations

import os
import shutil
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from tests.services.web import HostileServer
from tests.videos import make_video
from trackverse_cli import doctor
from trackverse_cli.clock import SystemClock
from trackverse_cli.config import load_config
from trackverse_cli.doctor import storage, tools
from trackverse_cli.doctor.finding import Finding
from trackverse_cli.doctor.storage import count_below
from trackverse_cli.doctor.tools import version_date
from trackverse_cli.errors import LacksError
from trackverse_cli.files import make_folder
from trackverse_cli.interfaces import Ability, DecoderPlugin, Task, TaskState
from trackverse_cli.jobs import errand
from trackverse_cli.plugins import Found, find_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project
    from trackverse_cli.config import Config
    from trackverse_cli.interfaces import Job

VIDEO = "abcdefghijk"
DAY = 86400.0
AUGUST = datetime(2026, 8, 19, 12, tzinfo=UTC).timestamp()


class Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        self.ahead = seconds

    def time(self) -> float:
        return super().time() + self.ahead


def config(project: Project, **environ: str) -> Config:
    told = {f"TRACKVERSE_{key}": value for key, value in environ.items()}
    return load_config(None, {"dataset.root": project.root}, told)


def found(findings: list[Finding], name: str) -> Finding:
    (one,) = [finding for finding in findings if finding.name == name]
    return one


def downloads(project: Project, **values: Any) -> Any:
    return config(project).settings.download.model_copy(update=values)


# yt-dlp and what it runs


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026.8.19", (2026, 8, 19)), ("2026.08.19", (2026, 8, 19)),
        ("2026.10.26.232837.dev0", (2026, 10, 26)), ("1.2.3", None), ("2026.13.40", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_version_names_a_day(text: str, day: tuple[int, int, int] | None) -> None:
    made = version_date(text)
    assert (made and (made.year, made.month, made.day)) == day


@pytest.mark.parametrize(("days", "state"), [(-1, "ok"), (0, "ok"), (60, "ok"), (61, "warning")])
def test_an_old_downloader_is_named(monkeypatch: pytest.MonkeyPatch, days: int, state: str) -> None:
    monkeypatch.setattr(tools, "version", lambda _: "2026.8.19")
    said = tools.check_downloader(AUGUST + days * DAY)
    assert said.state == state
    assert ("pip install -U" in said.message) == (state == "warning")


def test_the_solver_has_to_be_the_one_that_yt_dlp_takes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["websockets>=13.0; extra == 'default'", "yt-dlp-ejs==0.8.0; extra == 'default'"]
    monkeypatch.setattr(tools, "requires", lambda _: wanted)
    for version, state in (
        ("0.8.0", "ok"),
        ("0.8.3", "ok"),
        ("0.7.0", "missing"),
        ("1.8", "missing"),
    ):
        monkeypatch.setattr(tools, "version", lambda _, version=version: version)
        assert tools.check_solver(downloads(project)).state == state
    elsewhere = downloads(project, url_template="http://127.0.0.1/{video_id}.mp4")
    assert tools.check_solver(elsewhere).state == "warning"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole PATH, and this environment's programs too."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(tools.sysconfig, "get_path", lambda _: str(folder))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, says: str, code: int = 0) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


NEW = {
    "deno": ("deno", "deno 2.3.0 (stable, release, x86_64)"), "node": ("node", "v22.1.0"),
    "bun": ("bun", "1.2.11"), "quickjs": ("qjs", "QuickJS version 2025-04-26"),
}  # fmt: skip
OLD = {
    "deno": ("deno", "deno 2.2.9"), "node": ("node", "v20.19.0"), "bun": ("bun", "1.2.9"),
    "quickjs": ("qjs", "QuickJS version 2021-03-27"),
}  # fmt: skip


@pytest.mark.parametrize("name", NEW)
def test_each_runtime_counts_where_it_is_allowed(
    project: Project, programs: Path, name: str
) -> None:
    allowed = downloads(project, yt_dlp={"js_runtimes": {name: {}}})
    none = tools.check_javascript(allowed)
    assert none.state == "missing"
    assert f"no {NEW[name][0]}" in none.message
    # QuickJS ends its help with 1.
    program(programs, *NEW[name], code=int(name == "quickjs"))
    assert tools.check_javascript(allowed).state == "ok"
    program(programs, *OLD[name])
    old = tools.check_javascript(allowed)
    assert old.state == "missing"
    assert "too old" in old.message


def test_only_deno_counts_unless_others_are_allowed(project: Project, programs: Path) -> None:
    program(programs, *NEW["node"])
    said = tools.check_javascript(downloads(project))
    assert said.state == "missing"
    assert "[download.yt_dlp.js_runtimes.node]" in said.message
    program(programs, *NEW["deno"])
    assert tools.check_javascript(downloads(project)) == Finding("JavaScript", "ok", "deno 2.3.0")


def test_a_runtime_elsewhere_and_one_that_does_not_run(project: Project, programs: Path) -> None:
    there = program(programs.parent, "node", "v23.0.0")
    for path in (there, there.parent):
        allowed = downloads(project, yt_dlp={"js_runtimes": {"node": {"path": str(path)}}})
        assert tools.check_javascript(allowed).state == "ok"
    there.write_text("#!/no/such/interpreter\n")
    assert "does not run" in tools.check_javascript(allowed).message
    there.write_text("#!/bin/sh\necho hello\n")
    assert "does not say its version" in tools.check_javascript(allowed).message
    unknown = downloads(project, yt_dlp={"js_runtimes": {"rhino": {}}})
    assert "no runtime that is known" in tools.check_javascript(unknown).message


def test_other_hosts_need_no_runtime(project: Project, programs: Path) -> None:
    elsewhere = downloads(project, url_template="http://127.0.0.1/{video_id}.mp4")
    assert tools.check_javascript(elsewhere).state == "warning"


# cookies


def cookie(name: str = "SAPISID", ends: float = 0, domain: str = ".youtube.com") -> str:
    return f"{domain}\tTRUE\t/\tTRUE\t{ends:.0f}\t{name}\tsecretvalue\n"


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        (cookie(ends=AUGUST + 300 * DAY), "ok", "cookies.txt"),
        (cookie(ends=0), "ok", "cookies.txt"),
        ("#HttpOnly_" + cookie(ends=AUGUST - 3 * DAY), "warning", "expired 3 days ago"),
        (cookie(ends=AUGUST + 2 * DAY), "warning", "expires in 2.0 days"),
        (cookie(ends=AUGUST - DAY) + cookie("LOGIN_INFO", AUGUST + 99 * DAY), "ok", "cookies"),
        (cookie("VISITOR_INFO1_LIVE", AUGUST + 99 * DAY), "warning", "asks as a guest"),
        (cookie(domain=".example.org"), "warning", "no cookie of youtube.com"),
        (cookie(domain=".notyoutube.com"), "warning", "no cookie of youtube.com"),
        ("", "missing", "empty"),
        ('{"cookies": []}', "missing", "no cookie in Netscape format"),
        ("\x00\xff", "missing", "cookie"),
    ],
)
def test_cookies(tmp_path: Path, text: str, state: str, words: str) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    (said,) = doctor.check_cookies(path, AUGUST)
    assert said.state == state
    assert words in said.message
    assert "secretvalue" not in said.message


def test_cookies_that_others_read_or_nobody_can(tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    path.write_text(cookie(ends=AUGUST - DAY))
    path.chmod(0o644)
    (said,) = doctor.check_cookies(path, AUGUST)
    assert said.state == "warning"
    assert "chmod 600" in said.message
    assert "expired" in said.message
    (gone,) = doctor.check_cookies(tmp_path / "none", AUGUST)
    assert gone.state == "missing"
    assert list(doctor.check_cookies(None, AUGUST)) == []
    (browser,) = doctor.check_cookies(tmp_path / "browser:firefox", AUGUST)
    assert browser.state == "ok"


# the proxy


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("http://proxy.example.org:3128", "ok"), ("socks5h://me:secret@10.0.0.1:1080", "ok"),
        ("https://proxy", "ok"), ("proxy.example.org:3128", "missing"),
        ("ftp://proxy:21", "missing"), ("http://", "missing"), ("http://proxy:port", "missing"),
        ("http://proxy:99999", "missing"), ("http://[::1", "missing"),
    ],
)  # fmt: skip
def test_a_proxy_has_to_be_an_address(project: Project, url: str, state: str) -> None:
    (said,) = doctor.check_proxies(downloads(project, proxy=url), online=False)
    assert said.state == state
    assert "secret" not in said.message


def test_only_online_connects_to_the_proxy(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        settings = downloads(project, proxy=f"http://127.0.0.1:{server.getsockname()[1]}")
        assert [one.state for one in doctor.check_proxies(settings, online=False)] == ["ok"]
        with pytest.raises(TimeoutError):
            server.accept()
        (said,) = doctor.check_proxies(settings, online=True)
        assert said.state == "ok"
        server.accept()[0].close()
    (said,) = doctor.check_proxies(settings, online=True)
    assert said.state == "missing"
    assert "cannot be reached" in said.message


# the dataset folder


def test_a_sound_folder(project: Project) -> None:
    said = doctor.examine(config(project))
    for name in ("dataset folder", "files", "leases", "clock"):
        assert found(said, name).state == "ok", found(said, name)
    assert list(project.root.iterdir()) == []


def test_room_and_what_is_to_stay_free(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(project.folder).free
    for number, floor, state in (
        (free, "0", "ok"), (10**9, "0", "warning"), (10**9, "2GB", "missing"),
        (8 * 10**9, "2GB", "ok"), (6 * 10**9, "2GB", "warning"),
    ):  # fmt: skip
        usage = shutil.disk_usage(project.folder)._replace(free=max(number, 1))
        monkeypatch.setattr(storage.shutil, "disk_usage", lambda _, usage=usage: usage)
        said = list(storage.check_dataset(config(project, PIPELINE__MIN_FREE=floor), SystemClock()))
        if number != free or free > 6 * 10**9:
            assert found(said, "space").state == state


def test_few_files_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(project.folder)

    def with_files(total: int, left: int) -> Any:
        values = list(real)
        values[5], values[6], values[7] = total, left, left
        return os.statvfs_result(values)

    for answer, state in (((0, 0), "ok"), ((10**6, 10), "warning"), ((10**7, 10**6), "ok")):
        monkeypatch.setattr(storage.os, "statvfs", lambda _, answer=answer: with_files(*answer))
        said = list(storage.check_dataset(config(project), SystemClock()))
        assert found(said, "files").state == state


@pytest.mark.parametrize(
    ("files", "size", "states"),
    [(100, 10**6, ("ok", "ok")), (13, 110_000, ("warning", "warning")), (12, 99, ("missing",) * 2)],
)
def test_quotas(project: Project, files: int, size: int, states: tuple[str, str]) -> None:
    folder = project.root / "tracks_mp4"
    folder.mkdir(parents=True)
    for number in range(10):
        (folder / f"{number}.mp4").write_bytes(b"x" * 10_000)
    (folder / "link").symlink_to("/")
    count, used, whole = count_below(project.root, 10)
    assert (count, whole) == (12, True)
    assert 100_000 <= used < 100_100

    told = config(project, DATASET__QUOTA_FILES=str(files), DATASET__QUOTA_BYTES=str(size))
    said = [
        found(list(storage.check_dataset(told, SystemClock())), f"quota of {what}")
        for what in ("files", "bytes")
    ]
    assert tuple(one.state for one in said) == states
    assert "12 of" in said[0].message


def test_a_count_that_takes_too_long_says_so(project: Project) -> None:
    project.root.mkdir()
    (project.root / "file").touch()
    assert count_below(project.root, -1) == (1, 0, False)


def test_a_clock_that_is_off(project: Project) -> None:
    for ahead, state, word in (
        (30, "ok", "within"),
        (90, "warning", "ahead"),
        (-90, "warning", "behind"),
    ):
        said = found(doctor.examine(config(project), clock=Later(ahead)), "clock")
        assert said.state == state
        assert word in said.message


def test_a_file_system_that_lets_two_create_one_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    monkeypatch.setattr(
        storage.os, "open", lambda path, flags, mode=0o777: real(path, flags & ~os.O_EXCL, mode)
    )
    said = found(list(storage.check_dataset(config(project), SystemClock())), "leases")
    assert said.state == "missing"
    assert "two runs" in said.message


def test_a_folder_that_is_a_file(project: Project) -> None:
    project.root.write_text("no folder")
    (said,) = storage.check_dataset(config(project), SystemClock())
    assert said.state == "missing"


# one video


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_video(tmp_path_factory.mktemp("web") / "video.mp4", frames=60).read_bytes()


@pytest.mark.parametrize(
    ("behaviour", "state", "words"),
    [
        ("good", "ok", "comes from its host"),
        ("404", "warning", "gone from its host"),
        ("410", "warning", "ask for another one"),
        ("429", "missing", "wait an hour"),
        ("401", "missing", "export the cookies"),
        ("html", "warning", "did not say why"),
    ],
)
def test_one_video_is_asked_for(
    project: Project, content: bytes, behaviour: str, state: str, words: str
) -> None:
    with HostileServer() as web:
        web.serve(f"{VIDEO}.mp4", content, behaviour)
        told = config(project, DOWNLOAD__URL_TEMPLATE=web.url_template)
        said = doctor.probe_online(told, VIDEO)
    assert said.state == state, said
    assert words in said.message
    assert not project.root.exists()


def test_a_host_that_is_not_there(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = config(project, DOWNLOAD__URL_TEMPLATE=f"http://127.0.0.1:{port}/{{video_id}}.mp4")
    said = doctor.probe_online(told, VIDEO)
    assert said.state == "missing"
    assert "transfer node" in said.message


def test_only_the_beginning_of_a_large_video_comes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 6 << 20
    with HostileServer() as web:
        web.serve(
            f"{VIDEO}.mp4", os.urandom(size), "drip", chunk_bytes=128 << 10, pause_seconds=0.1
        )
        told = config(project, DOWNLOAD__URL_TEMPLATE=web.url_template)
        begun = SystemClock().monotonic()
        said = doctor.probe_online(told, VIDEO)
        spent = SystemClock().monotonic() - begun
    assert said.state == "ok"
    assert spent < 4.0  # all of it would take 5 s at least


def test_a_host_that_sends_nothing(project: Project, content: bytes) -> None:
    with HostileServer() as web:
        web.serve(f"{VIDEO}.mp4", content, "drip", chunk_bytes=1, pause_seconds=0.5)
        told = config(project, DOWNLOAD__URL_TEMPLATE=web.url_template)
        said = doctor.probe_online(told, VIDEO, longest_seconds=1.0)
    assert said.state in ("missing", "warning")
    assert "no answer" in said.message


def test_the_first_video_of_the_catalogue_is_asked_for(project: Project, content: bytes) -> None:
    with HostileServer() as web:
        web.serve(f"{VIDEO}.mp4", content)
        told = config(project, DOWNLOAD__URL_TEMPLATE=web.url_template)
        said = found(doctor.examine(told, online=True), "online")
        assert said.state == "warning"
        assert "fetch-meta" in said.message
        assert not web.requests
        project.track(VIDEO, 0.1, 1)
        project.fetch()
        assert found(doctor.examine(told, online=True), "online").state == "ok"
        asked = len(web.requests)
        assert asked
        assert all(one.name != "online" for one in doctor.examine(told))
        assert len(web.requests) == asked


# plugins


class Nothing(BaseModel):
    """The settings of a decoder that has none."""


def examined(
    project: Project, monkeypatch: pytest.MonkeyPatch, examine: Any, chosen: str = "strange"
) -> list[tuple[str, str]]:
    """Return what is told of a stranger's decoder, beside the line that lists it."""
    plugin = DecoderPlugin("strange", "brings frames", Nothing, examine, examine=examine)
    found = Found("decoder", "strange", plugin.summary, "stranger 1", plugin, None)
    monkeypatch.setattr(doctor, "find_plugins", lambda: (*find_plugins(), found))
    said = doctor.examine(config(project, EXTRACT__DECODER=chosen))
    return [(one.state, one.message) for one in said if one.name == "strange"]


def test_a_decoder_tells_what_it_tried(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = [Ability("a card that decodes"), Ability("one that does not", lacks=True)]
    said = examined(project, monkeypatch, lambda settings: tried if settings == Nothing() else [])
    assert said == [("ok", "a card that decodes"), ("warning", "one that does not")]
    said = examined(project, monkeypatch, lambda _: tried, chosen="pyav")
    assert said == [("ok", "a card that decodes")]


def raises(error: BaseException) -> Any:
    def examine(_: Nothing) -> Iterator[Ability]:
        yield Ability("a card")
        raise error

    return examine


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (LacksError("there is no card"), "missing", "there is no card"),
        (RuntimeError("no driver"), "warning", "cannot be examined: RuntimeError: no driver"),
        (SystemExit(4), "warning", "cannot be examined: SystemExit: 4"),
    ],
)
def test_a_decoder_that_cannot_be_examined(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    state: str,
    message: str,
) -> None:
    said = examined(project, monkeypatch, raises(error))
    assert said == [("ok", "a card"), (state, message)]
    assert examined(project, monkeypatch, raises(error), chosen="pyav") == [("ok", "a card")]


@pytest.mark.parametrize("decoder", ["pyav", "cuda"])
def test_a_card_is_reserved_to_look_at_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    class Runner:
        def submit(self, job: Job) -> list[Task]:
            asked.append(job.needs_gpu)
            make_folder(job.log_dir, "logs")
            job.log_path(0).write_text('{\n"schema": 1\n}\n')
            return [Task("job", 0, "only")]

        def poll(self, tasks: list[Task]) -> dict[Task, TaskState]:
            return dict.fromkeys(tasks, TaskState.SUCCEEDED)

    asked: list[bool] = []
    monkeypatch.setattr(errand, "executor_of", lambda *_: Runner())
    told = config(project, EXTRACT__DECODER=decoder)
    assert errand.run_errand(told, "local", "doctor", ["doctor", "--json"]) == [{"schema": 1}]
    assert asked == [decoder == "cuda"]


def test_the_command(project: Project) -> None:
    answer = project.run("doctor", "--json")
    told = {check["name"]: check["state"] for check in answer.json["checks"]}
    assert {"yt-dlp", "yt-dlp-ejs", "JavaScript", "space", "files", "leases", "clock"} <= set(told)
    assert answer.code == (3 if "missing" in told.values() else 0)
