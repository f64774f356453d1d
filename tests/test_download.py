from __future__ import annotations

import errno
import http.server
import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.media import times_of, write_video
from tests.services.web import HostileServer
from trackverse_cli.download import ATTEMPTS, DownloadedVideo, Downloader, DownloadError, options
from trackverse_cli.errors import (
    ConfigError,
    LacksError,
    RefusedNameError,
    StoppedError,
    TryLaterError,
)
from trackverse_cli.files import checksum
from trackverse_cli.layout import Layout
from trackverse_cli.settings import DownloadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VIDEO = "-good_video"
QUICK: dict[str, Any] = {"socket_timeout": 1, "retries": 0, "extractor_retries": 0}


class FakeClock:
    """Waits in no time, and remembers for how long."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def waited(self) -> float:
        return self.now - 1_000_000.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "source.mp4"
    return write_video(path, options={"movflags": "+faststart"})


@pytest.fixture(scope="module", autouse=True)
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("node")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YTDLP_NO_PLUGINS", "1")
        patch.setenv("DENO_DIR", str(folder / "deno"))
        patch.setattr(options.tempfile, "gettempdir", lambda: str(folder))
        yield folder


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root $HOME ~ %(id)s")


class Bench:
    """A downloader against a hostile server: serve, fetch, look at what is left."""

    def __init__(self, server: HostileServer, layout: Layout) -> None:
        self.server = server
        self.layout = layout
        self.clock = FakeClock()
        self.name = f"{VIDEO}.mp4"

    def downloader(self, **options: Any) -> Downloader:
        passed = {**QUICK, **options.pop("yt_dlp", {})}
        keys = ("stop", "on_bytes", "register", "clock", "ranges", "floor")
        ours = {key: options.pop(key) for key in keys if key in options}
        options.setdefault("url_template", self.server.url_template)
        settings = DownloadSettings(yt_dlp=passed, **options)
        return Downloader(settings, self.layout, **{"clock": self.clock, **ours})

    def fetch(self, **options: Any) -> DownloadedVideo:
        with self.downloader(**options) as downloader:
            return downloader.fetch(VIDEO)

    def failure(self, **options: Any) -> DownloadError:
        with pytest.raises(DownloadError) as caught:
            self.fetch(**options)
        error = caught.value
        assert "\n" not in error.message
        assert not self.layout.video_target(VIDEO).exists()
        return error

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.layout.partial.iterdir())


@pytest.fixture
def bench(server: HostileServer, layout: Layout) -> Bench:
    return Bench(server, layout)


# --- what goes well


def test_a_good_video_comes_byte_for_byte_and_is_described(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source)
    came: list[int] = []
    video = bench.fetch(on_bytes=came.append)
    assert video == DownloadedVideo(
        video_id=VIDEO,
        path=bench.layout.video_target(VIDEO),
        bytes=source.stat().st_size,
        width=64,
        height=48,
        duration_seconds=2.0,
        codec="h264",
        format_id="mp4",
        checksum=checksum(source),
        source_size=None,
        fps=25.0,
        fetched_bytes=source.stat().st_size,
        whole_bytes=source.stat().st_size,
    )
    assert video.path.read_bytes() == source.read_bytes()
    assert sum(came) == video.bytes
    assert bench.left == []
    assert bench.clock.waited == 0
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(video.path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    "behaviour", ["no-range", "wrong-type", "truncate-once", "503-twice", "no-length", "stall-once"]
)
def test_a_clumsy_host_costs_nothing_but_time(bench: Bench, source: Path, behaviour: str) -> None:
    bench.server.serve(bench.name, source, behaviour)
    assert bench.fetch().checksum == checksum(source)
    assert bench.left == []


def test_a_broken_line_is_continued_not_started_anew(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source, "truncate-once")
    came: list[int] = []
    bench.fetch(yt_dlp={"retries": 2}, on_bytes=came.append)
    half = source.stat().st_size // 2
    asked = bench.server.requests_of(bench.name)[-1].headers["range"]
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= half
    assert sum(came) == source.stat().st_size
    assert 1 <= bench.clock.waited <= 2


def test_a_redirect_does_not_name_the_file(bench: Bench, source: Path) -> None:
    target = bench.server.serve("somewhere/else.webm", source)
    bench.server.serve(bench.name, behaviour="redirect", location=target)
    assert bench.fetch().path == bench.layout.video_target(VIDEO)
    assert bench.left == []


@pytest.mark.parametrize(
    ("codec", "container", "served_as"),
    [
        ("libvpx-vp9", "webm", "video/webm"),
        ("libx264", "matroska", "application/octet-stream"),
        ("libx264", "mpegts", "video/mp4"),
    ],
)
def test_another_container_becomes_mp4_with_the_same_times(
    bench: Bench, tmp_path: Path, codec: str, container: str, served_as: str
) -> None:
    uneven = [number + number * number // 9 for number in range(30)]
    source = write_video(
        tmp_path / "source", codec=codec, container=container, frames=30, pts=uneven
    )
    bench.server.serve(VIDEO, source, content_type=served_as)
    video = bench.fetch(url_template=bench.server.url("{video_id}"))
    assert video.codec == {"libvpx-vp9": "vp9", "libx264": "h264"}[codec]
    assert video.path.read_bytes()[4:8] == b"ftyp"
    assert times_of(video.path) == times_of(source)
    assert bench.left == []


def playlist(bench: Bench, tmp_path: Path, missing: str = "") -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    for number in range(2):
        times = list(range(50 * number, 50 * number + 50))
        segment = write_video(tmp_path / f"{number}.ts", container="mpegts", pts=times)
        if missing != segment.name:
            bench.server.serve(segment.name, segment, content_type="video/mp2t")
        lines += ["#EXTINF:2.0,", segment.name]
    text = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    bench.server.serve(bench.name, text, content_type="application/vnd.apple.mpegurl")


def test_a_stream_in_pieces_becomes_one_mp4(bench: Bench, tmp_path: Path) -> None:
    playlist(bench, tmp_path)
    video = bench.fetch()
    assert len(times_of(video.path)) == 100
    assert video.duration_seconds == pytest.approx(4.0, abs=0.05)
    assert bench.left == []


def test_a_missing_piece_is_not_passed_over(bench: Bench, tmp_path: Path) -> None:
    playlist(bench, tmp_path, missing="1.ts")
    error = bench.failure()
    assert error.reason == "transient"
    assert bench.server.count("1.ts") >= ATTEMPTS


def test_a_codec_that_mp4_cannot_hold_is_said(bench: Bench, tmp_path: Path) -> None:
    source = write_video(tmp_path / "source", codec="libvpx", container="webm")
    bench.server.serve(bench.name, source, content_type="video/webm")
    error = bench.failure()
    assert (error.reason, "vp8" in error.message) == ("tool", True)
    assert bench.left == []


def test_one_downloader_brings_many(bench: Bench, source: Path) -> None:
    bench.server.serve("aaaaaaaaaaa.mp4", source)
    bench.server.serve("bbbbbbbbbbb.mp4", source)
    with bench.downloader() as downloader:
        assert downloader.fetch("aaaaaaaaaaa").video_id == "aaaaaaaaaaa"
        with pytest.raises(DownloadError, match="404"):
            downloader.fetch("ccccccccccc")
        assert downloader.fetch("bbbbbbbbbbb").path.name == "bbbbbbbbbbb.mp4"


def test_other_braces_of_a_template_stay(bench: Bench, source: Path) -> None:
    bench.server.serve(f"{{x}}/{VIDEO}", source)
    bench.fetch(url_template=bench.server.url("{x}/{video_id}"))


# --- what ends, with its reason


@pytest.mark.parametrize(
    ("behaviour", "reason", "requests"),
    [
        ("404", "permanent", 1),
        ("410", "permanent", 1),
        ("403", "access", 1),
        ("401", "needs-cookies", 1),
        ("451", "geo", 1),
        ("html", "ambiguous", 1),
        ("html-as-video", "ambiguous", 2),
        ("text", "ambiguous", 2),
        ("503", "transient", ATTEMPTS),
    ],
)
def test_a_bad_answer_has_its_reason_and_leaves_nothing(
    bench: Bench, source: Path, behaviour: str, reason: str, requests: int
) -> None:
    bench.server.serve(bench.name, source, behaviour)
    error = bench.failure()
    assert error.reason == reason
    assert bench.server.count(bench.name) == requests
    assert bench.left == []
    if behaviour.isdecimal():
        assert f"HTTP Error {behaviour}" in error.message


@pytest.mark.parametrize("behaviour", ["truncate-always", "wrong-length", "stall"])
def test_what_never_ends_well_is_tried_three_times_with_growing_waits(
    bench: Bench, source: Path, behaviour: str
) -> None:
    bench.server.serve(bench.name, source, behaviour)
    error = bench.failure()
    assert error.reason == "transient"
    assert bench.server.count(bench.name) >= 2 * ATTEMPTS
    assert 1 + 2 <= bench.clock.waited <= 1.5 * (1 + 2)
    assert all(name.endswith(".part") for name in bench.left)


def test_a_short_body_without_a_length_is_noticed(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source, "no-length-short")
    error = bench.failure()
    assert (error.reason, "cut short" in error.message) == ("transient", True)
    assert bench.server.count(bench.name) == 2 * ATTEMPTS
    assert bench.left == []


def test_an_index_at_the_end_is_missed_when_cut(bench: Bench, tmp_path: Path) -> None:
    bench.server.serve(bench.name, write_video(tmp_path / "source.mp4"), "no-length-short")
    assert bench.failure().reason == "transient"
    assert bench.left == []


def test_throttling_ends_at_once_and_says_for_how_long(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source, "429", headers={"Retry-After": "120"})
    error = bench.failure()
    assert (error.reason, error.retry_after_seconds) == ("throttled", 120)
    assert (bench.server.count(bench.name), bench.clock.waited) == (1, 0)


def test_a_short_retry_after_is_obeyed(bench: Bench, source: Path) -> None:
    headers = {"Retry-After": "30"}
    bench.server.serve(bench.name, source, "503", times=1, headers=headers)
    bench.fetch()
    assert 30 <= bench.clock.waited <= 31


def test_a_long_retry_after_is_not_waited_for(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source, "503", headers={"Retry-After": "3600"})
    error = bench.failure()
    assert (error.reason, error.retry_after_seconds) == ("transient", 3600)
    assert bench.clock.waited == 0


def test_retry_after_counts_while_the_data_comes_too(bench: Bench, source: Path) -> None:
    headers = {"Retry-After": "20"}
    bench.server.serve(bench.name, source, "503", after=1, times=1, headers=headers)
    bench.fetch(yt_dlp={"retries": 2})
    assert 20 <= bench.clock.waited <= 21
    assert bench.server.count(bench.name) == 3


def test_no_route_is_not_the_videos_fault(bench: Bench) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = bench.failure(url_template=f"http://127.0.0.1:{port}/{{video_id}}")
    assert (error.reason, bench.clock.waited) == ("offline", 0)


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_a_redirect_off_the_web_is_refused(bench: Bench, source: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        location = "file:///etc/passwd" if scheme == "file" else f"ftp://127.0.0.1:{port}/x.mp4"
        bench.server.serve(bench.name, behaviour="redirect", location=location)
        assert bench.failure().reason == "ambiguous"
        with pytest.raises(TimeoutError):
            listener.accept()
    assert bench.left == []


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_a_page_that_sends_off_the_web_is_refused(bench: Bench, scheme: str) -> None:
    page = f"<html><head><meta http-equiv='refresh' content='0;url={scheme}://127.0.0.1:1/x.mp4'>"
    bench.server.serve(bench.name, page.encode(), content_type="text/html")
    assert bench.failure().reason == "ambiguous"


@pytest.mark.parametrize(
    "embed",
    ["<video src='{}'></video>", "<iframe src='https://www.youtube.com/embed/aaaaaaaaaaa'/>"],
)
def test_a_page_that_shows_another_video_is_no_video(
    bench: Bench, source: Path, embed: str
) -> None:
    other = bench.server.serve("advertisement.mp4", source)
    page = f"<!doctype html><html><body>Gone. {embed.format(other)}</body></html>"
    bench.server.serve(bench.name, page.encode(), content_type="text/html")
    assert bench.failure().reason == "ambiguous"
    assert bench.left == []


def test_a_playlist_file_does_not_read_this_machine(bench: Bench, source: Path) -> None:
    playlist = f"ffconcat version 1.0\nfile '{source}'\n"
    bench.server.serve(bench.name, playlist.encode())
    assert bench.failure().reason == "ambiguous"
    assert bench.left == []


class RealClock(FakeClock):
    """Waits in no time, but knows how long a host takes."""

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.mark.parametrize("chunk_bytes", [4096, 1], ids=["in-blocks", "byte-by-byte"])
def test_a_slow_drip_is_ended_and_what_came_is_kept(
    bench: Bench, source: Path, chunk_bytes: int
) -> None:
    bench.server.serve(
        bench.name, source, "drip", after=1, chunk_bytes=chunk_bytes, pause_seconds=0.2
    )
    begin = time.monotonic()
    error = bench.failure(clock=RealClock(), floor=(65536, 1.0))
    assert (error.reason, "too slowly" in error.message) == ("transient", True)
    assert time.monotonic() - begin < ATTEMPTS * 5
    assert bench.left == ([f"{VIDEO}.mp4.mp4.part"] if chunk_bytes > 1 else [])


def test_a_drip_above_the_floor_is_borne(bench: Bench, source: Path) -> None:
    bench.server.serve(bench.name, source, "drip", chunk_bytes=4096, pause_seconds=0.05)
    assert bench.fetch(clock=RealClock(), floor=(4096, 0.5)).checksum == checksum(source)


def test_a_redirect_to_another_host_is_followed(bench: Bench, source: Path) -> None:
    with HostileServer() as other:
        other.serve("x.mp4", source)
        location = other.url("x.mp4").replace("127.0.0.1", "localhost")
        bench.server.serve(bench.name, behaviour="redirect", location=location)
        assert bench.fetch().checksum == checksum(source)
        assert other.count("x.mp4")


def test_redirects_without_end_are_ended(bench: Bench) -> None:
    bench.server.serve(bench.name, behaviour="redirect", location=bench.server.url(bench.name))
    assert bench.failure().reason in ("transient", "ambiguous")
    assert bench.server.count(bench.name) < 200


# --- what was left by an earlier run


def part(bench: Bench, content: bytes, name: str = f"{VIDEO}.mp4.mp4.part") -> None:
    bench.layout.partial.mkdir(parents=True)
    (bench.layout.partial / name).write_bytes(content)


def test_an_unfinished_file_is_continued(bench: Bench, source: Path) -> None:
    whole = source.read_bytes()
    part(bench, whole[:5000])
    bench.server.serve(bench.name, source)
    came: list[int] = []
    assert bench.fetch(on_bytes=came.append).checksum == checksum(source)
    assert sum(came) == len(whole) - 5000
    assert bench.server.requests_of(bench.name)[-1].headers["range"] == "bytes=5000-"


@pytest.mark.parametrize("extra", [b"", b"x", b"x" * 5000])
def test_a_complete_or_overlong_unfinished_file_ends_well(
    bench: Bench, source: Path, extra: bytes
) -> None:
    part(bench, source.read_bytes() + extra)
    bench.server.serve(bench.name, source)
    assert bench.fetch().checksum == checksum(source)
    assert bench.left == []


def test_416_for_ever_is_ended_by_starting_anew(bench: Bench, source: Path) -> None:
    part(bench, source.read_bytes()[:5000])
    # Request 1 is for the page; 2 and 3 are the downloader's own tries to continue.
    bench.server.serve(bench.name, source, "416", after=1, times=2)
    assert bench.fetch().checksum == checksum(source)
    assert "range" not in bench.server.requests_of(bench.name)[-1].headers


def test_a_host_that_answers_416_to_every_range_is_asked_for_the_whole(
    bench: Bench, source: Path
) -> None:
    part(bench, source.read_bytes()[:5000])
    bench.server.serve(bench.name, source, "range-416")
    assert bench.fetch().checksum == checksum(source)
    assert bench.left == []


def test_416_to_everything_ends_and_leaves_nothing(bench: Bench, source: Path) -> None:
    part(bench, source.read_bytes()[:5000])
    bench.server.serve(bench.name, source, "416", after=1)
    assert bench.failure().reason == "transient"
    assert bench.server.count(bench.name) < 20
    assert bench.left == []


def test_an_unfinished_file_of_another_format_is_not_continued(bench: Bench, source: Path) -> None:
    part(bench, b"x" * 5000, f"{VIDEO}.webm.webm.part")
    bench.server.serve(bench.name, source)
    assert bench.fetch().checksum == checksum(source)
    assert bench.left == []


def test_a_finished_file_of_a_killed_run_is_not_trusted(bench: Bench, source: Path) -> None:
    part(bench, b"four", f"{VIDEO}.mp4.mp4")
    bench.server.serve(bench.name, source)
    assert bench.fetch().checksum == checksum(source)


def test_files_of_others_are_left_alone(bench: Bench, source: Path) -> None:
    part(bench, b"x", "aaaaaaaaaaa.mp4.mp4.part")
    bench.server.serve(bench.name, source)
    bench.fetch()
    assert bench.left == ["aaaaaaaaaaa.mp4.mp4.part"]


# --- stopping


@pytest.mark.parametrize("behaviour", ["drip", "stall"])
def test_stop_ends_a_download_soon_and_keeps_what_came(
    bench: Bench, source: Path, behaviour: str
) -> None:
    stop = threading.Event()
    bench.server.serve(bench.name, source, behaviour, after=1)
    begin: list[float] = []

    def stop_amid() -> None:
        for _ in range(600):
            if bench.layout.partial.is_dir() and bench.left:
                break
            time.sleep(0.1)
        begin.append(time.monotonic())
        stop.set()

    stopper = threading.Thread(target=stop_amid)
    stopper.start()
    with pytest.raises(StoppedError) as caught:
        bench.fetch(stop=stop, yt_dlp={"socket_timeout": 120})
    stopper.join()
    assert caught.value.exit_code == 143
    assert time.monotonic() - begin[0] < 60  # it does not wait for the socket's time-out
    assert bench.left == [f"{VIDEO}.mp4.mp4.part"]
    bench.server.serve(bench.name, source)
    assert bench.fetch().checksum == checksum(source)


def test_stop_ends_a_wait(bench: Bench, source: Path) -> None:
    stop = threading.Event()

    class Stopping(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            stop.set()

    clock = Stopping()
    bench.server.serve(bench.name, source, "503")
    with pytest.raises(StoppedError):
        bench.fetch(stop=stop, clock=clock)
    assert clock.waited <= 0.25


# --- the storage


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, TryLaterError),
        (errno.EDQUOT, TryLaterError),
        (errno.EIO, LacksError),
    ],
)
def test_a_failing_disk_is_not_the_videos_fault(
    bench: Bench,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[Exception],
) -> None:
    from yt_dlp.downloader.http import HttpFD

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(HttpFD, "sanitize_open", lambda self, name, mode: (Full(), name))
    bench.server.serve(bench.name, source)
    with pytest.raises(kind, match=os.strerror(number)):
        bench.fetch()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full_when_the_file_is_closed(
    bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yt_dlp.downloader.http import HttpFD

    def opened(_self: object, name: str, mode: str) -> tuple[Any, str]:
        return Path("/dev/full").open("wb"), name

    monkeypatch.setattr(HttpFD, "sanitize_open", opened)
    bench.server.serve(bench.name, source)
    with pytest.raises(TryLaterError, match="No space left"):
        bench.fetch()


def test_no_room_for_the_finished_file(
    bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(temporary: Path, target: Path) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("trackverse_cli.download.place.publish", full)
    bench.server.serve(bench.name, source)
    with pytest.raises(TryLaterError, match="quota"):
        bench.fetch()


# --- settings


COOKIE = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret-value\n"


@pytest.mark.parametrize("header", ["", "# Netscape HTTP Cookie File\n", "\ufeff# x\r\n\r\n"])
def test_cookies_are_sent_and_their_file_is_never_written(
    bench: Bench, source: Path, tmp_path: Path, header: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text(header + COOKIE + "a malformed line with secret-value\n")
    file.chmod(0o400)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    answer = {"Set-Cookie": "later=1; Max-Age=3600"}
    bench.server.serve(bench.name, source, headers=answer)
    bench.fetch(cookies=file)
    assert "session=secret-value" in bench.server.requests[0].headers["cookie"]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert "secret-value" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b'[{"name": "session"}]', "no cookie in Netscape format"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_cookie_file_that_is_none_is_a_sentence(
    bench: Bench, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        bench.downloader(cookies=file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["paths", "outtmpl", "cookiefile", "logger", "progress_hooks", "ignoreerrors", "match_filter"],
)
def test_an_option_that_decides_where_files_go_is_refused(bench: Bench, key: str) -> None:
    with pytest.raises(ConfigError, match=f"yt_dlp.{key}"):
        bench.downloader(yt_dlp={key: "x"})


def test_an_option_that_the_downloader_does_not_take_is_a_sentence(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"\[download\] yt_dlp"):
        bench.fetch(yt_dlp={"format": "best["})


@pytest.mark.parametrize("template", ["file:///{video_id}", "{video_id}", "ftp://x/{video_id}"])
def test_a_template_off_the_web_is_refused(bench: Bench, template: str) -> None:
    with pytest.raises(ConfigError, match="url_template"):
        bench.downloader(url_template=template)


@pytest.mark.parametrize("video_id", ["../../../x", "short", "a" * 12, "aaaaa\naaaaa", ""])
def test_an_id_that_is_none_is_refused(bench: Bench, video_id: str) -> None:
    with bench.downloader() as downloader, pytest.raises(RefusedNameError):
        downloader.fetch(video_id)


def test_the_proxy_is_used_and_its_password_is_not_said(bench: Bench) -> None:
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(407)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://me:hush@127.0.0.1:{proxy.server_port}"
        error = bench.failure(proxy=address, url_template="http://example.invalid/{video_id}")
        proxy.shutdown()
    assert asked == [f"http://example.invalid/{VIDEO}"]
    assert error.reason == "offline"
    assert "hush" not in error.message


def test_the_node_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = options.node_folder()
    assert options.node_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert options.node_folder() != folder


def test_importing_does_not_load_the_downloader() -> None:
    code = (
        "import sys, json, trackverse_cli.download;"
        "print(json.dumps([m for m in ('yt_dlp', 'av', 'requests') if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(out.stdout) == []


# --- YouTube, by an extractor that says what YouTube says


def youtube(answer: Callable[[Any, str], dict[str, Any]]) -> Callable[[Any], None]:
    def register(session: Any) -> None:
        from yt_dlp.extractor.common import InfoExtractor

        class FakeIE(InfoExtractor):
            IE_NAME = "youtube"
            _VALID_URL = r"https://www\.youtube\.com/watch\?v=(?P<id>[\w-]{11})"

            def _real_extract(self, url: str) -> dict[str, Any]:
                return answer(self, self._match_id(url))

        session.add_info_extractor(FakeIE())

    return register


WATCH = "https://www.youtube.com/watch?v={video_id}"


def formats(address: str) -> list[dict[str, Any]]:
    def made(format_id: str, size: tuple[int, int], codec: str, ext: str) -> dict[str, Any]:
        return {
            "format_id": format_id,
            "url": address,
            "ext": ext,
            "vcodec": codec,
            "acodec": "none",
            "width": size[0],
            "height": size[1],
            "fps": 30,
        }

    return [
        made("134", (640, 360), "avc1.4d401e", "mp4"),
        made("136", (1280, 720), "avc1.64001f", "mp4"),
        made("137", (1920, 1080), "avc1.640028", "mp4"),
        made("248", (2560, 1440), "vp9", "webm"),
        made("399-sr", (3840, 2160), "avc1.64002a", "mp4"),
    ]


@pytest.mark.parametrize(("max_height", "chosen"), [(720, "136"), (480, "134"), (1080, "137")])
def test_the_format_of_the_settings_is_chosen_and_the_largest_is_known(
    bench: Bench, source: Path, max_height: int, chosen: str
) -> None:
    address = bench.server.serve("media", source)
    register = youtube(
        lambda _, video_id: {"id": video_id, "title": "x", "formats": formats(address)}
    )
    video = bench.fetch(url_template=WATCH, max_height=max_height, register=register)
    assert video.format_id == chosen
    assert video.source_size == (2560, 1440)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("This video has been removed by the uploader", "permanent"),
        ("Private video. Sign in if you\u2019ve been granted access to this video", "access"),
        ("Sign in to confirm your age", "needs-cookies"),
        ("Sign in to confirm you\u2019re not a bot", "throttled"),
        ("Premieres in 3 hours", "later"),
        ("Video unavailable", "ambiguous"),
        ("This video is DRM protected", "tool"),
    ],
)
def test_what_youtube_says_is_understood_and_kept(bench: Bench, said: str, reason: str) -> None:
    def answer(extractor: Any, video_id: str) -> dict[str, Any]:
        from yt_dlp.utils import ExtractorError

        raise ExtractorError(said, expected=True, video_id=video_id)

    error = bench.failure(url_template=WATCH, register=youtube(answer))
    assert (error.reason, error.message) == (reason, said)


def test_the_cause_is_found_among_the_warnings(bench: Bench) -> None:
    def answer(extractor: Any, video_id: str) -> dict[str, Any]:
        from yt_dlp.utils import ExtractorError

        extractor.report_warning("Unable to download API page: HTTP Error 429: Too Many Requests")
        raise ExtractorError("Failed to extract any player response", expected=True)

    error = bench.failure(url_template=WATCH, register=youtube(answer))
    assert error.reason == "throttled"
    assert "429" in error.message


def test_an_empty_list_of_formats_blames_the_tool(bench: Bench) -> None:
    register = youtube(lambda _, video_id: {"id": video_id, "title": "x", "formats": []})
    error = bench.failure(url_template=WATCH, register=register)
    assert (error.reason, "No video formats found" in error.message) == ("tool", True)


@pytest.mark.parametrize("status", ["is_live", "is_upcoming", "post_live"])
def test_what_is_live_comes_later(bench: Bench, source: Path, status: str) -> None:
    address = bench.server.serve("media", source)
    register = youtube(
        lambda _, video_id: {
            "id": video_id,
            "title": "x",
            "formats": formats(address),
            "live_status": status,
        }
    )
    assert bench.failure(url_template=WATCH, register=register).reason == "later"
    assert bench.server.count("media") == 0


def test_another_video_than_asked_for_is_refused(bench: Bench, source: Path) -> None:
    address = bench.server.serve("media", source)
    register = youtube(lambda *_: {"id": "bbbbbbbbbbb", "title": "x", "formats": formats(address)})
    error = bench.failure(url_template=WATCH, register=register)
    assert (error.reason, "bbbbbbbbbbb" in error.message) == ("ambiguous", True)


@pytest.mark.parametrize(
    "promise", [{"duration": 60}, {"filesize": 12345}], ids=["duration", "filesize"]
)
def test_another_file_than_promised_is_refused(
    bench: Bench, source: Path, promise: dict[str, Any]
) -> None:
    address = bench.server.serve("media", source, "no-length")

    def answer(extractor: Any, video_id: str) -> dict[str, Any]:
        size = {key: value for key, value in promise.items() if key == "filesize"}
        offered = [{**each, **size} for each in formats(address)]
        return {"id": video_id, "title": "x", "formats": offered, **promise}

    error = bench.failure(url_template=WATCH, register=youtube(answer))
    assert (error.reason, "where the host stated" in error.message) == ("transient", True)
    assert bench.left == []


@pytest.mark.parametrize(("needed", "short"), [(0.0, False), (2.5, False), (9.0, True)])
@pytest.mark.parametrize("behaviour", ["no-length", "good"])
def test_a_video_shorter_than_promised_and_needed_is_a_short_body(
    bench: Bench, source: Path, needed: float, short: bool, behaviour: str
) -> None:
    # 2 s came where 3.04 s were promised: within the slack of durations that are rounded.
    address = bench.server.serve("media", source, behaviour)
    register = youtube(
        lambda _, video_id: {
            "id": video_id, "title": "x", "formats": formats(address), "duration": 3.04,
        }
    )  # fmt: skip
    with bench.downloader(url_template=WATCH, register=register) as downloader:
        if short and behaviour == "no-length":
            with pytest.raises(DownloadError, match=r"lasts 2\.00 s") as caught:
                downloader.fetch(VIDEO, needed)
            assert caught.value.reason == "transient"
        else:
            # A track that goes on after the end of a whole video is the track's own matter.
            assert downloader.fetch(VIDEO, needed).duration_seconds == 2.0


def test_what_came_is_described(bench: Bench, source: Path) -> None:
    address = bench.server.serve("media", source)
    offered = [{**each, "fps": 25} for each in formats(address)]
    answer = {"title": "x", "formats": offered, "upload_date": "20190228"}
    video = bench.fetch(
        url_template=WATCH, register=youtube(lambda _, video_id: {"id": video_id, **answer})
    )
    assert (video.format_id, video.codec, video.fps) == ("136", "h264", 25.0)
    assert (video.upload_date, video.ranges, video.note) == ("20190228", (), "")
    assert video.whole_bytes == video.fetched_bytes == video.bytes == source.stat().st_size


def warning(said: str, failure: str | None) -> Callable[[Any, str], dict[str, Any]]:
    def answer(extractor: Any, video_id: str) -> dict[str, Any]:
        from yt_dlp.utils import ExtractorError

        extractor.report_warning(said, only_once=True)
        if failure is None:
            raise AssertionError
        raise ExtractorError(failure, expected=True, video_id=video_id)

    return answer


RUNTIME = "No supported JavaScript runtime could be found. Only deno is enabled by default"


@pytest.mark.parametrize(
    "said", [RUNTIME, "n challenge solving failed: Some formats may be missing."]
)
def test_a_missing_runtime_is_the_tools_fault_for_every_video(bench: Bench, said: str) -> None:
    register = youtube(warning(said, "Requested format is not available"))
    with bench.downloader(url_template=WATCH, register=register) as downloader:
        # The downloader says it once, for the first video only.
        for video_id in ("aaaaaaaaaaa", "bbbbbbbbbbb"):
            with pytest.raises(DownloadError) as caught:
                downloader.fetch(video_id)
            assert caught.value.reason == "tool"
            assert "deno" in caught.value.message
            assert "yt-dlp[default]" in caught.value.message
            assert caught.value.message.startswith("Requested format is not available")


def test_a_missing_runtime_does_not_bring_a_smaller_video(bench: Bench, source: Path) -> None:
    address = bench.server.serve("media", source)
    offered = {"title": "x", "formats": formats(address)[:1]}

    def answer(extractor: Any, video_id: str) -> dict[str, Any]:
        extractor.report_warning(RUNTIME, only_once=True)
        return {"id": video_id, **offered}

    error = bench.failure(url_template=WATCH, register=youtube(answer))
    assert (error.reason, "deno" in error.message) == ("tool", True)
    # Without that warning there may be no larger one.
    register = youtube(lambda _, video_id: {"id": video_id, **offered})
    assert bench.fetch(url_template=WATCH, register=register).format_id == "134"


EXPIRED = "The provided YouTube account cookies are no longer valid. They have likely been rotated"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("Private video. Sign in if you've been granted access", "needs-cookies"),
        ("Sign in to confirm your age", "needs-cookies"),
        ("Sign in to confirm you\u2019re not a bot", "needs-cookies"),
        ("Requested format is not available", "needs-cookies"),
        ("Video unavailable", "needs-cookies"),
        ("This video has been removed by the uploader", "permanent"),
        ("The uploader has not made this video available in your country", "geo"),
        ("Premieres in 3 hours", "later"),
    ],
)
def test_expired_cookies_are_not_the_videos_fault(bench: Bench, failure: str, reason: str) -> None:
    error = bench.failure(url_template=WATCH, register=youtube(warning(EXPIRED, failure)))
    expired = reason == "needs-cookies"
    assert (error.reason, error.cookies_expired) == (reason, expired)
    assert error.message.startswith(failure.split(".", maxsplit=1)[0])
    assert ("export them anew" in error.message) is expired


def test_media_that_is_forbidden_is_tried_again(bench: Bench, source: Path) -> None:
    address = bench.server.serve("media", source, "403", times=1)
    register = youtube(
        lambda _, video_id: {"id": video_id, "title": "x", "formats": formats(address)}
    )
    assert bench.fetch(url_template=WATCH, register=register).format_id == "136"


def test_a_long_format_id_fits_into_a_file_name(bench: Bench, source: Path) -> None:
    address = bench.server.serve("media", source)
    offered = [{**formats(address)[1], "format_id": "\u00fc/../" * 200}]
    register = youtube(lambda _, video_id: {"id": video_id, "title": "x", "formats": offered})
    assert bench.fetch(url_template=WATCH, register=register).checksum == checksum(source)
    assert bench.left == []
