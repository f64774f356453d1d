"""Hosts that mean harm: addresses that lead elsewhere, answers without end, bombs."""

from __future__ import annotations

import gzip
import http.server
import socket
import threading
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.media import write_fragmented, write_video
from tests.services.web import HostileServer
from trackverse_cli.download import Downloader, DownloadError, bounds, call, info, session
from trackverse_cli.download.info import check_address, place_of
from trackverse_cli.layout import Layout
from trackverse_cli.settings import DownloadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VIDEO = "hostile_hos"
NAME = f"{VIDEO}.mp4"
M3U8 = "application/vnd.apple.mpegurl"
QUICK = {"socket_timeout": 2, "retries": 0, "fragment_retries": 0, "extractor_retries": 0}


class HandsClock:
    """Waits in no time, but knows how long a host takes."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that lists what an ffmpeg on the PATH was told, if one is ever started."""
    told = tmp_path / "told"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        tool = folder / name
        tool.write_text(f'#!/bin/sh\necho "$0" "$@" >> {told}\necho "ffmpeg version 7.0"\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return told


def assert_only_looked_at(ffmpeg: Path) -> None:
    """An ffmpeg on the PATH may be asked which it is; it is given nothing to do."""
    told = ffmpeg.read_text().splitlines() if ffmpeg.exists() else []
    assert {line.split(maxsplit=1)[1] for line in told} <= {"-bsfs"}


def failure(
    url_template: str, layout: Layout, spans: Any = (), yt_dlp: Any = (), **how: Any
) -> DownloadError:
    """Return why a video did not come; of it nothing is left in its place."""
    settings = {key: how.pop(key) for key in ("max_bytes", "cookies", "proxy") if key in how}
    config = DownloadSettings(
        url_template=url_template, yt_dlp={**QUICK, **dict(yt_dlp)}, **settings
    )
    how.setdefault("clock", HandsClock())
    with (
        Downloader(config, layout, **how) as downloader,
        pytest.raises(DownloadError) as caught,
    ):
        downloader.fetch(VIDEO, 0.0, spans)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700
    assert not layout.video_target(VIDEO).exists()
    return caught.value


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve every connection by a function of its socket; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closing = threading.Event()

        def one(line: socket.socket) -> None:
            with line, suppress(OSError):
                line.recv(65536)
                answer(line)

        def serve() -> None:
            while not closing.is_set():
                with suppress(OSError):
                    line, _ = listener.accept()
                    threading.Thread(target=one, args=(line,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{{video_id}}.mp4"
        closing.set()


# --- where a host may lead


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("example.org", "web"), ("8.8.8.8", "web"), ("2001:4860:4860::8888", "web"),
        ("127.0.0.1", "home"), ("127.1", "home"), ("2130706433", "home"), ("localhost", "home"),
        ("LOCALHOST.", "home"), ("a.localhost", "home"), ("10.1.2.3", "home"), ("::1", "home"),
        ("192.168.0.1", "home"), ("0.0.0.0", "home"), ("fd00::1", "home"),
        ("::ffff:10.0.0.1", "home"),
        ("169.254.169.254", "link"), ("2852039166", "link"), ("0xa9fea9fe", "link"),
        ("169.254.43518", "link"), ("fe80::1", "link"), ("::ffff:169.254.169.254", "link"),
        ("fd00:ec2::254", "link"), ("100.100.100.200", "link"),
        ("metadata.google.internal", "link"),
        ("", "web"), ("localhost.example.org", "web"),
    ],
)  # fmt: skip
def test_where_a_host_lies_is_known_without_asking(host: str, place: str) -> None:
    assert place_of(host) == place


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://h/x", "gopher://h", "//h/x", "/etc/passwd", "http://[",
     "concat:a", "http://169.254.169.254/latest/meta-data", "https://2852039166/", "http://[fe80::1]/"],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(DownloadError, match="the host leads to"):
        check_address(url)


def test_a_host_of_the_web_does_not_lead_inside() -> None:
    check_address("http://10.0.0.1/x", at_home=True)
    for url in ("http://10.0.0.1/x", "http://localhost:8000/admin", "http://[::1]/"):
        with pytest.raises(DownloadError, match="inside our network"):
            check_address(url, at_home=False)


