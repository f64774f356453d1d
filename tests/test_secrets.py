"""Secrets planted wherever a person may put one; afterwards nothing that was said holds one."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.services.media import write_video
from tests.services.web import HostileServer
from trackverse_cli import redaction, transfer
from trackverse_cli.config import SECRETS_VARIABLE, load_config
from trackverse_cli.config_check import masked, shown_value
from trackverse_cli.jobs.frozen import freeze
from trackverse_cli.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project

PROXY = "pr0xy/Pass@word"
HEADER = "hEaderB3arer77"
API_KEY = "apiK3yInAHeader"
ACCOUNT = "annas-account-name"
PASSWORD = "site&Passw0rd"
PO_TOKEN = "web.gvs+p0T0ken"
VISITOR = "v1sit0rDataText"
TEMPLATE = "t0kenInTemplate"
SIGNATURE = "s1gnatureOfARedirect"
COOKIE = "c00kieOfALogin99"
ENV_PROXY = "envPr0xyWord"
HUB = "hf_hubT0kenAbCdEf"
FETCH_USER, FETCH = "fetchus3r", "fetchPassw0rd"
FETCH_QUERY = "fetchQueryT0ken"
BROKEN = "brokenTableP4ss"
SECRETS = (
    PROXY, HEADER, API_KEY, ACCOUNT, PASSWORD, PO_TOKEN, VISITOR, TEMPLATE, SIGNATURE, COOKIE,
    ENV_PROXY, HUB, FETCH, FETCH_QUERY, BROKEN,
)  # fmt: skip
GOOD, REFUSED, LED = "good_video1", "refused_vi2", "redirected3"

CONFIG = """
[download]
url_template = "{template}"
cookies = "{cookies}"
{proxy}
[download.yt_dlp]
retries = 0
extractor_retries = 0
socket_timeout = 2
username = "{ACCOUNT}"
password = "{PASSWORD}"
http_headers = {{ Authorization = "Bearer {HEADER}", X-Api-Key = "{API_KEY}", User-Agent = "me" }}
extractor_args = {{ youtube = {{ po_token = ["{PO_TOKEN}"], visitor_data = ["{VISITOR}"] }} }}
[pace]
longest_wait_seconds = 0
[executor.ssh]
hosts = ["host1"]
ssh = ["{ssh}"]
poll_seconds = 0.2
"""

# Every process of Python writes down what it starts, before it starts it.
WITNESS = """
import os, sys
def _note(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        with open(os.environ["TV_WITNESS"], "a") as file:
            file.write(repr([str(word) for word in args[1]]) + "\\n")
sys.addaudithook(_note)
"""


def forms_of(secret: str) -> list[str]:
    """Return the ways in which a secret may be written."""
    pairs = (secret, f"me:{secret}", f"{FETCH_USER}:{secret}")
    coded = [base64.b64encode(one.encode()).decode().rstrip("=") for one in pairs]
    return [secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], *coded]


def assert_silent(text: str, where: str) -> None:
    for secret in SECRETS:
        for form in forms_of(secret):
            at = text.find(form)
            assert at < 0, f"{form} is in {where}: ...{text[max(0, at - 300) : at + 60]}..."


class Refusing(http.server.BaseHTTPRequestHandler):
    """A proxy that wants another password, and repeats what it was told."""

    def do_GET(self) -> None:
        told = self.headers.get("Proxy-Authorization", "")
        self.send_response(407, f"no {told}")
        self.end_headers()
        self.wfile.write(f"refused {told} for {self.path}".encode())

    do_CONNECT = do_HEAD = do_GET  # noqa: N815 - http.server's names

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def refusing_proxy() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


class World:
    """A dataset, its host, and everything that was said so far."""

    def __init__(self, project: Project, server: HostileServer) -> None:
        self.project, self.server = project, server
        self.said: list[tuple[str, str]] = []
        self.witness = project.folder / "witness.txt"
        self.witness.touch()
        site = project.folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(WITNESS)
        self.cookies = project.folder / "cookies.txt"
        self.cookies.write_text(
            f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t2147483647\tSID\t{COOKIE}\n"
            f"127.0.0.1\tFALSE\t/\tTRUE\tnever\tbroken\t{COOKIE}\n"
        )
        self.cookies.chmod(0o600)
        self.ssh = project.folder / "fake-ssh"
        self.ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
        self.ssh.chmod(0o755)
        self.config = project.folder / "own.toml"
        self.configure()
        project.env |= {
            "TV_WITNESS": str(self.witness),
            "PYTHONPATH": str(site),
            "HF_TOKEN": HUB,
            "HF_ENDPOINT": server.url("hub"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def configure(self, proxy: str = "", cookies: Path | None = None) -> None:
        template = f"{self.server.url_template}?token={TEMPLATE}&v={{video_id}}"
        values = {name: value for name, value in globals().items() if isinstance(value, str)}
        text = CONFIG.format(
            **values, template=template, cookies=cookies or self.cookies, proxy=proxy, ssh=self.ssh
        )
        self.config.write_text(text)

    def run(
        self, *words: str, code: tuple[int, ...] = (0,), config: bool = True, apart: bool = False
    ) -> str:
        """Run a command with `-v`, apart in a process of its own, and keep what it says."""
        full = ("--config", str(self.config), *words) if config else words
        outcome = (self.project.spawn if apart else self.project.run)("-v", *full)
        text = outcome.out + outcome.err
        self.said.append((" ".join(words), text))
        assert outcome.code in code, f"{words}: exit code {outcome.code}\n{text}"
        return text

    def assert_silent(self) -> None:
        for words, text in self.said:
            assert_silent(text, f"what `{words}` said")
        for line in self.witness.read_text().splitlines():
            assert_silent(line, "the words of a process")
        for path in self.project.root.rglob("*"):
            assert_silent(str(path), "a name")
            if path.is_file():
                assert_silent(path.read_bytes().decode("latin-1"), str(path))


@pytest.fixture
def world(project: Project) -> Iterator[World]:
    with HostileServer() as server:
        source = write_video(project.folder / "source.mp4", frames=40)
        server.serve(f"{GOOD}.mp4", source)
        server.serve(f"{REFUSED}.mp4", behaviour="403")
        gone = f"elsewhere.mp4?sig={SIGNATURE}&token={SIGNATURE}"
        server.serve(f"{LED}.mp4", behaviour="redirect", location=server.url(gone))
        for video_id in (GOOD, REFUSED, LED):
            project.track(video_id, 0.1, 0.5, size=(192, 108))
        yield World(project, server)


@pytest.mark.timeout(600)
def test_no_command_tells_or_keeps_a_secret(world: World, tmp_path: Path) -> None:
    project, server, run = world.project, world.server, world.run
    metadata = project.write_metadata()
    server.serve("Tiny.jsonl.gzip", metadata, content_type="application/gzip")
    base = server.url("Tiny.jsonl.gzip").replace("//", f"//{FETCH_USER}:{FETCH}@")
    run("fetch-meta", f"{base}?token={FETCH_QUERY}")
    for name, behaviour in (("no.gzip", "403"), ("busy.gzip", "404")):
        server.serve(name, behaviour=behaviour)
        url = server.url(name).replace("//", f"//{FETCH_USER}:{FETCH}@")
        run("fetch-meta", f"{url}?token={FETCH_QUERY}", code=(2, 3))
    server.serve("hop.gzip", behaviour="redirect", location=f"ftp://h/x?token={FETCH_QUERY}")
    run("fetch-meta", server.url(f"hop.gzip?token={FETCH_QUERY}"), code=(2, 3))
    run("fetch-meta", "82K-CB100", code=(2, 3, 75), apart=True)

    shown = run("config") + run("config", "--json")
    assert "***" in shown
    assert "http_headers.User-Agent" in shown
    run("doctor", code=(0, 1, 3))
    run("doctor", "--online", "--video", GOOD, code=(0, 1, 3))
    run("plugins", "--json")
    run("plan", "--json")

    with refusing_proxy() as address:
        world.configure(f'proxy = "http://me:{quote(PROXY, safe="")}@{address}"')
        run("config")
        run("download-videos", code=(3,))
        run("doctor", "--online", "--video", REFUSED, code=(1, 3))
        world.configure(f'proxies = ["http://me:{quote(PROXY, safe="")}@{address}"]')
        run("download-tracks", code=(3,))
        run("config", "--json")
    for cookies in (tmp_path / "none.txt", world.ssh):
        world.configure(cookies=cookies)
        run("download-videos", code=(2,))
    world.configure()

    run("submit", "--executor", "slurm", "--world-size", "2", "--dry-run", code=(0, 2, 3))
    dry = run("submit", "--executor", "ssh", "--world-size", "2", "--dry-run", code=(0, 3))
    assert "--rank" in dry
    run("submit", "--executor", "ssh", "--stage", "download-videos", "--wait", code=(0, 1))
    assert project.layout.video_target(GOOD).is_file(), "a rank reads its secrets where they are"
    told = {request.name: request.headers for request in server.requests}
    assert told[f"{GOOD}.mp4"]["authorization"] == f"Bearer {HEADER}"
    assert told[f"{GOOD}.mp4"]["x-api-key"] == API_KEY
    assert COOKIE in told[f"{GOOD}.mp4"]["cookie"]
    run("submit", "--world-size", "2", code=(0, 1))
    for words in (
        ["status", "--json"], ["status"], ["logs", "0"], ["verify", "--json"], ["verify"],
        ["show", REFUSED], ["show", LED, "--json"], ["export", str(project.root / "clips.parquet")],
        ["clean"], ["cancel"], ["merge", str(tmp_path / "nobody")],
    ):  # fmt: skip
        run(*words, code=(0, 1, 2, 3))
    failed = {line["video_id"] for line in project.ledger() if line.get("state") == "failed"}
    assert failed == {REFUSED, LED}
    jobs = list(project.layout.jobs.glob("*/trackverse.toml"))
    assert len(jobs) == 2
    world.assert_silent()


def test_a_secret_in_the_environment_is_none_of_the_errors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_SECONDS", 0.0)
    project = world.project
    project.fetch()
    project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = world.server.url_template
    sayings = {
        "TRACKVERSE_DOWNLOAD__YT_DLP": f'{{ password = "{BROKEN}"',
        "TRACKVERSE_DOWNLOAD__PROXIES": f'["http://me:{ENV_PROXY}@h:1"',
        "TRACKVERSE_DOWNLOAD__PROXY": f"me:{ENV_PROXY}@127.0.0.1:9",
        "TRACKVERSE_DOWNLOAD__MAX_HEIGHT": f"http://me:{ENV_PROXY}@h",
        "TRACKVERSE_EXECUTOR__LOCAL__TOKEN": BROKEN,
        "TRACKVERSE_EXECUTOR__LOCAL__SLOTS": f"https://h/?token={BROKEN}",
    }
    for name, value in sayings.items():
        before = dict(project.env)
        project.env[name] = value
        for words in (["config", "--json"], ["download-videos"]):
            world.run(*words, code=(0, 1, 2, 3), config=False)
        project.env = before
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        for scheme in ("http", "gopher"):
            before = dict(project.env)
            project.env[name] = f"{scheme}://me:{ENV_PROXY}@127.0.0.1:9"
            world.run("fetch-meta", "http://example.invalid/x.gzip", code=(1, 2, 3, 75))
            project.env = before
    world.assert_silent()


def test_a_job_keeps_no_secret_and_its_ranks_have_all(world: World) -> None:
    config = load_config(world.config, {}, {})
    env = freeze(config, world.project.root / "job")
    assert env == {SECRETS_VARIABLE: str(world.config)}
    again = load_config(world.project.root / "job" / "trackverse.toml", {}, env)
    assert again.settings.download == config.settings.download
    world.config.write_text(f'[download.yt_dlp.http_headers]\nX-Api-Key = "{API_KEY}"\n')
    config = load_config(world.config, {}, {})
    env = freeze(config, world.project.root / "job")
    again = load_config(world.project.root / "job" / "trackverse.toml", {}, env)
    assert again.settings.download.yt_dlp == {"http_headers": {"X-Api-Key": API_KEY}}
    world.assert_silent()


def test_a_header_with_a_key_is_told_to_its_host_only(world: World) -> None:
    project = world.project
    with HostileServer() as other:
        other.serve("cdn.mp4", project.folder / "source.mp4")
        location = other.url("cdn.mp4").replace("127.0.0.1", "localhost")
        world.server.serve(f"{LED}.mp4", behaviour="redirect", location=location)
        project.fetch()
        world.run("download-videos", code=(0, 1), apart=True)
        assert project.layout.video_target(LED).is_file()
        data = other.requests_of("cdn.mp4")[-1]
        assert data.headers["user-agent"] == "me"
        assert not {"authorization", "x-api-key", "cookie"} & data.headers.keys()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://me:word@h:1/x", "http://me:***@h:1/x"),
        ("http://key@h/x", "http://***@h/x"),
        ("me:word@h:3128", "me:***@h:3128"),
        ("https://h/?a=1&api_key=word&b=2", "https://h/?a=1&api_key=***&b=2"),
        ("https://h/{video_id}?key={video_id}", "https://h/{video_id}?key={video_id}"),
        ("http://127.0.0.1:8000/a:b/{video_id}@x", "http://127.0.0.1:8000/a:b/{video_id}@x"),
        ({"X-Token": "word", "Accept": "b"}, {"X-Token": "***", "Accept": "b"}),
        ([{"password": "word"}, "socks5://a:b@c"], [{"password": "***"}, "socks5://a:***@c"]),
    ],
)
def test_what_is_secret_is_masked(value: Any, shown: Any) -> None:
    assert masked(value) == shown


def test_the_place_of_the_cookies_is_no_secret() -> None:
    assert shown_value("download.cookies", "/home/anna/cookies.txt") == "/home/anna/cookies.txt"


def test_what_is_known_as_secret_is_taken_out_of_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())
    redaction.guard_setting("download.proxy", "http://me:geheim%40x@h:1")
    redaction.guard_setting("download.yt_dlp.http_headers.Authorization", "Bearer abcdefgh")
    redaction.guard_setting("download.max_height", 720)
    text = "geheim@x geheim%40x me Bearer abcdefgh / abcdefgh 720 http://u:other@h"
    assert redacted(text) == "*** *** me *** / *** 720 http://u:***@h"
    assert (
        redacted("nothing to hide: a@b.c, 12:30 @ noon") == "nothing to hide: a@b.c, 12:30 @ noon"
    )


def test_a_traceback_for_the_curious_holds_none(project: Project) -> None:
    code = (
        "from trackverse_cli import app, redaction\n"
        "redaction.guard(['hunter2hunter2'])\n"
        "def break_down():\n    raise KeyError('hunter2hunter2 http://a:pw12@h')\n"
        "app.app = break_down\napp.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "KeyError" in done.stderr
    assert "hunter2" not in done.stderr
    assert "pw12" not in done.stderr


def test_the_witness_sees_what_a_process_starts(world: World) -> None:
    """The test above is worth nothing if nothing is looked at."""
    env = {**os.environ, **world.project.env}
    code = f"import subprocess; subprocess.run({['true', COOKIE]!r})"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert COOKIE in world.witness.read_text()
    with pytest.raises(AssertionError, match="words of a process"):
        world.assert_silent()
