from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli.errors import DamagedFileError, LacksError, TryLaterError, UsageError
from trackverse_cli.fetch import fetch_metadata
from trackverse_cli.index import open_index, resolve_metadata
from trackverse_cli.layout import Layout
from trackverse_cli.subsets import SUBSETS, find_subset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def content(tracks: int = 3) -> bytes:
    lines = []
    for number in range(tracks):
        name = f"{number // 2:011d}"
        fields = {
            "yid": name,
            "track_id": f"t{number}",
            "track_mp4_filename": f"{name}-{number}.mp4",
            "frame_ts": [0.5, 1.5],
            "frame_bboxes": [[1, 2, 3, 4], [5, 6, 7, 8]],
        }
        lines.append(json.dumps(fields).encode())
    return gzip.compress(b"\n".join(lines), mtime=0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


class NoSleep:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Web:
    """A server on 127.0.0.1 that gives one file, and misbehaves as told."""

    def __init__(self) -> None:
        self.body = content()
        self.etag = '"one"'
        self.statuses: list[int] = []
        self.cut_after: list[int] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.redirect = ""
        web = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(False)

            def do_GET(self) -> None:
                self.answer(True)

            def answer(self, with_body: bool) -> None:
                web.seen.append((self.command, self.path, dict(self.headers)))
                if web.statuses:
                    self.send_response(web.statuses.pop(0))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if web.redirect and self.path != "/meta.jsonl.gz":
                    self.send_response(302)
                    self.send_header("Location", web.redirect)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                begin = 0
                given = self.headers.get("Range")
                if given and self.headers.get("If-Range", web.etag) == web.etag:
                    begin = int(given.removeprefix("bytes=").split("-")[0])
                body = web.body[begin:]
                self.send_response(206 if begin else 200)
                if begin:
                    total = len(web.body)
                    self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
                self.send_header("ETag", web.etag)
                self.send_header("X-Repo-Commit", "a" * 40)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body[: web.cut_after.pop(0)] if web.cut_after else body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.base}/meta.jsonl.gz"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def gets(self) -> list[dict[str, str]]:
        return [headers for command, _, headers in self.seen if command == "GET"]


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.server.shutdown()
    server.server.server_close()


def names_in(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.metadata.iterdir())