def test_a_redirect_into_the_own_wire_is_not_read(
    server: HostileServer, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address of this machine stands for the one at which a cloud tells its secrets."""
    source = write_video(tmp_path / "secret.mp4")
    server.serve("meta-data.mp4", source)
    inside = server.url("meta-data.mp4").replace("127.0.0.1", "localhost")
    server.serve(NAME, behaviour="redirect", location=inside)
    monkeypatch.setattr(info, "_METADATA_HOSTS", frozenset({"localhost"}))
    error = failure(server.url_template, layout)
    assert (error.reason, "'localhost'" in error.message) == ("ambiguous", True)
    assert list(layout.partial.iterdir()) == []


PLAYLISTS = {
    "a piece": "#EXTINF:1,\n{bad}\n",
    "a key": '#EXT-X-KEY:METHOD=AES-128,URI="{bad}"\n#EXTINF:1,\n{good}\n',
    "a head": '#EXT-X-MAP:URI="{bad}"\n#EXTINF:1,\n{good}\n',
    "another list": "#EXT-X-STREAM-INF:BANDWIDTH=1\n{bad}\n",
    "what needs ffmpeg": '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="{bad}"\n#EXTINF:1,\n{bad}\n',
    "what looks live": "#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\n{bad}\n",
}


@pytest.mark.parametrize(
    "bad", ["file://{secret}", "http://169.254.169.254/x.ts", "{secret}", "concat:{secret}"]
)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_leads_nowhere_but_to_the_web(
    server: HostileServer, layout: Layout, tmp_path: Path, ffmpeg: Path, kind: str, bad: str
) -> None:
    secret = write_video(tmp_path / "secret.ts")
    good = server.serve("good.ts", secret, content_type="video/mp2t")
    lines = PLAYLISTS[kind].format(bad=bad.format(secret=secret), good=good)
    text = f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n"
    server.serve(NAME, text.encode(), content_type=M3U8)
    failure(server.url_template, layout)
    assert_only_looked_at(ffmpeg)
    assert [p.name for p in layout.root.rglob("*") if p.is_file()] == []


def test_a_manifest_leads_nowhere_but_to_the_web(
    server: HostileServer, layout: Layout, tmp_path: Path, ffmpeg: Path
) -> None:
    secret = write_video(tmp_path / "secret.mp4")
    for base in (f"file://{secret}", "http://169.254.169.254/x.mp4"):
        text = (
            '<?xml version="1.0"?><!DOCTYPE MPD [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
            f'<Representation id="1" bandwidth="1"><BaseURL>{base}</BaseURL>'
            "</Representation></AdaptationSet></Period></MPD>"
        )
        server.serve(NAME, text.encode(), content_type="application/dash+xml")
        failure(server.url_template, layout)
    assert_only_looked_at(ffmpeg)
    assert [p.name for p in layout.root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("option", ["external_downloader", "ffmpeg_location", "enable_file_urls"])
def test_no_option_hands_the_work_to_another_program(option: str, layout: Layout) -> None:
    from trackverse_cli.errors import ConfigError

    settings = DownloadSettings(yt_dlp={option: "curl"})
    with pytest.raises(ConfigError, match=option):
        Downloader(settings, layout)


# --- answers without end


def endless(
    kind: str, head: bytes = b"", block: bytes = b"\0" * 65536
) -> Callable[[socket.socket], None]:
    def answer(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n" % kind.encode() + head)
        while True:
            line.sendall(block)

    return answer


def test_a_video_without_end_is_broken_off(layout: Layout) -> None:
    with raw_server(endless("video/mp4", b"\0\0\0\x14ftypisom\0\0\0\0isom")) as url:
        error = failure(url, layout, max_bytes=3_000_000)
    assert (error.reason, "max_bytes" in error.message) == ("ambiguous", True)
    assert list(layout.partial.iterdir()) == []


def test_a_video_larger_than_all_the_room_is_no_end_of_the_run(
    server: HostileServer, layout: Layout
) -> None:
    asked: list[int] = []
    server.serve(NAME, b"\0" * 5_000_000)
    error = failure(server.url_template, layout, largest_bytes=2_000_000, on_total=asked.append)
    assert (error.reason, "disk_budget" in error.message) == ("transient", True)
    assert asked == [], "no room is waited for that can never be"


def test_a_length_that_lies_is_broken_off_at_once(layout: Layout) -> None:
    def answer(line: socket.socket) -> None:
        line.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 999999999999999\r\n\r\n"
        )
        line.sendall(b"\0" * 200_000)
        time.sleep(1)

    with raw_server(answer) as url:
        error = failure(url, layout)
    assert (error.reason, "999999999999999" in error.message) == ("ambiguous", True)


def test_room_is_asked_for_what_nobody_stated(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "UNSTATED_BYTES", 500_000)
    asked: list[int] = []
    with raw_server(endless("video/mp4")) as url:
        failure(url, layout, max_bytes=4_000_000, on_total=asked.append)
    assert asked
    assert all(after >= 2 * before * 0.9 for before, after in pairwise(asked))
    assert max(asked) >= 2_000_000


@pytest.mark.parametrize("kind", ["text/html", M3U8, "application/dash+xml"])
def test_a_page_without_end_takes_little_memory(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(session, "PAGE_BYTES", 1_000_000)
    with raw_server(endless(kind, b"#EXTM3U\n<html><MPD>", b"<p>more</p>" * 6000)) as url:
        error = failure(url, layout)
    assert error.reason == "ambiguous"


def test_a_page_that_drips_is_hung_up(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "PAGE_SECONDS", 0.5)

    def drip(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")
        while True:
            line.sendall(b"x")
            time.sleep(0.1)

    with raw_server(drip) as url:
        error = failure(url, layout)
    assert error.reason in ("transient", "ambiguous")


def test_a_head_that_drips_is_left(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "PAGE_SECONDS", 0.3)
    monkeypatch.setattr(call, "_GRACE_SECONDS", 0.2)

    def drip(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            line.sendall(b"x")
            time.sleep(0.1)

    with raw_server(drip) as url:
        error = failure(url, layout)
    assert (error.reason, "did not answer" in error.message) == ("transient", True)


# --- bombs


def test_a_bomb_for_a_page_takes_little_memory(server: HostileServer, layout: Layout) -> None:
    bomb = gzip.compress(b"<html>" + b" " * (300 << 20))
    server.serve(NAME, bomb, content_type="text/html", headers={"Content-Encoding": "gzip"})
    error = failure(server.url_template, layout)
    assert (error.reason, "64 MiB" in error.message) == ("ambiguous", True)


def test_a_bomb_for_a_video_is_broken_off(server: HostileServer, layout: Layout) -> None:
    bomb = gzip.compress(b"\0\0\0\x14ftypisom\0\0\0\0isom" + b"\0" * (100 << 20))
    server.serve(NAME, bomb, headers={"Content-Encoding": "gzip"})
    failure(server.url_template, layout, max_bytes=10_000_000)
    assert sum(p.stat().st_size for p in layout.root.rglob("*") if p.is_file()) < 12_000_000


def test_stretches_of_a_file_that_lies_about_its_size(
    server: HostileServer, layout: Layout, tmp_path: Path
) -> None:
    whole = write_fragmented(tmp_path / "long.mp4", size=(64, 48))
    server.serve(NAME, whole)
    failure(server.url_template, layout, ((1.0, 2.0),), ranges="always", max_bytes=40_000)
    assert sum(p.stat().st_size for p in layout.root.rglob("*") if p.is_file()) < 80_000


def test_a_host_may_send_any_words(layout: Layout) -> None:
    class Rude(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(
                b"HTTP/1.1 403 \x1b[31m\x1b]0;owned\x07<script>alert(1)</script>\r\n\r\n"
            )

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Rude) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        error = failure(f"http://127.0.0.1:{server.server_port}/{{video_id}}", layout)
        server.shutdown()
    assert "\x1b" not in error.message
