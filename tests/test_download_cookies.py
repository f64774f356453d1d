from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from tests.services.media import write_video
from tests.services.web import HostileServer
from trackverse_cli.download import Downloader, cookies
from trackverse_cli.download.cookies import Cookies
from trackverse_cli.download.options import downloader_options
from trackverse_cli.errors import ConfigError
from trackverse_cli.layout import Layout
from trackverse_cli.settings import DownloadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{}\n"
IDS = [f"cookie_vid{number}" for number in range(8)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HostileServer]:
    source = write_video(tmp_path / "source.mp4", frames=10)
    with HostileServer() as server:
        for video_id in IDS:
            server.serve(f"{video_id}.mp4", source, headers={"Set-Cookie": "later=1; Max-Age=99"})
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cookies.txt"
    path.write_text(LINE.format("first-secret"))
    path.chmod(0o600)
    return path


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    said: list[str] = []
    monkeypatch.setattr(cookies, "_warned", set())
    number = logger.add(said.append, level="WARNING", format="{message}")
    yield said
    logger.remove(number)


def downloader(server: HostileServer, tmp_path: Path, source: Path) -> Downloader:
    settings = DownloadSettings(url_template=server.url_template, cookies=source)
    return Downloader(settings, Layout(tmp_path / "root"))


def sent(server: HostileServer) -> str:
    return server.requests[-1].headers["cookie"]


def test_changed_cookies_are_picked_up_without_a_restart(
    server: HostileServer, tmp_path: Path, file: Path
) -> None:
    with downloader(server, tmp_path, file) as one:
        one.fetch(IDS[0])
        assert "session=first-secret" in sent(server)
        assert "later=1" in sent(server)
        file.write_text(LINE.format("second-secret"))
        one.fetch(IDS[1])
        assert sent(server) == "session=second-secret; later=1"
        # The same content under another date changes nothing, and the session goes on.
        os.utime(file, (1, 1))
        one.fetch(IDS[2])
        assert sent(server) == "session=second-secret; later=1"


def test_a_file_that_is_just_being_written_changes_nothing(
    server: HostileServer, tmp_path: Path, file: Path, warnings: list[str]
) -> None:
    with downloader(server, tmp_path, file) as one:
        file.write_text("")
        one.fetch(IDS[0])
        assert "first-secret" in sent(server)
        assert ["from before stay in use" in said for said in warnings] == [True]
        file.unlink()
        one.fetch(IDS[1])
        file.write_text(LINE.format("third-secret"))
        one.fetch(IDS[2])
        assert "third-secret" in sent(server)
    assert "secret" not in "".join(warnings)


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)])
def test_a_file_that_others_can_read_draws_one_warning(
    file: Path, warnings: list[str], mode: int, count: int
) -> None:
    file.chmod(mode)
    for _ in range(3):
        Cookies(file)
    assert len(warnings) == count
    assert all(str(file) in said and "chmod 600" in said for said in warnings)


def test_eight_ranks_leave_the_file_as_it_is(
    server: HostileServer, tmp_path: Path, file: Path
) -> None:
    file.chmod(0o400)
    before = (file.read_bytes(), file.stat().st_mtime_ns, stat.S_IMODE(file.stat().st_mode))
    failed: list[BaseException] = []

    def rank(video_id: str) -> None:
        try:
            with downloader(server, tmp_path, file) as one:
                one.fetch(video_id)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    ranks = [threading.Thread(target=rank, args=(video_id,)) for video_id in IDS]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    assert failed == []
    after = (file.read_bytes(), file.stat().st_mtime_ns, stat.S_IMODE(file.stat().st_mode))
    assert after == before
    assert all("first-secret" in request.headers["cookie"] for request in server.requests)


@pytest.mark.parametrize(
    ("source", "browser"),
    [
        ("browser:firefox", ("firefox", None, None, None)),
        ("browser:Chrome", ("chrome", None, None, None)),
        ("browser:chromium+gnomekeyring", ("chromium", None, "GNOMEKEYRING", None)),
        ("browser:firefox:work", ("firefox", "work", None, None)),
        ("browser:firefox:/home/me/p::Lab", ("firefox", "/home/me/p", None, "Lab")),
        ("/etc/conf/browser:firefox", ("firefox", None, None, None)),
    ],
)
def test_a_browser_is_named(source: str, browser: tuple[str | None, ...]) -> None:
    found = Cookies(Path(source))
    assert (found.browser, found.text) == (browser, None)
    settings = DownloadSettings(cookies=Path(source))
    options: dict[str, Any] = downloader_options(
        settings, partial=Path(), node=Path(), cookies=found, wait=lambda _: 0.0, hooks={}
    )
    assert options["cookiesfrombrowser"] == browser
    assert "cookiefile" not in options
    assert not found.refresh()
    found.doubt()
    assert [found.refresh(), found.refresh()] == [True, False]


@pytest.mark.parametrize("source", ["browser:netscape", "browser:", "browser:firefox+"])
def test_a_browser_that_is_not_known_is_a_sentence(source: str) -> None:
    with pytest.raises(ConfigError, match="firefox"):
        Cookies(Path(source))


def test_a_browser_without_cookies_is_a_sentence(
    server: HostileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with (
        downloader(server, tmp_path, Path("browser:firefox")) as one,
        pytest.raises(ConfigError, match="cannot read the cookies of the browser firefox"),
    ):
        one.fetch(IDS[0])


def test_no_browser_is_looked_into_before_a_video_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trackverse_cli.download.cookies import Cookies;"
        "Cookies(Path('browser:firefox')); assert 'yt_dlp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