def test_a_local_file_is_copied_and_indexed(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gzip"
    path.write_bytes(content())
    seen: list[tuple[int, int]] = []
    result = fetch_metadata(str(path), layout, progress=lambda *now: seen.append(now))
    assert path.exists()
    assert (result.name, result.tracks, result.lines) == ("some", 3, 3)
    assert not result.unchanged
    assert result.path == layout.metadata / "some.jsonl.gzip"
    assert names_in(layout) == ["some.jsonl.gzip"]
    assert seen
    assert open_index(layout, resolve_metadata(layout, "")).manifest.videos == 2
    again = fetch_metadata(str(path), layout)
    assert again.unchanged
    assert again.index is not None
    assert result.index is not None
    assert again.index.manifest.files == result.index.manifest.files


def test_a_file_in_metadata_is_used_in_place(layout: Layout) -> None:
    layout.metadata.mkdir(parents=True)
    path = layout.metadata / "here.jsonl.gzip"
    path.write_bytes(content())
    for wanted in (str(path), "here", "here.jsonl.gzip"):
        assert fetch_metadata(wanted, layout).path == path
    assert names_in(layout) == ["here.jsonl.gzip"]


def test_a_name_without_suffix_gets_one(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(content())
    result = fetch_metadata(str(path), layout)
    assert result.name == resolve_metadata(layout, "plain") == "plain"
    assert result.path.name == "plain.jsonl.gzip"


def test_a_damaged_file_leaves_what_was_there(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gzip"
    path.write_bytes(content())
    fetch_metadata(str(path), layout)
    path.write_bytes(content(50)[:-20])
    for make_index in (True, False):
        with pytest.raises(DamagedFileError, match=r"some\.jsonl\.gzip .* line \d+"):
            fetch_metadata(str(path), layout, make_index=make_index)
        assert (layout.metadata / "some.jsonl.gzip").read_bytes() == content()
        assert names_in(layout) == ["some.jsonl.gzip"]
        assert open_index(layout, "some").manifest.tracks == 3
    path.write_bytes(content(50))
    assert fetch_metadata(str(path), layout).tracks == 50
    assert open_index(layout, "some").manifest.tracks == 50


def test_without_index_the_lines_are_checked(layout: Layout, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(content()) + b"\nbad"))
    result = fetch_metadata(str(path), layout, make_index=False)
    assert result.index is None
    assert (result.lines, result.tracks, result.dialect) == (4, 3, "current")
    assert [line.line for line in result.refused] == [4]
    assert not (layout.root / "index").exists()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("82K-CB10", "did you mean 82K-CB100"),
        ("/nowhere/x.jsonl.gzip", "no file /nowhere/x"),
        ("full", "not released"),
        ("validation", "without boxes"),
        ("ftp://127.0.0.1/x.gz", "no http or https URL"),
        ("http://127.0.0.1/", "ends with no file name"),
        (".", "is a folder"),
    ],
)
def test_what_cannot_be_fetched_is_wrong_use(layout: Layout, wanted: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fetch_metadata(wanted, layout)


def test_the_table_of_subsets_is_whole() -> None:
    assert [subset.name for subset in SUBSETS] == [
        "82K-CB100", "184K-CB300", "259K-CB500", "392K-CB1000", "1121K-CB2500", "3778K-CB8000",
        "full", "validation",
    ]  # fmt: skip
    assert find_subset("82k-cb100") is SUBSETS[0]
    assert find_subset("else") is None


def test_a_url_is_fetched(layout: Layout, web: Web) -> None:
    result = fetch_metadata(web.url, layout)
    assert (result.name, result.tracks) == ("meta", 3)
    assert names_in(layout) == ["meta.jsonl.gz"]
    assert fetch_metadata(web.url, layout).unchanged
    assert names_in(layout) == ["meta.jsonl.gz"]


def test_a_redirect_is_followed_to_http_only(layout: Layout, web: Web) -> None:
    web.redirect = "/meta.jsonl.gz"
    assert fetch_metadata(f"{web.base}/other.gz", layout).name == "other"
    web.redirect = "file:///etc/passwd"
    with pytest.raises(UsageError, match="redirects"):
        fetch_metadata(f"{web.base}/more.gz", layout)


def test_a_broken_transfer_goes_on_where_it_was(layout: Layout, web: Web) -> None:
    web.body = content(400)
    web.cut_after = [1000, 500]
    web.statuses = [503]
    clock = NoSleep()
    assert fetch_metadata(web.url, layout, clock=clock).tracks == 400
    assert [headers.get("Range") for headers in web.gets()] == [
        None, None, "bytes=1000-", "bytes=1500-",
    ]  # fmt: skip
    assert clock.slept == [2, 4, 8]


def test_an_interrupted_transfer_goes_on_in_the_next_run(layout: Layout, web: Web) -> None:
    web.body = content(400)
    web.cut_after = [100] * 4
    with pytest.raises(TryLaterError, match="broke off"):
        fetch_metadata(web.url, layout, clock=NoSleep())
    assert fetch_metadata(web.url, layout, clock=NoSleep()).tracks == 400
    assert web.gets()[-1]["Range"] == "bytes=400-"
    assert names_in(layout) == ["meta.jsonl.gz"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(layout: Layout, web: Web) -> None:
    web.body = content(400)
    web.cut_after = [100] * 4
    with pytest.raises(TryLaterError):
        fetch_metadata(web.url, layout, clock=NoSleep())
    web.body, web.etag = content(30), '"two"'
    assert fetch_metadata(web.url, layout, clock=NoSleep()).tracks == 30


@pytest.mark.parametrize(
    ("statuses", "error"),
    [([404], UsageError), ([403], LacksError), ([503] * 4, TryLaterError)],
)
def test_a_refusal_has_its_own_error(
    layout: Layout, web: Web, statuses: list[int], error: type[Exception]
) -> None:
    web.statuses = statuses
    with pytest.raises(error, match=f"HTTP {statuses[0]}"):
        fetch_metadata(web.url, layout, clock=NoSleep())


def test_no_server_is_something_this_machine_lacks(layout: Layout, web: Web) -> None:
    web.server.shutdown()
    web.server.server_close()
    url = web.url.replace("http://", "http://me:secret@")
    with pytest.raises(LacksError, match="check the network") as caught:
        fetch_metadata(url, layout, clock=NoSleep())
    assert "secret" not in str(caught.value)


def test_a_damaged_download_leaves_nothing(layout: Layout, web: Web) -> None:
    web.body = content()[:-5]
    with pytest.raises(DamagedFileError, match="line"):
        fetch_metadata(web.url, layout)
    assert names_in(layout) == []


SUBSET = """
    import sys
    from pathlib import Path
    from trackverse_cli.errors import TrackverseError
    from trackverse_cli.fetch import fetch_metadata
    from trackverse_cli.layout import Layout

    for _ in range(int(sys.argv[2])):
        try:
            result = fetch_metadata("82K-CB100", Layout(Path(sys.argv[1])))
            print(result.name, result.tracks, result.unchanged)
        except TrackverseError as error:
            print(type(error).__name__, error.exit_code, error)
"""


def fetch_subset(layout: Layout, endpoint: str, times: int = 1) -> list[str]:
    environment: dict[str, Any] = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(layout.root / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SUBSET), str(layout.root), str(times)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_a_subset_comes_from_the_hub_or_its_mirror(layout: Layout, web: Web) -> None:
    web.etag = f'"{hashlib.sha256(web.body).hexdigest()}"'
    assert fetch_subset(layout, web.base, 2) == [
        "TrackVerseLVIS-CB100-82K 3 False",
        "TrackVerseLVIS-CB100-82K 3 True",
    ]
    assert len(web.gets()) == 1
    path = "/datasets/yibingwei/TrackVerse/resolve/main/TrackVerseLVIS-CB100-82K.jsonl.gzip"
    assert {seen[1] for seen in web.seen} == {path}
    assert names_in(layout) == ["TrackVerseLVIS-CB100-82K.jsonl.gzip"]
    web.statuses = [404]
    (said,) = fetch_subset(layout, web.base)
    assert said.startswith(("UsageError 2", "TryLaterError 75"))
    web.statuses = [403] * 3
    (said,) = fetch_subset(layout, web.base)
    assert said.startswith("LacksError 3")


def test_an_unreachable_hub_is_something_this_machine_lacks(layout: Layout, web: Web) -> None:
    with contextlib.suppress(OSError):
        web.server.shutdown()
        web.server.server_close()
    (said,) = fetch_subset(layout, web.base)
    assert said.startswith("LacksError 3")
    assert "check the network" in said


def test_fetching_loads_nothing_heavy_before_it_is_needed() -> None:
    code = "import sys, trackverse_cli.fetch; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pyarrow", "huggingface_hub", "httpx", "isal", "scipy"} & set(loaded)
